export function concat(buffers: Iterable<Uint8Array>): Uint8Array<ArrayBuffer>;
export function equals(a: Uint8Array, b: Uint8Array): boolean;
export function startsWith(source: Uint8Array, prefix: Uint8Array): boolean;
export function endsWith(source: Uint8Array, suffix: Uint8Array): boolean;
export function indexOfNeedle(source: Uint8Array, needle: Uint8Array, start?: number): number;
export function copy(src: Uint8Array, dst: Uint8Array, off?: number): number;
export function repeat(source: Uint8Array, count: number): Uint8Array<ArrayBuffer>;
