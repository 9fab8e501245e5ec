/**
 * A terminal whose keyboard, screen, size and signals are the test's.
 *
 * @module
 */
import type { WindowSize } from "../../lib/session/types.ts";
import type { OwnTerminal } from "../../lib/terminal/own_terminal.ts";
import type { Bytes } from "../../lib/wire/types.ts";
import { until } from "../_support/until.ts";

export class FakeTerminal implements OwnTerminal {
  isTerminal = true;
  /** Whether it is raw now. */
  raw = false;
  /** What `setRaw()` was called with. */
  readonly modes: (boolean | "both ways")[] = [];
  /** What `setRaw()` throws. */
  broken: Error | null = null;
  /** What `size()` gives. */
  now: WindowSize | null = { columns: 80, rows: 24 };
  /** What came to each output. */
  readonly shown = { stdout: "", stderr: "" };
  /** What a write waits for, and what it fails with. */
  writing: Promise<void> = Promise.resolve();
  /** Writes that wait. */
  waiting = 0;
  suspended = 0;
  /** Whether somebody reads. */
  reading = false;
  readonly #kept: Bytes[] = [];
  readonly #typed: (Bytes | null | Error)[] = [];
  #wake: (() => void) | null = null;
  readonly #acts = {
    resize: new Set<() => void>(),
    signal: new Set<(name: string) => void>(),
    cont: new Set<() => void>(),
  };

  /** Listeners that are there. */
  get listeners(): number {
    return Object.values(this.#acts).reduce((sum, { size }) => sum + size, 0);
  }

  /** What nobody has read yet. */
  get left(): string {
    const left = [...this.#kept, ...this.#typed.filter((one) => one instanceof Uint8Array)];
    return left.map((one) => new TextDecoder().decode(one as Uint8Array)).join("");
  }

  type(text: string | Uint8Array): void {
    this.#typed.push(typeof text === "string" ? new TextEncoder().encode(text) : new Uint8Array(text));
    this.#wake?.();
  }

  /** Nothing more comes: the end, or an error. */
  hangUp(error: Error | null = null): void {
    this.#typed.push(error);
    this.#wake?.();
  }

  resize(size: WindowSize | null): void {
    this.now = size;
    for (const act of this.#acts.resize) act();
  }

  signal(name: string): void {
    for (const act of this.#acts.signal) act(name);
  }

  /** What a shell does that brings the program back: it sets the terminal as it likes it. */
  continue(): void {
    this.raw = false;
    for (const act of this.#acts.cont) act();
  }

  async shows(text: string, name: "stdout" | "stderr" = "stdout"): Promise<void> {
    await until(() => this.shown[name].includes(text), `The terminal does not show ${JSON.stringify(text)}`);
  }

  size(): WindowSize | null {
    return this.now;
  }

  term(): string {
    return "fake";
  }

  setRaw(raw: boolean | "both ways"): void {
    this.modes.push(raw);
    if (this.broken !== null) throw this.broken;
    this.raw = raw !== false;
  }

  input(): ReadableStream<Bytes> {
    if (this.reading) throw new TypeError("Cannot read standard input: another reads it");
    this.reading = true;
    const leave = (): void => {
      this.reading = false;
      this.#wake?.();
    };
    return new ReadableStream({
      pull: async (controller) => {
        while (this.reading && this.#kept.length + this.#typed.length === 0) {
          await new Promise<void>((resolve) => this.#wake = resolve);
        }
        if (!this.reading) return;
        const next = this.#kept.shift() ?? this.#typed.shift()!;
        if (next instanceof Uint8Array) return controller.enqueue(next);
        leave();
        if (next === null) controller.close();
        else controller.error(next);
      },
      cancel: leave,
    }, { highWaterMark: 0 });
  }

  unread(bytes: Bytes): void {
    this.#kept.push(bytes);
  }

  async write(name: "stdout" | "stderr", chunk: Uint8Array): Promise<void> {
    this.waiting++;
    await this.writing;
    this.waiting--;
    this.shown[name] += new TextDecoder().decode(chunk);
  }

  onResize(act: () => void): () => void {
    return this.#on("resize", act);
  }

  onSignal(act: (name: string) => void): () => void {
    return this.#on("signal", act);
  }

  onContinue(act: () => void): () => void {
    return this.#on("cont", act);
  }

  suspend(): void {
    this.suspended++;
  }

  #on<T>(name: "resize" | "signal" | "cont", act: T): () => void {
    const acts = this.#acts[name] as Set<unknown>;
    acts.add(act);
    return () => acts.delete(act);
  }
}
