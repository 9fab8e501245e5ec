import { assert, assertEquals, assertFalse, assertMatch, assertRejects, assertThrows } from "@std/assert";
import { HostKeyChangedError, HostKeyError, HostKeyRevokedError, HostKeyUnknownError } from "../../lib/errors.ts";
import { hostHash } from "../../lib/keys/trust/host_hash.ts";
import { lookupName, wildcardMatch } from "../../lib/keys/trust/host_patterns.ts";
import {
  hashHostname,
  insecureAcceptAnyHostKey,
  knownHostKeyTypes,
  knownHosts,
  parseKnownHosts,
  pinnedHostKey,
} from "../../lib/keys/trust/known_hosts.ts";
import { parsePublicKey } from "../../lib/keys/public_key.ts";
import type { PublicKey } from "../../lib/keys/types.ts";
import { opensshKeys, utf8 } from "../_support/key_vectors.ts";

const line = (i: number) => opensshKeys()[i]!.public.split(" ").slice(0, 2).join(" ");
const key = (i: number) => parsePublicKey(line(i));
/** Two keys of one type, and one of another. */
const [a, b, other] = [6, 7, 1];

type Outcome = "known" | "changed" | "unknown" | "revoked";

async function ask(
  text: string | readonly string[],
  offered: PublicKey,
  hostname: string,
  port = 22,
): Promise<Outcome> {
  try {
    assertEquals(await knownHosts(text)(offered, { hostname, port }), true);
    return "known";
  } catch (error) {
    if (error instanceof HostKeyRevokedError) return "revoked";
    if (error instanceof HostKeyChangedError) return "changed";
    if (error instanceof HostKeyUnknownError) return "unknown";
    throw error;
  }
}

Deno.test("knownHosts() finds a host by plain, wildcard and negated names and ports", async () => {
  const cases: [hosts: string, hostname: string, port: number, Outcome][] = [
    ["example.com", "example.com", 22, "known"],
    ["example.com", "EXAMPLE.com", 22, "known"],
    ["Example.COM", "example.com", 22, "known"],
    ["example.com", "xexample.com", 22, "unknown"],
    ["example.com", "example.comx", 22, "unknown"],
    ["example.com", "example.com", 2222, "unknown"],
    ["[example.com]:2222", "example.com", 2222, "known"],
    ["[example.com]:2222", "example.com", 22, "unknown"],
    ["[example.com]:22", "example.com", 22, "unknown"],
    ["a,b,example.com", "example.com", 22, "known"],
    ["192.0.2.1", "192.0.2.1", 22, "known"],
    ["2001:db8::1", "2001:db8::1", 22, "known"],
    ["2001:db8::1", "[2001:db8::1]", 22, "known"],
    ["[2001:db8::1]:2222", "2001:db8::1", 2222, "known"],
    ["*.example.com", "a.example.com", 22, "known"],
    ["*.example.com", "a.b.example.com", 22, "known"],
    ["*.example.com", "example.com", 22, "unknown"],
    ["h?st", "host", 22, "known"],
    ["h?st", "hst", 22, "unknown"],
    ["*", "anything", 22, "known"],
    ["*", "anything", 2222, "known"],
    ["[*]:2222", "anything", 2222, "known"],
    ["*.example.com,!bad.example.com", "good.example.com", 22, "known"],
    ["*.example.com,!bad.example.com", "bad.example.com", 22, "unknown"],
    ["!bad.example.com,*.example.com", "bad.example.com", 22, "unknown"],
    ["!bad.example.com", "good.example.com", 22, "unknown"],
    // Empty patterns name nothing, and spoil nothing: `@revoked host, …` is a revocation for ssh, and has to be one here.
    ["example.com,", "example.com", 22, "known"],
    [",example.com", "example.com", 22, "known"],
    ["example.com,!", "example.com", 22, "known"],
    [",,!", "example.com", 22, "unknown"],
    ["*,\u007f,\u00e9", "example.com", 22, "known"],
    [`${"*".repeat(1022)},example.com`, "example.com", 22, "known"],
    [`example.com,${"x".repeat(1023)}`, "example.com", 22, "unknown"],
  ];
  for (const [hosts, hostname, port, outcome] of cases) {
    assertEquals(await ask(`${hosts} ${line(a)}`, key(a), hostname, port), outcome, `${hosts} for ${hostname}:${port}`);
    assertEquals(
      await ask(`${hosts} ${line(a)}`, key(b), hostname, port),
      outcome === "known" ? "changed" : outcome,
      `${hosts} for ${hostname}:${port}, another key`,
    );
  }
});

