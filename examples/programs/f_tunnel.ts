// deno-lint-ignore-file no-console
// (f) A database behind a bastion as a port of this machine, until Ctrl-C or the end of the connection.
import { connect } from "@amiko/ssh";

await using client = await connect("bastion.example");
await client.forwardLocal({ port: 5432 }, { hostname: "db.internal", port: 5432 });
console.log("The database listens on 127.0.0.1:5432");
await client.closed;
