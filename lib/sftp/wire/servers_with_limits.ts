/**
 * Servers whose limits may be asked for before they have said that they tell them. OpenSSH PROTOCOL section 4.8. No I/O.
 *
 * @module
 */

/**
 * OpenSSH from 8.5 on, on Windows too. Whatever else serves SFTP there refuses the question by a status, as the draft has it. A server of
 * this module is not among them, as its program may serve anything by the name of `sftp`: it tells them in VERSION.
 */
const known = /^SSH-2\.0-OpenSSH_(?:for_Windows_)?(?:8\.[5-9]|9\.|[1-9]\d+\.)/;

/** Whether limits@openssh.com may leave together with INIT, as far as the server's identification tells. */
export function hasLimits(peer: string | undefined): boolean {
  return peer !== undefined && known.test(peer);
}
