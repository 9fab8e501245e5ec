// (l) Accepts a host that is new and writes it into known_hosts; a host whose key has changed is refused.
import { connect, knownHosts } from "@amiko/ssh";

await using client = await connect({
  hostname: "new.example",
  username: "alice",
  verifyHostKey: knownHosts({ acceptNew: true }),
});
await client.run("uptime", { stdout: "inherit" });
