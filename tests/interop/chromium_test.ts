/**
 * The client in a page of Chromium: examples/web_terminal with OpenSSH behind it, and with a server of ours at the other end of the
 * WebSocket. With `AMIKO_SCREENSHOT=FILE` the terminal is written there as PNG.
 */
import { assert, assertEquals, assertMatch, assertRejects, assertStringIncludes } from "@std/assert";
import { serveConn } from "../../lib/api/server.ts";
import { webSocketTransport } from "../../lib/api/web_socket.ts";
import { SshError } from "../../lib/errors.ts";
import type { ServerSession } from "../../lib/session/server_session.ts";
import { endChild } from "../_support/child.ts";
import { startServer } from "../_support/examples.ts";
import { serverOptions } from "../_support/joined.ts";
import { peerTest, startOpenSshd } from "../_support/peers.ts";
import { inTime, PROGRAM_HANGS, until } from "../_support/until.ts";
import { Chromium, type Page } from "./_chromium.ts";

const root = new URL("../../", import.meta.url).pathname;
const state = (name: string) => `document.body.dataset.state === "${name}"`;
const screen = `document.querySelector(".xterm-rows").innerText.replaceAll("\\u00a0", " ")`;
const status = `document.querySelector("#status").innerText`;

/** Fills in the form, and trusts the host's key. */
async function logIn(page: Page, username: string, password: string): Promise<string> {
  await page.type("[name=username]", username);
  await page.type("[name=secret]", password);
  await page.enter();
  await page.until(`document.querySelector("#question").open || ${state("connected")}`, "the question");
  const fingerprint = await page.value(`document.querySelector("#fingerprint").innerText`);
  await page.value(`document.querySelector("#question[open] [value=yes]")?.click()`);
  await page.until(state("connected"), "the login");
  return String(fingerprint);
}

/** Runs a command; what it answers is not to be found on the screen before. */
async function command(page: Page, line: string, answer: RegExp): Promise<string[]> {
  await page.type(".xterm-helper-textarea", line);
  await page.enter();
  return await page.until(`${answer}.exec(${screen})`, `the answer to ${line}`) as string[];
}

/** Writes until nobody takes it. */
class Flood {
  written = 0;
  ended = false;

  async run(session: ServerSession): Promise<number> {
    const writer = session.stdout.getWriter(), line = new TextEncoder().encode("flood\r\n".repeat(1024));
    try {
      for (; !session.signal.aborted; this.written += line.length) await writer.write(line);
    } finally {
      this.ended = true;
    }
    return 0;
  }
}

