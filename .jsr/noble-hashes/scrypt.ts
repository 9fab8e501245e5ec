export * from "npm:@noble/hashes@2/scrypt.js";
