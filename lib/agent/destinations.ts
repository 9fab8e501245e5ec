/**
 * The hosts that a key of an agent may be used for, and on the way through which others (`ssh-add -h`). OpenSSH PROTOCOL.agent section 2.
 * No I/O.
 *
 * @module
 */
import { printable, SshProtocolError } from "../errors.ts";
import { checkPublicKey } from "../keys/check_key.ts";
import type { PublicKey } from "../keys/types.ts";
import { checkObject, checkText, wrongKind } from "../wire/check.ts";
import { Reader } from "../wire/reader.ts";
import type { Bytes } from "../wire/types.ts";
import { Writer } from "../wire/writer.ts";

/** Most restrictions of one key. */
export const MAX_DESTINATIONS = 1024;
/** Bytes of a host name and of a user name in one. */
const MAX_NAME = 1024;

/** A host of a restriction: whoever proves to have one of these keys is it. */
export interface AgentHop {
  /** Its name. It is for people to read, and for the host certificates of `cas`, which must name it. */
  readonly hostname: string;
  /** Its host keys. */
  readonly hostKeys?: readonly PublicKey[] | undefined;
  /** Keys of authorities that sign its host certificates. */
  readonly cas?: readonly PublicKey[] | undefined;
}

/** A step that a key may be used for: from one host to another. */
export interface KeyDestination {
  /** Where the agent is forwarded to, when the step begins there. @default {the machine of the agent} */
  readonly from?: AgentHop | undefined;
  /** Where the key logs in. Without keys for it, or for `from`, no host can be it: `TypeError`. */
  readonly to: AgentHop & {
    /** Who it logs in as; `*` and `?` stand for characters. @default {any user} */
    readonly username?: string | undefined;
  };
}

/** One end of a step as an agent keeps it. */
export interface Hop {
  /** Pattern of users; empty for all of them. */
  readonly username: string;
  /** Empty for the machine of the agent. */
  readonly hostname: string;
  /** Blobs, and whether each is an authority's. */
  readonly keys: readonly { readonly blob: Bytes; readonly isCa: boolean }[];
}

/** A step as an agent keeps it. */
export interface Step {
  readonly from: Hop;
  readonly to: Hop;
}

const NOTHING = new Uint8Array(0);
const HERE: Hop = { username: "", hostname: "", keys: [] };

function hopOf(name: string, hop: AgentHop & { username?: string | undefined }): Hop {
  checkObject(name, hop, "an object such as `{ hostname, hostKeys }`");
  checkText(`${name}.hostname`, hop.hostname);
  const { hostname, username = "", hostKeys = [], cas = [] } = hop;
  checkText(`${name}.username`, username);
  for (const [what, text] of [["hostname", hostname], ["username", username]] as const) {
    if (isNameOf(text)) continue;
    throw new TypeError(
      `Cannot use \`${name}.${what}\`: it has more than ${MAX_NAME} characters, or control characters`,
    );
  }
  if (hostname === "") throw new TypeError(`Cannot use \`${name}.hostname\`: it is empty`);
  for (const [what, keys] of [["hostKeys", hostKeys], ["cas", cas]] as const) {
    if (!Array.isArray(keys)) throw wrongKind(`${name}.${what}`, keys, "a list of public keys");
    for (const key of keys) checkPublicKey(`${name}.${what}`, key);
  }
  if (hostKeys.length + cas.length === 0) {
    throw new TypeError(
      `Cannot restrict key to "${
        printable(hostname, 64)
      }": no key of the host is given, and nobody could prove to be it; name its ` +
        "`hostKeys`, which known_hosts has",
    );
  }
  const keys = [
    ...hostKeys.map(({ blob }) => ({ blob, isCa: false })),
    ...cas.map(({ blob }) => ({ blob, isCa: true })),
  ];
  return { username, hostname, keys };
}

function isNameOf(text: string): boolean {
  // deno-lint-ignore no-control-regex
  return text.length <= MAX_NAME && text.isWellFormed() && !/[\u0000-\u001f\u007f]/.test(text);
}

/** Checks what a program gives; an empty list would be a key for everywhere, and is refused. */
export function stepsOf(destinations: readonly KeyDestination[]): Step[] {
  if (!Array.isArray(destinations)) throw wrongKind("destinations", destinations, "a list of `{ from, to }`");
  if (destinations.length < 1 || destinations.length > MAX_DESTINATIONS) {
    throw new RangeError(
      `Cannot restrict key: ${destinations.length} destinations are given, 1 to ${MAX_DESTINATIONS} are possible`,
    );
  }
  return destinations.map((destination: KeyDestination) => {
    checkObject("destinations", destination, "a list of `{ from, to }`");
    const { from, to } = destination;
    if ((from as { username?: unknown } | undefined)?.username !== undefined) {
      throw new TypeError(
        "Cannot restrict key: nobody proves who has logged in where a step begins; leave out `from.username`",
      );
    }
    return { from: from === undefined ? HERE : hopOf("from", from), to: hopOf("to", to) };
  });
}

function writeHop({ username, hostname, keys }: Hop): Bytes {
  const writer = new Writer(256).text(username).text(hostname).string(NOTHING);
  for (const { blob, isCa } of keys) writer.string(blob).bool(isCa);
  return writer.bytes();
}

/** What the constraint holds. */
export function writeSteps(steps: readonly Step[]): Bytes {
  const all = new Writer(512);
  for (const { from, to } of steps) {
    const step = new Writer(512).string(writeHop(from)).string(writeHop(to)).string(NOTHING);
    all.string(step.bytes());
  }
  return all.bytes();
}

function readHop(bytes: Uint8Array): Hop {
  const reader = new Reader(bytes), username = reader.text(), hostname = reader.text(), more = reader.view();
  if (more.length > 0 || !isNameOf(username) || !isNameOf(hostname)) throw new SshProtocolError("a host is malformed");
  const keys: { blob: Bytes; isCa: boolean }[] = [];
  while (reader.remaining > 0) {
    const blob = reader.string(), isCa = reader.bool();
    if (blob.length === 0) throw new SshProtocolError("a host's key is empty");
    keys.push({ blob, isCa });
  }
  return { username, hostname, keys };
}

/** Reads the same, and refuses what restricts nothing or could not be kept: a key that nobody has to prove, a user where a step begins. */
export function readSteps(bytes: Uint8Array): Step[] {
  const reader = new Reader(bytes), steps: Step[] = [];
  while (reader.remaining > 0) {
    if (steps.length === MAX_DESTINATIONS) throw new SshProtocolError(`more than ${MAX_DESTINATIONS} destinations`);
    const one = new Reader(reader.view()), from = readHop(one.view()), to = readHop(one.view()), more = one.view();
    one.end();
    const isHere = from.hostname === "" && from.keys.length === 0;
    if (
      more.length > 0 || from.username !== "" || !isHere && (from.hostname === "" || from.keys.length === 0) ||
      to.hostname === "" || to.keys.length === 0
    ) throw new SshProtocolError("a destination is malformed");
    steps.push({ from, to });
  }
  if (steps.length === 0) throw new SshProtocolError("no destination is named");
  return steps;
}
