/**
 * Bench. This module as a client.
 */

import { connect as dial, insecureAcceptAnyHostKey, publicKey, type SshClient } from "../../mod.ts";
import type { TransferOptions } from "../../lib/sftp/mod.ts";
import { Gather, run } from "./common.mjs";
import "./flights_scenario.mjs";
import "./sftp_scenarios.mjs";

interface Params {
  hostname: string;
  port: number;
  username: string;
  privateKey: string;
  cipher?: string;
  kex?: string;
  rekeyBytes?: number;
  /** Bytes of receive windows that stay as they are. */
  fixedWindow?: number;
}

async function connect(p: Params) {
  // Loaded only here: revisions of old that are compared have no such thing.
  if (p.fixedWindow) (await import("../../lib/connection/receive_window.ts")).ReceiveWindow.growth = 1;
  const client = await dial({
    hostname: p.hostname,
    port: p.port,
    username: p.username,
    auth: [publicKey(p.privateKey)],
    verifyHostKey: insecureAcceptAnyHostKey(),
    algorithms: {
      ...(p.cipher ? { cipher: [p.cipher] } : {}),
      ...(p.kex ? { kex: [p.kex] } : {}),
    },
    ...(p.fixedWindow ? { window: p.fixedWindow } : {}),
    ...(p.rekeyBytes ? { rekey: { bytes: p.rekeyBytes } } : {}),
  });
  return connection(client);
}

function connection(client: SshClient) {
  return {
    async exec(command: string) {
      const { code } = await client.exec(command, { stdin: "null" });
      check(command, code);
    },
    async download(command: string, onStart: () => void, onBytes: (bytes: number) => void) {
      await using process = await client.spawn(command, { stdin: "null" });
      const mark = firstChunk(process.stderr).then(onStart);
      for await (const chunk of process.stdout) onBytes(chunk.length);
      await mark;
      check(command, (await process.status).code);
    },
    async upload(
      command: string,
      chunk: Uint8Array,
      bytes: number,
      onStart: () => void,
      onBytes: (bytes: number) => void,
    ) {
      await using process = await client.spawn(command, { stdout: "null" });
      await firstChunk(process.stderr);
      onStart();
      const writer = process.stdin.getWriter();
      for (let left = bytes; left > 0; left -= chunk.length) {
        const part = left < chunk.length ? chunk.subarray(0, left) : chunk;
        await writer.write(part);
        onBytes(part.length);
      }
      await writer.close();
      check(command, (await process.status).code);
    },
    async echo(command: string) {
      const process = await client.spawn(command, { stderr: "null" });
      const writer = process.stdin.getWriter();
      const gather = new Gather();
      const reading = (async () => {
        for await (const chunk of process.stdout) gather.add(chunk.length);
      })().catch((error) => gather.fail(error));
      return {
        async roundTrip(message: Uint8Array) {
          const reply = gather.expect(message.length);
          await writer.write(message);
          await reply;
        },
        async close() {
          await writer.close();
          await reading;
          check(command, (await process.status).code);
        },
      };
    },
    sftp: () => sftp(client),
    async close() {
      await client.close();
    },
  };
}

async function sftp(client: SshClient) {
  const session = await client.sftp();
  const progress = (onBytes?: (done: number) => void): TransferOptions =>
    onBytes === undefined ? {} : { onProgress: ({ bytes }) => onBytes(bytes) };
  return {
    async get(remote: string, local: string, onBytes?: (done: number) => void) {
      await session.download(remote, local, progress(onBytes));
    },
    async put(local: string, remote: string, onBytes?: (done: number) => void) {
      await session.upload(local, remote, progress(onBytes));
    },
    async getTree(remote: string, local: string) {
      await session.download(remote, local, { recursive: true });
    },
    async putTree(local: string, remote: string) {
      await session.upload(local, remote, { recursive: true });
    },
    read: (path: string) => session.readFile(path),
    stat: (path: string) => session.stat(path),
    async list(path: string) {
      let count = 0;
      for await (const _ of session.readDir(path)) count++;
      return count;
    },
    close: () => session.close(),
  };
}

async function firstChunk(stream: ReadableStream<Uint8Array>): Promise<void> {
  const reader = stream.getReader();
  const { done } = await reader.read();
  if (done) throw new Error("The remote command ended without its mark");
  await reader.cancel();
}

function check(command: string, code: number | null): void {
  if (code !== 0) throw new Error(`"${command}" ended with ${code}`);
}

await run(connect);
