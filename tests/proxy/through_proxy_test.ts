import { assert, assertEquals, assertRejects, assertStrictEquals, assertStringIncludes } from "@std/assert";
import { SshError } from "../../lib/errors.ts";
import { parseProxy } from "../../lib/proxy/proxy_url.ts";
import { throughProxy } from "../../lib/proxy/through_proxy.ts";
import { memoryPair } from "../_support/duplex.ts";
import { inTime } from "../_support/until.ts";
import { askScripted, bytes, readExactly, type Step } from "./_proxy.ts";

const host = { hostname: "host.example", port: 2222 };
const port = [2222 >> 8, 2222 & 255] as const;
const name = [3, 12, "host.example", ...port] as const;
const done = [5, 0, 0, 1, 127, 0, 0, 1, 0, 22] as const;
const connectLine = "CONNECT host.example:2222 HTTP/1.1\r\nHost: host.example:2222\r\n";

async function refusal(url: string, steps: readonly Step[], target = host): Promise<string> {
  const error = await assertRejects(() => inTime(askScripted(url, target, steps), "the refusal"), SshError);
  assertEquals(error.code, "CONNECTION_LOST");
  return error.message;
}

const good: Readonly<Record<string, readonly [string, typeof host, readonly Step[]]>> = {
  "SOCKS5": ["socks5://p", host, [
    { expect: bytes(5, 1, 0) },
    { send: bytes(5, 0) },
    { expect: bytes(5, 1, 0, ...name) },
    { send: bytes(...done) },
  ]],
  "SOCKS5 with a login": ["socks5h://us%3Aer:se%40cret@p", host, [
    { expect: bytes(5, 2, 0, 2) },
    { send: bytes(5, 2) },
    { expect: bytes(1, 5, "us:er", 7, "se@cret") },
    { send: bytes(1, 0) },
    { expect: bytes(5, 1, 0, ...name) },
    { send: bytes(...done) },
  ]],
  "SOCKS5 whose proxy wants no login": ["socks5://u:p@p", host, [
    { expect: bytes(5, 2, 0, 2) },
    { send: bytes(5, 0) },
    { expect: bytes(5, 1, 0, ...name) },
    { send: bytes(5, 0, 0, 3, 3, "abc", 0, 22) },
  ]],
  "SOCKS5 to an IPv4 address": ["socks5://p", { hostname: "192.0.2.7", port: 22 }, [
    { expect: bytes(5, 1, 0) },
    { send: bytes(5, 0) },
    { expect: bytes(5, 1, 0, 1, 192, 0, 2, 7, 0, 22) },
    { send: bytes(...done) },
  ]],
  "SOCKS5 to an IPv6 address": ["socks5://p", { hostname: "2001:db8::ffff:7", port: 22 }, [
    { expect: bytes(5, 1, 0) },
    { send: bytes(5, 0) },
    { expect: bytes(5, 1, 0, 4, 0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 7, 0, 22) },
    { send: bytes(5, 0, 0, 4, ...new Array<number>(18).fill(1)) },
  ]],
  "SOCKS4a": ["socks4a://me@p", host, [
    { expect: bytes(4, 1, ...port, 0, 0, 0, 1, "me", 0, "host.example", 0) },
    { send: bytes(0, 90, 0, 0, 0, 0, 0, 0) },
  ]],
  "SOCKS4a to an IPv4 address": ["socks4a://p", { hostname: "192.0.2.7", port: 22 }, [
    { expect: bytes(4, 1, 0, 22, 192, 0, 2, 7, 0) },
    { send: bytes(0, 90, 0, 0, 0, 0, 0, 0) },
  ]],
  "HTTP": ["http://p", host, [
    { expect: bytes(connectLine, "\r\n") },
    { send: bytes("HTTP/1.1 200 Connection established\r\nVia: p\r\n\r\n") },
  ]],
  "HTTP with a login, an interim answer and bare line feeds": ["http://user:se%40cret@p", host, [
    { expect: bytes(connectLine, `Proxy-Authorization: Basic ${btoa("user:se@cret")}\r\n\r\n`) },
    { send: bytes("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200\nVia: p\n\n") },
  ]],
  "HTTP to an IPv6 address": ["http://p", { hostname: "2001:db8::7", port: 22 }, [
    { expect: bytes("CONNECT [2001:db8::7]:22 HTTP/1.1\r\nHost: [2001:db8::7]:22\r\n\r\n") },
    { send: bytes("HTTP/1.1 299 \r\n\r\n") },
  ]],
};

