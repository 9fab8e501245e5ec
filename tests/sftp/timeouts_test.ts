/** `timeout` in SFTP: whatever the server does not answer in time is told, and a handle that comes late is closed. */
import { assert, assertEquals, assertInstanceOf, assertRejects } from "@std/assert";
import { Status } from "../../lib/files/limits.ts";
import { openSftp, type SftpClient } from "../../lib/sftp/client.ts";
import { Fxp } from "../../lib/sftp/wire/constants.ts";
import * as m from "../../lib/sftp/wire/messages.ts";
import type { WaitOptions } from "../../lib/wire/deadline.ts";
import { countedSignal } from "../_support/counted_signal.ts";
import { FakeTime } from "../_support/fake_time.ts";
import { pattern, pipes, RawPeer, scripted, statusReply, tempDir } from "../_support/sftp_peers.ts";
import { inTime, turns, until } from "../_support/until.ts";

/** Starts a wait, lets its time pass once `asked` holds, and gives the TimeoutError's message. */
async function expired(start: (wait: WaitOptions) => Promise<unknown>, asked: () => boolean): Promise<string> {
  using time = new FakeTime();
  const counted = countedSignal();
  let done = false;
  const waiting = start({ timeout: 300, signal: counted.signal }).then(() => "resolved", (error) => error)
    .finally(() => done = true);
  while (!done && !asked()) await turns(1);
  time.tick(300);
  // A copy that is aborted has a grace of its own, in which its files are closed.
  while (!done) {
    await turns(2);
    time.tick(100);
  }
  const error = await waiting;
  assertInstanceOf(error, DOMException);
  assertEquals([error.name, counted.listeners], ["TimeoutError", 0]);
  return error.message;
}

Deno.test("openSftp() gives up a server that does not begin in time, and ends its streams", async () => {
  const { near, far } = pipes(), peer = new RawPeer(far);
  const init = peer.next();
  let has = false;
  init.then(() => has = true);
  const message = await expired((wait) => openSftp(near, wait), () => has);
  assertEquals(message, "Timed out after 300 ms waiting for the server to start SFTP");
  assertEquals(await inTime(peer.next(), "the end"), null);
  await peer.end();
});

Deno.test("open() rejects when its time is over, and closes the handle that comes late", async () => {
  const asked: number[] = [], late = Promise.withResolvers<void>(), closed: Uint8Array[] = [];
  await using server = await scripted(async (payload, id) => {
    asked.push(payload[0]!);
    if (payload[0] === Fxp.CLOSE) closed.push(m.Close.decode(payload).handle);
    if (payload[0] !== Fxp.OPEN) return undefined;
    await late.promise;
    return m.Handle.encode({ id, handle: new Uint8Array([9]) });
  });
  const message = await expired((wait) => server.sftp.open("/f", wait), () => asked.includes(Fxp.OPEN));
  assertEquals(message, 'Timed out after 300 ms waiting for "/f" to be opened');
  late.resolve();
  await until(() => closed.length === 1, "No CLOSE came");
  assertEquals(closed, [new Uint8Array([9])]);
});

/** Calls that wait for the server's answer to a request of the type given. */
const calls:
  readonly (readonly [string, (sftp: SftpClient, dir: string, wait: WaitOptions) => Promise<unknown>, string])[] = [
    ["readFile", (sftp, _dir, wait) => sftp.readFile("/f", wait), '"/f" to be read'],
    ["readTextFile", (sftp, _dir, wait) => sftp.readTextFile("/f", wait), '"/f" to be read'],
    [
      "writeFile",
      (sftp, _dir, wait) => sftp.writeFile("/f", pattern(100), wait as { timeout: number }),
      '"/f" to be written',
    ],
    [
      "writeTextFile",
      (sftp, _dir, wait) => sftp.writeTextFile("/f", "x", wait as { timeout: number }),
      '"/f" to be written',
    ],
    [
      "writeFile of much",
      (sftp, _dir, wait) => sftp.writeFile("/f", pattern(100_000), wait as { timeout: number }),
      '"/f" to be written',
    ],
    ["upload", (sftp, dir, wait) => sftp.upload(`${dir}/here`, "/f", wait), 'here" to be copied'],
    ["download", (sftp, dir, wait) => sftp.download("/f", `${dir}/there`, wait), '"/f" to be copied'],
  ];

