/**
 * Host key policies: known_hosts, pinned keys, and none. sshd(8), SSH_KNOWN_HOSTS FILE FORMAT. Reads files only through
 * known_hosts_files.ts.
 *
 * @module
 */
import { equals } from "@std/bytes";
import {
  HostKeyChangedError,
  HostKeyError,
  HostKeyRevokedError,
  HostKeyUnknownError,
  type KnownHostsPlace,
  printable,
  SshError,
} from "../../errors.ts";
import { requireSystem } from "../../wire/system.ts";
import type { Bytes, MaybePromise } from "../../wire/types.ts";
import { bareName, lookupName } from "./host_patterns.ts";
import { appendTo } from "../changed_file.ts";
import { knownHostsPaths, readIfThere } from "../user_files.ts";
import { characters, type KeyText, looksLikePath, pathHint } from "../key_text.ts";
import { certifiedTypes, judgeCertificate, revocableBlobs } from "./host_certificates.ts";
import { type KnownHostsEntry, parseKnownHosts } from "./known_hosts_lines.ts";
import { addition } from "./known_hosts_edit.ts";
import { noteKnownTypes, noteTrust } from "./known_types.ts";
import { fingerprintOf, parsePublicKey, publicKeyLine } from "../public_key.ts";
import { RSA_BITS } from "../rsa_public.ts";
import type { HostKeyVerifier, PublicKey } from "../types.ts";

export { hashHostname } from "./host_patterns.ts";
export { type KnownHostsEntry, parseKnownHosts } from "./known_hosts_lines.ts";

/** A {@linkcode HostKeyVerifier} that can say beforehand which key types it knows, so that a client asks for those first. */
export interface KnownHostsVerifier {
  /** Decides whether the key is trusted; see {@linkcode HostKeyVerifier}. */
  (key: PublicKey, host: { hostname: string; port: number }): Promise<boolean>;
  /** Types of the keys known for a host, in the order of the lines; empty for an unknown host. */
  keyTypes(host: { hostname: string; port: number }): Promise<readonly string[]>;
  /** The same behind all types of certificates where a CA is trusted for the host: what a client asks for first. */
  wantedTypes(host: { hostname: string; port: number }): Promise<readonly string[]>;
}

/** Options of {@linkcode knownHosts}. */
export interface KnownHostsOptions {
  /** Paths; files that are missing count as empty. New keys go to the first. @default {those of the user that `ssh` reads} */
  files?: readonly string[] | undefined;
  /**
   * Paths of files that are read as well and never changed (`GlobalKnownHostsFile`).
   * @default {those of the system that `ssh` reads, or none where `files` is given}
   */
  globalFiles?: readonly string[] | undefined;
  /**
   * Whether a host that no line names is trusted, and its line added to the first of the files: `true` for each, as `ssh` does with
   * `StrictHostKeyChecking=accept-new`, or a function that is given the line, with the host's name in clear, and may show it to somebody.
   * @default {false}
   */
  acceptNew?: boolean | ((line: string) => MaybePromise<boolean>) | undefined;
  /** Whether names that are added are hashed (`HashKnownHosts`). @default {as most names of the file are} */
  hash?: boolean | undefined;
}

/** A text and the name that errors give it. */
interface Source {
  readonly file: string;
  readonly text: string;
}

/** Types of the keys that known_hosts text has for a host, in the order of the lines, without revoked ones. */
export async function knownHostKeyTypes(
  text: KeyText | readonly KeyText[],
  hostname: string,
  port = 22,
): Promise<readonly string[]> {
  return await Promise.resolve(typesIn(sourcesOf(text), { hostname, port }, false));
}

function entriesFor(sources: readonly Source[], name: string): KnownHostsEntry[] {
  return sources.flatMap(({ file, text }) => parseKnownHosts(text, file, name));
}

/** The entries that say which CAs certify a host, and what is revoked there. As for `ssh`, those without the port count, too. */
function authoritiesFor(
  sources: readonly Source[],
  name: string,
  entries: readonly KnownHostsEntry[] = entriesFor(sources, name),
): KnownHostsEntry[] {
  const bare = bareName(name), without = bare === name ? [] : entriesFor(sources, bare);
  return [...entries, ...without].filter(({ marker }) => marker !== "host");
}

