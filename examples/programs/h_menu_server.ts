// (h) A server with a menu for each user, in the middle of the window, whatever its size becomes.
import { authorizedKeys, parsePrivateKey, serve } from "@amiko/ssh";

const menus = new Map([["alice", ["Deploy", "Roll back"]], ["bob", ["Look"]]]);

const server = serve({
  port: 2222,
  hostKeys: [await parsePrivateKey(await Deno.readTextFile("host_key"))],
  auth: { publicKey: authorizedKeys(({ username }) => menus.has(username) ? `${username}.pub` : null) },
  async handler(session) {
    const menu = menus.get(session.user.name)!;
    const draw = async () => {
      const { columns, rows } = session.window ?? { columns: 80, rows: 24 };
      const lines = menu.map((item, i) => `\x1b[${(rows >> 1) + i};${(columns >> 1) - 5}H${i + 1} ${item}`);
      await session.write(`\x1b[2J${lines.join("")}`);
    };
    const follow = async () => {
      for await (const _ of session.resizes) await draw();
    };
    follow().catch(() => {}); // The client has gone.
    await draw();
    for await (const keys of session.stdin) {
      for (const key of keys) {
        const item = menu[key - 49]; // "1" is 49.
        if (item === undefined) return;
        await session.write(`\x1b[${session.window?.rows ?? 24};1H\x1b[K${item}: done`);
      }
    }
  },
});
await server.finished;
