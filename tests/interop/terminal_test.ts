/**
 * attachTerminal() on real terminals: tmux is the terminal, `sshd` the other machine.
 *
 * @module
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { endChild } from "../_support/child.ts";
import { scratchDir } from "../_support/keys.ts";
import { peerTest, type ServerPeer, startOpenSshd } from "../_support/peers.ts";
import { PROGRAM_HANGS, until } from "../_support/until.ts";

const program = new URL("_terminal_program.ts", import.meta.url).pathname;
const config = new URL("../../deno.json", import.meta.url).pathname;

/** Words that run phases of the program, with no other permissions than an application would give. */
function commandOf(server: ServerPeer, phases: readonly string[]): string[] {
  const { port, username, clientKey: { file } } = server;
  return [
    ...[Deno.execPath(), "run", "--quiet", "--no-prompt", "--no-check", "--config", config],
    ...["--allow-net=127.0.0.1", `--allow-read=${file}`, "--allow-env=TERM", "--allow-run=stty", program],
    ...[String(port), username, file, ...phases],
  ];
}

/** A terminal of tmux with a shell in it. */
class Tmux implements AsyncDisposable {
  readonly #socket: string;
  #last = "";

  private constructor(socket: string) {
    this.#socket = socket;
  }

  static async start(): Promise<Tmux> {
    const tmux = new Tmux(`${scratchDir()}/tmux`);
    await tmux.do("-f", "/dev/null", "new-session", "-d", "-x", "90", "-y", "30", "env PS1='ready$ ' sh");
    await tmux.shows("ready$");
    return tmux;
  }

