/**
 * The identities that `ssh` tries when it is told of none: the agent's, then the user's default key files. ssh(1), -i.
 * Reads files and dials only through user_files.ts and agent_socket.ts.
 *
 * @module
 */
import { printable } from "../errors.ts";
import { abortable } from "../wire/abortable.ts";
import { toBase64 } from "../wire/base_text.ts";
import { callBack } from "../wire/callback.ts";
import { connectAgent } from "./agent.ts";
import { agentSocketPath } from "./agent_socket.ts";
import { readIfThere, userSshPath } from "../keys/user_files.ts";
import { type PassedOver, withPassedOver } from "../keys/passed_over.ts";
import { agentFor } from "../keys/session_agents.ts";
import { openKeyFile } from "../keys/key_file.ts";
import { checkPassphrase, type Passphrase } from "../keys/passphrase.ts";
import { inspectPrivateKey } from "../keys/private_key.ts";
import { parsePublicKey } from "../keys/public_key.ts";
import { isAuthenticators, privateFormOf } from "../keys/key_types.ts";
import type { PublicKey, Signer } from "../keys/types.ts";
import { withCertificate } from "../keys/with_certificate.ts";
import { hasSystem } from "../wire/system.ts";

/** Key files in the order in which they are tried. */
const FILES = ["id_ed25519", "id_ecdsa", "id_rsa", "id_mldsa44_ed25519", "id_ed25519_sk", "id_ecdsa_sk"] as const;

/** Options of {@linkcode defaultIdentities}. */
export interface DefaultIdentitiesOptions {
  /** Is told of each agent or file that was passed over, and why. What it throws is ignored. */
  onSkip?: ((note: string) => void) | undefined;
  /**
   * What encrypted key files are encrypted with: a function is asked once for each, and handed to `publicKey()`, only when the server would
   * take the key. Without it, they are passed over.
   */
  passphrase?: Passphrase | undefined;
  /** Aborting closes the agent's connection, and ends the iteration with the signal's reason. */
  signal?: AbortSignal | undefined;
}

/**
 * Yields the agent's keys and certificates, then those of `~/.ssh/id_ed25519`, `id_ecdsa`, `id_rsa` and `id_mldsa44_ed25519` that are not
 * encrypted, or for which there is a `passphrase`, each key once.
 * A certificate in a file beside one, such as `~/.ssh/id_ed25519-cert.pub`, goes before its key, and goes with an agent's key as well, where the
 * file is encrypted. Nothing is opened before it is its turn. The agent's connection stays open until the iteration ends, so sign inside the loop.
 * Handed to `publicKey()`, it tells the error of a login that fails what was passed over, and why.
 */
export function defaultIdentities(options: DefaultIdentitiesOptions = {}): AsyncGenerator<Signer, void, void> {
  checkPassphrase(options.passphrase);
  const passedOver: PassedOver = { notes: [], absent: [] };
  return withPassedOver(findIdentities(options, passedOver), passedOver);
}

/** As {@linkcode defaultIdentities}, with a place of the caller's own for the remarks. */
export async function* findIdentities(
  { onSkip, passphrase, signal }: DefaultIdentitiesOptions,
  passedOver: PassedOver,
): AsyncGenerator<Signer, void, void> {
  const skip = (what: string, why: string): void => {
    const note = `${printable(what)}: ${why}`;
    passedOver.notes.push(note);
    callBack(() => onSkip?.(note));
  };
  const absent = (note: string): void => void passedOver.absent.push(note);
  const reason = (error: unknown) => printable(error instanceof Error ? error.message : String(error));
  const seen = new Set<string>();
  const isNew = (signer: Signer) => seen.size < seen.add(toBase64(signer.publicKey.blob)).size;

  signal?.throwIfAborted();
  if (!hasSystem()) {
    return absent(
      "this runtime, such as a page, has neither agent nor key files; hand keys or a password over as `auth`",
    );
  }
  await using stack = new AsyncDisposableStack();
  let signers: readonly Signer[] = [];
  try {
    if (agentSocketPath() === null) absent("agent: SSH_AUTH_SOCK is not set");
    else {
      const agent = stack.use(await abortable(connectAgent(), signal, (late) => late[Symbol.asyncDispose]()));
      // Whoever waits for a silent agent, here or for a signature, cannot be told to end otherwise.
      const close = (): void => void agent[Symbol.asyncDispose]();
      signal?.addEventListener("abort", close);
      stack.defer(() => signal?.removeEventListener("abort", close));
      signal?.throwIfAborted();
      signers = await (await agentFor(agent, passedOver.session ?? null)).signers();
      if (signers.length === 0) absent("agent: it has no key of a type that is known here");
    }
  } catch (error) {
    signal?.throwIfAborted();
    skip("agent", reason(error));
  }
  for (const signer of signers) if (isNew(signer)) yield signer;

  /** The key with the certificate that lies beside its file, or null. */
  const certified = async (path: string, key: Signer | undefined): Promise<Signer | null> => {
    const file = `${path}-cert.pub`;
    if (key === undefined) return null;
    try {
      const text = await abortable(readIfThere(file), signal);
      return text === null ? null : withCertificate(key, text);
    } catch (error) {
      signal?.throwIfAborted();
      skip(file, reason(error));
      return null;
    }
  };

  for (const name of FILES) {
    let key: Signer | null = null, withIt: Signer | null = null;
    let path: string | null = name;
    try {
      path = userSshPath(name);
      if (path === null) {
        absent("key files: neither HOME nor USERPROFILE is set");
        break;
      }
      const text = await abortable(readIfThere(path), signal);
      if (text === null) {
        // Few have a FIDO authenticator, and its key would not be used from a file.
        if (!name.endsWith("_sk")) absent(`${printable(path)}: it is not there`);
        continue;
      }
      const { encrypted, publicKey } = inspectPrivateKey(text);
      if (publicKey !== null && isAuthenticators(publicKey.type)) {
        if (signers.some((one) => String(one.publicKey) === String(publicKey))) continue;
        privateFormOf(publicKey.type);
      }
      if (encrypted && passphrase === undefined) {
        skip(path, "it is encrypted; add it to an agent, or hand it over with its passphrase");
        withIt = await certified(path, signers.find((one) => String(one.publicKey) === String(publicKey)));
      } else {
        const beside = encrypted ? await publicBeside(path, signal) : undefined;
        key = await openKeyFile({ text, passphrase, name: path, publicKey: beside }, signal);
        withIt = await certified(path, key);
      }
    } catch (error) {
      signal?.throwIfAborted();
      skip(path ?? name, reason(error));
      continue;
    }
    for (const signer of [withIt, key]) if (signer !== null && isNew(signer)) yield signer;
  }
}

/** The public half beside a key file, where it can be read: it only lets the server be asked before the passphrase is. */
async function publicBeside(path: string, signal: AbortSignal | undefined): Promise<PublicKey | undefined> {
  try {
    const text = await abortable(readIfThere(`${path}.pub`), signal);
    return text === null ? undefined : parsePublicKey(text);
  } catch {
    signal?.throwIfAborted();
    return undefined;
  }
}
