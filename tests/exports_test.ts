/** What a program gets from each entry point that `deno.json` names. */
import { assert, assertEquals } from "@std/assert";
import * as main from "../mod.ts";
import config from "../deno.json" with { type: "json" };

const all: Record<string, unknown> = { ...main };

/** What hardly any program writes, and so stands in its own entry point alone. */
const rare: Readonly<Record<string, readonly string[]>> = {
  "./keys": ["hashHostname", "publicKeyFromBlob"],
  "./scp": ["scpCommand"],
  "./pty": ["runInSession", "shellHandler", "spawnPty"],
};

Deno.test("each entry point can be imported, and gives what mod.ts gives, but for what stands in it alone", async () => {
  const entries = Object.entries(config.exports);
  assert(entries.length >= 6, String(entries));
  for (const [name, path] of entries) {
    const module: Record<string, unknown> = await import(new URL(`../${path}`, import.meta.url).href);
    assert(Object.keys(module).length > 0, `${name} exports nothing`);
    assertEquals(module.default, undefined, `${name} has a default export`);
    // The same thing, so that what one entry point makes is an instance for another.
    const own = Object.entries(module).filter(([key, value]) => value !== all[key]).map(([key]) => key);
    assertEquals(own, rare[name] ?? [], name);
    for (const key of own) assert(!(key in all), `${key} of ${name} is another one in mod.ts`);
  }
});

Deno.test("each entry point has what it is there for", async () => {
  const wanted: Record<keyof typeof config.exports, readonly string[]> = {
    ".": [
      "connect",
      "serve",
      "Transport",
      "Channel",
      "SshError",
      "openSftp",
      "serveSftp",
      "parsePrivateKey",
      "authorizedKeys",
    ],
    "./client": ["connect", "SshClient", "password", "publicKey", "knownHosts", "pinnedHostKey", "SshError"],
    "./server": ["serve", "serveConn", "generateKey", "SshError"],
    "./transport": ["Transport"],
    "./keys": [
      "generateKey",
      "parsePrivateKey",
      "parsePublicKey",
      "knownHosts",
      "connectAgent",
      "authorizedKeys",
      "signCertificate",
    ],
    "./sftp": ["openSftp", "SftpClient", "serveSftp"],
    "./scp": ["scpUpload", "scpDownload", "serveScp", "scpCommand"],
    "./pty": ["spawnPty", "runInSession", "shellHandler"],
    "./testing": ["testPair", "memoryFiles"],
    "./websocket": ["webSocketTransport"],
  };
  assertEquals(Object.keys(wanted), Object.keys(config.exports));
  for (const [name, path] of Object.entries(config.exports)) {
    const module: Record<string, unknown> = await import(new URL(`../${path}`, import.meta.url).href);
    for (const key of wanted[name as keyof typeof wanted]) {
      assertEquals(typeof module[key], "function", `${key} of ${name}`);
    }
  }
});

Deno.test("mod.ts names what Transport.connect() takes, as it does the options of the rest", () => {
  const login: main.TransportLogin = { username: "alice" };
  assertEquals(login.username, "alice");
});
