/** Test support. What WebCrypto computes, watched. */

/**
 * Runs `test` and then waits for all that WebCrypto has begun, which cannot be called off: a connection may end, or a batch fail at its first
 * packet, while others are computed.
 */
export async function withWebCrypto(test: () => Promise<void>): Promise<void> {
  const { subtle } = crypto, begun: Promise<unknown>[] = [];
  const watch = <A extends unknown[], R>(call: (...args: A) => Promise<R>) => (...args: A): Promise<R> => {
    const promise = call.apply(subtle, args);
    begun.push(promise);
    return promise;
  };
  const { encrypt, decrypt, sign } = subtle;
  Object.assign(subtle, { encrypt: watch(encrypt), decrypt: watch(decrypt), sign: watch(sign) });
  try {
    await test();
  } finally {
    for (const name of ["encrypt", "decrypt", "sign"]) Reflect.deleteProperty(subtle, name);
    await Promise.allSettled(begun);
  }
}
