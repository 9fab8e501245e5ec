/**
 * Keys: public and private keys, known hosts, authorized keys and SSH agents.
 *
 * ```ts
 * import { generateKey, parsePublicKey } from "@amiko/ssh/keys";
 *
 * const key = await generateKey("ed25519", { comment: "me@example" });
 * const signature = await key.sign(new TextEncoder().encode("hello"), "ssh-ed25519");
 * const known = parsePublicKey(`${key.publicKey.type} ${key.publicKey.blob.toBase64()}`);
 * console.log(await known.verify(new TextEncoder().encode("hello"), signature)); // true
 * console.log(await known.fingerprint());
 * ```
 *
 * @module
 */
export {
  HostKeyChangedError,
  HostKeyError,
  HostKeyRevokedError,
  HostKeyUnknownError,
  KeyFormatError,
  type KeyFormatReason,
  type KnownHostsPlace,
  SshError,
  type SshErrorCode,
  type SshErrorOptions,
} from "../errors.ts";
export type { ByteDuplex, Bytes, MaybePromise } from "../wire/types.ts";
export type {
  Agent,
  Certificate,
  ExportOptions,
  HostKeyVerifier,
  PrivateKey,
  PrivateKeyFormat,
  PublicKey,
  Signer,
} from "./types.ts";
export {
  exportPublicKey,
  insecureVerifySha1,
  parsePublicKey,
  type PublicKeyFormat,
  publicKeyFromBlob,
  publicKeyLine,
  type SignatureProof,
  verifySignature,
  verifyWith,
} from "./public_key.ts";
export type { AuthenticatorData } from "./key_type.ts";
export { parseCertificate } from "./certificate.ts";
export { type CertificateOptions, signCertificate } from "./sign_certificate.ts";
export { withCertificate } from "./with_certificate.ts";
export { signMessage, type SignMessageOptions } from "./sshsig/sign_message.ts";
export {
  findPrincipals,
  type FindPrincipalsOptions,
  messageSigner,
  type MessageSignerOptions,
  verifyMessage,
  type VerifyMessageOptions,
} from "./sshsig/verify_message.ts";
export type { MessageHash } from "./sshsig/message_hash.ts";
export { type RevokedKeys, revokedKeys, type RevokedKeysSource } from "./trust/revoked_keys.ts";
export { type Krl, type KrlContent, parseKrl, type RevokedCertificates, type SerialRange } from "./trust/krl.ts";
export { writeKrl } from "./trust/krl_writer.ts";
export { generateKey, insecureSha1Signer, parsePrivateKey, type PrivateKeyOptions } from "./private_key.ts";
export { type CryptoKeys, signerFromCryptoKey } from "./crypto_key.ts";
export { createPasskey, type CreatePasskeyOptions, type Passkey, passkey, type PasskeyOptions } from "./passkey.ts";
export type { KeyFile } from "./key_file.ts";
export type { Passphrase, PassphraseQuestion } from "./passphrase.ts";
export type { KeyText } from "./key_text.ts";
export type { RsaKeyOptions } from "./rsa_public.ts";
export {
  hashHostname,
  insecureAcceptAnyHostKey,
  knownHostKeyTypes,
  knownHosts,
  type KnownHostsOptions,
  type KnownHostsVerifier,
  pinnedHostKey,
} from "./trust/known_hosts.ts";
export { type AroundVerifier, verifierAround } from "./trust/verifier_around.ts";
export type { KnownHostLine } from "./trust/known_hosts_edit.ts";
export type { KnownHostsMarker } from "./trust/known_hosts_lines.ts";
export {
  findKnownHost,
  hashKnownHosts,
  type KnownHostOptions,
  removeKnownHost,
  replaceKnownHost,
  type ReplaceKnownHostOptions,
} from "./trust/known_hosts_files.ts";
export {
  type AuthorizedKey,
  type AuthorizedKeyOption,
  parseAuthorizedKeys,
  type RejectedLine,
} from "./trust/authorized_keys.ts";
export {
  type AuthorizedKeyClient,
  type AuthorizedKeyMatch,
  authorizedKeys,
  type AuthorizedKeysOptions,
  type AuthorizedKeysSource,
  matchAuthorizedKey,
} from "../auth/authorized_keys.ts";
export { trustedUserCAs, type TrustedUserCAsOptions } from "../auth/user_certificates.ts";
export type { Grant } from "../auth/grants.ts";
export type { AuthInfo } from "../auth/types.ts";
export type { ConnectionInfo, NegotiatedDirection } from "../transport/types.ts";
export { type AgentConnection, type AgentSigner, connectAgent, type KeyAgent } from "../agent/agent.ts";
export type { AgentUse } from "../agent/agent_connection.ts";
export type { AgentListener } from "../agent/agent_listener.ts";
export type { AgentKeyOptions } from "../agent/constraints.ts";
export type { AgentHop, KeyDestination } from "../agent/destinations.ts";
export { keyDestinations, type KeyDestinationsOptions } from "../agent/known_destinations.ts";
export { createAgent, type CreateAgentOptions, type LocalAgent, type ServeAgentOptions } from "../agent/local_agent.ts";
export type { AgentSession } from "./session_agents.ts";
export { defaultIdentities, type DefaultIdentitiesOptions } from "../agent/default_identities.ts";
