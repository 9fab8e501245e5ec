// deno-lint-ignore-file no-console
// Forwards through a server with ssh2: connections and listeners to ports and Unix sockets, and a second server through it. The arguments are
// where ssh2 lies, and settings in JSON, as asyncssh_forwards.py has them.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { connect } from "node:net";

const { Client } = createRequire(`${process.argv[2]}/`)("ssh2");
const settings = JSON.parse(process.argv[3]);
const sent = Buffer.from(Array.from({ length: 200_000 }, (_, i) => i * 7 & 255));
const hash = (bytes) => createHash("sha256").update(bytes).digest("hex");
const login = { host: "127.0.0.1", username: "alice", strictVendor: false, privateKey: readFileSync(settings.key) };

const echoed = (end) =>
  new Promise((resolve, reject) => {
    const got = [];
    end.on("data", (part) => got.push(part)).on("error", reject);
    end.on("end", () => resolve(hash(Buffer.concat(got)) === hash(sent)));
    end.end(sent);
  });
const called = (act) => new Promise((resolve, reject) => act((error, value) => error ? reject(error) : resolve(value)));
const refused = (to) =>
  new Promise((resolve) => connect(to).on("error", () => resolve(true)).on("connect", () => resolve(false)));
const loggedIn = (options) =>
  new Promise((resolve, reject) => {
    const client = new Client();
    client.on("ready", () => resolve(client)).on("error", reject).connect({ ...login, ...options });
  });

const client = await loggedIn({ port: settings.port });
for (const kind of ["tcp connection", "unix connection"]) {
  client.on(kind, (_info, accept) => {
    const end = accept();
    end.pipe(end);
  });
}
const direct = await called((done) => client.forwardOut("127.0.0.1", 1, "127.0.0.1", settings.target, done));
if (await echoed(direct)) console.log("direct");
const directUnix = await called((done) => client.openssh_forwardOutStreamLocal(settings.unix_target, done));
if (await echoed(directUnix)) console.log("direct unix");
for (const [address, host] of settings.addresses) {
  const port = await called((done) => client.forwardIn(address, 0, done));
  if (await echoed(connect({ host, port, allowHalfOpen: true }))) console.log(`remote ${address}`);
  await called((done) => client.unforwardIn(address, port, done));
  if (await refused({ host, port })) console.log("cancelled");
}
const path = `${settings.folder}/ssh2`;
await called((done) => client.openssh_forwardInStreamLocal(path, done));
if (await echoed(connect({ path, allowHalfOpen: true }))) console.log("remote unix");
await called((done) => client.openssh_unforwardInStreamLocal(path, done));

const sock = await called((done) => client.forwardOut("127.0.0.1", 1, "127.0.0.1", settings.second, done));
const inner = await loggedIn({ sock });
const shell = await called((done) => inner.shell(false, done));
let said = "";
for await (const part of shell) said += part;
console.log(said.trim());
inner.end();
client.end();
