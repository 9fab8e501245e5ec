/** Bench. Deno's own start, to be taken from that of `import.ts`. */
export {};
