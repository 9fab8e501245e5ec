/**
 * `client.sudo()`: when the password is sent, and what of the output is the command's, with a sudo that the test plays.
 *
 * @module
 */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { SshError } from "../../lib/errors.ts";
import type { ServerSession } from "../../lib/session/server_session.ts";
import type { SudoOptions } from "../../lib/session/sudo.ts";
import { join, say, text } from "../_support/joined.ts";
import { turns } from "../_support/until.ts";

const password = "pass word";

/** What sudo is told in a command line. */
function told(line: string): { prompt: string; begun: string } {
  const prompt = /-p '(\w{16})''(\w{16})'/.exec(line), begun = /%s%s'\\'' '\\''(\w{16})'\\'' '\\''(\w{16})/.exec(line);
  return { prompt: prompt === null ? "" : prompt[1]! + prompt[2]!, begun: begun![1]! + begun![2]! };
}

/** A sudo, and what it got: each part that it says leaves in a packet of its own. It ends with its input, or by itself behind "". */
function played(play: (words: ReturnType<typeof told>, session: ServerSession) => readonly string[]): {
  handler: (session: ServerSession) => Promise<number>;
  got: () => string;
  [Symbol.asyncDispose](): Promise<void>;
} {
  let got = "";
  const running: Promise<number>[] = [];
  const run = async (session: ServerSession): Promise<number> => {
    const writer = session.stderr.getWriter();
    const reading = (async () => {
      for await (const chunk of session.stdin) got += text(chunk);
    })();
    // A process that is ended ends the writing, too: then nobody waits for this.
    reading.catch(() => {});
    for (const part of play(told(session.command!), session)) {
      if (part === "") return 1;
      await say(writer, part);
      // Or it would leave in one packet with the next.
      await turns(1);
    }
    await reading;
    return 0;
  };
  return {
    got: () => got,
    handler: (session) => {
      const over = run(session);
      running.push(over);
      return over;
    },
    // A client that gives up leaves while it is between two of its words.
    [Symbol.asyncDispose]: async () => void await Promise.allSettled(running),
  };
}

Deno.test("sudo() sends the password once its prompt is there, wherever the packets are cut, and gives what comes behind the beginning", async () => {
  for (const cut of [1, 7, 31, 32, 33, 64, 1000]) {
    const { handler, got } = played(({ prompt, begun }) => {
      const all = `lecture\n[sudo: ${prompt}] Password: \n${begun}err \u00fc\n`;
      return all.match(new RegExp(`[^]{1,${cut}}`, "g"))!;
    });
    await using joined = await join({ handler });
    const output = await joined.client.sudo("x", { password, stdin: { text: "in" } });
    assertEquals(text(output.stderr), "err \u00fc\n");
    assertEquals(got(), `${password}\nin`);
  }
});

Deno.test("sudo() sends no password behind the beginning, and none where nothing is asked", async () => {
  for (
    const [play, gets] of [
      [({ prompt, begun }) => [`${begun}${prompt}: `], "in"],
      [({ prompt, begun }) => [begun, prompt, `${prompt}: `], "in"],
      [({ begun }) => [`Password: ${begun}Password: `], "in"],
      [({ prompt, begun }) => [`${prompt}: ${begun}`, prompt], `${password}\nin`],
      [({ prompt, begun }) => {
        // The words are random: a beginning that starts like the rest of the prompt would make it whole.
        const at = [...prompt].findLastIndex((one) => one !== begun[0]);
        return [`${prompt.slice(0, at)}${begun}`, prompt.slice(at)];
      }, "in"],
    ] as readonly [Parameters<typeof played>[0], string][]
  ) {
    const { handler, got } = played(play);
    await using joined = await join({ handler });
    await joined.client.sudo("x", { password, stdin: { text: "in" } });
    assertEquals(got(), gets);
  }
});

/** Input that is asked for more once the command has begun, as it waits for that: then `begun` is called, and the input ends behind it. */
function openInput(begun: () => unknown): ReadableStream<Uint8Array<ArrayBuffer>> {
  let isFirst = true;
  return new ReadableStream({
    async pull(controller) {
      if (isFirst) {
        isFirst = false;
        return controller.enqueue(new TextEncoder().encode("in"));
      }
      await begun();
      // What is sent on behalf of the command would be there now.
      await turns();
      controller.close();
    },
  }, { highWaterMark: 0 });
}

