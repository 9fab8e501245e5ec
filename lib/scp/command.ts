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
  /** Paths, in order; for `to` there is one. `glob` is what a shell would expand, with a backslash before what was quoted; or null. */
  readonly paths: readonly { readonly text: string; readonly glob: string | null }[];
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
function words(line: string): { text: string; glob: string | null; home: boolean }[] | null {
  const result: { text: string; glob: string | null; home: boolean }[] = [];
  let text: string | null = null, pattern = "", isGlob = false, home = false;
  const end = (): void => {
    if (text !== null) result.push({ text, glob: isGlob ? pattern : null, home });
    text = null;
    pattern = "";
    isGlob = home = false;
  };
  const quoted = (part: string): void => {
    text += part;
    pattern += part.replace(/[*?[\]{},\\!^-]/g, "\\$&");
  };
  for (let i = 0; i < line.length; i++) {
    const c = line.charAt(i);
    if (c === " " || c === "\t") {
      end();
      continue;
    }
    if (text === null) home = c === "~";
    text ??= "";
    if (c === "'") {
      const close = line.indexOf("'", i + 1);
      if (close < 0) return null;
      quoted(line.slice(i + 1, i = close));
    } else if (c === '"') {
      for (i++; line.charAt(i) !== '"'; i++) {
        if (i >= line.length || /[$`]/.test(line.charAt(i))) return null;
        if (line.charAt(i) === "\\" && /["\\$`]/.test(line.charAt(i + 1))) i++;
        quoted(line.charAt(i));
      }
    } else if (c === "\\") {
      if (++i >= line.length) return null;
      quoted(line.charAt(i));
    } else if (/[;&|<>()$`\n\r]/.test(c)) return null;
    else {
      if (/[*?[]/.test(c)) isGlob = true;
      text += c;
      pattern += c;
    }
  }
  end();
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
  const paths = rest.slice(at).map(({ text, glob, home }) => {
    // What stands before a name of the user's own is written the same in both.
    if (!home || !/^~(\/|$)/.test(text)) return { text, glob };
    return { text: text.slice(2) || ".", glob: glob && glob.slice(2) };
  });
  if (flags.has("t") === flags.has("f") || paths.length === 0 || flags.has("t") && paths.length !== 1) return null;
  return {
    direction: flags.has("t") ? "to" : "from",
    recursive: flags.has("r"),
    preserve: flags.has("p"),
    directory: flags.has("d"),
    paths,
  };
}
