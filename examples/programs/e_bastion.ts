// (e) A command on a host behind a bastion.
import { connect } from "@amiko/ssh";

await using client = await connect({
  hostname: "db.internal",
  username: "alice",
  jump: { hostname: "bastion.example", username: "alice" },
});
await client.run("uptime", { stdout: "inherit" });
