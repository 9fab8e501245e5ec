/** What resume relies on, and files that change while they are copied. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import { SftpError } from "../../lib/errors.ts";
import { openSftp } from "../../lib/sftp/client.ts";
import { Extension, Fxp } from "../../lib/sftp/wire/constants.ts";
import { Status } from "../../lib/files/limits.ts";
import { LAST_WINDOW } from "../../lib/sftp/remote/flight_window.ts";
import * as m from "../../lib/sftp/wire/messages.ts";
import { until } from "../_support/until.ts";
import type { SftpBackend, SftpBackendInfo } from "../../lib/files/backend.ts";
import { partName } from "../../lib/files/copied.ts";
import { fileNode, memoryFiles, refusing } from "../_support/refusing_server.ts";
import {
  idOf,
  isMissing,
  OPENSSH_SERVER,
  ours,
  pattern,
  pipes,
  RawPeer,
  sha256,
  spawned,
  tempDir,
} from "../_support/sftp_peers.ts";

const openssh = { ignore: isMissing(OPENSSH_SERVER) };

Deno.test("upload() keeps no more under way than resume sends again, whatever the concurrency", async () => {
  await using dir = await tempDir();
  {
    using file = await Deno.open(`${dir.path}/f`, { write: true, create: true });
    await file.truncate(120_000_000);
  }
  const { near, far } = pipes(), peer = new RawPeer(far);
  let underWay = 0, most = 0;
  const running = (async () => {
    await peer.next();
    await peer.send(m.encodeVersion(Fxp.VERSION, 3, [[Extension.limits, "1"]]));
    let queue: Promise<void> = Promise.resolve();
    for (let payload = await peer.next(); payload !== null; payload = await peer.next()) {
      const id = idOf(payload);
      const status = m.StatusReply.encode({ id, status: Status.OK, text: "", language: "" });
      if (payload[0] === Fxp.EXTENDED && !new TextDecoder().decode(payload).includes("rename")) {
        const limits = { maxPacketLength: 262_144n, maxReadLength: 261_120n, maxWriteLength: 261_120n };
        await peer.send(m.LimitsReply.encode({ id, ...limits, maxOpenHandles: 0n }));
      } else if (payload[0] === Fxp.OPEN) {
        await peer.send(m.Handle.encode({ id, handle: new Uint8Array([1]) }));
      } else if (payload[0] === Fxp.STAT || payload[0] === Fxp.LSTAT) {
        await peer.send(m.StatusReply.encode({ id, status: Status.NO_SUCH_FILE, text: "", language: "" }));
      } else if (payload[0] === Fxp.WRITE) {
        const length = payload.length;
        most = Math.max(most, underWay += length);
        const due = new Promise<void>((resolve) => setTimeout(resolve, 100));
        queue = queue.then(async () => {
          await due;
          underWay -= length;
          await peer.send(status).catch(() => {});
        });
      } else queue = queue.then(() => peer.send(status).catch(() => {}));
    }
    await queue;
    await peer.end();
  })();
  const sftp = await openSftp(near);
  await sftp.upload(`${dir.path}/f`, "/f", { concurrency: 400 });
  await sftp.close();
  await running;
  assert(most < LAST_WINDOW + 1_000_000, `${most} bytes were under way, ${LAST_WINDOW} are sent again`);
});

Deno.test({
  name: "upload() resumes a file that nobody may write to (OpenSSH sftp-server as another user than root)",
  ignore: openssh.ignore || Deno.uid() !== 0,
  async fn() {
    await using dir = await tempDir();
    await Deno.chmod(dir.path, 0o777);
    const size = 30_000_000;
    await Deno.writeFile(`${dir.path}/src`, pattern(size));
    await Deno.chmod(`${dir.path}/src`, 0o444);
    const start = async () => {
      const child = new Deno.Command(OPENSSH_SERVER, {
        stdin: "piped",
        stdout: "piped",
        stderr: "null",
        uid: 65_534,
        gid: 65_534,
      })
        .spawn();
      const sftp = await openSftp({ readable: child.stdout, writable: child.stdin });
      return {
        sftp,
        child,
        async [Symbol.asyncDispose]() {
          await sftp.close();
          await child.status;
        },
      };
    };
    {
      await using peer = await start();
      const controller = new AbortController();
      await assertRejects(
        () =>
          peer.sftp.upload(`${dir.path}/src`, `${dir.path}/copy`, {
            signal: controller.signal,
            onProgress: ({ bytes }) => bytes > 25_000_000 && controller.abort(new Error("stop it")),
          }),
        Error,
        "stop it",
      );
    }
    await using peer = await start();
    const summary = await peer.sftp.upload(`${dir.path}/src`, `${dir.path}/copy`, { resume: true });
    assertEquals(summary.files, 1);
    assertEquals(await sha256(`${dir.path}/copy`), await sha256(`${dir.path}/src`));
  },
});

Deno.test("download() of a file that shrinks meanwhile fails and leaves nothing", async () => {
  await using dir = await tempDir();
  await Deno.mkdir(`${dir.path}/there`);
  await Deno.writeFile(`${dir.path}/there/f`, pattern(30_000_000));
  await using peer = await ours({ root: `${dir.path}/there` });
  let cut = false;
  const error = await assertRejects(() =>
    peer.sftp.download("/f", `${dir.path}/g`, {
      onProgress: ({ bytes }) => {
        if (cut || bytes === 0) return;
        cut = true;
        Deno.truncateSync(`${dir.path}/there/f`, 25_000_000);
      },
    }), SftpError);
  assert(error.message.includes("may have changed"), error.message);
  assertEquals(Array.from(Deno.readDirSync(dir.path), ({ name }) => name), ["there"]);
});

Deno.test("upload() of a file that shrinks or grows meanwhile fails, or is what it was", async () => {
  await using dir = await tempDir();
  await Deno.mkdir(`${dir.path}/there`);
  await using peer = await ours({ root: `${dir.path}/there` });
  await Deno.writeFile(`${dir.path}/f`, pattern(30_000_000));
  let changed = false;
  await assertRejects(
    () =>
      peer.sftp.upload(`${dir.path}/f`, "/f", {
        onProgress: ({ bytes }) => {
          if (changed || bytes === 0) return;
          changed = true;
          Deno.truncateSync(`${dir.path}/f`, 1000);
        },
      }),
    SftpError,
    "shorter",
  );
  assertEquals(Array.from(Deno.readDirSync(`${dir.path}/there`)), []);
  await Deno.writeFile(`${dir.path}/f`, pattern(3_000_000));
  changed = false;
  await peer.sftp.upload(`${dir.path}/f`, "/f", {
    onProgress: () => {
      if (changed) return;
      changed = true;
      Deno.writeFileSync(`${dir.path}/f`, pattern(500), { append: true });
    },
  });
  assertEquals((await Deno.stat(`${dir.path}/there/f`)).size, 3_000_000);
});

Deno.test({
  name: "upload() and download() that are aborted leave no handle open there (OpenSSH sftp-server)",
  ignore: isMissing(OPENSSH_SERVER) || isMissing("/proc/self/status"),
  async fn() {
    await using dir = await tempDir();
    await Deno.mkdir(`${dir.path}/there`);
    for (let i = 0; i < 20; i++) await Deno.writeFile(`${dir.path}/there/f${i}`, pattern(1_500_000, i + 1));
    await using peer = await spawned();
    const held = (): string[] =>
      Array.from(Deno.readDirSync(`/proc/${peer.child.pid}/fd`), ({ name }) => {
        try {
          return Deno.readLinkSync(`/proc/${peer.child.pid}/fd/${name}`);
        } catch {
          // Closed since the list was made.
          return "";
        }
      }).filter((path) => path.startsWith(dir.path));
    for (const way of ["up", "down"]) {
      const controller = new AbortController();
      let done = 0;
      const options = {
        recursive: true,
        signal: controller.signal,
        onProgress: () => ++done > 60 && controller.abort(new Error("stop it")),
      };
      await assertRejects(
        () =>
          way === "up"
            ? peer.sftp.upload(`${dir.path}/there`, `${dir.path}/up`, options)
            : peer.sftp.download(`${dir.path}/there`, `${dir.path}/down`, options),
        Error,
        "stop it",
      );
      // A handle whose answer was on its way at the abort is closed when it has come.
      await until(() => held().length === 0, `Files are still open there (${way})`);
    }
  },
});

Deno.test("upload() and download() refuse inPlace with resume, and touch nothing", async () => {
  await using dir = await tempDir();
  await Deno.mkdir(`${dir.path}/there`);
  await Deno.writeFile(`${dir.path}/there/f`, pattern(1000, 2));
  await Deno.writeFile(`${dir.path}/f`, pattern(1000, 1));
  await using peer = await ours({ root: `${dir.path}/there` });
  const options = { inPlace: true, resume: true };
  await assertRejects(() => peer.sftp.upload(`${dir.path}/f`, "/f", options), TypeError, "leave out `inPlace`");
  await assertRejects(() => peer.sftp.download("/f", `${dir.path}/f`, options), TypeError, "leave out `inPlace`");
  assertEquals(await sha256(`${dir.path}/there/f`), await sha256(pattern(1000, 2)));
  assertEquals(await sha256(`${dir.path}/f`), await sha256(pattern(1000, 1)));
});

Deno.test({
  name: "a local part that nobody may write to is continued, and keeps its bits (as another user than root)",
  ignore: Deno.build.os === "windows" || Deno.uid() !== 0,
  async fn() {
    await using dir = await tempDir();
    await Deno.chmod(dir.path, 0o777);
    const part = `${dir.path}/part`;
    await Deno.writeTextFile(part, "begun");
    await Deno.chown(part, 65_534, 65_534);
    await Deno.chmod(part, 0o444);
    // With what it takes, where that user may read it.
    const lib = new URL("../../lib/", import.meta.url).pathname, files = ["files/local_files.ts", "wire/system.ts"];
    for (const { name } of Deno.readDirSync(`${lib}system`)) files.push(`system/${name}`);
    for (const folder of ["files", "system", "wire"]) await Deno.mkdir(`${dir.path}/${folder}`);
    for (const file of files) await Deno.copyFile(`${lib}${file}`, `${dir.path}/${file}`);
    await Deno.writeTextFile(
      `${dir.path}/main.ts`,
      `import { continueLocal } from "./files/local_files.ts";
      using file = await continueLocal(${JSON.stringify(part)});
      await file.seek(5);
      await file.write(new TextEncoder().encode(" and continued"));`,
    );
    const { code, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-config", "--no-check", "-A", `${dir.path}/main.ts`],
      cwd: dir.path,
      env: { DENO_DIR: `${dir.path}/cache`, HOME: dir.path },
      uid: 65_534,
      gid: 65_534,
    }).output();
    assertEquals(code, 0, new TextDecoder().decode(stderr));
    assertEquals(await Deno.readTextFile(part), "begun and continued");
    assertEquals((await Deno.stat(part)).mode! & 0o777, 0o444);
  },
});

/** The only part in a directory. */
function partIn(path: string): string {
  const parts = Array.from(Deno.readDirSync(path), ({ name }) => name).filter((name) => name.endsWith(".part"));
  assertEquals(parts.length, 1, parts.join());
  return `${path}/${parts[0]}`;
}

