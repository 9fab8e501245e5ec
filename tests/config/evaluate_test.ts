/** What a configuration says of a host: blocks, passes, includes, and their bounds. */
import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { SshConfigError } from "../../lib/config/config_error.ts";
import { CONFIG, read } from "./_system.ts";

async function refusal(text: string, ...rest: [asked?: Parameters<typeof read>[1], fake?: Parameters<typeof read>[2]]) {
  return await assertRejects(() => read(text, ...rest), SshConfigError);
}

const never = (): boolean => {
  throw new Error("nothing may run");
};

Deno.test("an error names the file and the line, also of one that does not apply", async () => {
  const error = await refusal("Host other\n\n  Bogus yes\n");
  assertEquals(error.place, { file: CONFIG, line: 3 });
  assertEquals(error.code, "CONFIG_INVALID");
  assertStringIncludes(error.message, `${CONFIG}:3: "bogus" is no keyword`);
  const included = await refusal("Host x\nInclude a.conf\n", "web", {
    files: { "/home/alice/.ssh/a.conf": "# one\nPort many\n" },
  });
  assertEquals(included.place, { file: "/home/alice/.ssh/a.conf", line: 2 });
});

Deno.test("IgnoreUnknown passes over keywords behind it, and no others", async () => {
  const found = await read("IgnoreUnknown new*\nNewThing a b\nPort 3\n");
  assertEquals([found.port, [...found.settings.ignored.keys()]], [3, ["newthing"]]);
  await refusal("NewThing a\nIgnoreUnknown new*\n");
});

Deno.test("files that are included must be the user's own, lie where their paths say, and change nothing outside", async () => {
  const files = {
    "/home/alice/.ssh/conf.d/b.conf": "Host other\nUser b\n",
    "/home/alice/.ssh/conf.d/a.conf": "Host web\nUser a\n",
    "/home/alice/.ssh/conf.d/.c.conf": "User hidden\n",
    "/abs.conf": "Match all\nPort 5\n",
  };
  const found = await read("Include conf.d/*.conf ~/nothing /abs.conf\nIdentityFile here\n", "web", { files });
  assertEquals([found.username, found.port, found.all("identityfile")], ["a", 5, ["here"]]);
  assertEquals(found.happened.read, [
    `!${CONFIG}`,
    "!/home/alice/.ssh/conf.d/a.conf",
    "!/home/alice/.ssh/conf.d/b.conf",
    "!/abs.conf",
  ]);
  // A block that does not apply includes for its errors only.
  const idle = await read("Host other\nInclude /abs.conf conf.d/a.conf\nHost *\nPort 9\n", "web", { files });
  assertEquals([idle.username, idle.port], ["alice", 9]);
});

Deno.test("files that include themselves end after 16 levels, and many ways of that after 1024 files", async () => {
  const loop = await refusal("Include loop\n", "web", { files: { "/home/alice/.ssh/loop": "Include loop\n" } });
  assertStringIncludes(loop.message, "more than 16 deep");
  const files = Object.fromEntries(
    Array.from({ length: 14 }, (_, i) => [`/home/alice/.ssh/l${i}`, i === 13 ? "" : `Include l${i + 1} l${i + 1}\n`]),
  );
  const wide = await refusal("Include l0 l0 l0\n", "web", { files });
  assertStringIncludes(wide.message, "more than 1024 files");
});

Deno.test("a second pass sees the name that was found, and keeps what the first has set", async () => {
  const text = [
    ...["CanonicalizeHostname yes", "CanonicalDomains one.example two.example", "Host web", "User short"],
    ...["Host *.two.example", "User long", "Port 2", "Match canonical originalhost web", "IdentityFile id"],
  ].join("\n");
  const found = await read(text, "web", { dns: { "web.two.example.": "web.two.example." } });
  assertEquals([found.host, found.username, found.port], ["web.two.example", "short", 2]);
  assertEquals(found.all("identityfile"), ["id"]);
  assertEquals(found.happened.asked, ["web.one.example.", "web.two.example."]);
});

