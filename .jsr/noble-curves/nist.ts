export * from "npm:@noble/curves@2/nist.js";
