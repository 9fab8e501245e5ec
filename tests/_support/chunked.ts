/**
 * Test support. Prints the test files that `deno task test:chunks` runs once more, over one-byte chunks without buffers: those that
 * memoryPair() reaches, but for what brings streams of its own.
 *
 * @module
 */

const root = new URL("../../", import.meta.url);
const duplex = "tests/_support/duplex.ts";

/** What imports such streams, and gets nothing out of the run: folders and files, each with the streams that it has. */
export const own: Readonly<Record<string, string>> = {
  "tests/interop/": "sockets and pipes of others' programs",
  "tests/examples/": "sockets",
  "tests/fuzz/": "bytes that it cuts by itself",
  "tests/api/openssh_test.ts": "sockets and pipes of others' programs",
  "tests/api/page_test.ts": "WebSockets",
  "tests/api/penalties_test.ts": "sockets",
  "tests/api/proxy_command_test.ts": "pipes of programs",
  "tests/api/proxy_test.ts": "sockets",
  "tests/api/web_socket_test.ts": "WebSockets",
  "tests/attacks/flood_test.ts": "sockets",
  "tests/attacks/server_limits_test.ts": "sockets, and pairs with whole chunks",
  "tests/forward/pump_test.ts": "pairs with whole chunks",
  "tests/load/connections_test.ts": "sockets",
  "tests/load/data_test.ts": "sockets",
  "tests/load/flipped_bytes_test.ts": "pairs with whole chunks: a packet is a chunk there",
  "tests/load/sequences_test.ts": "pairs with whole chunks",
  "tests/load/slow_login_test.ts": "sockets",
};

const known = new Map<string, boolean>();

/** Whether a module makes pairs whose chunks the environment cuts, or imports one that does. */
function reaches(path: string): boolean {
  let found = known.get(path);
  if (found !== undefined) return found;
  // A circle has what others of it have.
  known.set(path, false);
  found = false;
  const text = Deno.readTextFileSync(new URL(path, root));
  for (
    const [, names, specifier] of text.matchAll(/^(?:import|export)\s+(?!type\b)([^"=;]*?)\s*from\s+"(\.[^"]+)"/gm)
  ) {
    const target = new URL(specifier!, new URL(path, root)).pathname.slice(root.pathname.length);
    if (!target.startsWith("tests/") || !target.endsWith(".ts")) continue;
    // What else stands there cuts nothing.
    if (target === duplex ? /\bmemoryPair\b/.test(names!) : reaches(target)) found = true;
  }
  known.set(path, found);
  return found;
}

/** Every test file that such streams reach, by its path from the root. */
export function reached(folder = "tests/"): string[] {
  return [...Deno.readDirSync(new URL(folder, root))].sort((a, b) => a.name < b.name ? -1 : 1).flatMap((entry) => {
    const path = `${folder}${entry.name}`;
    if (entry.isDirectory) return reached(`${path}/`);
    return path.endsWith("_test.ts") && reaches(path) ? [path] : [];
  });
}

/** Whether a row of {@linkcode own} leaves a file out. */
export function leftOut(path: string): boolean {
  return Object.keys(own).some((one) => path === one || one.endsWith("/") && path.startsWith(one));
}

if (import.meta.main) {
  const list = reached().filter((path) => !leftOut(path)).map((path) => `${path}\n`).join("");
  Deno.stdout.writeSync(new TextEncoder().encode(list));
}
