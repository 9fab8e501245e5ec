// An ssh2 server for the tests. Its arguments: the folder that ssh2 is installed in, and JSON: port, host_keys, authorized, username,
// password, silent for a server that does not say what it allows, and forwards for one that allows them.
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { serveFiles } from "./ssh2_files.mjs";
import { serveForwards } from "./ssh2_forwarding.mjs";

const { Server, utils } = createRequire(`${process.argv[2]}/index.js`)("ssh2");
const config = JSON.parse(process.argv[3]);
const authorized = config.authorized.map((line) => utils.parseKey(line));

const server = new Server({
  hostKeys: config.host_keys.map((file) => readFileSync(file)),
  algorithms: config.algorithms,
}, (client) => {
  client.setNoDelay?.(true);
  client.on("error", (error) => process.stderr.write(`${error}\n`));
  client.on("authentication", (context) => {
    // Without a list, ssh2 sends an empty one.
    const rest = config.silent ? undefined : ["publickey", "password", "keyboard-interactive"];
    if (context.username !== config.username) return context.reject(rest);
    if (context.method === "password" && context.password === config.password) return context.accept();
    if (context.method === "keyboard-interactive") {
      return context.prompt([{ prompt: "Password: ", echo: false }], "login", "for a test", (answers) => {
        if (answers.length === 1 && answers[0] === config.password) context.accept();
        else context.reject(rest);
      });
    }
    if (context.method === "publickey") {
      const key = authorized.find((one) =>
        one.type === context.key.algo && one.getPublicSSH().equals(context.key.data)
      );
      if (key !== undefined) {
        if (!context.signature || key.verify(context.blob, context.signature, context.hashAlgo) === true) {
          return context.accept();
        }
      }
    }
    context.reject(rest);
  });
  client.on("ready", () => {
    if (config.forwards) serveForwards(client);
    client.on("session", (accept) => {
      const session = accept();
      session.on("sftp", (acceptSftp) => serveFiles(acceptSftp(), utils.sftp));
      session.on("exec", (acceptExec, _reject, info) => {
        const stream = acceptExec();
        const child = spawn("/bin/sh", ["-c", info.command]);
        child.stdin.on("error", () => {});
        stream.pipe(child.stdin);
        child.stdout.pipe(stream, { end: false });
        child.stderr.pipe(stream.stderr, { end: false });
        child.on("close", (code) => {
          stream.exit(code ?? 1);
          stream.end();
        });
      });
    });
  });
});
server.listen(config.port, "127.0.0.1");
