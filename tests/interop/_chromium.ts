/**
 * Test support. Headless Chromium over its DevTools protocol: one browser, pages in it, and what a user does there.
 *
 * @module
 */
import { endChild } from "../_support/child.ts";
import { inTime, PROGRAM_HANGS, until } from "../_support/until.ts";

const flags = [
  ...["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run"],
  ...["--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-breakpad"],
  ...["--disable-extensions", "--disable-default-apps", "--mute-audio", "--password-store=basic"],
  "--remote-debugging-port=0",
];

type Answer = Record<string, unknown>;

/** A browser of its own, with a profile of its own. */
export class Chromium implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #profile: string;
  readonly #socket: WebSocket;
  readonly #waiting = new Map<number, PromiseWithResolvers<Answer>>();
  readonly #events = new Map<string, () => void>();
  #calls = 0;

  private constructor(child: Deno.ChildProcess, profile: string, socket: WebSocket) {
    this.#child = child;
    this.#profile = profile;
    this.#socket = socket;
    socket.onmessage = ({ data }) => {
      const { id, method, sessionId, result, error } = JSON.parse(data) as {
        id?: number;
        method?: string;
        sessionId?: string;
        result?: Answer;
        error?: { message: string };
      };
      if (id === undefined) return this.#events.get(`${sessionId} ${method}`)?.();
      const call = this.#waiting.get(id);
      if (call === undefined) return;
      this.#waiting.delete(id);
      if (error === undefined) call.resolve(result!);
      else call.reject(new Error(error.message));
    };
    socket.onclose = () => {
      for (const call of this.#waiting.values()) call.reject(new Error("The browser has ended"));
    };
  }

  /** Starts it, and waits until it can be talked to. */
  static async start(): Promise<Chromium> {
    const profile = await Deno.makeTempDir({ prefix: "amiko_ssh_" });
    const child = new Deno.Command("/usr/bin/chromium", {
      args: [...flags, `--user-data-dir=${profile}`, "about:blank"],
      // What belongs to a user goes into the profile, too.
      env: { HOME: profile, XDG_CONFIG_HOME: profile, XDG_CACHE_HOME: profile },
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    try {
      const address = await inTime(listening(`${profile}/DevToolsActivePort`), "Chromium", PROGRAM_HANGS);
      const socket = new WebSocket(address), opened = Promise.withResolvers<void>();
      socket.onopen = () => opened.resolve();
      socket.onerror = (event) => opened.reject(new Error((event as ErrorEvent).message));
      await inTime(opened.promise, "Chromium's answer", PROGRAM_HANGS);
      return new Chromium(child, profile, socket);
    } catch (error) {
      await ended(child, profile);
      throw error;
    }
  }

  /** Calls a method of the protocol. */
  async call(method: string, params: object = {}, sessionId?: string): Promise<Answer> {
    const id = ++this.#calls, call = Promise.withResolvers<Answer>();
    this.#waiting.set(id, call);
    this.#socket.send(JSON.stringify({ id, method, params, ...sessionId === undefined ? {} : { sessionId } }));
    return await inTime(call.promise, method, PROGRAM_HANGS);
  }

  /** The next event of a page. */
  async event(sessionId: string, method: string): Promise<void> {
    await inTime(
      new Promise<void>((resolve) => this.#events.set(`${sessionId} ${method}`, resolve)),
      method,
      PROGRAM_HANGS,
    );
  }

  /** The page that it has begun with. */
  async page(): Promise<Page> {
    let targetId: string | undefined;
    // It can be talked to before that page is there.
    await until(
      async () => {
        const { targetInfos } = await this.call("Target.getTargets");
        targetId = (targetInfos as { type: string; targetId: string }[]).find(({ type }) => type === "page")?.targetId;
        return targetId !== undefined;
      },
      "a page",
      PROGRAM_HANGS,
    );
    const { sessionId } = await this.call("Target.attachToTarget", { targetId, flatten: true });
    return new Page(this, targetId!, sessionId as string);
  }

  /** Ends it, and removes what it wrote. */
  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#socket.addEventListener("close", () => resolve()));
    await this.call("Browser.close").catch(() => {});
    await ended(this.#child, this.#profile);
    await closed;
  }
}

/** The address in the file that the browser writes when it listens. */
async function listening(file: string): Promise<string> {
  for (;;) {
    const [port, path] = (await Deno.readTextFile(file).catch(() => "")).split("\n");
    if (port && path) return `ws://127.0.0.1:${port}${path}`;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function ended(child: Deno.ChildProcess, profile: string): Promise<void> {
  await endChild(child);
  // Its helpers, which end with it, may still be writing.
  await until(
    () => Deno.remove(profile, { recursive: true }).then(() => true, () => false),
    "the profile removed",
    PROGRAM_HANGS,
  );
}

/** A page, and what a user does with it. */
export class Page {
  readonly #browser: Chromium;
  readonly #target: string;
  readonly #session: string;

  constructor(browser: Chromium, target: string, session: string) {
    this.#browser = browser;
    this.#target = target;
    this.#session = session;
  }

  /** Calls a method of the protocol for this page. */
  call(method: string, params: object = {}): Promise<Answer> {
    return this.#browser.call(method, params, this.#session);
  }

  /** Goes to an address. */
  async open(url: string): Promise<void> {
    await this.call("Page.navigate", { url });
    await this.until(`location.href === ${JSON.stringify(url)} && document.readyState === "complete"`, url);
  }

  /** Stops the page in the middle of its code, which must be running. */
  async pause(): Promise<void> {
    await this.call("Debugger.enable");
    const paused = this.#browser.event(this.#session, "Debugger.paused");
    await this.call("Debugger.pause");
    await paused;
  }

  /** Lets it go on. */
  async resume(): Promise<void> {
    await this.call("Debugger.resume");
  }

  /** The value of an expression there. */
  async value(expression: string): Promise<unknown> {
    let answer: Answer | undefined;
    // While a page gives way to another it is refused.
    for (const end = performance.now() + PROGRAM_HANGS; answer === undefined;) {
      try {
        answer = await this.call("Runtime.evaluate", { expression, returnByValue: true, awaitPromise: true });
      } catch (error) {
        if (performance.now() > end) throw error;
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
    const { result, exceptionDetails } = answer as { result: { value?: unknown }; exceptionDetails?: unknown };
    if (exceptionDetails !== undefined) throw new Error(`The page: ${JSON.stringify(exceptionDetails)}`);
    return result.value;
  }

  /** Waits until an expression is something there that counts as true, and gives it. */
  async until(expression: string, what: string): Promise<unknown> {
    for (const end = performance.now() + PROGRAM_HANGS;;) {
      // While a page gives way to another there is nothing to ask.
      const value = await this.value(expression).catch(() => null);
      if (value) return value;
      if (performance.now() > end) throw new Error(`${what}: ${await this.value("document.body.innerText")}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** Types into what a selector finds. */
  async type(selector: string, text: string): Promise<void> {
    await this.value(`document.querySelector(${JSON.stringify(selector)}).focus()`);
    await this.call("Input.insertText", { text });
  }

  /** Presses Enter. */
  async enter(): Promise<void> {
    const key = { key: "Enter", code: "Enter", windowsVirtualKeyCode: 13, text: "\r" };
    await this.call("Input.dispatchKeyEvent", { type: "keyDown", ...key });
    await this.call("Input.dispatchKeyEvent", { type: "keyUp", ...key });
  }

  /** Gives the window another size. */
  async resize(width: number, height: number): Promise<void> {
    await this.call("Emulation.setDeviceMetricsOverride", { width, height, deviceScaleFactor: 1, mobile: false });
  }

  /** A picture of it, as PNG. */
  async picture(): Promise<Uint8Array> {
    const { data } = await this.call("Page.captureScreenshot", { format: "png" });
    return Uint8Array.fromBase64(data as string);
  }

  /** Closes the tab, without a word to what runs in it. */
  async close(): Promise<void> {
    await this.#browser.call("Target.closeTarget", { targetId: this.#target });
  }
}
