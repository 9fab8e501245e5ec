/** A system that exists only here: files, names and programs for configurations. */
import type { ConfigSystem } from "../../lib/config/system.ts";
import { globPaths } from "../../lib/config/glob_paths.ts";
import { type Asked, evaluate, type Found } from "../../lib/config/evaluate.ts";
import { type Complete, complete } from "../../lib/config/complete.ts";

/** The parts of it that a test sets. */
export interface FakeSystem {
  /** Texts by their paths. */
  readonly files?: Readonly<Record<string, string>>;
  /** What DNS says. */
  readonly dns?: Readonly<Record<string, string>>;
  /** The environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** What commands come to. */
  readonly run?: (command: string) => boolean;
  /** Whether commands may be run. */
  readonly exec?: boolean;
}

/** What happened on it. */
export interface Happened {
  /** Commands that were run. */
  readonly ran: string[];
  /** Names that DNS was asked for. */
  readonly asked: string[];
  /** Paths that were read, those that had to be the user's own with a `!`. */
  readonly read: string[];
  /** What was told. */
  readonly notices: string[];
}

/** The path of the configuration that is read first. */
export const CONFIG = "/home/alice/.ssh/config";

/** Makes a system. */
export function fakeSystem({ files = {}, dns = {}, env = {}, run }: FakeSystem, happened: Happened): ConfigSystem {
  return {
    home: () => "/home/alice",
    localUser: () => "alice",
    userId: () => "1000",
    localHost: () => "desk.example",
    env: (name) => env[name],
    read: (path, checked) => {
      happened.read.push(`${checked ? "!" : ""}${path}`);
      return Promise.resolve(files[path] ?? null);
    },
    glob: (pattern) =>
      globPaths(pattern, {
        async *list(folder): AsyncGenerator<string> {
          const prefix = folder === "/" ? "/" : `${folder}/`;
          const names = Object.keys(files).filter((path) => path.startsWith(prefix));
          yield* new Set(names.map((path) => path.slice(prefix.length).split("/")[0]!));
        },
        exists: (path) => Promise.resolve(Object.keys(files).some((one) => one === path || one.startsWith(`${path}/`))),
      }),
    addresses: () => ["127.0.0.1", "10.1.2.3", "fe80::1%eth0"],
    run: (command) => {
      happened.ran.push(command);
      return Promise.resolve(run?.(command) ?? true);
    },
    lookUp: (name) => {
      happened.asked.push(name);
      return Promise.resolve(dns[name] ?? null);
    },
  };
}

/** What a configuration says of a host, on a system that exists only here. */
export async function read(
  text: string,
  asked: string | Asked = "web",
  fake: FakeSystem = {},
): Promise<Complete & { readonly happened: Happened; readonly found: Found }> {
  const happened: Happened = { ran: [], asked: [], read: [], notices: [] };
  const system = fakeSystem({ ...fake, files: { [CONFIG]: text, ...fake.files } }, happened);
  const context = {
    system,
    exec: fake.exec ?? false,
    notice: (keyword: string, said: string) => void happened.notices.push(`${keyword}: ${said}`),
  };
  const found = await evaluate(
    [{ path: CONFIG, isUser: true }],
    typeof asked === "string" ? { alias: asked } : asked,
    context,
    new Map(),
  );
  return { ...await complete(found, system), happened, found };
}
