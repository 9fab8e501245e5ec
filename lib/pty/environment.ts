/**
 * The environment of a program that a client runs: what the server's program gives, what OpenSSH's server gives, and of what the client
 * sends only what is accepted. sshd(8), AcceptEnv of sshd_config. No I/O.
 *
 * @module
 */
import { ownEnvironment, type ServerSession } from "../session/server_session.ts";

/** What is accepted from clients unless told otherwise: how they write, and in which colours. */
export const DEFAULT_ACCEPT_ENV: readonly string[] = ["LANG", "LC_*", "COLORTERM", "NO_COLOR"];

/** A name that every shell takes for one. */
const VARIABLE = /^[A-Za-z_][A-Za-z0-9_]*$/;

/**
 * Variables that make programs run or load something else, or say who somebody is. A pattern with a `*` never means them: only the whole
 * name does. No such list is whole: programs have names of their own.
 */
const WRITTEN_OUT_ONLY =
  /^(?:LD_.*|DYLD_.*|GLIBC_TUNABLES|MALLOC_.*|GCONV_PATH|LOCPATH|NLSPATH|HOSTALIASES|RES_OPTIONS|PATH|CDPATH|ENV|BASH.*|SHELL.*|IFS|PS[0-4]|PROMPT_COMMAND|ZDOTDIR|FPATH|HOME|USER|LOGNAME|TERM.*|TMP.*|TEMP|XDG_.*|SSH_.*|GIT_.*|PERL.*|PYTHON.*|RUBY.*|NODE_.*|DENO_.*|JAVA_.*|_JAVA_.*|JDK_.*|CLASSPATH|EDITOR|VISUAL|PAGER|LESS.*|MAN.*|BROWSER|DISPLAY|XAUTHORITY|KRB5.*|LUA_.*|PHP.*|NPM_.*|npm_.*|GEM_.*|BUNDLE_.*|RSYNC_RSH|CVS_RSH|SVN_SSH|OPENSSL_.*|SSLKEYLOGFILE|CURL_HOME|WGETRC|INPUTRC|VIMINIT|EXINIT|EMACS.*|GO.*|CARGO.*|RUST.*|TCL.*|QT_.*|GTK_.*|GIO_.*|SYSTEMD_.*|DBUS_.*|SUDO_.*|TAR_OPTIONS|MAIL.*|KSH.*|FCEDIT|.*_[Pp][Rr][Oo][Xx][Yy])$/;

function accepts(patterns: readonly string[], name: string): boolean {
  return patterns.some((pattern) => {
    if (!pattern.includes("*")) return pattern === name;
    const parts = pattern.split("*");
    return !WRITTEN_OUT_ONLY.test(name) && fits(name, parts);
  });
}

/** Whether `name` is these parts in order, with anything between. */
function fits(name: string, parts: readonly string[]): boolean {
  const first = parts[0]!, last = parts.at(-1)!;
  if (!name.startsWith(first)) return false;
  let at = first.length;
  for (const part of parts.slice(1, -1)) {
    const found = name.indexOf(part, at);
    if (found === -1) return false;
    at = found + part.length;
  }
  return name.length - last.length >= at && name.endsWith(last);
}

function address(addr: Deno.Addr | undefined): string {
  return addr !== undefined && "hostname" in addr ? `${addr.hostname} ${addr.port}` : "UNKNOWN 65535";
}

/** What the program gets. `given` is the server's own, and goes before what a client sends; what the login's grants say goes before all. */
export function environmentOf(
  session: ServerSession,
  given: Readonly<Record<string, string>>,
  acceptEnv: readonly string[] = DEFAULT_ACCEPT_ENV,
): Record<string, string> {
  const env: Record<string, string> = {}, { remoteAddr, localAddr } = session.info;
  for (const [name, value] of Object.entries(session.env)) {
    if (VARIABLE.test(name) && accepts(acceptEnv, name) && value.isWellFormed() && !value.includes("\0")) {
      env[name] = value;
    }
  }
  const peer = address(remoteAddr), own = address(localAddr);
  return {
    ...env,
    ...given,
    SSH_CLIENT: `${peer} ${own.split(" ")[1]}`,
    SSH_CONNECTION: `${peer} ${own}`,
    ...ownEnvironment(session),
  };
}
