/**
 * `respond`: what is answered, how often, and what waits for it.
 *
 * @module
 */
import { assert, assertEquals, assertInstanceOf, assertRejects } from "@std/assert";
import { SshError } from "../../lib/errors.ts";
import { endOf, SshCommandError } from "../../lib/session/output.ts";
import type { Answer } from "../../lib/session/respond.ts";
import { Secrets } from "../../lib/session/secrets.ts";
import type { ServerSession } from "../../lib/session/server_session.ts";
import type { ExecOptions } from "../../lib/session/types.ts";
import { join, say } from "../_support/joined.ts";
import { inTime, until } from "../_support/until.ts";

/** What came in, by lines, and then to the end. */
class Input {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  #text = "";

  constructor(stdin: ReadableStream<Uint8Array>) {
    this.#reader = stdin.getReader();
  }

  async line(): Promise<string> {
    while (!this.#text.includes("\n")) {
      const { done, value } = await this.#reader.read();
      if (done) return `${this.#text}<end>`;
      this.#text += new TextDecoder().decode(value);
    }
    const end = this.#text.indexOf("\n") + 1, line = this.#text.slice(0, end);
    this.#text = this.#text.slice(end);
    return line.trimEnd();
  }

  async rest(): Promise<string> {
    for (;;) {
      const { done, value } = await this.#reader.read();
      if (done) return this.#text;
      this.#text += new TextDecoder().decode(value);
    }
  }
}

/** `asks N` asks for a password until it is right, N times; `stderr` does so there; `two` asks two things; `silent` asks nothing. */
async function handler({ command, stdin, stdout, stderr, pty }: ServerSession): Promise<number> {
  const input = new Input(stdin), out = stdout.getWriter(), err = stderr.getWriter();
  const [name, count] = command!.split(" ");
  switch (name) {
    case "asks":
    case "stderr":
      for (let n = 0; n < Number(count ?? 1); n++) {
        await say(name === "asks" ? out : err, "Password: ");
        const given = await input.line();
        if (pty !== null) await say(out, "\r\n");
        if (given === "secret") {
          await say(out, `in:${await input.rest()}`);
          return 0;
        }
        await say(name === "asks" ? out : err, `Sorry, ${given} is wrong\n`);
      }
      return 1;
    case "two":
      await say(out, "Name? ");
      await say(out, `${await input.line()}\nColour? `);
      await say(out, `${await input.line()}\n`);
      return 0;
    case "slowly":
      for (const char of "Pass word: ") await say(out, char);
      await say(out, await input.line());
      return 0;
    case "much":
      await say(out, `${"x".repeat(100_000)}Password: `);
      await input.line();
      await say(out, "Password".repeat(10));
      return 0;
    case "forever":
      for (let n = 0; n < 1e6; n++) await say(out, "Password: ");
      return 0;
  }
  await say(out, `in:${await input.rest()}`);
  return 0;
}

const password: Answer = { pattern: /password: $/i, answer: "secret" };

async function codeOf(running: Promise<unknown>): Promise<string> {
  const error = await inTime(running, "the command").then(() => null, (error) => error);
  assertInstanceOf(error, SshError);
  for (const shown of [error.message, String(error), Deno.inspect(error)]) assert(!shown.includes("secre"), shown);
  return error.code;
}

Deno.test("a question is answered with a line or with bytes, in either output, with a terminal or without", async () => {
  await using joined = await join({ handler });
  const { client } = joined;
  for (
    const answer of [
      "secret",
      "secret\n",
      new TextEncoder().encode("secret\n"),
      () => "secret",
      () => Promise.resolve("secret"),
    ]
  ) {
    for (const pattern of ["Password: ", /password: $/i]) {
      const output = await client.exec("asks", { respond: [{ pattern, answer }] });
      assertEquals(output.text(), "Password: in:");
    }
  }
  const options: ExecOptions = { respond: [password] };
  assertEquals((await client.exec("asks", { ...options, pty: true })).text(), "Password: \r\nin:");
  const { stdout, stderr } = await client.run("stderr", options);
  assertEquals([stdout, stderr].map((bytes) => new TextDecoder().decode(bytes)), ["in:", "Password: "]);
  assertEquals((await client.run("stderr", { ...options, stderr: "stdout" })).text(), "Password: in:");
  assertEquals((await client.run("stderr", { ...options, stderr: "null" })).text(), "in:");
  assertEquals((await client.run("asks", { ...options, stdout: "null" })).text(), "");
  assertEquals(
    (await client.run("slowly", { respond: [{ pattern: /pass\sword: /i, answer: "x" }] })).text(),
    "Pass word: x",
  );
  const much = await client.run("much", { respond: [{ pattern: "Password: ", answer: "x" }] });
  assertEquals(much.stdout.length, 100_000 + 10 + 80);
});

