/** What a program gets from each entry point that `deno.json` names. */
import { assert, assertEquals } from "@std/assert";
import * as main from "../mod.ts";
import config from "../deno.json" with { type: "json" };

const all: Record<string, unknown> = { ...main };

Deno.test("each entry point can be imported, and gives nothing that mod.ts does not give", async () => {
  const entries = Object.entries(config.exports);
  assert(entries.length >= 6, String(entries));
  for (const [name, path] of entries) {
    const module: Record<string, unknown> = await import(new URL(`../${path}`, import.meta.url).href);
    assert(Object.keys(module).length > 0, `${name} exports nothing`);
    assertEquals(module.default, undefined, `${name} has a default export`);
    // The same thing, so that what one entry point makes is an instance for another.
    for (const [key, value] of Object.entries(module)) assert(value === all[key], `${key} of ${name}`);
  }
});

Deno.test("each entry point has what it is there for", async () => {
  const wanted: Record<keyof typeof config.exports, readonly string[]> = {
    ".": ["connect", "serve", "Transport", "Channel", "SshError", "openSftp", "serveSftp", "parsePrivateKey"],
    "./client": ["connect", "SshClient", "password", "publicKey", "knownHosts", "pinnedHostKey", "SshError"],
    "./server": ["serve", "serveConn", "generateKey", "SshError"],
    "./transport": ["Transport"],
    "./keys": ["generateKey", "parsePrivateKey", "parsePublicKey", "knownHosts", "connectAgent"],
    "./sftp": ["openSftp", "SftpClient", "serveSftp"],
    "./scp": ["scpUpload", "scpDownload", "serveScp", "scpCommand"],
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
