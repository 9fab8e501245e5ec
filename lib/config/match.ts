/**
 * The criteria of `Match`: ssh_config(5). Reaches the system only through what it is given.
 *
 * @module
 */
import { printable } from "../errors.ts";
import { addressListProblem, listsAddress } from "../keys/trust/address_patterns.ts";
import type { MaybePromise } from "../wire/types.ts";
import type { ConfigPlace } from "./config_error.ts";
import type { Words } from "./lines.ts";
import { fitsHostList, fitsList } from "./patterns.ts";

/** The version of OpenSSH whose configuration is understood here: what `Match version` sees. */
export const ACTING_AS = "OpenSSH_10.6";

/** What criteria look at. */
export interface Matched {
  /** Whether this is the second pass, for which hosts have got their real names. */
  readonly final: boolean;
  /** The name of the host so far. */
  host(): MaybePromise<string>;
  /** The name that was given. */
  readonly alias: string;
  /** The user so far. */
  username(): MaybePromise<string>;
  /** Who runs this program. */
  localUser(): MaybePromise<string>;
  /** The tag so far. */
  readonly tag: string;
  /** The addresses of this machine. */
  addresses(): readonly string[];
  /** Whether a command, with its tokens, ends well; null where commands may not be run. */
  readonly run: ((command: string, place: ConfigPlace) => Promise<boolean>) | null;
  /** Hears that a second pass is wanted. */
  wantFinal(): void;
  /** Hears of a criterion that cannot be decided here. */
  undecided(criterion: string, why: string): void;
}

/** Whether all criteria of a line fit. Throws `SshConfigError` for what is none. */
export async function matches(line: Words, about: Matched): Promise<boolean> {
  let result = true, count = 0;
  for (let word; (word = line.next()) !== undefined;) {
    if (word.startsWith("#")) {
      line.skip();
      break;
    }
    const negated = word.startsWith("!"), written = negated ? word.slice(1) : word;
    // `host=pattern` is `host pattern`.
    const equals = written.indexOf("=");
    const criterion = (equals === -1 ? written : written.slice(0, equals)).toLowerCase();
    if (criterion === "all") {
      const after = line.next();
      if (count > 1 || after !== undefined && after !== "" && !after.startsWith("#")) {
        throw line.error(`"${word}" cannot be combined with other criteria`);
      }
      line.skip();
      return result && !negated;
    }
    count++;
    if (criterion === "canonical" || criterion === "final") {
      if (criterion === "final") about.wantFinal();
      if (about.final === negated) result = false;
      continue;
    }
    if (!criteria.has(criterion)) throw line.error(`"${printable(written, 64)}" is no criterion`);
    const value = equals === -1 ? line.next() : written.slice(equals + 1);
    const mayBeEmpty = criterion === "tagged" || criterion === "command";
    if (value === undefined || value === "" && !mayBeEmpty || value.startsWith("#")) {
      throw line.error(`criterion "${criterion}" lacks an argument`);
    }
    const fits = await decide(criterion, value, line, about, result);
    // What cannot be decided lets nothing apply, whichever way it is asked.
    if (fits === null || fits === negated) result = false;
  }
  if (count === 0) throw line.error("it lacks a criterion");
  return result;
}

const criteria: ReadonlySet<string> = new Set([
  ...[
    "host",
    "originalhost",
    "user",
    "localuser",
    "localnetwork",
    "tagged",
    "version",
    "command",
    "sessiontype",
    "exec",
  ],
]);

async function decide(
  criterion: string,
  value: string,
  line: Words,
  about: Matched,
  stillOpen: boolean,
): Promise<boolean | null> {
  switch (criterion) {
    case "host":
      return fitsHostList(await about.host(), value);
    case "originalhost":
      return fitsHostList(about.alias, value);
    case "user":
      return fitsList(await about.username(), value);
    case "localuser":
      return fitsList(await about.localUser(), value);
    case "tagged":
      return about.tag === "" ? value === "" : fitsList(about.tag, value);
    case "version":
      return fitsList(ACTING_AS, value);
    case "sessiontype":
      return fitsList("shell", value);
    case "command":
      return value === "";
    case "localnetwork": {
      if (
        value.split(",").some((one) => !one.includes("/") && !/^!?[\da-f.:]+$/i.test(one)) || addressListProblem(value)
      ) {
        throw line.error(`"${printable(value, 128)}" is no list of networks`);
      }
      return about.addresses().some((address) => listsAddress(value, address));
    }
    default:
      // A command is run only where it decides.
      if (!stillOpen) return false;
      if (about.run === null) {
        about.undecided("Match exec", `commands are not run without \`exec: true\``);
        return null;
      }
      return await about.run(value, line.place);
  }
}
