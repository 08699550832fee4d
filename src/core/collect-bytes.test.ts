import { describe, expect, it } from "vitest";
import { collectBytes } from "./collect-bytes.ts";

describe("collectBytes", () => {
  it("gives the whole of what has at most so many bytes", async () => {
    const pieces = [Uint8Array.of(1, 2), new Uint8Array(0), Uint8Array.of(3)];
    expect(await collectBytes(pieces, 3)).toEqual(Uint8Array.of(1, 2, 3));
    expect(await collectBytes([], 0)).toEqual(new Uint8Array(0));
    const tiny = Array.from({ length: 300_000 }, () => Uint8Array.of(7));
    expect((await collectBytes(tiny, 300_000))?.length).toBe(300_000);
  });

  it("gives null for more, and reads no further", async () => {
    let given = 0;
    let isLeft = false;
    async function* endless(): AsyncGenerator<Uint8Array> {
      try {
        for (;;) {
          given += 1;
          yield new Uint8Array(10);
        }
      } finally {
        isLeft = true;
      }
    }
    expect(await collectBytes(endless(), 25)).toBe(null);
    expect({ given, isLeft }).toEqual({ given: 3, isLeft: true });
  });
});
