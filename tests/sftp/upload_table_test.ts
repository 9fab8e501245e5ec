/**
 * Every request of an upload times everything that can become of it, alone, in pairs and by kinds: one whole file is left,
 * the old one or the new one, under its name or under one that the error says.
 */
import { assert } from "@std/assert";
import { SftpError } from "../../lib/errors.ts";
import { Extension } from "../../lib/sftp/wire/constants.ts";
import type { TransferOptions } from "../../lib/sftp/transfer/run.ts";
import { type Fault, fileNode, memoryFiles, type Node, refusing, statuses } from "../_support/refusing_server.ts";
import { pattern, tempDir } from "../_support/sftp_peers.ts";

/** Three requests of WRITE where a server names no limits. */
const fresh = pattern(70_000, 3);
const old: Readonly<Record<string, Uint8Array>> = { shorter: pattern(40_000, 5), longer: pattern(100_000, 7) };

interface Scenario {
  readonly there: "nothing" | "shorter" | "longer" | "link";
  readonly posixRename: boolean;
  readonly options: TransferOptions;
}

const scenarios: Scenario[] = [];
for (const posixRename of [true, false]) {
  const over = (there: Scenario["there"], options: TransferOptions): unknown => {
    return scenarios.push({ there, posixRename, options });
  };
  for (const there of ["nothing", "shorter", "longer", "link"] as const) over(there, {});
  for (const there of ["nothing", "shorter"] as const) over(there, { preserve: true });
  over("longer", { resume: true });
}
for (const there of ["nothing", "longer"] as const) {
  scenarios.push({ there, posixRename: true, options: { inPlace: true } });
}

/** What of the requests has which end. */
type Plan = (kind: string, index: number) => Fault | null;

interface Run {
  /** What went wrong with the invariants, or nothing. */
  readonly wrong: readonly string[];
  readonly asked: readonly string[];
}

function same(node: Node | undefined, data: Uint8Array): boolean {
  if (node?.kind !== "file" || node.data.length !== data.length) return false;
  for (let i = 0; i < data.length; i++) if (node.data[i] !== data[i]) return false;
  return true;
}

/** Uploads once, and looks at what is left. */
async function play(local: string, { there, posixRename, options }: Scenario, plan: Plan): Promise<Run> {
  const files = memoryFiles(), { nodes } = files, before = old[there === "link" ? "shorter" : there];
  if (there === "link") {
    nodes.set("/elsewhere", fileNode(before!));
    nodes.set("/f", { kind: "link", target: "elsewhere", mode: 0o777, mtime: 0, atime: 0 });
  } else if (before !== undefined) nodes.set("/f", fileNode(before, 0o600));
  const controller = new AbortController();
  let refused = false, lost = false, written = 0, isOver = false;
  const fault: Plan = (kind, index) => {
    if (isOver) return null;
    const outcome = plan(kind, index);
    if (kind === "WRITE" && outcome === null) written++;
    if (kind === "REMOVE" && outcome !== null) refused = true;
    if (typeof outcome === "string") lost = true;
    if (outcome === "silent") setTimeout(() => controller.abort(new Error("enough of it")), 0);
    return outcome;
  };
  const hidden = [Extension.limits, ...(posixRename ? [] : [Extension.posixRename])];
  await using peer = await refusing(files, fault, hidden);
  const outcome = await peer.sftp.upload(local, "/f", { ...options, signal: controller.signal })
    .then((summary) => ({ summary, error: null }), (error: Error) => ({ summary: null, error }));
  isOver = true;
  const wrong: string[] = [], asked = [...peer.asked], { error, summary } = outcome;
  const aborted = controller.signal.aborted && error === controller.signal.reason;
  const isWhole = (node: Node | undefined): boolean => same(node, fresh) || before !== undefined && same(node, before);
  const named = [...nodes.keys()].filter((path) => path !== "/" && error?.message.includes(JSON.stringify(path)));
  const warned = [...nodes.keys()].filter((path) => {
    return summary?.warnings.some((message) => message.includes(JSON.stringify(path)));
  });
  const hasOld = nodes.get("/f") !== undefined &&
    (there === "link" ? nodes.get("/f")!.kind === "link" : isWhole(nodes.get("/f")));
  if (error === null) {
    if (!same(nodes.get(there === "link" && options.inPlace ? "/elsewhere" : "/f"), fresh)) {
      wrong.push("success, and the file is not there");
    }
  } else if (!(error instanceof SftpError) && !aborted) wrong.push(`no SftpError: ${error.stack}`);
  else if (!hasOld && !same(nodes.get("/f"), fresh)) {
    const any = aborted ? [...nodes.keys()] : named;
    const told = any.some((path) => path !== "/f" && isWhole(nodes.get(path)) || nodes.get(path)?.kind === "link");
    // What was never there whole cannot be left; and in place is what the caller chose.
    const nothingYet = there === "nothing" && written < 3 && nodes.get("/f") === undefined;
    const chosen = options.inPlace && (aborted || /is not whole|^Cannot create/.test(error.message));
    const neverWas = there === "nothing" && nodes.get("/f") === undefined &&
      !asked.some((kind) => /ename|RENAME/.test(kind));
    if (!told && !nothingYet && !chosen && !neverWas) {
      wrong.push("nothing whole is left under a name that the error says");
    }
  }
  if (there === "link" && !options.inPlace && !same(nodes.get("/elsewhere"), before!)) {
    wrong.push("a link was written through");
  }
  if (!lost) {
    // What stays behind is told, but where it may not be removed.
    const stray = [...nodes.keys()].filter((path) => {
      return !["/", "/f", "/elsewhere", ...named, ...warned].includes(path) && !(error !== null && refused);
    });
    if (stray.length > 0) wrong.push(`nobody tells of ${stray}`);
    // One answer more, and every CLOSE has come.
    await peer.sftp.realPath(".").catch(() => {});
    if (peer.open() !== 0) wrong.push(`${peer.open()} handles are open`);
  }
  if (wrong.length > 0) {
    wrong.push(`it ended with ${error?.message ?? JSON.stringify(summary)}`, [...nodes.keys()].join(" "));
  }
  return { wrong, asked };
}

