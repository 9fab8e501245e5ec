// (j) An SFTP server over a map of keys in memory.
import { authorizedKeys, memoryFiles, parsePrivateKey, serve, sftpSubsystem } from "@amiko/ssh";

const keys = memoryFiles({ "/alice.pub": "ssh-ed25519 AAAA alice\n" }, { maxBytes: 1_000_000 });

const server = serve({
  port: 2222,
  hostKeys: [await parsePrivateKey(await Deno.readTextFile("host_key"))],
  auth: { publicKey: authorizedKeys("key_users") },
  subsystems: { sftp: sftpSubsystem(keys) },
});
await server.finished;
