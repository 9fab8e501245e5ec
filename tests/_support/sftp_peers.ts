/** What the SFTP tests share: peers, pairs of streams, raw packets. */
import type { AuthInfo } from "../../lib/auth/types.ts";
import { openSftp, type SftpClient } from "../../lib/sftp/client.ts";
import { Fxp } from "../../lib/sftp/wire/constants.ts";
import { Status } from "../../lib/files/limits.ts";
import { encodeVersion, StatusReply } from "../../lib/sftp/wire/messages.ts";
import { PacketReader } from "../../lib/sftp/wire/packet_reader.ts";
import type { SftpChannel } from "../../lib/sftp/wire/channel.ts";
import { serveSftp, type ServeSftpOptions } from "../../lib/sftp/server/server.ts";
import type { SftpBackend } from "../../lib/files/backend.ts";
import type { RootedOptions } from "../../lib/files/rooted/backend.ts";
import { Reader } from "../../lib/wire/reader.ts";
import { Writer } from "../../lib/wire/writer.ts";

/** Where OpenSSH's own server lies; another version's can be named. */
export const OPENSSH_SERVER = Deno.env.get("AMIKO_SFTP_SERVER") ?? "/usr/lib/openssh/sftp-server";

/** Whether a program is there; tests that need it are ignored, by name, where it is not. */
export function isMissing(program: string): boolean {
  try {
    return !Deno.statSync(program).isFile;
  } catch {
    return true;
  }
}

/** Who asks, for servers that run without a connection. */
export const someone = {
  username: "tester",
  remoteAddr: undefined,
  passed: ["none"],
} as unknown as AuthInfo;

/** A directory for one test. */
export async function tempDir(): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await Deno.realPath(await Deno.makeTempDir({ prefix: "amiko-sftp-" }));
  return {
    path,
    async [Symbol.asyncDispose]() {
      await Deno.remove(path, { recursive: true }).catch(() => {});
    },
  };
}

/** A client of a program that serves SFTP on its standard input and output. */
export async function spawned(
  program: string = OPENSSH_SERVER,
  args: string[] = [],
): Promise<AsyncDisposable & { readonly sftp: SftpClient; readonly child: Deno.ChildProcess }> {
  const child = new Deno.Command(program, { args, stdin: "piped", stdout: "piped", stderr: "null" }).spawn();
  const sftp = await openSftp({ readable: child.stdout, writable: child.stdin });
  return {
    sftp,
    child,
    async [Symbol.asyncDispose]() {
      await sftp.close();
      await child.status;
    },
  };
}

/** Two ends of a pair of pipes in memory. */
export function pipes(): { near: SftpChannel; far: SftpChannel } {
  const a = new TransformStream<Uint8Array, Uint8Array>(), b = new TransformStream<Uint8Array, Uint8Array>();
  return {
    near: { readable: a.readable, writable: b.writable },
    far: { readable: b.readable, writable: a.writable },
  };
}

/** Cuts every chunk into single bytes. */
export function bytewise(channel: SftpChannel): SftpChannel {
  const cut = (): TransformStream<Uint8Array, Uint8Array> =>
    new TransformStream({
      transform(chunk, controller) {
        for (let i = 0; i < chunk.length; i++) controller.enqueue(chunk.slice(i, i + 1));
      },
    });
  const out = cut();
  out.readable.pipeTo(channel.writable).catch(() => {});
  return { readable: channel.readable.pipeThrough(cut()), writable: out.writable };
}

/** Our client on our server, over pipes in memory. */
export async function ours(
  backend: SftpBackend | RootedOptions,
  shape: (channel: SftpChannel) => SftpChannel = (channel) => channel,
): Promise<AsyncDisposable & { readonly sftp: SftpClient }> {
  const { near, far } = pipes();
  const served = serveSftp(far, backend, someone);
  served.catch(() => {});
  const sftp = await openSftp(shape(near));
  return {
    sftp,
    async [Symbol.asyncDispose]() {
      await sftp.close();
      await served.catch(() => {});
    },
  };
}

/** A packet-by-packet client whose session with our server has begun; `shape` changes the server's end of the pipes. */
export async function begin(
  backend: SftpBackend | RootedOptions,
  options: ServeSftpOptions & { readonly shape?: (far: SftpChannel) => SftpChannel } = {},
): Promise<AsyncDisposable & { readonly peer: RawPeer; readonly served: Promise<void> }> {
  const { near, far } = pipes();
  const served = serveSftp(options.shape?.(far) ?? far, backend, someone, options);
  served.catch(() => {});
  const peer = new RawPeer(near), reply = await peer.ask(encodeVersion(Fxp.INIT, 3));
  if (reply?.[0] !== Fxp.VERSION) throw new Error("The server did not answer INIT with VERSION");
  return {
    peer,
    served,
    async [Symbol.asyncDispose]() {
      await peer.end();
      await served.catch(() => {});
    },
  };
}

