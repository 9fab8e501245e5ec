/**
 * The server's side of the authentication methods: what a request says, whether it is proven, and what the program's handler
 * makes of it. RFC 4252 sections 5.2, 7, 8 and 9, RFC 4256 section 3.1, RFC 8332 section 3, OpenSSH PROTOCOL section 3.1.
 * No transport, no limits, no timers.
 *
 * @module
 */
import { equals } from "@std/bytes";
import { defaultAlgorithms } from "../crypto/algorithms.ts";
import { printable, SshError } from "../errors.ts";
import { anyKeyFromBlob, checkCertificate } from "../keys/certificate.ts";
import type { AuthenticatorData } from "../keys/key_type.ts";
import { fidoAlgorithms, signatureLabelOf } from "../keys/key_types.ts";
import {
  keyTypeOf,
  proveAgreed,
  publicKeyFromBlob,
  signatureAlgorithm,
  type SignatureProof,
  verifyAgreed,
} from "../keys/public_key.ts";
import type { RsaKeyOptions } from "../keys/rsa_public.ts";
import type { PublicKey } from "../keys/types.ts";
import { kindOf } from "../wire/check.ts";
import { Reader } from "../wire/reader.ts";
import type { Bytes } from "../wire/types.ts";
import { forgetsOptions } from "./authorized_keys.ts";
import { checkGrant, type Grant } from "./grants.ts";
import {
  CONNECTION_SERVICE,
  hostBasedSignedData,
  passwdChangereq,
  publicKeySignedData,
  strictText,
  userauthPkOk,
} from "./messages.ts";
import type { AuthInfo, Prompt, ServerAuth } from "./types.ts";
import { certifiedGrant, isUnvouched } from "./user_certificates.ts";

/** Public key signature algorithms taken from clients unless a program says otherwise: what `server-sig-algs` tells them. */
export const defaultSignatureAlgorithms: readonly string[] = [...defaultAlgorithms.hostKey, ...fidoAlgorithms];

/** Bytes of a password. */
const MAX_PASSWORD_BYTES = 16_384;

/** Bytes of the name of a host that vouches for its user, and of that user's name there. */
const MAX_HOST_BYTES = 256, MAX_CLIENT_USER_BYTES = 1_024;

/** What a request that a handler has let in comes to. */
interface Passed {
  readonly key: PublicKey | null;
  readonly grant: Grant | null;
  /** What the FIDO authenticator of the user's key said, or null for any other key; not there where no such key has signed. */
  readonly authenticator?: AuthenticatorData | null;
}

/** What came of a request. */
export type Outcome =
  | { readonly kind: "refused" }
  | Passed & { readonly kind: "accepted" }
  | Passed & { readonly kind: "partial"; readonly following: readonly string[] }
  | { readonly kind: "reply"; readonly payload: Bytes };

/** The outcome of a request that proves nothing. */
export const refused: Outcome = { kind: "refused" };

/** A request that has its turn. */
export interface Turn {
  /** Who may log in. */
  readonly auth: ServerAuth;
  /** What handlers see. */
  readonly info: AuthInfo;
  /** User name as it came. */
  readonly user: Uint8Array;
  /** The fields of the method. */
  readonly fields: Uint8Array;
  /** Whether the method is the `publickey` that names the host key. */
  readonly hostbound: boolean;
  /** Public key signature algorithms accepted. */
  readonly algorithms: readonly string[];
  /** Which RSA keys are long enough. */
  readonly rsaKeys: RsaKeyOptions;
  /** Calls a handler of the program: false where it throws, and where the end came before it was called. */
  call(handler: () => unknown): Promise<unknown>;
  /** Asks the client questions (RFC 4256 section 3.2). */
  ask(
    prompts: readonly Prompt[],
    text?: { name?: string | undefined; instruction?: string | undefined },
  ): Promise<readonly string[]>;
}

/** What a handler's result comes to: anything but `true`, a grant and a partial success is a refusal, and so is a grant that has expired. */
function outcomeOf(result: unknown, key: PublicKey | null = null): Outcome {
  if (result === true) return { kind: "accepted", key, grant: null };
  if (typeof result !== "object" || result === null) return refused;
  const grant = "grant" in result && result.grant !== undefined ? checkGrant(result.grant) : null;
  if (grant?.expires !== undefined && grant.expires.getTime() <= Date.now()) return refused;
  if (!("partial" in result)) return grant === null ? refused : { kind: "accepted", key, grant };
  const { partial } = result;
  if (!Array.isArray(partial)) return refused;
  return { kind: "partial", following: partial.filter((name) => typeof name === "string"), key, grant };
}

/** Whether a handler's result says something; `change` is for `password` alone. */
function makesSense(result: unknown): boolean {
  if (typeof result !== "object" || result === null) {
    return result === null || typeof result === "boolean" || result === undefined;
  }
  if ("partial" in result) return Array.isArray(result.partial);
  return "grant" in result || "change" in result;
}

