/**
 * The few functions of the C library that make terminals, for Deno on Linux. None of them is called with arguments behind a `...` but
 * `ioctl()`, which x86-64 and arm64 Linux pass as they pass any others; where that differs, as on macOS, nothing is loaded.
 *
 * @module
 */

const symbols = {
  posix_openpt: { parameters: ["i32"], result: "i32" },
  unlockpt: { parameters: ["i32"], result: "i32" },
  ptsname_r: { parameters: ["i32", "buffer", "usize"], result: "i32" },
  chown: { parameters: ["buffer", "u32", "u32"], result: "i32" },
  ioctl: { parameters: ["i32", "u64", "buffer"], result: "i32" },
  tcgetpgrp: { parameters: ["i32"], result: "i32" },
  tcgetsid: { parameters: ["i32"], result: "i32" },
  /** The second one is nowhere: nothing is changed, only asked for. */
  sigaction: { parameters: ["i32", "pointer", "buffer"], result: "i32" },
  signal: { parameters: ["i32", "pointer"], result: "pointer" },
  kill: { parameters: ["i32", "i32"], result: "i32" },
  eventfd: { parameters: ["u32", "i32"], result: "i32" },
  read: { parameters: ["i32", "buffer", "usize"], result: "isize" },
  write: { parameters: ["i32", "buffer", "usize"], result: "isize" },
  close: { parameters: ["i32"], result: "i32" },
  /** At once: what is ready now. */
  poll: { parameters: ["buffer", "usize", "i32"], result: "i32" },
  /** In a thread of its own, for as long as it takes. */
  waitForAny: { name: "poll", parameters: ["buffer", "usize", "i32"], result: "i32", nonblocking: true },
} as const satisfies Deno.ForeignLibraryInterface;

/** Its functions. */
export type Libc = Deno.DynamicLibrary<typeof symbols>["symbols"];

/**
 * The C library; whoever loads it closes it. Throws `Error` where terminals cannot be made, and `Deno.errors.NotCapable` without
 * `--allow-ffi`.
 */
export function loadLibc(): Deno.DynamicLibrary<typeof symbols> {
  const { os, arch } = (globalThis as { Deno?: typeof Deno }).Deno?.build ?? {};
  if (os !== "linux") {
    throw new Error(`Cannot make terminals: that takes Deno on Linux, and this is ${os ?? "neither"}`);
  }
  // The name alone takes the whole permission; a path is enough for `--allow-ffi=PATH`.
  const places = ["libc.so.6", `/lib/${arch}-linux-gnu/libc.so.6`, "/lib64/libc.so.6", `/lib/ld-musl-${arch}.so.1`];
  let failure: unknown, isForbidden = false;
  for (const place of places) {
    try {
      return Deno.dlopen(place, symbols);
    } catch (error) {
      isForbidden ||= error instanceof Deno.errors.NotCapable;
      failure ??= error;
    }
  }
  if (!isForbidden) throw new Error("Cannot make terminals: no C library was found", { cause: failure });
  throw new Deno.errors.NotCapable(
    `Cannot make terminals: the C library must be called for them, which takes --allow-ffi, or --allow-ffi=${
      places[1]
    }`,
  );
}
