// deno-lint-ignore-file no-console
// (k) Sends what is new or changed, goes on where it was cut off, and has the other side check the sums.
import { connect } from "@amiko/ssh";

await using client = await connect("backup.example");
await using sftp = await client.sftp();
const sent = await sftp.upload("photos", "photos", { recursive: true, preserve: true, resume: true });
const sums = await new Deno.Command("sh", { args: ["-c", "cd photos && find . -type f -exec sha256sum {} +"] })
  .output();
await client.run("sha256sum --check --quiet", { cwd: "photos", stdin: sums.stdout, stdout: "inherit" });
console.log(`${sent.files} files sent (${sent.bytes} bytes), and all are the same`);
