/**
 * The rings of Streamlined NTRU Prime 761: polynomials modulo x^761 - x - 1 over the integers modulo 4591 and modulo 3.
 * draft-josefsson-ntruprime-ssh section 3, and the submission that it names. No I/O.
 *
 * Nothing here branches on a coefficient, uses one as an index, or divides: masks take the place of conditions, and Math.imul() that of
 * `*`, because products of small integers are otherwise watched for -0 and may turn into floating-point numbers by their values.
 *
 * @module
 */
import { instantiateSntrup, type SntrupFunctions } from "./sntrup761_wasm.ts";

/** Degree. */
export const P = 761;
/** Modulus, and the largest coefficient: they lie from -HALF to HALF. */
export const Q = 4591, HALF = 2295;
/** Coefficients of a short polynomial that are not 0. */
export const WEIGHT = 286;

/** Coefficients, lowest first. */
export type Polynomial = Int32Array<ArrayBuffer>;

/** -1 for whatever is not 0, else 0. */
export function nonzeroMask(x: number): number {
  return (x | -x) >> 31;
}

/** `x` modulo 4591, from -2295 to 2295, for |x| below 2^25. */
export function modQ(x: number): number {
  // By 57 / 2^18, which is 1/4591 nearly; then what is left, below 2^16, by 29235 / 2^27, which is 1/4591 well enough.
  const near = x - Math.imul(Q, Math.imul(57, x) >> 18);
  return near - Math.imul(Q, (Math.imul(29235, near) + 67108864) >> 27);
}

/** `x` modulo 3, from -1 to 1, for |x| below 2^14. */
export function mod3(x: number): number {
  return x - Math.imul(3, (Math.imul(10923, x) + 16384) >> 15);
}

/** Numbers of an array in the memory, with room up to a multiple of four. */
const ROOM = 768;
/** Where arrays begin, in numbers: v moves down by one with each division step, and something is written in front of g. */
const F = 0, G = F + ROOM + 4, R = G + ROOM, V = R + ROOM + 2 * P;
/** Where products do. */
const A = 0, PRODUCT = A + ROOM, VALUES = 0;

let machine: { memory: Int32Array<ArrayBuffer>; functions: SntrupFunctions } | undefined;

/** Runs `work` with the memory, which holds zeros before it and afterwards. */
function withMemory<T>(work: (memory: Int32Array<ArrayBuffer>, functions: SntrupFunctions) => T): T {
  const { memory, functions } = machine ??= instantiateSntrup();
  try {
    return work(memory, functions);
  } finally {
    memory.fill(0);
  }
}

/** The next multiple of four. */
const fours = (count: number): number => count + 3 & ~3;

/** The product of a polynomial and a small one, before coefficients are reduced: those of the first are multiplied by -1, 0 and 1. */
function product(a: Polynomial, small: Polynomial): Polynomial {
  return withMemory((memory, { addProduct }) => {
    memory.set(a, A);
    for (let i = 0; i < P; i++) addProduct(4 * (PRODUCT + i), 4 * A, small[i]!, fours(P));
    const wide = memory.subarray(PRODUCT, PRODUCT + 2 * P - 1);
    // x^761 = x + 1.
    for (let i = 2 * P - 2; i >= P; i--) {
      const high = wide[i]!;
      wide[i - P]! += high;
      wide[i - P + 1]! += high;
    }
    return wide.slice(0, P);
  });
}

/** The product modulo 4591 of a polynomial and a small one. */
export function timesSmall(a: Polynomial, small: Polynomial): Polynomial {
  const wide = product(a, small);
  for (let i = 0; i < P; i++) wide[i] = modQ(wide[i]!);
  return wide;
}

/** The product modulo 3 of two small polynomials. */
export function timesModulo3(a: Polynomial, b: Polynomial): Polynomial {
  const wide = product(a, b);
  for (let i = 0; i < P; i++) wide[i] = mod3(wide[i]!);
  return wide;
}

/** 1/x modulo 4591. */
function reciprocal(x: number): number {
  let power = 1;
  // x^4589, by the bits of the exponent, which is no secret.
  for (let bit = 12; bit >= 0; bit--) {
    power = modQ(Math.imul(power, power));
    if ((Q - 2) >> bit & 1) power = modQ(Math.imul(power, x));
  }
  return power;
}

/**
 * `first`/`small` by Bernstein's and Yang's division steps: 1,521 of them, whatever the polynomial. Null where there is none, which is
 * no secret of a key that is used.
 */
function divided(field: "stepQ" | "step3", first: number, small: Polynomial): Polynomial | null {
  return withMemory((memory, functions) => {
    const step = functions[field], steps = 2 * P - 1;
    // Coefficients stand in reverse, so that each step cancels the lowest and shifts.
    memory[F] = 1;
    memory[F + P - 1] = memory[F + P] = -1;
    for (let i = 0; i < P; i++) memory[G + P - 1 - i] = small[i]!;
    memory[R] = first;
    let delta = 1;
    for (let done = 0; done < steps; done++) {
      const a = memory[F]!, b = memory[G]!;
      const swap = -delta >> 31 & nonzeroMask(b), exchanged = swap & (a ^ b), f0 = a ^ exchanged, g0 = b ^ exchanged;
      delta = (delta ^ swap & (delta ^ -delta)) + 1;
      // What is above the number of steps that are left does not get to the lowest place any more,
      step(4 * F, 4 * G, fours(Math.min(P + 1, steps - done)), swap, f0, g0, 4);
      // and r and v, which is multiplied by x, have nothing yet above the number of those that are done.
      step(4 * (V - 1 - done), 4 * R, fours(Math.min(P + 1, done + 2)), swap, f0, g0, 0);
    }
    if (delta !== 0) return null;
    const lowest = memory[F]!, v = memory.subarray(V - steps, V - steps + P).toReversed();
    // Modulo 3, 1 and -1 are their own inverses.
    const scale = field === "step3" ? lowest : reciprocal(lowest), reduce = field === "step3" ? mod3 : modQ;
    return v.map((coefficient) => reduce(Math.imul(scale, coefficient)));
  });
}

/** 1/(3 `small`) modulo 4591. Every polynomial but 0 has an inverse: the ring is a field. */
export function reciprocalOf3Times(small: Polynomial): Polynomial {
  return divided("stepQ", reciprocal(3), small)!;
}

/** 1/`small` modulo 3, or null where there is none. */
export function reciprocalModulo3(small: Polynomial): Polynomial | null {
  return divided("step3", 1, small);
}

/** Sorted by Batcher's merge exchange: the places compared are the same for all values. */
export function sorted(values: Int32Array<ArrayBuffer>): Int32Array<ArrayBuffer> {
  return withMemory((memory, { exchangePass }) => {
    const count = values.length, top = 1 << 31 - Math.clz32(count - 1);
    memory.set(values, VALUES);
    for (let p = top; p > 0; p >>= 1) {
      for (let q = top, set = 0, distance = p;; distance = q - p, q >>= 1, set = p) {
        exchangePass(4 * VALUES, count - distance, distance, p, set);
        if (q === p) break;
      }
    }
    return memory.slice(VALUES, VALUES + count);
  });
}