for (const [what, [url, target, steps]] of Object.entries(good)) {
  for (const plain of [false, true]) {
    for (const chunks of ["whole", "bytes"] as const) {
      Deno.test(`throughProxy() speaks ${what}, and loses nothing that follows (${plain ? "plain" : "byte"} streams, ${chunks})`, async () => {
        // The first bytes of the target come in one chunk with the last of the proxy.
        const last = steps.at(-1) as { send: Uint8Array };
        const all = [...steps.slice(0, -1), { send: bytes(...last.send, "SSH-2.0-x\r\n\n") }];
        const { conn, given, server } = await inTime(askScripted(url, target, all, { plain, chunks }), "the way");
        if (!plain) assertStrictEquals(conn, given, "byte streams are handed on as they are");
        assertEquals(await readExactlyAny(conn.readable, 12), bytes("SSH-2.0-x\r\n\n"));
        const writer = conn.writable.getWriter(), writing = writer.write(bytes("hello"));
        assertEquals(await readExactly(server.readable, 5), bytes("hello"));
        await writing;
        const farWriter = server.writable.getWriter(), farWriting = farWriter.write(bytes("more"));
        assertEquals(await readExactlyAny(conn.readable, 4), bytes("more"));
        await farWriting;
        await Promise.allSettled([conn.readable.cancel(), writer.abort()]);
      });
    }
  }
}

/** Of streams that may be no byte streams; nothing is behind what is asked for. */
async function readExactlyAny(readable: ReadableStream<Uint8Array>, length: number): Promise<Uint8Array> {
  const reader = readable.getReader(), got: number[] = [];
  while (got.length < length) got.push(...(await reader.read()).value!);
  reader.releaseLock();
  return Uint8Array.from(got);
}

Deno.test("throughProxy() names each reply of SOCKS5, and needs no address behind it", async () => {
  const words = {
    1: "general failure",
    2: "not allowed",
    3: "network unreachable",
    4: "host unreachable",
    5: "connection refused",
    6: "time to live",
    7: "command not supported",
    8: "address type",
    9: "unknown reason (9)",
    255: "unknown reason (255)",
  };
  for (const [code, word] of Object.entries(words)) {
    const message = await refusal("socks5://p", [
      { expect: bytes(5, 1, 0) },
      { send: bytes(5, 0) },
      { expect: bytes(5, 1, 0, ...name) },
      { send: bytes(5, Number(code)) },
    ]);
    assertStringIncludes(message, `the proxy refused: ${word}`);
    assertStringIncludes(message, `(${code})`);
  }
});

Deno.test("throughProxy() names each reply of SOCKS4", async () => {
  for (
    const [code, word] of Object.entries({ 91: "rejected", 92: "ident", 93: "another user", 0: "unknown reason (0)" })
  ) {
    const message = await refusal("socks4a://p", [{ send: bytes(0, Number(code), 0, 0, 0, 0, 0, 0) }]);
    assertStringIncludes(message, word);
  }
});

Deno.test("throughProxy() says what is wrong with an answer", async () => {
  const greet = { expect: bytes(5, 1, 0) } as const, greet2 = { expect: bytes(5, 2, 0, 2) } as const;
  const ask = { expect: bytes(5, 1, 0, ...name) } as const, login = "socks5://u:pw@p";
  const cases: [string, Step[], string][] = [
    ["socks5://p", [greet, { send: bytes(5, 255) }], "wants a login"],
    ["socks5://p", [greet, { send: bytes(5, 2) }], "wants a login"],
    ["socks5://p", [greet, { send: bytes(5, 1) }], "method 1"],
    [login, [greet2, { send: bytes(5, 255) }], "takes neither"],
    [
      login,
      [greet2, { send: bytes(5, 2) }, { expect: bytes(1, 1, "u", 2, "pw") }, { send: bytes(1, 1) }],
      "refused the login",
    ],
    ["socks5://p", [greet, { send: bytes("HTTP/1.1 400") }], "is it `http://`"],
    ["socks5://p", [greet, { send: bytes(0, 90) }], "no SOCKS5 proxy"],
    ["socks5://p", [greet, { send: bytes(5, 0) }, ask, { send: bytes(4, 0) }], "no SOCKS5 proxy"],
    ["socks5://p", [greet, { send: bytes(5, 0) }, ask, { send: bytes(5, 0, 0, 2) }], "address of type 2"],
    ["socks5://p", [greet, "end"], "closed the connection"],
    ["socks5://p", [greet, { send: bytes(5) }, "end"], "closed the connection"],
    ["socks5://p", [greet, { send: bytes(5, 0) }, ask, { send: bytes(5, 0, 0, 1, 1) }, "end"], "closed the connection"],
    ["socks4a://p", [{ send: bytes(5, 0) }], "no SOCKS4 proxy"],
    ["http://p", [{ send: bytes("HTTP/1.1 407 Login\r\n\r\n") }], "wants a login"],
    ["http://u:pw@p", [{ send: bytes("HTTP/1.1 407 no u:pw \r\n\r\n") }], "refused the login"],
    ["http://p", [{ send: bytes("HTTP/1.1 403 Forb\x1b[31midden\r\n\r\n<html>") }], '"403 Forb\ufffd[31midden"'],
    ["http://p", [{ send: bytes("HTTP/1.1 503 ", "x".repeat(4000), "\r\n\r\n") }], "503 xxx"],
    ["http://p", [{ send: bytes("SSH-2.0-OpenSSH\r\n") }], "no HTTP proxy"],
    ["http://p", [{ send: bytes("HTTP/1.1\r\n\r\n") }], "no HTTP proxy"],
    ["http://p", [{ send: bytes("HTTP/1.1 200 OK\r\n") }, "end"], "closed the connection"],
    ["http://p", ["end"], "closed the connection"],
  ];
  for (const [url, steps, words] of cases) {
    const message = await refusal(url, steps);
    assertStringIncludes(message, words);
    assert(message.length < 300, message);
  }
});

