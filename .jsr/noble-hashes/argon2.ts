export * from "npm:@noble/hashes@2/argon2.js";