/** One side of a session, packet by packet. */
export class RawPeer {
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #packets: Uint8Array[] = [];
  readonly #split = new PacketReader({ packet: (payload) => void this.#packets.push(payload) });

  constructor(channel: SftpChannel) {
    this.#writer = channel.writable.getWriter();
    this.#reader = channel.readable.getReader();
    this.#writer.closed.catch(() => {});
  }

  /** Sends bytes as they are. */
  async raw(bytes: Uint8Array): Promise<void> {
    await this.#writer.write(bytes);
  }

  /** Sends a payload with its length. */
  async send(payload: Uint8Array): Promise<void> {
    await this.raw(framed(payload));
  }

  /** The next payload, or null at the end. */
  async next(): Promise<Uint8Array | null> {
    while (this.#packets.length === 0) {
      const { done, value } = await this.#reader.read().catch(() => ({ done: true as const, value: undefined }));
      if (done) return null;
      this.#split.push(value);
    }
    return this.#packets.shift()!;
  }

  /** Sends a payload and takes the next one that comes. */
  async ask(payload: Uint8Array): Promise<Uint8Array | null> {
    await this.send(payload);
    return await this.next();
  }

  /** Ends what this side sends, or the whole. */
  async end(): Promise<void> {
    await this.#writer.close().catch(() => {});
    await this.#reader.cancel().catch(() => {});
  }
}

/** A payload with its length in front. */
export function framed(payload: Uint8Array): Uint8Array {
  return new Writer().string(payload).bytes();
}

/** The number of a STATUS reply; fails for any other reply. */
export function statusIn(payload: Uint8Array | null): number {
  if (payload === null) throw new Error("The session ended where a status was due");
  if (payload[0] !== Fxp.STATUS) throw new Error(`Packet type ${payload[0]} where a status was due`);
  return new Reader(payload, 5).u32();
}

/** The id of a reply. */
export function idOf(payload: Uint8Array): number {
  return new Reader(payload, 1).u32();
}

/** SHA-256 of a file or bytes, in hex. */
export async function sha256(source: string | Uint8Array): Promise<string> {
  const bytes = typeof source === "string" ? await Deno.readFile(source) : new Uint8Array(source);
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Bytes that look random and are the same each time. */
export function pattern(length: number, seed = 1): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  let state = seed >>> 0 || 1;
  for (let i = 0; i < length; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes[i] = state;
  }
  return bytes;
}

/** Numbers below a limit, the same each time. */
export function dice(seed: number): (limit: number) => number {
  let state = seed >>> 0 || 1;
  return (limit) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % limit;
  };
}

/** Names in a directory and below, sorted. */
export async function namesBelow(path: string, prefix = ""): Promise<string[]> {
  const list: string[] = [];
  for await (const entry of Deno.readDir(path)) {
    list.push(prefix + entry.name);
    if (entry.isDirectory) list.push(...await namesBelow(`${path}/${entry.name}`, `${prefix}${entry.name}/`));
  }
  return list.sort();
}

/** What a scripted server answers: `null` is no answer, `undefined` is OK. */
export type ScriptedReply = Uint8Array | null | undefined;

/** A STATUS reply without a text. */
export function statusReply(id: number, status: number): Uint8Array {
  return StatusReply.encode({ id, status, text: "", language: "" });
}

/** Our client on a server that answers as `answer` says, one request after the other. */
export async function scripted(
  answer: (payload: Uint8Array, id: number, peer: RawPeer) => ScriptedReply | Promise<ScriptedReply>,
  extensions: [string, string][] = [],
): Promise<AsyncDisposable & { readonly sftp: SftpClient; readonly peer: RawPeer }> {
  const { near, far } = pipes(), peer = new RawPeer(far);
  const running = (async () => {
    await peer.next();
    await peer.send(encodeVersion(Fxp.VERSION, 3, extensions));
    for (let payload = await peer.next(); payload !== null; payload = await peer.next()) {
      const id = idOf(payload), reply = await answer(payload, id, peer);
      if (reply !== null) await peer.send(reply ?? statusReply(id, Status.OK)).catch(() => {});
    }
    await peer.end();
  })();
  const sftp = await openSftp(near);
  return {
    sftp,
    peer,
    async [Symbol.asyncDispose]() {
      await sftp.close();
      await running;
    },
  };
}
