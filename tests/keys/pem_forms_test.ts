/**
 * Private keys in PEM as programs write them that are not OpenSSL's defaults: what `ssh-keygen -y` reads is read. C14 of the cases.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { curveParameters, uncompressedPoint } from "../../lib/crypto/kex/nist_curves.ts";
import { curves } from "../../lib/keys/curves.ts";
import { parsePrivateKey } from "../../lib/keys/private_key.ts";
import { publicKeyLine } from "../../lib/keys/public_key.ts";
import { assertKeyFormat, blobOf, utf8, vectors } from "../_support/key_vectors.ts";

interface PemKey {
  readonly name: string;
  readonly private: string;
  readonly public: string;
  readonly passphrase?: string | null;
}

const ecKeys = vectors<PemKey>("ec_forms", 30);
const oddRsa = vectors<PemKey>("odd_rsa", 7);

function armour(label: string, der: Uint8Array): string {
  return `-----BEGIN ${label}-----\n${new Uint8Array(der).toBase64()}\n-----END ${label}-----\n`;
}

/** An element of DER. */
function der(tag: number, ...contents: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const content = contents.flatMap((bytes) => [...bytes]), { length } = content;
  const header = length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 255];
  return new Uint8Array([tag, ...header, ...content]);
}

async function read(vector: PemKey, text: string = vector.private) {
  return await parsePrivateKey(text, typeof vector.passphrase === "string" ? { passphrase: vector.passphrase } : {});
}

// C14
Deno.test("parsePrivateKey() reads curves that are spelt out, and points in each form", async () => {
  for (const vector of ecKeys) {
    const key = await read(vector);
    assertEquals(publicKeyLine(key.publicKey), vector.public, vector.name);
    assert(await key.publicKey.verify(utf8("x"), await key.sign(utf8("x"), key.algorithms[0]!)), vector.name);
  }
});

Deno.test("parsePrivateKey() refuses a curve that differs from a known one in any of its numbers", async () => {
  for (const curve of curves.values()) {
    const { p, b, g } = curveParameters(curve.webName), { size, n } = curve;
    const fixed = (value: bigint) => Uint8Array.fromHex(value.toString(16).padStart(2 * size, "0"));
    const integer = (value: bigint) => {
      const hex = value.toString(16);
      return der(2, Uint8Array.fromHex("00" + hex.padStart(hex.length + hex.length % 2, "0")));
    };
    const point = (x: bigint, y: bigint) => der(4, new Uint8Array([4, ...fixed(x), ...fixed(y)]));
    const vector = ecKeys.find(({ public: line }) => line.startsWith(curve.type))!;
    const own = blobOf(vector.public).slice(-2 * size);
    const [x, y] = [own.slice(0, size), own.slice(size)].map((bytes) => BigInt("0x" + bytes.toHex()));
    const field = Uint8Array.fromHex("06072a8648ce3d0101"), binary = Uint8Array.fromHex("06072a8648ce3d0102");
    const seed = der(3, new Uint8Array(21));
    const key = (label: "EC PRIVATE KEY" | "PRIVATE KEY", change: Record<string, Uint8Array | null> = {}) => {
      const parts: Record<string, Uint8Array | null> = {
        version: Uint8Array.of(2, 1, 1),
        field,
        p: integer(p),
        a: der(4, fixed(p - 3n)),
        b: der(4, fixed(b)),
        seed,
        base: point(g.x, g.y),
        order: integer(n),
        cofactor: integer(1n),
        ...change,
      };
      const [version, kind, prime, a, coefficient, from, base, order, cofactor] = Object.values(parts).map((part) =>
        part ?? new Uint8Array(0)
      ) as [Uint8Array, ...Uint8Array[]];
      const curveOf = der(0x30, a!, coefficient!, from!);
      const numbers = der(0x30, version, der(0x30, kind!, prime!), curveOf, base!, order!, cofactor!);
      const secret = [Uint8Array.of(2, 1, 1), der(4, fixed(0x1234n))];
      if (label === "EC PRIVATE KEY") return armour(label, der(0x30, ...secret, der(0xa0, numbers)));
      const algorithm = der(0x30, Uint8Array.fromHex("06072a8648ce3d0201"), numbers);
      return armour(label, der(0x30, Uint8Array.of(2, 1, 0), algorithm, der(4, der(0x30, ...secret))));
    };
    for (const label of ["EC PRIVATE KEY", "PRIVATE KEY"] as const) {
      for (const change of [{}, { seed: null }, { cofactor: null }, { version: Uint8Array.of(2, 1, 3) }]) {
        assertEquals((await parsePrivateKey(key(label, change))).publicKey.type, curve.type);
      }
      const differ: [string, Uint8Array][] = [
        ["a", der(4, fixed(p - 2n))],
        ["b", der(4, fixed(b + 1n))],
        ["order", integer(n - 2n)],
        ["order", integer(1n)],
        ["cofactor", integer(2n)],
        ["cofactor", integer(0n)],
        // CVE-2020-0601: another base point, for which somebody else's public key has a private key that is known.
        ["base", point(x!, y!)],
        ["base", point(g.x, p - g.y)],
        ["base", point(g.x, g.y ^ 1n)],
        ["base", der(4, new Uint8Array(1))],
      ];
      for (const [what, value] of differ) {
        const says = `look like ${curve.name} and differ from it`;
        await assertKeyFormat(() => parsePrivateKey(key(label, { [what]: value })), says, `${curve.name} ${what}`);
      }
      for (const [what, value] of [["p", integer(p - 2n)], ["field", binary]] as const) {
        await assertKeyFormat(() => parsePrivateKey(key(label, { [what]: value })), "is not supported", what);
      }
    }
  }
});

