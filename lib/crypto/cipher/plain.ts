/**
 * The cipher "none" with the MAC "none", in force until the first NEWKEYS. RFC 4253 section 6. No I/O.
 *
 * @module
 */
import { frameEnd, uint32At } from "./packets.ts";
import type { PacketOpener, PacketSealer } from "../types.ts";

const SHAPE = { blockSize: 8, lengthPadded: true, tagLength: 0 } as const;

/** Sends packets as they are. */
export function plainSealer(): PacketSealer {
  return {
    ...SHAPE,
    workspace: (size) => new Uint8Array(size),
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
