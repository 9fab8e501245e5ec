/**
 * Questions whether keys would do (RFC 4252 section 7), one for each, or for several in one flight. No transport.
 *
 * The first key is asked about alone: where it will do, nothing else was tried. Further ones of which the public parts are at hand leave together,
 * where that is safe: a server that counts refused questions as failed tries counts those behind the one that will do, too, and may have had
 * enough by then. So there is a bound for each server that is known, by its identification: a login that one question at a time would have
 * made is still made. Others are asked one at a time: AsyncSSH's answers only the last of what comes together, and in no order.
 *
 * @module
 */
import { signatureAlgorithmsOf, signatureLabelOf } from "../keys/key_types.ts";
import type { Signer } from "../keys/types.ts";
import { toBase64 } from "../wire/base_text.ts";
import type { Bytes } from "../wire/types.ts";
import { Writer } from "../wire/writer.ts";

/**
 * Tries of one connection within which questions leave together. paramiko ends a connection at the tenth. Dropbear counts no questions, and this
 * module's server not the first six. OpenSSH's counts each refused one, also behind one that will do, and some set `MaxAuthTries` to 2: nothing
 * is left there.
 */
const together: readonly (readonly [RegExp, number])[] = [
  [/^SSH-2\.0-paramiko_/, 6],
  [/^SSH-2\.0-dropbear/, 6],
  [/^SSH-2\.0-amiko(?![a-z])/, 6],
];

/** How many tries there may have been, questions and others, when a question leaves with the one before. */
export function triesTogether(ident: string): number {
  return together.find(([server]) => server.test(ident))?.[1] ?? 0;
}

/** As much of an attempt to log in as is needed here. */
interface Attempt<Reply> {
  /** Requests for a login so far on this connection, but for `none`. */
  readonly tries: number;
  /** See {@linkcode triesTogether}. */
  readonly triesTogether: number;
  readonly serverSigAlgs: readonly string[] | null;
  readonly passedKeys: ReadonlySet<string>;
  request(method: string, fields: Uint8Array, options: { readonly query: true }): Promise<Reply>;
}

/** The questions of one attempt. */
export class KeyQuestions<Reply> {
  readonly #attempt: Attempt<Reply>;
  /** Replies that have not been looked at, by key and algorithm. */
  readonly #replies = new Map<string, Promise<Reply>>();
  readonly #asked = new Set<string>();
  /** Keys that are at hand, in the order in which they are offered; those before the one that is asked about do not matter. */
  atHand: readonly Signer[] = [];

  /** Asks nothing yet. */
  constructor(attempt: Attempt<Reply>) {
    this.#attempt = attempt;
  }

  /** The server's reply to whether a key would do with an algorithm; those that follow are asked about with it, as far as that is safe. */
  ask(signer: Signer, algorithm: string): Promise<Reply> {
    const name = `${algorithm} ${toBase64(signer.publicKey.blob)}`;
    const reply = this.#replies.get(name) ?? this.#send(signer, algorithm);
    this.#replies.delete(name);
    const attempt = this.#attempt;
    if (attempt.tries < 2 || this.#replies.size > 0) return reply;
    for (const next of this.atHand.slice(this.atHand.indexOf(signer) + 1)) {
      if (attempt.tries >= attempt.triesTogether) break;
      const id = toBase64(next.publicKey.blob), [first] = usableAlgorithms(next, attempt.serverSigAlgs);
      if (first === undefined || this.#asked.has(id) || attempt.passedKeys.has(id)) continue;
      const early = this.#send(next, first);
      // It is looked at when its turn comes, if ever.
      early.catch(() => {});
      this.#replies.set(`${first} ${id}`, early);
    }
    return reply;
  }

  #send(signer: Signer, algorithm: string): Promise<Reply> {
    this.#asked.add(toBase64(signer.publicKey.blob));
    return this.#attempt.request("publickey", keyFields(signer, algorithm, false).bytes(), { query: true });
  }
}

/** The fields of a question, and the first ones of a signed request. */
export function keyFields({ publicKey }: Signer, algorithm: string, signed: boolean): Writer {
  return new Writer(512).bool(signed).text(algorithm).string(publicKey.blob as Bytes);
}

/** The algorithms of a key that are worth offering, most wanted first. */
export function usableAlgorithms(signer: Signer, serverSigAlgs: readonly string[] | null): readonly string[] {
  if (serverSigAlgs === null) return signer.algorithms;
  const usable = signer.algorithms.filter((name) =>
    serverSigAlgs.includes(name) || serverSigAlgs.includes(signatureLabelOf(name))
  );
  // RFC 8308 has the list for what a key type alone does not tell, and some servers leave other types out of it that they take.
  if (signatureAlgorithmsOf(signer.publicKey.type).length > 1) return usable.slice(0, 1);
  return usable.length > 0 ? usable : signer.algorithms;
}
