import { assert, assertEquals, assertThrows } from "@std/assert";
import { DisconnectReason, SshProtocolError } from "../../lib/errors.ts";
import { identLine, IdentReader, withoutQuote } from "../../lib/transport/ident.ts";

const latin1 = (text: string): Uint8Array => Uint8Array.from(text, (c) => c.charCodeAt(0));

function read(role: "client" | "server", text: string) {
  const found = new IdentReader(role).push(latin1(text));
  return found === null ? null : { ident: found.ident, rest: String.fromCharCode(...found.rest) };
}

function refused(role: "client" | "server", text: string): SshProtocolError {
  const error = assertThrows(() => read(role, text), SshProtocolError);
  assertEquals(error.reason, DisconnectReason.PROTOCOL_VERSION_NOT_SUPPORTED);
  return error;
}

Deno.test("identLine() puts the version before what is given", () => {
  assertEquals(identLine("amiko"), "SSH-2.0-amiko");
  assertEquals(identLine("x_1.0 with a comment-"), "SSH-2.0-x_1.0 with a comment-");
  assertEquals(identLine("x".repeat(245)).length + 2, 255);
});

Deno.test("identLine() refuses what no peer should have to read", () => {
  for (const software of ["", "-x", " x", "x\r\ny", "x\0", "\x7f", "é", "x".repeat(246), "x\n"]) {
    assertThrows(() => identLine(software), TypeError);
  }
});

Deno.test("IdentReader.push() returns the line without its end, and what follows", () => {
  for (const role of ["client", "server"] as const) {
    assertEquals(read(role, "SSH-2.0-x\r\nrest"), { ident: "SSH-2.0-x", rest: "rest" });
    assertEquals(read(role, "SSH-2.0-x\nrest\r\n"), { ident: "SSH-2.0-x", rest: "rest\r\n" });
    assertEquals(read(role, "SSH-1.99-OpenSSH_9 some comment\r\n"), {
      ident: "SSH-1.99-OpenSSH_9 some comment",
      rest: "",
    });
    assertEquals(read(role, "SSH-2.0--odd-\r\n"), { ident: "SSH-2.0--odd-", rest: "" });
    assertEquals(read(role, "SSH-2.0-x\r"), null);
  }
});

Deno.test("IdentReader.push() gives the same for any split of the bytes", () => {
  const text = "welcome\r\n\nSSH\r\nSSH-2.0-x y\r\n\x00\x01\x02";
  for (let a = 0; a <= text.length; a++) {
    for (let b = a; b <= text.length; b++) {
      const reader = new IdentReader("client");
      let found: ReturnType<IdentReader["push"]> = null, rest = "";
      for (const part of [text.slice(0, a), text.slice(a, b), text.slice(b)]) {
        if (found !== null) rest += part;
        else if ((found = reader.push(latin1(part))) !== null) rest = String.fromCharCode(...found.rest);
      }
      assertEquals([found?.ident, rest], ["SSH-2.0-x y", "\x00\x01\x02"]);
    }
  }
});

// Row 2.
Deno.test("IdentReader.push() takes 1,024 lines before a server's identification, and no more", () => {
  for (const lines of [0, 1, 1023, 1024]) {
    assertEquals(read("client", "x\r\n".repeat(lines) + "SSH-2.0-x\r\n")?.ident, "SSH-2.0-x");
  }
  refused("client", "x\r\n".repeat(1025));
  refused("client", "\n".repeat(1025));
});

// Row 3.
Deno.test("IdentReader.push() takes lines of 8,192 bytes before it, and refuses a longer one before its end", () => {
  assertEquals(read("client", "x".repeat(8192) + "\nSSH-2.0-x\r\n")?.ident, "SSH-2.0-x");
  const reader = new IdentReader("client");
  assertEquals(reader.push(new Uint8Array(8192)), null);
  assertThrows(() => reader.push(new Uint8Array(1)), SshProtocolError);
});

// Row 1.
Deno.test("IdentReader.push() refuses a client at the first byte that is not of SSH-", () => {
  for (const text of ["x", "\n", "\r", "SSx", "SSH\n", "SSH2", "ssh-", "\0"]) refused("server", text);
  assertEquals(read("server", "SSH"), null);
});

