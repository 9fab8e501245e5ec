/** A file system in memory behind a server that refuses what a test says: request by request, or by kind. */
import type { SftpBackend, SftpBackendFile } from "../../lib/files/backend.ts";
import type { SftpAttributes, SftpFileInfo } from "../../lib/files/file_info.ts";
import { openSftp, type SftpClient } from "../../lib/sftp/client.ts";
import { Fxp } from "../../lib/sftp/wire/constants.ts";
import { Status } from "../../lib/files/limits.ts";
import { decodeVersion, encodeVersion } from "../../lib/sftp/wire/messages.ts";
import { PacketReader } from "../../lib/sftp/wire/packet_reader.ts";
import { serveSftp } from "../../lib/sftp/server/server.ts";
import { Reader } from "../../lib/wire/reader.ts";
import { framed, pipes, someone, statusReply } from "./sftp_peers.ts";

/** What has a name in memory. */
export type Node =
  | { readonly kind: "file"; data: Uint8Array; mode: number; mtime: number; atime: number }
  | { readonly kind: "directory"; mode: number; mtime: number; atime: number }
  | { readonly kind: "link"; readonly target: string; mode: number; mtime: number; atime: number };

/** A file of these contents. */
export function fileNode(data: Uint8Array, mode = 0o644): Node {
  return { kind: "file", data: Uint8Array.from(data), mode, mtime: 1000, atime: 1000 };
}

const missing = (): Error => new Deno.errors.NotFound("No such file");
const exists = (): Error => new Deno.errors.AlreadyExists("It exists");

/** A file system in memory that has the rules of POSIX for what it can do. */
export function memoryFiles(nodes: Map<string, Node> = new Map()): { backend: SftpBackend; nodes: Map<string, Node> } {
  if (!nodes.has("/")) nodes.set("/", { kind: "directory", mode: 0o755, mtime: 0, atime: 0 });
  const parentOf = (path: string): string => path.slice(0, Math.max(1, path.lastIndexOf("/")));
  const follow = (path: string): string => {
    const node = nodes.get(path);
    if (node?.kind !== "link") return path;
    return follow(node.target.startsWith("/") ? node.target : `${parentOf(path)}/${node.target}`.replace("//", "/"));
  };
  const at = (path: string, followLinks = true): Node => {
    const node = nodes.get(followLinks ? follow(path) : path);
    if (node === undefined) throw missing();
    return node;
  };
  const room = (path: string): void => {
    if (nodes.get(parentOf(path))?.kind !== "directory") throw missing();
  };
  const infoOf = (node: Node): SftpFileInfo => ({
    isFile: node.kind === "file",
    isDirectory: node.kind === "directory",
    isSymlink: node.kind === "link",
    size: node.kind === "file" ? node.data.length : 0,
    mode: node.mode,
    uid: 0,
    gid: 0,
    mtime: new Date(node.mtime * 1000),
    atime: new Date(node.atime * 1000),
    extended: new Map(),
  });
  const change = (node: Node, attrs: SftpAttributes): void => {
    if (attrs.mode !== undefined) node.mode = attrs.mode & 0o777;
    if (attrs.mtime !== undefined) node.mtime = attrs.mtime;
    if (attrs.atime !== undefined) node.atime = attrs.atime;
    if (attrs.size !== undefined && node.kind === "file") {
      const data = new Uint8Array(attrs.size);
      data.set(node.data.subarray(0, attrs.size));
      node.data = data;
    }
  };
  const opened = (node: Node & { kind: "file" }): SftpBackendFile => ({
    readAt(p, offset) {
      const part = node.data.subarray(offset, offset + p.length);
      p.set(part);
      return part.length;
    },
    writeAt(p, offset) {
      if (offset + p.length > node.data.length) change(node, { size: offset + p.length });
      node.data.set(p, offset);
    },
    stat: () => infoOf(node),
    setStat: (attrs) => change(node, attrs),
    sync: () => {},
    [Symbol.asyncDispose]: () => Promise.resolve(),
  });
  const backend: SftpBackend = {
    open(path, options) {
      const place = follow(path), there = nodes.get(options.createNew ? path : place);
      if (there !== undefined) {
        if (options.createNew) throw exists();
        if (there.kind !== "file") throw new Deno.errors.IsADirectory("It is a directory");
        if (options.truncate) there.data = new Uint8Array(0);
        return opened(there);
      }
      if (!options.create && !options.createNew) throw missing();
      room(place);
      const made = fileNode(new Uint8Array(0), options.mode ?? 0o644);
      nodes.set(place, made);
      return opened(made as Node & { kind: "file" });
    },
    async *readDir(path) {
      if (at(path).kind !== "directory") throw new Deno.errors.NotADirectory("It is none");
      for (const [name, node] of [...nodes]) {
        if (name === "/" || parentOf(name) !== path) continue;
        const info = infoOf(node);
        yield { name: name.slice(name.lastIndexOf("/") + 1), ...info, info };
      }
    },
    stat: (path, followLinks) => infoOf(at(path, followLinks)),
    setStat: (path, attrs, followLinks) => change(at(path, followLinks), attrs),
    remove(path) {
      if (at(path, false).kind === "directory") throw new Deno.errors.IsADirectory("It is a directory");
      nodes.delete(path);
    },
    mkdir(path, { mode }) {
      if (nodes.has(path)) throw exists();
      room(path);
      nodes.set(path, { kind: "directory", mode: mode ?? 0o755, mtime: 0, atime: 0 });
    },
    rmdir: (path) => void nodes.delete(path),
    rename(from, to, { replace }) {
      const node = at(from, false), there = nodes.get(to);
      if (there !== undefined && (!replace || there.kind === "directory")) throw exists();
      room(to);
      nodes.delete(from);
      nodes.set(to, node);
    },
    realPath: (path) => path,
    readLink(path) {
      const node = at(path, false);
      if (node.kind !== "link") throw new Error("It is no link");
      return node.target;
    },
    symlink(target, path) {
      if (nodes.has(path)) throw exists();
      room(path);
      nodes.set(path, { kind: "link", target, mode: 0o777, mtime: 0, atime: 0 });
    },
  };
  return { backend, nodes };
}

