// (i) A git server: who has a key may clone and push the repositories of a directory.
import { authorizedKeys, parsePrivateKey, serve } from "@amiko/ssh";
import { runInSession } from "@amiko/ssh/pty";

const server = serve({
  port: 2222,
  hostKeys: [await parsePrivateKey(await Deno.readTextFile("host_key"))],
  auth: { publicKey: authorizedKeys("git_users") },
  async handler(session) {
    const [, program, name] = /^(git-(?:upload|receive)-pack) '\/?(\w+\.git)'$/.exec(session.command ?? "") ?? [];
    if (program !== undefined) return await runInSession(session, [program, `repositories/${name}`]);
    await session.write("There is only git here\n", "stderr");
    return 1;
  },
});
await server.finished;