/** Types of the keys of a host, behind those of certificates that it may show where these are wanted. */
function typesIn(
  sources: readonly Source[],
  { hostname, port }: { hostname: string; port: number },
  certificates: boolean,
): readonly string[] {
  const name = lookupName(hostname, port), entries = entriesFor(sources, name);
  const marked = authoritiesFor(sources, name, entries), types = usableTypes(entries, marked);
  return certificates ? [...certifiedTypes(marked), ...types] : types;
}

/** Types of the keys among the entries of one host, without those that others say are revoked. */
function usableTypes(entries: readonly KnownHostsEntry[], marked: readonly KnownHostsEntry[]): readonly string[] {
  const revoked = marked.filter((entry) => entry.marker === "revoked");
  const usable = entries.filter((entry) =>
    entry.marker === "host" && !revoked.some((other) => equals(other.blob, entry.blob))
  );
  return [...new Set(usable.map((entry) => entry.type))];
}

/**
 * Trusts what OpenSSH `known_hosts` text trusts: plain, hashed and wildcard names, `[host]:port`, `@revoked`.
 * A line with `@cert-authority` trusts certificates by its key, which `connect()` asks for where such a line names the host: those for hosts that
 * hold at this time, have the host's name among their principals, and no critical option. Where the CA of a certificate is not known, its key
 * alone is looked up, as `ssh` does. With no argument it reads `~/.ssh/known_hosts`,
 * `~/.ssh/known_hosts2` and `/etc/ssh/ssh_known_hosts` at each connection; files that are missing count as empty.
 *
 * The verifier resolves to true, or throws: {@linkcode HostKeyRevokedError} for a key marked `@revoked`, which always wins,
 * {@linkcode HostKeyChangedError} for a host known with other keys, {@linkcode HostKeyUnknownError} for a host that no line
 * names. A host at another port than 22 is known only by a line that names that port, or by a wildcard; CAs and
 * what is revoked also by one that names the host without it.
 *
 * A program may call it in a function of its own, with the key that it was given: `connect()` learns all the same of which types
 * the host's known keys are, and asks for those; {@linkcode verifierAround} saves it the second connection. Addresses are not looked up
 * beside names: as with `ssh` today, `CheckHostIP` is off.
 *
 * Throws `TypeError` for what is no text, and for text that has lines and none that is one of known_hosts, such as a path. A text
 * without lines, or with comments only, is one that trusts nobody.
 */
export function knownHosts(text?: KeyText | readonly KeyText[]): KnownHostsVerifier;
/**
 * The same over files, and with hosts added that are new, where `acceptNew` allows it. A host that is known by other keys, of
 * whichever type, is never new, and a key that is marked `@revoked` is never added.
 *
 * Throws `TypeError` for options that are none.
 */
export function knownHosts(options: KnownHostsOptions): KnownHostsVerifier;
export function knownHosts(from?: KeyText | readonly KeyText[] | KnownHostsOptions): KnownHostsVerifier {
  const options = isOptions(from) ? checkedOptions(from) : {};
  const given = from === undefined || isOptions(from) ? undefined : sourcesOf(from);
  if (given === undefined) {
    requireSystem(
      "read known_hosts files",
      "hand over `verifyHostKey`: pinnedHostKey(fingerprint), or knownHosts(text)",
    );
  }
  const places = (): Places => given === undefined ? placesOf(options) : { own: [], global: [] };
  const typesOf = (certificates: boolean) => async (host: { hostname: string; port: number }) => {
    const { own, global } = places();
    return typesIn(given ?? await readSources([...own, ...global]), host, certificates);
  };
  return Object.assign(
    async (key: PublicKey, host: { hostname: string; port: number }): Promise<boolean> => {
      const { own, global } = places(), name = lookupName(host.hostname, host.port);
      const looked = given?.map((source) => source.file) ?? [...own, ...global];
      const look = async (held?: Source): Promise<KnownHostsPlace | null> =>
        await verifyAny(given ?? await readSources(looked, held), { looked, areFiles: given === undefined }, key, name);
      const plain = key.certificate?.publicKey ?? key;
      let file: string | undefined;
      try {
        file = (await look())?.file;
      } catch (error) {
        const { acceptNew = false } = options;
        if (!(error instanceof HostKeyUnknownError) || acceptNew === false) throw error;
        if (acceptNew !== true && (await acceptNew(`${name} ${publicKeyLine(plain)}`)) !== true) throw error;
        file = await addHost(own[0], name, plain, options.hash, look);
      }
      if (file !== undefined && own.includes(file) && !global.includes(file)) {
        const areUsersOwn = options.files === undefined;
        noteTrust(key, { name, files: own, globalFiles: global, areUsersOwn, hash: options.hash });
      }
      return true;
    },
    { keyTypes: typesOf(false), wantedTypes: typesOf(true) },
  );
}