Deno.test("the client's bundle for a page imports nothing of node:", async () => {
  const { stdout, stderr, code } = await new Deno.Command(Deno.execPath(), {
    args: ["bundle", "--quiet", "--platform", "browser", `${root}client.ts`],
    cwd: root,
  }).output();
  assertEquals(code, 0, new TextDecoder().decode(stderr));
  const script = new TextDecoder().decode(stdout);
  assertStringIncludes(script, "webSocketTransport");
  assertEquals(script.match(/^(?:import|export)\b.*["']|\b(?:import|require)\(.*["'].*/gm), null);
  // What is looked for by name, where it is there: Node and Bun have it, and a page does not.
  const names = new Set(script.match(/["']node:.*?["']/g)?.map((name) => name.slice(6, -1)));
  assertEquals([...names].sort(), ["child_process", "crypto", "dns", "fs", "net", "os", "tty", "util"]);
});

peerTest("chromium", "a page in Chromium logs in to OpenSSH, follows its window, and says what was lost", async () => {
  await using sshd = await startOpenSshd();
  await using server = await startServer("web_terminal/server.ts", [`127.0.0.1:${sshd.port}`, "--port=0"]);
  const url = `http://127.0.0.1:${server.port}/`;
  for (const headers of [{}, { origin: "http://page.example" }, { origin: `http://127.0.0.1:${server.port + 1}` }]) {
    const answers = await Promise.all(["ssh", "server.ts"].map((name) => fetch(url + name, { headers })));
    assertEquals(answers.map(({ status }) => status), [403, 404], "This page's own code alone gets through");
    for (const { body } of answers) await body?.cancel();
  }
  await assertRejects(() => webSocketTransport(`${url}ssh`), SshError, "refused the upgrade");
  {
    await using browser = await Chromium.start();
    const page = await browser.page();
    await page.open(url);
    const fingerprint = await logIn(page, sshd.username, sshd.password!);
    assertMatch(fingerprint, /^SHA256:[A-Za-z0-9+/]{43}$/);
    await command(page, "echo $((6 * 7)) $TERM", /42 xterm-256color/);
    const sizes: (readonly [rows: number, columns: number])[] = [];
    let asked = 0;
    for (const size of [null, [900, 500], [600, 300]] as const) {
      if (size !== null) await page.resize(size[0], size[1]);
      // The shell may be asked before it has heard of the new size.
      await until(
        async () => {
          const answer = new RegExp(`(\\d+) (\\d+)\\s+asked ${++asked} times`);
          const [, rows, columns] = await command(page, `stty size; printf 'asked %d times\\n' ${asked}`, answer);
          if (sizes.some((one) => String(one) === `${rows},${columns}`)) return false;
          sizes.push([Number(rows), Number(columns)]);
          return true;
        },
        "the new size",
        PROGRAM_HANGS,
      );
    }
    assert(sizes[1]![0] > sizes[2]![0] && sizes[1]![1] > sizes[2]![1], String(sizes));
    const file = Deno.env.get("AMIKO_SCREENSHOT");
    if (file !== undefined) await picture(page, file);

    const files = await Promise.all(["", "page.js"].map(async (name) => await (await fetch(url + name)).text()));
    await endChild(server.child);
    await page.until(state("lost"), "the loss");
    assertMatch(String(await page.value(status)), /WebSocket was closed|[Cc]onnection/);
    await page.until(`!document.querySelector("#login").hidden`, "the form again");

    await slowAndGone(page, files);
  }
});

/** The same page at a server in this process, which floods it: the page stands still, goes on, and vanishes. */
async function slowAndGone(page: Page, [html, script]: string[]): Promise<void> {
  const flood = new Flood(), served: Promise<unknown>[] = [];
  const options = await serverOptions({ handler: (session) => flood.run(session) });
  const web = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, (request) => {
    const { pathname } = new URL(request.url);
    if (pathname !== "/ssh") {
      const isScript = pathname === "/page.js";
      return new Response(isScript ? script : html, {
        headers: { "content-type": isScript ? "text/javascript" : "text/html" },
      });
    }
    const { socket, response } = Deno.upgradeWebSocket(request);
    served.push(webSocketTransport(socket).then((conn) => serveConn(conn, options)).catch((error) => error));
    return response;
  });
  await page.open(`http://127.0.0.1:${web.addr.port}/`);
  await logIn(page, "alice", "wonderland");
  const hasMlKem = await page.value("typeof crypto.subtle.encapsulateBits") === "function";
  assertStringIncludes(String(await page.value(status)), hasMlKem ? "mlkem768x25519-sha256" : "sntrup761x25519-sha512");
  await until(() => flood.written > 0, "the flood", PROGRAM_HANGS);
  await page.pause();
  // What stands still takes no more than its window.
  let before = -1;
  await until(
    async () => {
      if (flood.written === before) return true;
      before = flood.written;
      await new Promise((resolve) => setTimeout(resolve, 300));
      return false;
    },
    "the flood standing still",
    PROGRAM_HANGS,
  );
  await page.resume();
  await until(() => flood.written > before, "the flood going on", PROGRAM_HANGS);
  await page.close();
  await until(() => flood.ended, "the handler's end", PROGRAM_HANGS);
  assertEquals((await inTime(Promise.all(served), "the connection's end")).length, 1);
  await web.shutdown();
}

/** What README shows. */
async function picture(page: Page, file: string): Promise<void> {
  await page.resize(800, 380);
  await command(page, "PS1='amiko@far:~$ '; clear", /far:~\$ \s*$/);
  await command(page, "ls --color /usr", /share/);
  await command(page, "stty size", /\d+ \d+\s/);
  await command(page, "echo 'café ✓'", /~\$ echo 'café ✓'\s+café ✓\s/);
  await Deno.writeFile(file, await page.picture());
}
