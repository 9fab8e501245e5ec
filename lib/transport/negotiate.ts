/**
 * Algorithm negotiation. RFC 4253 section 7.1, RFC 8308 section 2.1, OpenSSH PROTOCOL section 1.9. Pure.
 *
 * @module
 */
import { ciphers } from "../crypto/cipher/ciphers.ts";
import { DisconnectReason, printable, SshProtocolError } from "../errors.ts";
import type { KexInitValues } from "./messages.ts";
import type { Algorithms, NegotiatedDirection } from "./types.ts";

/** Pseudo names in the key exchange list: they tell something and are never selected. Strict key exchange has two, the IETF's and OpenSSH's. */
const PSEUDO = {
  client: { extInfo: "ext-info-c", strict: { ietf: "kex-strict-c", openssh: "kex-strict-c-v00@openssh.com" } },
  server: { extInfo: "ext-info-s", strict: { ietf: "kex-strict-s", openssh: "kex-strict-s-v00@openssh.com" } },
} as const;

const ALL_PSEUDO: ReadonlySet<string> = new Set(
  [PSEUDO.client, PSEUDO.server].flatMap(({ extInfo, strict }) => [extInfo, strict.ietf, strict.openssh]),
);

/** Whether a name in the key exchange list is none of a key exchange. */
export function isPseudoName(name: string): boolean {
  return ALL_PSEUDO.has(name);
}

/** What two KEXINITs agree on. */
export interface Negotiated {
  /** Key exchange method. */
  readonly kex: string;
  /** Host key signature algorithm. */
  readonly hostKey: string;
  /** From client to server. */
  readonly clientToServer: NegotiatedDirection;
  /** From server to client. */
  readonly serverToClient: NegotiatedDirection;
  /** Whether the peer's guessed packet, if it sent one, is to be dropped. */
  readonly guessWrong: boolean;
  /** Whether both sides want the same most: then a guess is right (RFC 4253 section 7). */
  readonly firstsAgree: boolean;
}

/** What the peer's pseudo names tell. Strict key exchange is in force when both sides name it, by the same name. */
export function peerMarkers(
  ours: KexInitValues,
  peer: KexInitValues,
  peerRole: "client" | "server",
): { extInfo: boolean; strict: boolean } {
  const theirs = PSEUDO[peerRole], mine = PSEUDO[peerRole === "client" ? "server" : "client"];
  const both = (name: "ietf" | "openssh") =>
    peer.kex.includes(theirs.strict[name]) && ours.kex.includes(mine.strict[name]);
  return { extInfo: peer.kex.includes(theirs.extInfo), strict: both("openssh") || both("ietf") };
}

/** This side's KEXINIT. Pseudo names stand in the first one only. */
export function makeKexInit(
  algorithms: Algorithms,
  role: "client" | "server",
  initial: boolean,
  cookie: Uint8Array,
  guesses = false,
): KexInitValues {
  const { extInfo, strict } = PSEUDO[role];
  // A server names the IETF's form only for a program that lists it: ssh-audit does not know that name, and calls it a failure. OpenSSH's
  // stands last: paramiko 3 goes by the last name of that kind that it sees, and knows only OpenSSH's.
  const ietf = role === "client" || algorithms.kex.includes(strict.ietf) ? [strict.ietf] : [];
  const pseudo = initial ? [extInfo, ...ietf, strict.openssh] : [];
  return {
    cookie,
    kex: [...algorithms.kex.filter((name) => !ALL_PSEUDO.has(name)), ...pseudo],
    hostKey: algorithms.hostKey,
    cipherClientToServer: algorithms.cipher,
    cipherServerToClient: algorithms.cipher,
    macClientToServer: algorithms.mac,
    macServerToClient: algorithms.mac,
    compressionClientToServer: algorithms.compression,
    compressionServerToClient: algorithms.compression,
    languageClientToServer: [],
    languageServerToClient: [],
    firstKexPacketFollows: guesses,
    reserved: 0,
  };
}

function choose(what: string, client: readonly string[], server: readonly string[]): string {
  const offered = new Set(server);
  const found = client.find((name) => offered.has(name) && !ALL_PSEUDO.has(name));
  if (found !== undefined) return found;
  const list = (names: readonly string[]) =>
    printable(names.filter((n) => !ALL_PSEUDO.has(n)).join(","), 600) || "nothing";
  throw new SshProtocolError(
    `No common ${what}: the client offers ${list(client)}; the server offers ${list(server)}. ` +
      "Add a name that both sides have to `algorithms`",
    DisconnectReason.KEY_EXCHANGE_FAILED,
    { code: "NO_COMMON_ALGORITHM" },
  );
}

/** Chooses by the rules of RFC 4253 section 7.1; throws `SshProtocolError` that names the list without a common entry. */
export function negotiate(client: KexInitValues, server: KexInitValues, peerRole: "client" | "server"): Negotiated {
  const kex = choose("key exchange method", client.kex, server.kex);
  const hostKey = choose("host key algorithm", client.hostKey, server.hostKey);
  const direction = (
    way: string,
    [cc, cs]: [readonly string[], readonly string[]],
    [mc, ms]: [readonly string[], readonly string[]],
    [zc, zs]: [readonly string[], readonly string[]],
  ): NegotiatedDirection => {
    const cipher = choose(`cipher ${way}`, cc, cs);
    const mac = ciphers.get(cipher)?.aead ? null : choose(`MAC ${way}`, mc, ms);
    return { cipher, mac, compression: choose(`compression ${way}`, zc, zs) };
  };
  const peer = peerRole === "client" ? client : server;
  const firstsAgree = client.kex[0] === server.kex[0] && client.hostKey[0] === server.hostKey[0];
  return {
    kex,
    hostKey,
    clientToServer: direction(
      "from client to server",
      [client.cipherClientToServer, server.cipherClientToServer],
      [client.macClientToServer, server.macClientToServer],
      [client.compressionClientToServer, server.compressionClientToServer],
    ),
    serverToClient: direction(
      "from server to client",
      [client.cipherServerToClient, server.cipherServerToClient],
      [client.macServerToClient, server.macServerToClient],
      [client.compressionServerToClient, server.compressionServerToClient],
    ),
    guessWrong: peer.firstKexPacketFollows && !firstsAgree,
    firstsAgree,
  };
}

/** Checks what every KEXINIT must hold, beyond its form. */
export function checkKexInit(values: KexInitValues): void {
  if (values.reserved !== 0) {
    throw new SshProtocolError(`KEXINIT has ${values.reserved} in its reserved field, where 0 is wanted`);
  }
}
