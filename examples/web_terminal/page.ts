/**
 * The page of the web terminal: asks who logs in, shows the host's key, and joins a shell to a terminal. The connection is SSH from here
 * to the host, so that password, keys and what is typed are encrypted before they leave the page.
 */
import { FitAddon } from "npm:@xterm/addon-fit@^0.11.0";
import { Terminal } from "npm:@xterm/xterm@^6.0.0";
import css from "npm:@xterm/xterm@^6.0.0/css/xterm.css" with { type: "text" };
import { connect, keyboardInteractive, password, type PublicKey, webSocketTransport } from "@amiko/ssh/client";

const byId = <T extends HTMLElement>(id: string): T => document.getElementById(id) as T;
const form = byId<HTMLFormElement>("login"), question = byId<HTMLDialogElement>("question"), screen = byId("screen");

const sheet = new CSSStyleSheet();
sheet.replaceSync(css);
document.adoptedStyleSheets.push(sheet);
const terminal = new Terminal({ cursorBlink: true, fontSize: 14 }), fit = new FitAddon();
terminal.loadAddon(fit);
terminal.open(screen);
new ResizeObserver(() => fit.fit()).observe(screen);

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const { username, secret } = Object.fromEntries(new FormData(form)) as Record<string, string>;
  form.reset();
  form.hidden = true;
  try {
    say("ended", await session(username!, secret!));
  } catch (error) {
    say("lost", error instanceof Error ? error.message : String(error));
  }
  form.hidden = false;
});

/** One login and its shell; resolves to how the shell ended. */
async function session(username: string, secret: string): Promise<string> {
  say("connecting", "Connecting");
  await using client = await connect({
    // The relay alone decides which host it is: the page knows it by its key.
    hostname: location.hostname,
    transport: await webSocketTransport(new URL("ssh", location.href)),
    username,
    auth: [password(secret), keyboardInteractive(({ prompts }) => prompts.map(() => secret))],
    verifyHostKey: isTrusted,
    keepalive: { interval: 10_000 },
    onBanner: (text) => terminal.write(text.replaceAll("\n", "\r\n")),
  });
  await using shell = await client.shell({
    pty: { term: "xterm-256color", columns: terminal.cols, rows: terminal.rows },
  });
  const keys = shell.stdin.getWriter(), type = (bytes: Uint8Array): void => void keys.write(bytes).catch(() => {});
  const listening = [
    terminal.onData((text) => type(new TextEncoder().encode(text))),
    terminal.onBinary((text) => type(Uint8Array.from(text, (character) => character.charCodeAt(0)))),
    terminal.onResize(({ cols, rows }) => void shell.resize({ columns: cols, rows })),
  ];
  say("connected", `Connected as ${username}: ${client.info.kex}, ${client.info.serverToClient.cipher}`);
  terminal.focus();
  try {
    // The next bytes are taken when these are on the screen: what is slow here slows the host.
    await shell.stdout.pipeTo(
      new WritableStream({ write: (bytes) => new Promise((shown) => terminal.write(bytes, shown)) }),
    );
    const { code, signal } = await shell.status;
    return signal === null ? `The shell ended with exit code ${code}` : `The shell ended with signal ${signal}`;
  } finally {
    for (const each of listening) each.dispose();
  }
}

/** Asks about a key that is new, takes the one that was trusted before, and refuses any other. */
async function isTrusted(key: PublicKey): Promise<boolean> {
  const fingerprint = await key.fingerprint(), pinned = localStorage.getItem("host key");
  if (pinned !== null) {
    if (pinned !== fingerprint) say("lost", `The host's key is ${fingerprint}, and was ${pinned}`);
    return pinned === fingerprint;
  }
  byId("fingerprint").textContent = fingerprint;
  question.showModal();
  await new Promise((resolve) => question.addEventListener("close", resolve, { once: true }));
  if (question.returnValue !== "yes") return false;
  localStorage.setItem("host key", fingerprint);
  return true;
}

function say(state: string, text: string): void {
  document.body.dataset.state = state;
  byId("status").textContent = text;
}
