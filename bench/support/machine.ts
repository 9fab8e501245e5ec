/**
 * Bench. What ran: the machine, the programs and their versions; and npm's ssh2, installed where the bench keeps it.
 *
 * @module
 */

async function output(command: string, args: readonly string[]): Promise<string> {
  const { stdout, stderr } = await new Deno.Command(command, { args: [...args], stdout: "piped", stderr: "piped" })
    .output();
  return new TextDecoder().decode(stdout.length > 0 ? stdout : stderr).trim();
}

/** Installs ssh2 into bench/.cache unless it is there, and returns its node_modules folder. */
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
    if (!success) throw new Error("Cannot install ssh2: npm failed");
  }
  return modules;
}

/** One paragraph about the machine and the versions. */
export async function describeMachine(modules: string): Promise<string> {
  const cpu = /^model name\s*:\s*(.*)$/m.exec(await Deno.readTextFile("/proc/cpuinfo"))?.[1] ?? "unknown CPU";
  const memory = Number(/^MemTotal:\s+(\d+)/m.exec(await Deno.readTextFile("/proc/meminfo"))?.[1] ?? 0) / 1048576;
  const ssh = (await output("ssh", ["-V"])).split(",")[0];
  const ssh2 = JSON.parse(await Deno.readTextFile(`${modules}/ssh2/package.json`)).version;
  let native = false;
  try {
    await Deno.stat(`${modules}/ssh2/lib/protocol/crypto/build/Release/sshcrypto.node`);
    native = true;
  } catch {
    // Not built: ssh2 uses WebAssembly on Node too.
  }
  return `${navigator.hardwareConcurrency} cores of ${cpu}, ${memory.toFixed(1)} GiB, Linux ${Deno.osRelease()}; ` +
    `Deno ${Deno.version.deno}, Node ${(await output("node", ["--version"])).slice(1)}, ${ssh}, ` +
    `ssh2 ${ssh2} (on Node with ${native ? "its native ciphers" : "node:crypto and WebAssembly"}, ` +
    `on Deno with node:crypto and WebAssembly). MB and GB are powers of ten.`;
}
