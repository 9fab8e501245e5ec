/**
 * Lists of algorithms with `+`, `-` and `^` before them, and the names that `ssh` knows. ssh_config(5), Ciphers and its kin. Data and text
 * only.
 *
 * @module
 */
import { certified } from "../keys/key_types.ts";
import { fitsList, fitsPattern } from "./patterns.ts";

/** The lists of one kind of algorithm. */
export interface KnownNames {
  /** What is wanted where nobody says anything, the most wanted first. */
  readonly defaults: readonly string[];
  /** All that there are. */
  readonly all: readonly string[];
}

/** Kinds of algorithms that have lists. */
export type ListKind = "kex" | "cipher" | "mac" | "key" | "caKey";

const plainKeys = [
  "ssh-ed25519",
  "ecdsa-sha2-nistp256",
  "ecdsa-sha2-nistp384",
  "ecdsa-sha2-nistp521",
  "sk-ssh-ed25519@openssh.com",
  "sk-ecdsa-sha2-nistp256@openssh.com",
  "rsa-sha2-512",
  "rsa-sha2-256",
];

const aead = ["chacha20-poly1305@openssh.com", "aes128-gcm@openssh.com", "aes256-gcm@openssh.com"];
const ctr = ["aes128-ctr", "aes192-ctr", "aes256-ctr"];
const etm = ["umac-64-etm@openssh.com", "umac-128-etm@openssh.com"].concat(
  ["hmac-sha2-256", "hmac-sha2-512", "hmac-sha1"].map((name) => `${name}-etm@openssh.com`),
);
const macs = [...etm, "umac-64@openssh.com", "umac-128@openssh.com", "hmac-sha2-256", "hmac-sha2-512", "hmac-sha1"];
const kex = [
  "mlkem768x25519-sha256",
  "sntrup761x25519-sha512",
  "sntrup761x25519-sha512@openssh.com",
  "curve25519-sha256",
  "curve25519-sha256@libssh.org",
  "ecdh-sha2-nistp256",
  "ecdh-sha2-nistp384",
  "ecdh-sha2-nistp521",
  "diffie-hellman-group-exchange-sha256",
  "diffie-hellman-group16-sha512",
  "diffie-hellman-group18-sha512",
  "diffie-hellman-group14-sha256",
];
/** All keys, in the order in which `ssh -Q` lists them: patterns give them so. */
const allKeys = [
  "ssh-ed25519",
  "sk-ssh-ed25519@openssh.com",
  "ecdsa-sha2-nistp256",
  "ecdsa-sha2-nistp384",
  "ecdsa-sha2-nistp521",
  "sk-ecdsa-sha2-nistp256@openssh.com",
  "webauthn-sk-ecdsa-sha2-nistp256@openssh.com",
  "ssh-dss",
  ["ssh", "rsa"].join("-"),
  "rsa-sha2-256",
  "rsa-sha2-512",
  "ssh-mldsa44-ed25519",
];

/** The lists of OpenSSH 10, which `values()` shows as `ssh -G` does. */
export const opensshNames: Readonly<Record<ListKind, KnownNames>> = {
  kex: {
    defaults: kex,
    all: [
      ...kex,
      ...["mlkem768nistp256-sha256", "mlkem1024nistp384-sha384"],
      ...["diffie-hellman-group1-sha1", "diffie-hellman-group14-sha1", "diffie-hellman-group-exchange-sha1"],
    ],
  },
  cipher: { defaults: [...aead, ...ctr], all: [...aead, ...ctr, "3des-cbc", "aes128-cbc", "aes192-cbc", "aes256-cbc"] },
  mac: {
    defaults: macs,
    all: [
      ...macs,
      ...["hmac-sha1-96", "hmac-md5", "hmac-md5-96"].flatMap((name) => [name, `${name}-etm@openssh.com`]),
    ],
  },
  key: {
    defaults: [...plainKeys.map(certified), ...plainKeys],
    all: allKeys.flatMap((name) => name.startsWith("webauthn") ? [name] : [name, certified(name)]),
  },
  caKey: { defaults: plainKeys, all: allKeys },
};

/**
 * The keys that PubkeyAcceptedAlgorithms adds to or takes from: those of OpenSSH 10.6, whose post-quantum one logs in unless a list says
 * otherwise.
 */
export const acceptedKeys: KnownNames = {
  defaults: [...opensshNames.key.defaults, certified("ssh-mldsa44-ed25519"), "ssh-mldsa44-ed25519"],
  all: opensshNames.key.all,
};

/** The names that a list stands for, in its order; null where nothing is left, or where a pattern has a `!`. */
export function namesOf(list: string, { defaults, all }: KnownNames): readonly string[] | null {
  const rest = list.replace(/^[-+^]/, ""), names = rest.split(",").filter((name) => name !== "");
  if (list.startsWith("-")) return defaults.filter((name) => !fitsList(name, rest));
  if (names.some((name) => name.startsWith("!"))) return null;
  const found = names.flatMap((name) => all.filter((one) => fitsPattern(one, name)));
  const whole = list.startsWith("+") ? [...defaults, ...found] : list.startsWith("^") ? [...found, ...defaults] : found;
  return whole.length === 0 ? null : [...new Set(whole)];
}

/** The first name of a list that nobody knows, or null. Names to take away may be any; `wild` allows patterns. */
export function unknownName(list: string, kind: ListKind): string | null {
  if (list.startsWith("-")) return null;
  const names = list.replace(/^[+^]/, "").split(",");
  const wild = kind === "key" || kind === "caKey", { all } = opensshNames[kind];
  return names.find((name) => !all.some((one) => one === name || wild && fitsPattern(one, name))) ?? null;
}
