/**
 * The command line of SCP: how a client asks for the other side, and how a server reads it. No I/O.
 *
 * @module
 */
import { wrongKind } from "../wire/check.ts";
import { checkCall, checkPaths } from "../files/check_calls.ts";

/** What a client's command asks of a server. */
export interface ScpCommand {
  /** `to` takes files (`scp -t`), `from` sends them (`scp -f`). */
  readonly direction: "to" | "from";
  /** Directories too (`-r`). */
  readonly recursive: boolean;
  /** Times and permission bits too (`-p`). */
  readonly preserve: boolean;
  /** The target must be a directory (`-d`). */
  readonly directory: boolean;
  /** Paths, in order; for `to` there is one. `glob` says that a shell would expand it. */
  readonly paths: readonly { readonly text: string; readonly glob: boolean }[];
}

/** A word in quotes that every POSIX shell takes for itself. */
function quote(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

/**
 * The command that a client runs on the server, as OpenSSH's scp words it: routers know no `--`, and get one only before a dash.
 * The path is quoted where it has to be: the server's shell expands nothing in it.
 */
export function scpCommand(
  direction: "to" | "from",
  path: string,
  options: {
    recursive?: boolean | undefined;
    preserve?: boolean | undefined;
    directory?: boolean | undefined;
  } = {},
): string {
  if (direction !== "to" && direction !== "from") throw wrongKind("direction", direction, '"to" or "from"');
  checkPaths({ path });
  checkCall("scpCommand", options);
  if (path.includes("\0")) throw new TypeError("Cannot copy: a path cannot hold NUL");
  const flags = (options.recursive ? " -r" : "") + (options.preserve ? " -p" : "") + (options.directory ? " -d" : "");
  const end = path.startsWith("-") ? "-- " : "";
  return `scp${flags} ${direction === "to" ? "-t" : "-f"} ${end}${quote(path === "" ? "." : path)}`;
}

/** Splits a line as a POSIX shell does, or null where it holds more than words. */
function words(line: string): { text: string; glob: boolean; home: boolean }[] | null {
  const result: { text: string; glob: boolean; home: boolean }[] = [];
  let text: string | null = null, glob = false, home = false;
  for (let i = 0; i < line.length; i++) {
    const c = line.charAt(i);
    if (c === " " || c === "\t") {
      if (text !== null) result.push({ text, glob, home });
      text = null;
      glob = home = false;
      continue;
    }
    if (text === null) home = c === "~";
    text ??= "";
    if (c === "'") {
      const end = line.indexOf("'", i + 1);
      if (end < 0) return null;
      text += line.slice(i + 1, i = end);
    } else if (c === '"') {
      for (i++; line.charAt(i) !== '"'; i++) {
        if (i >= line.length || /[$`]/.test(line.charAt(i))) return null;
        if (line.charAt(i) === "\\" && /["\\$`]/.test(line.charAt(i + 1))) i++;
        text += line.charAt(i);
      }
    } else if (c === "\\") {
      if (++i >= line.length) return null;
      text += line.charAt(i);
    } else if (/[;&|<>()$`\n\r]/.test(c)) return null;
    else {
      if (/[*?[]/.test(c)) glob = true;
      text += c;
    }
  }
  if (text !== null) result.push({ text, glob, home });
  return result;
}

/** Reads a client's command; null where it is not `scp -t` or `scp -f` and nothing else. No shell ever sees it. */
export function parseScpCommand(line: string): ScpCommand | null {
  const [program, ...rest] = words(line) ?? [];
  if (program === undefined || !/^(\/usr\/bin\/)?scp$/.test(program.text)) return null;
  const flags = new Set<string>();
  let at = 0;
  for (; at < rest.length; at++) {
    const { text } = rest[at]!;
    if (text === "--") {
      at++;
      break;
    }
    if (!text.startsWith("-") || text === "-") break;
    if (!/^-[tfrpdvqEX]+$/.test(text)) return null;
    for (const flag of text.slice(1)) flags.add(flag);
  }
  const paths = rest.slice(at).map(({ text, glob, home }) => ({
    text: home && /^~(\/|$)/.test(text) ? text.slice(2) || "." : text,
    glob,
  }));
  if (flags.has("t") === flags.has("f") || paths.length === 0 || flags.has("t") && paths.length !== 1) return null;
  return {
    direction: flags.has("t") ? "to" : "from",
    recursive: flags.has("r"),
    preserve: flags.has("p"),
    directory: flags.has("d"),
    paths,
  };
}
