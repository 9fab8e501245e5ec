import type { SftpClient } from "./client.ts";
import type { SftpSession } from "./requests.ts";
import type { TransferOptions, TransferSummary } from "./transfer.ts";
export function upload(
  _c: SftpClient,
  _s: SftpSession,
  _l: string,
  _r: string,
  _o: TransferOptions,
): Promise<TransferSummary> {
  throw new Error("todo");
}
