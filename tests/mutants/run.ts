/**
 * Takes defences out of the code, one at a time in copies of the checkout, and says which test notices. Each mutant of `mutants.ts` must be
 * killed by the test that stands with it.
 *
 *     deno task mutants [--jobs=N] [ids...]
 *
 * A mutant is KILLED when that test fails, and has SURVIVED when it passes. It is STALE when the text to replace does not stand in its file
 * exactly once, when the file does not load with it, when there is no such test, or when the test fails without the mutant.
 *
 * @module
 */
import { type Mutant, mutants } from "./mutants.ts";

const root = new URL("../../", import.meta.url).pathname;
/** Milliseconds that one run of a test may take. */
const TIME_LIMIT = 120_000;

interface Verdict {
  readonly mutant: Mutant;
  readonly verdict: "killed" | "SURVIVED" | "STALE";
  readonly remark: string;
}

const say = (text: string): void => void Deno.stdout.writeSync(new TextEncoder().encode(`${text}\n`));
const tell = (text: string): void => void Deno.stderr.writeSync(new TextEncoder().encode(`${text}\n`));

/** What became of the tests of one run. */
interface Run {
  readonly passed: ReadonlySet<string>;
  readonly failed: ReadonlySet<string>;
  readonly late: boolean;
  readonly output: string;
}

// ------------------------------------------------------------------------------------------------ copies of the checkout

/** The files that a commit would hold, changes that are not committed yet included. */
async function checkoutFiles(): Promise<string[]> {
  const { code, stdout } = await new Deno.Command("git", {
    args: ["ls-files", "-z", "--cached", "--others", "--exclude-standard"],
    cwd: root,
    stderr: "inherit",
  }).output();
  if (code !== 0) throw new Error("Cannot list the files of the checkout: git ls-files failed");
  return new TextDecoder().decode(stdout).split("\0").filter((path) => path !== "");
}

/** A copy for one worker, in which the peers and their like are the checkout's own. */
async function copyCheckout(files: readonly string[]): Promise<string> {
  const copy = await Deno.makeTempDir({ prefix: "mutants_" });
  for (const path of files) {
    const folder = path.slice(0, path.lastIndexOf("/") + 1);
    await Deno.mkdir(`${copy}/${folder}`, { recursive: true });
    // A file that was deleted and is still in the index.
    await Deno.copyFile(`${root}${path}`, `${copy}/${path}`).catch(unlessMissing);
  }
  await Deno.symlink(`${root}.cache`, `${copy}/.cache`);
  return copy;
}

function unlessMissing(error: unknown): void {
  if (!(error instanceof Deno.errors.NotFound)) throw error;
}

// ------------------------------------------------------------------------------------------------ runs of tests

