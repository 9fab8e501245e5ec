/** Bench. Deno's start and the import of the module. */
import "../../mod.ts";
