/** Which line of authorized_keys lets a key in, and what its options grant; handlers made of it. */
import { assert, assertEquals, assertFalse, assertRejects, assertThrows } from "@std/assert";
import { authorizedKeys, type AuthorizedKeysOptions, matchAuthorizedKey } from "../../lib/auth/authorized_keys.ts";
import type { Grant } from "../../lib/auth/grants.ts";
import { publicKey } from "../../lib/auth/methods.ts";
import type { AuthInfo, AuthResult } from "../../lib/auth/types.ts";
import { SshAuthError, SshError } from "../../lib/errors.ts";
import { parsePublicKey } from "../../lib/keys/public_key.ts";
import { generateKey } from "../../lib/keys/private_key.ts";
import type { RejectedLine } from "../../lib/keys/trust/authorized_keys.ts";
import type { ServerSession } from "../../lib/session/server_session.ts";
import { join, text } from "../_support/joined.ts";
import { opensshKeys } from "../_support/key_vectors.ts";
import { scratchDir } from "../_support/keys.ts";

const words = (i: number): string => opensshKeys()[i]!.public.split(" ").slice(0, 2).join(" ");
const a = words(0), b = words(6), key = parsePublicKey(a);

/** Who comes from an address. */
const from = (hostname: string) => ({ remoteAddr: { transport: "tcp", hostname, port: 1 } as const });
const here = from("127.0.0.1");

/** What a line with these options grants, or null where it does not let its key in. */
function granted(options: string, client = here, how: AuthorizedKeysOptions = {}): Grant | null {
  return matchAuthorizedKey(`${options} ${a}`.trim(), key, client, how)?.grant ?? null;
}

const nothing = { pty: false, agentForwarding: false, x11Forwarding: false, portForwarding: false };

Deno.test("matchAuthorizedKey() gives a grant that says what the options of the line say, in their order", () => {
  const grants: [string, Grant][] = [
    ["", {}],
    ["restrict", nothing],
    ["no-pty,no-agent-forwarding,no-X11-forwarding,no-port-forwarding", nothing],
    ["restrict,pty,user-rc", { agentForwarding: false, x11Forwarding: false, portForwarding: false }],
    ["pty,X11-forwarding,restrict", nothing],
    ["restrict,agent-forwarding,x11-forwarding,port-forwarding,pty,no-pty", { pty: false }],
    ["no-pty,pty,no-user-rc,no-touch-required,touch-required,verify-required,no-verify-required", {}],
    [String.raw`command="a\"b\\c",tunnel="0"`, { command: String.raw`a"b\\c` }],
    ['command=""', { command: "" }],
    ['permitopen="db:5432",permitopen="[::1]:*"', { forwardOnly: { open: ["db:5432", "[::1]:*"] } }],
    ['permitlisten="8080",permitlisten="*.lan:*"', { forwardOnly: { listen: ["*:8080", "*.lan:*"] } }],
    ['restrict,port-forwarding,permitopen="a:1",permitlisten="b:2"', {
      pty: false,
      agentForwarding: false,
      x11Forwarding: false,
      forwardOnly: { open: ["a:1"], listen: ["b:2"] },
    }],
    ['expiry-time="29991231Z",expiry-time="20991231235958Z"', { expires: new Date("2099-12-31T23:59:58Z") }],
    ['expiry-time="209906010203"', { expires: new Date(2099, 5, 1, 2, 3) }],
  ];
  for (const [options, grant] of grants) assertEquals(granted(options), grant, options);
});

Deno.test("matchAuthorizedKey() sets the variables that it is told to, and the first value of each", () => {
  const line = 'environment="A_1=x=y",environment="LC_ALL=C",environment="LC_ALL=de",environment="__proto__=1"';
  assertEquals(granted(line), {});
  assertEquals(granted(line, here, { environment: ["LC_*", "a?"] }), { environment: { LC_ALL: "C" } });
  const { environment } = granted(line, here, { environment: true })!;
  assertEquals(Object.entries(environment!), [["A_1", "x=y"], ["LC_ALL", "C"], ["__proto__", "1"]]);
  for (const amiss of ["A", "=x", "A-B=x", "A B=x", ""]) assertEquals(granted(`environment="${amiss}"`), null, amiss);
});