Deno.test("reads, writes and copies reject when their time is over, and the session goes on", async () => {
  await using dir = await tempDir();
  await Deno.writeFile(`${dir.path}/here`, pattern(1000));
  const attrs = { size: 1000, mode: 0o100644, atime: 1, mtime: 1 };
  for (const silent of ["OPEN", "READ and WRITE"]) {
    for (const [name, start, what] of calls) {
      let isAsked = false;
      const open = new Set<number>();
      await using server = await scripted((payload, id) => {
        const type = payload[0]!;

        if (silent === "OPEN" ? type === Fxp.OPEN : type === Fxp.READ || type === Fxp.WRITE) {
          isAsked = true;
          return null;
        }
        if (type === Fxp.CLOSE) open.delete(m.Close.decode(payload).handle[0]!);
        if (type === Fxp.STAT || type === Fxp.LSTAT) {
          // What is copied is there, and nothing else.
          return m.Stat.decode(payload).path === "/f" && name !== "upload"
            ? m.Attrs.encode({ id, attrs })
            : statusReply(id, Status.NO_SUCH_FILE);
        }
        if (type === Fxp.REALPATH) return statusReply(id, Status.FAILURE);
        if (type === Fxp.FSTAT) return m.Attrs.encode({ id, attrs });
        if (type !== Fxp.OPEN) return undefined;
        open.add(open.size);
        return m.Handle.encode({ id, handle: new Uint8Array([open.size - 1]) });
      });
      const message = await expired((wait) => start(server.sftp, dir.path, wait), () => isAsked);
      assert(
        message.startsWith("Timed out after 300 ms waiting for ") && message.endsWith(what),
        `${name}: ${message}`,
      );
      await until(() => open.size === 0, `${name}: a handle is still open`);
      await server.sftp.mkdir("/still");
    }
  }
});

Deno.test("a file that is given up while its size is asked for is let go of at once, and nothing of it is read", async () => {
  const reads: ((sftp: SftpClient, wait: WaitOptions) => Promise<unknown>)[] = [
    (sftp, wait) => sftp.readFile("/f", wait),
    (sftp, wait) => sftp.download("/f", new WritableStream(), wait),
  ];
  for (const read of reads) {
    const asked: number[] = [];
    await using server = await scripted((payload, id) => {
      asked.push(payload[0]!);
      if (payload[0] === Fxp.OPEN) return m.Handle.encode({ id, handle: new Uint8Array([1]) });
      return payload[0] === Fxp.FSTAT ? null : undefined;
    });
    await expired((wait) => read(server.sftp, wait), () => asked.includes(Fxp.FSTAT));
    await until(() => asked.includes(Fxp.CLOSE), "No CLOSE came");
    assertEquals(asked.includes(Fxp.READ), false);
  }
});

Deno.test("a time that is none is refused before anything is asked", async () => {
  let asked = 0;
  await using server = await scripted(() => (asked++, undefined));
  const { sftp } = server;
  for (const timeout of [0, -1, NaN, -Infinity, "5000", null] as number[]) {
    for (const [, start] of calls) {
      await assertRejects(() => start(sftp, "/nowhere", { timeout }), RangeError, "milliseconds above 0");
    }
    await assertRejects(() => sftp.open("/f", { timeout }), RangeError, "milliseconds above 0");
    await assertRejects(() => openSftp(pipes().near, { timeout }), RangeError, "milliseconds above 0");
  }
  assertEquals(asked, 0);
});
