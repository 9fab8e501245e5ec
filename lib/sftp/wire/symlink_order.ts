/**
 * Which of the two orders of SYMLINK's fields a peer uses. draft-ietf-secsh-filexfer-02 section 6.10, OpenSSH PROTOCOL
 * section 4.1. No I/O.
 *
 * The draft has the link before its target, OpenSSH the other way about, and nearly all follow OpenSSH. Some keep to the draft,
 * and some to the one or the other by the identification of the side they talk to.
 *
 * @module
 */

/** Green End's extension of VERSION, whose data says which path comes first. */
export const SYMLINK_ORDER = "symlink-order@rjk.greenend.org.uk";

/** The identification lines of a connection; absent on streams that are none. */
export interface Idents {
  /** The peer's. */
  readonly peer: string | undefined;
  /** This side's, by which some peers choose. */
  readonly own: string | undefined;
}

/** Peers that keep to the draft, but for those of this side's names that they take for OpenSSH's own. */
interface Keepers {
  readonly peer: RegExp;
  /** Absent where they look at no name. */
  readonly butFor?: RegExp;
}

const asyncssh: Keepers = { peer: /^SSH-2\.0-AsyncSSH_/, butFor: /OpenSSH|paramiko/ };
const ssh2: Keepers = { peer: /^SSH-2\.0-ssh2js/, butFor: /^SSH-2\.0-(?:OpenSSH|dropbear)/ };

/** Servers that take the link first. */
const servers: readonly Keepers[] = [
  asyncssh,
  ssh2,
  { peer: /^SSH-2\.0-Erlang\// },
  { peer: /^SSH-2\.0-libssh_/ },
  { peer: /^SSH-2\.0-Twisted/ },
];

/**
 * Clients that send the link first to a server that is not OpenSSH's. Those that do so to OpenSSH as well are treated as OpenSSH
 * treats them.
 */
const clients: readonly Keepers[] = [
  asyncssh,
  ssh2,
  { peer: /^SSH-2\.0-libssh_/, butFor: /OpenSSH/ },
  { peer: /^SSH-2\.0-phpseclib_[23]/, butFor: /^SSH-2\.0-OpenSSH/ },
  { peer: /^SSH-2\.0-WinSCP_/, butFor: /OpenSSH|mod_sftp/ },
];

function isAmong(keepers: readonly Keepers[], { peer, own = "" }: Idents): boolean {
  const found = peer === undefined ? undefined : keepers.find((one) => one.peer.test(peer));
  return found !== undefined && !found.butFor?.test(own);
}

/** Whether a server takes the link before its target, as far as its identification tells. */
export function serverTakesLinkFirst(idents: Idents): boolean {
  return isAmong(servers, idents);
}

/** Whether a client sends the link before its target. */
export function clientSendsLinkFirst(idents: Idents): boolean {
  return isAmong(clients, idents);
}

/** What a server itself says of the order: whether the link comes first; null where it says nothing. */
export function saidLinkFirst(extensions: ReadonlyMap<string, string>): boolean | null {
  switch (extensions.get(SYMLINK_ORDER)) {
    case "linkpath-targetpath":
      return true;
    case "targetpath-linkpath":
      return false;
    default:
      return null;
  }
}
