/**
 * What every copy of files has, over whatever protocol: its summary, and the name of a file that is not whole yet. No I/O.
 *
 * @module
 */
import { encodeName } from "./names.ts";

/** What a copy did. */
export interface TransferSummary {
  /** Files copied; those that `resume` found whole are not counted. */
  readonly files: number;
  /** Bytes copied. */
  readonly bytes: number;
  /**
   * What was done differently than asked, in words, for files that were copied whole: times or permission bits that `preserve`
   * could not keep, or what was to be removed and stays there. Empty where all was done; of very many the first hundred.
   */
  readonly warnings: readonly string[];
}

/** Two 32-bit FNV-1a hashes: enough to tell versions of one file apart, and nothing more. */
function fingerprint(text: string): string {
  let result = "";
  for (const seed of [0x811c9dc5, 0x9dc5811c]) {
    let hash = seed;
    for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
    result += (hash >>> 0).toString(16).padStart(8, "0");
  }
  return result;
}

/**
 * The name beside `base` that a file has while it is copied. It tells the version of the source by its path, size and time, so
 * that a copy goes on only from the same one. `copy` is its number among those under way.
 */
export function partName(
  base: string,
  source: string,
  size: number,
  mtime: number,
  { ending = "part", copy = 0 }: { readonly ending?: string; readonly copy?: number } = {},
): string {
  const tag = fingerprint(`${source}\0${size}\0${mtime}${copy === 0 ? "" : `\0${copy}`}`);
  return encodeName(base).length > 200 ? `.${tag}.${ending}` : `.${base}.${tag}.${ending}`;
}

/** Paths of parts that this program writes to, by where they are. */
const written = new WeakMap<object, Set<string>>();

/** Where local files are. */
export const HERE: object = {};

/** A part that is written to; disposing it lets go of it. */
export interface TakenPart extends Disposable {
  /** Its path. */
  readonly path: string;
  /** Which of the copies under way it is. */
  readonly copy: number;
}

/**
 * Takes the first part that nobody in this program writes to: of two copies that write to one, the first to be whole would give the
 * file's name to what the other has begun.
 */
export function takePart(where: object, pathOf: (copy: number) => string): TakenPart {
  const paths = written.get(where) ?? new Set();
  written.set(where, paths);
  let copy = 0, path = pathOf(copy);
  while (paths.has(path)) path = pathOf(++copy);
  paths.add(path);
  return { path, copy, [Symbol.dispose]: () => void paths.delete(path) };
}
