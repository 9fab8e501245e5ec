/**
 * What is given to `knownHosts()` and `pinnedHostKey()` in the place of what they take, and what they say.
 *
 * @module
 */
import { assertEquals, assertFalse, assertRejects, assertThrows } from "@std/assert";
import { HostKeyUnknownError } from "../../lib/errors.ts";
import { knownHostKeyTypes, knownHosts, pinnedHostKey } from "../../lib/keys/trust/known_hosts.ts";
import { parsePublicKey } from "../../lib/keys/public_key.ts";
import { opensshKeys, utf8, vectors } from "../_support/key_vectors.ts";

const vector = opensshKeys()[0]!, line = vector.public.split(" ").slice(0, 2).join(" ");
const key = parsePublicKey(line), host = { hostname: "host", port: 22 };

Deno.test("knownHosts() takes the bytes of a file, and names that are not UTF-8 in its comments", async () => {
  const latin1 = new Uint8Array([...utf8(`host ${line} caf`), 0xe9, 10]);
  for (
    const text of [latin1, [latin1], utf8(`\ufeffhost ${line}\r\n`), `\ufeffhost ${line}`, ["", utf8(`host ${line}`)]]
  ) {
    assertEquals(await knownHosts(text)(key, host), true);
    assertEquals(await knownHostKeyTypes(text, "host"), ["ssh-ed25519"]);
  }
});

Deno.test("knownHosts() trusts nobody by a text without lines", async () => {
  for (const text of ["", "\n\n", "# a comment\n", " \t# host ssh-ed25519 AAAA", new Uint8Array(0), [], ["", "#"]]) {
    await assertRejects(async () => void await knownHosts(text)(key, host), HostKeyUnknownError);
  }
});

Deno.test("knownHosts() says of a path, a key and other text that no line of it is one of known_hosts", () => {
  const path = "it looks like a path: pass `await Deno.readTextFile(path)`";
  const none = "no line of it is one of known_hosts";
  const wrong: [string, string][] = [
    ["/home/me/.ssh/known_hosts", path],
    ["~/.ssh/known_hosts", path],
    ["known_hosts", path],
    ["C:\\Users\\me\\.ssh\\known_hosts", path],
    ["example.com", none],
    [vector.fingerprint, none],
    [line, none],
    [vector.private, none],
    ["<html>\n<body>Not found</body>\n</html>", none],
    ["host some words that are no key", none],
  ];
  for (const [text, says] of wrong) {
    assertThrows(() => knownHosts(text), TypeError, says, text);
    assertThrows(() => knownHosts(["", text]), TypeError, says, text);
    const error = assertThrows(() => knownHosts(text), TypeError);
    assertFalse(error.message.includes(vector.private.slice(200, 230)));
  }
  for (const value of [5, null, true, [5], Promise.resolve(""), new URL("file:///x")]) {
    assertThrows(() => knownHosts(value as unknown as string), TypeError, "Cannot use known_hosts text");
  }
});

Deno.test("pinnedHostKey() says what it was given and what it takes", async () => {
  const bare = vector.fingerprint.slice(7);
  const wrong: [unknown, string][] = [
    [bare, `is a fingerprint without its kind, write "SHA256:${bare}"`],
    ["MD5:" + Array(16).fill("ab").join(":"), "is a fingerprint by MD5, which can be forged"],
    [Array(16).fill("0f").join(":"), "is a fingerprint by MD5, which can be forged"],
    ["SHA256:abc", '"SHA256:abc" is no whole fingerprint'],
    ["SHA1:abcdef", "of another kind"],
    ["", "an empty text"],
    ["example.com", '"example.com" is neither'],
    ["/etc/ssh/ssh_host_ed25519_key.pub", '"/etc/ssh/ssh_host_ed25519_key.pub" is neither'],
    [vector.private, "a private key is neither"],
    [undefined, "this is undefined"],
    [5, "this is a number"],
    [{}, "this is an object"],
    [["x"], "this is an array"],
  ];
  for (const [value, says] of wrong) {
    const error = assertThrows(() => pinnedHostKey(value as string), TypeError, says);
    assertEquals(error.message.startsWith("Cannot pin host key: "), true);
  }
  // Its bytes, and RSA keys of any size: a pin is only compared.
  assertEquals(await pinnedHostKey(utf8(vector.public + "\n"))(key, host), true);
  const small = vectors<{ bits: number; public: string }>("short_rsa", 4).find(({ bits }) => bits === 1024)!;
  assertEquals(await pinnedHostKey(small.public)(key, host), false);
});
