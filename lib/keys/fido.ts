/**
 * Keys of FIDO authenticators, of which only the public half and signatures are seen here: a signature says what the authenticator knew of
 * whoever was in front of it. OpenSSH PROTOCOL.u2f. No I/O.
 *
 * Whether somebody has to have been there is for whoever asks: this file tells, and refuses nothing.
 *
 * @module
 */
import { concat, startsWith } from "@std/bytes";
import { digest } from "../crypto/hash.ts";
import { printable } from "../errors.ts";
import { toBase64 } from "../wire/base_text.ts";
import { Reader } from "../wire/reader.ts";
import type { Bytes } from "../wire/types.ts";
import { Writer } from "../wire/writer.ts";
import { curves } from "./curves.ts";
import { publicPart } from "./ecdsa.ts";
import { ed25519Public } from "./ed25519.ts";
import { keyFormatError } from "./format/format_error.ts";
import type { AuthenticatorData, KeyType, PublicPart } from "./key_type.ts";

const SK_ED25519 = "sk-ssh-ed25519@openssh.com";
const SK_ECDSA = "sk-ecdsa-sha2-nistp256@openssh.com";
const WEBAUTHN = "webauthn-sk-ecdsa-sha2-nistp256@openssh.com";

/** Flags of an authenticator (WebAuthn section 6.1). */
const Flag = { USER_PRESENT: 0x01, USER_VERIFIED: 0x04, ATTESTED: 0x40, EXTENSIONS: 0x80 } as const;

const elsewhere =
  "its secret is in a FIDO authenticator; add the file to an agent with `ssh-add FILE`, and use the agent";

const none = new Uint8Array(0);

/** A public part whose signatures cover what an authenticator makes of the data, and which is for one application. */
function authenticated(inner: PublicPart, application: Uint8Array): PublicPart {
  return {
    async verify(value, data, algorithm, more): Promise<false | AuthenticatorData> {
      const reader = new Reader(more), flags = reader.u8(), counter = reader.u32();
      let extensions: Uint8Array = none, client: Uint8Array = data;
      if (algorithm === WEBAUTHN) {
        const origin = reader.view();
        client = reader.view();
        extensions = reader.view();
        if (!isWebAuthn(data, origin, client, flags, extensions)) return false;
      }
      reader.end();
      const said = new Writer(5).u8(flags).u32(counter).bytes();
      const signed = concat([await digest("SHA-256", application), said, extensions, await digest("SHA-256", client)]);
      if (await inner.verify(value, signed, algorithm, none) !== true) return false;
      return Object.freeze({
        userPresent: (flags & Flag.USER_PRESENT) !== 0,
        userVerified: (flags & Flag.USER_VERIFIED) !== 0,
        flags,
        counter,
      });
    },
  };
}

/**
 * Whether what a browser had signed is about this data: its clientDataJSON begins with the type, the data as its challenge, and the origin.
 * What else it says is not looked at.
 */
function isWebAuthn(
  data: Uint8Array,
  origin: Uint8Array,
  client: Uint8Array,
  flags: number,
  extensions: Uint8Array,
): boolean {
  // A quote in the origin would end its text, and have it say what it likes.
  if (origin.includes(0x22) || origin.includes(0)) return false;
  if ((flags & Flag.ATTESTED) !== 0 || (flags & Flag.EXTENSIONS) !== 0 !== extensions.length > 0) return false;
  const challenge = toBase64(data, { alphabet: "base64url", omitPadding: true });
  const begin = new TextEncoder().encode(`{"type":"webauthn.get","challenge":"${challenge}","origin":"`);
  return startsWith(client, concat([begin, origin, Uint8Array.of(0x22)]));
}

/** The application behind a key, which OpenSSH calls `ssh:` unless told otherwise; for a passkey it is the site's domain. */
function readApplication(reader: Reader, type: string): Bytes {
  const application = reader.string();
  if (application.includes(0)) throw keyFormatError(`Cannot read ${type} key: its application holds a NUL`);
  return application;
}

/** `sk-ssh-ed25519@openssh.com` and `sk-ecdsa-sha2-nistp256@openssh.com`, whose signatures browsers make as `webauthn-sk-…`. */
export const fidoTypes: readonly KeyType<never>[] = [
  {
    name: SK_ED25519,
    algorithms: [{ name: SK_ED25519, authenticator: true }],
    readPublic(reader) {
      const inner = ed25519Public(reader.string(), SK_ED25519);
      return authenticated(inner, readApplication(reader, SK_ED25519));
    },
    private: null,
    elsewhere,
  },
  {
    name: SK_ECDSA,
    algorithms: [
      { name: SK_ECDSA, authenticator: true },
      { name: WEBAUTHN, authenticator: true, inPlaceOf: SK_ECDSA },
    ],
    readPublic(reader) {
      const name = reader.ascii(), curve = curves.get("ecdsa-sha2-nistp256")!;
      if (name !== curve.name) {
        throw keyFormatError(`Cannot read ${SK_ECDSA} key: it names the curve "${printable(name, 64)}"`);
      }
      const inner = publicPart(curve, reader.string());
      return authenticated(inner, readApplication(reader, SK_ECDSA));
    },
    private: null,
    elsewhere,
  },
];
