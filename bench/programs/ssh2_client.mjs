/**
 * Bench. npm ssh2 as a client, on Deno and on Node. `params.modules` is the node_modules folder the bench installed.
 */

import { createRequire } from "node:module";
import { Gather, params, run } from "./common.mjs";

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
    async close() {
      client.end();
      await closed;
    },
  };
}

await run(connect);