Deno.test("parsePrivateKey() reads scalars that are short or begin with zeros, and none that is out of range", async () => {
  const oid = der(0xa0, Uint8Array.fromHex("06082a8648ce3d030107"));
  const version = Uint8Array.of(2, 1, 1);
  const sec1 = (scalar: Uint8Array) => armour("EC PRIVATE KEY", der(0x30, version, der(4, scalar), oid));
  const { n } = curves.get("ecdsa-sha2-nistp256")!;
  const bytes = (value: bigint, length: number) => Uint8Array.fromHex(value.toString(16).padStart(2 * length, "0"));
  const d = 0xaa11bb22cc33dd44ee55ff6677889900aabbccddeeff0011223344556677n;
  const full = await parsePrivateKey(sec1(bytes(d, 32)));
  for (const length of [30, 31, 33, 40, 300]) {
    const key = await parsePrivateKey(sec1(bytes(d, length)));
    assertEquals(key.publicKey.blob, full.publicKey.blob, `${length}`);
    assert(await full.publicKey.verify(utf8("x"), await key.sign(utf8("x"), "ecdsa-sha2-nistp256")));
  }
  await parsePrivateKey(sec1(bytes(n - 1n, 32)));
  for (const scalar of [bytes(n, 32), bytes(n + 5n, 32), bytes(n + d, 33), new Uint8Array(32), new Uint8Array(0)]) {
    await assertKeyFormat(() => parsePrivateKey(sec1(scalar)), "out of range", scalar.toHex());
  }
  // PKCS#8 whose inner key names the curve once more, the same one or another.
  const algorithm = der(0x30, Uint8Array.fromHex("06072a8648ce3d0201"), Uint8Array.fromHex("06082a8648ce3d030107"));
  const pkcs8 = (inner: Uint8Array, version: number) =>
    armour("PRIVATE KEY", der(0x30, Uint8Array.of(2, 1, version), algorithm, der(4, inner)));
  for (const number of [0, 1]) {
    const key = await parsePrivateKey(pkcs8(der(0x30, version, der(4, bytes(d, 30)), oid), number));
    assertEquals(key.publicKey.blob, full.publicKey.blob);
  }
  const other = der(0xa0, Uint8Array.fromHex("06052b81040022"));
  await assertKeyFormat(() => parsePrivateKey(pkcs8(der(0x30, version, der(4, bytes(d, 30)), other), 0)), "two curves");
});

