// The client on Node and Bun, from one file that `deno bundle` has made: what works, and what each call says that cannot. The last line is what came of it.
//
//     runtime_client.mjs BUNDLE ORDERS
const [bundle, orders] = process.argv.slice(2);
const { bigServer, smallServer, dir, page } = JSON.parse(orders);
const { stdout, exit } = process, getBuiltinModule = process.getBuiltinModule.bind(process);
const { createHash, randomFillSync } = getBuiltinModule("node:crypto");
const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");
const done = {}, said = {};

/** What a call throws, by its class. */
async function errorOf(act) {
  try {
    await act();
  } catch (error) {
    return `${error.name}: ${error.message}`;
  }
  return "no error";
}

if (page) {
  for (const name of ["process", "setImmediate", "clearImmediate", "global"]) delete globalThis[name];
}
const ssh = await import(bundle);
const { connect, generateKey, insecureAcceptAnyHostKey, knownHosts, password, serveConn } = ssh;

/** A client and a server in memory. */
async function inMemory() {
  const there = new TransformStream(), back = new TransformStream();
  const served = serveConn({ readable: there.readable, writable: back.writable }, {
    hostKeys: [await generateKey()],
    auth: { password: (_info, given) => given === "wonderland" },
    handler: async (session) => {
      await session.stdin.pipeTo(session.stdout, { preventClose: true });
      return session.command === "fail" ? 3 : 0;
    },
  });
  const client = await connect({
    hostname: "test.invalid",
    username: "alice",
    auth: [password("wonderland")],
    verifyHostKey: insecureAcceptAnyHostKey(),
    transport: { readable: back.readable, writable: there.writable },
  });
  const bytes = crypto.getRandomValues(new Uint8Array(60_000));
  const output = await client.exec("fail", { stdin: bytes });
  done.inMemory = [output.code, sha256(output.stdout) === sha256(bytes)].join();
  await client.close();
  await served;
}

/** Everything at one server. */
async function atBigServer() {
  const { port, username, secret, known } = bigServer;
  const login = { hostname: "127.0.0.1", port, username, auth: [password(secret)], verifyHostKey: knownHosts(known) };
  const big = randomFillSync(new Uint8Array(30_000_000)), hash = sha256(big);
  {
    await using client = await connect(login);
    const output = await client.exec("echo hello; echo trouble >&2; exit 3");
    done.exec = [output.code, output.text(), output.stderr.length].join();
    await client.exec("echo this goes to standard output", { stdout: "inherit" });
    const [up] = await Promise.all([client.exec(`tee ${dir}/big | sha256sum`, { stdin: big }), client.rekey()]);
    done.up = String(up.text().startsWith(hash));
    await using sftp = await client.sftp();
    const [down] = await Promise.all([
      client.exec(`cat ${dir}/big`, { maxOutput: Infinity }),
      client.rekey(),
    ]);
    done.down = String(sha256(down.stdout) === hash);
    const some = big.subarray(0, 5_000_000);
    await sftp.writeFile(`${dir}/some`, some);
    done.readFile = String(sha256(await sftp.readFile(`${dir}/some`)) === sha256(some));
    const fs = getBuiltinModule("node:fs");
    fs.mkdirSync(`${dir}/tree/inner`, { recursive: true });
    fs.writeFileSync(`${dir}/tree/inner/file`, big.subarray(0, 100_000), { mode: 0o640 });
    fs.symlinkSync("inner/file", `${dir}/tree/link`);
    // With the accounts of libnss_wrapper, an sshd lists the first folder of a session twice.
    await Array.fromAsync(sftp.readDir(dir));
    await sftp.upload(`${dir}/tree`, `${dir}/there`, { recursive: true, preserve: true });
    await sftp.download(`${dir}/there`, `${dir}/back`, { recursive: true, preserve: true });
    await client.scp.download(`${dir}/there/inner/file`, `${dir}/by_scp`);
    const file = fs.statSync(`${dir}/back/inner/file`);
    done.tree = [file.size, (file.mode & 0o777).toString(8), fs.readlinkSync(`${dir}/back/link`)].join();
    done.scp = String(fs.statSync(`${dir}/by_scp`).size);
    const to = { hostname: "127.0.0.1", port };
    {
      await using inner = await connect({ ...login, jump: client });
      done.jump = await inner.$`echo ${"through"}`.text();
    }
    said.forwardLocal = await errorOf(() => client.forwardLocal({ port: 0 }, to));
    said.fetch = await errorOf(() => client.fetch("http://127.0.0.1/"));
    said.x11 = await errorOf(() => client.exec("x", { x11: true }));
    said.local = await errorOf(() => sftp.download(`${dir}/some`, `${dir}/no/such/file`));
  }
  {
    const socket = getBuiltinModule("node:net").connect(port, "127.0.0.1");
    const transport = getBuiltinModule("node:stream").Duplex.toWeb(socket);
    await using client = await connect({ ...login, transport });
    done.transport = (await client.exec("echo over a duplex")).text();
  }
  {
    await using client = await connect({ ...login, proxyCommand: ["/bin/nc", "%h", "%p"] });
    done.proxyCommand = (await client.exec("echo over a program")).text();
  }
  // By the user's own files, as `ssh` does.
  {
    await using client = await connect({ hostname: "127.0.0.1", port, username });
    done.ownFiles = (await client.exec("echo by known_hosts and id_ed25519")).text();
  }
  {
    await using client = await connect("web");
    done.alias = (await client.exec("echo by ssh_config")).text();
  }
  {
    await using agent = await ssh.connectAgent();
    const signers = await agent.signers();
    done.agent = signers.map(({ publicKey }) => publicKey.type).join();
    const auth = [ssh.publicKey(signers[0])], files = [`${dir}/known_hosts`];
    const verifyHostKey = knownHosts({ files, globalFiles: [], acceptNew: true });
    for (const _ of ["new", "known"]) {
      await using client = await connect({ ...login, auth, verifyHostKey });
      done.added = (await client.exec("echo by an agent")).text();
    }
    done.lines = String(getBuiltinModule("node:fs").readFileSync(files[0], "utf-8").trim().split("\n").length);
  }
  const failing = (more) => errorOf(() => connect({ ...login, ...more }));
  said.password = await failing({ auth: [password("another")] });
  said.hostKey = await failing({ verifyHostKey: () => false });
  said.unknown = await failing({ verifyHostKey: knownHosts({ files: [`${dir}/none`], globalFiles: [] }) });
  said.refused = await failing({ port: 1 });
  said.name = await failing({ hostname: "no.such.invalid" });
  said.program = await failing({ proxyCommand: ["/no/such/program"] });
  said.aborted = await failing({ signal: AbortSignal.abort(new Error("no longer wanted")) });
  said.serve = await errorOf(async () =>
    ssh.serve({ hostKeys: [await generateKey()], auth: { none: () => true }, handler() {} })
  );
  said.listen = await errorOf(() => ssh.createAgent().listen());
}

/** The methods of today. What is left open here does not keep the program alive. */
async function atSmallServer() {
  const { port, username, secret, known } = smallServer;
  const client = await connect({
    ...{ hostname: "127.0.0.1", port, username, auth: [password(secret)], verifyHostKey: knownHosts(known) },
  });
  done.small = [(await client.exec("echo hello")).text(), client.info.kex].join();
  client.unref();
}

await inMemory();
if (!page) {
  await atBigServer();
  await atSmallServer();
}
stdout.write(`\n${JSON.stringify({ done, said })}\n`);
// Without setImmediate() turns are made by a MessageChannel, which keeps Node alive, and matters to no page.
if (page) exit();
