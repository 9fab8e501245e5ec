// @ts-types="./mod.d.ts"
export * from "npm:deno-std@1/bytes/mod.js";
