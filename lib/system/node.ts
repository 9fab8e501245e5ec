/**
 * The system as Node and Bun show it, with the names, values and errors of Deno. Nothing of it is loaded before it is used.
 *
 * @module
 */
import { NodeCommand } from "./node_command.ts";
import { denoLike, nodeErrors } from "./node_errors.ts";
import { nodeFiles } from "./node_files.ts";
import { nodeModule, nodeProcess } from "./node_modules.ts";
import { connect } from "./node_net.ts";
import { writeTo } from "./node_streams.ts";
import type { System } from "./types.ts";

/** Whatever Node does not allow it says itself. */
const granted = { state: "granted" } as const;

/** Node's and Bun's. */
export const nodeSystem: System = {
  ...nodeFiles,
  build: {
    get os(): string {
      const { platform } = nodeProcess();
      return platform === "win32" ? "windows" : platform;
    },
  },
  env: {
    get: (name) => nodeProcess().env[name],
    toObject: () => ({ ...nodeProcess().env }) as Record<string, string>,
  },
  permissions: { query: () => Promise.resolve(granted), querySync: () => granted },
  errors: nodeErrors,
  uid: () => nodeProcess().getuid?.() ?? null,
  hostname: () => nodeModule("node:os").hostname(),
  networkInterfaces: () => Object.values(nodeModule("node:os").networkInterfaces()).flatMap((all) => all ?? []),
  resolveDns: (name, type, { signal } = {}) =>
    denoLike(async () => {
      const resolver = new (nodeModule("node:dns").promises.Resolver)();
      const cancel = (): void => resolver.cancel();
      signal?.throwIfAborted();
      signal?.addEventListener("abort", cancel);
      try {
        return await resolver.resolve(name, type) as string[];
      } finally {
        signal?.removeEventListener("abort", cancel);
      }
    }),
  connect,
  Command: NodeCommand,
  stdout: { write: (p) => written("stdout", p) },
  stderr: { write: (p) => written("stderr", p) },
};

async function written(name: "stdout" | "stderr", p: Uint8Array): Promise<number> {
  await writeTo(nodeProcess()[name], p);
  return p.length;
}
