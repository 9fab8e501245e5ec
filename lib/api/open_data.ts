/**
 * What CHANNEL_OPEN carries behind its fixed fields. RFC 4254 sections 6.3.2 and 7.2. No I/O.
 *
 * @module
 */
import { Writer } from "../wire/writer.ts";

/** The data of CHANNEL_OPEN for the types that carry addresses. */
export function openData(
  kind: string,
  { dest, origin, data }: {
    dest?: Deno.NetAddr | undefined;
    origin?: Deno.NetAddr | undefined;
    data?: Uint8Array | undefined;
  },
): Uint8Array {
  if (data !== undefined) return data;
  const writer = new Writer(),
    addresses: (Deno.NetAddr | undefined)[] = kind === "x11"
      ? [origin]
      : kind === "direct-tcpip" || kind === "forwarded-tcpip"
      ? [dest, origin]
      : [];
  for (const address of addresses) {
    if (address === undefined) {
      throw new TypeError(
        `Cannot open "${kind}" channel: ${kind === "x11" ? "`origin` is" : "`dest` and `origin` are"} needed`,
      );
    }
    writer.text(address.hostname).u32(address.port);
  }
  return writer.bytes();
}
