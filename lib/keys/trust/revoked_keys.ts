/**
 * Keys that are revoked, by a key revocation list or by a plain list of keys, for those who log in and for hosts. sshd_config(5), RevokedKeys;
 * ssh_config(5), RevokedHostKeys; OpenSSH PROTOCOL.krl.
 *
 * Where the list cannot be read, every key is refused.
 *
 * @module
 */
import { equals } from "@std/bytes";
import { HostKeyError, HostKeyRevokedError, printable, SshError } from "../../errors.ts";
import { toBase64 } from "../../wire/base_text.ts";
import { wrongKind } from "../../wire/check.ts";
import type { MaybePromise } from "../../wire/types.ts";
import { anyKeyFromBlob } from "../certificate.ts";
import { checkPublicKey } from "../check_key.ts";
import { decodeBase64 } from "../format/base64.ts";
import { keyFormatError } from "../format/format_error.ts";
import { certificateTypes } from "../key_types.ts";
import { publicKeyFromBlob } from "../public_key.ts";
import { RSA_BITS } from "../rsa_public.ts";
import type { HostKeyVerifier, PublicKey } from "../types.ts";
import { isListPath, readRevocations } from "../user_files.ts";
import { noteRevocations } from "./known_types.ts";
import { verifierAround } from "./verifier_around.ts";
import { isKrl, type Krl, MAX_KRL, parseKrl } from "./krl.ts";

/** Where revoked keys stand: a path or a `file:` URL, or what they are: a text, or the bytes of a file. */
export type RevokedKeysSource = string | URL | Uint8Array;

/** Keys that are revoked. */
export interface RevokedKeys {
  /**
   * Why a key is revoked, or the certificate that it comes with; null where it is not. Rejects with `SshError`, code `KEY_FORMAT`, where the
   * list cannot be read: then no key is to be trusted.
   */
  revocation(key: PublicKey): Promise<string | null>;
  /**
   * A handler for `auth.publicKey`, or for `auth.hostBased`, that refuses revoked keys, and asks `handler` about all others. Where the list
   * cannot be read, the server's `onError` is told, and nobody is let in.
   */
  logins<I, R, M extends readonly unknown[] = []>(
    handler: (info: I, key: PublicKey, ...more: M) => MaybePromise<R>,
  ): (info: I, key: PublicKey, ...more: M) => Promise<R | false>;
  /**
   * A verifier for `verifyHostKey` that refuses revoked keys with {@linkcode HostKeyRevokedError}, and asks `verifier` about all others. Where
   * the list cannot be read, each host is refused. From a host that tells of a revoked key nothing is learnt for known_hosts.
   */
  hosts<V extends HostKeyVerifier>(verifier: V): V;
}

type Revocation = Pick<Krl, "revocation">;

/** A plain list: a key a line, as public key files have them. One that cannot be read makes the list one that cannot. */
function parseList(text: string): Revocation {
  const keys = new Set<string>();
  for (const [i, raw] of text.split("\n").entries()) {
    const line = raw.replace(/\r$/, "").replace(/^[ \t]+/, "");
    if (line === "" || line.startsWith("#")) continue;
    try {
      keys.add(toBase64(lineKey(line)));
    } catch (cause) {
      if (!(cause instanceof SshError)) throw cause;
      throw keyFormatError(
        `Cannot read revoked keys: line ${i + 1} is neither a key nor a comment, nor is it all a list of another form`,
        cause,
      );
    }
  }
  const has = (key: PublicKey): boolean => keys.has(toBase64(key.blob));
  return {
    revocation(key): Promise<string | null> {
      const { certificate } = key;
      if (has(certificate?.publicKey ?? key)) return Promise.resolve("the key is revoked");
      const isBySuch = certificate !== undefined && has(certificate.signedBy);
      return Promise.resolve(isBySuch ? "the key of its certificate's CA is revoked" : null);
    },
  };
}

/** The blob of the key on a line; of a certificate, that of the key. */
function lineKey(line: string): Uint8Array {
  const [type, base64] = line.split(/[ \t]+/);
  const blob = decodeBase64(base64 ?? "", "Cannot read key"), rsa = { insecureMinRsaBits: RSA_BITS.insecureMin };
  const key = certificateTypes.has(type!) ? anyKeyFromBlob(blob, rsa) : publicKeyFromBlob(blob, rsa);
  if (key.type !== type) throw keyFormatError("Cannot read key: its line says another type");
  return (key.certificate?.publicKey ?? key).blob;
}

