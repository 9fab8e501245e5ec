/**
 * L2. The identities that `ssh` tries when it is told of none: the agent's, then the user's default key files. ssh(1), -i.
 * Reads files and dials only through known_hosts_files.ts and agent_socket.ts.
 *
 * @module
 */
import { printable } from "../errors.ts";
import { abortable } from "../wire/abortable.ts";
import { callBack } from "../wire/callback.ts";
import { connectAgent } from "./agent.ts";
import { agentSocketPath } from "./agent_socket.ts";
import { readIfThere, userSshPath } from "./known_hosts_files.ts";
import { inspectPrivateKey, parsePrivateKey } from "./private_key.ts";
import type { Signer } from "./types.ts";

/** Key files in the order in which they are tried. */
const FILES = ["id_ed25519", "id_ecdsa", "id_rsa"] as const;

/** Options of {@linkcode defaultIdentities}. */
export interface DefaultIdentitiesOptions {
  /** Is told of each agent or file that was passed over, and why. What it throws is ignored. */
  onSkip?: (note: string) => void;
  /** Aborting closes the agent's connection, and ends the iteration with the signal's reason. */
  signal?: AbortSignal;
}

/**
 * Yields the agent's keys, then those of `~/.ssh/id_ed25519`, `id_ecdsa` and `id_rsa` that are not encrypted, each key once.
 * Nothing is opened before it is its turn. The agent's connection stays open until the iteration ends, so sign inside the loop.
 */
export async function* defaultIdentities(options: DefaultIdentitiesOptions = {}): AsyncGenerator<Signer, void, void> {
  const skip = (what: string, why: string) => callBack(() => options.onSkip?.(`${printable(what)}: ${why}`));
  const reason = (error: unknown) => printable(error instanceof Error ? error.message : String(error));
  const { signal } = options;
  const seen = new Set<string>();
  const isNew = (signer: Signer) => seen.size < seen.add(signer.publicKey.blob.toBase64()).size;

  signal?.throwIfAborted();
  await using stack = new AsyncDisposableStack();
  let signers: readonly Signer[] = [];
  try {
    if (agentSocketPath() !== null) {
      const agent = stack.use(await abortable(connectAgent(), signal, (late) => late[Symbol.asyncDispose]()));
      // Whoever waits for a silent agent, here or for a signature, cannot be told to end otherwise.
      const close = (): void => void agent[Symbol.asyncDispose]();
      signal?.addEventListener("abort", close);
      stack.defer(() => signal?.removeEventListener("abort", close));
      signal?.throwIfAborted();
      signers = await agent.signers();
    }
  } catch (error) {
    signal?.throwIfAborted();
    skip("agent", reason(error));
  }
  for (const signer of signers) if (isNew(signer)) yield signer;

  for (const name of FILES) {
    let key: Signer;
    let path: string | null = name;
    try {
      path = userSshPath(name);
      if (path === null) continue;
      const text = await abortable(readIfThere(path), signal);
      if (text === null) continue;
      if (inspectPrivateKey(text).encrypted) {
        skip(path, "it is encrypted; add it to an agent, or hand it over with its passphrase");
        continue;
      }
      key = await parsePrivateKey(text);
    } catch (error) {
      signal?.throwIfAborted();
      skip(path ?? name, reason(error));
      continue;
    }
    if (isNew(key)) yield key;
  }
}
