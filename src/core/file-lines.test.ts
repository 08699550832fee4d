import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { concatBytes, encodeUtf8 } from "./encoding.ts";
import { type FileLine, splitLines } from "./file-lines.ts";

async function linesOf(pieces: Iterable<Uint8Array>, sizeBytesMax?: number): Promise<FileLine[]> {
  const lines: FileLine[] = [];
  for await (const line of splitLines(pieces, sizeBytesMax === undefined ? {} : { sizeBytesMax })) lines.push(line);
  return lines;
}
const shown = (lines: readonly FileLine[]) =>
  lines.map(({ bytes, ended }) => `${String.fromCharCode(...bytes)}${ended ? "|" : ""}`);
const text = (value: string): Uint8Array => encodeUtf8(value);

describe("splitLines", () => {
  it("gives lines without their newline, and says where there was none", async () => {
    expect(shown(await linesOf([text("a\nbc\n")]))).toEqual(["a|", "bc|"]);
    expect(shown(await linesOf([text("a\nbc")]))).toEqual(["a|", "bc"]);
    expect(shown(await linesOf([text("\n\n")]))).toEqual(["|", "|"]);
    expect(shown(await linesOf([]))).toEqual([]);
    expect(shown(await linesOf([text("")]))).toEqual([]);
  });

  it("gives the same lines however the file is cut into pieces", async () => {
    const alphabet = fc.array(fc.constantFrom(0x0a, 0x61, 0xff), { maxLength: 12 });
    await fc.assert(
      fc.asyncProperty(fc.array(alphabet, { maxLength: 6 }), async (parts) => {
        const pieces = parts.map((part) => Uint8Array.from(part));
        expect(await linesOf(pieces)).toEqual(await linesOf([concatBytes(...pieces)]));
      }),
      { seed: 20261120 },
    );
  });

  it("keeps one byte more than allowed of a line that is too long, and finds the next", async () => {
    const pieces = [text("abc"), text("defg"), text("h\nij\nklmnopq"), text("r")];
    expect(shown(await linesOf(pieces, 4))).toEqual(["abcde|", "ij|", "klmno"]);
    expect(shown(await linesOf([text("abcd\nabcde\n")], 4))).toEqual(["abcd|", "abcde|"]);
  });

  it("takes pieces as they come, from an asynchronous source", async () => {
    async function* source(): AsyncGenerator<Uint8Array> {
      yield text("a\n");
      yield text("b\n");
    }
    const lines = splitLines(source());
    expect(shown([(await lines.next()).value as FileLine])).toEqual(["a|"]);
  });
});