Deno.test("matchAuthorizedKey() lets in by from= only who comes from a listed address", () => {
  const yes: [string, string][] = [
    ["*", "::1"],
    ["10.1.2.3", "10.1.2.3"],
    ["10.0.0.0/8,192.168.*", "192.168.1.1"],
    ["10.1.2.128/25", "10.1.2.200"],
    ["0.0.0.0/0", "8.8.8.8"],
    ["::/0", "2001:db8::1"],
    ["2001:DB8::/33", "2001:db8:7fff::1"],
    ["2001:db8:*", "2001:db8::1"],
    ["0:0:0:0:0:0:0:1", "::1"],
    ["fe80::/10", "fe80::1%eth0"],
    ["10.0.0.0/8", "::ffff:10.1.2.3"],
    ["::ffff:10.0.0.0/104", "10.1.2.3"],
    ["!10.2.0.0/16,10.0.0.0/8", "10.1.2.3"],
    ["example.com,10.?.2.3", "10.1.2.3"],
  ];
  for (const [list, address] of yes) assertEquals(granted(`from="${list}"`, from(address)), {}, `${list} ${address}`);
  const no: [string, string][] = [
    ["10.1.2.3", "10.1.2.30"],
    ["10.1.2.128/25", "10.1.2.127"],
    ["2001:db8::/33", "2001:db8:8000::1"],
    ["0.0.0.0/0", "::1"],
    ["::/0", "8.8.8.8"],
    ["10.0.0.0/8,!10.1.*", "10.1.2.3"],
    ["!10.1.2.3", "10.1.2.3"],
    ["!10.1.2.3", "10.1.2.4"],
    ["*,!::ffff:10.1.2.3", "10.1.2.3"],
    ["!fe80*,*", "fe80::1"],
    ["localhost,*.example.com,example.com", "127.0.0.1"],
    ["127.1", "127.0.0.1"],
    ["*", ""],
    ["*", "example.com"],
    ["10.0.0.1/8", "10.0.0.1"],
    ["10.0.0.0/33,10.0.0.0/8", "10.0.0.1"],
    ["10.0.0.0/-1", "10.0.0.1"],
    ["10.0.0.0/,*", "10.0.0.1"],
    ["*,", "10.0.0.1"],
    ["", "10.0.0.1"],
    ["!,*", "10.0.0.1"],
    ["!bad.example.com,*", "10.0.0.1"],
    ["!bad.cafe,*", "10.0.0.1"],
    ["!*.cafe,*", "10.0.0.1"],
    ["!127.1,*", "127.0.0.1"],
    ["!0177.0.0.1,*", "127.0.0.1"],
  ];
  for (const [list, address] of no) assertEquals(granted(`from="${list}"`, from(address)), null, `${list} ${address}`);
  // Who comes from nowhere that is known stands in no list.
  assertEquals(matchAuthorizedKey(`from="*" ${a}\nno-pty ${a}`, key)?.grant, { pty: false });
  for (const client of [{}, { remoteAddr: undefined }, { remoteAddr: { transport: "unix", path: "/x" } as const }]) {
    assertEquals(matchAuthorizedKey(`from="*" ${a}`, key, client), null);
  }
});

Deno.test("matchAuthorizedKey() passes over lines that keep the key out, and tells why", () => {
  const rejected: RejectedLine[] = [];
  const lines = [
    `from="10.0.0.0/8" ${a}`,
    `expiry-time="20200101" ${a}`,
    `cert-authority ${a}`,
    `principals="alice" ${a}`,
    `verify-required ${a}`,
    `frobnicate ${a}`,
    `frobnicate ${b}`,
    `command="x",command="y" ${a}`,
    `permitopen="a:http" ${a}`,
    `tunnel="all" ${a}`,
    `# restrict ${a}`,
    `\t no-pty,from="127.0.0.1" ${a} me\r`,
    a,
  ];
  const match = matchAuthorizedKey(`\ufeff${lines.join("\n")}`, key, here, {
    onRejected: (line) => rejected.push(line),
  });
  assertEquals([match?.line, match?.comment, match?.grant], [12, "me", { pty: false }]);
  assertEquals(rejected.map(({ line, reason }) => `${line}: ${reason}`), [
    "1: the client's address does not stand in its from=",
    "2: it has expired",
    "3: it is for certificates, and this is a plain key",
    "4: it is for certificates, and this is a plain key",
    "5: it wants the user verified, which such a key cannot prove",
    "6: an option is not known or its value is amiss",
    "8: an option stands twice",
    "9: permitopen: it is no host and port",
    "10: tunnel: it is no device",
  ]);
  const throwing = () => {
    throw new Error("the log is full");
  };
  for (const onRejected of [throwing, () => Promise.reject(new Error("the log is full"))]) {
    assertEquals(matchAuthorizedKey(lines.join("\n"), key, here, { onRejected })?.line, 12);
  }
  assertThrows(() => matchAuthorizedKey(a, key, "alice" as unknown as object), TypeError, "who comes with the key");
  assertThrows(() => matchAuthorizedKey(a, key, here, { environment: "A" } as object), TypeError, "patterns of names");
  assertThrows(() => matchAuthorizedKey(a, key, here, { onrejected() {} } as object), TypeError, "`onRejected`");
});

