// (d) An interactive shell on a host of the command line.
import { askTerminal, attachTerminal, connect } from "@amiko/ssh";

await using client = await connect(Deno.args[0]!, { answer: askTerminal });
await using shell = await client.shell({ pty: "inherit" });
Deno.exitCode = (await attachTerminal(shell)).code ?? 255;
