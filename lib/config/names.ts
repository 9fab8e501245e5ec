/**
 * Names of hosts and users that come from outside, and what of them a shell could take for more than a name: they are refused as `ssh` of
 * OpenSSH 10.6 refuses those of its command line, before anything of the configuration is looked at. No I/O.
 *
 * @module
 */
import { printable } from "../errors.ts";
import { SshConfigError } from "./config_error.ts";

/** Bytes of the longest name of a host. */
const MAX_HOST = 1024;

// deno-lint-ignore no-control-regex
const unfitHost = /^-|['`"$\\;&<>|(){}\s\u0000-\u001f\u007f]/;
// A blank before a "-" would make an option of what follows.
// deno-lint-ignore no-control-regex
const unfitUser = /^-|['`"$\\;&<>|(){}\u0000-\u001f\u007f]|\s-/;

/** Throws `SshConfigError` for a host's name that a shell, or a program, could take for something else. */
export function checkHost(host: string, what = "host name"): void {
  if (host !== "" && host.length <= MAX_HOST && host.isWellFormed() && !unfitHost.test(host)) return;
  throw unfit(what, host, 'blanks, control characters, quotes, a leading "-" or any of $\\;&<>|(){}');
}

/** Throws `SshConfigError` for a user's name of that kind. */
export function checkUser(user: string, what = "user name"): void {
  if (user !== "" && user.length <= MAX_HOST && user.isWellFormed() && !unfitUser.test(user)) return;
  throw unfit(what, user, 'control characters, quotes, a leading "-" or any of $\\;&<>|(){}');
}

function unfit(what: string, name: string, without: string): SshConfigError {
  const why = name === "" ? "it is empty" : `a shell could take it for more than a name: it must be without ${without}`;
  return new SshConfigError(`Cannot use "${printable(name, 128)}" as ${what}: ${why}`, null);
}

/** A domain as DNS has it, for an error: what is wrong with it, or null. */
export function domainProblem(name: string): string | null {
  if (name.length > 255) return "it is too long";
  if (!/^[a-z\d]/i.test(name)) return "it begins with neither a letter nor a digit";
  if (!/^[a-z\d._-]+$/i.test(name)) return "it holds characters that no domain has";
  return name.includes("..") ? "it has an empty part" : null;
}

/** Whether a name is an address, by its looks: nobody looks those up. */
export function looksLikeAddress(name: string): boolean {
  return name.includes(":") || name.includes("%") || /^[\d.]+$/.test(name);
}

/** An address in the form that everybody writes, or null for what is none. */
export function plainAddress(name: string): string | null {
  if (name.includes(":")) {
    const [address, zone] = name.split("%", 2) as [string, string | undefined];
    const host = /^[\da-f:.]{2,45}$/i.test(address)
      ? URL.parse(`http://[${address}]/`)?.hostname.slice(1, -1)
      : undefined;
    if (host === undefined) return null;
    return (mappedAddress(host) ?? host) + (zone === undefined ? "" : `%${zone}`);
  }
  if (!/^[\da-fx.]+$/i.test(name) || !/^\d/.test(name)) return null;
  const host = URL.parse(`http://${name}/`)?.hostname;
  return host !== undefined && /^\d+\.\d+\.\d+\.\d+$/.test(host) ? host : null;
}

/** IPv4 in IPv6, as addresses are shown: URLs write it in hexadecimal digits. */
function mappedAddress(host: string): string | null {
  const [, high, low] = /^::ffff:([\da-f]{1,4}):([\da-f]{1,4})$/.exec(host) ?? [];
  if (high === undefined) return null;
  const bytes = [high, low!].map((group) => parseInt(group, 16)).flatMap((group) => [group >> 8, group & 255]);
  return `::ffff:${bytes.join(".")}`;
}
