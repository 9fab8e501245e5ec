/**
 * Runs recipes one after the other in one program, each as a module. Those that go on for ever are started, and not waited for.
 *
 * @module
 */
// deno-lint-ignore-file no-console
const recipes = JSON.parse(Deno.args[0]!) as { title: string; file: string; ends: boolean }[];
const say = (text: string): void => console.log(`\n=== ${text}`);
for (const { title, file, ends } of recipes) {
  say(title);
  const running = import(file).then(() => ends && say(`code ${Deno.exitCode}`), (error) => {
    say(`FAILED ${title}`);
    console.log(error);
  });
  if (ends) await running;
  Deno.exitCode = 0;
}
say("all");