  async do(...args: readonly string[]): Promise<string> {
    const { success, stdout, stderr } = await new Deno.Command("/usr/bin/tmux", {
      args: ["-S", this.#socket, ...args],
      stdin: "null",
    }).output();
    if (!success) throw new Error(`tmux ${args.join(" ")}: ${new TextDecoder().decode(stderr)}`);
    return new TextDecoder().decode(stdout);
  }

  async screen(): Promise<string> {
    // Each look is a process.
    await new Promise((resolve) => setTimeout(resolve, 30));
    return this.#last = await this.do("capture-pane", "-p", "-J", "-S", "-200");
  }

  /** Waits for what has not been shown before: all that was shown is looked at. */
  async shows(wanted: string | RegExp): Promise<void> {
    const found = (screen: string): boolean =>
      typeof wanted === "string" ? screen.includes(wanted) : wanted.test(screen);
    try {
      await until(async () => found(await this.screen()), "It is not shown", PROGRAM_HANGS);
    } catch (cause) {
      throw new Error(`The terminal does not show ${wanted}: ${this.#last}`, { cause });
    }
  }

  /** Types text, and then keys by their names. */
  async type(text: string, ...keys: readonly string[]): Promise<void> {
    if (text !== "") await this.do("send-keys", "-l", "--", text);
    if (keys.length > 0) await this.do("send-keys", ...keys);
  }

  /** Waits for a shell's prompt behind what was shown before. */
  async prompts(behind: string): Promise<void> {
    const prompt = /^[#$] /m;
    await until(
      async () => {
        const screen = await this.screen(), at = screen.lastIndexOf(behind);
        return at !== -1 && prompt.test(screen.slice(at + behind.length));
      },
      `There is no prompt behind ${behind}`,
      PROGRAM_HANGS,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.do("kill-server").catch(() => {});
  }
}

/** Numbers of the processes whose command line has all of these words. */
function running(...words: readonly string[]): number[] {
  const found: number[] = [];
  for (const { name } of Deno.readDirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const line = Deno.readTextFileSync(`/proc/${name}/cmdline`).split("\0");
      if (words.every((word) => line.includes(word))) found.push(Number(name));
    } catch {
      // It has ended.
    }
  }
  return found;
}

peerTest(
  ["tmux", "openssh"],
  "attachTerminal() in tmux: keys, sizes, ^C, exit codes, and the terminal restored however it ends",
  async () => {
    await using server = await startOpenSshd();
    await using tmux = await Tmux.start();
    const phases = ["shell", "head", "prompt", "ask", "escape", "abort", "term", "lost", "gone"];
    const words = commandOf(server, phases);
    const pids = (): number[] => running(program, server.clientKey.file, String(server.port));
    await tmux.type(words.map((word) => `'${word}'`).join(" "), "Enter");

    // A shell: its answers are put together there, so that what is typed is not taken for them.
    await tmux.prompts("ready$");
    await tmux.type("PS1='re''mote> '; clear", "Enter");
    await tmux.shows("remote>");
    await tmux.type("echo $(stty size) $TERM", "Enter");
    await tmux.shows("30 90 tmux");
    await tmux.do("resize-window", "-x", "100", "-y", "35");
    // The terminal there may hear of it a moment later than of keys.
    await tmux.type("until [ \"$(stty size)\" = '35 100' ]; do sleep 0.05; done; echo re''sized", "Enter");
    await tmux.shows("resized");
    await tmux.type("echo sl''eeping; sleep 1000; echo ended $?", "Enter");
    await tmux.shows("sleeping");
    await tmux.type("", "C-c");
    await tmux.type("echo inter''rupted", "Enter");
    await tmux.shows("\ninterrupted");
    // What this terminal does to a newline is that one's affair.
    await tmux.type("stty -onlcr; printf 'ab\\ncd\\r\\n'; stty onlcr", "Enter");
    await tmux.shows("\n  cd\n");
    await tmux.type("cat; echo $((40 + 2))", "Enter");
    await tmux.type("", "C-d");
    await tmux.shows("\n42");
    await tmux.type("exit 7", "Enter");
    await tmux.shows("[shell: code 7, restored]");
    const [pid] = pids();
    assert(pid !== undefined);

    // A command that reads lines from here, and no key is lost behind either, to whomever it goes.
    await tmux.type("one line", "Enter");
    await tmux.shows("[head: head 0 one line, restored]");
    await tmux.shows("Prompt:");
    await tmux.type("every key", "Enter");
    await tmux.shows("[prompt: answer every key, restored]");
    await tmux.shows("Secret:");
    await tmux.type("hushed", "Enter");
    await tmux.shows("Name:");
    assert(!(await tmux.screen()).includes("hushed"));
    await tmux.type("alice", "Enter");
    await tmux.shows("[ask: secret of 6, name alice, restored]");

    // Ended by the user, in the midst of a program that has the screen.
    await tmux.prompts("[ask:");
    await tmux.type("printf '\\033[?1049h\\033[?1000h'; echo full''screen; sleep 1000", "Enter");
    await tmux.shows("fullscreen");
    assertEquals(await tmux.do("display", "-p", "#{alternate_on}#{mouse_any_flag}"), "11\n");
    // A newline that the program there does not read: the escape stands behind one.
    await tmux.type("", "Enter");
    await tmux.type("~.");
    await tmux.shows("[escape: CLOSED: Session was ended by ~., restored]");
    assertEquals(await tmux.do("display", "-p", "#{alternate_on}#{mouse_any_flag}"), "00\n");

    // By the program, and by a signal to it; its next session has the terminal again.
    await tmux.prompts("[escape:");
    Deno.kill(pid, "SIGUSR1");
    await tmux.shows("[abort: aborted, restored]");
    await tmux.prompts("[abort:");
    await tmux.type("echo on''ce more", "Enter");
    await tmux.shows("\nonce more");
    Deno.kill(pid, "SIGTERM");
    await tmux.shows("[term: CLOSED: Session was ended by SIGTERM to this program, restored]");

    // The other end dies.
    await tmux.prompts("[term:");
    await tmux.type("printf '\\033[?1049h'; kill -9 $PPID", "Enter");
    await tmux.shows(/\[lost: CONNECTION_LOST: [^\n]*, restored\]/);
    assertEquals(await tmux.do("display", "-p", "#{alternate_on}"), "0\n");

    // The terminal goes away: nothing stays behind, here or there.
    await tmux.prompts("[lost:");
    await tmux.type("echo $$ doz''ing; exec sleep 4321", "Enter");
    await tmux.shows(/\d dozing/);
    const remote = Number(/(\d+) dozing/.exec(await tmux.screen())![1]);
    await tmux.do("kill-server");
    await until(() => pids().length === 0, "The program goes on without its terminal", PROGRAM_HANGS);
    await until(() => !running("sleep", "4321").includes(remote), "The shell there goes on", PROGRAM_HANGS);
  },
);

peerTest(
  ["tmux", "openssh"],
  'attachTerminal() and `stdin: "inherit"` send a pipe, its end too, and keep no program alive for it',
  async () => {
    await using server = await startOpenSshd();
    const [path, ...args] = commandOf(server, ["head", "piped"]);
    const child = new Deno.Command(path!, {
      args,
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
      env: { TERM: "vt100" },
    })
      .spawn();
    const errors = new Response(child.stderr).text();
    let said = "";
    const reading = (async () => {
      for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) said += text;
    })();
    const writer = child.stdin.getWriter(), type = (text: string) => writer.write(new TextEncoder().encode(text));
    try {
      await type("first\n");
      await until(() => said.includes("[head: head 0 first]"), `It is not read: ${said}`, PROGRAM_HANGS);
      // No terminal, so none there; and ~. is no escape.
      await type("tty; echo sh''ell\n~.\nexit 5\n");
      await until(() => said.includes("[end]"), `It does not end: ${said}`, PROGRAM_HANGS);
      // The pipe is open still.
      assertEquals((await child.status).code, 0);
      await reading;
      assertStringIncludes(said, "not a tty\nshell\n");
      assertStringIncludes(said, "[piped: code 5]");
    } finally {
      await writer.abort().catch(() => {});
      await endChild(child);
      await reading;
      await errors;
    }
  },
);
