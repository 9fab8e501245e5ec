/**
 * Test support. A display without a screen, whose users have to prove themselves.
 *
 * @module
 */
import { authorityFor, MAGIC_COOKIE } from "../../lib/x11/authority.ts";
import { endChild } from "../_support/child.ts";
import { scratchDir } from "../_support/keys.ts";

/** A running X server. */
export interface XServer extends AsyncDisposable {
  /** Its name, such as `:1`. */
  readonly display: string;
  /** Its cookie. */
  readonly cookie: string;
  /** A file with the cookie, for XAUTHORITY. */
  readonly authority: string;
}

/** Starts Xvfb on a free display. */
export async function startX(): Promise<XServer> {
  const authority = `${scratchDir()}/authority`, cookie = crypto.getRandomValues(new Uint8Array(16));
  const write = (number: string) =>
    Deno.writeFileSync(authority, authorityFor(number, MAGIC_COOKIE, cookie), { mode: 0o600 });
  write("0");
  // It forgets the cookies of untrusted programs whenever its last client has left, unless it is told not to begin anew then.
  const child = new Deno.Command("/usr/bin/Xvfb", {
    args: ["-displayfd", "1", "-screen", "0", "320x240x8", "-nolisten", "tcp", "-noreset", "-auth", authority],
    stdin: "null",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  let number = "";
  for await (const chunk of child.stdout.pipeThrough(new TextDecoderStream())) {
    number += chunk;
    if (number.includes("\n")) break;
  }
  if (number === "") throw new Error("Xvfb has not started");
  number = number.trim();
  write(number);
  return {
    display: `:${number}`,
    cookie: cookie.toHex(),
    authority,
    [Symbol.asyncDispose]: () => endChild(child),
  };
}
