import { isTallystickError } from "../core/errors.ts";

/** The test functions of vitest, node:test with an expect, or jest: whatever the user's suites run in. */
export interface SuiteTools {
  readonly describe: (name: string, body: () => void) => unknown;
  readonly it: (name: string, body: () => Promise<void>) => unknown;
  readonly expect: (actual: unknown) => {
    toBe(expected: unknown): unknown;
    toEqual(expected: unknown): unknown;
  };
}

/** `it`, where each test gets what `make` made, and it is disposed of whatever the test did. */
export function checkWith<T extends { readonly dispose: () => Promise<void> }>(
  { it }: SuiteTools,
  make: () => Promise<T>,
): (title: string, body: (under: T) => Promise<void>) => void {
  return (title, body) => {
    it(title, async () => {
      const under = await make();
      try {
        await body(under);
      } finally {
        await under.dispose();
      }
    });
  };
}

/** "no error", the code of one of our errors, or the name of any other. */
export async function outcomeOf(action: Promise<unknown>): Promise<string> {
  try {
    await action;
    return "no error";
  } catch (error) {
    if (isTallystickError(error)) return error.code;
    return error instanceof Error ? error.name : String(error);
  }
}