const outcomes: readonly Fault[] = [
  ...statuses.map((status) => ({ status })),
  { status: 4, done: true },
  "silent",
  "lost before",
  "lost behind",
];

/** Cells that run side by side. */
const BATCH = 1024;

interface Cell {
  readonly name: string;
  readonly outcome?: Fault;
  readonly run: () => Promise<Run>;
}

/** Runs cells side by side, and fails with all that went wrong. */
async function table(given: readonly Cell[]): Promise<void> {
  const failed: string[] = [];
  // Each that is never answered takes the second that an aborted copy may take: these seconds go together.
  const cells = given.toSorted((a, b) => Number(a.outcome === "silent") - Number(b.outcome === "silent"));
  for (let from = 0; from < cells.length; from += BATCH) {
    await Promise.all(
      cells.slice(from, from + BATCH).map(async ({ name, run }) => {
        const { wrong, asked } = await run();
        if (wrong.length > 0) failed.push(`${name}: ${wrong.join("; ")}; asked ${asked.join(" ")}`);
      }),
    );
  }
  assert(failed.length === 0, `${failed.length} of ${cells.length} cells:\n${failed.slice(0, 20).join("\n")}`);
}

function label({ there, posixRename, options }: Scenario): string {
  return `over ${there}${posixRename ? "" : " without posix-rename"} ${JSON.stringify(options)}`;
}
function say(fault: Fault): string {
  return typeof fault === "string" ? fault : `${fault.status}${fault.done ? " though done" : ""}`;
}

async function withFile(test: (local: string) => Promise<void>): Promise<void> {
  await using dir = await tempDir();
  const local = `${dir.path}/f`;
  await Deno.writeFile(local, fresh);
  await Deno.chmod(local, 0o600);
  await Deno.utime(local, 2000, 2000);
  await test(local);
}

Deno.test("upload() leaves one whole file whatever becomes of any request, and any two", async () => {
  await withFile(async (local) => {
    const cells: Cell[] = [];
    for (const scenario of scenarios) {
      const { wrong, asked } = await play(local, scenario, () => null);
      assert(wrong.length === 0, `${label(scenario)}: ${wrong.join("; ")}`);
      for (const [at, kind] of asked.entries()) {
        for (const outcome of outcomes) {
          cells.push({
            name: `${label(scenario)}, ${kind} ${at}: ${say(outcome)}`,
            outcome,
            run: () => play(local, scenario, (_, index) => index === at ? outcome : null),
          });
        }
      }
    }
    await table(cells);
    // What is asked after a refusal can be refused too.
    const pairs: typeof cells = [];
    for (const scenario of scenarios) {
      if (scenario.options.resume) continue;
      const { asked } = await play(local, scenario, () => null);
      for (const first of asked.keys()) {
        const then = await play(local, scenario, (_, index) => index === first ? { status: 4 } : null);
        for (let second = first + 1; second < then.asked.length; second++) {
          for (const outcome of [{ status: 3 }, { status: 4, done: true }, "lost behind"] as const) {
            pairs.push({
              name: `${label(scenario)}, ${first}: 4, ${then.asked[second]} ${second}: ${say(outcome)}`,
              run: () => {
                return play(
                  local,
                  scenario,
                  (_, index) => index === first ? { status: 4 } : index === second ? outcome : null,
                );
              },
            });
          }
        }
      }
    }
    await table(pairs);
  });
});

const kinds = [
  "STAT",
  "LSTAT",
  "OPEN",
  "FSETSTAT",
  "SETSTAT",
  "WRITE",
  "CLOSE",
  "REMOVE",
  "RENAME",
  Extension.posixRename,
];