/** Whether it is an object of options, and not text, a list of texts, or an object of another kind. */
function isOptions(from: unknown): from is KnownHostsOptions {
  return typeof from === "object" && from !== null && Object.getPrototypeOf(from) === Object.prototype;
}

function checkedOptions(options: KnownHostsOptions): KnownHostsOptions {
  for (const name of Object.keys(options)) {
    if (["files", "globalFiles", "acceptNew", "hash"].includes(name)) continue;
    throw new TypeError(
      `Cannot use option "${
        printable(name, 64)
      }" of knownHosts(): it has \`files\`, \`globalFiles\`, \`acceptNew\` and \`hash\``,
    );
  }
  const { files, globalFiles, acceptNew, hash } = options;
  const isList = (value: unknown): boolean =>
    Array.isArray(value) && value.every((file) => typeof file === "string" && file !== "");
  if (files !== undefined && !(isList(files) && files.length > 0)) {
    throw new TypeError("Cannot use `files` of knownHosts(): it is a list of paths, one at least");
  }
  if (globalFiles !== undefined && !isList(globalFiles)) {
    throw new TypeError("Cannot use `globalFiles` of knownHosts(): it is a list of paths");
  }
  if (hash !== undefined && typeof hash !== "boolean") {
    throw new TypeError("Cannot use `hash` of knownHosts(): it is true or false");
  }
  if (acceptNew !== undefined && typeof acceptNew !== "boolean" && typeof acceptNew !== "function") {
    throw new TypeError(
      "Cannot use `acceptNew` of knownHosts(): it is true, false, or a function that is given the line",
    );
  }
  return {
    ...options,
    ...files !== undefined && { files: [...files] },
    ...globalFiles !== undefined && { globalFiles: [...globalFiles] },
  };
}

let lastAdded: Promise<void> = Promise.resolve();

/** Runs what adds a line when nobody else of this program does: between the last look and the line nothing may come. */
async function inTurn(add: () => Promise<void>): Promise<void> {
  const added = lastAdded.then(add);
  lastAdded = added.catch(() => {});
  await added;
}

/**
 * Adds a key of a new host to a file, and says in which it stands then. `look` looks the host up with what the file holds in that moment, in which
 * nobody else may change it: another connection may have added the host meanwhile, by this key or by another.
 */
async function addHost(
  file: string | undefined,
  name: string,
  key: PublicKey,
  hash: boolean | undefined,
  look: (held: Source) => Promise<KnownHostsPlace | null>,
): Promise<string> {
  if (file === undefined) {
    throw new HostKeyError(
      `Cannot add host key: no home folder is known; name \`files\`; the line is: ${name} ${publicKeyLine(key)}`,
    );
  }
  let place = file;
  try {
    await inTurn(() =>
      appendTo(file, async (before) => {
        try {
          place = (await look({ file, text: new TextDecoder().decode(before) }))?.file ?? file;
          return null;
        } catch (error) {
          if (!(error instanceof HostKeyUnknownError)) throw error;
          return addition(before, name, [key], hash);
        }
      })
    );
  } catch (cause) {
    if (cause instanceof HostKeyError) throw cause;
    // A host that is new each time is one that nobody would notice to have changed.
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new HostKeyError(
      `Cannot add host key to "${file}": ${printable(why)}; the line is: ${name} ${publicKeyLine(key)}`,
      { cause },
    );
  }
  return place;
}

/** A host, a key type of SSH or three numbers of SSH 1, and more: perhaps malformed, but meant to be a line of known_hosts. */
const lineShape = /\S[ \t]+((ssh|ecdsa|sk|rsa|webauthn)-\S*|\d+[ \t]+\d+)([ \t]|$)/;

