/**
 * Names that change hands between the look at them and their use, at exactly that moment: what another process may do, without
 * its luck. What is opened must lie inside, or not be handed out. security.md row 125.
 */
import { assert, assertEquals } from "@std/assert";
import { SftpError } from "../../lib/errors.ts";
import type { SftpClient } from "../../lib/sftp/client.ts";
import { openRootedBackend } from "../../lib/files/rooted/backend.ts";
import { isMissing, ours, tempDir } from "../_support/sftp_peers.ts";

/** Calls `swap` once, right after a file of that name has been looked at. */
function afterLook(name: string, swap: () => void): Disposable & { readonly happened: boolean } {
  const space = Deno as { lstatSync: typeof Deno.lstatSync }, original = space.lstatSync;
  let happened = false;
  space.lstatSync = (path) => {
    const info = original(path);
    if (String(path).endsWith(`/${name}`) && !happened) {
      happened = true;
      swap();
    }
    return info;
  };
  return {
    get happened() {
      return happened;
    },
    [Symbol.dispose]: () => void (space.lstatSync = original),
  };
}

/** Each gives what it read, or null for what only writes. */
const uses: Record<string, (sftp: SftpClient, path: string) => Promise<string | null>> = {
  "reading": (sftp, path) => sftp.readTextFile(path),
  "writing": async (sftp, path) => {
    await using file = await sftp.open(path, { write: true });
    await file.write(new TextEncoder().encode("MINE"));
    return null;
  },
  "truncating": async (sftp, path) => {
    await using _file = await sftp.open(path, { write: true, truncate: true });
    return null;
  },
  "creating and truncating": async (sftp, path) => {
    await using file = await sftp.open(path, { write: true, create: true, truncate: true });
    await file.write(new TextEncoder().encode("MINE"));
    return null;
  },
  "appending": async (sftp, path) => {
    await using file = await sftp.open(path, { append: true });
    await file.write(new TextEncoder().encode("MINE"));
    return null;
  },
  "reading and writing": async (sftp, path) => {
    await using file = await sftp.open(path, { read: true, write: true, create: true });
    const into = new Uint8Array(100), count = await file.read(into);
    return new TextDecoder().decode(into.subarray(0, count ?? 0));
  },
  "changing the mode of what was opened": async (sftp, path) => {
    await using file = await sftp.open(path, { read: true });
    await file.setStat({ mode: 0o777 });
    return null;
  },
  "truncating by path": async (sftp, path) => {
    await sftp.truncate(path, 1);
    return null;
  },
};

for (const strategy of [undefined, "named"] as const) {
  const how = strategy ?? "held";
  for (const what of ["the file", "its directory"] as const) {
    Deno.test({
      name: `row 125: nothing outside is opened when ${what} and a link change places under an OPEN (${how})`,
      ignore: Deno.build.os !== "linux" || isMissing("/proc/self/status"),
      async fn() {
        for (const [use, attempt] of Object.entries(uses)) {
          await using dir = await tempDir();
          const root = `${dir.path}/root`, outside = `${dir.path}/outside`;
          await Deno.mkdir(`${root}/door`, { recursive: true });
          await Deno.mkdir(outside);
          await Deno.writeTextFile(`${root}/door/secret`, "harmless");
          await Deno.writeTextFile(`${outside}/secret`, "nobody may read this");
          await Deno.chmod(`${outside}/secret`, 0o600);
          await Deno.utime(`${outside}/secret`, 1000, 1000);
          await using backend = await openRootedBackend({ root, ...strategy === undefined ? {} : { strategy } });
          await using peer = await ours(backend);
          const swap = (): void => {
            const [old, target] = what === "the file"
              ? [`${root}/door/secret`, `${outside}/secret`]
              : [`${root}/door`, outside];
            Deno.renameSync(old, `${root}/hidden`);
            Deno.symlinkSync(target, old);
          };
          using look = afterLook("secret", swap);
          const outcome = await attempt(peer.sftp, "/door/secret").catch((error) => {
            assert(error instanceof SftpError, `${use}: ${error}`);
            return "refused";
          });
          // A file that is held is the one that was looked at, wherever its directory is by now.
          assert(outcome === null || ["harmless", "refused"].includes(outcome), `${use}: ${outcome}`);
          if (strategy === "named" || what === "the file") assertEquals(outcome, "refused", use);
          assert(look.happened, use);
          const { mode, mtime } = await Deno.stat(`${outside}/secret`);
          assertEquals([mode! & 0o777, mtime!.getTime()], [0o600, 1_000_000], `${use} changed what lies outside`);
          assertEquals(await Deno.readTextFile(`${outside}/secret`), "nobody may read this", use);
        }
      },
    });
  }

  Deno.test({
    name: `row 125: a pipe that takes the place of a file under an OPEN is not handed out (${how})`,
    ignore: Deno.build.os !== "linux" || isMissing("/proc/self/status"),
    async fn() {
      for (const [use, attempt] of Object.entries(uses)) {
        await using dir = await tempDir();
        await Deno.writeTextFile(`${dir.path}/secret`, "harmless");
        const pipe = await new Deno.Command("mkfifo", { args: [`${dir.path}/pipe`] }).output();
        assertEquals(pipe.code, 0);
        await using backend = await openRootedBackend({
          root: dir.path,
          ...strategy === undefined ? {} : { strategy },
        });
        await using peer = await ours(backend);
        using look = afterLook("secret", () => Deno.renameSync(`${dir.path}/pipe`, `${dir.path}/secret`));
        const outcome = await attempt(peer.sftp, "/secret").catch((error) => {
          assert(error instanceof SftpError, `${use}: ${error}`);
          return "refused";
        });
        assert(look.happened, use);
        assertEquals(outcome, "refused", use);
      }
    },
  });
}

Deno.test({
  name:
    "row 125: a file that was created outside, as its directory and a link changed places, is not handed out (named)",
  ignore: Deno.build.os === "windows",
  async fn() {
    for (const options of [{ createNew: true }, { create: true }, { create: true, truncate: true }]) {
      await using dir = await tempDir();
      const root = `${dir.path}/root`, outside = `${dir.path}/outside`;
      await Deno.mkdir(`${root}/door`, { recursive: true });
      await Deno.mkdir(outside);
      await using backend = await openRootedBackend({ root, strategy: "named" });
      await using peer = await ours(backend);
      using look = afterLook("door", () => {
        Deno.renameSync(`${root}/door`, `${root}/hidden`);
        Deno.symlinkSync(outside, `${root}/door`);
      });
      const outcome = await peer.sftp.open("/door/new", { write: true, ...options }).then(() => "opened", (e) => e);
      assert(outcome instanceof SftpError && look.happened, String(outcome));
      for await (const { name } of Deno.readDir(outside)) assertEquals((await Deno.stat(`${outside}/${name}`)).size, 0);
    }
  },
});
