/** What fails on this side while a signature is checked says nothing of the peer, and is told as what it is. */
import { assertEquals, assertInstanceOf, assertRejects, assertStringIncludes } from "@std/assert";
import { connect, HostKeyError, password } from "../../mod.ts";
import { memoryPair } from "../_support/duplex.ts";
import { rawServer } from "../_support/scripted_login.ts";
import { inTime } from "../_support/until.ts";

/** `crypto.subtle.verify()` behaves so from its `from`th call on; a server of this module checks its own signature, too. */
function verifyBy(from: number, verify: () => Promise<boolean>): Disposable {
  const { subtle } = crypto, real = subtle.verify.bind(subtle) as (...args: unknown[]) => Promise<boolean>;
  let calls = 0;
  Object.defineProperty(subtle, "verify", {
    configurable: true,
    value: (...args: unknown[]) => ++calls < from ? real(...args) : verify(),
  });
  return { [Symbol.dispose]: () => void Reflect.deleteProperty(subtle, "verify") };
}

/** What `connect()` rejects with then. */
async function refused(verify: () => Promise<boolean>): Promise<Error> {
  using _ = verifyBy(2, verify);
  const pair = memoryPair(), peer = rawServer(pair.server);
  const options = { hostname: "test", username: "alice", auth: [password("x")], verifyHostKey: () => true };
  const failed = assertRejects(() => connect({ ...options, transport: pair.client }), Error);
  failed.catch(() => {});
  const shaking = peer.handshake().catch(() => {});
  const error = await inTime(failed, "the refusal");
  await shaking;
  await peer.close();
  return error;
}

Deno.test("connect(): a runtime that fails while it checks the host key's signature is not the server's fault", async () => {
  for (const failure of [new TypeError("verify is not a function"), new Deno.errors.NotSupported("no Ed25519")]) {
    const error = await refused(() => Promise.reject(failure));
    assertInstanceOf(error, HostKeyError);
    assertStringIncludes(error.message, "Host key signature could not be checked");
    assertStringIncludes(error.message, failure.message);
    // What failed is at the end of the causes.
    let cause: unknown = error;
    while (cause instanceof Error && cause.cause !== undefined) cause = cause.cause;
    assertEquals(cause, failure);
  }
});

Deno.test("connect(): a signature that does not fit is still one that proves nothing", async () => {
  const error = await refused(() => Promise.resolve(false));
  assertStringIncludes(error.message, "the server did not prove that it holds its ssh-ed25519 key");
});