/**
 * Keys that are revoked, as `RevokedKeys` of `sshd` and `RevokedHostKeys` of `ssh` have them: a key revocation list by `ssh-keygen -k` or
 * {@linkcode writeKrl}, or a text with a public key on each line. A key that has signed certificates revokes those, too.
 *
 * ```ts
 * import { authorizedKeys, type ConnectOptions, knownHosts, revokedKeys, type ServerAuth } from "@amiko/ssh";
 *
 * const auth: ServerAuth = {
 *   publicKey: revokedKeys("/etc/ssh/revoked_keys").logins(authorizedKeys("/etc/ssh/authorized_keys")),
 * };
 * const options: Partial<ConnectOptions> = {
 *   verifyHostKey: revokedKeys("/etc/ssh/revoked_host_keys").hosts(knownHosts()),
 * };
 * ```
 *
 * A file is read anew for each key. One that is not there, cannot be read, has more than 16 MiB or anything in it that is not understood refuses
 * each key. A string is a path, unless it is empty, begins with `#`, or holds a line break or a key.
 *
 * Throws `TypeError` for what is no source, and `SshError` with code `KEY_FORMAT` for a plain list of keys that cannot be read.
 */
export function revokedKeys(source: RevokedKeysSource): RevokedKeys {
  if (typeof source !== "string" && !(source instanceof URL) && !(source instanceof Uint8Array)) {
    throw wrongKind("source", source, "a path, a file: URL, a text or its bytes");
  }
  if (source instanceof URL && source.protocol !== "file:") {
    throw new TypeError(`Cannot read revoked keys from a ${source.protocol} URL: only files are read`);
  }
  const read = isListPath(source) ? fileReader(source) : given(source);
  const by = isListPath(source) ? ` by "${printable(String(source), 256)}"` : "";
  const revocation = async (key: PublicKey): Promise<string | null> => {
    checkPublicKey("key", key);
    return await (await read()).revocation(key);
  };
  return {
    revocation,
    logins(handler) {
      if (typeof handler !== "function") {
        throw wrongKind("handler", handler, "what decides about a key that is not revoked");
      }
      return async (info, key, ...more) => await revocation(key) === null ? await handler(info, key, ...more) : false;
    },
    hosts<V extends HostKeyVerifier>(verifier: V): V {
      if (typeof verifier !== "function") throw wrongKind("verifier", verifier, "a verifier, such as knownHosts()");
      return verifierAround(verifier, async (key, host, inner) => {
        await refuseHost(revocation, key, host, by);
        noteRevocations(key, revocation);
        return await inner(key, host);
      }) as V;
    },
  };
}

async function refuseHost(
  revocation: RevokedKeys["revocation"],
  key: PublicKey,
  { hostname }: { hostname: string },
  by: string,
): Promise<void> {
  const name = `Cannot trust host key of "${printable(hostname)}"`;
  let why: string | null;
  try {
    why = await revocation(key);
  } catch (cause) {
    if (!(cause instanceof SshError)) throw cause;
    throw new HostKeyError(`${name}: ${cause.message}`, { cause });
  }
  if (why === null) return;
  throw new HostKeyRevokedError(`${name}: ${printable(key.type, 64)} ${await key.fingerprint()}: ${why}${by}`, []);
}

function parse(source: string | Uint8Array): MaybePromise<Revocation> {
  if (source instanceof Uint8Array && isKrl(source)) return parseKrl(source);
  if (source.length > MAX_KRL) throw keyFormatError(`Cannot read revoked keys: more than ${MAX_KRL} bytes`);
  return parseList((typeof source === "string" ? source : new TextDecoder().decode(source)).replace(/^\ufeff/, ""));
}

function given(source: string | Uint8Array): () => MaybePromise<Revocation> {
  const revoked = parse(typeof source === "string" ? source : source.slice());
  // Whoever asks about a key is told.
  Promise.resolve(revoked).catch(() => {});
  return () => revoked;
}

/** Reads the file each time, and takes it apart anew where it is another one. */
function fileReader(path: string | URL): () => Promise<Revocation> {
  let last: { readonly bytes: Uint8Array; readonly revoked: Revocation } | null = null;
  return async () => {
    const bytes = await readRevocations(path, MAX_KRL);
    if (last === null || !equals(last.bytes, bytes)) last = { bytes, revoked: await parse(bytes) };
    return last.revoked;
  };
}
