/**
 * The system that this program runs on: Deno's, or by way of Node's modules that of Node and Bun.
 *
 * @module
 */
import { hasDeno, hasSystem } from "../wire/system.ts";
import { nodeSystem } from "./node.ts";
import type { System } from "./types.ts";

/** Not there in a page: whoever uses it has asked `requireSystem()` or `hasSystem()` before. */
export const system: System = hasDeno() ? Deno : hasSystem() ? nodeSystem : undefined!;

/** Whether the program itself lacks a permission of the runtime: it should hear of that. */
export function isNotCapable(error: unknown): boolean {
  return hasSystem() && error instanceof system.errors.NotCapable;
}
