/**
 * The proxy that the environment names, as curl reads it. No I/O: who calls reads the variables.
 *
 * @module
 */
import { parseProxy, type Proxy } from "./proxy_url.ts";

/**
 * The proxy of the first of `all_proxy`, `ALL_PROXY`, `https_proxy` and `HTTPS_PROXY` that is set, or null without one, or where
 * `no_proxy` or `NO_PROXY` names the host: by its name, by a domain that it is in, or by `*`. A value without a scheme is a proxy of HTTP.
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
    return entry === "*" || host === domain || host.endsWith(`.${domain}`);
  });
}
