export * from "npm:@noble/curves@2/ed25519.js";
