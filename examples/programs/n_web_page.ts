// (n) A page that shows a command's output as it comes; the command ends when the page goes.
import { connect } from "@amiko/ssh";

const client = await connect("build.example");
Deno.serve({ port: 8000 }, async ({ signal }) => {
  const { stdout } = await client.spawn("make test", { stderr: "stdout", signal });
  return new Response(stdout, { headers: { "content-type": "text/plain" } });
});
