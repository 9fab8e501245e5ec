/**
 * The client: connect, log in, run commands.
 *
 * ```ts
 * import { connect, password } from "@amiko/ssh/client";
 *
 * async function uname(hostname: string): Promise<string> {
 *   await using client = await connect({ hostname, username: "alice", auth: [password("wonderland")] });
 *   return (await client.run("uname -a")).text();
 * }
 * ```
 *
 * @module
 */
export {
  type AliasOptions,
  connect,
  type ConnectOptions,
  type ControlPathOptions,
  type DialOptions,
  type HandshakeOptions,
  type HostKeyUpdate,
  type LoginOptions,
  type RetiredKey,
  SshClient,
  type UpdateHostKeys,
} from "./lib/api/client.ts";
export {
  loadSshConfig,
  type LoadSshConfigOptions,
  type SshConfig,
  type SshConfigOverrides,
} from "./lib/api/config/ssh_config.ts";
export { type ConfigPlace, SshConfigError } from "./lib/config/config_error.ts";
export { type AskOptions, askTerminal, type AttachOptions, attachTerminal } from "./lib/api/terminal.ts";
export { webSocketTransport } from "./lib/api/web_socket.ts";
export { copyId, type CopyIdOptions } from "./lib/api/copy_id.ts";
export type { WaitOptions } from "./lib/wire/deadline.ts";
export type { ScpClient } from "./lib/api/scp.ts";
export { Channel } from "./lib/api/transport/channel.ts";
export type { BaseChannel } from "./lib/connection/channel.ts";
export type { ChannelOptions, KeepaliveOptions, ProtocolOptions } from "./lib/api/options.ts";
export type { RemoteAddress } from "./lib/forward/client.ts";
export type { SshConn } from "./lib/forward/conn.ts";
export type { Forward, ForwardedConnection, ForwardOptions } from "./lib/forward/forward.ts";
export type { SshListener } from "./lib/forward/listener.ts";
export type { TcpAddress, TcpListenAddress, UnixAddress } from "./lib/forward/local_sockets.ts";
export type { RemoteTarget } from "./lib/forward/standing.ts";
export type { HttpClientOptions } from "./lib/http/http_client.ts";
export type { HttpHandler } from "./lib/http/serve.ts";
export type { X11Request } from "./lib/session/x11_request.ts";
export type { ExpectOptions } from "./lib/session/expect.ts";
export type { OutputMatch } from "./lib/session/pattern.ts";
export type { Answer, AnswerValue } from "./lib/session/respond.ts";
export { RemoteProcess } from "./lib/session/process.ts";
export type { SudoOptions } from "./lib/session/sudo.ts";
export type { SftpOptions } from "./lib/api/sftp_channels.ts";
export type { ExecOptions, ExecOutput, ExitStatus, PtyOptions, WindowSize, X11Options } from "./lib/session/types.ts";

export {
  type AuthMethod,
  keyboardInteractive,
  none,
  password,
  type PasswordOptions,
  publicKey,
} from "./lib/auth/methods.ts";
export { hostBased, type HostBasedOptions } from "./lib/auth/host_based.ts";
export type { Prompt } from "./lib/auth/types.ts";
export {
  insecureAcceptAnyHostKey,
  knownHosts,
  type KnownHostsOptions,
  type KnownHostsVerifier,
  pinnedHostKey,
} from "./lib/keys/trust/known_hosts.ts";
export type { Agent, Certificate, HostKeyVerifier, PublicKey, Signer } from "./lib/keys/types.ts";
export { withCertificate } from "./lib/keys/with_certificate.ts";
export type { KeyText } from "./lib/keys/key_text.ts";
export type { RsaKeyOptions } from "./lib/keys/rsa_public.ts";

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
export type { CommandTemplate, RemoteCommand } from "./lib/session/remote_command.ts";
export { SshCommandError } from "./lib/session/output.ts";
export { quote, type ShellValue } from "./lib/session/quote.ts";
export type { Input } from "./lib/session/input.ts";
export type { ByteDuplex, Bytes, MaybePromise } from "./lib/wire/types.ts";

export {
  ChannelOpenError,
  HostKeyChangedError,
  HostKeyError,
  HostKeyRevokedError,
  HostKeyUnknownError,
  KeyFormatError,
  type KeyFormatReason,
  type KnownHostsPlace,
  SshAuthError,
  SshDisconnectError,
  SshError,
  type SshErrorCode,
  type SshErrorOptions,
  SshProtocolError,
} from "./lib/errors.ts";