Deno.test("parsePrivateKey() reads RSA keys of PKCS#1 whose CRT values are odd, and signs with right ones", async () => {
  for (const vector of oddRsa) {
    const key = await read(vector);
    assertEquals(publicKeyLine(key.publicKey), vector.public, vector.name);
    assert(await key.publicKey.verify(utf8("x"), await key.sign(utf8("x"), "rsa-sha2-256")), vector.name);
  }
});

Deno.test("parsePrivateKey() reads Ed25519 with its public part behind it, as RFC 8410 has it", async () => {
  const text = `-----BEGIN PRIVATE KEY-----
MHICAQEwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC
oB8wHQYKKoZIhvcNAQkJFDEPDA1DdXJkbGUgQ2hhaXJzgSEAGb9ECWmEzf6FQbrB
Z9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PRIVATE KEY-----
`;
  const point = Uint8Array.fromHex("19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1");
  const key = await parsePrivateKey(text);
  assertEquals(key.publicKey.blob.slice(-32), point);
});

Deno.test("parsePrivateKey() reads PEM with text, blocks and blanks around it", async () => {
  const vector = ecKeys[0]!, { private: pem } = vector;
  const other = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
  for (
    const text of [
      pem.replaceAll("\n", "\r\n"),
      pem.replaceAll("\n", "\r"),
      pem.replaceAll("\n", " \t\n"),
      pem.trimEnd(),
      "\ufeff" + pem,
      "Bag Attributes\n    friendlyName: a key\nKey Attributes: <No Attributes>\n" + pem,
      other + pem,
      pem + other,
      "\n\n" + pem + "\n\n",
      pem + ecKeys[1]!.private,
    ]
  ) {
    assertEquals(publicKeyLine((await read(vector, text)).publicKey), vector.public, JSON.stringify(text.slice(0, 40)));
  }
});

Deno.test("uncompressedPoint() takes each form of a point, and nothing that is none", () => {
  for (const vector of ecKeys.filter(({ name }) => name.includes("SEC1") && name.includes("explicit uncompressed"))) {
    const { webName, size } = curves.get(vector.public.split(" ")[0]!)!;
    const point = blobOf(vector.public).slice(-(2 * size + 1));
    const odd = point.at(-1)! & 1, x = point.slice(1, 1 + size);
    const negated = uncompressedPoint(webName, new Uint8Array([3 - odd, ...x]))!;
    const forms: [Uint8Array, Uint8Array | null][] = [
      [point, point],
      [new Uint8Array([2 + odd, ...x]), point],
      [new Uint8Array([6 + odd, ...point.slice(1)]), point],
      [new Uint8Array([7 - odd, ...point.slice(1)]), null],
      [new Uint8Array([7 - odd, ...negated.slice(1)]), negated],
      [new Uint8Array(1), null],
      [new Uint8Array(0), null],
      [point.slice(0, -1), null],
      [new Uint8Array([...point, 0]), null],
      [new Uint8Array([2 + odd, ...x, 0]), null],
      [new Uint8Array([2, ...new Uint8Array(size).fill(0xff)]), null],
      [new Uint8Array([5, ...point.slice(1)]), null],
      [new Uint8Array([4, ...point.slice(1, -1), point.at(-1)! ^ 1]), null],
    ];
    for (const [given, expected] of forms) assertEquals(uncompressedPoint(webName, given), expected, given.toHex());
    // Half of all numbers are no point's x.
    const none = Array.from({ length: 64 }, (_, i) => {
      const near = x.slice();
      near[size - 1]! ^= i + 1;
      return uncompressedPoint(webName, new Uint8Array([2, ...near]));
    });
    assert(none.includes(null) && none.some((found) => found !== null));
  }
});
