/**
 * Passkeys as keys of SSH: a page has them made and used by the browser, whose signatures are webauthn-sk ones. OpenSSH PROTOCOL.u2f. No
 * I/O but the browser's WebAuthn.
 *
 * @module
 */
import { equals } from "@std/bytes";
import { digest } from "../crypto/hash.ts";
import { printable, SshError } from "../errors.ts";
import { fromBase64, toBase64 } from "../wire/base_text.ts";
import { checkNames, checkObject, checkText, checkWait, checkWord, wrongKind } from "../wire/check.ts";
import { type WaitOptions, withDeadline } from "../wire/deadline.ts";
import { Reader } from "../wire/reader.ts";
import { requireWebCrypto } from "../wire/system.ts";
import type { Bytes } from "../wire/types.ts";
import { Writer } from "../wire/writer.ts";
import { DerReader } from "./format/der.ts";
import { unsupported } from "./format/format_error.ts";
import { readSpki } from "./format/spki.ts";
import { acceptedAlgorithmsOf } from "./key_types.ts";
import { parsePublicKey, publicKeyFromBlob, publicKeyLine, verifySignature } from "./public_key.ts";
import type { PublicKey, Signer } from "./types.ts";

const TYPE = "sk-ecdsa-sha2-nistp256@openssh.com", WEBAUTHN = `webauthn-${TYPE}`;

/** ECDSA on P-256 with SHA-256, as COSE numbers it (RFC 9053 section 2.1). */
const ES256 = -7;

/** What a page keeps of a passkey: nothing in it is secret, and as it is made of texts, it can be stored as JSON. */
export interface Passkey {
  /** By what the browser finds it, in base64url. */
  readonly credentialId: string;
  /** The line of its public key, for authorized_keys. */
  readonly publicKey: string;
}

/** Options of {@linkcode passkey}. */
export interface PasskeyOptions {
  /**
   * Whether the authenticator has to know who uses the passkey, by a PIN, a fingerprint or the like, as servers with `verify-required` want
   * it: always, where it can, or without need. @default {"preferred"}
   */
  userVerification?: "required" | "preferred" | "discouraged" | undefined;
  /** Aborting takes back what the browser asks the user, and rejects with the signal's reason. */
  signal?: AbortSignal | undefined;
  /**
   * Milliseconds to wait for the user. After that it ends as by `signal`, with a `TimeoutError` that says what was waited for.
   * @default {Infinity}
   */
  timeout?: number | undefined;
}

/** Options of {@linkcode createPasskey}. */
export interface CreatePasskeyOptions extends PasskeyOptions {
  /** Whose it is, as the browser shows it when the user chooses among passkeys; it also becomes the comment of the public key's line. */
  username: string;
  /**
   * The domain that the passkey is for, without scheme and port: the page's own or one that it is part of. Other sites cannot use it.
   * @default {location.hostname}
   */
  rpId?: string | undefined;
}

/** As much of a browser's `PublicKeyCredential` as is used here (WebAuthn section 5.1). */
interface Credential {
  readonly rawId: ArrayBuffer;
  readonly response: {
    getPublicKeyAlgorithm?(): number;
    getPublicKey?(): ArrayBuffer | null;
    readonly authenticatorData: ArrayBuffer;
    readonly clientDataJSON: ArrayBuffer;
    readonly signature: ArrayBuffer;
  };
}

type Ask = (options: object) => Promise<Credential | null>;

/**
 * Has the browser make a passkey, on P-256, and gives what the page keeps of it, for {@linkcode passkey}. Its `publicKey` is a line for
 * authorized_keys, of type `sk-ecdsa-sha2-nistp256@openssh.com`. It is for pages, on the user's click; workers have no WebAuthn.
 *
 * Rejects with `TypeError` for options that make no sense, where there is no WebAuthn, and for a domain that is not the page's; with
 * `SshError` with code `REQUEST_DENIED` where the user cancels or the browser fails; with `KeyFormatError` where the authenticator makes a
 * key of another kind.
 *
 * ```ts
 * import { createPasskey, type Passkey } from "@amiko/ssh/keys";
 *
 * async function enroll(): Promise<Passkey> {
 *   const made = await createPasskey({ username: "alice" });
 *   localStorage.setItem("passkey", JSON.stringify(made));
 *   console.log(`Add this line to ~/.ssh/authorized_keys: ${made.publicKey}`);
 *   return made;
 * }
 * ```
 */
