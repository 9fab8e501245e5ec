// (c) Follows a log until Ctrl-C.
import { connect } from "@amiko/ssh";

await using client = await connect("web1.example");
await using tail = await client.spawn("tail -F access.log", { stdout: "inherit", stderr: "inherit" });
Deno.addSignalListener("SIGINT", () => tail.kill());
await tail.status;
