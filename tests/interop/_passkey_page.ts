/** What the page of passkey_test.ts is made of: the test calls it by its names. */
import { connect, pinnedHostKey, publicKey, webSocketTransport } from "@amiko/ssh/client";
import { createPasskey, type Passkey, passkey, type PasskeyOptions } from "@amiko/ssh/keys";

/** Logs in through a WebSocket of this page's server, and tells how that went; or why it did not. */
async function logIn(
  path: string,
  { username, hostKeys }: { username: string; hostKeys: string[] },
  stored: Passkey,
  options: PasskeyOptions = {},
): Promise<number | string | null> {
  try {
    await using client = await connect({
      hostname: location.hostname,
      transport: await webSocketTransport(new URL(path, location.href)),
      username,
      auth: [publicKey(passkey(stored, options))],
      verifyHostKey: pinnedHostKey(...hostKeys),
    });
    return (await client.exec("exit 3")).code;
  } catch (error) {
    return String(error);
  }
}

Object.assign(globalThis, { createPasskey, logIn });