Deno.test("upload() with resume writes again what may be a gap at the end of a part", async () => {
  await using dir = await tempDir();
  const there = `${dir.path}/there`, local = `${dir.path}/f`, size = LAST_WINDOW + 4_000_000;
  await Deno.mkdir(there);
  const data = pattern(size);
  await Deno.writeFile(local, data);
  await using peer = await ours({ root: there });
  for (const length of [size, size - 1, LAST_WINDOW + 1]) {
    const controller = new AbortController();
    await assertRejects(() =>
      peer.sftp.upload(local, "/f", {
        signal: controller.signal,
        onProgress: ({ bytes }) => bytes > 1_000_000 && controller.abort(new Error("stop it")),
      })
    );
    // As long as it gets when the last of what was under way arrives first: what lies before it are zeros.
    const part = partIn(there);
    await Deno.writeFile(part, data.subarray(0, length - LAST_WINDOW));
    await Deno.truncate(part, length);
    let first = -1;
    await peer.sftp.upload(local, "/f", {
      resume: true,
      onProgress: ({ bytes }) => void (first = first < 0 ? bytes : first),
    });
    assertEquals(first, length - LAST_WINDOW);
    assertEquals(await sha256(`${there}/f`), await sha256(data), String(length));
    await Deno.remove(`${there}/f`);
  }
});

