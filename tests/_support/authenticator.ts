/**
 * Test support. A FIDO authenticator in software: keys whose signatures say what the test wants them to. OpenSSH PROTOCOL.u2f.
 *
 * @module
 */
import { concat } from "@std/bytes";
import { digest } from "../../lib/crypto/hash.ts";
import { publicKeyFromBlob } from "../../lib/keys/public_key.ts";
import type { Signer } from "../../lib/keys/types.ts";
import type { Bytes } from "../../lib/wire/types.ts";
import { Writer } from "../../lib/wire/writer.ts";

/** What a signature says. */
export interface Saying {
  /** A byte; 1 is touched, 4 verified. @default {1} */
  flags?: number;
  /** @default {7} */
  counter?: number;
  /** Signs as a browser on this page does. */
  origin?: string;
  /** What a browser says in the place of the truth, with `%` for the challenge; only with an origin. */
  client?: string;
  /** Behind the flags and the counter of a browser's signature. */
  extensions?: Uint8Array;
}

/** A key in an authenticator; what it says can be changed between signatures. */
export interface SoftwareKey extends Signer {
  says: Saying;
  /** What the agent calls it. */
  readonly comment: string;
}

const names = {
  ed25519: "sk-ssh-ed25519@openssh.com",
  ecdsa: "sk-ecdsa-sha2-nistp256@openssh.com",
} as const;

/** Makes a key. */
export async function softwareKey(
  kind: keyof typeof names,
  says: Saying = {},
  application = "ssh:",
): Promise<SoftwareKey> {
  const algorithm = kind === "ed25519" ? { name: "Ed25519" } : { name: "ECDSA", namedCurve: "P-256" };
  const pair = await crypto.subtle.generateKey(algorithm, true, ["sign", "verify"]) as CryptoKeyPair;
  const point = new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey));
  const blob = new Writer().text(names[kind]);
  if (kind === "ecdsa") blob.text("nistp256");
  const key: SoftwareKey = {
    publicKey: publicKeyFromBlob(blob.string(point).text(application).bytes()),
    algorithms: [names[kind]],
    comment: `software ${kind}`,
    says,
    async sign(data): Promise<Bytes> {
      const { flags = 1, counter = 7, origin, extensions = new Uint8Array(0) } = key.says;
      const challenge = data.toBase64({ alphabet: "base64url", omitPadding: true });
      const honest = `{"type":"webauthn.get","challenge":"%","origin":"${origin}","crossOrigin":false}`;
      const client = origin === undefined
        ? data
        : new TextEncoder().encode((key.says.client ?? honest).replace("%", challenge));
      const said = new Writer().u8(flags).u32(counter).bytes();
      const signed = concat([
        await digest("SHA-256", new TextEncoder().encode(application)),
        said,
        extensions,
        await digest("SHA-256", client),
      ]);
      const raw = new Uint8Array(
        await crypto.subtle.sign({ ...algorithm, hash: "SHA-256" }, pair.privateKey, signed),
      );
      const half = (at: number) => BigInt(`0x${raw.subarray(at, at + 32).toHex()}`);
      const value = kind === "ed25519" ? raw : new Writer().mpint(half(0)).mpint(half(32)).bytes();
      const name = origin === undefined ? names[kind] : `webauthn-${names[kind]}`;
      const writer = new Writer().text(name).string(value).raw(said);
      return origin === undefined ? writer.bytes() : writer.text(origin).string(client).string(extensions).bytes();
    },
  };
  return key;
}
