// deno-lint-ignore-file no-console
// (b) Uploads a directory with a progress bar, and runs a script there by sudo, whose output comes as it is written.
import { askTerminal, connect } from "@amiko/ssh";

await using client = await connect("app.example");
await using sftp = await client.sftp();
console.log();
await sftp.upload("site", "site", {
  recursive: true,
  onTreeProgress({ bytes, totalBytes, secondsLeft }) {
    const part = totalBytes === null ? 0 : bytes / Math.max(totalBytes, 1);
    console.log(`\x1b[A\x1b[K[${"#".repeat(40 * part).padEnd(40)}] ${bytes} bytes, ${secondsLeft ?? "?"} s left`);
  },
});
const secret = () => askTerminal("Password for sudo: ");
await client.sudo("sh install.sh", { cwd: "site", password: secret, stdout: "inherit", check: true });
