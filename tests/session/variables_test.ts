/**
 * Variables of a command: what the server refuses is set by the command's line, and nothing else.
 *
 * @module
 */
import { assertEquals, assertRejects } from "@std/assert";
import {
  ChannelClose,
  ChannelFailure,
  ChannelOpen,
  ChannelRequest,
  ChannelSuccess,
} from "../../lib/connection/messages.ts";
import { SshError } from "../../lib/errors.ts";
import { Env, Exec } from "../../lib/session/messages.ts";
import { type ProcessStart, startProcess } from "../../lib/session/process.ts";
import type { ExecOptions } from "../../lib/session/types.ts";
import { Msg } from "../../lib/wire/numbers.ts";
import { FakeTime } from "../_support/fake_time.ts";
import { confirmation, fakeMux, settle } from "../_support/fake_transport.ts";
import { join } from "../_support/joined.ts";

const success = ChannelSuccess.encode({ recipient: 0 }), failure = ChannelFailure.encode({ recipient: 0 });

/** A process that is asked for on an open channel, and what is said on it. */
async function asked(start: ProcessStart, options: ExecOptions, env?: Record<string, string>) {
  const { transport, mux } = fakeMux();
  const starting = startProcess(mux, start, options, { env });
  starting.catch(() => {});
  await settle();
  ChannelOpen.decode(transport.takeType(Msg.CHANNEL_OPEN)[0]!);
  transport.receive(confirmation(0));
  await settle();
  const said = (): string[] =>
    transport.takeType(Msg.CHANNEL_REQUEST).map((payload) => {
      const { name, wantReply, data } = ChannelRequest.decode(payload), mark = wantReply ? "?" : "";
      if (name === "env") return `${Object.values(Env.decode(data)).join("=")}${mark}`;
      return name === "exec" ? Exec.decode(data).command : name;
    });
  return { transport, starting, said };
}

const command: ProcessStart = { kind: "exec", command: "run" };

Deno.test("variables of a command are asked for first, and those that are refused are set by its line", async () => {
  const env = { A: "it's $(id)\n", b_2: "", C: "c" };
  for (
    const [answers, line] of [
      [[success, success, success], "run"],
      [[failure, success, failure], "export A='it'\\''s $(id)\n' C='c' || exit\nrun"],
      [[failure, failure, failure], "export A='it'\\''s $(id)\n' b_2='' C='c' || exit\nrun"],
    ] as const
  ) {
    for (const cwd of [undefined, "/srv"]) {
      const { transport, starting, said } = await asked(command, { env, pty: true, cwd });
      assertEquals(said(), ["A=it's $(id)\n?", "b_2=?", "C=c?"]);
      transport.receive(...answers);
      await settle();
      assertEquals(said(), ["pty-req", cwd === undefined ? line : `cd '/srv' || exit\n${line}`]);
      transport.receive(success, success);
      await starting;
    }
  }
});

Deno.test("a command without variables takes no round trip more, and what every session is given is not asked for", async () => {
  for (const env of [undefined, {}]) {
    const { said } = await asked(command, { env }, { LANG: "C" });
    assertEquals(said(), ["LANG=C", "run"]);
  }
  const { transport, said } = await asked(command, { env: { LANG: "de" } }, { LANG: "C", TZ: "UTC" });
  assertEquals(said(), ["TZ=UTC", "LANG=de?"]);
  transport.receive(success);
  await settle();
  assertEquals(said(), ["run"]);
});

Deno.test("variables of shells and subsystems are told, under any name, and no line sets them", async () => {
  for (const start of [{ kind: "shell" }, { kind: "subsystem", name: "x" }] as const) {
    const { said } = await asked(start, { env: { "A-B": "1", C: "2" } }, { C: "3", D: "4" });
    assertEquals(said(), ["D=4", "A-B=1", "C=2", start.kind]);
  }
});

Deno.test("a server that never answers for variables counts as one that refuses, after a while", async () => {
  using time = new FakeTime();
  const { transport, starting, said } = await asked(command, { env: { A: "1", B: "2" } });
  assertEquals(said(), ["A=1?", "B=2?"]);
  transport.receive(success);
  await settle();
  time.tick(4999);
  await settle();
  assertEquals(said(), []);
  time.tick(1);
  await settle();
  assertEquals(said(), ["export B='2' || exit\nrun"]);
  transport.receive(failure, success);
  await starting;
});

Deno.test("hundreds of variables that a server never answers for hold nothing up behind them", async () => {
  using time = new FakeTime();
  const env = Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`V${i}`, "x"]));
  const { transport, said, starting } = await asked(command, { env });
  assertEquals(said().length, 128);
  time.tick(5_000);
  await settle();
  const lines = said();
  assertEquals(lines.length, 1);
  assertEquals(lines[0]!.match(/ V\d+=/g)!.length, 300);
  transport.finish(null);
  await assertRejects(() => starting, SshError);
});

Deno.test("the wait for variables ends with the channel, the connection and the signal", async () => {
  const reason = new Error("enough"), env = { A: "1" };
  const closed = await asked(command, { env });
  closed.transport.receive(ChannelClose.encode({ recipient: 0 }));
  await assertRejects(() => closed.starting, SshError, "the server closed the session without an answer");
  const lost = await asked(command, { env });
  lost.transport.finish(reason);
  await assertRejects(() => lost.starting, Error, "enough");
  const controller = new AbortController();
  const aborted = await asked(command, { env, signal: controller.signal });
  controller.abort(reason);
  await assertRejects(() => aborted.starting, Error, "enough");
  await settle();
  assertEquals(aborted.said().includes("run"), false);
});

Deno.test("a variable that no line can set is accepted by the server, or nothing runs", async () => {
  for (const name of ["", "1A", "A-B", "A=B", "A B", "A\n", "\u00c4", "A;id", "__proto__"]) {
    const isVariable = name === "__proto__", env = Object.fromEntries([["B", "1"], [name, "2"]]);
    const taken = await asked(command, { env });
    assertEquals(taken.said(), ["B=1?", `${name}=2?`]);
    taken.transport.receive(success, success);
    await settle();
    assertEquals(taken.said(), ["run"]);
    const { transport, starting, said } = await asked(command, { env });
    transport.receive(success, failure);
    await settle();
    const sent = said();
    if (isVariable) assertEquals(sent.at(-1), "export __proto__='2' || exit\nrun");
    else {
      const error = await assertRejects(() => starting, SshError, "and no shell can set one of that name");
      assertEquals([error.code, sent.includes("run")], ["REQUEST_DENIED", false]);
    }
  }
  await using joined = await join();
  await assertRejects(() => joined.client.exec("env", { env: { A: "\0" } }), TypeError, "NUL");
  const given = { A: "1", _b: "\u00fc\n" };
  assertEquals(JSON.parse((await joined.client.exec("env", { env: given })).text()), given);
});
