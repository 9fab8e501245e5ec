/**
 * Bench. The delaying relay of the tests in a process of its own. Prints its port; ends when stdin does.
 */

import { delayRelay } from "../../tests/_support/relay.ts";
import { params, report } from "./common.mjs";

await using relay = delayRelay({ to: { port: params.port }, delay: params.delay });
report({ port: relay.port });
for await (const _ of Deno.stdin.readable);
