// (m) Makes a key and lets it in over there, with a password for the last time: ssh-keygen and ssh-copy-id.
import { askTerminal, connect, copyId, generateKey, password } from "@amiko/ssh";

const key = await generateKey();
await Deno.writeTextFile("id_build", await key.export(), { mode: 0o600, createNew: true });
const auth = [password(({ signal }) => askTerminal("Password: ", { signal }))];
await using client = await connect({ hostname: "build.example", username: "alice", auth });
await copyId(client, key);
