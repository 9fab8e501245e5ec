/**
 * What of ssh_config has no meaning here, or another one, and how a program is told: once for each keyword, and only where a line that
 * applies has set it. ssh_config(5). No I/O.
 *
 * @module
 */
import type { Complete } from "../../config/complete.ts";
import { callBack } from "../../wire/callback.ts";

/** Tells a program of each keyword once. */
export class Notices {
  readonly #told = new Set<string>();
  readonly #onNotice: ((notice: string) => void) | undefined;

  /** Without `onNotice` nobody hears them. */
  constructor(onNotice: ((notice: string) => void) | undefined) {
    this.#onNotice = onNotice;
  }

  /** Tells of a keyword, unless that has been done. */
  tell(keyword: string, text: string): void {
    if (this.#told.has(keyword)) return;
    this.#told.add(keyword);
    callBack(() => this.#onNotice?.(`ssh_config: ${keyword}: ${text}`));
  }
}

const SOCKETS = "has no meaning here: the system chooses the address that connections come from";
const LOGS = "has no meaning here: `trace` tells what happens";
const TERMINAL = "has no meaning here: the options of a command ask for its terminal, its input and how it starts";

/** Keywords that are not followed, the values with which nothing is missed, and what is said of others. */
const unheard: Readonly<Record<string, readonly [harmless: readonly string[], text: string]>> = {
  AddKeysToAgent: [["false"], "keys are added to no agent"],
  AddressFamily: [["any"], "has no meaning here: the system chooses among a host's addresses"],
  BindAddress: [[], SOCKETS],
  BindInterface: [[], SOCKETS],
  CASignatureAlgorithms: [[], "is not followed: signatures of authorities are checked as if it were not there"],
  ChannelTimeout: [["none"], "has no meaning here: commands have `timeout`"],
  CheckHostIP: [["no"], "is not followed: a host is known by its name alone"],
  ConnectionAttempts: [["1"], "is not followed: one attempt is made"],
  ControlPersist: [["no"], "has no meaning here: a running master is used, and none is left behind"],
  EnableEscapeCommandline: [["no"], TERMINAL],
  EnableSSHKeysign: [["no"], "has no meaning here"],
  EscapeChar: [["none"], TERMINAL],
  FingerprintHash: [["SHA256"], "has no meaning here: fingerprints are of SHA-256"],
  ForkAfterAuthentication: [["no"], TERMINAL],
  GSSAPIAuthentication: [["no"], "is not there: logins by Kerberos are not made"],
  GSSAPIKeyExchange: [["no"], "is not there: keys are not exchanged by Kerberos"],
  HostbasedAuthentication: [["no"], "is not tried"],
  IPQoS: [[], "has no meaning here: sockets have no such setting"],
  KbdInteractiveDevices: [[], "is not followed: the server chooses what it asks for"],
  KnownHostsCommand: [[], "is not run: hosts that only it knows are refused"],
  LogLevel: [["INFO"], LOGS],
  LogVerbose: [["none"], LOGS],
  NoHostAuthenticationForLocalhost: [["no"], "is not followed: the host key is checked there, too"],
  ObscureKeystrokeTiming: [["no"], "has no meaning here: keys are not typed"],
  PermitRemoteOpen: [["any"], "has no meaning here: the server is not lent SOCKS"],
  PKCS11Provider: [[], "is not there: an agent can hold such keys"],
  PubkeyAuthentication: [["true", "false"], "is as `yes` here: logins name the host key where the server takes that"],
  ProxyUseFdpass: [["no"], "is not followed: the standard streams of ProxyCommand are the connection"],
  RemoteCommand: [[], "has no meaning here: a program says itself what runs"],
  RequestTTY: [["auto", "false"], TERMINAL],
  RequiredRSASize: [
    ["1024", "2048"],
    "is not followed: RSA keys have 2,048 bits and more, or what `insecureMinRsaBits` says",
  ],
  SecurityKeyProvider: [["internal"], "has no meaning here: an agent can hold keys of security tokens"],
  SessionType: [["default"], TERMINAL],
  StdinNull: [["no"], TERMINAL],
  StreamLocalBindMask: [["0177"], "is not followed: sockets are the user's own"],
  StreamLocalBindUnlink: [["no"], "is not followed: a socket that is there stays"],
  SyslogFacility: [[], LOGS],
  TCPKeepAlive: [["yes"], "is not followed: connections are kept alive"],
  Tunnel: [["false"], "is not there: packets are not tunnelled"],
  VerifyHostKeyDNS: [["false"], "is not followed: DNS is not asked for host keys"],
  VisualHostKey: [["no"], "has no meaning here"],
  WarnWeakCrypto: [["no"], "has no meaning here: `info` of the connection tells what was agreed on"],
  XAuthLocation: [["/usr/bin/xauth"], "is not followed: `xauth` is found by PATH"],
};

/** Tells of everything that is not followed. */
export function tellUnheard(found: Complete, notices: Notices): void {
  for (const [keyword, [harmless, text]] of Object.entries(unheard)) {
    const name = keyword.toLowerCase();
    // Debian sets it for everybody, and nobody misses it who has no ticket.
    if (keyword === "GSSAPIAuthentication" && found.settings.places.get(name)?.file.startsWith("/etc/ssh/")) continue;
    if (found.isSet(name) && !harmless.includes(found.all(name).join(" ") || found.get(name)!)) {
      notices.tell(keyword, text);
    }
  }
  if (found.get("permitlocalcommand") === "yes" && found.isSet("localcommand")) {
    notices.tell("LocalCommand", "is not run: a program can do that itself");
  }
  for (const name of found.settings.ignored.keys()) {
    notices.tell(name, "is passed over, as `ssh` does");
  }
}