/** The texts, each with a name. */
function sourcesOf(text: KeyText | readonly KeyText[]): readonly Source[] {
  const texts: readonly KeyText[] = Array.isArray(text) ? text : [text];
  return texts.map((given, i): Source => {
    const text = characters("Cannot use known_hosts text", given);
    const lines = text.split("\n").filter((line) => !/^\s*(#|$)/.test(line));
    if (lines.length > 0 && !lines.some((line) => lineShape.test(line))) {
      throw new TypeError(`Cannot use known_hosts text: no line of it is one of known_hosts${pathHint(text)}`);
    }
    return { file: texts.length === 1 ? "known_hosts text" : `known_hosts text ${i + 1}`, text };
  });
}

/** Paths of the files that are the program's or the user's to change, and of those that are not. */
interface Places {
  readonly own: readonly string[];
  readonly global: readonly string[];
}

function placesOf({ files, globalFiles }: KnownHostsOptions): Places {
  if (files !== undefined) return { own: files, global: globalFiles ?? [] };
  try {
    const { own, global } = knownHostsPaths();
    return { own, global: globalFiles ?? global };
  } catch (cause) {
    throw new HostKeyError(
      "Cannot verify host key: the home folder cannot be looked up; allow --allow-env=HOME,USERPROFILE, or hand text to knownHosts()",
      { cause },
    );
  }
}

/** The texts of the files that are there; of the one that is `held`, as it is there. */
async function readSources(files: readonly string[], held?: Source): Promise<readonly Source[]> {
  const sources: Source[] = [];
  for (const file of files) {
    try {
      const text = file === held?.file ? held.text : await readIfThere(file);
      if (text !== null) sources.push({ file, text });
    } catch (cause) {
      // A file that cannot be read may hold a revocation.
      throw new HostKeyError(
        `Cannot verify host key: "${file}" cannot be read; allow it, or hand its text to knownHosts()`,
        { cause },
      );
    }
  }
  return sources;
}

/** Throws where a key, or what certifies it, is marked among the entries as one never to be trusted. */
async function refuseRevoked(entries: readonly KnownHostsEntry[], key: PublicKey, name: string): Promise<void> {
  const blobs = revocableBlobs(key);
  const revoked = entries.filter((entry) =>
    entry.marker === "revoked" && blobs.some((blob) => equals(entry.blob, blob))
  );
  if (revoked.length === 0) return;
  const places = revoked.map((entry) => entry.place), what = key.certificate === undefined ? "is" : "or its CA is";
  throw new HostKeyRevokedError(
    `Cannot trust host key of "${name}": ${await offer(key)} ${what} marked @revoked at ${
      places.map(showPlace).join(", ")
    }`,
    places,
  );
}

/** What a host showed, in words. */
async function offer(key: PublicKey): Promise<string> {
  return `${printable(key.type, 64)} ${await key.fingerprint()}`;
}

/**
 * Says where the line stands that trusts the key, and throws where none does; null where a CA does that has signed its certificate. A certificate
 * that does not hold, by whichever CA, is as good as none.
 */
async function verifyAny(
  sources: readonly Source[],
  where: { looked: readonly string[]; areFiles: boolean },
  key: PublicKey,
  name: string,
): Promise<KnownHostsPlace | null> {
  const { certificate } = key;
  if (certificate === undefined) return await verify(sources, where, key, name);
  const entries = authoritiesFor(sources, name);
  await refuseRevoked(entries, key, name);
  const { authority, problem } = judgeCertificate(key, entries, bareName(name));
  if (authority !== null && problem === null) return null;
  try {
    return await verify(sources, where, certificate.publicKey, name);
  } catch (error) {
    if (authority === null || !(error instanceof HostKeyUnknownError)) throw error;
    // No new host, whose key a program may add by itself: somebody says who it is, and that does not hold.
    throw new HostKeyError(
      `Cannot trust host certificate of "${name}": ${await offer(key)} was shown, and ${problem}; its CA is known at ${
        showPlace(authority.place)
      }`,
      { cause: error },
    );
  }
}

/** Says where the line stands that trusts the key, and throws where none does. */
async function verify(
  sources: readonly Source[],
  { looked, areFiles }: { looked: readonly string[]; areFiles: boolean },
  key: PublicKey,
  name: string,
): Promise<KnownHostsPlace> {
  const blob = key.blob, entries = entriesFor(sources, name);
  const marked = authoritiesFor(sources, name, entries);
  const offered = await offer(key);
  await refuseRevoked(marked, key, name);
  const known = entries.filter((entry) => entry.marker === "host");
  const trusting = known.find((entry) => equals(entry.blob, blob));
  if (trusting !== undefined) return trusting.place;
  const authorities = marked.filter(({ marker }) => marker === "cert-authority");
  const certified = certifiedTypes(marked), types = [...certified, ...usableTypes(entries, marked)];
  const isOther = certified.length > 0 || known.length > 0 && !known.some((entry) => entry.type === key.type);
  if (isOther && noteKnownTypes(key, types)) {
    // Not a new host, which a program may add by itself, and not a changed one yet: nobody has asked for the keys that are known.
    throw new HostKeyError(
      `Cannot trust host key of "${name}": it showed ${offered}, and is known by ${
        authorities.length > 0 ? "a CA's certificates or " : ""
      }its keys of other types (${
        [...authorities, ...known].map((entry) => `${printable(entry.type, 64)} at ${showPlace(entry.place)}`).join(
          ", ",
        )
      }), which it was not asked for; hand knownHosts() itself over as \`verifyHostKey\`, or ask for them first with \`algorithms.hostKey\``,
    );
  }
  if (known.length > 0) {
    const expected = await Promise.all(
      known.map(async (entry) =>
        `${printable(entry.type, 64)} ${await fingerprintOf(entry.blob)} (${showPlace(entry.place)})`
      ),
    );
    // One command for each file, as `ssh` tells them.
    const commands = [...new Set(known.map(({ place }) => areFiles ? ` -f "${printable(place.file, 4096)}"` : ""))]
      .map((file) => `'ssh-keygen${file} -R "${name}"'`);
    throw new HostKeyChangedError(
      `Cannot trust host key of "${name}": it has changed, or somebody is in between: expected ${
        expected.join(", ")
      }, offered ${offered}; if the change is right, remove the old line with ${commands.join(" and ")}`,
      known.map((entry) => entry.place),
    );
  }
  throw new HostKeyUnknownError(
    `Cannot trust host key of "${name}": the host is not known, it offered ${offered}; looked in ${
      looked.join(", ")
    }; if the key is right, add this line: ${name} ${publicKeyLine(key)}`,
  );
}

function showPlace({ file, line }: KnownHostsPlace): string {
  return `${file}:${line}`;
}

/**
 * Trusts exactly the keys given, as `SHA256:…` fingerprints or public key lines; resolves to false for any other.
 * Throws `TypeError` when none is given or one is neither.
 */
export function pinnedHostKey(...keys: readonly KeyText[]): HostKeyVerifier {
  if (keys.length === 0) throw new TypeError("Cannot pin host key: no key given");
  const fingerprints = new Set<string>();
  const blobs: Bytes[] = [];
  for (const key of keys) {
    const text = characters("Cannot pin host key", key);
    if (/^SHA256:[A-Za-z0-9+/]{43}=?$/.test(text)) fingerprints.add(text.slice(0, 50));
    else blobs.push(pinnedBlob(key, text));
  }
  return async (key): Promise<boolean> => {
    const shown = key.certificate?.publicKey.blob ?? key.blob;
    return blobs.some((blob) => equals(blob, shown)) || fingerprints.has(await fingerprintOf(shown));
  };
}

function pinnedBlob(key: KeyText, text: string): Bytes {
  try {
    // The key itself is looked at where it is shown: here it is only compared.
    return parsePublicKey(key, { insecureMinRsaBits: RSA_BITS.insecureMin }).blob;
  } catch (cause) {
    if (!(cause instanceof SshError)) throw cause;
    throw new TypeError(
      `Cannot pin host key: ${givenInstead(text)} is neither a SHA256: fingerprint nor a public key line`,
      { cause },
    );
  }
}

/** What was given in the place of a pin, and what to give; nothing of it is shown that may be a secret. */
function givenInstead(text: string): string {
  const form = "`SHA256:` and 43 characters, as `ssh-keygen -lf FILE` prints it";
  if (/^[\w+/]{43}=?$/.test(text)) {
    return `"${text}" is a fingerprint without its kind, write "SHA256:${text}": it`;
  }
  if (/^(MD5:)?([0-9a-f]{2}:){15}[0-9a-f]{2}$/i.test(text)) {
    return `"${text}" is a fingerprint by MD5, which can be forged, give ${form}: it`;
  }
  if (/^SHA256:/i.test(text)) return `"${printable(text, 64)}" is no whole fingerprint, that is ${form}: it`;
  if (/^SHA(1|384|512):/i.test(text)) {
    return `"${printable(text, 24)}" is a fingerprint of another kind, give ${form}: it`;
  }
  if (text === "") return "an empty text";
  if (text.includes("PRIVATE KEY")) return "a private key";
  if (looksLikePath(text)) return `"${printable(text, 64)}"`;
  return "a text";
}

/** Trusts any host key: for tests and throw-away machines, and named so that it shows in a review. */
export function insecureAcceptAnyHostKey(): HostKeyVerifier {
  return (): boolean => true;
}
