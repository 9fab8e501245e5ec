/**
 * L6. Handing options down.
 *
 * @module
 */

/** The options that were given, by name: `exactOptionalPropertyTypes` tells an absent option from an undefined one. */
export function given<T extends object, K extends keyof T>(
  options: T,
  ...names: K[]
): { [P in K]?: Exclude<T[P], undefined> } {
  const some: { [P in K]?: Exclude<T[P], undefined> } = {};
  for (const name of names) if (options[name] !== undefined) some[name] = options[name] as Exclude<T[K], undefined>;
  return some;
}