Deno.test("throughProxy() takes headers of 16 KiB, and not a byte more", async () => {
  const head = (length: number): string => {
    const start = "HTTP/1.1 200 OK\r\nX: ", end = "\r\n\r\n";
    return start + "x".repeat(length - start.length - end.length) + end;
  };
  const { conn } = await askScripted("http://p", host, [{ send: bytes(head(16_384)) }], { chunks: "whole" });
  await conn.readable.cancel();
  assertStringIncludes(await refusal("http://p", [{ send: bytes(head(16_385)) }]), "more than 16384 bytes");
  for (const reason of [100, 103]) {
    const answers = head(16_384).replace("200", String(reason)) + head(100);
    assertStringIncludes(await refusal("http://p", [{ send: bytes(answers) }]), "more than 16384 bytes");
  }
  const many = "HTTP/1.1 100 Wait\r\n\r\n".repeat(1000);
  assertStringIncludes(await refusal("http://p", [{ send: bytes(many) }]), "more than 16384 bytes");
});

Deno.test("throughProxy() asks for no host whose length would be read as another one", async () => {
  const { client } = memoryPair();
  for (const url of ["socks5://p", "socks4a://p", "http://p"]) {
    const asking = throughProxy(client, parseProxy(url), { hostname: "x".repeat(256 + 5), port: 22 });
    await assertRejects(() => asking, TypeError, "255 bytes");
  }
});

Deno.test("throughProxy() never shows the password, even where the proxy says it", async () => {
  const secret = "s3cr3t-word", basic = btoa(`user:${secret}`);
  for (const line of [`403 ${secret}`, `407 ${basic}`, `HTTP ${secret}`]) {
    const message = await refusal(`http://user:${secret}@p`, [{ send: bytes(`HTTP/1.1 ${line}\r\n\r\n`) }]);
    assert(!message.includes(secret) && !message.includes(basic), message);
  }
});

Deno.test("throughProxy() sends nothing where the signal has aborted", async () => {
  let written = 0;
  const writable = new WritableStream<Uint8Array>({ write: () => void written++ });
  const conn = { readable: new ReadableStream<Uint8Array<ArrayBuffer>>({ type: "bytes" }), writable };
  const signal = AbortSignal.abort(new Error("enough"));
  await assertRejects(() => throughProxy(conn, parseProxy("socks5://p"), host, signal), Error, "enough");
  await conn.writable.close().catch(() => {});
  assertEquals(written, 0);
});

Deno.test("throughProxy() ends with the reason of the signal, and closes the streams", async () => {
  for (const url of ["socks5://p", "socks4a://p", "http://p"]) {
    const { client, server } = memoryPair(), controller = new AbortController();
    const asking = throughProxy(client, parseProxy(url), host, controller.signal);
    await readExactly(server.readable, 1);
    controller.abort(new Error("enough"));
    await assertRejects(() => inTime(asking, "the abort"), Error, "enough");
    const writer = server.writable.getWriter();
    await assertRejects(() => inTime(writer.write(bytes(5, 0)), "the closed stream"));
  }
});
