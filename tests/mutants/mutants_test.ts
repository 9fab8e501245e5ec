import { assert, assertEquals } from "@std/assert";
import { mutants } from "./mutants.ts";

const root = new URL("../../", import.meta.url);

Deno.test("mutants fit the code: each text to replace stands in its file once, and each test file is there", () => {
  const wrong: string[] = [];
  for (const { id, file, find, replace, test } of mutants) {
    const count = Deno.readTextFileSync(new URL(file, root)).split(find).length - 1;
    if (count !== 1) wrong.push(`${id}: the text to replace stands ${count} times in ${file}`);
    if (find === replace) wrong.push(`${id}: changes nothing`);
    if (!Deno.statSync(new URL(test, root)).isFile) wrong.push(`${id}: ${test} is no file`);
  }
  assertEquals(wrong, []);
});

Deno.test("mutants have ids of their own, and cover the layers", () => {
  assert(mutants.length >= 60);
  assertEquals(new Set(mutants.map(({ id }) => id)).size, mutants.length);
  const layers = new Set(mutants.map(({ file }) => file.split("/")[1]));
  for (const layer of ["transport", "crypto", "keys", "auth", "connection", "session", "api", "sftp"]) {
    assert(layers.has(layer), layer);
  }
});
