import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeHex, encodeHex, isHexText } from "./encoding.ts";

describe("hex", () => {
  it("is decoded and encoded as a Buffer does, and nothing else is taken for it", () => {
    const text = fc.string({
      unit: fc.constantFrom(..."0123456789abcdef", "A", "g", "/", ":", "`", "é", "\u{1f98a}"),
      maxLength: 12,
    });
    fc.assert(
      fc.property(fc.oneof(text, fc.uint8Array().map(encodeHex)), (value) => {
        const isHex = /^[0-9a-f]*$/.test(value);
        expect(isHexText(value)).toBe(isHex);
        const decode = (): Uint8Array => decodeHex(value, { code: "malformed-proof" });
        if (isHex && value.length % 2 === 0) expect(Buffer.from(decode()).toString("hex")).toBe(value);
        else
          expect(decode).toThrow(
            expect.objectContaining({ code: "malformed-proof", message: "expected lower-case hex" }),
          );
      }),
      { numRuns: 2000 },
    );
    expect(() => decodeHex("00", { sizeBytes: 2, code: "malformed-proof" })).toThrow("expected 4 hex digits, got 2");
  });
});
