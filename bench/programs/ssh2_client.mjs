/**
 * Bench. npm ssh2 as a client, on Deno and on Node. `params.modules` is the node_modules folder the bench installed.
 */

import { mkdirSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { promisify } from "node:util";
import { Gather, params, run } from "./common.mjs";
import "./flights_scenario.mjs";
import "./sftp_scenarios.mjs";

const require = createRequire(`${params.modules}/`);
const { Client } = require("ssh2");

function connect(p) {
  return new Promise((resolve, reject) => {
    const client = new Client();
    const closed = new Promise((done) => client.once("close", done));
    client.once("error", reject);
    client.once("ready", () => resolve(connection(client, closed)));
    client.connect({
      host: p.hostname,
      port: p.port,
      username: p.username,
      privateKey: p.privateKey,
      readyTimeout: 60_000,
      algorithms: {
        ...(p.cipher ? { cipher: [p.cipher] } : {}),
        ...(p.kex ? { kex: [p.kex] } : {}),
      },
    });
    // As a careful user has it: without this every small write waits for the peer's delayed acknowledgement.
    if (!p.nagle) client.setNoDelay(true);
  });
}

function connection(client, closed) {
  // The end is listened for inside the callback: a short command's end may come in the same chunk as its acceptance.
  const start = (command) =>
    new Promise((resolve, reject) => {
      client.exec(command, (error, stream) => {
        if (error) return reject(error);
        const end = new Promise((settle, fail) => {
          let code = null;
          stream.once("exit", (value) => code = value);
          stream.once("close", () => code === 0 ? settle() : fail(new Error(`"${command}" ended with ${code}`)));
        });
        resolve({ stream, end });
      });
    });
  return {
    async exec(command) {
      const { stream, end } = await start(command);
      stream.resume();
      stream.stderr.resume();
      await end;
    },
    async download(command, onStart, onBytes) {
      const { stream, end } = await start(command);
      stream.stderr.on("data", onStart);
      stream.on("data", (chunk) => onBytes(chunk.length));
      await end;
    },
    async upload(command, chunk, bytes, onStart, onBytes) {
      const { stream, end } = await start(command);
      stream.resume();
      await new Promise((resolve) => stream.stderr.once("data", resolve));
      onStart();
      for (let left = bytes; left > 0; left -= chunk.length) {
        const part = left < chunk.length ? chunk.subarray(0, left) : chunk;
        if (!stream.write(part)) await new Promise((resolve) => stream.once("drain", resolve));
        onBytes(part.length);
      }
      stream.end();
      await end;
    },
    async echo(command) {
      const { stream, end } = await start(command);
      const gather = new Gather();
      stream.on("data", (chunk) => gather.add(chunk.length));
      return {
        roundTrip(message) {
          const reply = gather.expect(message.length);
          stream.write(message);
          return reply;
        },
        async close() {
          stream.end();
          await end;
        },
      };
    },
    sftp: async () => sftp(await promisify(client.sftp.bind(client))()),
    async close() {
      client.end();
      await closed;
    },
  };
}

/** Files of a folder at once: what ssh2-sftp-client has for its `downloadDir` and `uploadDir`. */
const FILES_AT_ONCE = 10;

async function inParallel(names, one) {
  const left = [...names];
  const work = async () => {
    for (let name = left.pop(); name !== undefined; name = left.pop()) await one(name);
  };
  await Promise.all(Array.from({ length: FILES_AT_ONCE }, work));
}

function sftp(session) {
  const method = (name) => promisify(session[name].bind(session));
  const fastGet = method("fastGet"), fastPut = method("fastPut"), readdir = method("readdir"), stat = method("stat");
  const step = (onBytes) => onBytes === undefined ? {} : { step: (done) => onBytes(done) };
  return {
    get: (remote, local, onBytes) => fastGet(remote, local, step(onBytes)),
    put: (local, remote, onBytes) => fastPut(local, remote, step(onBytes)),
    async getTree(remote, local) {
      mkdirSync(local, { recursive: true });
      const names = (await readdir(remote)).map(({ filename }) => filename);
      await inParallel(names, (name) => fastGet(`${remote}/${name}`, `${local}/${name}`));
    },
    async putTree(local, remote) {
      await method("mkdir")(remote).catch(() => {});
      await inParallel(readdirSync(local), (name) => fastPut(`${local}/${name}`, `${remote}/${name}`));
    },
    read: method("readFile"),
    stat,
    list: async (path) => (await readdir(path)).length,
    close: () => session.end(),
  };
}

await run(connect);
