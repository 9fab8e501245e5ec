/**
 * Destinations of keys by the names of hosts, whose keys known_hosts has: what `ssh-add -h` does. ssh-add(1). Reads files through
 * known_hosts_files.ts.
 *
 * @module
 */
import { HostKeyUnknownError, printable, SshError } from "../errors.ts";
import { parsePublicKey } from "../keys/public_key.ts";
import { findKnownHost } from "../keys/trust/known_hosts_files.ts";
import { lookupName } from "../keys/trust/host_patterns.ts";
import { lineFields } from "../keys/trust/known_hosts_lines.ts";
import type { PublicKey } from "../keys/types.ts";
import { knownHostsPaths } from "../keys/user_files.ts";
import { checkNames, checkObject, checkText, wrongKind } from "../wire/check.ts";
import type { AgentHop, KeyDestination } from "./destinations.ts";

/** Options of {@linkcode keyDestinations}. */
export interface KeyDestinationsOptions {
  /** Paths of known_hosts files. @default {the user's and the system's, as `knownHosts()` has them} */
  files?: readonly string[] | undefined;
}

/**
 * Destinations for {@linkcode AgentKeyOptions.destinations}, written as `ssh-add -h` takes them: `host` and `user@host` for logins from the
 * agent's machine, `first>host` and `first>user@host` for logins from a host that the agent is forwarded to. The user is a pattern with `*`
 * and `?`; another port than 22 is written as `[host]:2222`. Each host's keys, and its certificate authorities, are those that known_hosts
 * has and does not mark `@revoked`.
 *
 * Throws `TypeError` for what is not of this form, and `HostKeyUnknownError` for a host that known_hosts has no key of.
 */
export async function keyDestinations(
  destinations: readonly string[],
  options: KeyDestinationsOptions = {},
): Promise<KeyDestination[]> {
  if (!Array.isArray(destinations)) throw wrongKind("destinations", destinations, 'a list such as `["host"]`');
  checkObject("options", options, "an object such as `{ files }`");
  checkNames("keyDestinations()", options, ["files"]);
  const { files = [...knownHostsPaths().own, ...knownHostsPaths().global] } = options;
  if (!Array.isArray(files)) throw wrongKind("files", files, "a list of paths");
  for (const file of files) checkText("files", file, "a list of paths");
  const found: KeyDestination[] = [];
  for (const text of destinations as unknown[]) {
    checkText("destinations", text, 'a list of texts such as `"user@host"` and `"first>host"`');
    const steps = (text as string).split(">"), last = steps.at(-1)!, at = last.lastIndexOf("@");
    if (steps.length > 2 || steps.length === 2 && steps[0]!.includes("@") || at === 0) {
      throw new TypeError(
        `Cannot use destination "${
          printable(text as string, 64)
        }": write host, user@host, first>host or first>user@host`,
      );
    }
    const to = await hopOf(last.slice(at + 1), files),
      from = steps.length === 2 ? await hopOf(steps[0]!, files) : undefined;
    found.push({ from, to: { ...to, username: at === -1 ? undefined : last.slice(0, at) } });
  }
  return found;
}

async function hopOf(name: string, files: readonly string[]): Promise<AgentHop> {
  const [, bracketed, digits] = /^\[(.+)\]:(\d{1,5})$/.exec(name) ?? [];
  const hostname = bracketed ?? name, port = digits === undefined ? 22 : Number(digits);
  const hostKeys: PublicKey[] = [], cas: PublicKey[] = [], revoked = new Set<string>();
  for (const file of files) {
    // A key that is revoked without a port is so at each.
    const bare = port === 22
      ? []
      : (await findKnownHost(hostname, { file })).filter(({ marker }) => marker === "revoked");
    for (const { marker, text } of [...await findKnownHost(hostname, { port, file }), ...bare]) {
      const key = keyOf(text);
      if (key === null) continue;
      if (marker === "revoked") revoked.add(String(key));
      else (marker === "cert-authority" ? cas : hostKeys).push(key);
    }
  }
  const trusted = (keys: readonly PublicKey[]): PublicKey[] => keys.filter((key) => !revoked.has(String(key)));
  const hop = { hostname: lookupName(hostname, port), hostKeys: trusted(hostKeys), cas: trusted(cas) };
  if (hop.hostKeys.length + hop.cas.length > 0) return hop;
  throw new HostKeyUnknownError(
    `Cannot restrict key to "${
      printable(name, 64)
    }": known_hosts has no key of that host; log in there once, or add its key`,
  );
}

function keyOf(text: string): PublicKey | null {
  const fields = lineFields(text);
  if (fields === null) return null;
  try {
    return parsePublicKey(`${fields.type} ${fields.base64}`);
  } catch (error) {
    // A key of a type that is not known here, or none at all: no host can be that.
    if (error instanceof SshError) return null;
    throw error;
  }
}
