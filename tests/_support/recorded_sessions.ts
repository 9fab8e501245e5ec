/**
 * Test support. What happens on a recorded connection, the same when it is recorded and when it is replayed: between two steps
 * both sides come to rest, so that the order of our messages hangs on the protocol alone.
 *
 * Each direction of a channel stays below the 98304 bytes behind which a WINDOW_ADJUST is due: when that leaves, and how much it
 * grants, depends on how the bytes happened to come.
 *
 * @module
 */
import {
  connect,
  type ConnectionInfo,
  parsePrivateKey,
  pinnedHostKey,
  publicKey,
  serveConn,
  type ServerSession,
} from "../../mod.ts";
import { seededBytes } from "./duplex.ts";
import { type Recording, seedRandomness, type Seen, type Tape } from "./recording.ts";

/** A pair of throw-away keys. */
interface ThrowAwayKey {
  /** Private key in OpenSSH's format. */
  readonly text: string;
  /** Public key line. */
  readonly line: string;
}

/** Where the recordings lie. */
export const recordingsDir = new URL("../recordings/", import.meta.url);

/** Our keys in the recordings: Ed25519, whose signatures hold no randomness. */
export const { throwAwayHostKey, throwAwayUserKey } = JSON.parse(
  Deno.readTextFileSync(new URL("throw_away_keys.json", recordingsDir)),
) as { throwAwayHostKey: ThrowAwayKey; throwAwayUserKey: ThrowAwayKey };

/** What a session is made of: everything in a recording but what came of it. */
export type Scene = Pick<Recording, "side" | "seed" | "username" | "hostKey" | "size" | "algorithms">;

/** Command of the first exec. */
export const shortCommand = "printf 'to stdout'; printf 'to stderr' >&2; exit 7";
/** Command that OpenSSH's client sends. */
export const servedCommand = "an echo with words before and after";
/** Exit code of our handler. */
export const servedCode = 7;

/** Plays our side on the tape; returns what the application saw. */
export async function playSession(scene: Scene, tape: Tape): Promise<Seen> {
  using _seeded = seedRandomness(scene.seed);
  return await (scene.side === "client" ? playClient(scene, tape) : playServer(scene, tape));
}

/** Lines of hexadecimal digits: bytes that compress, though not much. */
export function textBytes(size: number, seed: number): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(seededBytes(size >> 1, seed).toHex());
}

/** What OpenSSH's client sends to our server. */
export function clientInput(scene: Scene): Uint8Array<ArrayBuffer> {
  return textBytes(scene.size / 6, scene.seed);
}

/** What our server sends to OpenSSH's client on standard output. */
export function serverOutput(scene: Scene): Uint8Array<ArrayBuffer> {
  return new Uint8Array([...textBytes(scene.size, scene.seed + 1), ...new TextEncoder().encode("after the rekey")]);
}

function algorithmsOf({ algorithms }: Scene) {
  return {
    kex: [algorithms.kex],
    hostKey: ["ssh-ed25519"],
    cipher: [algorithms.cipher],
    mac: [algorithms.mac],
    compression: [algorithms.compression],
  };
}

async function playClient(scene: Scene, tape: Tape): Promise<Seen> {
  let keyExchanges = 0;
  await using client = await connect({
    hostname: "recorded.invalid",
    username: scene.username,
    auth: [publicKey(throwAwayUserKey.text)],
    verifyHostKey: pinnedHostKey(scene.hostKey),
    transport: tape.duplex,
    algorithms: algorithmsOf(scene),
    ident: "amiko",
    trace: ({ event }) => void (event === "keys" && keyExchanges++),
  });
  await tape.quiet();
  const first = await client.exec(shortCommand);
  await tape.quiet();
  await client.rekey();
  await tape.quiet();
  const cat = await client.spawn("cat");
  await tape.quiet();
  const input = textBytes(scene.size, scene.seed);
  const writer = cat.stdin.getWriter();
  const [echoed] = await Promise.all([cat.output(), writer.write(input).then(() => writer.close())]);
  await tape.quiet();
  const seen = {
    ...seenOf(client.info),
    keyExchanges,
    firstStdout: text(first.stdout),
    firstStderr: text(first.stderr),
    firstCode: first.code,
    catStdoutLength: echoed.stdout.length,
    catStdoutIsInput: text(echoed.stdout) === text(input),
    catStderr: text(echoed.stderr),
    catCode: echoed.code,
  };
  await client.close();
  return { ...seen, ended: await endOf(client.closed) };
}

async function playServer(scene: Scene, tape: Tape): Promise<Seen> {
  let seen: Seen = {}, keyExchanges = 0;
  const errors: unknown[] = [];
  const handler = async (session: ServerSession) => {
    const input = new Uint8Array(await new Response(session.stdin).arrayBuffer());
    await tape.quiet();
    const out = session.stdout.getWriter(), err = session.stderr.getWriter();
    await err.write(new TextEncoder().encode("to stderr"));
    await tape.quiet();
    // The volume asks for new keys behind this write.
    const output = serverOutput(scene);
    await out.write(output.subarray(0, scene.size));
    await tape.quiet();
    await out.write(output.subarray(scene.size));
    await tape.quiet();
    seen = {
      ...seenOf(session.info.connection),
      keyExchanges,
      username: session.user.name,
      userKey: session.user.publicKey?.blob.toBase64() ?? "",
      command: session.command,
      stdinLength: input.length,
      stdinIsInput: text(input) === text(clientInput(scene)),
    };
    return servedCode;
  };
  const ended = await endOf(serveConn(tape.duplex, {
    hostKeys: [await parsePrivateKey(throwAwayHostKey.text)],
    auth: {
      publicKey: ({ username }, key) =>
        username === scene.username && throwAwayUserKey.line.endsWith(` ${key.blob.toBase64()}`),
    },
    handler,
    algorithms: algorithmsOf(scene),
    rekey: { bytes: 0.4 * scene.size },
    ident: "amiko",
    onError: (error) => errors.push(error),
    trace: ({ event }) => void (event === "keys" && keyExchanges++),
  }));
  if (errors.length > 0) throw errors[0];
  return { ...seen, ended };
}

function seenOf(info: ConnectionInfo): Seen {
  const { clientToServer, serverToClient } = info;
  return {
    remoteIdent: info.remoteIdent,
    sessionId: info.sessionId.toBase64(),
    hostKey: info.hostKey.blob.toBase64(),
    strictKex: info.strictKex,
    kex: info.kex,
    clientToServer: `${clientToServer.cipher} ${clientToServer.mac} ${clientToServer.compression}`,
    serverToClient: `${serverToClient.cipher} ${serverToClient.mac} ${serverToClient.compression}`,
  };
}

function endOf(closed: Promise<void>): Promise<string> {
  return closed.then(() => "cleanly", (error) => String(error));
}

function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}