Deno.test("names that DNS leads to are followed where CanonicalizePermittedCNAMEs says so, and only where they are names", async () => {
  const text =
    "CanonicalizeHostname yes\nCanonicalDomains a.example\nCanonicalizePermittedCNAMEs *.a.example:*.b.example\n";
  const host = async (real: string): Promise<string> =>
    (await read(text, "web", { dns: { "web.a.example.": real } })).host;
  assertEquals(await host("real.b.example."), "real.b.example");
  assertEquals(await host("real.c.example."), "web.a.example");
  // What comes from a server of DNS gets into commands.
  assertEquals(await host("$(reboot).b.example."), "web.a.example");
  assertEquals(await host("a;b.b.example"), "web.a.example");
});

Deno.test("a name with dots enough, an address, and one behind a proxy are not looked up", async () => {
  const text = "CanonicalizeHostname yes\nCanonicalDomains a.example\n";
  for (const [more, alias] of [["", "a.b.c"], ["", "10.0.0.1"], ["", "::1"], ["ProxyJump x\n", "web"]] as const) {
    assertEquals((await read(text + more, alias)).happened.asked, []);
  }
  const always = await read(text.replace("yes", "always") + "ProxyCommand x\n", "web");
  assertEquals(always.happened.asked, ["web.a.example."]);
});

Deno.test("CanonicalizeFallbackLocal no refuses a host that no domain has", async () => {
  const text = "CanonicalizeHostname yes\nCanonicalDomains a.example\nCanonicalizeFallbackLocal no\n";
  assertStringIncludes((await refusal(text)).message, 'Cannot find host "web"');
});

Deno.test("Match exec runs nothing unless the program allows it, and then its block applies to nobody, whichever way it is asked", async () => {
  for (const criterion of ["exec", "!exec"]) {
    const found = await read(`Match ${criterion} "touch /tmp/x"\nUser evil\n`);
    assertEquals([found.username, found.happened.ran], ["alice", []]);
    assertEquals(found.happened.notices.length, 1);
    assertStringIncludes(found.happened.notices[0]!, "exec: true");
  }
  const allowed = await read('Match exec "check %h %n"\nUser bob\n', "web", { exec: true });
  assertEquals([allowed.username, allowed.happened.ran], ["bob", ["check web web"]]);
});

Deno.test("Match exec runs where it decides only: not behind a criterion that failed, nor in what is included for nothing", async () => {
  const text = 'Match host other exec "one"\nUser x\nHost other\nInclude /inc\n';
  const found = await read(text, "web", { exec: true, files: { "/inc": 'Match exec "two"\nUser y\n' } });
  assertEquals(found.happened.ran, []);
});

Deno.test("names that a shell could take for more are refused before any line is looked at", async () => {
  const text = 'Match exec "check %h %r"\nUser bob\n';
  const bad = [
    "$(x)",
    "a;b",
    "a`b`",
    "a|b",
    "a&b",
    "a b",
    "-oProxyCommand=x",
    "a\nb",
    "a'b",
    'a"b',
    "a\\b",
    "a$b",
    "(a)",
    "{a}",
  ];
  for (const alias of [...bad, "a<b", "a>b", "", "a\0b", "x".repeat(1025), "\ud800"]) {
    await refusal(text, alias, { exec: true, run: never });
  }
  for (const username of [...bad.filter((name) => name !== "a b"), "a -b"]) {
    await refusal(text, { alias: "web", username }, { exec: true, run: never });
  }
  for (const username of ["a b", "alice@EXAMPLE", "a.b-c_d+e", "übung"]) {
    assertEquals((await read("", { alias: "web", username })).username, username);
  }
  await refusal(text, { alias: "web", hostname: "$(x)" }, { exec: true });
});