Deno.test("matchAuthorizedKey() rejects times and forwards that are none", () => {
  for (
    const time of ["", "2099", "20990231", "20991301", "209901012460", "2099010124", "20990101Q", "00000000", "1e9"]
  ) assertEquals(granted(`expiry-time="${time}"`), null, time);
  for (const target of ["", "a", ":1", "a:", "a:0", "a:65536", "a:-1", "::1:22", "[::1:22", "a/22", "a:1:2", "a:22 "]) {
    assertEquals(granted(`permitopen="${target}"`), null, target);
    assertEquals(granted(`permitlisten="${target}"`), null, target);
  }
});

/** Says what it was started as. */
async function tell({ command, env, stdout }: ServerSession): Promise<void> {
  const writer = stdout.getWriter();
  await writer.write(new TextEncoder().encode(JSON.stringify({ command, env })));
  writer.releaseLock();
}

Deno.test("what matchAuthorizedKey() gives is what a handler answers, and its options hold in the session", async () => {
  const user = await generateKey(), line = `restrict,command="only this",environment="A=1" ${user.publicKey}`;
  const how = { environment: true };
  await using joined = await join({
    auth: { publicKey: (info, key) => info.username === "alice" ? matchAuthorizedKey(line, key, info, how) : null },
    handler: tell,
    allowForward: () => true,
  }, { auth: [publicKey(user)] });
  const { client } = joined;
  assertEquals(JSON.parse(text((await client.exec("id")).stdout)), {
    command: "only this",
    env: { A: "1", SSH_ORIGINAL_COMMAND: "id" },
  });
  await assertRejects(() => client.spawn("x", { pty: true }), SshError, "no terminal");
  await assertRejects(() => client.dial({ hostname: "127.0.0.1", port: 1 }), SshError, "prohibited");
});

Deno.test("a handler that answers true to a line with options lets nobody in, and the server's onError is told", async () => {
  const user = await generateKey(), errors: unknown[] = [];
  const attempt = (line: string, answer: (found: boolean) => AuthResult) =>
    join({
      auth: { publicKey: (info, key) => answer(matchAuthorizedKey(line, key, info) !== null), password: () => false },
      onError: (error) => errors.push(error),
    }, { auth: [publicKey(user)] });
  for (
    const answer of [(found: boolean) => found, (found: boolean): AuthResult => found && { partial: ["password"] }]
  ) {
    await assertRejects(() => attempt(`no-pty ${user.publicKey}`, answer), SshAuthError);
    assert(String(errors.pop()).includes("return what matchAuthorizedKey() gave"));
  }
  // A line that says no more than yes, and a handler with a grant of its own.
  await using plain = await attempt(`${user.publicKey}`, (found) => found);
  await using own = await attempt(`no-pty ${user.publicKey}`, (found) => found && { grant: { pty: true } });
  assertEquals([plain.errors, own.errors, errors], [[], [], []]);
});

