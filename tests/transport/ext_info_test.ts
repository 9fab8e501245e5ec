import { assertEquals, assertThrows } from "@std/assert";
import { SshProtocolError } from "../../lib/errors.ts";
import { decodeExtInfo, encodeExtInfo, ownExtensions } from "../../lib/transport/ext_info.ts";
import { Writer } from "../../lib/wire/writer.ts";

const utf8 = (text: string) => new TextEncoder().encode(text);

Deno.test("encodeExtInfo() writes RFC 8308 section 2.3", () => {
  const expected = new Writer().u8(7).u32(2).text("a").text("b").text("c@d").text("").bytes();
  assertEquals(encodeExtInfo(new Map([["a", utf8("b")], ["c@d", utf8("")]])), expected);
});

Deno.test("decodeExtInfo() reads what encodeExtInfo() wrote, the last of equal names, and values of any bytes", () => {
  const extensions = new Map([["server-sig-algs", utf8("ssh-ed25519,x")], ["y", new Uint8Array([0, 255])]]);
  assertEquals(decodeExtInfo(encodeExtInfo(extensions)), extensions);
  assertEquals(decodeExtInfo(encodeExtInfo(new Map())), new Map());
  const twice = new Writer().u8(7).u32(2).text("a").text("1").text("a").text("2").bytes();
  assertEquals(decodeExtInfo(twice), new Map([["a", utf8("2")]]));
});

// Row 50.
Deno.test("decodeExtInfo() takes 64 entries, and refuses more before it reads any", () => {
  const entries = (count: number, said = count) => {
    const w = new Writer().u8(7).u32(said);
    for (let i = 0; i < count; i++) w.text(`${i}`).text("");
    return w.bytes();
  };
  assertEquals(decodeExtInfo(entries(64)).size, 64);
  for (const [count, said] of [[65, 65], [1024, 1024], [64, 1024], [64, 0xffff_ffff], [3, 4], [4, 3]] as const) {
    assertThrows(() => decodeExtInfo(entries(count, said)), SshProtocolError);
  }
});

Deno.test("decodeExtInfo() refuses a payload cut at any byte, and names that are none", () => {
  const whole = encodeExtInfo(new Map([["server-sig-algs", utf8("ssh-ed25519")]]));
  for (let cut = 1; cut < whole.length; cut++) {
    assertThrows(() => decodeExtInfo(whole.subarray(0, cut)), SshProtocolError);
  }
  for (const name of ["a\0", "\x1b[2J", "é"]) {
    assertThrows(() => decodeExtInfo(encodeExtInfo(new Map([[name, utf8("")]]))), SshProtocolError);
  }
});

Deno.test("ownExtensions() tells signature algorithms and host-bound logins as a server, and ping on both sides", () => {
  assertEquals(
    ownExtensions("server", ["ssh-ed25519", "rsa-sha2-256"]),
    new Map([
      ["server-sig-algs", utf8("ssh-ed25519,rsa-sha2-256")],
      ["publickey-hostbound@openssh.com", utf8("0")],
      ["ping@openssh.com", utf8("0")],
    ]),
  );
  assertEquals([...ownExtensions("client", ["ssh-ed25519"])], [
    ["ping@openssh.com", utf8("0")],
    ["ext-info-in-auth@openssh.com", utf8("0")],
  ]);
});
