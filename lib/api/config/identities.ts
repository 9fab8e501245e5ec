/**
 * The keys that ssh_config names, in the order in which `ssh` tries them: those of the agent that are named, its others, and those of files.
 * ssh_config(5), IdentityFile, CertificateFile, IdentitiesOnly, IdentityAgent, PubkeyAcceptedAlgorithms.
 *
 * @module
 */
import { connectAgent } from "../../agent/agent.ts";
import { agentDialler, agentSocketPath } from "../../agent/agent_socket.ts";
import { type AuthMethod, publicKeyFrom } from "../../auth/methods.ts";
import { printable } from "../../errors.ts";
import type { Passphrase } from "../../keys/passphrase.ts";
import { type PassedOver, withPassedOver } from "../../keys/passed_over.ts";
import { parseCertificate } from "../../keys/certificate.ts";
import { openKeyFile } from "../../keys/key_file.ts";
import { inspectPrivateKey, parsePrivateKey } from "../../keys/private_key.ts";
import { parsePublicKey } from "../../keys/public_key.ts";
import { agentFor } from "../../keys/session_agents.ts";
import type { PublicKey, Signer } from "../../keys/types.ts";
import { readIfThere } from "../../keys/user_files.ts";
import { withAlgorithms, withCertificate } from "../../keys/with_certificate.ts";
import { system } from "../../system/system.ts";
import { abortable } from "../../wire/abortable.ts";
import { toBase64 } from "../../wire/base_text.ts";
import type { ByteDuplex } from "../../wire/types.ts";

/** Which keys. */
export interface Identities {
  /** Paths of key files. */
  readonly files: readonly string[];
  /** Paths of certificates for them; one that lies beside a key file needs no name. */
  readonly certificates: readonly string[];
  /** The agent: a socket's path, `true` for that of SSH_AUTH_SOCK, null for none. */
  readonly agent: string | true | null;
  /** Keys that no file names are not tried. */
  readonly only: boolean;
  /** Algorithms that may be used; null for all. */
  readonly algorithms: readonly string[] | null;
  /** The passphrase of files that are encrypted. */
  readonly passphrase: Passphrase | undefined;
}

/** The method that tries them. Nothing is opened before the server wants keys. */
export function identityMethod(identities: Identities): AuthMethod {
  return publicKeyFrom((signal) => {
    const passedOver: PassedOver = { notes: [], absent: [] };
    return withPassedOver(allowed(each(identities, signal, passedOver), identities.algorithms), passedOver);
  });
}

/** What connects to an agent: at a Unix socket, or at a pipe of Windows. */
export function agentAt(path: string): () => Promise<ByteDuplex> {
  return agentDialler({
    socket: () => path,
    os: system.build.os,
    connect: (path) => system.connect({ transport: "unix", path }),
    open: (path) => system.open(path, { read: true, write: true }),
  });
}

/** A key file that is there. */
interface KeyFile {
  readonly path: string;
  /** Its text, where it holds a private key. */
  readonly text: string | null;
  readonly publicKey: PublicKey | null;
  readonly encrypted: boolean;
}

async function* each(
  { files: paths, certificates, agent, only, passphrase }: Identities,
  signal: AbortSignal,
  passedOver: PassedOver,
): AsyncGenerator<Signer, void, void> {
  const skip = (what: string, error: unknown): void => {
    const why = typeof error === "string" ? error : error instanceof Error ? error.message : String(error);
    passedOver.notes.push(`${printable(what, 256)}: ${printable(why)}`);
  };
  const files: KeyFile[] = [];
  for (const path of paths) {
    try {
      const file = await abortable(readKeyFile(path), signal);
      if (file === null) passedOver.absent.push(`${printable(path, 256)}: it is not there`);
      else files.push(file);
    } catch (error) {
      signal.throwIfAborted();
      skip(path, error);
    }
  }
  const certified = await abortable(
    readCertificates([...certificates, ...paths.map(besideKey)], passedOver, skip),
    signal,
  );
  await using stack = new AsyncDisposableStack();
  const isNamed = ({ publicKey }: Signer): boolean =>
    files.some((file) => file.publicKey !== null && idOf(file.publicKey) === idOf(publicKey));
  const withIts = function* (signer: Signer): Generator<Signer> {
    const own = certified.filter(({ publicKey }) => idOf(publicKey) === idOf(signer.publicKey));
    for (const { text } of own) yield withCertificate(signer, text);
    yield signer;
  };
  const held = await agentKeys(agent, signal, stack, passedOver, skip);
  const seen = new Set<string>();
  for (const signer of [...held.filter(isNamed), ...only ? [] : held.filter((one) => !isNamed(one))]) {
    seen.add(idOf(signer.publicKey));
    yield* withIts(signer);
  }
  for (const { path, text, publicKey, encrypted } of files) {
    if (publicKey !== null && seen.has(idOf(publicKey))) continue;
    if (text === null) {
      skip(path, "it holds a public key, and no agent has the private one");
      continue;
    }
    if (encrypted && passphrase === undefined) {
      skip(path, "it is encrypted; add it to an agent, or give the option `passphrase`");
      continue;
    }
    try {
      // Nobody is asked before the server has said that it would take the key, where its file tells which one it is.
      const key = await openKeyFile({ text, passphrase, name: path, publicKey: publicKey ?? undefined }, signal);
      if (!seen.has(idOf(key.publicKey))) yield* withIts(key);
      seen.add(idOf(key.publicKey));
    } catch (error) {
      signal.throwIfAborted();
      skip(path, error);
    }
  }
}

