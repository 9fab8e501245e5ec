export * from "npm:@noble/curves@2/utils.js";
