/**
 * The proxy that the environment names, as curl reads it. No I/O: who calls reads the variables.
 *
 * @module
 */
import { ipv4Bytes, ipv6Bytes } from "./address.ts";
import { parseProxy, type Proxy } from "./proxy_url.ts";

/**
 * The proxy of the first of `all_proxy`, `ALL_PROXY`, `https_proxy` and `HTTPS_PROXY` that is set, or null without one, or where
 * `no_proxy` or `NO_PROXY` names the host: by its name, by a domain or a network that it is in, or by `*`. A value without a scheme is a
 * proxy of HTTP.
 */
export function proxyOfEnvironment(get: (name: string) => string | undefined, hostname: string): Proxy | null {
  const first = (...names: string[]): { name: string; value: string } | undefined =>
    names.map((name) => ({ name, value: get(name) ?? "" })).find(({ value }) => value !== "");
  const proxy = first("all_proxy", "ALL_PROXY", "https_proxy", "HTTPS_PROXY");
  if (proxy === undefined || isExempt(first("no_proxy", "NO_PROXY")?.value ?? "", hostname)) return null;
  return parseProxy(/^[a-z][a-z\d+.-]*:\/\//i.test(proxy.value) ? proxy.value : `http://${proxy.value}`, proxy.name);
}

function isExempt(list: string, hostname: string): boolean {
  const bare = (name: string): string => name.toLowerCase().replace(/^\[(.*)\]$/, "$1").replace(/\.$/, "");
  const host = bare(hostname);
  return list.split(/[\s,]+/).filter((entry) => entry !== "").some((entry) => {
    const domain = bare(entry).replace(/^\./, "");
    return entry === "*" || host === domain || host.endsWith(`.${domain}`) || isWithin(host, entry);
  });
}

/** Whether a host is an address of a network such as `10.0.0.0/8`. */
function isWithin(host: string, network: string): boolean {
  const bytesOf = (text: string): Uint8Array | null => ipv4Bytes(text) ?? ipv6Bytes(text);
  const [, first = "", bits] = /^(.+)\/(\d{1,3})$/.exec(network) ?? [], from = bytesOf(first), address = bytesOf(host);
  if (from === null || address === null || from.length !== address.length || Number(bits) > 8 * from.length) {
    return false;
  }
  return from.every((byte, i) => {
    const mask = 0xff00 >> Math.min(Math.max(Number(bits) - 8 * i, 0), 8) & 0xff;
    return (byte & mask) === (address[i]! & mask);
  });
}