Deno.test("sudo() sends no password to a command that has begun and takes input", async () => {
  // The command writes the prompt that sudo was told, in a packet behind its beginning.
  for (const asks of [1, 2]) {
    let got = "", wrote = "";
    const isSaid = Promise.withResolvers<void>();
    await using joined = await join({
      handler: async (session) => {
        const { prompt, begun } = told(session.command!), writer = session.stderr.getWriter();
        await say(writer, begun);
        for await (const chunk of session.stdin) {
          got += text(chunk);
          if (wrote !== "" || !got.includes("in")) continue;
          wrote = `${prompt}: `.repeat(asks);
          await say(writer, wrote);
          isSaid.resolve();
        }
        return 0;
      },
    });
    const output = await joined.client.sudo("x", { password, stdin: openInput(() => isSaid.promise) });
    assertEquals([got, text(output.stderr)], ["in", wrote]);
  }
  // One who is asked for it gives it when the command has begun already.
  const given = Promise.withResolvers<string>();
  const { handler, got } = played(({ prompt, begun }) => [prompt, begun]);
  await using joined = await join({ handler });
  await joined.client.sudo("x", { password: () => given.promise, stdin: openInput(() => given.resolve(password)) });
  assertEquals(got(), "in");
});

Deno.test("sudo() that asks again is ended, and no more is sent", async () => {
  for (const parts of [1, 2]) {
    const { handler, got } = played(({ prompt }) =>
      parts === 1 ? [`${prompt}: ${prompt}: `] : [prompt, "Sorry\n", prompt]
    );
    await using joined = await join({ handler });
    const error = await assertRejects(() => joined.client.sudo("x", { password: () => password }), SshError);
    assertEquals(error.code, "AUTH_FAILED");
    assert(!Deno.inspect(error).includes(password));
    assert(got() === "" || got() === `${password}\n`, got());
  }
});

Deno.test("sudo() keeps a little of what is said before the beginning, and tells its end where that does not come", async () => {
  const { handler } = played(({ prompt }) => [
    "x".repeat(100_000),
    `${prompt}\n${password}?\n\u001b[1mno \u00fcse\n`,
    "",
  ]);
  await using joined = await join({ handler });
  const error = await assertRejects(() => joined.client.sudo("x", { password }), SshError);
  assertEquals(error.code, "REQUEST_DENIED");
  assert(error.message.endsWith("; ***?; \ufffd[1mno \u00fcse"), error.message);
  assert(error.message.length < 400);
  await using silent = await join({ handler: () => 5 });
  const nothing = await assertRejects(() => silent.client.sudo("x", { password }), SshError);
  assertEquals(nothing.message, "Cannot run command by sudo: it ended with exit code 5 and without a word");
});

Deno.test("sudo() refuses before anything is sent what sudo would not read as one password", async () => {
  let ran = 0;
  await using joined = await join({ handler: () => (ran++, 0) });
  const sudo = (options: unknown, command: unknown = "x"): Promise<unknown> =>
    joined.client.sudo(command as string, options as SudoOptions);
  for (const bad of ["a\nb", "a\r", "\0", "x".repeat(256), "\u00fc".repeat(128), "\ud800", 5, null, {}, ["x"]]) {
    const error = await assertRejects(() => sudo({ password: bad }), TypeError, "`password`");
    if (typeof bad === "string") assert(!error.message.includes(bad));
  }
  for (const bad of ["\x03", "a\x7f", "\t"]) {
    await assertRejects(() => sudo({ password: bad, pty: true }), TypeError, "a terminal takes for a key");
  }
  for (const user of ["", null, 5, {}]) await assertRejects(() => sudo({ user }), TypeError, "`user`");
  await assertRejects(() => sudo({ user: "a\0" }), TypeError, "NUL");
  for (const name of ["A-B", "1A", "", "A=B", "A B", "\u00c4"]) {
    await assertRejects(() => sudo({ env: { [name]: "x" } }), TypeError, "as a name in `env`");
  }
  await assertRejects(() => sudo({ env: { A: "x\0" } }), TypeError, "NUL");
  await assertRejects(() => sudo({ stdin: "piped" }), TypeError, '"piped" stdin');
  await assertRejects(() => sudo({ passwd: "x" }), TypeError, "write `password`");
  await assertRejects(() => sudo({ passsword: "x" }), TypeError, "write `password`");
  await assertRejects(() => sudo({ username: "x" }), TypeError, "write `user`");
  await assertRejects(() => sudo(null), TypeError, "`options`");
  await assertRejects(() => sudo({}, ["ls"]), TypeError, "as `command`");
  await assertRejects(() => sudo({}, "a\0b"), TypeError, "NUL");
  await assertRejects(() => sudo({ timeout: 0 }), RangeError, "`timeout`");
  assertEquals(ran, 0);
  // A password of a function is looked at as well.
  await using sudoThere = played(({ prompt }) => [prompt]);
  const { handler, got } = sudoThere;
  await using asked = await join({ handler });
  for (const bad of ["a\nb", 5, undefined]) {
    await assertRejects(() => asked.client.sudo("x", { password: () => bad as string }), TypeError, "`password`");
  }
  const broken = new Error("nobody is there");
  const error = await asked.client.sudo("x", { password: () => Promise.reject(broken) }).catch((error) => error);
  assertEquals([error, got()], [broken, ""]);
});
