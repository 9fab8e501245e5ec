/** Any bytes as a configuration: a value, or the error that says where. */
import { assert } from "@std/assert";
import { SshConfigError } from "../../lib/config/config_error.ts";
import { shown } from "../../lib/config/complete.ts";
import { parseDestination, parseForward } from "../../lib/config/destinations.ts";
import { fuzz, fuzzAsync, fuzzBytes, mutate, Prng } from "../_support/fuzz.ts";
import { read } from "./_system.ts";

const keywords = [
  ...["Host", "Match", "Include", "User", "Port", "HostName", "IdentityFile", "ProxyJump", "ProxyCommand", "SetEnv"],
  ...["LocalForward", "RemoteForward", "DynamicForward", "Ciphers", "HostKeyAlgorithms", "RekeyLimit", "ControlPath"],
  ...["CanonicalizeHostname", "CanonicalDomains", "ConnectTimeout", "IgnoreUnknown", "IPQoS", "EscapeChar", "Bogus"],
];
const pieces = [
  ...["*", "web", "!", '"', "'", "\\", "#", "=", " ", "\t", "%h", "%", "${A}", "${", "~", "/", ":", "22", "[::1]", ","],
  ...["yes", "none", "all", "final", "exec", "host", "+", "-", "^", "aes128-ctr", "1h", "\r", "\0", "ü", "@", "inc"],
];

Deno.test("fuzz: a configuration of any words is read, or refused with its own error", async () => {
  const run = await fuzzAsync(async (seed) => {
    const prng = new Prng(seed), lines: string[] = [];
    for (let n = prng.below(6); n >= 0; n--) {
      lines.push(
        prng.pick(keywords) + prng.pick([" ", "=", "\t"]) +
          Array.from({ length: prng.below(5) }, () => prng.pick(pieces)).join(prng.pick(["", " "])),
      );
    }
    const text = lines.join("\n");
    try {
      shown(await read(text, "web", { exec: true, env: { A: "x" }, files: { "/home/alice/.ssh/inc": text } }));
      return true;
    } catch (error) {
      if (error instanceof SshConfigError) return false;
      throw error;
    }
  }, { count: 1500, share: 3 });
  assert(run.accepted > 50, String(run.accepted));
});

Deno.test("fuzz: a configuration of any bytes is read, or refused with its own error", async () => {
  const valid = new TextEncoder().encode(
    'Host web *.a\n  User "a b"\n  Port 22\nMatch host web exec "x %h"\nCiphers +aes*\n',
  );
  await fuzzAsync(async (seed) => {
    const bytes = seed % 2 === 0 ? fuzzBytes(seed) : mutate(valid, seed);
    try {
      shown(await read(new TextDecoder().decode(bytes)));
      return true;
    } catch (error) {
      if (error instanceof SshConfigError) return false;
      throw error;
    }
  }, { count: 500, share: 3 });
});

Deno.test("fuzz: places and forwards of any characters are read, or are none", () => {
  fuzz((seed) => {
    const prng = new Prng(seed);
    const text = Array.from(
      { length: prng.below(9) },
      () => prng.pick(["a", ":", "[", "]", "/", "@", "1", "\\", "%", "ssh://"]),
    ).join("");
    const forward = parseForward(text, { dynamic: seed % 3 === 0, remote: seed % 2 === 0 });
    return parseDestination(text) !== null || forward !== null;
  }, { count: 3000, share: 3 });
});
