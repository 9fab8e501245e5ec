/**
 * Makes tests/recordings anew: `deno task record`. Needs OpenSSH 9.2 and 10. Each recording is replayed a few times before any
 * file is written.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import type { ByteDuplex } from "../../lib/wire/types.ts";
import { scratchDir, type TestKey } from "./keys.ts";
import { opensshClient } from "./peer_clients.ts";
import { peers, startOpenSshd } from "./peers.ts";
import {
  clientInput,
  playSession,
  recordingsDir,
  type Scene,
  servedCode,
  servedCommand,
  serverOutput,
  throwAwayHostKey,
  throwAwayUserKey,
} from "./recorded_sessions.ts";
import { type RecordedAlgorithms, Recorder, type Recording, Replay, type Seen } from "./recording.ts";

type Version = "9.2" | "10";
/** What no default of a version may take away. */
const CONFIG = ["KexAlgorithms=+diffie-hellman-group14-sha256", "RekeyLimit=1G"];
const REPLAYS = 3;

interface Family {
  readonly name: string;
  readonly algorithms: RecordedAlgorithms;
  readonly versions: readonly Version[];
  readonly size: { readonly client: number; readonly server: number };
}

function family(name: string, cipher: string, options: Partial<RecordedAlgorithms> = {}): Family {
  return {
    name,
    algorithms: {
      kex: "curve25519-sha256",
      cipher,
      mac: "hmac-sha2-256-etm@openssh.com",
      compression: "none",
      ...options,
    },
    versions: ["9.2", "10"],
    size: { client: 9_000, server: 12_000 },
  };
}

const group14 = { kex: "diffie-hellman-group14-sha256" };
const families: readonly Family[] = [
  { ...family("chacha20", "chacha20-poly1305@openssh.com"), size: { client: 96_000, server: 90_000 } },
  family("aes128_gcm", "aes128-gcm@openssh.com", group14),
  family("aes256_ctr_etm", "aes256-ctr"),
  family("aes256_ctr_mac", "aes256-ctr", { ...group14, mac: "hmac-sha2-512" }),
  { ...family("zlib", "chacha20-poly1305@openssh.com", { compression: "zlib@openssh.com" }), versions: ["10"] },
];

const titles = { "9.2": peers.openssh.title, "10": peers.openssh10.title };

/** Our client on OpenSSH's server. */
async function recordClient(version: Version, seed: number, { algorithms, size }: Family): Promise<Recording> {
  const authorized = `${scratchDir()}/authorized_keys`;
  Deno.writeTextFileSync(authorized, `${throwAwayUserKey.line}\n`, { mode: 0o600 });
  await using server = await startOpenSshd({
    version,
    defaults: true,
    config: [...CONFIG, `AuthorizedKeysFile=${authorized}`],
  });
  const hostKey = server.hostKeys.find((line) => line.startsWith("ssh-ed25519 "))!;
  const scene: Scene = { side: "client", seed, username: server.username, hostKey, size: size.client, algorithms };
  const conn = await Deno.connect({ hostname: server.hostname, port: server.port });
  conn.setNoDelay(true);
  return await record(scene, conn, version);
}

/** Our server under OpenSSH's client. */
async function recordServer(version: Version, seed: number, { algorithms, size }: Family): Promise<Recording> {
  const username = "recorded", hostKey = throwAwayHostKey.line;
  const scene: Scene = { side: "server", seed, username, hostKey, size: size.server, algorithms };
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  await using client = await opensshClient(version, { defaults: true, config: CONFIG });
  const asTestKey = (key: { text: string; line: string }): TestKey => {
    const file = `${scratchDir()}/key`;
    Deno.writeTextFileSync(file, key.text, { mode: 0o600 });
    return { ...key, file, fingerprint: "" };
  };
  const running = client.run({
    port: listener.addr.port,
    hostKeys: [asTestKey(throwAwayHostKey)],
    username,
    login: { key: asTestKey(throwAwayUserKey) },
    command: servedCommand,
    input: clientInput(scene),
    compress: algorithms.compression !== "none",
  });
  const conn = await listener.accept();
  conn.setNoDelay(true);
  listener.close();
  const [recording, output] = await Promise.all([record(scene, conn, version), running]);
  assertEquals(output.code, servedCode);
  assertEquals(output.stderr, "to stderr");
  assertEquals(output.stdout, serverOutput(scene));
  return recording;
}

async function record(scene: Scene, conn: ByteDuplex, version: Version): Promise<Recording> {
  const recorder = new Recorder(conn);
  const seen = await playSession(scene, recorder);
  checkSeen(seen);
  const us = scene.side === "client" ? "Our client, OpenSSH's server" : "Our server, OpenSSH's client";
  const note = `${us}; made by \`deno task record\` with Deno ${Deno.version.deno}, not to be edited`;
  return { note, peer: titles[version], ...scene, seen, ...recorder.recorded() };
}

/** A recording of something that went wrong would prove nothing. */
function checkSeen(seen: Seen): void {
  assertEquals(seen.ended, "cleanly");
  assertEquals(seen.keyExchanges, 2);
  assertEquals(seen.catStdoutIsInput ?? seen.stdinIsInput, true);
}

/** One event to a line would be long, one line for all of them unreadable. */
function encode(recording: Recording): string {
  return JSON.stringify(recording, null, 1).replace(/\[\s+(\d+),\s+(\d+|"\w+")\s+\]/g, "[$1, $2]") + "\n";
}

const files = new Map<string, string>();
let seed = 1;
for (const one of families) {
  for (const version of one.versions) {
    for (const [side, make] of [["client", recordClient], ["server", recordServer]] as const) {
      const name = `${side}_openssh${version.replace(".", "_")}_${one.name}.json`;
      const recording = await make(version, seed++, one);
      for (let i = 0; i < REPLAYS; i++) {
        for (const chunks of ["recorded", "bytes"] as const) {
          using replay = new Replay(recording, chunks);
          assertEquals(await replay.check(playSession(recording, replay)), recording.seen);
        }
      }
      files.set(name, encode(recording));
    }
  }
}
for (const [name, content] of files) Deno.writeTextFileSync(new URL(name, recordingsDir), content);
const bytes = [...files.values()].reduce((sum, content) => sum + content.length, 0);
await Deno.stdout.write(new TextEncoder().encode(`${files.size} recordings, ${bytes} bytes\n`));