Deno.test("knownHosts() finds a host by its hashed name", async () => {
  const salt = Uint8Array.from({ length: 20 }, (_, i) => i);
  for (const [hostname, port] of [["example.com", 22], ["example.com", 2222], ["2001:db8::1", 22]] as const) {
    const text = `${await hashHostname(hostname, port, salt)} ${line(a)} comment`;
    assertMatch(text, /^\|1\|AAECAwQFBgcICQoLDA0ODxAREhM=\|/);
    assertEquals(await ask(text, key(a), hostname, port), "known");
    assertEquals(await ask(text, key(a), hostname.toUpperCase(), port), "known");
    assertEquals(await ask(text, key(b), hostname, port), "changed");
    assertEquals(await ask(text, key(a), hostname, port + 1), "unknown");
    assertEquals(await ask(`@revoked ${text}`, key(a), hostname, port), "revoked");
  }
  assertFalse(await hashHostname("h") === await hashHostname("h"));
  await assertRejects(() => hashHostname("h", 22, new Uint8Array(19)), RangeError);
  const good = await hashHostname("h", 22, salt);
  for (
    const bad of [
      good + ",h",
      good + "|",
      good.replace("|1|", "|2|"),
      good.slice(0, -4),
      good.replace("AAEC", "AAE"),
      "|1|",
      "|",
      "|1|AAAA|AAAA",
    ]
  ) assertEquals(await ask(`${bad} ${line(a)}`, key(a), "h"), "unknown", bad);
});

Deno.test("knownHosts() lets @revoked win, wherever it stands", async () => {
  for (
    const text of [
      `host ${line(a)}\n@revoked host ${line(a)}`,
      `@revoked host ${line(a)}\nhost ${line(a)}`,
      `@revoked * ${line(a)}\nhost ${line(a)}`,
      `host ${line(a)}\n@revoked h*,!other ${line(a)}`,
      `@revoked host ${line(a)}`,
      `host ${line(b)}\n@revoked host ${line(a)}`,
      `@cert-authority host ${line(a)}\n@revoked host ${line(a)}\nhost ${line(a)}`,
    ]
  ) {
    assertEquals(await ask(text, key(a), "host"), "revoked", text);
    assertEquals(await ask(text.split("\n"), key(a), "host"), "revoked", "each line a text of its own");
  }
  assertEquals(await ask(`@revoked * ${line(b)}\nhost ${line(a)}`, key(a), "host"), "known");
  assertEquals(await ask(`@revoked host ${line(a)}`, key(b), "host"), "unknown");
  // At whichever port, where none is named.
  assertEquals(await ask(`@revoked host ${line(a)}\n[host]:2222 ${line(a)}`, key(a), "host", 2222), "revoked");
  const both = `@revoked host ${line(a)}\n[host]:2222 ${line(a)}\n[host]:2222 ${line(other)}`;
  assertEquals(await knownHostKeyTypes(both, "host", 2222), [key(other).type]);
  assertEquals(await ask(`@revoked [host]:2222 ${line(a)}\nhost ${line(a)}`, key(a), "host"), "known");
});

Deno.test("knownHosts() trusts no plain key by a @cert-authority line", async () => {
  assertEquals(await ask(`@cert-authority * ${line(a)}`, key(a), "host"), "unknown");
  assertEquals(await ask(`@cert-authority * ${line(a)}\nhost ${line(b)}`, key(a), "host"), "changed");
});

