/** Every name that an object of options may have; the compiler asks for all of them. */
export type Names<T> = Readonly<Record<keyof T, true>>;

/**
 * A name with a typing error must not be taken for an option that was left out: everything would be erased, disclosed or left
 * unchecked then. Throws `TypeError`, which `call` begins.
 */
export function checkOptionNames<T extends object>(call: string, given: T, known: Names<T>): void {
  for (const name in given) {
    if (Object.hasOwn(known, name)) continue;
    throw new TypeError(`${call}: unknown option ${JSON.stringify(name)}; known are ${Object.keys(known).join(", ")}`);
  }
}
