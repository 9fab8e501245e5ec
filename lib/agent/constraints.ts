/**
 * What a key of an agent is tied to: a time, a person's word, hosts. draft-ietf-sshm-ssh-agent section 3.2.7, OpenSSH PROTOCOL.agent
 * section 2. No I/O.
 *
 * @module
 */
import { SshProtocolError } from "../errors.ts";
import { checkFlag, checkObject, checkText } from "../wire/check.ts";
import type { Reader } from "../wire/reader.ts";
import type { Writer } from "../wire/writer.ts";
import { type KeyDestination, readSteps, type Step, stepsOf, writeSteps } from "./destinations.ts";
import { AgentExtension, Constraint } from "./frames.ts";

/** Seconds that an agent can be told. */
const MAX_SECONDS = 0xffff_ffff;

/** Options of {@linkcode KeyAgent.add}: what the key is tied to, and what it is called. */
export interface AgentKeyOptions {
  /** What the agent calls the key. @default {the key's own comment} */
  comment?: string | undefined;
  /** The agent forgets the key after so many milliseconds, which whole seconds are made of (`ssh-add -t`). @default {never} */
  lifetime?: number | undefined;
  /** A person is asked before each use (`ssh-add -c`). @default {false} */
  confirm?: boolean | undefined;
  /** The key logs in there, and nowhere else (`ssh-add -h`). @default {anywhere} */
  destinations?: readonly KeyDestination[] | undefined;
}

/** The same as an agent keeps it. */
export interface Constraints {
  /** Seconds; null for no end. */
  readonly lifetime: number | null;
  readonly confirm: boolean;
  /** Null for everywhere. */
  readonly steps: readonly Step[] | null;
}

/** Whole seconds of a lifetime; throws `RangeError` for what is none. */
export function secondsOf(name: string, milliseconds: number | undefined): number | null {
  if (milliseconds === undefined || milliseconds === Infinity) return null;
  if (typeof milliseconds === "number" && milliseconds > 0 && milliseconds <= MAX_SECONDS * 1000) {
    return Math.ceil(milliseconds / 1000);
  }
  throw new RangeError(
    `Cannot use \`${name}\`: it must be a number of milliseconds above 0, and ${MAX_SECONDS * 1000} at most`,
  );
}

/** Checks what a program gives. */
export function constraintsOf(options: AgentKeyOptions): Constraints {
  checkObject("options", options, "an object such as `{ lifetime: 3_600_000 }`");
  const { comment, lifetime, confirm, destinations } = options;
  if (comment !== undefined) checkText("comment", comment);
  checkFlag("confirm", confirm);
  return {
    lifetime: secondsOf("lifetime", lifetime),
    confirm: confirm ?? false,
    steps: destinations === undefined ? null : stepsOf(destinations),
  };
}

/** Writes them, in the order in which ssh-add does. */
export function writeConstraints(writer: Writer, { lifetime, confirm, steps }: Constraints): void {
  if (lifetime !== null) writer.u8(Constraint.LIFETIME).u32(lifetime);
  if (confirm) writer.u8(Constraint.CONFIRM);
  if (steps !== null) {
    writer.u8(Constraint.EXTENSION).text(AgentExtension.RESTRICT_DESTINATION).string(writeSteps(steps));
  }
}

/** Reads what is left of a message as constraints. One that is not known could not be kept, and one that comes twice contradicts itself. */
export function readConstraints(reader: Reader): Constraints {
  let lifetime: number | null = null, confirm = false, steps: Step[] | null = null;
  const once = (isFirst: boolean): void => {
    if (!isFirst) throw new SshProtocolError("a constraint comes twice");
  };
  while (reader.remaining > 0) {
    switch (reader.u8()) {
      case Constraint.LIFETIME:
        once(lifetime === null);
        lifetime = reader.u32();
        break;
      case Constraint.CONFIRM:
        once(!confirm);
        confirm = true;
        break;
      case Constraint.EXTENSION:
        if (reader.ascii() !== AgentExtension.RESTRICT_DESTINATION) {
          throw new SshProtocolError("a constraint is not known");
        }
        once(steps === null);
        steps = readSteps(reader.view());
        break;
      default:
        throw new SshProtocolError("a constraint is not known");
    }
  }
  return { lifetime, confirm, steps };
}
