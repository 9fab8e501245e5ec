import { assertEquals, assertThrows } from "@std/assert";
import { SshProtocolError } from "../../lib/errors.ts";
import { Break, Env, Exec, ExitSignal, ExitStatusRequest, PtyReq, Shell } from "../../lib/session/messages.ts";
import { Signal, Subsystem, WindowChange } from "../../lib/session/messages.ts";
import { decodeExit, encodePty, encodeSignal } from "../../lib/session/encoding.ts";
import { fuzz, mutate } from "../_support/fuzz.ts";

const samples: [name: string, data: Uint8Array, decode: (data: Uint8Array) => unknown][] = [
  ["pty-req", encodePty({ modes: { ECHO: 1 } }), PtyReq.decode],
  ["env", Env.encode({ name: "LANG", value: "C" }), Env.decode],
  ["shell", Shell.encode({}), Shell.decode],
  ["exec", Exec.encode({ command: "echo ü" }), Exec.decode],
  ["subsystem", Subsystem.encode({ name: "sftp" }), Subsystem.decode],
  ["window-change", WindowChange.encode({ columns: 1, rows: 2, width: 3, height: 4 }), WindowChange.decode],
  ["signal", Signal.encode({ signal: "TERM" }), Signal.decode],
  ["exit-status", ExitStatusRequest.encode({ code: 255 }), ExitStatusRequest.decode],
  [
    "exit-signal",
    ExitSignal.encode({ signal: "KILL", coreDumped: true, message: "", language: "" }),
    ExitSignal.decode,
  ],
  ["break", Break.encode({ length: 500 }), Break.decode],
];

Deno.test("session requests stand on the wire as RFC 4254 section 6 writes them", () => {
  assertEquals(Exec.encode({ command: "ls" }), new Uint8Array([0, 0, 0, 2, 0x6c, 0x73]));
  assertEquals(
    encodePty({ term: "vt100", columns: 80, rows: 24, width: 640, height: 480 }),
    new Uint8Array([
      ...[0, 0, 0, 5, 0x76, 0x74, 0x31, 0x30, 0x30],
      ...[0, 0, 0, 80, 0, 0, 0, 24, 0, 0, 2, 0x80, 0, 0, 1, 0xe0, 0, 0, 0, 1, 0],
    ]),
  );
  assertEquals(Shell.encode({}), new Uint8Array(0));
});

for (const [name, data, decode] of samples) {
  // What is cut short of an exit-signal is told in tests/wire/cut_short_test.ts.
  if (name !== "exit-signal") {
    Deno.test(`decode() of "${name}" refuses every cut and every byte too many`, () => {
      decode(data);
      for (let length = 0; length < data.length; length++) {
        assertThrows(() => decode(data.subarray(0, length)), SshProtocolError, `"${name}"`);
      }
      assertThrows(() => decode(new Uint8Array([...data, 0])), SshProtocolError, `"${name}"`);
    });
  }

  Deno.test(`decode() of "${name}" takes any bytes without another error than its own`, () => {
    fuzz((seed) => {
      try {
        decode(mutate(data, seed));
        return true;
      } catch (error) {
        if (!(error instanceof SshProtocolError)) throw error;
        return false;
      }
    }, { count: 2_000, share: 11 });
  });
}

Deno.test("decode() refuses NUL where it would cut a command or a name short", () => {
  const nul = new Uint8Array([0, 0, 0, 2, 0x61, 0]);
  for (const decode of [Exec.decode, Subsystem.decode]) assertThrows(() => decode(nul), SshProtocolError, "NUL");
  assertThrows(() => Exec.encode({ command: "a\0b" }), TypeError, "NUL");
});

Deno.test("encodeSignal() takes names with and without SIG, and nothing else", () => {
  assertEquals(encodeSignal("SIGTERM"), encodeSignal("TERM"));
  assertEquals(Signal.decode(encodeSignal("rt@example.org")).signal, "rt@example.org");
  for (const name of ["", "../", "a b", "x".repeat(65), "-9", "a\u001b"]) {
    assertThrows(() => encodeSignal(name), TypeError);
  }
});

Deno.test("decodeExit() reads how a process ended, and nothing of other requests", () => {
  assertEquals(decodeExit("exit-status", ExitStatusRequest.encode({ code: 0 })), {
    success: true,
    code: 0,
    signal: null,
  });
  const signal = ExitSignal.encode({ signal: "SIGKILL", coreDumped: false, message: "\u001b[2J", language: "" });
  assertEquals(decodeExit("exit-signal", signal), { success: false, code: null, signal: "KILL" });
  assertEquals(decodeExit("eow@openssh.com", new Uint8Array(0)), null);
  for (let length = 0; length < 4; length++) {
    assertThrows(() => decodeExit("exit-status", new Uint8Array(length)), SshProtocolError);
  }
});
