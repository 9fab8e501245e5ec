// deno-lint-ignore-file no-console
// Forwards through a server with ssh2: a direct connection, and a remote listener. The arguments are where ssh2 lies, and the settings in JSON.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { connect } from "node:net";

const { Client } = createRequire(`${process.argv[2]}/`)("ssh2");
const settings = JSON.parse(process.argv[3]);
const sent = Buffer.from(Array.from({ length: 1_000_000 }, (_, i) => i * 7 & 255));
const hash = (bytes) => createHash("sha256").update(bytes).digest("hex");

const echoed = (end) =>
  new Promise((resolve, reject) => {
    const got = [];
    end.on("data", (part) => got.push(part)).on("error", reject);
    end.on("end", () => resolve(hash(Buffer.concat(got)) === hash(sent)));
    end.end(sent);
  });
const called = (act) => new Promise((resolve, reject) => act((error, value) => error ? reject(error) : resolve(value)));

const client = new Client();
client.on("tcp connection", (_info, accept) => {
  const end = accept();
  end.pipe(end);
});
client.on("ready", async () => {
  const direct = await called((done) => client.forwardOut("127.0.0.1", 1, "127.0.0.1", settings.target, done));
  if (await echoed(direct)) console.log("direct ok");
  const port = await called((done) => client.forwardIn("127.0.0.1", 0, done));
  if (await echoed(connect({ host: "127.0.0.1", port, allowHalfOpen: true }))) console.log("remote ok");
  await called((done) => client.unforwardIn("127.0.0.1", port, done));
  connect({ host: "127.0.0.1", port }).on("error", () => {
    console.log("cancelled");
    client.end();
  });
});
client.connect({ host: "127.0.0.1", port: settings.port, username: "alice", privateKey: readFileSync(settings.key) });