Deno.test("names that the configuration itself has may be any, but a shell gets none that it could take for more", async () => {
  assertEquals((await read("User DOMAIN\\bob$\n")).username, "DOMAIN\\bob$");
  for (const line of ["User $(x)", "User a\\b", "User a;b"]) {
    await refusal(`${line}\nMatch exec "check %r"\nPort 1\n`, "web", { exec: true, run: never });
  }
  await refusal('HostName a;b\nMatch exec "check %h"\nPort 1\n', "web", { exec: true, run: never });
  await refusal('HostKeyAlias "a b"\nMatch exec "check %k"\nPort 1\n', "web", { exec: true, run: never });
  // What tokens and the environment put together is from elsewhere.
  await refusal("User ${WHO}\n", "web", { env: { WHO: "a;b" } });
  assertEquals((await read("User ${WHO}-%n\n", "web", { env: { WHO: "me" } })).username, "me-web");
});

Deno.test("what a program names beforehand comes before every line", async () => {
  const text = "User config\nPort 7\nHostName other\nProxyJump gate\nMatch user given\nCompression yes\n";
  const found = await read(text, { alias: "web", username: "given", port: 9, hostname: "10.0.0.9", jump: "none" });
  assertEquals([found.username, found.port, found.host, found.hops.length], ["given", 9, "10.0.0.9", 0]);
  assertEquals(found.get("compression"), "yes");
});

Deno.test("long lines and long files take a moment, and patterns of a megabyte do not match slowly", async () => {
  const stars = "*a".repeat(500_000);
  const found = await read(`Host ${stars} ${"?".repeat(500_000)} w*b\nPort 3\nUser ${"u".repeat(1_000_000)}\n`);
  assertEquals([found.port, found.username.length], [3, 1_000_000]);
  const many = await read(`${"Host nobody\nPort 5\n".repeat(40_000)}Host web\nPort 6\n`);
  assertEquals(many.port, 6);
});

Deno.test("a configuration has an end: too many lines, words and forwards are refused", async () => {
  const files = { "/home/alice/.ssh/long": "Host a\n".repeat(70_000) };
  const long = await refusal("Include long\nInclude long\nInclude long\n", "web", { files });
  assertStringIncludes(long.message, "more than 200000 lines");
  await refusal(`SendEnv ${"A ".repeat(100_001)}`);
  await refusal(Array.from({ length: 1025 }, (_, i) => `LocalForward ${i + 1} a:1`).join("\n"));
  await refusal(Array.from({ length: 101 }, (_, i) => `IdentityFile ${i}`).join("\n"));
});

Deno.test("tokens stand for what they should, and others are refused", async () => {
  const text = "HostName real.%h\nUser bob\nPort 7\nHostKeyAlias KEY\nProxyJump g@gate:9\nControlPath ";
  const path = async (value: string): Promise<string | undefined> => (await read(text + value)).get("controlpath");
  assertEquals(
    await path("/%%-%d-%h-%i-%j-%k-%L-%l-%n-%p-%r-%u"),
    "/%-/home/alice-real.web-1000-gate-key-desk-desk.example-web-7-bob-alice",
  );
  // SHA-1 of desk.examplereal.web7bobgate.
  assertEquals((await path("/%C"))?.length, 41);
  assertEquals(await path("~/x"), "/home/alice/x");
  for (const bad of ["%x", "%", "%f", "${A", "${}", "${A-B}", "${UNSET}", "~bob/x"]) {
    await assertRejects(() => path(`/${bad}`.replace("/~", "~")), SshConfigError);
  }
});

Deno.test("an environment variable stands where OpenSSH looks for one", async () => {
  const env = { SOCK: "/run/s", HOME: "/h" };
  const found = await read("IdentityAgent ${SOCK}.a\nUserKnownHostsFile ${HOME}/k\nSetEnv A=${SOCK}\n", "web", { env });
  assertEquals(found.get("identityagent"), "/run/s.a");
  assertEquals([found.all("userknownhostsfile"), found.all("setenv")], [["/h/k"], ["A=/run/s"]]);
});
