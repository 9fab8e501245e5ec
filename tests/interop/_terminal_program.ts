/**
 * What the tests in tmux run: a program that attaches its terminal in many ways, one after the other, and says in brackets how each ended.
 *
 * @module
 */
// deno-lint-ignore-file no-console
import {
  askTerminal,
  attachTerminal,
  connect,
  insecureAcceptAnyHostKey,
  parsePrivateKey,
  publicKey,
  type SshClient,
  SshError,
} from "../../mod.ts";

const [port, username, key, ...phases] = Deno.args;

function open(): Promise<SshClient> {
  return connect({
    hostname: "127.0.0.1",
    port: Number(port),
    username: username!,
    auth: [publicKey(parsed)],
    verifyHostKey: insecureAcceptAnyHostKey(),
  });
}
const parsed = await parsePrivateKey(await Deno.readTextFile(key!));

/** How the terminal is set. */
async function stty(): Promise<string> {
  const { stdout } = await new Deno.Command("stty", { args: ["-g"], stdin: "inherit" }).output();
  return new TextDecoder().decode(stdout).trim();
}

/** A login shell on this terminal, and how that ended. */
async function shell(options?: { signal: AbortSignal }): Promise<string> {
  await using client = await open();
  await using process = await client.shell({ pty: "inherit" });
  try {
    return `code ${(await attachTerminal(process, options)).code}`;
  } catch (error) {
    if (error instanceof SshError) return `${error.code}: ${error.message}`;
    return String((error as Error).message);
  }
}

const before = Deno.stdin.isTerminal() ? await stty() : "";
for (const phase of phases) {
  let said: string;
  switch (phase) {
    case "ask":
      said = `secret of ${(await askTerminal("Secret: ")).length}, name ${await askTerminal("Name: ", { echo: true })}`;
      break;
    case "prompt":
      said = `answer ${prompt("Prompt:")}`;
      break;
    case "abort": {
      const abort = new AbortController(), reason = new Error("aborted");
      // Whoever wants it says so by a signal.
      const onSignal = (): void => abort.abort(reason);
      Deno.addSignalListener("SIGUSR1", onSignal);
      said = await shell({ signal: abort.signal });
      Deno.removeSignalListener("SIGUSR1", onSignal);
      break;
    }
    case "head": {
      await using client = await open();
      const { code, stdout } = await client.exec("head -n 1", { stdin: "inherit" });
      said = `head ${code} ${new TextDecoder().decode(stdout).trim()}`;
      break;
    }
    default:
      said = await shell();
  }
  const restored = before === "" ? "" : await stty() === before ? ", restored" : ", NOT RESTORED";
  console.log(`[${phase}: ${said}${restored}]`);
}
console.log("[end]");
