/**
 * Times, sizes, numbers and ports as ssh_config writes them: ssh_config(5), sshd_config(5) TIME FORMATS. No I/O.
 *
 * @module
 */

const MAX_INT = 0x7fff_ffff;
const SECONDS: Readonly<Record<string, number>> = { "": 1, s: 1, m: 60, h: 3600, d: 86_400, w: 604_800 };

/** A time such as `90`, `1m30s` or `2w`, in seconds; null for what is none. */
export function parseTime(text: string): number | null {
  if (!/^(\d{1,16}[smhdw]?)+$/i.test(text) || text.length > 256) return null;
  let seconds = 0;
  for (const [, count, unit] of text.matchAll(/(\d+)([smhdw]?)/gi)) {
    seconds += Number(count) * SECONDS[unit!.toLowerCase()]!;
  }
  return seconds <= MAX_INT ? seconds : null;
}

/** A number that is not negative; null for what is none. */
export function parseCount(text: string): number | null {
  const count = /^\d{1,16}$/.test(text) ? Number(text) : Infinity;
  return count <= MAX_INT ? count : null;
}

/** A size such as `512`, `1G` or `1.5M`, in bytes; null for what is none. */
export function parseSize(text: string): number | null {
  const [, digits, unit] = /^(\d{1,15}(?:\.\d{1,15})?)([bkmgtpe]?)$/i.exec(text) ?? [];
  if (digits === undefined) return null;
  const bytes = Math.trunc(Number(digits) * 1024 ** Math.max(0, "bkmgtpe".indexOf(unit!.toLowerCase() || "b")));
  return bytes <= Number.MAX_SAFE_INTEGER ? bytes : null;
}

/** Services of TCP that people write in the place of their ports, where the system's own list cannot be read. */
const SERVICES: Readonly<Record<string, number>> = {
  ssh: 22,
  telnet: 23,
  smtp: 25,
  domain: 53,
  http: 80,
  pop3: 110,
  imap2: 143,
  imap: 143,
  ldap: 389,
  https: 443,
  submission: 587,
  ldaps: 636,
  imaps: 993,
  pop3s: 995,
  socks: 1080,
  mysql: 3306,
  postgresql: 5432,
  x11: 6000,
  redis: 6379,
  "http-alt": 8080,
};

/** A port, by its number or the name of its service; null for what is none. 0 is one. */
export function parsePort(text: string): number | null {
  if (/^\d+$/.test(text)) {
    const port = parseCount(text);
    return port !== null && port <= 0xffff ? port : null;
  }
  return Object.hasOwn(SERVICES, text) ? SERVICES[text]! : null;
}
