/**
 * What CHANNEL_OPEN of an X11 channel carries. RFC 4254 section 6.3.2. No I/O.
 *
 * @module
 */
import { byteText, codec, u32 } from "../wire/codec.ts";

/** Somebody has connected to the display that a client lends. */
export const X11Open = codec("x11", { originHost: byteText, originPort: u32 }, 'data of "x11"');
