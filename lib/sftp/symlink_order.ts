/**
 * L5. Which of the two orders of SYMLINK's fields a peer uses. draft-ietf-secsh-filexfer-02 section 6.10, OpenSSH PROTOCOL section 4.1.
 * No I/O.
 *
 * @module
 */

/** Those that keep to the draft with all but OpenSSH, or nearly all: AsyncSSH, ssh2 for Node, libssh, WinSCP. */
const LINK_FIRST = /^SSH-2\.0-(?:AsyncSSH_|ssh2js|libssh_|WinSCP_)/;

/**
 * Whether a peer of this identification line sends and expects the link before its target, as the draft has it. OpenSSH has the
 * target first, and nearly all others follow it.
 */
export function putsLinkFirst(ident: string | undefined): boolean {
  return ident !== undefined && LINK_FIRST.test(ident);
}
