import { assertEquals, assertThrows } from "@std/assert";
import { SshProtocolError } from "../../lib/errors.ts";
import { dhAgreement } from "../../lib/crypto/kex/dh.ts";
import { MODP_2048, MODP_4096, MODP_8192, OAKLEY_GROUP_2 } from "../../lib/crypto/kex/dh_groups.ts";
import { checkGroup, chooseGroup, requestedGroupSizes } from "../../lib/crypto/kex/group_exchange.ts";
import { exchange } from "./_peers.ts";
import { bitLength } from "../../lib/wire/integers.ts";

const prime = (group: { hex: string }) => BigInt("0x" + group.hex);

function assertRefused(act: () => void, what: string): void {
  const error = assertThrows(act, SshProtocolError, undefined, what);
  assertEquals(error.reason, 3, what);
}

Deno.test("checkGroup() accepts groups of 2048 to 8192 bits", () => {
  for (const group of [MODP_2048, MODP_4096, MODP_8192]) {
    for (const g of [2n, 5n, prime(group) - 2n]) checkGroup({ p: prime(group), g });
  }
});

// Row 53 of the list of attacks.
Deno.test("checkGroup() refuses groups that are too small, too large, even, or have a useless generator", () => {
  const p = prime(MODP_2048);
  const bad: [string, bigint, bigint][] = [
    ["1024 bits", prime(OAKLEY_GROUP_2), 2n],
    ["2047 bits", p >> 1n | 1n, 2n],
    ["8193 bits", (1n << 8192n) | 1n, 2n],
    ["16384 bits", (1n << 16_383n) | 1n, 2n],
    ["even p", p - 1n, 2n],
    ["p = 0", 0n, 2n],
    ["p = 1", 1n, 2n],
    ["p < 0", -p, 2n],
    ["g = 0", p, 0n],
    ["g = 1", p, 1n],
    ["g = p - 1", p, p - 1n],
    ["g = p", p, p],
    ["g > p", p, p + 2n],
    ["g < 0", p, -2n],
  ];
  for (const [what, modulus, g] of bad) assertRefused(() => checkGroup({ p: modulus, g }), what);
});

Deno.test("checkGroup() holds the server to the sizes that were asked for", () => {
  const group = { p: prime(MODP_2048), g: 2n };
  assertRefused(() => checkGroup(group, { min: 3072, n: 4096, max: 8192 }), "below min");
  assertRefused(() => checkGroup({ p: prime(MODP_8192), g: 2n }, { min: 2048, n: 2048, max: 4096 }), "above max");
  assertRefused(
    () => checkGroup({ p: prime(OAKLEY_GROUP_2), g: 2n }, { min: 1024, n: 1024, max: 8192 }),
    "our minimum",
  );
});

Deno.test("chooseGroup() gives the smallest group that is large enough, within the limits", () => {
  const cases: [min: number, n: number, max: number, bits: number][] = [
    [2048, 2048, 8192, 2048],
    [2048, 2049, 8192, 3072],
    [2048, 3072, 8192, 3072],
    [1024, 2048, 8192, 2048],
    [1024, 1024, 2048, 2048],
    [1024, 1024, 8192, 2048],
    [2048, 7680, 8192, 8192],
    [2048, 8192, 8192, 8192],
    [2048, 7000, 8000, 6144],
    [2049, 2049, 3072, 3072],
    [0, 0, 0xffff_ffff, 2048],
    [0, 0xffff_ffff, 0xffff_ffff, 8192],
  ];
  for (const [min, n, max, bits] of cases) {
    const { p, g } = chooseGroup({ min, n, max });
    assertEquals(bitLength(p), bits, `${min}, ${n}, ${max}`);
    assertEquals(g, 2n);
  }
  assertEquals(bitLength(chooseGroup(requestedGroupSizes).p), 3072);
});

// Row 52 of the list of attacks.
Deno.test("chooseGroup() refuses sizes that contradict each other and sizes that nobody should use", () => {
  for (
    const [min, n, max] of [
      [8192, 2048, 1024],
      [512, 1024, 1024],
      [2048, 1024, 8192],
      [2048, 8192, 4096],
      [4096, 4096, 2048],
      [2049, 2050, 3071],
      [8193, 9000, 10_000],
      [0, 0, 0],
      [0, 0, 2047],
    ] as const
  ) assertRefused(() => chooseGroup({ min, n, max }), `${min}, ${n}, ${max}`);
});

Deno.test("chooseGroup(), checkGroup() and dhAgreement() make an exchange", async () => {
  const group = chooseGroup(requestedGroupSizes);
  checkGroup(group);
  await exchange(dhAgreement(group.p, group.g));
});
