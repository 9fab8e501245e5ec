// (g) A command on an alias of ssh_config, whose ProxyJump, User, Port and keys are used.
import { connect } from "@amiko/ssh";

await using client = await connect("staging");
await client.run("uptime", { stdout: "inherit" });