Deno.test("knownHosts() passes over malformed lines", async () => {
  const malformed = [
    "host",
    "host ssh-ed25519",
    `host ${line(a).replace("ssh-ed25519", "ssh-rsa")}`,
    `host ${line(a).slice(0, -3)}`,
    `host ${line(a)}=`,
    `host ssh-ed25519 AAAA`,
    `host ssh-ed25519 ////`,
    `@revoked @cert-authority host ${line(b)}`,
    `@cert-authority @revoked host ${line(b)}`,
    `@revoked @revoked host ${line(b)}`,
    `@unknown host ${line(b)}`,
    `@ host ${line(b)}`,
    `@REVOKED host ${line(b)}`,
    `host\u00a0${line(b)}`,
    `\u00a0host ${line(b)}`,
    `host ${line(b).replace(" ", "\u00a0")}`,
    `host 2048 65537 12345`,
    `# host ${line(b)}`,
    "",
    "   ",
    "\0",
  ];
  for (const bad of malformed) assertEquals(parseKnownHosts(bad, "file", "host"), [], JSON.stringify(bad));
  const text = [...malformed, ` \t host\t${line(a)}\tcomment # more\r`, ...malformed].join("\n");
  assertEquals(await ask(text, key(a), "host"), "known");
  assertEquals(await ask(text, key(b), "host"), "changed");
  assertEquals(parseKnownHosts(text, "file", "host").map((entry) => entry.place.line), [malformed.length + 1]);
  // As in C, a line ends at a NUL.
  assertEquals(await ask(`host ${line(a)}\0nothing of it`, key(a), "host"), "known");
  assertEquals(await ask(`@revoked * ${line(a)}\0\r`, key(a), "host"), "revoked");
});

Deno.test("knownHosts() takes any of a host's keys, and says which ones it expected", async () => {
  const text = `# comment\nhost ${line(a)}\nhost,alias ${line(other)}\nhost ssh-future AAAACnNzaC1mdXR1cmU=`;
  assertEquals(await ask(text, key(a), "host"), "known");
  assertEquals(await ask(text, key(other), "host"), "known");
  assertEquals(await ask(text, key(a), "alias"), "changed");
  const error = await assertRejects(
    async () => void await knownHosts([text, `host ${line(0)}`])(key(b), { hostname: "host", port: 22 }),
    HostKeyChangedError,
  );
  assertEquals(error.code, "HOST_KEY_REJECTED");
  assertEquals(error.places.map(({ file, line }) => `${file}:${line}`), [
    "known_hosts text 1:2",
    "known_hosts text 1:3",
    "known_hosts text 1:4",
    "known_hosts text 2:1",
  ]);
  for (
    const part of [
      '"host"',
      `ssh-ed25519 ${opensshKeys()[a]!.fingerprint} (known_hosts text 1:2)`,
      `ecdsa-sha2-nistp256 ${opensshKeys()[other]!.fingerprint} (known_hosts text 1:3)`,
      "ssh-future SHA256:",
      `offered ssh-ed25519 ${opensshKeys()[b]!.fingerprint}`,
      'ssh-keygen -R "host"',
    ]
  ) assert(error.message.includes(part), `${error.message} holds ${part}`);
});

Deno.test("knownHosts() says for an unknown host what it offered, where it looked, and the line to add", async () => {
  const error = await assertRejects(
    async () => void await knownHosts("")(key(a), { hostname: "Host", port: 2222 }),
    HostKeyUnknownError,
  );
  for (
    const part of [
      "[host]:2222",
      "ssh-ed25519",
      opensshKeys()[a]!.fingerprint,
      "known_hosts text",
      `[host]:2222 ${line(a)}`,
    ]
  ) {
    assert(error.message.includes(part), `${error.message} holds ${part}`);
  }
  assertEquals(await ask(error.message.slice(error.message.lastIndexOf("[host]")), key(a), "host", 2222), "known");
});