/** The keys of the agent; none where it cannot be had. */
async function agentKeys(
  agent: Identities["agent"],
  signal: AbortSignal,
  stack: AsyncDisposableStack,
  passedOver: PassedOver,
  skip: (what: string, error: unknown) => void,
): Promise<readonly Signer[]> {
  if (agent === null) return [];
  if (agent === true && agentSocketPath() === null) {
    passedOver.absent.push("agent: SSH_AUTH_SOCK is not set");
    return [];
  }
  try {
    const conn = agent === true ? connectAgent() : agentAt(agent)().then((conn) => connectAgent(conn));
    const client = stack.use(await abortable(conn, signal, (late) => late[Symbol.asyncDispose]()));
    // Whoever waits for a silent agent, here or for a signature, cannot be told to end otherwise.
    const close = (): void => void client[Symbol.asyncDispose]();
    signal.addEventListener("abort", close);
    stack.defer(() => signal.removeEventListener("abort", close));
    signal.throwIfAborted();
    return await (await agentFor(client, passedOver.session ?? null)).signers();
  } catch (error) {
    signal.throwIfAborted();
    skip("agent", error);
    return [];
  }
}

/** Where `ssh` looks for the certificate of a key. */
function besideKey(path: string): string {
  return `${path}-cert.pub`;
}

/** The certificates that are there, with the keys that they are for. */
async function readCertificates(
  paths: readonly string[],
  passedOver: PassedOver,
  skip: (what: string, error: unknown) => void,
): Promise<readonly { text: string; publicKey: PublicKey }[]> {
  const found: { text: string; publicKey: PublicKey }[] = [];
  for (const path of new Set(paths)) {
    try {
      const text = await readIfThere(path);
      if (text === null) passedOver.absent.push(`${printable(path, 256)}: it is not there`);
      else found.push({ text, publicKey: (await parseCertificate(text)).publicKey });
    } catch (error) {
      skip(path, error);
    }
  }
  return found;
}

/** A key file, or the public half of one; null where neither is there. */
async function readKeyFile(path: string): Promise<KeyFile | null> {
  const text = await readIfThere(path), beside = await readPublic(`${path}.pub`);
  if (text === null) return beside === null ? null : { path, text: null, publicKey: beside, encrypted: false };
  // The private half may be an agent's alone.
  const own = isPrivate(text) ? null : parsePublicKey(text);
  if (own !== null) return { path, text: null, publicKey: own, encrypted: false };
  const { encrypted, publicKey } = inspectPrivateKey(text);
  const known = publicKey ?? beside ?? (encrypted ? null : (await parsePrivateKey(text)).publicKey);
  return { path, text, publicKey: known, encrypted };
}

/** Whether a text is a private key in one of the formats that are read, by its looks. */
function isPrivate(text: string): boolean {
  return text.includes("PRIVATE KEY") || text.startsWith("PuTTY-User-Key-File-") ||
    /^\s*\{/.test(text) && /"d"\s*:/.test(text);
}

async function readPublic(path: string): Promise<PublicKey | null> {
  try {
    const text = await readIfThere(path);
    return text === null ? null : parsePublicKey(text);
  } catch {
    // It only helps to tell which key of an agent is meant.
    return null;
  }
}

function idOf({ blob }: PublicKey): string {
  return toBase64(blob);
}

/** The signers, each with the algorithms that may be used; those that have none left are left out. */
async function* allowed(
  signers: AsyncGenerator<Signer, void, void>,
  algorithms: readonly string[] | null,
): AsyncGenerator<Signer, void, void> {
  for await (const signer of signers) {
    const usable = algorithms === null
      ? signer.algorithms
      : signer.algorithms.filter((name) => algorithms.includes(name));
    if (usable.length === signer.algorithms.length) yield signer;
    else if (usable.length > 0) yield withAlgorithms(signer, usable);
  }
}
