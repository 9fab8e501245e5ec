/** Variables of commands with OpenSSH, which accepts those that it is told to. */
import { assertEquals } from "@std/assert";
import { connect } from "../../lib/api/client.ts";
import { publicKey } from "../../lib/auth/methods.ts";
import { parsePrivateKey } from "../../lib/keys/private_key.ts";
import { insecureAcceptAnyHostKey } from "../../lib/keys/trust/known_hosts.ts";
import { peerTest, startOpenSshd } from "../_support/peers.ts";

peerTest(
  "openssh",
  "every variable of a command is set, and only those that sshd refuses stand in its line",
  async () => {
    await using server = await startOpenSshd({ config: ["AcceptEnv=ACCEPTED"] });
    await using client = await connect({
      hostname: server.hostname,
      port: server.port,
      username: server.username,
      auth: [publicKey(await parsePrivateKey(server.clientKey.text))],
      verifyHostKey: insecureAcceptAnyHostKey(),
    });
    const env = { ACCEPTED: "it's 1", REFUSED: "it's\n`2` $HOME", EMPTY: "" };
    const command = `printf '%s|' "$ACCEPTED" "$REFUSED" "\${EMPTY-none}"; sh -c 'printf "%s|" "$REFUSED"'
    tr '\\0' '|' < /proc/$$/cmdline | grep -c 'it[^x]s 1'; exit 3`;
    for (const pty of [false, true]) {
      const output = await client.exec(command, { env, pty });
      const text = output.text().replaceAll("\r\n", "\n");
      assertEquals([text, output.code], [`${env.ACCEPTED}|${env.REFUSED}||${env.REFUSED}|0\n`, 3]);
    }
    assertEquals((await client.exec("pwd; echo $A", { env: { A: "1" }, cwd: "/usr" })).text(), "/usr\n1\n");
  },
);
