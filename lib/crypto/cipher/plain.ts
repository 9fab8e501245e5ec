/**
 * The cipher "none" with the MAC "none", in force until the first NEWKEYS, and the same without padding, which a control socket carries.
 * RFC 4253 section 6, OpenSSH PROTOCOL.mux section 9. No I/O.
 *
 * @module
 */
import { frameEnd, sharedWorkspace, uint32At } from "./packets.ts";
import type { PacketOpener, PacketSealer } from "../types.ts";

const SHAPE = { blockSize: 8, lengthPadded: true, tagLength: 0 } as const;

/** Sends packets as they are. */
export function plainSealer(): PacketSealer {
  return {
    ...SHAPE,
    workspace: sharedWorkspace,
    seal: (workspace, ends) => new Uint8Array(workspace.subarray(0, ends.at(-1) ?? 0)),
  };
}

/** Takes packets as they are. */
export function plainOpener(): PacketOpener {
  return {
    ...SHAPE,
    headLength: 4,
    packetLength: (chunk, offset) => uint32At(chunk, offset),
    open: (chunk, frames) => frames.map((frame) => chunk.subarray(frame.offset + 4, frameEnd(chunk, frame, 0))),
  };
}

const UNPADDED = { blockSize: 1, lengthPadded: true, tagLength: 0, padded: false } as const;

/** Sends packets as they are, without padding. */
export function unpaddedSealer(): PacketSealer {
  return {
    ...UNPADDED,
    fillsOut: true,
    workspace: sharedWorkspace,
    seal: (workspace, ends, _sequence, out) => {
      const packets = workspace.subarray(0, ends.at(-1) ?? 0);
      if (out === undefined) return new Uint8Array(packets);
      out.set(packets);
      return out.subarray(0, packets.length);
    },
  };
}

/** Takes packets as they are, without padding. */
export function unpaddedOpener(): PacketOpener {
  return { ...plainOpener(), ...UNPADDED };
}
