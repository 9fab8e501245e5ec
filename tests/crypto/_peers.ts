/** What the tests of key agreement share. */
import { assertEquals, assertRejects } from "@std/assert";
import { SshProtocolError } from "../../lib/errors.ts";
import type { KeyAgreement } from "../../lib/crypto/types.ts";

/** Runs both sides and holds that they agree. */
export async function exchange(agreement: KeyAgreement): Promise<Uint8Array> {
  const client = await agreement.start();
  const { publicValue, secret } = await agreement.respond(client.publicValue);
  const other = await client.finish(publicValue);
  assertEquals(other, secret);
  return secret;
}

/** Holds that both sides refuse `value` with reason 3, KEY_EXCHANGE_FAILED. */
export async function assertRefused(agreement: KeyAgreement, value: Uint8Array, what: string): Promise<void> {
  const client = await agreement.start();
  for (const act of [() => agreement.respond(value), () => client.finish(value)]) {
    const error = await assertRejects(act, SshProtocolError, "Cannot agree on a key", what);
    assertEquals(error.reason, 3, what);
  }
}

/** A flipped copy: bit 0 of the byte at `at`. */
export function flipped(bytes: Uint8Array, at: number): Uint8Array<ArrayBuffer> {
  const copy = new Uint8Array(bytes);
  copy.set([bytes.at(at)! ^ 1], at < 0 ? bytes.length + at : at);
  return copy;
}
