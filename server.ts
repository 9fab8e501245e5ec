/**
 * The server: listen, decide who may log in, serve commands.
 *
 * ```ts
 * import { generateKey, serve } from "@amiko/ssh/server";
 *
 * await using server = serve({
 *   hostname: "127.0.0.1",
 *   port: 0,
 *   hostKeys: [await generateKey()],
 *   auth: { password: ({ username }, password) => username === "alice" && password === "wonderland" },
 *   async handler(session) {
 *     const writer = session.stdout.getWriter();
 *     await writer.write(new TextEncoder().encode(`Hello ${session.user.name}\n`));
 *     return 0;
 *   },
 * });
 * console.log(`ssh -p ${server.addr.port} alice@127.0.0.1`);
 * ```
 *
 * @module
 */
export { serve, serveConn } from "./lib/api/server.ts";
export { webSocketTransport } from "./lib/api/web_socket.ts";
export { scpHandler } from "./lib/api/scp_handler.ts";
export { sftpSubsystem } from "./lib/api/sftp_subsystem.ts";
export { type SharedAdmission, sharedAdmission } from "./lib/api/admission/shared.ts";
export type { MaxStartups } from "./lib/api/admission/admission.ts";
export type { SourcePenalties } from "./lib/api/admission/penalties.ts";
export type { AllowForward, DirectForward, OnForward } from "./lib/forward/accept_forwards.ts";
export type { SshConn } from "./lib/forward/conn.ts";
export type { ChannelOptions, KeepaliveOptions, ProtocolOptions } from "./lib/api/options.ts";
export type { RsaKeyOptions } from "./lib/keys/rsa_public.ts";
export type {
  AdmissionOptions,
  AllowLent,
  ListenOptions,
  ServeConnOptions,
  ServeErrorInfo,
  ServeOptions,
  ServerHandshakeOptions,
  ServerLoginOptions,
  ServiceOptions,
  SshServer,
} from "./lib/api/serve_options.ts";
export type { ServerSession, SessionHandler } from "./lib/session/server_session.ts";
export type { ForwardedAgent, ForwardedX11, PtyOptions, Terminal, WindowSize } from "./lib/session/types.ts";

export type { ForwardRequest } from "./lib/auth/forward_grants.ts";
export type { Grant } from "./lib/auth/grants.ts";
export type { AuthInfo, AuthResult, PasswordResult, Prompt, ServerAuth } from "./lib/auth/types.ts";
export { trustedUserCAs, type TrustedUserCAsOptions } from "./lib/auth/user_certificates.ts";
export type { AuthenticatorData } from "./lib/keys/key_type.ts";
export { generateKey, parsePrivateKey } from "./lib/keys/private_key.ts";
export { parsePublicKey } from "./lib/keys/public_key.ts";
export {
  type AuthorizedKeyClient,
  type AuthorizedKeyMatch,
  authorizedKeys,
  type AuthorizedKeysOptions,
  type AuthorizedKeysSource,
  matchAuthorizedKey,
} from "./lib/auth/authorized_keys.ts";
export { parseAuthorizedKeys } from "./lib/keys/trust/authorized_keys.ts";
export type { KeyText } from "./lib/keys/key_text.ts";
export type { AuthorizedKey, AuthorizedKeyOption, RejectedLine } from "./lib/keys/trust/authorized_keys.ts";
export type { Certificate, PrivateKey, PublicKey, Signer } from "./lib/keys/types.ts";
export { withCertificate } from "./lib/keys/with_certificate.ts";

export { defaultAlgorithms, hardenedAlgorithms, insecureAlgorithms } from "./lib/crypto/algorithms.ts";
export type { TraceEvent } from "./lib/transport/transport_options.ts";
export type {
  AlgorithmOverrides,
  Algorithms,
  ConnectionInfo,
  NegotiatedDirection,
  RekeyLimits,
} from "./lib/transport/types.ts";
export { decodeText, encodeText } from "./lib/wire/byte_text.ts";
export type { WaitOptions } from "./lib/wire/deadline.ts";
export type { ByteDuplex, Bytes, MaybePromise } from "./lib/wire/types.ts";

export {
  ChannelOpenError,
  KeyFormatError,
  type KeyFormatReason,
  SshAuthError,
  SshDisconnectError,
  SshError,
  type SshErrorCode,
  type SshErrorOptions,
  SshProtocolError,
} from "./lib/errors.ts";