Deno.test("a function is told what matched, several questions have each their answer, and expect() goes along", async () => {
  await using joined = await join({ handler });
  const respond: Answer[] = [
    { pattern: "Colour? ", answer: ({ before }) => `not ${before.trim()}` },
    {
      pattern: /(?<what>\w+)\? /,
      answer: ({ match, captures, groups }) => [match.replace("?", ""), ...captures, groups.what].join("|"),
    },
  ];
  const output = await joined.client.exec("two", { respond });
  assertEquals(output.text(), "Name? Name |Name|Name\nColour? not Name |Name|Name\n");
  await using process = await joined.client.spawn("two", { respond: respond.slice(1) });
  assertEquals((await process.expect("? ")).before, "Name");
  await assertRejects(() => process.status, SshError, "asks again");
});

Deno.test("a question that comes again ends the process, and is not answered with the same thing for ever", async () => {
  await using joined = await join({ handler });
  const { client } = joined, answered: number[] = [];
  const wrong = (times?: number): ExecOptions => ({
    respond: [{ pattern: /password: /i, answer: () => `secre${answered.push(1)}`, times }],
  });
  const error = await client.exec("asks 9", wrong()).catch((error) => error);
  assertInstanceOf(error, SshError);
  assertEquals([error.code, answered.length], ["CLOSED", 1]);
  assertEquals(
    error.message,
    "Process asks again for what was answered: its output matches /password: /i once more; it was ended, as the answer may be wrong " +
      "(`times` allows more)",
  );
  assertEquals(await codeOf(client.exec("asks 9", wrong(3))), "CLOSED");
  assertEquals(answered.length, 4);
  // One that gives up first is heard to its end.
  assertEquals((await client.exec("asks 3", wrong(3))).code, 1);
  assertEquals((await client.exec("asks 20", wrong(Infinity))).code, 1);
  await using process = await client.spawn("asks 9", wrong());
  assertEquals(await codeOf(process.status.then(() => {})), "CLOSED");
  assertEquals(await codeOf(new Response(process.stdout).text()), "CLOSED");
});

Deno.test("input that was given waits until everything is answered, and so does its end", async () => {
  await using joined = await join({ handler });
  const { client } = joined, options: ExecOptions = { respond: [password] };
  const bytes = new TextEncoder().encode("one\ntwo\n");
  for (const stdin of [{ text: "one\ntwo\n" }, bytes, ReadableStream.from([bytes.slice(0, 2), bytes.slice(2)])]) {
    assertEquals((await client.exec("asks", { ...options, stdin })).text(), "Password: in:one\ntwo\n");
  }
  // One that is not asked gets nothing: not even what was meant for it, which a later question would take.
  let isCancelled = false;
  const stdin = new ReadableStream<Uint8Array>({ cancel: () => void (isCancelled = true) });
  const controller = new AbortController(), { signal } = controller;
  const waiting = client.exec("silent", { ...options, stdin, signal }).catch((error) => error);
  await client.exec("asks", options);
  controller.abort(new Error("enough"));
  assertEquals((await waiting).message, "enough");
  await until(() => isCancelled, "The stream was not cancelled");
  // A writer of one's own is not held up.
  await using process = await client.spawn("asks", options);
  const writer = process.stdin.getWriter();
  await process.expect("Password: ");
  await writer.write(bytes);
  await writer.close();
  assertEquals((await process.output()).text(), "in:one\ntwo\n");
});

Deno.test("an answer that cannot be given ends the process", async () => {
  await using joined = await join({ handler });
  const { client } = joined, broken = new Error("no answer here");
  const with_ = (answer: unknown): ExecOptions => ({ respond: [{ pattern: "Password: ", answer } as Answer] });
  assertEquals(await client.exec("asks", with_(() => Promise.reject(broken))).catch((error) => error), broken);
  for (const answer of [() => undefined, () => Promise.resolve(5), () => null]) {
    await assertRejects(() => client.exec("asks", with_(answer)), TypeError, "as `answer`: it must be a text or bytes");
  }
  // Standard input was closed by its owner.
  await using process = await client.spawn(
    "much",
    with_(() => new Promise((resolve) => gate.then(() => resolve("x")))),
  );
  const { promise: gate, resolve } = Promise.withResolvers<void>();
  await process.stdin.close();
  resolve();
  await assertRejects(() => process.output(), SshError, "its standard input is closed or full");
  const flood: Answer = { pattern: "Password: ", answer: () => new Promise(() => {}), times: Infinity };
  await assertRejects(() => client.exec("forever", { respond: [flood] }), SshError, "more than 64 times");
});

