/**
 * Whether names of algorithms are known, and which one was meant where they are not.
 *
 * @module
 */
import { defaultAlgorithms, insecureAlgorithms } from "../crypto/algorithms.ts";
import { ciphers, macs } from "../crypto/cipher/ciphers.ts";
import { kexMethods } from "../crypto/kex/methods.ts";
import { printable } from "../errors.ts";
import { keyTypeOf } from "../keys/public_key.ts";
import { compressions } from "../transport/compression.ts";
import { isPseudoName } from "../transport/negotiate.ts";
import type { AlgorithmOverrides, Algorithms } from "../transport/types.ts";
import { checkObject, wrongKind } from "../wire/check.ts";
import { meantBy } from "../wire/near.ts";

type ListName = keyof Algorithms;

/** The lists by name, and what stands in them at most. */
const lists: Readonly<Record<ListName, () => readonly string[]>> = {
  kex: () => [...kexMethods.keys()],
  // Those of a client; a server may have keys of another program with names of their own.
  hostKey: () => [...defaultAlgorithms.hostKey, ...insecureAlgorithms.hostKey],
  cipher: () => [...ciphers.keys()],
  mac: () => [...macs.keys()],
  compression: () => compressions,
};

/** Names that other libraries and OpenSSH's configuration have for the lists. */
const otherNames: Readonly<Record<string, ListName>> = {
  kexalgorithms: "kex",
  kexalgs: "kex",
  keyexchange: "kex",
  serverhostkey: "hostKey",
  serverhostkeyalgs: "hostKey",
  hostkeyalgorithms: "hostKey",
  hostkeys: "hostKey",
  keys: "hostKey",
  ciphers: "cipher",
  encryption: "cipher",
  encryptionalgs: "cipher",
  hmac: "mac",
  macs: "mac",
  macalgs: "mac",
  digests: "mac",
  compress: "compression",
  compressionalgs: "compression",
};

/** Throws `TypeError` for lists and names that nothing is known by; those of host keys are left to the role. */
export function checkAlgorithms(algorithms: unknown): void {
  if (algorithms === undefined) return;
  checkObject("algorithms", algorithms, 'lists of names, such as `{ cipher: ["aes256-gcm@openssh.com"] }`');
  const given = algorithms as Readonly<Record<string, unknown>>, known = Object.keys(lists) as ListName[];
  for (const name of Object.keys(given)) {
    if (Object.hasOwn(lists, name) || given[name] === undefined) continue;
    const plain = name.toLowerCase().replace(/[^a-z]/g, "");
    const meant = Object.hasOwn(otherNames, plain) ? otherNames[plain] : meantBy(name, known);
    const advice = meant ? `\`${meant}\` is meant` : `the lists are ${known.join(", ")}`;
    throw new TypeError(`Cannot use \`algorithms.${printable(name, 64)}\`: there is no such list; ${advice}`);
  }
  for (const name of known) {
    const list = given[name];
    if (list === undefined) continue;
    if (!Array.isArray(list) || list.some((one) => typeof one !== "string")) {
      throw wrongKind(`algorithms.${name}`, list, "a list of names");
    }
    // A server may have host keys of its own kind, and ciphers that authenticate need no MAC.
    if (name !== "hostKey" && !(name === "mac" && list.length === 0)) checkList(name, list);
  }
}

/** As {@linkcode checkAlgorithms} for a client's host key algorithms: it verifies only what this module knows. */
export function checkClientHostKeys(algorithms: AlgorithmOverrides | undefined): void {
  if (algorithms?.hostKey !== undefined) checkList("hostKey", algorithms.hostKey);
}

function isKnown(list: ListName, name: string): boolean {
  if (list === "hostKey") return keyTypeOf(name) !== null;
  return lists[list]().includes(name) || list === "kex" && isPseudoName(name);
}

function checkList(list: ListName, names: readonly string[]): void {
  if (names.every(isPseudoName)) throw new TypeError(`Cannot use \`algorithms.${list}\`: it names none`);
  for (const name of names) {
    if (!isKnown(list, name)) throw new TypeError(unknown(list, name));
  }
}

function unknown(list: ListName, name: string): string {
  const sentence = `Cannot use "${printable(name, 64)}" in \`algorithms.${list}\``;
  const elsewhere = (Object.keys(lists) as ListName[]).find((other) => other !== list && lists[other]().includes(name));
  if (elsewhere !== undefined) return `${sentence}: it belongs in \`algorithms.${elsewhere}\``;
  const known = lists[list](), meant = meantName(name, known);
  const advice = meant === null ? `known are ${known.join(", ")}` : `"${meant}" is meant`;
  return `${sentence}: no such algorithm is known; ${advice}`;
}

/** The name that was meant: with the suffix or prefix that is missing, without one that is too much, or one slip away. */
function meantName(name: string, known: readonly string[]): string | null {
  const plain = (text: string): string => text.toLowerCase().replace(/[^a-z0-9@]/g, "");
  const word = plain(name), [base] = word.split("@") as [string];
  if (base.length < 3) return null;
  return known.find((one) => plain(one) === word) ??
    known.find((one) => plain(one).split("@")[0] === base) ??
    known.find((one) => plain(one).endsWith(base) || plain(one).startsWith(base)) ??
    meantBy(name, known);
}
