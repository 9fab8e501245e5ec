// @ts-types="./mod.d.ts"
export * from "npm:deno-std@1/streams/mod.js";
