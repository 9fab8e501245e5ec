/**
 * Whether the options that both roles have make sense, before anything is opened: else every connection would fail by them.
 *
 * @module
 */
import { checkBanner } from "../auth/server.ts";
import { minRsaBits } from "../keys/rsa_public.ts";
import { withPlainKeys } from "../keys/with_certificate.ts";
import type { Signer } from "../keys/types.ts";
import { identLine } from "../transport/ident.ts";
import type { AlgorithmOverrides, RekeyLimits } from "../transport/types.ts";
import {
  type Bounds,
  checkFlag,
  checkFunction,
  checkInteger,
  checkNames,
  checkObject,
  checkSignal,
  checkText,
  checkTime,
} from "../wire/check.ts";
import { checkAlgorithms, checkClientHostKeys } from "./check_algorithms.ts";
import type { ChannelOptions, KeepaliveOptions, ProtocolOptions } from "./options.ts";
import type { ServerLoginOptions } from "./serve_options.ts";

export { checkClientHostKeys };

/** A number of things that may be there at a time: as many as wanted, but at least one. */
export const COUNT: Bounds = { min: 1, max: Infinity };
/** What the wire can carry, and a window of 0 would never open. */
const WINDOW: Bounds = { min: 1, max: 0xffff_ffff };

/** A check of each option by its name: an option without one does not compile. It is not asked about options that are not given. */
export type Checks<T> = { readonly [K in keyof Required<T>]: (value: unknown, name: string) => void };

/** Runs the checks of the options that are given. */
export function checkAll(
  checks: Readonly<Record<string, (value: unknown, name: string) => void>>,
  options: object,
): void {
  for (const [name, check] of Object.entries(checks)) {
    const value = (options as Record<string, unknown>)[name];
    if (value !== undefined) check(value, name);
  }
}

const rekeyChecks: Checks<RekeyLimits> = {
  bytes: (value, name) => checkInteger(`rekey.${name}`, value, COUNT),
  packets: (value, name) => checkInteger(`rekey.${name}`, value, COUNT),
  interval: (value, name) => checkTime(`rekey.${name}`, value),
};

/** The checks of {@linkcode ProtocolOptions}. */
export const protocolChecks: Checks<ProtocolOptions> = {
  algorithms: checkAlgorithms,
  rekey: (value, name) => {
    checkObject(name, value, "limits such as `{ bytes: 1_000_000_000 }`");
    checkNames("`rekey`", value as object, Object.keys(rekeyChecks));
    checkAll(rekeyChecks, value as object);
  },
  ident: (value, name) => {
    checkText(name, value);
    // It says what it takes.
    identLine(value as string);
  },
  insecureMinRsaBits: (value) => void minRsaBits({ insecureMinRsaBits: value as number }),
};

/** Throws `TypeError` for what is no keepalive, and `RangeError` for numbers in it that make no sense. */
function checkKeepalive(value: unknown, name: string): void {
  const write = "`{ interval: 15_000 }`";
  checkObject(name, value, typeof value === "number" ? `written as \`{ interval: ${value} }\`` : `such as ${write}`);
  const { interval, maxMissed } = value as Partial<KeepaliveOptions>;
  checkNames("`keepalive`", value as object, ["interval", "maxMissed"], {
    countMax: { ours: ["maxMissed"], write: "`maxMissed`" },
    seconds: { ours: ["interval"], write: "`interval`, in milliseconds," },
  });
  if (interval === undefined) throw new TypeError(`Cannot use \`${name}\` without \`interval\`: write ${write}`);
  checkTime(`${name}.interval`, interval);
  checkInteger(`${name}.maxMissed`, maxMissed, COUNT);
}

/** The checks of options of one kind. */
export const optionIs = {
  count: (value: unknown, name: string): void => checkInteger(name, value, COUNT),
  flag: (value: unknown, name: string): void => checkFlag(name, value),
  function: (value: unknown, name: string): void => checkFunction(name, value),
  signal: (value: unknown, name: string): void => checkSignal(value, name),
  text: (value: unknown, name: string): void => checkText(name, value),
  time: (value: unknown, name: string): void => checkTime(name, value),
} as const;

/** The checks of {@linkcode ChannelOptions}. */
export const channelChecks: Checks<ChannelOptions> = {
  window: (value, name) => checkInteger(name, value, WINDOW),
  keepalive: checkKeepalive,
  idleTimeout: optionIs.time,
};

/** The checks of a server's login, but for who may. */
export const serverLoginChecks: Checks<Omit<ServerLoginOptions, "auth">> = {
  loginTimeout: optionIs.time,
  maxAuthTries: optionIs.count,
  banner: (value, name) => {
    checkText(name, value);
    checkBanner(value as string);
  },
};

/** Throws `TypeError` without host keys, for what is no key, and where `algorithms.hostKey` fits none of them. */
export function checkServerHostKeys(hostKeys: readonly Signer[], algorithms: AlgorithmOverrides | undefined): void {
  checkAlgorithms(algorithms);
  if (hostKeys.length === 0) {
    throw new TypeError(
      "Cannot serve without host keys: make one with `await generateKey()` and keep it, or clients will warn of a changed host",
    );
  }
  for (const key of hostKeys) {
    if (typeof key?.sign !== "function" || !Array.isArray(key.algorithms) || key.algorithms.length === 0) {
      throw new TypeError("Cannot serve: a host key is none; make it with generateKey() or parsePrivateKey()");
    }
  }
  if (hostKeys.some(({ publicKey }) => publicKey.certificate?.kind === "user")) {
    throw new TypeError("Cannot serve: the certificate of a host key is for users, and clients want one for hosts");
  }
  const made = new Set(withPlainKeys(hostKeys).flatMap((key) => key.algorithms));
  const wanted = algorithms?.hostKey;
  if (wanted === undefined || wanted.some((name) => made.has(name))) return;
  throw new TypeError(
    `Cannot serve: no host key fits \`algorithms.hostKey\` (${wanted.join(", ")}); the keys make ${
      [...made].join(", ")
    }`,
  );
}