// Row 4, with the bound that OpenSSH has (C11 of the cases).
Deno.test("IdentReader.push() takes a line of 8,192 bytes without its end, and refuses one more before its end", () => {
  for (const role of ["client", "server"] as const) {
    for (const length of [253, 254, 255, 256, 300, 8191, 8192]) {
      const line = "SSH-2.0-".padEnd(length, "x");
      for (const end of ["\n", "\r\n"]) assertEquals(read(role, line + end)?.ident, line);
    }
    refused(role, "SSH-2.0-".padEnd(8193, "x"));
    refused(role, "SSH-2.0-".padEnd(8192, "x") + "\rx");
  }
});

// C11.
Deno.test("IdentReader.push() takes a blank version, and comments", () => {
  for (const role of ["client", "server"] as const) {
    for (const line of ["SSH-2.0- ", "SSH-2.0- X", "SSH-2.0-  two  ", "SSH-1.99- ", "SSH-2.0-a b-c (d); e"]) {
      for (const end of ["\n", "\r\n"]) assertEquals(read(role, line + end), { ident: line, rest: "" });
    }
  }
});

// Row 6.
Deno.test("IdentReader.push() refuses what is not printable US-ASCII, at that byte", () => {
  for (const role of ["client", "server"] as const) {
    for (let c = 0; c < 256; c++) {
      if (c === 10 || c === 13 || c >= 0x20 && c <= 0x7e) continue;
      refused(role, "SSH-2.0-x" + String.fromCharCode(c));
    }
    for (const text of ["SSH-2.0-x\ry", "SSH-2.0-x\r\r\n", "SSH-\r2.0-x\r\n"]) refused(role, text);
  }
});

// Row 7.
Deno.test("IdentReader.push() refuses other versions and lines without a software version", () => {
  for (const role of ["client", "server"] as const) {
    for (
      const line of [
        "SSH-1.5-x",
        "SSH-3.0-x",
        "SSH-2.1-x",
        "SSH-2-x",
        "SSH-02.0-x",
        "SSH-2.00-x",
        "SSH--x",
        "SSH-2.0-",
        "SSH-2.0",
        "SSH-",
      ]
    ) {
      refused(role, line + "\r\n");
    }
  }
});

Deno.test("IdentReader.said is the first line that says something, escaped and cut", () => {
  const said = (role: "client" | "server", text: string): string => {
    const whole = new IdentReader(role), parts = new IdentReader(role);
    try {
      whole.push(latin1(text));
      for (const byte of latin1(text)) parts.push(new Uint8Array([byte]));
    } catch (error) {
      assert(error instanceof SshProtocolError && error.message.endsWith(whole.said), String(error));
      return whole.said;
    }
    assertEquals(whole.said, parts.said);
    return whole.said;
  };
  const none = ": that is no SSH server";
  const cases: [text: string, says: string][] = [
    ["", ""],
    ["HTTP/1.0 400 Bad request\r\nDate: today\r\n", `"HTTP/1.0 400 Bad request"${none}`],
    ["220 mail ESMTP\r\n", `"220 mail ESMTP"${none}`],
    ["220 mail ESMTP", `"220 mail ESMTP"${none}`],
    ["+OK ready\r\n", `"+OK ready"${none}`],
    ["\r\n\r\n<html>\n", `"<html>"${none}`],
    ["\x15\x03\x01\x00\x02\x02F", `"\\x15\\x03\\x01\\x00\\x02\\x02F"${none}`],
    ["Exceeded MaxStartups\r\n", '"Exceeded MaxStartups"'],
    ['\x1b[2J"\\\xe9\x7f\r\n', '"\\x1b[2J\\x22\\x5c\\xe9\\x7f"'],
    ["x".repeat(96), `"${"x".repeat(96)}"`],
    ["x".repeat(97), `"${"x".repeat(96)}…"`],
    ["\0".repeat(8000), `"${"\\x00".repeat(96)}…"`],
  ];
  for (const [text, says] of cases) assertEquals(said("client", text), says === "" ? "" : `; it sent ${says}`, text);
  // Anybody can say anything to a server.
  for (const text of ["GET / HTTP/1.1\r\nHost: x\r\n", "SSX\n", "SSH"]) assertEquals(said("server", text), "");
  assertEquals(withoutQuote('Peer does not speak SSH; it sent "<script>; it sent x"'), "Peer does not speak SSH");
  assertEquals(withoutQuote("Peer does not speak SSH"), "Peer does not speak SSH");
});

Deno.test("IdentReader.push() says in clean words what is wrong", () => {
  for (const text of ["SSH-9-x\r\n", "SSH-2.0-\r\n", "GET /"]) {
    const { message } = refused("server", text);
    assert(/^[\x20-\x7e]+$/.test(message) && message.length < 300, message);
  }
});
