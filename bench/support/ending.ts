/**
 * Bench. What has to be undone when somebody presses ^C: programs end, folders go.
 *
 * @module
 */

const pending = new Set<() => void>();
let listening = false;

function end(): void {
  for (const undo of [...pending].reverse()) {
    try {
      undo();
    } catch {
      // It is undone already, and what remains is undone all the same.
    }
  }
  Deno.exit(130);
}

/** Has `undo` called at SIGINT or SIGTERM; returns what takes it back. It must not wait for anything. */
export function atInterrupt(undo: () => void): () => void {
  pending.add(undo);
  if (!listening) {
    listening = true;
    for (const signal of ["SIGINT", "SIGTERM"] as const) Deno.addSignalListener(signal, end);
  }
  return () => void pending.delete(undo);
}

/** A temporary folder that goes at the end and at ^C. */
export async function temporaryFolder(options: Deno.MakeTempOptions = {}): Promise<{ path: string } & AsyncDisposable> {
  const path = await Deno.makeTempDir({ prefix: "amiko-bench-", ...options });
  const forget = atInterrupt(() => Deno.removeSync(path, { recursive: true }));
  return {
    path,
    async [Symbol.asyncDispose]() {
      await Deno.remove(path, { recursive: true });
      forget();
    },
  };
}
