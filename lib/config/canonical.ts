/**
 * Real names of hosts: CanonicalizeHostname and its kin of ssh_config(5). DNS is asked only through what it is given.
 *
 * @module
 */
import { printable } from "../errors.ts";
import { SshConfigError } from "./config_error.ts";
import { domainProblem, looksLikeAddress, plainAddress } from "./names.ts";
import { fitsHostList } from "./patterns.ts";
import type { Settings } from "./settings.ts";

/** DNS, as far as it is needed. */
type LookUp = (name: string) => Promise<string | null>;

/** The name of the host that a second pass, and the connection, are for. Throws `SshConfigError` where a host must be found and is not. */
export async function canonicalHost(
  host: string,
  settings: Settings,
  direct: boolean,
  lookUp: LookUp,
): Promise<string> {
  const wish = settings.get("canonicalizehostname") ?? "false";
  const address = plainAddress(host);
  if (address !== null) return address;
  if (looksLikeAddress(host)) return host;
  const lower = host.toLowerCase(), cnames = cnameRules(settings);
  // Whatever stands in between may know other names than DNS does here.
  if (wish === "false" || !direct && wish !== "always") return lower;
  const found = await throughDomains(lower, settings, lookUp);
  if (found === null) return lower;
  const { full, real } = found;
  // A name of DNS comes from outside: it gets into commands only where it is a name.
  const isName = domainProblem(real) === null;
  const followed = isName && real !== full &&
    cnames.some(([from, to]) => fitsHostList(full, from) && fitsHostList(real, to));
  return followed ? real : full;
}

async function throughDomains(
  host: string,
  settings: Settings,
  lookUp: LookUp,
): Promise<{ full: string; real: string } | null> {
  const bare = (name: string): string => name.toLowerCase().replace(/\.$/, "");
  const ask = async (full: string): Promise<{ full: string; real: string } | null> => {
    const real = await lookUp(`${full}.`);
    return real === null ? null : { full, real: bare(real) };
  };
  if (host.endsWith(".")) {
    const found = await ask(bare(host));
    if (found !== null) return found;
  } else {
    const dots = host.split(".").length - 1;
    if (dots > Number(settings.get("canonicalizemaxdots") ?? 1)) return null;
    for (const domain of settings.all("canonicaldomains")) {
      if (domain.toLowerCase() === "none") break;
      const found = await ask(`${host}.${bare(domain)}`);
      if (found !== null) return found;
    }
  }
  if (settings.get("canonicalizefallbacklocal") !== "no") return null;
  throw new SshConfigError(
    `Cannot find host "${printable(host, 256)}" in any of CanonicalDomains, and CanonicalizeFallbackLocal says no`,
    settings.places.get("canonicalizefallbacklocal") ?? null,
  );
}

function cnameRules(settings: Settings): (readonly [from: string, to: string])[] {
  return settings.all("canonicalizepermittedcnames")
    .filter((rule) => rule.includes(":"))
    .map((rule) => rule.split(":", 2) as [string, string]);
}
