/** The unit tests among the examples, started as their first line says. */
import { assertEquals, assertMatch } from "@std/assert";
import { run } from "../_support/child.ts";
import { examples } from "../_support/examples.ts";

Deno.test("examples/unit_test.ts tests an application without permissions, and passes", async () => {
  const file = `${examples}unit_test.ts`;
  assertEquals(Deno.readTextFileSync(file).split("\n")[0], "#!/usr/bin/env -S deno test");
  const { code, stdout, stderr } = await run([Deno.execPath(), "test", "--no-check", "--no-prompt", file], {
    env: { NO_COLOR: "1" },
  });
  const text = new TextDecoder().decode(stdout);
  assertEquals(code, 0, `${text}${stderr}`);
  assertMatch(text, /ok \| 4 passed \| 0 failed/);
});