export async function createPasskey(options: CreatePasskeyOptions): Promise<Passkey> {
  checkObject("options", options, "an object such as `{ username }`");
  checkNames("createPasskey()", options, ["username", "rpId", "userVerification", "signal", "timeout"]);
  const { username, userVerification, ...wait } = checkOptions(options);
  checkText("username", username);
  if (username === "" || /[\r\n\0]/.test(username)) {
    throw new TypeError("Cannot use `username`: it must be a text of one line that is not empty");
  }
  const what = "make passkey", ask = webAuthn(what, "create");
  const rpId = options.rpId ?? (globalThis as { location?: { hostname?: string } }).location?.hostname;
  checkText("rpId", rpId, "a domain, such as `location.hostname`");
  if (!isDomain(rpId!)) {
    const shown = JSON.stringify(printable(rpId!, 64));
    throw new TypeError(
      `Cannot use ${shown} as \`rpId\`: it must be a domain in lower case, without scheme and port, such as "example.com"`,
    );
  }
  const publicKey = {
    rp: { id: rpId, name: rpId },
    user: { id: crypto.getRandomValues(new Uint8Array(32)), name: username, displayName: username },
    // With it an authenticator would prove its make, which nobody asks for.
    challenge: crypto.getRandomValues(new Uint8Array(32)),
    attestation: "none",
    pubKeyCredParams: [{ type: "public-key", alg: ES256 }],
    authenticatorSelection: { residentKey: "preferred", userVerification },
  };
  const { rawId, response } = await answer(what, rpId!, wait, (signal) => ask({ publicKey, signal }));
  const algorithm = response.getPublicKeyAlgorithm?.(), spki = response.getPublicKey?.() ?? null;
  if (algorithm !== ES256 || spki === null) {
    const got = algorithm === undefined ? "this browser does not tell it" : `its algorithm is ${algorithm} of COSE`;
    throw unsupported(`Cannot ${what}: its public key must be ECDSA on P-256, which is ${ES256}, and ${got}`);
  }
  const key = publicKeyFromBlob(authenticatorKey(readSpki(new Uint8Array(spki)), rpId!));
  return {
    credentialId: toBase64(new Uint8Array(rawId), { alphabet: "base64url", omitPadding: true }),
    publicKey: publicKeyLine(key, username),
  };
}

/** A key on P-256 as one of an authenticator, for an application. */
function authenticatorKey(blob: Uint8Array, application: string): Bytes {
  const reader = new Reader(blob), type = reader.ascii();
  if (type !== "ecdsa-sha2-nistp256") {
    throw unsupported(`Cannot make passkey: its public key must be ECDSA on P-256, and is ${printable(type, 64)}`);
  }
  return new Writer().text(TYPE).raw(reader.rest()).text(application).bytes();
}

/**
 * A signer from a passkey that {@linkcode createPasskey} made, in this page or another of its domain: for `publicKey()`, and wherever else a
 * signer serves. Each signature is asked of the user, and is a `webauthn-sk-ecdsa-sha2-nistp256@openssh.com` one, which holds the page's
 * origin; servers that know that algorithm by the key's own name alone, as OpenSSH's do unless told otherwise, are asked by that name.
 *
 * Throws `TypeError` for what is no passkey and where there is no WebAuthn, and `KeyFormatError` for what is no public key's line. `sign()`
 * rejects with `SshError` with code `REQUEST_DENIED` where the user cancels or the browser fails, and with `TypeError` for a domain that is
 * not the page's; a login tells of it among the reasons for which it failed.
 *
 * ```ts
 * import { connect, publicKey, webSocketTransport } from "@amiko/ssh/client";
 * import { type Passkey, passkey } from "@amiko/ssh/keys";
 *
 * async function logIn(stored: Passkey, verifyHostKey: () => boolean): Promise<void> {
 *   await using client = await connect({
 *     hostname: "host.example",
 *     transport: await webSocketTransport("wss://relay.example/ssh"),
 *     username: "alice",
 *     auth: [publicKey(passkey(stored))],
 *     verifyHostKey,
 *   });
 *   console.log((await client.exec("uname")).text());
 * }
 * ```
 */
export function passkey(stored: Passkey, options: PasskeyOptions = {}): Signer {
  checkObject("stored", stored, "a passkey, `{ credentialId, publicKey }`, as createPasskey() gives one");
  checkObject("options", options, "an object such as `{ userVerification }`");
  checkNames("passkey()", options, ["userVerification", "signal", "timeout"]);
  const { userVerification, ...wait } = checkOptions(options), id = credentialIdOf(stored.credentialId);
  checkText("publicKey", stored.publicKey, "the line of the passkey's public key");
  const key = parsePublicKey(stored.publicKey), rpId = domainOf(key);
  const what = "sign with passkey", ask = webAuthn(what, "get");
  const sign = async (data: Uint8Array, algorithm: string): Promise<Bytes> => {
    if (!algorithms.includes(algorithm)) {
      throw new TypeError(`Cannot sign with "${algorithm}": a passkey signs with ${algorithms.join(", ")}`);
    }
    const own = data.slice(), allowCredentials = [{ type: "public-key", id }];
    const publicKey = { challenge: own, rpId, allowCredentials, userVerification };
    const { response } = await answer(what, rpId, wait, (signal) => ask({ publicKey, signal }));
    const signature = await signatureOf(response, rpId);
    // A browser may write what it signs in an order that no server takes, and the id may be another passkey's.
    if (signature !== null && await verifySignature(key, own, signature) !== null) return signature;
    throw denied(`Cannot ${what}: what the browser gave is no ${WEBAUTHN} signature by this public key`);
  };
  return Object.freeze({ publicKey: key, algorithms, sign });
}

