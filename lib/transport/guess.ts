/**
 * A client's guess at a key exchange: its KEXINIT says that the first packet of the exchange follows, and the server answers both
 * together, which saves a round trip. RFC 4253 section 7. Pure: what is remembered, and where, is whose it is.
 *
 * A guess is right where the first key exchange method and the first host key algorithm of both sides are the same. That is known of a
 * server with which an exchange was completed: its KEXINIT is part of what its host key signed. So nothing that somebody in between says can
 * change what is guessed, and a guess changes nothing that would be agreed on: a name moves to the front only where it was agreed on anyway,
 * and a server that has something by now which is wanted more is connected to again.
 *
 * @module
 */
import { SshProtocolError } from "../errors.ts";
import { kexMethods } from "../crypto/kex/methods.ts";
import { isPseudoName } from "./negotiate.ts";
import type { Algorithms } from "./types.ts";

/** What a server showed in an exchange that was completed, its host key verified. */
export interface ServerOffer {
  /** Its identification line. */
  readonly ident: string;
  /** Its key exchange methods, most wanted first. */
  readonly kex: readonly string[];
  /** Its host key algorithms, most wanted first. */
  readonly hostKey: readonly string[];
}

/** Servers that drop the packet of a wrong guess, and no other. paramiko and AsyncSSH take a wrong one for what it is not, and so may others. */
const forgiving = /^SSH-2\.0-(?:OpenSSH_|dropbear|tinyssh|amiko(?![a-z]))/i;
/**
 * Servers that take a right guess, and read it in one piece with the identification before they have sent their own. Others may drop it, and
 * ssh2's drops the packet of a right guess, and waits for another one.
 */
const early = /^SSH-2\.0-(?:OpenSSH_|dropbear|tinyssh|paramiko_|AsyncSSH_|amiko(?![a-z]))/i;

/** Whether a server finds out by itself that a guess is wrong. */
export function forgivesGuesses(ident: string): boolean {
  return forgiving.test(ident);
}

/** Whether a server is known to take a guess that leaves before it has identified itself. */
export function takesEarly(ident: string): boolean {
  return early.test(ident);
}

/**
 * The lists with what will be agreed on in front, where a server's offer tells that this is what it wants most; null where a guess would be
 * wrong.
 */
export function guessOf(algorithms: Algorithms, offer: ServerOffer): Algorithms | null {
  const kex = agreedFirst(algorithms.kex, offer.kex), hostKey = agreedFirst(algorithms.hostKey, offer.hostKey);
  if (kex === null || hostKey === null || !canGuess(kex[0]!)) return null;
  return { ...algorithms, kex, hostKey };
}

/** The lists, where they name one key exchange method and one host key algorithm: nothing else can be agreed on. */
export function onlyGuessOf(algorithms: Algorithms): Algorithms | null {
  const [kex, ...others] = algorithms.kex.filter((name) => !isPseudoName(name));
  const isOnly = kex !== undefined && others.length === 0 && algorithms.hostKey.length === 1;
  return isOnly && canGuess(kex) ? algorithms : null;
}

/** Whether the first packet says nothing that depends on the server. A group of the server's own choice takes two. */
function canGuess(kex: string): boolean {
  return kexMethods.get(kex)?.agreement !== null && kexMethods.has(kex);
}

/** What the lists of both sides come to. */
function agreedOn(ours: readonly string[], theirs: readonly string[]): string | undefined {
  return ours.find((name) => theirs.includes(name) && !isPseudoName(name));
}

/** Whether what was agreed on is what it would be without a guess, whose names stood in front. */
export function isUnchanged(
  agreed: { readonly kex: string; readonly hostKey: string },
  algorithms: Algorithms,
  wanted: Pick<ServerOffer, "kex" | "hostKey">,
): boolean {
  return agreed.kex === agreedOn(algorithms.kex, wanted.kex) &&
    agreed.hostKey === agreedOn(algorithms.hostKey, wanted.hostKey);
}

/** `ours` with what is agreed on in front, where that is `theirs` first, too. */
function agreedFirst(ours: readonly string[], theirs: readonly string[]): readonly string[] | null {
  const agreed = agreedOn(ours, theirs);
  if (agreed === undefined || agreed !== theirs[0]) return null;
  return [agreed, ...ours.filter((name) => name !== agreed)];
}

/**
 * The server is not the one that a guess was made for: it may have taken it for something else, or has what is wanted more. Connecting again,
 * without one, helps.
 */
export class MisguessError extends SshProtocolError {
}