Deno.test("an answer is in no error, also where it comes back", async () => {
  await using joined = await join({ handler });
  const { client } = joined;
  const options: ExecOptions = { respond: [{ pattern: /password: $/i, answer: "my secret", times: 2 }] };
  const error = await client.run("stderr 2", options).catch((error) => error);
  assertInstanceOf(error, SshCommandError);
  assertEquals(error.message, "Command failed with exit code 1: Password: Sorry, *** is wrong");
  assertEquals(error.stderr, "Password: Sorry, *** is wrong\n".repeat(2));
  const byLines = await Array.fromAsync(client.$(options)`stderr 2`.lines()).catch((error) => error);
  assertEquals([byLines.message, byLines.stderr], [error.message, error.stderr]);
  await using process = await client.spawn("asks 2", { ...options, stderr: "null" });
  const missing = await assertRejects(() => process.expect("never"), SshError);
  assertEquals(
    missing.message,
    `Output ended before it matched "never": it ends with ${
      JSON.stringify("Password: Sorry, *** is wrong\n".repeat(2))
    }`,
  );
  // Two questions answered at once: what comes back has something between the lines.
  const respond = [{ pattern: /(?<!wrong\n)Password: /, answer: "first one\nsecond one" }];
  const both = await client.run("stderr 2", { respond }).catch((error) => error);
  assertEquals(both.stderr, "Password: Sorry, *** is wrong\n".repeat(2));
  const secrets = new Secrets();
  for (const secret of ["y", "a.c", "$&", "secret", "secrets", ""]) secrets.add(secret);
  assertEquals(secrets.hide("yes (y/n)y a.c abc $& secrets secretive"), "yes (***/n)*** *** abc *** *** ***ive");
  // Where the end of standard error that an error keeps begins within one.
  for (let behind = 4_080; behind < 4_100; behind++) {
    const said = new TextEncoder().encode(`${"-".repeat(10_000)}secrets${"-".repeat(behind)}`);
    const end = endOf(said, secrets.hide);
    assert(end.length <= 4_096 && /^[-*]*$/.test(end), end.slice(0, 20));
  }
});

Deno.test("`respond` is checked before anything is sent", async () => {
  await using joined = await join({ handler });
  const exec = (respond: unknown, more: object = {}): Promise<unknown> =>
    joined.client.exec("x", { respond, ...more } as ExecOptions);
  for (const value of [null, {}, "x", 5, new Map()]) await assertRejects(() => exec(value), TypeError, "as `respond`");
  for (const value of [null, "x", 5, ["x", "y"]]) {
    await assertRejects(() => exec([value]), TypeError, "as `respond[0]`");
  }
  for (const value of [undefined, "", null, 5, {}]) {
    await assertRejects(() => exec([password, { pattern: value, answer: "x" }]), TypeError, "as `respond[1].pattern`");
  }
  for (const value of [undefined, null, 5, {}, ["x"], Promise.resolve("x")]) {
    await assertRejects(() => exec([{ pattern: "x", answer: value }]), TypeError, "as `respond[0].answer`");
  }
  for (const value of [0, -1, 1.5, NaN, "2", null]) {
    await assertRejects(() => exec([{ ...password, times: value }]), RangeError, "as `respond[0].times`");
  }
  await assertRejects(() => exec([{ pattern: "x", response: "y" }]), TypeError, "write `answer`");
  await assertRejects(() => exec([{ prompt: "x", answer: "y" }]), TypeError, "write `pattern`");
  const endless = [{ ...password, times: Infinity }];
  await assertRejects(() => exec(endless, { stdin: { text: "x" } }), TypeError, "`times: Infinity` never is");
  await assertRejects(() => exec(undefined, { responders: [] }), TypeError, "write `respond: [{ pattern, answer }]`");
  assertEquals(((await exec([])) as { code: number }).code, 0);
});
