/** Who is asked during a login is told when nobody waits for the answer any more: a question on a terminal must not stay there. */
import { assertEquals, assertRejects } from "@std/assert";
import { type AuthMethod, keyboardInteractive, password } from "../../lib/auth/methods.ts";
import { memoryPair } from "../_support/duplex.ts";
import { join } from "../_support/joined.ts";
import { until } from "../_support/until.ts";

Deno.test("password() and keyboardInteractive() hand on a signal that aborts when the connection is lost, or the login is over", async () => {
  const told: AbortSignal[] = [], endless = new Promise<never>(() => {});
  const ways: Record<string, AuthMethod> = {
    "password()": password(({ signal }) => (told.push(signal), endless)),
    "keyboardInteractive()": keyboardInteractive((_round, { signal }) => (told.push(signal), endless)),
  };
  const auth = {
    password: () => true,
    keyboardInteractive: async (_info: unknown, ask: (prompts: { text: string; echo: boolean }[]) => unknown) =>
      await ask([{ text: "?", echo: true }]) !== null,
  };
  for (const [name, method] of Object.entries(ways)) {
    for (const end of ["lost", "aborted"]) {
      const pair = memoryPair(), abort = new AbortController(), asked = told.length;
      const joining = join({ auth }, { auth: [method], signal: abort.signal }, pair);
      joining.catch(() => {});
      await until(() => told.length > asked, `Nobody is asked by ${name}`);
      assertEquals(told[asked]!.aborted, false);
      if (end === "lost") pair.reset();
      else abort.abort(new Error("enough"));
      await assertRejects(() => joining, Error, end === "lost" ? undefined : "enough");
      await until(() => told[asked]!.aborted, `${name} is asked on: ${end}`);
    }
  }
  // Where the answer is there, too.
  const kept: AbortSignal[] = [];
  await using joined = await join({ auth: { password: () => true } }, {
    auth: [password(({ signal }) => (kept.push(signal), "x"))],
  });
  assertEquals((await joined.client.exec("exit 2")).code, 2);
  await until(() => kept[0]!.aborted, "The signal of a login that is over does not tell");
});