/**
 * What becomes of a request: it is refused with a status, done and refused all the same, never answered, or the connection is
 * lost before it or behind it.
 */
export type Fault = { readonly status: number; readonly done?: boolean } | "silent" | "lost before" | "lost behind";

const names: Readonly<Record<number, string>> = Object.fromEntries(
  Object.entries(Fxp).map(([name, type]) => [type, name]),
);

/** A request's kind: the name of its packet, or that of its extension. */
function kindOf(payload: Uint8Array): string {
  if (payload[0] !== Fxp.EXTENDED) return names[payload[0]!] ?? String(payload[0]);
  return new TextDecoder().decode(new Reader(payload, 5).view());
}

/** A client of a server with these files, which refuses what `fault` says; `null` lets a request be done. */
export async function refusing(
  files: { readonly backend: SftpBackend },
  fault: (kind: string, index: number) => Fault | null,
  hidden: readonly string[] = [],
): Promise<
  AsyncDisposable & {
    readonly sftp: SftpClient;
    /** The kinds of the requests so far. */
    readonly asked: readonly string[];
    /** Handles that were given and that no CLOSE came for. */
    readonly open: () => number;
  }
> {
  const client = pipes(), server = pipes();
  const served = serveSftp(server.far, files.backend, someone);
  served.catch(() => {});
  const asked: string[] = [], replaced = new Map<number, number>();
  const toServer = server.near.writable.getWriter(), toClient = client.far.writable.getWriter();
  let handles = 0, lost = false;
  const lose = (): void => {
    lost = true;
    toClient.close().catch(() => {});
    toServer.close().catch(() => {});
  };
  const ids = (payload: Uint8Array): number => new Reader(payload, 1).u32();
  const forward = (payload: Uint8Array): void => void toServer.write(framed(payload)).catch(() => {});
  const answer = (payload: Uint8Array): void => void toClient.write(framed(payload)).catch(() => {});
  const requests = new PacketReader({
    packet(payload) {
      if (lost) return;
      if (payload[0] === Fxp.INIT) return forward(payload);
      const kind = kindOf(payload), wrong = fault(kind, asked.length), id = ids(payload);
      asked.push(kind);
      if (kind === "CLOSE") handles--;
      if (wrong === null) return forward(payload);
      if (wrong === "silent") return;
      if (wrong === "lost before") return lose();
      if (wrong === "lost behind") {
        replaced.set(id, -1);
        return forward(payload);
      }
      if (!wrong.done) return answer(statusReply(id, wrong.status));
      replaced.set(id, wrong.status);
      forward(payload);
    },
  });
  const replies = new PacketReader({
    packet(payload) {
      if (lost) return;
      if (payload[0] === Fxp.VERSION) {
        const { version, extensions } = decodeVersion(payload);
        return answer(encodeVersion(Fxp.VERSION, version, [...extensions].filter(([name]) => !hidden.includes(name))));
      }
      const other = replaced.get(ids(payload));
      if (other === undefined) {
        if (payload[0] === Fxp.HANDLE) handles++;
        return answer(payload);
      }
      if (other < 0) lose();
      else answer(statusReply(ids(payload), other));
    },
  });
  const pump = async (from: ReadableStream<Uint8Array>, packets: PacketReader): Promise<void> => {
    for await (const chunk of from) packets.push(chunk);
  };
  const pumps = [
    pump(client.far.readable, requests).catch(() => {}).finally(() => toServer.close().catch(() => {})),
    pump(server.near.readable, replies).catch(() => {}).finally(() => toClient.close().catch(() => {})),
  ];
  const sftp = await openSftp(client.near);
  return {
    sftp,
    asked,
    open: () => handles,
    async [Symbol.asyncDispose]() {
      await sftp.close();
      await Promise.all(pumps);
      await served.catch(() => {});
    },
  };
}

/** The statuses of this version, those of later ones that servers send too, and one of nobody. */
export const statuses: readonly number[] = [
  Status.EOF,
  Status.NO_SUCH_FILE,
  Status.PERMISSION_DENIED,
  Status.FAILURE,
  Status.BAD_MESSAGE,
  Status.NO_CONNECTION,
  Status.CONNECTION_LOST,
  Status.OP_UNSUPPORTED,
  10,
  11,
  31,
];