Deno.test("knownHosts() looks up no name that could mean something else in a file", async () => {
  for (
    const hostname of [
      "",
      "a b",
      "a\nb",
      "*",
      "a?",
      "!a",
      "a,b",
      "|1|a|b",
      "#a",
      "@a",
      "[a",
      "a\u00a0b",
      "a\0",
      "$(id)`x`",
      "x".repeat(1025),
    ]
  ) {
    await assertRejects(
      async () => void await knownHosts(`* ${line(a)}`)(key(a), { hostname, port: 22 }),
      HostKeyError,
    );
  }
  assertEquals(lookupName("[::1]", 22), "::1");
  assertEquals(lookupName("fe80::1%eth0", 2200), "[fe80::1%eth0]:2200");
});

Deno.test("knownHosts() without text reads the user's files at each connection", async () => {
  const home = await Deno.makeTempDir();
  const before = Deno.env.get("HOME");
  try {
    Deno.env.set("HOME", home);
    const verify = knownHosts();
    const host = { hostname: "host.amiko.invalid", port: 22 };
    const unknown = await assertRejects(async () => void await verify(key(a), host), HostKeyUnknownError);
    for (const file of [`${home}/.ssh/known_hosts`, `${home}/.ssh/known_hosts2`, "/etc/ssh/ssh_known_hosts"]) {
      assert(unknown.message.includes(file), unknown.message);
    }
    assertEquals(await verify.keyTypes(host), []);
    await Deno.mkdir(`${home}/.ssh`);
    await Deno.writeTextFile(`${home}/.ssh/known_hosts2`, `\nhost.amiko.invalid ${line(a)}\n`);
    assertEquals(await verify(key(a), host), true);
    assertEquals(await verify.keyTypes(host), ["ssh-ed25519"]);
    const changed = await assertRejects(async () => void await verify(key(b), host), HostKeyChangedError);
    assertEquals(changed.places, [{ file: `${home}/.ssh/known_hosts2`, line: 2 }]);
    await Deno.writeTextFile(`${home}/.ssh/known_hosts`, `@revoked * ${line(a)}\n`);
    await assertRejects(async () => void await verify(key(a), host), HostKeyRevokedError);
    // What cannot be read might hold a revocation.
    await Deno.remove(`${home}/.ssh/known_hosts`);
    await Deno.mkdir(`${home}/.ssh/known_hosts`);
    await assertRejects(async () => void await verify(key(a), host), HostKeyError, "cannot be read");
  } finally {
    if (before === undefined) Deno.env.delete("HOME");
    else Deno.env.set("HOME", before);
    await Deno.remove(home, { recursive: true });
  }
});

Deno.test("knownHostKeyTypes() lists types in order without revoked keys", async () => {
  const text = `*.net ${line(4)}\nhost ${line(other)}\nh* ${line(a)}\nhost ${line(b)}\n@cert-authority * ${
    line(2)
  }\n@revoked * ${line(other)}`;
  assertEquals(await knownHostKeyTypes(text, "host"), ["ssh-ed25519"]);
  assertEquals(await knownHostKeyTypes(text, "host.net", 22), ["ssh-rsa", "ssh-ed25519"]);
  assertEquals(await knownHostKeyTypes([text, `[host]:2 ${line(3)}`], "host", 2), ["ecdsa-sha2-nistp521"]);
  assertEquals(await knownHostKeyTypes(text, "other"), []);
  assertEquals(await knownHosts(text).keyTypes({ hostname: "host", port: 22 }), ["ssh-ed25519"]);
});

Deno.test("knownHosts() looks through thousands of hashed lines and a line of a megabyte", async () => {
  const hashed = await hashHostname("somewhere.else");
  const long = [
    "x".repeat(1e6),
    `${" ".repeat(1e6)}host`,
    `host ${"\t".repeat(1e6)}x`,
    `${"*a".repeat(5e5)} ${line(b)}`,
    `${"host,".repeat(2e5)} ${line(b)}`.replace(line(b), `ssh-ed25519 ${"A".repeat(1e6)}`),
    `@revoked ${"@".repeat(1e6)}`,
    `other ${line(b)} ${"comment ".repeat(1e5)}`,
  ];
  const text = `${hashed} ${line(a)}\n`.repeat(5000) + long.join("\n") + `\nhost ${line(a)}`;
  assertEquals(await ask(text, key(a), "host"), "known");
  assertEquals(await ask(text, key(b), "host"), "changed");
});