/** The right name first: a server that does not take it hears the key's own, and is given the same signature. */
const algorithms: readonly string[] = Object.freeze(
  acceptedAlgorithmsOf(TYPE).toSorted((a, b) => Number(b === WEBAUTHN) - Number(a === WEBAUTHN)),
);

/** What the browser gave as a signature blob; null for what cannot be one. */
async function signatureOf(response: Credential["response"], rpId: string): Promise<Bytes | null> {
  try {
    const said = new Uint8Array(response.authenticatorData), client = new Uint8Array(response.clientDataJSON);
    const { origin } = JSON.parse(new TextDecoder().decode(client)) as { origin: string };
    const der = new DerReader(new Uint8Array(response.signature)).nested();
    const value = new Writer(80).mpint(der.integer(32)).mpint(der.integer(32)).bytes();
    der.end();
    // The hash of the domain, the flags, a counter of 32 bits, and extensions.
    if (!equals(said.subarray(0, 32), await digest("SHA-256", new TextEncoder().encode(rpId)))) return null;
    const blob = new Writer(512).text(WEBAUTHN).string(value).raw(said.subarray(32, 37));
    return blob.text(origin).string(client).string(said.subarray(37)).bytes();
  } catch {
    return null;
  }
}

const words = ["required", "preferred", "discouraged"];

function checkOptions<T extends PasskeyOptions>(options: T): T & { userVerification: string } {
  const { userVerification = "preferred" } = options;
  checkWord("userVerification", userVerification, words);
  checkWait(options);
  return { ...options, userVerification };
}

function isDomain(text: string): boolean {
  return /^[a-z0-9_-]+(\.[a-z0-9_-]+)*$/.test(text) && text.length <= 253;
}

/** The domain that a passkey's key is for. */
function domainOf({ type, blob }: PublicKey): string {
  if (type !== TYPE) {
    throw new TypeError(`Cannot use passkey: its public key must be of type ${TYPE}, and is of ${printable(type, 64)}`);
  }
  const reader = new Reader(blob);
  for (let i = 0; i < 3; i++) reader.view();
  const application = new TextDecoder().decode(reader.view());
  if (isDomain(application)) return application;
  throw new TypeError(
    `Cannot use passkey: its public key is for ${
      JSON.stringify(printable(application, 64))
    }, and a page's is for a domain`,
  );
}

/** Longest that WebAuthn has. */
const MAX_CREDENTIAL_ID = 1023;

function credentialIdOf(text: unknown): Bytes {
  const wanted = "the text in base64url that createPasskey() gave";
  checkText("credentialId", text, wanted);
  try {
    const id = fromBase64(text as string, { alphabet: "base64url" });
    if (id.length > 0 && id.length <= MAX_CREDENTIAL_ID) return id;
  } catch { /* told below */ }
  throw wrongKind("credentialId", text, wanted);
}

/** A method of the browser's WebAuthn; throws `TypeError` where there is none. */
function webAuthn(what: string, method: "create" | "get"): Ask {
  requireWebCrypto(what);
  const { navigator } = globalThis as { navigator?: { credentials?: unknown } };
  const credentials = navigator?.credentials as Record<string, Ask> | undefined;
  if (typeof credentials?.[method] === "function") return (options) => credentials[method]!(options);
  throw new TypeError(
    `Cannot ${what}: there is no WebAuthn here; browsers have it in pages, not in workers of them, that were loaded by https:, or by ` +
      "http: from localhost",
  );
}

function denied(message: string, cause?: unknown): SshError {
  return new SshError(message, { code: "REQUEST_DENIED", ...cause === undefined ? {} : { cause } });
}

/** What the browser answers; rejects with what its refusal means. */
function answer(
  what: string,
  rpId: string,
  wait: WaitOptions,
  ask: (signal: AbortSignal | undefined) => Promise<Credential | null>,
): Promise<Credential> {
  return withDeadline(wait, () => "the user and the passkey", (signal) => asked(what, rpId, signal, ask));
}

async function asked(
  what: string,
  rpId: string,
  signal: AbortSignal | undefined,
  ask: (signal: AbortSignal | undefined) => Promise<Credential | null>,
): Promise<Credential> {
  let credential: Credential | null;
  signal?.throwIfAborted();
  try {
    credential = await ask(signal);
  } catch (cause) {
    signal?.throwIfAborted();
    const name = cause instanceof Error ? cause.name : "";
    if (name === "SecurityError") {
      throw new TypeError(
        `Cannot ${what}: this page may not use passkeys of ${rpId}; that has to be its domain or one that it is part of`,
        { cause },
      );
    }
    const why = name === "NotAllowedError"
      ? "the user cancelled, did not answer in time or could not be verified, or has no such passkey here"
      : `the browser failed: ${printable(cause instanceof Error ? cause.message : String(cause))}`;
    throw denied(`Cannot ${what}: ${why}`, cause);
  }
  if (credential === null || credential === undefined) throw denied(`Cannot ${what}: the browser gave none`);
  return credential;
}
