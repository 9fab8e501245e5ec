/**
 * How ssh_config logs in: PreferredAuthentications, PubkeyAuthentication and its kin, IdentityFile, NumberOfPasswordPrompts. ssh_config(5).
 *
 * @module
 */
import { type AuthMethod, keyboardInteractive, password } from "../../auth/methods.ts";
import { acceptedKeys, namesOf } from "../../config/algorithm_lists.ts";
import type { Complete } from "../../config/complete.ts";
import type { ConfigSystem } from "../../config/system.ts";
import { clientTokens, expand, expandTilde } from "../../config/tokens.ts";
import type { Passphrase } from "../../keys/passphrase.ts";
import type { MaybePromise } from "../../wire/types.ts";
import type { ConnectOptions } from "../connect_options.ts";
import { identityMethod } from "./identities.ts";
import type { Notices } from "./notices.ts";

/** Methods in the order in which `ssh` tries them. */
const ORDER = ["publickey", "keyboard-interactive", "password"];
/** Times that somebody is asked, at most, whatever the configuration says: a server hears no more tries anyhow. */
const MAX_PROMPTS = 16;

/** The default file that OpenSSH 10.6 has besides those that `ssh -G` of its version 10.0 shows. */
const LATER_FILE = "~/.ssh/id_mldsa44_ed25519";

/** Gives the answer to one question. */
export type Answer = (prompt: string, question: { echo: boolean; signal: AbortSignal }) => MaybePromise<string>;

/** Who is asked, and told. */
export interface Asking {
  /** The system. */
  readonly system: ConfigSystem;
  /** Where a program is told. */
  readonly notices: Notices;
  /** The passphrase of a key file. */
  readonly passphrase: Passphrase | undefined;
  /** Answers what the server asks. */
  readonly answer: Answer | undefined;
}

/** `auth`, where lines or the program say how to log in. */
export async function authOf(found: Complete, asking: Asking): Promise<Pick<ConnectOptions, "auth">> {
  const { notices, passphrase } = asking;
  const answer = found.get("batchmode") === "yes" ? undefined : asking.answer;
  const preferred = found.get("preferredauthentications")?.split(",").map((name) => name.trim()) ?? ORDER;
  const switches = {
    "publickey": found.get("pubkeyauthentication") !== "false",
    "keyboard-interactive": found.get("kbdinteractiveauthentication") !== "no",
    "password": found.get("passwordauthentication") !== "no",
  };
  const wanted = preferred.filter((name): name is keyof typeof switches =>
    Object.hasOwn(switches, name) && switches[name as keyof typeof switches]
  );
  if (answer === undefined && found.isSet("preferredauthentications") && wanted.some((name) => name !== "publickey")) {
    notices.tell("PreferredAuthentications", "nobody is asked for passwords here: give `answer`, or `auth`");
  }
  const names = [
    ...["identityfile", "certificatefile", "identitiesonly", "identityagent", "pubkeyacceptedalgorithms"],
    ...["pubkeyauthentication", "preferredauthentications"],
  ];
  if (!names.some((name) => found.isSet(name)) && passphrase === undefined && answer === undefined) return {};
  const auth: AuthMethod[] = [];
  for (const name of wanted) {
    if (name === "publickey") auth.push(await keysOf(found, asking));
    else if (answer !== undefined) {
      const times = Math.min(MAX_PROMPTS, Number(found.get("numberofpasswordprompts")));
      for (let i = 0; i < times; i++) {
        auth.push(name === "password" ? asksPassword(found, answer) : asksAll(found, answer));
      }
    }
  }
  return { auth };
}

function asksPassword({ username, host }: Complete, answer: Answer): AuthMethod {
  return password(({ signal }) => answer(`${username}@${host}'s password: `, { echo: false, signal }));
}

/** The words are the server's, and could be those of a question of this side's own, such as for a passphrase: each says who asks. */
function asksAll({ username, host }: Complete, answer: Answer): AuthMethod {
  return keyboardInteractive(async ({ name, instruction, prompts }, { signal }) => {
    const answers: string[] = [];
    let before = [name, instruction].filter((text) => text !== "").map((text) => text.replace(/\n?$/, "\n")).join("");
    for (const { text, echo } of prompts) {
      answers.push(await answer(`${before}(${username}@${host}) ${text}`, { echo, signal }));
      before = "";
    }
    return answers;
  });
}

async function keysOf(found: Complete, { system, passphrase }: Asking): Promise<AuthMethod> {
  const paths = async (name: string): Promise<string[]> => {
    const place = found.settings.places.get(name) ?? null, paths: string[] = [];
    const later = name === "identityfile" && !found.isSet(name) ? [LATER_FILE] : [];
    for (const path of [...found.all(name), ...later]) {
      if (path.toLowerCase() === "none") continue;
      const tokens = clientTokens(found, system), env = (name: string): string | undefined => system.env(name);
      paths.push(await expand(expandTilde(path, system, name, place), { tokens, env, keyword: name, place }));
    }
    return paths;
  };
  const list = found.isSet("pubkeyacceptedalgorithms") ? found.get("pubkeyacceptedalgorithms")! : null;
  return identityMethod({
    files: await paths("identityfile"),
    certificates: await paths("certificatefile"),
    agent: agentOf(found.get("identityagent"), system),
    only: found.get("identitiesonly") === "yes",
    algorithms: list === null ? null : namesOf(list, acceptedKeys),
    passphrase,
  });
}

/** An agent: the path of its socket, `true` for that of SSH_AUTH_SOCK, null for none. */
export function agentOf(path: string | undefined, system: ConfigSystem): string | true | null {
  if (path === undefined || path === "SSH_AUTH_SOCK") return true;
  if (path.toLowerCase() === "none") return null;
  if (!path.startsWith("$")) return path;
  return system.env(path.slice(1)) || null;
}
