import { assert, assertEquals } from "@std/assert";
import { kexMethods } from "../../lib/crypto/kex/methods.ts";
import { exchange } from "./_peers.ts";

Deno.test("kexMethods holds every method with the hash that its name says", () => {
  assertEquals([...kexMethods].map(([name, method]) => [name, method.hash]), [
    ["mlkem768x25519-sha256", "SHA-256"],
    ["sntrup761x25519-sha512", "SHA-512"],
    ["sntrup761x25519-sha512@openssh.com", "SHA-512"],
    ["curve25519-sha256", "SHA-256"],
    ["curve25519-sha256@libssh.org", "SHA-256"],
    ["ecdh-sha2-nistp256", "SHA-256"],
    // RFC 5656 section 6.2.1 ties the hash to the size of the curve.
    ["ecdh-sha2-nistp384", "SHA-384"],
    ["ecdh-sha2-nistp521", "SHA-512"],
    ["diffie-hellman-group-exchange-sha256", "SHA-256"],
    ["diffie-hellman-group14-sha256", "SHA-256"],
    ["diffie-hellman-group16-sha512", "SHA-512"],
    ["diffie-hellman-group18-sha512", "SHA-512"],
    ["mlkem768nistp256-sha256", "SHA-256"],
    ["mlkem1024nistp384-sha384", "SHA-384"],
    ["diffie-hellman-group-exchange-sha1", "SHA-1"],
    ["diffie-hellman-group14-sha1", "SHA-1"],
    ["diffie-hellman-group1-sha1", "SHA-1"],
  ]);
  for (const [name, method] of kexMethods) assertEquals(method.name, name);
});

Deno.test("kexMethods leaves the agreement of a group exchange open and has one for every other method", async () => {
  for (const [name, { agreement }] of kexMethods) {
    if (name.startsWith("diffie-hellman-group-exchange-")) {
      assertEquals(agreement, null);
      continue;
    }
    assert(agreement !== null, name);
    await exchange(agreement);
  }
});
