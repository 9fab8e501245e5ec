/**
 * Passphrases of key files: a text, or a function that is asked for one, once and only when it is needed. No I/O.
 *
 * @module
 */
import { abortable } from "../wire/abortable.ts";
import { kindOf, wrongKind } from "../wire/check.ts";
import type { MaybePromise } from "../wire/types.ts";
import type { PublicKey } from "./types.ts";

/** What a function that is asked for a passphrase is told. */
export interface PassphraseQuestion {
  /** The name that the program gave the file, such as its path, or null. */
  readonly name: string | null;
  /** The key's public half, or null where the file has it encrypted and nobody said. */
  readonly publicKey: PublicKey | null;
  /** Aborts when nobody waits for the answer any more. */
  readonly signal: AbortSignal;
}

/**
 * What a key file is encrypted with. The function is called once for a file, and only when the key is needed; null or undefined is that
 * there is no passphrase. A wrong one is an error, and whoever wants more tries asks again by itself.
 */
export type Passphrase = string | ((question: PassphraseQuestion) => MaybePromise<string | null | undefined>);

/** Gets the passphrase of a file of which so much is known; undefined where there is none. */
export type AskPassphrase = (publicKey: PublicKey | null) => Promise<string | undefined>;

/** Throws `TypeError` for what can be no passphrase, where one is given. */
export function checkPassphrase(value: unknown): void {
  if (value === undefined || typeof value === "string" || typeof value === "function") return;
  throw new TypeError(
    `Cannot read private key: its passphrase is not a string, nor a function that gives one, but ${kindOf(value)}`,
  );
}

/** How to get a passphrase: what the program's function gives is waited for no longer than `signal` lets. */
export function askerOf(
  passphrase: Passphrase | undefined,
  name: string | null,
  signal: AbortSignal | undefined,
): AskPassphrase {
  return async (publicKey) => {
    if (typeof passphrase !== "function") return passphrase;
    signal?.throwIfAborted();
    const question = Object.freeze({ name, publicKey, signal: signal ?? new AbortController().signal });
    const given = await abortable(Promise.resolve(passphrase(question)), signal);
    if (given === null || given === undefined || typeof given === "string") return given ?? undefined;
    throw wrongKind("passphrase's answer", given, "a text, or null where there is none");
  };
}