Deno.test("permitopen= and permitlisten= take forwards away, and give none that the server does not", async () => {
  const user = await generateKey();
  using target = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = target.addr as Deno.NetAddr;
  const attempt = (options: string, allowed: boolean | undefined) =>
    join({
      auth: { publicKey: authorizedKeys(`${options} ${user.publicKey}`) },
      ...allowed === undefined ? {} : { allowForward: () => allowed },
    }, { auth: [publicKey(user)] });
  const options = `permitopen="127.0.0.1:${port}"`;
  for (const [allowed, hostname] of [[undefined, "127.0.0.1"], [false, "127.0.0.1"], [true, "127.0.0.2"]] as const) {
    await using joined = await attempt(options, allowed);
    await assertRejects(() => joined.client.dial({ hostname, port }), SshError, "prohibited");
  }
  await using joined = await attempt(options, true);
  await using _conn = await joined.client.dial({ hostname: "127.0.0.1", port });
  (await target.accept()).close();
  // The other direction is not narrowed.
  await using _listener = await joined.client.listen({ hostname: "127.0.0.1", port: 0 });
});

const info = { username: "alice", ...here } as AuthInfo;

Deno.test("authorizedKeys() reads a text, and a file each time, and lets nobody in by one that is not there", async () => {
  const dir = scratchDir(), path = `${dir}/authorized_keys`;
  assertEquals((await authorizedKeys(`no-pty ${a}`)(info, key) as { grant: Grant }).grant, { pty: false });
  for (const none of ["", "\n", "  ", "# nobody"]) assertEquals(await authorizedKeys(none)(info, key), false);
  const odd = `${dir}/the keys #1`;
  Deno.writeTextFileSync(odd, a);
  assert(await authorizedKeys(odd)(info, key));
  for (const source of [path, new URL(`file://${path}`), `file://${path}`, () => path]) {
    const handler = authorizedKeys(source);
    assertEquals(await handler(info, key), false);
    Deno.writeTextFileSync(path, `\ufeff${b}\r\n${a}\r\n`, { mode: 0o644 });
    assertEquals((await handler(info, key) as { line: number }).line, 2);
    Deno.writeTextFileSync(path, `${b}\n#${a.slice(1)}\n`);
    assertEquals(await handler(info, key), false);
    Deno.removeSync(path);
  }
  const asked: string[] = [];
  const byName = authorizedKeys(({ username }) => (asked.push(username), username === "alice" ? a : null));
  assert(await byName(info, key));
  assertFalse(await byName({ ...info, username: "bob" }, key));
  assertEquals(asked, ["alice", "bob"]);
});

Deno.test("authorizedKeys() throws for a file that others may write, that is none, or is too long", async () => {
  const dir = scratchDir(), path = `${dir}/authorized_keys`, handler = authorizedKeys(path);
  Deno.writeTextFileSync(path, a);
  for (const mode of [0o664, 0o646]) {
    Deno.chmodSync(path, mode);
    await assertRejects(() => handler(info, key), SshError, "can be written by its group or by everybody");
    assert(await authorizedKeys(path, { insecureWritable: true })(info, key));
  }
  Deno.chmodSync(path, 0o600);
  Deno.writeTextFileSync(path, `${a}\n${"#".repeat(1_048_576)}`);
  await assertRejects(() => handler(info, key), SshError, "at most 1048576 are read");
  Deno.writeTextFileSync(path, `${a}\n`.padEnd(1_048_576, "#"));
  assert(await handler(info, key));
  await assertRejects(() => authorizedKeys(dir)(info, key), SshError, "is no file");
  await assertRejects(() => authorizedKeys("/dev/zero")(info, key), SshError, "is no file");
  assertThrows(() => authorizedKeys(new URL("https://example.com/keys")), TypeError, "only files are read");
  assertThrows(() => authorizedKeys(a, { insecureWritable: 1 } as object), TypeError, "true or false");
  assertThrows(() => authorizedKeys(5 as unknown as string), TypeError, "a path");
  await assertRejects(() => authorizedKeys(() => undefined as unknown as null)(info, key), TypeError, "a path");
});

Deno.test("a huge text of authorized_keys takes no more than its own length of time", () => {
  const many = `restrict ${b}\n`.repeat(50_000), long = `command="${"x".repeat(5_000_000)}" ${a}\n`;
  const rejected: RejectedLine[] = [];
  const found = matchAuthorizedKey(many + long + a, key, here, { onRejected: (line) => rejected.push(line) });
  assertEquals([found?.line, rejected.map(({ line }) => line)], [50_002, [50_001]]);
});
