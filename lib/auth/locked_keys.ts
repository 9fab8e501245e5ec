/**
 * Keys of encrypted files in a login: decrypted when the server would take them, once, and passed over where nobody knows the passphrase.
 * No transport.
 *
 * @module
 */
import { KeyFormatError, printable } from "../errors.ts";
import { type KeyFile, LockedKey, openKeyFile } from "../keys/key_file.ts";
import { withPlainKeys } from "../keys/with_certificate.ts";
import type { Signer } from "../keys/types.ts";
import type { MaybePromise } from "../wire/types.ts";

/** As much of an attempt to log in as is needed here. */
interface Attempt {
  ask<T>(act: () => MaybePromise<T>): Promise<T>;
  readonly signal: AbortSignal;
  note(text: string): void;
}

/** The key of a file; `opened` has those of earlier logins. */
export async function* keyOfFile(
  file: KeyFile,
  opened: Map<KeyFile, Signer>,
  attempt: Attempt,
): AsyncGenerator<Signer> {
  let signer = opened.get(file);
  try {
    signer ??= await attempt.ask(() => openKeyFile(file, attempt.signal));
  } catch (error) {
    return passOver(error, file.name ?? "a key file", attempt);
  }
  opened.set(file, signer);
  yield signer;
}

/** Whether a key can sign now: false where its passphrase is wrong or nobody gave one. What the function that was asked throws is thrown. */
export async function unlocked(signer: Signer, name: string, attempt: Attempt): Promise<boolean> {
  // Where it presents a certificate, what signs is the key behind it.
  const key = withPlainKeys([signer]).at(-1);
  if (!(key instanceof LockedKey)) return true;
  try {
    await attempt.ask(() => key.unlock(attempt.signal));
    return true;
  } catch (error) {
    passOver(error, name, attempt);
    return false;
  }
}

/** A passphrase that is wrong, or that nobody gave, passes its key over. Whatever else went wrong ends the login. */
function passOver(error: unknown, name: string, attempt: Attempt): void {
  const isPassphrase = error instanceof KeyFormatError && error.reason.endsWith("_PASSPHRASE");
  if (attempt.signal.aborted || !isPassphrase) throw error;
  attempt.note(`${printable(name)} was passed over: ${reasonOf(error)}`);
}

/** What an error says, for a remark. */
export function reasonOf(error: unknown): string {
  return printable(error instanceof Error ? error.message : "unknown reason");
}