/** Asks the program; a result that makes no sense is its error, as what it throws is. */
async function asked(call: Turn["call"], handler: () => unknown): Promise<unknown> {
  return await call(async () => {
    const result = await handler();
    if (!makesSense(result)) {
      throw new TypeError(
        `Cannot grant login: the handler gave ${
          kindOf(result)
        }; it must give true, false, a grant or a partial success`,
      );
    }
    outcomeOf(result);
    return result;
  });
}

async function noneTurn({ auth, info, fields, call }: Turn): Promise<Outcome> {
  new Reader(fields).end();
  return outcomeOf(await asked(call, () => auth.none?.(info)));
}

async function passwordTurn({ auth, info, fields, call }: Turn): Promise<Outcome> {
  const reader = new Reader(fields);
  const changes = reader.bool();
  const old = passwordText(reader.view()), fresh = changes ? passwordText(reader.view()) : null;
  reader.end();
  if (old === null || changes && fresh === null) return refused;
  const result = await asked(
    call,
    () => fresh === null ? auth.password?.(info, old) : auth.passwordChange?.(info, old, fresh),
  );
  if (typeof result !== "object" || result === null || !("change" in result)) return outcomeOf(result);
  if (auth.passwordChange === undefined || typeof result.change !== "string") return refused;
  return { kind: "reply", payload: passwdChangereq.encode({ prompt: result.change, language: "" }) };
}

function passwordText(bytes: Uint8Array): string | null {
  return bytes.length > MAX_PASSWORD_BYTES ? null : strictText(bytes);
}

async function publicKeyTurn(turn: Turn): Promise<Outcome> {
  const { auth, info, fields, call } = turn;
  const reader = new Reader(fields);
  const signed = reader.bool();
  const algorithm = strictText(reader.view()) ?? "";
  const blob = reader.string(), hostKey = turn.hostbound ? reader.string() : undefined;
  const signature = signed ? reader.string() : null;
  reader.end();
  // Whoever signed thought that this is another host: one that passes the request on, or an agent that may sign for that one alone.
  if (hostKey !== undefined && !equals(hostKey, info.connection.hostKey.blob)) return refused;
  const key = keyOf(algorithm, blob, turn);
  // No handler hears of a certificate that its CA has not signed.
  if (key === null || !await isWhole(key)) return refused;
  // The handler hears of a key that signed only once that is proven, and last of all: nothing that it noted when keys were
  // merely offered can be taken for the key that logs in (CVE-2024-45337).
  const proof = signature === null ? null : await proofOf(key, { algorithm, blob, hostKey }, signature, turn);
  if (signature !== null && proof === null) return refused;
  const authenticator = proof?.authenticator ?? null;
  const said = authenticator === null ? info : Object.freeze({ ...info, authenticator });
  const answer = async (): Promise<unknown> => {
    const result = await auth.publicKey?.(said, key);
    if (isUnvouched(key) && outcomeOf(result).kind !== "refused") {
      throw new TypeError(
        "Cannot grant login: the key comes with a certificate, and nothing says that its CA is trusted; return what trustedUserCAs() or " +
          "matchAuthorizedKey() gave",
      );
    }
    if (!forgetsOptions(key, result)) return result;
    throw new TypeError(
      "Cannot grant login: the key's line of authorized keys has options, and the handler's answer leaves them out; return what " +
        "matchAuthorizedKey() gave",
    );
  };
  const outcome = certifiedOutcome(outcomeOf(await asked(call, answer), key), key);
  if (outcome.kind === "refused") return outcome;
  if (signature === null) return { kind: "reply", payload: userauthPkOk.encode({ algorithm, blob }) };
  return "grant" in outcome && isAttended(outcome.grant, authenticator) ? { ...outcome, authenticator } : refused;
}

/**
 * Whether whoever signed was there, where the grant says nothing of it: with a key of a FIDO authenticator somebody has to have touched that,
 * unless the grant says otherwise; with any other key nobody can tell. What the grants of a login want besides, they look at themselves.
 */
function isAttended(grant: Grant | null, authenticator: AuthenticatorData | null): boolean {
  return authenticator === null || authenticator.userPresent || grant?.touchRequired === false;
}

/** The key of a request, or null where its algorithm is not accepted, does not fit it, or the key is not sound. */
function keyOf(algorithm: string, blob: Bytes, { algorithms, rsaKeys }: Turn): PublicKey | null {
  // Nothing of the key is parsed for an algorithm that is not accepted (CVE-2026-35387).
  if (!algorithms.includes(algorithm) && !algorithms.includes(signatureLabelOf(algorithm))) return null;
  return orNull(() => new Reader(blob).ascii() === keyTypeOf(algorithm) ? anyKeyFromBlob(blob, rsaKeys) : null);
}

