/**
 * `client.sudo()` with the real sudo: passwords right and wrong, on a terminal and without, and who is refused.
 *
 * @module
 */
import { assert, assertEquals, assertInstanceOf, assertRejects, assertStringIncludes } from "@std/assert";
import { SshError } from "../../lib/errors.ts";
import { SshCommandError } from "../../lib/session/output.ts";
import type { SudoOptions } from "../../lib/session/sudo.ts";
import { password, peerTest } from "../_support/peers.ts";
import { startSudoServer } from "../_support/sudo_server.ts";

const ways: readonly SudoOptions[] = [{}, { pty: true }];

/** What it says of itself and of all that it runs under, up to sshd. */
const ANCESTRY = `p=$$; while [ "$p" -gt 1 ]; do tr '\\0' ' ' < /proc/$p/cmdline; tr '\\0' ' ' < /proc/$p/environ; echo
  set -- $(sed 's/.*)//' /proc/$p/stat); p=$2; done`;

peerTest("sudo", "sudo() runs commands by the real sudo, and its password goes nowhere else", async (t) => {
  await using server = await startSudoServer();

  await t.step("with the right password, by -S and on a terminal", async () => {
    await using client = await server.connect("asked");
    for (const way of ways) {
      const output = await client.sudo("id -un; echo err >&2; exit 3", { ...way, password });
      assertEquals([output.lines()[0], output.code], ["root", 3]);
      assertEquals(new TextDecoder().decode(output.stderr), way.pty ? "" : "err\n");
      if (way.pty) assertEquals(output.text(), "root\r\nerr\r\n");
      const ancestry = (await client.sudo(ANCESTRY, { ...way, password: () => Promise.resolve(password) })).text();
      assert(ancestry.includes("sudo") && ancestry.includes("SSH_CONNECTION"), ancestry);
      assert(!ancestry.includes(password), ancestry);
    }
    const stdin = { text: `${"line\n".repeat(50_000)}end` };
    assertEquals((await client.sudo("cat", { password, stdin })).text(), stdin.text);
    assertEquals((await client.sudo("cat >&2", { password, stdin, stderr: "stdout" })).text(), stdin.text);
    const error = await client.sudo("echo why >&2; exit 4", { password, check: true }).catch((error) => error);
    assertInstanceOf(error, SshCommandError);
    assertEquals(error.message, "Command failed with exit code 4: why");
    assertEquals(error.command, "echo why >&2; exit 4");
  });

  await t.step("with a wrong one, which is tried once", async () => {
    for (const name of ["asked", "once"]) {
      await using client = await server.connect(name);
      for (const way of ways) {
        let asked = 0;
        const wrong = (): string => `not ${password} ${asked++}`;
        const error = await client.sudo("id", { ...way, password: wrong }).catch((error) => error);
        assertInstanceOf(error, SshError);
        assertEquals([error.code, asked], ["AUTH_FAILED", 1]);
        assert(!Deno.inspect(error).includes(password), error.message);
        if (name === "asked") assertStringIncludes(error.message, "the password is wrong, as sudo asks for it again");
        else assertStringIncludes(error.message, "1 incorrect password attempt");
      }
    }
    assert(!server.log().includes(password));
  });

  await t.step("that asks for nothing: the password is not sent to the command, whatever the shell shows", async () => {
    for (const name of ["free", "shown"]) {
      await using client = await server.connect(name);
      let asked = 0;
      const options: SudoOptions = { password: () => (asked++, password) };
      assertEquals((await client.sudo("cat", options)).text(), "");
      assertEquals((await client.sudo("cat", { ...options, stdin: { text: "in" } })).text(), "in");
      assertEquals((await client.sudo("id -un", { ...options, pty: true })).text(), "root\r\n");
      assertEquals((await client.sudo("id -un")).text(), "root\n");
      // One that knows the prompt and the word that it begins with gets nothing for them.
      const forger = `tr '\\0' '\\n' < /proc/$PPID/cmdline | sed -n '/^-p/{n;p}' | tee /dev/stderr; cat`;
      for (const way of ways) {
        const stdin = { text: "in\n\x04" }, forged = (await client.sudo(forger, { ...options, ...way, stdin })).text();
        assert(/[0-9a-f]{32}/.test(forged) && forged.includes("in"), forged);
      }
      assertEquals(asked, 0);
    }
  });

  await t.step(
    "for another user, in a directory, with variables, and with a command that is hard to quote",
    async () => {
      await using client = await server.connect("free");
      assertEquals((await client.sudo("id -un", { user: "other" })).text(), "other\n");
      assertEquals((await client.sudo("id -un", { user: "#61006" })).text(), "other\n");
      assertEquals((await client.sudo("pwd", { cwd: "/root" })).text(), "/root\n");
      const env = { A: 'it\'s\n$HOME "`id`"', _b2: "" }, shown = 'printf "%s|" "$A" "${_b2-none}"';
      assertEquals((await client.sudo(shown, { env, cwd: "/" })).text(), `${env.A}||`);
      assertEquals((await client.sudo(`printf '%s|' "it's" '$HOME' "$(echo a)" \\\\`)).text(), "it's|$HOME|a|\\|");
      assertEquals((await client.sudo("-u; echo on", { stderr: "null" })).text(), "on\n");
      assertEquals((await client.sudo("pwd", { cwd: "/missing" })).code, 2);
      const error = await client.sudo("id", { user: "nobody of that name" }).catch((error) => error);
      assertEquals([error.code, /unknown user/.test(error.message)], ["REQUEST_DENIED", true]);
    },
  );

  await t.step("that refuses, is missing, or is asked by a shell that cannot read the line", async () => {
    for (
      const [name, options, words] of [
        ["outsider", { password }, "outsider is not in the sudoers file"],
        ["outsider", { password, pty: true }, "outsider is not in the sudoers file"],
        ["onterm", { password }, "you must have a tty to run sudo (`pty: true` gives it a terminal)"],
        ["asked", {}, "a password is required (`password` is what it asks for)"],
        ["without", { password }, "sudo: not found"],
        ["foreign", { password }, "Unmatched quote"],
      ] as const
    ) {
      await using client = await server.connect(name);
      const error = await client.sudo("echo ran", options).catch((error) => error);
      assertInstanceOf(error, SshError, name);
      assertEquals(error.code, "REQUEST_DENIED", error.message);
      assertStringIncludes(error.message, `Cannot run command by sudo: `);
      assertStringIncludes(error.message, words);
      assert(!/[0-9a-f]{32}/.test(error.message) && !error.message.includes(password), error.message);
    }
    await using client = await server.connect("onterm");
    assertEquals((await client.sudo("id -un", { password, pty: true })).text(), "root\r\n");
  });

  await t.step("while a signal ends the wait", async () => {
    await using client = await server.connect("asked");
    const controller = new AbortController(), reason = new Error("enough");
    const waiting = client.sudo("cat", {
      password: () => (controller.abort(reason), new Promise<string>(() => {})),
      signal: controller.signal,
    });
    await assertRejects(() => waiting, Error, "enough");
  });
});
