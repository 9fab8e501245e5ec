import { assert, assertEquals } from "@std/assert";
import { SshProtocolError } from "../../lib/errors.ts";
import { dhAgreement } from "../../lib/crypto/kex/dh.ts";
import { checkGroup, chooseGroup } from "../../lib/crypto/kex/group_exchange.ts";
import { MODP_2048 } from "../../lib/crypto/kex/dh_groups.ts";
import { kexMethods } from "../../lib/crypto/kex/methods.ts";
import { Reader } from "../../lib/wire/reader.ts";
import { fuzz, fuzzAsync, fuzzBytes, mutate, Prng } from "../_support/fuzz.ts";
import { bitLength } from "../../lib/wire/integers.ts";

const NAMES = [
  "mlkem768x25519-sha256",
  "mlkem1024nistp384-sha384",
  "sntrup761x25519-sha512",
  "curve25519-sha256",
  "ecdh-sha2-nistp256",
  "ecdh-sha2-nistp384",
  "ecdh-sha2-nistp521",
  "diffie-hellman-group14-sha256",
];
const SHARE = NAMES.length + 2;

for (const name of NAMES) {
  Deno.test(`fuzz: ${name} answers damaged values with a secret or with reason 3, on both sides`, async () => {
    const agreement = kexMethods.get(name)?.agreement;
    assert(agreement);
    const client = await agreement.start();
    const server = await agreement.respond(client.publicValue);
    const check = async (act: () => Promise<Uint8Array>): Promise<boolean> => {
      try {
        const reader = new Reader(await act());
        // A secret is whole and, where it is an mpint, minimal.
        const size = /^(?:mlkem|sntrup).*-sha(\d+)$/.exec(name)?.[1];
        if (size !== undefined) assertEquals(reader.string().length, Number(size) / 8);
        else assert(reader.mpint() > 0n);
        reader.end();
        return true;
      } catch (error) {
        if (!(error instanceof SshProtocolError)) throw error;
        assertEquals(error.reason, 3);
        return false;
      }
    };
    await fuzzAsync(async (seed) => {
      const damage = (value: Uint8Array) => seed % 8 === 0 ? fuzzBytes(seed, value.length + 1) : mutate(value, seed);
      const one = await check(async () => (await agreement.respond(damage(client.publicValue))).secret);
      const two = await check(() => client.finish(damage(server.publicValue)));
      return one || two;
    }, { count: 150, share: SHARE });
  });
}

Deno.test("fuzz: chooseGroup() gives a group within the sizes, which checkGroup() accepts, or fails with reason 3", () => {
  const run = fuzz((seed) => {
    const prng = new Prng(seed);
    const size = () => prng.pick([prng.below(10_000), prng.u32(), 1024, 2048, 3072, 4096, 8192]);
    const [min, n, max] = [size(), size(), size()];
    try {
      const group = chooseGroup({ min, n, max });
      const bits = bitLength(group.p);
      assert(min <= n && n <= max && min <= bits && bits <= max && bits >= 2048 && bits <= 8192);
      checkGroup(group, { min, n, max });
      return true;
    } catch (error) {
      if (!(error instanceof SshProtocolError)) throw error;
      assertEquals(error.reason, 3);
      return false;
    }
  }, { count: 20_000, share: SHARE });
  assert(run.accepted > run.count / 100);
});

Deno.test("fuzz: checkGroup() lets no group through with which dhAgreement() fails in another way than reason 3", async () => {
  await fuzzAsync(async (seed) => {
    const prng = new Prng(seed);
    const hex = Array.from(
      mutate(Uint8Array.fromHex(MODP_2048.hex), seed),
      (byte) => byte.toString(16).padStart(2, "0"),
    ).join("");
    const p = BigInt("0x0" + hex);
    const g = prng.pick([0n, 1n, 2n, 5n, p - 2n, p - 1n, p, BigInt(prng.u32())]);
    try {
      checkGroup({ p, g });
      await dhAgreement(p, g).start();
      return true;
    } catch (error) {
      if (!(error instanceof SshProtocolError)) throw error;
      assertEquals(error.reason, 3);
      return false;
    }
  }, { count: 300, share: SHARE });
});
