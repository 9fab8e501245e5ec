// An ssh2 client for the tests: one JSON request per line on standard input, one answer per line on standard output. Its argument: the folder that
// ssh2 is installed in.
import fs, { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { promisify } from "node:util";

const { Client } = createRequire(`${process.argv[2]}/index.js`)("ssh2");

// Copies a tree to /tree and back.
async function copy(sftp, files) {
  const call = (name, ...args) => promisify(sftp[name]).call(sftp, ...args);
  const up = async (here, there) => {
    await call("mkdir", there);
    for (const entry of fs.readdirSync(here, { withFileTypes: true })) {
      const from = `${here}/${entry.name}`, to = `${there}/${entry.name}`;
      if (entry.isSymbolicLink()) await call("symlink", fs.readlinkSync(from), to);
      else if (entry.isDirectory()) await up(from, to);
      else await call("fastPut", from, to);
    }
  };
  const down = async (there, here) => {
    fs.mkdirSync(here);
    for (const { filename, attrs } of await call("readdir", there)) {
      const from = `${there}/${filename}`, to = `${here}/${filename}`;
      if (attrs.isSymbolicLink()) fs.symlinkSync(await call("readlink", from), to);
      else if (attrs.isDirectory()) await down(from, to);
      else await call("fastGet", from, to);
    }
  };
  await up(files.tree, "/tree");
  await down("/tree", `${files.back}/tree`);
  return (await call("readdir", "/tree")).map(({ filename }) => filename);
}

function answer(request) {
  return new Promise((resolve, reject) => {
    const client = new Client();
    const known = request.host_keys.map((line) => line.split(" ")[1]);
    let reply;
    client.on("error", reject);
    client.on("close", () => reply === undefined ? reject(new Error("closed")) : resolve(reply));
    client.on("keyboard-interactive", (_name, _text, _lang, prompts, finish) => {
      finish(prompts.map(() => request.password));
    });
    client.on("ready", () => {
      client.setNoDelay(true);
      if (request.files) {
        return client.sftp((error, sftp) => {
          if (error) return reject(error);
          copy(sftp, request.files).then((listing) => {
            reply = { listing };
            client.end();
          }, reject);
        });
      }
      client.exec(request.command, (error, stream) => {
        if (error) return reject(error);
        const out = [];
        const err = [];
        stream.on("data", (data) => out.push(data));
        stream.stderr.on("data", (data) => err.push(data));
        if (request.rekey) client._protocol.rekey();
        stream.on("close", (code) => {
          reply = { stdout: Buffer.concat(out).toString("base64"), stderr: Buffer.concat(err).toString(), code };
          client.end();
        });
        stream.end(Buffer.from(request.input, "base64"));
      });
    });
    client.connect({
      host: "127.0.0.1",
      port: request.port,
      username: request.username,
      hostVerifier: (key) => known.includes(key.toString("base64")),
      ...(request.key_file ? { privateKey: readFileSync(request.key_file) } : { password: request.password }),
      tryKeyboard: Boolean(request.interactive),
      authHandler: request.key_file ? ["publickey"] : request.interactive ? ["keyboard-interactive"] : ["password"],
      algorithms: request.algorithms,
    });
  });
}

for await (const line of createInterface({ input: process.stdin })) {
  let reply;
  try {
    reply = await answer(JSON.parse(line));
  } catch (error) {
    reply = { error: String(error) };
  }
  process.stdout.write(JSON.stringify(reply) + "\n");
}
