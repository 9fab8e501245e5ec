/**
 * Which hosts a connection to an agent comes through, as they have proven, and whether a key that is tied to hosts may be used over it.
 * OpenSSH PROTOCOL.agent sections 1 and 2, and the rules of its ssh-agent. No I/O.
 *
 * A connection begins at the machine of the agent. Each host that it is forwarded to is told here by the client that forwards it, and the
 * last one by the client that logs in there, which has the host's signature of the session for it. Nobody behind can take one of them
 * back: they are only added.
 *
 * @module
 */
import { equals } from "@std/bytes";
import { SshError } from "../errors.ts";
import { anyKeyFromBlob, CertifiedKey, checkCertificate } from "../keys/certificate.ts";
import type { AgentSession } from "../keys/session_agents.ts";
import { hostProblem } from "../keys/trust/host_certificates.ts";
import { wildcardMatch } from "../keys/trust/host_patterns.ts";
import type { PublicKey } from "../keys/types.ts";
import type { Hop, Step } from "./destinations.ts";
import { type LoginToSign, MAX_SESSION_ID } from "./signed_data.ts";

/** Hosts that one connection may come through. */
export const MAX_BINDINGS = 16;

interface Binding {
  readonly hostKey: PublicKey;
  readonly sessionId: Uint8Array;
  /** Whether what follows comes from that host, and not from the client that logs in there. */
  readonly forwarding: boolean;
}

/** The hosts of one connection. */
export class Bindings {
  readonly #all: Binding[] = [];
  /** A host that could not prove itself is somewhere out there, too. */
  #failed = false;
  /** What follows comes from a host that nobody knows, whatever that says of those behind it. */
  #strayed = false;

  /** Whether another host asks here, as far as anybody told. */
  get areRemote(): boolean {
    return this.#failed || this.#all.some(({ forwarding }) => forwarding);
  }

  /** The host key of the connection whose number is given, where it is the one that was told last. */
  hostOf(sessionId: Uint8Array): PublicKey | null {
    const last = this.#all.at(-1);
    return last !== undefined && equals(last.sessionId, sessionId) ? last.hostKey : null;
  }

  /** What is told cannot be looked at, because the agent is locked. */
  missed(forwarding: boolean): void {
    this.#failed = true;
    this.#strayed ||= forwarding;
  }

  /** Whether what is told of a connection is true, and may follow what was told before. */
  async add(
    { hostKey: blob, sessionId, signature, forwarding }: AgentSession & { forwarding: boolean },
  ): Promise<boolean> {
    const added = await this.#check(blob, sessionId, signature);
    const known = this.#all.find((one) => equals(one.sessionId, sessionId));
    const isOpen = this.#all.every((one) => one.forwarding);
    if (added !== null && isOpen) {
      if (known !== undefined && equals(known.hostKey.blob, blob)) return true;
      if (known === undefined && this.#all.length < MAX_BINDINGS) {
        this.#all.push({ hostKey: added, sessionId, forwarding });
        return true;
      }
    }
    this.#failed ||= this.#all.length === 0;
    // Behind a login, nobody is believed any more.
    this.#strayed ||= isOpen && forwarding;
    return false;
  }

  async #check(blob: Uint8Array, sessionId: Uint8Array, signature: Uint8Array): Promise<PublicKey | null> {
    if (sessionId.length < 1 || sessionId.length > MAX_SESSION_ID) return null;
    try {
      const key = anyKeyFromBlob(blob);
      await checkCertificate(key);
      return await key.verify(sessionId, signature) ? key : null;
    } catch (error) {
      if (error instanceof SshError) return null;
      throw error;
    }
  }

  /**
   * Whether keys with these steps exist for whoever asks. One that a login may use at the last host, and nobody behind it, does not exist
   * there: it is not even listed.
   */
  shows(steps: readonly Step[] | null): boolean {
    return steps === null || this.#permits(steps, null);
  }

  /**
   * Whether a key with these steps may sign for a login: on the connection that was told last, at its host, by a user whom a step has. Null
   * stands for whatever is no login, which such a key never signs.
   */
  maySign(steps: readonly Step[] | null, login: LoginToSign | null): boolean {
    if (steps === null) return true;
    const last = this.#all.at(-1);
    if (last === undefined || login === null || !this.#permits(steps, login.username)) return false;
    if (!equals(login.sessionId, last.sessionId)) return false;
    // The first host may be one that knows nothing of logins with its key in them. Behind it, somebody between could be meant.
    if (login.hostKey === null) return this.#all.length === 1;
    return equals(login.hostKey, last.hostKey.blob);
  }

  #permits(steps: readonly Step[], username: string | null): boolean {
    if (this.#strayed) return false;
    if (this.#all.length === 0) return !this.#failed;
    let from: PublicKey | null = null;
    for (const [i, { hostKey, forwarding }] of this.#all.entries()) {
      const isLast = i === this.#all.length - 1;
      // Whoever signs is there, and not behind it; whoever is behind a host has been forwarded to it.
      if (isLast ? forwarding && username !== null : !forwarding) return false;
      if (!leads(steps, from, hostKey, isLast ? username : null)) return false;
      from = hostKey;
    }
    const { hostKey, forwarding } = this.#all.at(-1)!;
    return !forwarding || username !== null || leads(steps, hostKey, null, null);
  }
}

/** Whether a step leads from one host, null being the machine of the agent, to another, null being any, for a user, null being any. */
function leads(steps: readonly Step[], from: PublicKey | null, to: PublicKey | null, username: string | null): boolean {
  return steps.some((step) => {
    const begins = from === null ? step.from.keys.length === 0 : isHost(step.from, from);
    if (!begins || to !== null && !isHost(step.to, to)) return false;
    return step.to.username === "" || username === null || wildcardMatch(username, step.to.username);
  });
}

/** Whether a key is one of a host's, or comes with a certificate for it that one of its authorities has signed, and that holds now. */
function isHost({ hostname, keys }: Hop, key: PublicKey): boolean {
  const isOne = (known: Uint8Array, wantsCa: boolean): boolean =>
    keys.some(({ blob, isCa }) => isCa === wantsCa && equals(blob, known));
  if (!(key instanceof CertifiedKey)) return isOne(key.blob, false);
  return isOne(key.fields.signedBy.blob, true) && hostProblem(key.fields, hostname) === null;
}
