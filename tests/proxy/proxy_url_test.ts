import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { checkTarget, parseProxy } from "../../lib/proxy/proxy_url.ts";
import { proxyOfEnvironment } from "../../lib/proxy/environment.ts";

Deno.test("parseProxy() reads kind, host, port and login", () => {
  const none = { username: null, password: "" };
  const cases: Record<string, unknown> = {
    "socks5://p": { kind: "socks5", hostname: "p", port: 1080, ...none },
    "SOCKS5H://p:1/": { kind: "socks5", hostname: "p", port: 1, ...none },
    "socks5://u:p%40%3A%2F%25@[::1]:65535": {
      kind: "socks5",
      hostname: "::1",
      port: 65535,
      username: "u",
      password: "p@:/%",
    },
    "socks4a://me@192.0.2.1": { kind: "socks4a", hostname: "192.0.2.1", port: 1080, username: "me", password: "" },
    "http://p": { kind: "http", hostname: "p", port: 80, ...none },
    "http://p:80": { kind: "http", hostname: "p", port: 80, ...none },
    "http://:only@p:3128": { kind: "http", hostname: "p", port: 3128, username: "", password: "only" },
  };
  for (const [url, wanted] of Object.entries(cases)) {
    assertEquals(parseProxy(url), wanted as never, url);
    assertEquals(parseProxy(new URL(url)), wanted as never, url);
  }
});

Deno.test("parseProxy() refuses what is no proxy, and shows nothing of it", () => {
  const long = "x".repeat(256);
  const wrong: [unknown, string][] = [
    [5, "a number"],
    [null, "null"],
    ["", "a URL such as"],
    ["hush:1080", "a URL such as"],
    ["ftp://u:hush@p", "none of"],
    ["socks4://p", "socks4a://"],
    ["socks://p", "socks5://"],
    ["https://u:hush@p", "none of"],
    ["socks5://u:hush@", "a URL such as"],
    ["socks5://u:hush@p:0", "1 to 65535"],
    ["socks5://u:hush@p:65536", "1 to 65535"],
    ["socks5://u:hush@p/way", "no path"],
    ["http://u:hush@p?x", "no path"],
    ["socks5://u:hush%zz@p", "%25"],
    ["socks5://u:hush%ff@p", "%25"],
    [`socks5://u:${long}@p`, "255 bytes"],
    [`socks5://${long}:hush@p`, "255 bytes"],
    ["socks5://:hush@p", "without a user name"],
    ["socks4a://u:hush@p", "no passwords"],
    ["socks4a://u%00@p", "zero bytes"],
    ["http://u%3A:hush@p", "colon"],
    ["http://u:hush%0d%0a@p", "control characters"],
  ];
  for (const [value, words] of wrong) {
    const error = assertThrows(() => parseProxy(value));
    assert(error instanceof TypeError || error instanceof RangeError, String(error));
    assertStringIncludes(error.message, words);
    assert(!error.message.includes("hush"), error.message);
  }
  parseProxy(`socks5://${long.slice(1)}:${long.slice(1)}@p`);
});

Deno.test("checkTarget() refuses hosts that a proxy cannot be asked for", () => {
  const check = (url: string, hostname: string) => checkTarget(parseProxy(url), { hostname, port: 22 });
  check("socks5://p", "::1");
  check("socks5://p", "x".repeat(255));
  assertThrows(() => check("socks5://p", "x".repeat(256)), TypeError, "255 bytes");
  assertThrows(() => check("socks4a://p", "::1"), TypeError, "SOCKS4 knows no IPv6");
  assertThrows(() => check("http://p", "a\r\nX: y"), TypeError, "control characters");
});

Deno.test("proxyOfEnvironment() reads the variables as curl does", () => {
  const of = (variables: Record<string, string>, hostname = "a.example.org") =>
    proxyOfEnvironment((name) => variables[name], hostname)?.hostname ?? null;
  assertEquals(of({}), null);
  assertEquals(of({ ALL_PROXY: "socks5://one" }), "one");
  assertEquals(of({ ALL_PROXY: "socks5://one", all_proxy: "two:3128", HTTPS_PROXY: "http://three" }), "two");
  assertEquals(of({ ALL_PROXY: "", HTTPS_PROXY: "http://three" }), "three");
  for (const list of ["*", "a.example.org", "b, EXAMPLE.org", ".example.org", "x org"]) {
    assertEquals(of({ ALL_PROXY: "socks5://one", NO_PROXY: list }), null, list);
  }
  for (const list of ["", "ample.org", "a.example.com", "x.a.example.org"]) {
    assertEquals(of({ ALL_PROXY: "socks5://one", NO_PROXY: list }), "one", list);
  }
  assertEquals(of({ ALL_PROXY: "socks5://one", no_proxy: "[::1]" }, "::1"), null);
  const networks = (list: string, hostname: string) => of({ ALL_PROXY: "socks5://one", NO_PROXY: list }, hostname);
  for (const list of ["10.0.0.0/8", "localhost,10.96.0.0/11", "10.127.1.2/32", "0.0.0.0/0"]) {
    assertEquals(networks(list, "10.127.1.2"), null, list);
  }
  for (const list of ["11.0.0.0/8", "10.64.0.0/11", "10.127.1.3/32", "10.127.1.2/33", "::/0", "10.0.0/8", "/8"]) {
    assertEquals(networks(list, "10.127.1.2"), "one", list);
  }
  assertEquals(networks("10.0.0.0/8", "ten.example.org"), "one");
  assertEquals([networks("fd00::/8", "fdab::1"), networks("fd00::/9", "fdab::1")], [null, "one"]);
  assertThrows(() => of({ ALL_PROXY: "ftp://u:hush@p" }), TypeError, "`ALL_PROXY`");
});
