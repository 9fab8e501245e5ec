/**
 * Test support. Reads what a peer offers, from the KEXINIT that it sends in the clear (RFC 4253 section 7.1). Shares no code with the library, so that
 * the tests of it do not rest on what they test.
 *
 * @module
 */

/** The name-lists of a KEXINIT that matter to a test. */
export interface Offer {
  /** Identification line. */
  readonly ident: string;
  /** Key exchange methods, with the pseudo names that mark extensions. */
  readonly kex: readonly string[];
  /** Host key algorithms. */
  readonly hostKey: readonly string[];
  /** Ciphers that are offered in both directions. */
  readonly cipher: readonly string[];
  /** MACs that are offered in both directions. */
  readonly mac: readonly string[];
  /** Compression that is offered in both directions. */
  readonly compression: readonly string[];
}

/** Connects to a server and reads its offer. */
export async function readServerOffer(port: number): Promise<Offer> {
  const conn = await Deno.connect({ hostname: "127.0.0.1", port });
  return await readOffer(conn);
}

/** Lets a client connect and reads its offer; the client is cut off then. */
export async function readClientOffer(startClient: (port: number) => Promise<unknown>): Promise<Offer> {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  try {
    const client = startClient(listener.addr.port).catch(() => {});
    const offer = await readOffer(await listener.accept());
    listener.close();
    await client;
    return offer;
  } finally {
    try {
      listener.close();
    } catch { /* closed */ }
  }
}

async function readOffer(conn: Deno.TcpConn): Promise<Offer> {
  try {
    await conn.write(new TextEncoder().encode("SSH-2.0-offer\r\n"));
    let bytes = new Uint8Array();
    const block = new Uint8Array(65_536);
    while (true) {
      const offer = parse(bytes);
      if (offer !== null) return offer;
      const n = await conn.read(block);
      if (n === null) throw new Error(`No offer: ${new TextDecoder().decode(bytes)}`);
      bytes = new Uint8Array([...bytes, ...block.subarray(0, n)]);
    }
  } finally {
    conn.close();
  }
}

function parse(bytes: Uint8Array): Offer | null {
  const text = Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
  const ident = /(?:^|\n)(SSH-[^\r\n]*)\r?\n/.exec(text);
  if (ident === null) return null;
  const packet = bytes.subarray(ident.index + ident[0].length);
  if (packet.length < 5) return null;
  const view = new DataView(packet.buffer, packet.byteOffset, packet.byteLength);
  if (packet.length < 4 + view.getUint32(0)) return null;
  if (packet[5] !== 20) throw new Error(`The first message is ${packet[5]}, not KEXINIT`);
  let at = 6 + 16;
  const lists: string[][] = [];
  for (let i = 0; i < 8; i++) {
    const length = view.getUint32(at);
    const names = new TextDecoder().decode(packet.subarray(at + 4, at + 4 + length));
    lists.push(names === "" ? [] : names.split(","));
    at += 4 + length;
  }
  const both = (a: number) => lists[a]!.filter((name) => lists[a + 1]!.includes(name));
  return {
    ident: ident[1]!,
    kex: lists[0]!,
    hostKey: lists[1]!,
    cipher: both(2),
    mac: both(4),
    compression: both(6),
  };
}
