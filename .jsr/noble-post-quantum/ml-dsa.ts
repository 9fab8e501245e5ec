export * from "npm:@noble/post-quantum@0.7/ml-dsa.js";
