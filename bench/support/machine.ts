/**
 * Bench. What ran: the machine, the programs and their versions; and npm's ssh2, installed where the bench keeps it.
 *
 * @module
 */

import { fail } from "../harness.ts";

async function output(command: string, args: readonly string[]): Promise<string> {
  const { stdout, stderr } = await new Deno.Command(command, { args: [...args], stdout: "piped", stderr: "piped" })
    .output();
  return new TextDecoder().decode(stdout.length > 0 ? stdout : stderr).trim();
}

/** Installs ssh2 into bench/.cache unless it is there, and returns its node_modules folder; where that fails, those who need it fail alone. */
export async function installSsh2(): Promise<string> {
  const folder = new URL("../.cache", import.meta.url).pathname;
  const modules = `${folder}/node_modules`;
  try {
    await Deno.stat(`${modules}/ssh2/package.json`);
  } catch {
    await Deno.mkdir(folder, { recursive: true });
    const { success } = await new Deno.Command("npm", {
      args: ["install", "--prefix", folder, "--no-audit", "--no-fund", "ssh2@1"],
      stdout: "null",
      stderr: "inherit",
    }).output();
    if (!success) fail("ssh2", "npm cannot install it");
  }
  return modules;
}

/** The machine in a line, and versions by the name of a program. */
export interface Machine {
  readonly machine: string;
  readonly versions: Readonly<Record<string, string>>;
}

const pythonVersions = `
import importlib.metadata
for name in ("AsyncSSH", "paramiko"):
    try:
        print(name, importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        pass`;

/** Looks at the machine, and asks the programs. */
export async function describeMachine(modules: string): Promise<Machine> {
  const cpu = /^model name\s*:\s*(.*)$/m.exec(await Deno.readTextFile("/proc/cpuinfo"))?.[1] ?? "unknown CPU";
  const memory = Number(/^MemTotal:\s+(\d+)/m.exec(await Deno.readTextFile("/proc/meminfo"))?.[1] ?? 0) / 1048576;
  const python = await output("/usr/bin/python3", ["-c", pythonVersions]).catch(() => "");
  const ssh2 = await Deno.readTextFile(`${modules}/ssh2/package.json`).then(
    (text) => JSON.parse(text).version,
    () => {},
  );
  let native = false;
  try {
    await Deno.stat(`${modules}/ssh2/lib/protocol/crypto/build/Release/sshcrypto.node`);
    native = true;
  } catch {
    // Not built: ssh2 uses WebAssembly on Node too.
  }
  return {
    machine: `${navigator.hardwareConcurrency} cores of ${cpu}, ${memory.toFixed(1)} GiB, Linux ${Deno.osRelease()}` +
      (native ? "" : "; ssh2 without its native ciphers"),
    versions: {
      Deno: Deno.version.deno,
      Node: (await output("node", ["--version"])).slice(1),
      OpenSSH: /^OpenSSH_([^ ,]+)/.exec(await output("ssh", ["-V"]))?.[1] ?? "",
      ...ssh2 === undefined ? {} : { ssh2 },
      ...Object.fromEntries(python.split("\n").filter((line) => line !== "").map((line) => line.split(" "))),
    },
  };
}
