// deno-lint-ignore-file no-console
// (a) One command on twenty hosts, five at a time: lines with a prefix, and a minute for each.
import { connect } from "@amiko/ssh";

const hosts = Array.from({ length: 20 }, (_, i) => `web${i + 1}.example`).values();

await Promise.all(Array.from({ length: 5 }, async () => {
  for (const host of hosts) {
    try {
      await using client = await connect(host);
      const lines = client.$({ stderr: "stdout", timeout: 60_000 })`uptime`.lines();
      for await (const line of lines) console.log(`${host}: ${line}`);
    } catch (error) {
      console.error(`${host}: ${error}`);
    }
  }
}));
