/**
 * SSH for Deno: a client and a server on web streams, with SFTP and SCP.
 *
 * @example A command on another machine
 * ```ts
 * import { connect } from "@amiko/ssh";
 *
 * async function uname(hostname: string): Promise<void> {
 *   await using client = await connect({ hostname, username: "alice" });
 *   console.log(await client.$`uname -a`.text());
 * }
 * ```
 *
 * That is all where `ssh alice@hostname` works without asking: the agent and the user's default keys are tried, and the host must stand
 * in known_hosts. {@linkcode connect} says how to give a password, a key or a host key, {@linkcode SshClient} what a client does:
 * `exec()`, `spawn()` for streams, `shell()`, `sftp()`, `scp`, `dial()` and forwards. {@linkcode serve} makes a server, and {@linkcode Transport} is one connection step
 * by step.
 *
 * @example A server and a client in one program
 * ```ts
 * import { connect, generateKey, password, pinnedHostKey, serve } from "@amiko/ssh";
 *
 * const hostKey = await generateKey();
 * await using server = serve({
 *   hostname: "127.0.0.1",
 *   port: 0,
 *   hostKeys: [hostKey],
 *   auth: { password: ({ username }, password) => username === "alice" && password === "wonderland" },
 *   async handler(session) {
 *     const writer = session.stdout.getWriter();
 *     await writer.write(new TextEncoder().encode(`You said ${session.command}\n`));
 *     return 7;
 *   },
 * });
 *
 * await using client = await connect({
 *   hostname: "127.0.0.1",
 *   port: server.addr.port,
 *   username: "alice",
 *   auth: [password("wonderland")],
 *   verifyHostKey: pinnedHostKey(await hostKey.publicKey.fingerprint()),
 * });
 * const output = await client.exec("hello");
 * console.log(output.code, output.text()); // 7 You said hello
 * ```
 *
 * Permissions, algorithms, errors and what to do about them, speed: the
 * [README](https://jsr.io/@amiko/ssh/0.1.0/README.md). What is defended, and all limits:
 * [SECURITY.md](https://jsr.io/@amiko/ssh/0.1.0/SECURITY.md).
 *
 * @module
 */
export * from "./client.ts";
export * from "./server.ts";
export {
  type ForwardedAddresses,
  type InteractiveQuery,
  type ServerInterface,
  Transport,
  type TransportLogin,
  type TransportOptions,
} from "./lib/api/transport/transport.ts";
export {
  type AgentConnection,
  type AgentHop,
  type AgentKeyOptions,
  type AgentListener,
  type AgentSession,
  type AgentSigner,
  type AgentUse,
  type AroundVerifier,
  type CertificateOptions,
  connectAgent,
  createAgent,
  type CreateAgentOptions,
  createPasskey,
  type CreatePasskeyOptions,
  type CryptoKeys,
  defaultIdentities,
  type DefaultIdentitiesOptions,
  type ExportOptions,
  exportPublicKey,
  findKnownHost,
  findPrincipals,
  type FindPrincipalsOptions,
  hashKnownHosts,
  insecureSha1Signer,
  insecureVerifySha1,
  type KeyAgent,
  type KeyDestination,
  keyDestinations,
  type KeyDestinationsOptions,
  type KeyFile,
  knownHostKeyTypes,
  type KnownHostLine,
  type KnownHostOptions,
  type KnownHostsMarker,
  type Krl,
  type KrlContent,
  type LocalAgent,
  type MessageHash,
  messageSigner,
  type MessageSignerOptions,
  parseCertificate,
  parseKrl,
  type Passkey,
  passkey,
  type PasskeyOptions,
  type Passphrase,
  type PassphraseQuestion,
  type PrivateKeyFormat,
  type PrivateKeyOptions,
  type PublicKeyFormat,
  publicKeyLine,
  removeKnownHost,
  replaceKnownHost,
  type ReplaceKnownHostOptions,
  type RevokedCertificates,
  type RevokedKeys,
  revokedKeys,
  type RevokedKeysSource,
  type RsaKeyOptions,
  type SerialRange,
  type ServeAgentOptions,
  type SignatureProof,
  signCertificate,
  signerFromCryptoKey,
  signMessage,
  type SignMessageOptions,
  verifierAround,
  verifyMessage,
  type VerifyMessageOptions,
  verifySignature,
  verifyWith,
  writeKrl,
} from "./lib/keys/mod.ts";
export * from "./lib/sftp/mod.ts";
export { type TestClientOptions, type TestPair, testPair, type TestPairOptions } from "./lib/testing/mod.ts";
export { scpDownload, type ScpOptions, scpUpload, serveScp, type ServeScpOptions } from "./lib/scp/mod.ts";
