/**
 * Messages of the connection protocol, declared in wire order. RFC 4254.
 *
 * @module
 */
import { ascii, bool, bytes, languageTag, looseText, message, orEnd, rest, u32 } from "../wire/codec.ts";
import { Msg } from "../wire/numbers.ts";

/** Section 4. What follows belongs to the request. */
export const GlobalRequest = message("SSH_MSG_GLOBAL_REQUEST", Msg.GLOBAL_REQUEST, {
  name: ascii,
  wantReply: bool,
  data: rest,
});
/** Section 4. */
export const RequestSuccess = message("SSH_MSG_REQUEST_SUCCESS", Msg.REQUEST_SUCCESS, { data: rest });
/** Section 4. */
export const RequestFailure = message("SSH_MSG_REQUEST_FAILURE", Msg.REQUEST_FAILURE, {});
/** Section 5.1. What follows belongs to the channel type. */
export const ChannelOpen = message("SSH_MSG_CHANNEL_OPEN", Msg.CHANNEL_OPEN, {
  type: ascii,
  sender: u32,
  window: u32,
  maxPacket: u32,
  data: rest,
});
/** Section 5.1. */
export const ChannelOpenConfirmation = message("SSH_MSG_CHANNEL_OPEN_CONFIRMATION", Msg.CHANNEL_OPEN_CONFIRMATION, {
  recipient: u32,
  sender: u32,
  window: u32,
  maxPacket: u32,
  data: rest,
});
/** Section 5.1. */
export const ChannelOpenFailure = message("SSH_MSG_CHANNEL_OPEN_FAILURE", Msg.CHANNEL_OPEN_FAILURE, {
  recipient: u32,
  reason: u32,
  description: orEnd(looseText, ""),
  language: languageTag,
});
/** Section 5.2. */
export const ChannelWindowAdjust = message("SSH_MSG_CHANNEL_WINDOW_ADJUST", Msg.CHANNEL_WINDOW_ADJUST, {
  recipient: u32,
  bytes: u32,
});
/** Section 5.2. The mux and the channel have a faster path for it, held equal to this by a test. */
export const ChannelData = message("SSH_MSG_CHANNEL_DATA", Msg.CHANNEL_DATA, { recipient: u32, data: bytes });
/** Section 5.2. See {@linkcode ChannelData}. */
export const ChannelExtendedData = message("SSH_MSG_CHANNEL_EXTENDED_DATA", Msg.CHANNEL_EXTENDED_DATA, {
  recipient: u32,
  dataType: u32,
  data: bytes,
});
/** Section 5.3. */
export const ChannelEof = message("SSH_MSG_CHANNEL_EOF", Msg.CHANNEL_EOF, { recipient: u32 });
/** Section 5.3. */
export const ChannelClose = message("SSH_MSG_CHANNEL_CLOSE", Msg.CHANNEL_CLOSE, { recipient: u32 });
/** Section 5.4. What follows belongs to the request. */
export const ChannelRequest = message("SSH_MSG_CHANNEL_REQUEST", Msg.CHANNEL_REQUEST, {
  recipient: u32,
  name: ascii,
  wantReply: bool,
  data: rest,
});
/** Section 5.4. */
export const ChannelSuccess = message("SSH_MSG_CHANNEL_SUCCESS", Msg.CHANNEL_SUCCESS, { recipient: u32 });
/** Section 5.4. */
export const ChannelFailure = message("SSH_MSG_CHANNEL_FAILURE", Msg.CHANNEL_FAILURE, { recipient: u32 });

/** Reasons of CHANNEL_OPEN_FAILURE (section 5.1). */
export const OpenFailureReason = {
  ADMINISTRATIVELY_PROHIBITED: 1,
  CONNECT_FAILED: 2,
  UNKNOWN_CHANNEL_TYPE: 3,
  RESOURCE_SHORTAGE: 4,
} as const;

/** SSH_EXTENDED_DATA_STDERR (section 5.2). */
export const EXTENDED_DATA_STDERR = 1;