/** The tests of one file with these names, and no others. */
async function runTests(folder: string, file: string, names: readonly string[]): Promise<Run> {
  const filter = `/^(${names.map((name) => RegExp.escape(name)).join("|")})$/`;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["test", "-A", "--no-check", "--reporter=tap", `--filter=${filter}`, file],
    cwd: folder,
    env: { NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1" },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    child.kill("SIGKILL");
  }, TIME_LIMIT);
  const { stdout, stderr } = await child.output().finally(() => clearTimeout(timer));
  const output = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
  // TAP escapes what begins a directive.
  const named = (pattern: RegExp) =>
    new Set([...output.matchAll(pattern)].map((match) => match[1]!.replace(/\\([#\\])/g, "$1")));
  return { passed: named(/^ok \d+ - (.*)$/gm), failed: named(/^not ok \d+ - (.*)$/gm), late, output };
}

/** The last lines that say something. */
function tail(output: string): string {
  return output.split("\n").filter((line) => line.trim() !== "").slice(-3).join(" / ").slice(0, 300);
}

/** Runs every test that is named, without a mutant. Returns what is wrong with those that are missing or fail, by file and name. */
async function baseline(folder: string, chosen: readonly Mutant[]): Promise<Map<string, string>> {
  const wrong = new Map<string, string>();
  for (const [file, group] of Map.groupBy(chosen, (mutant) => mutant.test)) {
    const names = [...new Set(group.map((mutant) => mutant.killedBy))];
    const run = await runTests(folder, file, names);
    for (const name of names) {
      if (run.passed.has(name) && !run.failed.has(name)) continue;
      const why = run.failed.has(name) ? "the test fails without it" : run.late ? "late without it" : "no such test";
      wrong.set(`${file} ${name}`, why);
      say(`baseline: ${file}: "${name}": ${why}${run.failed.size > 0 ? ` (${tail(run.output)})` : ""}`);
    }
  }
  return wrong;
}

async function attempt(folder: string, mutant: Mutant): Promise<Verdict> {
  const path = `${folder}/${mutant.file}`;
  const stale = (remark: string): Verdict => ({ mutant, verdict: "STALE", remark });
  const text = await Deno.readTextFile(path).catch(unlessMissing);
  if (text === undefined) return stale(`${mutant.file} is not there`);
  const count = text.split(mutant.find).length - 1;
  if (count !== 1) return stale(`the text to replace stands ${count} times in ${mutant.file}`);
  await Deno.writeTextFile(path, text.replace(mutant.find, () => mutant.replace));
  try {
    const run = await runTests(folder, mutant.test, [mutant.killedBy]);
    if (run.failed.has(mutant.killedBy)) return { mutant, verdict: "killed", remark: mutant.killedBy };
    if (run.late && mutant.mayHang) return { mutant, verdict: "killed", remark: `${mutant.killedBy} (never ends)` };
    if (run.late) return stale(`the test took more than ${TIME_LIMIT / 1000} s`);
    if (run.passed.has(mutant.killedBy)) return { mutant, verdict: "SURVIVED", remark: mutant.killedBy };
    return stale(`the test did not run: ${tail(run.output)}`);
  } finally {
    await Deno.writeTextFile(path, text);
  }
}

// ------------------------------------------------------------------------------------------------ all of them

function row({ mutant, verdict, remark }: Verdict): string {
  return `| ${mutant.id} | ${mutant.removes} | ${
    verdict === "killed" ? `killed by ${remark}` : `${verdict}: ${remark}`
  } |`;
}

async function main(args: readonly string[]): Promise<number> {
  const option = args.find((arg) => arg.startsWith("--jobs="));
  const jobs = Number(option?.slice("--jobs=".length) ?? 2);
  const ids = args.filter((arg) => arg !== option);
  const unknown = ids.filter((id) => !mutants.some((mutant) => mutant.id === id));
  if (!Number.isInteger(jobs) || jobs < 1 || unknown.length > 0) {
    tell(`Usage: deno task mutants [--jobs=N] [ids...]; not known: ${unknown.join(", ") || option}`);
    return 2;
  }
  const chosen = mutants.filter((mutant) => ids.length === 0 || ids.includes(mutant.id));
  const files = await checkoutFiles();
  const folders = await Promise.all(Array.from({ length: Math.min(jobs, chosen.length) }, () => copyCheckout(files)));
  const verdicts = new Map<string, Verdict>();
  try {
    const wrong = await baseline(folders[0]!, chosen);
    const queue = [...chosen];
    await Promise.all(folders.map(async (folder) => {
      for (let mutant = queue.shift(); mutant !== undefined; mutant = queue.shift()) {
        const why = wrong.get(`${mutant.test} ${mutant.killedBy}`);
        const verdict = why === undefined
          ? await attempt(folder, mutant)
          : { mutant, verdict: "STALE" as const, remark: `${why}: ${mutant.killedBy}` };
        verdicts.set(mutant.id, verdict);
        tell(`${verdicts.size}/${chosen.length} ${mutant.id}: ${verdict.verdict}`);
      }
    }));
  } finally {
    for (const folder of folders) await Deno.remove(folder, { recursive: true });
  }
  say("| id | the defence that it takes away | what became of it |\n| --- | --- | --- |");
  for (const mutant of chosen) say(row(verdicts.get(mutant.id)!));
  const count = (verdict: Verdict["verdict"]) =>
    [...verdicts.values()].filter((each) => each.verdict === verdict).length;
  say(`\n${count("killed")} killed, ${count("SURVIVED")} survived, ${count("STALE")} stale`);
  return count("killed") === chosen.length ? 0 : 1;
}

if (import.meta.main) Deno.exit(await main(Deno.args));
