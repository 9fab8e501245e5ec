/** L5 */
export interface TransferOptions {
  recursive?: boolean;
}
export interface TransferSummary {
  files: number;
}
