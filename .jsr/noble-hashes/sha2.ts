export * from "npm:@noble/hashes@2/sha2.js";