Deno.test("upload() leaves one whole file whatever kinds of requests are refused, and whatever fails besides", async () => {
  await withFile(async (local) => {
    const cells: Cell[] = [];
    for (const scenario of scenarios) {
      for (let set = 1; set < 1 << kinds.length; set++) {
        const some = kinds.filter((_, bit) => set & (1 << bit));
        if (some.length > 2) continue;
        for (const status of some.length === 1 ? [3, 8] : [3]) {
          const name = `${label(scenario)}, no ${some.join(", ")}: ${status}`;
          cells.push({ name, run: () => play(local, scenario, (kind) => some.includes(kind) ? { status } : null) });
        }
      }
    }
    await table(cells);
    // A server that renames nothing, and one thing more.
    const more: typeof cells = [];
    for (const scenario of scenarios) {
      const renames = (kind: string): boolean => kind === "RENAME" || kind === Extension.posixRename;
      const { asked } = await play(local, scenario, (kind) => renames(kind) ? { status: 3 } : null);
      for (const [at, kind] of asked.entries()) {
        if (renames(kind)) continue;
        for (
          const outcome of [{ status: 4 }, { status: 4, done: true }, "silent", "lost before", "lost behind"] as const
        ) {
          more.push({
            name: `${label(scenario)}, no renames, ${kind} ${at}: ${say(outcome)}`,
            outcome,
            run: () =>
              play(local, scenario, (kind, index) => renames(kind) ? { status: 3 } : index === at ? outcome : null),
          });
        }
      }
    }
    await table(more);
  });
});

Deno.test("upload() of a tree over another leaves each of its files and links whole whatever becomes of any request", async () => {
  await using dir = await tempDir();
  const before = old.longer!;
  await Deno.mkdir(`${dir.path}/tree/sub`, { recursive: true });
  for (const name of ["a", "sub/b"]) await Deno.writeFile(`${dir.path}/tree/${name}`, fresh);
  await Deno.symlink("new", `${dir.path}/tree/link`);
  const cell = async (posixRename: boolean, at: number, outcome: Fault | null): Promise<Run> => {
    const files = memoryFiles(), { nodes } = files, times = { mtime: 0, atime: 0 };
    for (const path of ["/tree", "/tree/sub"]) nodes.set(path, { kind: "directory", mode: 0o755, ...times });
    for (const path of ["/tree/a", "/tree/sub/b"]) nodes.set(path, fileNode(before));
    nodes.set("/tree/link", { kind: "link", target: "old", mode: 0o777, ...times });
    const controller = new AbortController();
    let isOver = false;
    await using peer = await refusing(files, (_, index) => {
      if (isOver || index !== at) return null;
      if (outcome === "silent") setTimeout(() => controller.abort(new Error("enough of it")), 0);
      return outcome;
    }, [Extension.limits, ...(posixRename ? [] : [Extension.posixRename])]);
    const options = { recursive: true, preserve: true, signal: controller.signal };
    const error = await peer.sftp.upload(`${dir.path}/tree`, "/tree", options)
      .then(() => null, (error) => error as Error);
    isOver = true;
    const asked = [...peer.asked], wrong: string[] = [], any = [...nodes.values()];
    for (const path of ["/tree/a", "/tree/sub/b"]) {
      const node = nodes.get(path), isNew = same(node, fresh);
      if (error === null ? !isNew : !isNew && !same(node, before)) {
        const told = error === controller.signal.reason || [...nodes].some(([name, other]) => {
          return (same(other, fresh) || same(other, before)) &&
            allSaid(error).some((text) => text.includes(JSON.stringify(name)));
        });
        if (!told || !any.some((other) => same(other, fresh) || same(other, before))) {
          wrong.push(`${path} is not whole`);
        }
      }
    }
    const links = any.filter((node) => node.kind === "link");
    const link = nodes.get("/tree/link");
    if (error === null ? link?.kind !== "link" || link.target !== "new" : links.length === 0) wrong.push("no link");
    if (typeof outcome !== "string") {
      await peer.sftp.realPath(".").catch(() => {});
      if (peer.open() !== 0) wrong.push(`${peer.open()} handles are open`);
    }
    if (wrong.length > 0) wrong.push(`it ended with ${error?.message}`, [...nodes.keys()].join(" "));
    return { wrong, asked };
  };
  const cells: Cell[] = [];
  for (const posixRename of [true, false]) {
    const { asked, wrong } = await cell(posixRename, -1, null);
    assert(wrong.length === 0, wrong.join());
    for (const [at, kind] of asked.entries()) {
      for (const outcome of outcomes) {
        cells.push({
          name: `tree${posixRename ? "" : " without posix-rename"}, ${kind} ${at}: ${say(outcome)}`,
          outcome,
          run: () => cell(posixRename, at, outcome),
        });
      }
    }
  }
  await table(cells);
});

/** All that an error says, with the errors that it sums up. */
function allSaid(error: Error | null): string[] {
  if (error === null) return [];
  const { cause } = error;
  const inner = cause instanceof AggregateError ? cause.errors : cause instanceof Error ? [cause] : [];
  return [error.message, ...inner.flatMap((one) => allSaid(one as Error))];
}
