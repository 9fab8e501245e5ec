/**
 * Whether the options of `connect()` with a control socket make sense, before it is opened.
 *
 * @module
 */
import { printable } from "../errors.ts";
import { system } from "../system/system.ts";
import { checkText } from "../wire/check.ts";
import { hasSystem } from "../wire/system.ts";
import { channelChecks, checkAll, type Checks, optionIs } from "./check_options.ts";
import type { ControlPathOptions } from "./control_options.ts";

/** Bytes of a Unix socket's path, beside the NUL at its end. */
const MAX_PATH = hasSystem() && system.build.os === "linux" ? 107 : 103;

function checkPath(value: unknown, name: string): void {
  checkText(name, value);
  const path = value as string, { length } = new TextEncoder().encode(path);
  if (path === "") throw new TypeError(`Cannot use \`${name}\`: it is empty`);
  if (path.includes("\0")) throw new TypeError(`Cannot use \`${name}\`: a path has no NUL in it`);
  if (path === "none") {
    throw new TypeError(`Cannot use "none" as \`${name}\`: leave it out to connect without a master`);
  }
  if (path.startsWith("~/")) throw new TypeError(`Cannot use \`${name}\`: write the home directory in the place of ~`);
  const token = /%[CLdhijklnpru]/.exec(path)?.[0];
  if (token !== undefined) {
    const advice = "it is a path, and tokens stay as they are; `ssh -G host` tells what becomes of them";
    throw new TypeError(`Cannot use ${token} in \`${name}\`: ${advice}`);
  }
  if (length > MAX_PATH) {
    throw new RangeError(
      `Cannot use \`${name}\`: it has ${length} bytes, and the path of a socket ${MAX_PATH} at most`,
    );
  }
}

const checks: Checks<ControlPathOptions> = {
  controlPath: checkPath,
  window: channelChecks.window,
  signal: optionIs.signal,
  handshakeTimeout: optionIs.time,
  trace: optionIs.function,
};

/** Throws `TypeError` or `RangeError` for options that make no sense. */
export function checkControl(options: ControlPathOptions): void {
  for (const [name, value] of Object.entries(options)) {
    if (name in checks || value === undefined) continue;
    const ours = Object.keys(checks).slice(1).map((one) => `\`${one}\``).join(", ");
    throw new TypeError(
      `Cannot use \`${
        printable(name, 64)
      }\` beside \`controlPath\`: the connection and its login are the master's; what can stand there is ${ours}`,
    );
  }
  checkAll(checks, options);
}
