/**
 * A program's own host key policy around another one, with all that the other one knows beforehand. No I/O.
 *
 * @module
 */
import { checkFunction } from "../../wire/check.ts";
import type { MaybePromise } from "../../wire/types.ts";
import type { HostKeyVerifier, PublicKey } from "../types.ts";

/** A program's own part of a policy: it says whether a key is trusted, and may ask `inner`, the policy that it is around. */
export type AroundVerifier = (
  key: PublicKey,
  host: { hostname: string; port: number },
  inner: HostKeyVerifier,
) => MaybePromise<boolean>;

/**
 * A policy of the program's own around {@linkcode knownHosts}, or around another policy: `verify` decides, and asks `inner` where it likes. The client
 * asks the server first for keys of the types that `inner` knows of the host, as it does where `inner` is handed over by itself.
 *
 * A plain function that calls `knownHosts()` decides just as well. It costs a second connection where the host is known by keys of another type than
 * the server prefers, and where streams are given as `transport` there is no second one, so that the host is refused.
 *
 * @example Nothing but Ed25519 and what is no weaker, of hosts that are known
 * ```ts
 * import { connect, knownHosts, verifierAround } from "@amiko/ssh";
 *
 * const verifyHostKey = verifierAround(
 *   knownHosts(),
 *   (key, host, known) => key.type.includes("ed25519") && known(key, host),
 * );
 * const dial = (hostname: string) => connect({ hostname, username: "alice", verifyHostKey });
 * ```
 */
export function verifierAround(inner: HostKeyVerifier, verify: AroundVerifier): HostKeyVerifier {
  for (const [name, value] of Object.entries({ inner, verify })) {
    if (value === undefined) throw new TypeError(`Cannot make a policy without \`${name}\``);
    checkFunction(name, value, name === "inner" ? "a host key policy, as knownHosts() makes it" : "a function");
  }
  // What a policy tells beforehand stands on its function.
  return Object.assign<HostKeyVerifier, object>((key, host) => verify(key, host, inner), inner);
}