Deno.test("download() with resume leaves no tail of a part that is longer than the file, nor of one whose size is given as 0", async () => {
  await using dir = await tempDir();
  const here = `${dir.path}/here`, data = pattern(300_000);
  await Deno.mkdir(here);
  for (const size of [null, 0]) {
    const files = memoryFiles(), { open, stat } = files.backend;
    files.nodes.set("/f", fileNode(data));
    const told = (info: SftpBackendInfo): SftpBackendInfo => size === null || !info.isFile ? info : { ...info, size };
    const backend: SftpBackend = {
      ...files.backend,
      stat: async (...args) => told(await stat(...args)),
      open: async (...args) => {
        const file = await open(...args), { stat } = file;
        return { ...file, stat: async () => told(await stat()), [Symbol.asyncDispose]: file[Symbol.asyncDispose] };
      },
    };
    await using peer = await refusing({ backend }, () => null);
    const controller = new AbortController();
    await assertRejects(() =>
      peer.sftp.download("/f", `${here}/f`, {
        resume: true,
        signal: controller.signal,
        onProgress: ({ bytes }) => bytes > 0 && controller.abort(new Error("stop it")),
      })
    );
    await Deno.writeFile(partIn(here), pattern(500_000));
    assertEquals((await peer.sftp.download("/f", `${here}/f`, { resume: true })).files, 1);
    assertEquals(await sha256(`${here}/f`), await sha256(data), String(size));
    await Deno.remove(`${here}/f`);
  }
});

Deno.test("download() never writes to what has the name of its part already, whatever the size", async () => {
  await using dir = await tempDir();
  const here = `${dir.path}/here`;
  await Deno.mkdir(here);
  await Deno.writeTextFile(`${dir.path}/precious`, "precious");
  for (const size of [10, 1_000_000]) {
    const files = memoryFiles(), data = pattern(size);
    files.nodes.set("/f", fileNode(data));
    const part = `${here}/${partName("f", "/f", size, 1_000_000)}`;
    for (const resume of [false, true]) {
      await Deno.symlink(`${dir.path}/precious`, part);
      await using peer = await refusing(files, () => null);
      // The name is the one that a cut copy has.
      assertEquals((await peer.sftp.download("/f", `${here}/f`, { resume })).files, 1);
      assertEquals(await Deno.readTextFile(`${dir.path}/precious`), "precious");
      assertEquals((await Deno.lstat(`${here}/f`)).isFile, true);
      assertEquals(await sha256(`${here}/f`), await sha256(data));
      assertEquals(Array.from(Deno.readDirSync(here), ({ name }) => name), ["f"]);
      await Deno.remove(`${here}/f`);
    }
  }
});