/** Whether the key's certificate, where it has one, is signed by its CA. */
async function isWhole(key: PublicKey): Promise<boolean> {
  try {
    await checkCertificate(key);
    return true;
  } catch (error) {
    if (error instanceof SshError) return false;
    throw error;
  }
}

/** What the handler allows, as far as the key's certificate does. */
function certifiedOutcome(outcome: Outcome, key: PublicKey): Outcome {
  if (!("grant" in outcome)) return outcome;
  const both = certifiedGrant(outcome.grant, key);
  return both === null ? refused : { ...outcome, ...both };
}

/** What the signature proves, or null: it has to be the key's, made with this algorithm over this very request in this session. */
async function proofOf(
  key: PublicKey,
  { algorithm, blob, hostKey }: { algorithm: string; blob: Bytes; hostKey: Bytes | undefined },
  signature: Bytes,
  { info, user }: Turn,
): Promise<SignatureProof | null> {
  const sessionId = info.connection.sessionId;
  const data = publicKeySignedData({ sessionId, user, service: CONNECTION_SERVICE, algorithm, blob, hostKey });
  return await proveAgreed(key, algorithm, data, signature);
}

/** What `parse` returns, or null where the peer's bytes are not what they should be. */
function orNull<T>(parse: () => T): T | null {
  try {
    return parse();
  } catch (error) {
    if (error instanceof SshError) return null;
    throw error;
  }
}

async function interactiveTurn({ auth, info, fields, call, ask }: Turn): Promise<Outcome> {
  const reader = new Reader(fields);
  // The language tag is deprecated, and submethods are hints that nothing here follows.
  reader.view();
  reader.view();
  reader.end();
  return outcomeOf(await asked(call, () => auth.keyboardInteractive?.(info, ask)));
}

async function hostBasedTurn(turn: Turn): Promise<Outcome> {
  const { auth, info, fields, user, call } = turn;
  const reader = new Reader(fields);
  const algorithm = strictText(reader.view()) ?? "";
  const blob = reader.string(), hostname = hostOf(reader.view()), username = userOf(reader.view());
  const covered = fields.subarray(0, fields.length - reader.remaining);
  const signature = reader.string();
  reader.end();
  const key = turn.algorithms.includes(algorithm) && keyTypeOf(algorithm) !== null
    ? orNull(() => publicKeyFromBlob(blob, turn.rsaKeys))
    : null;
  if (key === null || keyTypeOf(algorithm) !== key.type || hostname === null || username === null) return refused;
  const data = hostBasedSignedData(info.connection.sessionId, user, covered);
  if (orNull(() => signatureAlgorithm(signature)) !== algorithm) return refused;
  if (!await verifyAgreed(key, algorithm, data, signature)) return refused;
  const client = Object.freeze({ hostname, username });
  // The key is the machine's, and says nothing of the user: nobody is to take it for the user's own.
  return outcomeOf(await asked(call, () => auth.hostBased?.(info, key, client)));
}

/** A host's name without the dot that ends it, or null for what can be none. */
function hostOf(bytes: Uint8Array): string | null {
  const name = bytes.length > MAX_HOST_BYTES ? null : strictText(bytes)?.replace(/\.$/, "") ?? null;
  return name !== null && /^[!-~]+$/.test(name) ? name : null;
}

/** A user's name there, or null for what can be none. */
function userOf(bytes: Uint8Array): string | null {
  return bytes.length === 0 || bytes.length > MAX_CLIENT_USER_BYTES || bytes.includes(0) ? null : strictText(bytes);
}

/** What the methods do, by their names; in the order in which a refusal names them. */
export const methodTurns: Readonly<Record<"none" | NamedMethod, (turn: Turn) => Promise<Outcome>>> = {
  "none": noneTurn,
  "publickey": publicKeyTurn,
  "password": passwordTurn,
  "keyboard-interactive": interactiveTurn,
  "hostbased": hostBasedTurn,
};

/** Methods that a refusal names. */
export type NamedMethod = "publickey" | "password" | "keyboard-interactive" | "hostbased";

/** The methods that have a handler. */
export function handledMethods(auth: ServerAuth): NamedMethod[] {
  const methods: NamedMethod[] = [];
  if (auth.publicKey !== undefined) methods.push("publickey");
  if (auth.password !== undefined) methods.push("password");
  if (auth.keyboardInteractive !== undefined) methods.push("keyboard-interactive");
  if (auth.hostBased !== undefined) methods.push("hostbased");
  return methods;
}

/** Nobody can log in behind such a partial success, and the list of methods that the client gets is empty. */
export function deadEnd(following: readonly string[], method: string): TypeError {
  const named = following.length === 0 ? "it names none" : `it names ${printable(following.join(", "))}`;
  return new TypeError(
    `Cannot go on behind the partial success of ${method}: ${named}, and none that has a handler and has not passed; the names are ` +
      "publickey, password, keyboard-interactive and hostbased",
  );
}