Deno.test("hostHash() is HMAC-SHA1, for names of every length", async () => {
  const salt = Uint8Array.from({ length: 20 }, (_, i) => 255 - 7 * i);
  const hmac = await crypto.subtle.importKey("raw", salt, { name: "HMAC", hash: "SHA-1" }, false, ["sign"]);
  for (let length = 0; length < 260; length++) {
    const name = "\u00e9".repeat(length % 3) + "x".repeat(length);
    const expected = new Uint8Array(await crypto.subtle.sign("HMAC", hmac, utf8(name)));
    assertEquals(hostHash(salt, name), expected, `${length}`);
  }
});

Deno.test("wildcardMatch() needs no exponential time", () => {
  assert(wildcardMatch("abc", "a*c"));
  assert(wildcardMatch("abcbc", "a*bc"));
  assert(wildcardMatch("", "***"));
  assertFalse(wildcardMatch("ab", "a"));
  assertFalse(wildcardMatch("", "?"));
  assertFalse(wildcardMatch("a".repeat(5000), "*a".repeat(200) + "b"));
});

Deno.test("pinnedHostKey() trusts its keys and no other", async () => {
  const host = { hostname: "host", port: 22 };
  for (const pin of [opensshKeys()[a]!.fingerprint, opensshKeys()[a]!.fingerprint + "=", opensshKeys()[a]!.public]) {
    assertEquals(await pinnedHostKey(pin)(key(a), host), true);
    assertEquals(await pinnedHostKey(pin)(key(b), host), false);
    assertEquals(await pinnedHostKey(utf8(pin))(key(a), host), true);
    assertEquals(await pinnedHostKey(utf8(pin))(key(b), host), false);
    assertEquals(await pinnedHostKey(opensshKeys()[b]!.public, pin)(key(a), host), true);
  }
  // A key object that lies about its fingerprint.
  const liar = { ...key(b), type: "ssh-ed25519", blob: key(b).blob, fingerprint: () => key(a).fingerprint() };
  assertEquals(
    await pinnedHostKey(opensshKeys()[a]!.fingerprint)({ ...liar, verify: () => Promise.resolve(true) }, host),
    false,
  );
  for (const bad of [[], [""], ["SHA256:abc"], ["MD5:00:11"], ["example.com"], ["*"]]) {
    assertThrows(() => pinnedHostKey(...bad), TypeError);
  }
});

Deno.test("pinnedHostKey() takes no fingerprint that is cut short or too long, wherever it is cut", async () => {
  const { fingerprint } = opensshKeys()[a]!, host = { hostname: "host", port: 22 };
  assertEquals(fingerprint.length, 50);
  for (let length = 0; length < 50; length++) {
    const cut = fingerprint.slice(0, length);
    for (const pin of [cut, `${cut}=`, cut.padEnd(50, "="), ` ${cut}`, `${cut}*`]) {
      assertThrows(() => pinnedHostKey(pin), TypeError, "neither", pin);
      assertThrows(() => pinnedHostKey(fingerprint, pin), TypeError, "neither", pin);
    }
  }
  for (
    const pin of [
      `${fingerprint}A`,
      `${fingerprint}==`,
      `${fingerprint}\n`,
      fingerprint.slice(7),
      fingerprint.toLowerCase(),
    ]
  ) {
    assertThrows(() => pinnedHostKey(pin), TypeError, "neither", pin);
  }
  // Of the right length, and another key's by its last character.
  for (const last of "AEIMQUYcgkosw048") {
    const near = fingerprint.slice(0, 49) + last;
    assertEquals(await pinnedHostKey(near)(key(a), host), near === fingerprint, near);
  }
});

Deno.test("insecureAcceptAnyHostKey() says yes", async () => {
  assertEquals(await insecureAcceptAnyHostKey()(key(a), { hostname: "host", port: 22 }), true);
});
