/**
 * What a server's word on its host keys changes in known_hosts, by the rules of `ssh` for `UpdateHostKeys`. ssh_config(5); OpenSSH PROTOCOL
 * section 2.5. Touches files by changed_file.ts alone.
 *
 * A server that has proved one key may tell its others; it is believed about lines that are its own and nobody else's. Where a line that names it has
 * a pattern, a marker or more than two names, where a key of it stands with another name, nothing changes: these lines are somebody's own work, or
 * another host's as well.
 *
 * @module
 */
import { equals } from "@std/bytes";
import { HostKeyError } from "../../errors.ts";
import { toBase64 } from "../../wire/base_text.ts";
import type { Bytes } from "../../wire/types.ts";
import { keyTypes } from "../key_types.ts";
import { appendTo, mayRewrite, readShared, rewrite } from "../changed_file.ts";
import type { PublicKey } from "../types.ts";
import { bareName } from "./host_patterns.ts";
import { addition, withoutHost } from "./known_hosts_edit.ts";
import { type KnownHostsEntry, parseKnownHosts } from "./known_hosts_lines.ts";
import type { TrustingFiles } from "./known_types.ts";

/** A known key that the server has no more. */
export interface RetiredKey {
  /** Key type. */
  readonly type: string;
  /** Key in wire encoding. */
  readonly blob: Bytes;
}

/** What changes for a host. */
export interface HostKeyChange {
  /** Keys that the server has and known_hosts does not. */
  readonly added: readonly PublicKey[];
  /** Keys that known_hosts has and the server does not. */
  readonly retired: readonly RetiredKey[];
}

/** What a server has told. */
export interface AnnouncedKeys {
  /** The keys that this side would take. */
  readonly keys: readonly PublicKey[];
  /** All that were told, in wire encoding, of whatever kind. */
  readonly blobs: readonly Bytes[];
  /** The key by which the server is known in this connection. */
  readonly current: PublicKey;
}

/** Keys as members of a set: there may be many lines to compare them with. */
const member = (blob: Bytes): string => toBase64(blob);

/** Whether a line names more than `ssh` itself would write into it. */
function isComplex(names: string): boolean {
  return /[*?!]|,.*,/s.test(names);
}

async function entriesOf(files: readonly string[]): Promise<KnownHostsEntry[]> {
  const texts = await Promise.all(files.map(async (file) => new TextDecoder().decode(await readShared(file))));
  return texts.flatMap((text, i) => parseKnownHosts(text, files[i]));
}

/** What is to be changed, or null for nothing. Throws `HostKeyError` where one of the keys is marked `@revoked`, and what reading throws. */
export async function planHostKeys(by: TrustingFiles, announced: AnnouncedKeys): Promise<HostKeyChange | null> {
  const { keys, blobs } = announced,
    { name } = by,
    current = announced.current.certificate?.publicKey ?? announced.current;
  if (keys.length === 0) return null;
  const told = new Set(blobs.map(member)), isAnnounced = (blob: Bytes): boolean => told.has(member(blob));
  const own = await entriesOf(by.files), known = new Set<string>(), elsewhere = new Set<string>();
  const retired: RetiredKey[] = [];
  const isHere = ({ hosts }: KnownHostsEntry): boolean => hosts.matches(name) || hosts.matches(bareName(name));
  for (const entry of [...own, ...await entriesOf(by.globalFiles)]) {
    if (entry.marker === "revoked" && isAnnounced(entry.blob) && isHere(entry)) {
      throw new HostKeyError(`it has a key that is marked @revoked at ${entry.place.file}:${entry.place.line}`);
    }
  }
  for (const { hosts, marker, names, type, blob } of own) {
    if (!hosts.matches(name)) elsewhere.add(member(blob));
    else if (marker !== "host" || isComplex(names)) return null;
    else if (isAnnounced(blob)) known.add(member(blob));
    // A type that nothing here can read is nothing that could have been told.
    else if (!equals(blob, current.blob) && keyTypes.has(type)) retired.push({ type, blob });
  }
  const added = keys.filter(({ blob }) => !known.has(member(blob)));
  if (added.length === 0 && retired.length === 0) return null;
  if ([...told, ...retired.map(({ blob }) => member(blob))].some((one) => elsewhere.has(one))) return null;
  return { added, retired };
}

/** Whether the files may be changed without a question of the runtime. */
export async function mayChange({ files }: TrustingFiles): Promise<boolean> {
  return (await Promise.all(files.map(mayRewrite))).every((may) => may);
}

/** Writes a change that has been planned: first what is added, so that the host stays known whatever happens. */
export async function changeHostKeys(by: TrustingFiles, { added, retired }: HostKeyChange): Promise<void> {
  const { name, files } = by, [first] = files;
  if (added.length > 0 && first !== undefined) {
    await appendTo(first, (before) => {
      const now = parseKnownHosts(new TextDecoder().decode(before), first, name);
      if (now.some(({ marker, names }) => marker !== "host" || isComplex(names))) return null;
      const missing = added.filter(({ blob }) => !now.some((entry) => equals(entry.blob, blob)));
      return missing.length === 0 ? null : addition(before, name, missing, by.hash);
    });
  }
  if (retired.length === 0) return;
  const gone = new Set(retired.map(({ blob }) => member(blob)));
  for (const file of files) {
    await rewrite(
      file,
      (before) =>
        withoutHost(before, name, ({ names, base64 }) => !isComplex(names) && gone.has(base64))?.bytes ?? null,
    );
  }
}
