/**
 * Who connects and does not log in, from many addresses at once: everybody else still gets in, and whoever is too slow is closed.
 * Rows 144 and 145 of the table of attacks.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { connect as connectSocket, type Socket } from "node:net";
import { password, type SshServer } from "../../mod.ts";
import { text } from "../_support/joined.ts";
import { sleep } from "../_support/duplex.ts";
import { assertGivenBack, holdings, sized } from "../_support/resources.ts";
import { turns, until } from "../_support/until.ts";
import { FakeTime } from "../_support/fake_time.ts";
import { client, ENDS, outcome, startServer } from "../_support/load.ts";

const IDLE = sized(150, 5000);
const LOGINS = sized(100, 400);

/** What `serve()` does by itself. */
const defaults = { maxStartups: undefined, maxStartupsPerSource: undefined, penalties: undefined };

/** The whole of 127.0.0.0/8 is this machine, on Linux. */
const ignore = Deno.build.os !== "linux";

/** A socket that says nothing, from an address of one's choice. */
class IdleSocket {
  /** What the server said. */
  greeting = "";
  closed = false;
  readonly opened: Promise<void>;
  readonly #socket: Socket;

  constructor(server: SshServer, localAddress: string) {
    const socket = this.#socket = connectSocket({ host: "127.0.0.1", port: server.addr.port, localAddress });
    this.opened = new Promise((resolve, reject) => {
      socket.on("connect", () => resolve());
      socket.on("error", reject);
    });
    socket.on("error", () => {});
    socket.on("data", (data: Uint8Array) => this.greeting += new TextDecoder().decode(data));
    socket.on("close", () => this.closed = true);
  }

  close(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#socket.closed) return resolve();
      this.#socket.on("close", () => resolve());
      this.#socket.destroy();
    });
  }
}

/** Addresses 127.0.0.2 and on, taken in turn. */
const address = (i: number, count: number) => `127.0.0.${2 + i % count}`;

/** Logs in again and again, as somebody who knows the password; returns how many got in. */
async function logins(server: SshServer, count = LOGINS): Promise<number> {
  let successes = 0;
  for (let i = 0; i < count; i++) {
    try {
      await using connection = await client(server);
      assertEquals(text((await connection.exec("echo in")).stdout), "in\n");
      successes++;
    } catch (error) {
      assert(ENDS.has(await outcome(Promise.reject(error))), String(error));
    }
  }
  return successes;
}

for (const sources of [1, 15]) {
  Deno.test({
    name: `${IDLE} idle sockets from ${sources} addresses keep nobody else from logging in`,
    ignore,
    fn: async () => {
      await using server = await startServer(defaults);
      await logins(server, 1);
      const before = await holdings();
      const idle: IdleSocket[] = [];
      for (let i = 0; i < IDLE; i++) {
        idle.push(new IdleSocket(server, address(i, sources)));
        if (i % 10 === 9) await Promise.all(idle.slice(-10).map((socket) => socket.opened));
      }
      const calm = await logins(server);
      assert(calm >= 0.95 * LOGINS, `${calm} of ${LOGINS} logins succeeded`);
      // Those that were turned away come again, as fast as they like.
      let attacking = true;
      const attack = (async () => {
        for (let i = 0; attacking; i++) {
          idle.push(new IdleSocket(server, address(i, sources)));
          await sleep(4);
        }
      })();
      const successes = await logins(server);
      attacking = false;
      await attack;
      await Promise.all(idle.map((socket) => socket.close()));
      assert(successes >= 0.95 * LOGINS, `${successes} of ${LOGINS} logins succeeded under attack`);
      if (sources > 10) {
        // Beyond `full` there is room for a login because an idle one had to go, and was told.
        const dismissed = ({ greeting }: IdleSocket) =>
          greeting.startsWith("SSH-2.0-") && greeting.includes("Too many connections without a login");
        assert(idle.some(dismissed), "nobody was dismissed");
      }
      idle.length = 0;
      await assertGivenBack(before);
    },
  });
}

Deno.test({
  name: `${IDLE} idle sockets are closed at the login timeout, each within a second`,
  ignore,
  fn: async () => {
    await using server = await startServer();
    await logins(server, 1);
    const before = await holdings();
    const idle: IdleSocket[] = [];
    {
      using time = new FakeTime();
      // As many at a time as the system keeps for a server that is busy. One that has heard of the server has its timer there.
      for (let i = 0; i < IDLE; i += 50) {
        for (let k = i; k < i + 50; k++) idle.push(new IdleSocket(server, address(k, 200)));
        await until(() => idle.every(({ greeting }) => greeting !== ""), "The server's identification");
      }
      time.tick(119_999);
      await turns();
      assert(idle.every(({ closed }) => !closed), "a socket was closed before its time");
      const due = time.now() + 1;
      await until(() => {
        if (time.now() < due + 1000) time.tick(1);
        return idle.every(({ closed }) => closed);
      }, "a socket is still open");
    }
    await Promise.all(idle.map((socket) => socket.close()));
    idle.length = 0;
    await assertGivenBack(before);
  },
});

Deno.test({
  name: "one address that logs nobody in makes no more than 20 connections a second, and others make theirs",
  ignore,
  fn: async () => {
    await using server = await startServer(defaults);
    const counts = { served: 0, knocks: 0 };
    // What the rate test of ssh-audit does: 16 sockets at a time that wait for the identification, and make way for the next at once.
    const knock = (times: number) =>
      Promise.all(Array.from({ length: 16 }, async () => {
        for (let i = 0; i < times; i++) {
          counts.knocks++;
          const socket = new IdleSocket(server, "127.0.0.9");
          await socket.opened.catch(() => {});
          await until(() => socket.greeting !== "" || socket.closed, "The server's identification");
          if (socket.greeting.startsWith("SSH-2.0-")) counts.served++;
          await socket.close();
        }
      }));
    const others = async () => assertEquals(await logins(server, 5), 5, "logins of another address");
    {
      // Seconds that last as long as it takes. What is under way at first is paid for by what comes later.
      using time = new FakeTime();
      await Promise.all([knock(20), others()]);
      assert(counts.served <= 60, `${counts.served} connections at once`);
      for (let i = 0; i < 30; i++) {
        time.tick(100);
        await Promise.all([knock(2), i % 10 === 5 && others()]);
      }
    }
    assertEquals(counts.knocks, 1280);
    assert(counts.served >= 20 && counts.served <= 60, `${counts.served} connections in three seconds`);
  },
});

Deno.test("a client whose login fails ten times in a row is not locked out", async () => {
  await using server = await startServer(defaults);
  for (let i = 0; i < 10; i++) {
    assertEquals(await outcome(client(server, { auth: [password("wrong")] })), "AUTH_FAILED");
  }
  using time = new FakeTime();
  time.tick(1000);
  assertEquals(await logins(server, 1), 1, "locked out for more than a second");
});
