import { describe, expect, it } from "vitest";
import { encodeUtf8 } from "./encoding.ts";
import { isTallystickError } from "./errors.ts";
import { recogniseFile, refuseNewerFormat } from "./file-kind.ts";

function codeOf(call: () => void): string {
  try {
    call();
  } catch (error) {
    if (isTallystickError(error)) return error.code;
    throw error;
  }
  return "nothing";
}

describe("recogniseFile", () => {
  it.each([
    ['{"checkpoint":"example.com/audit', "export"],
    ['{"digests":{"a":"', "receipt"],
    ['{"entry":"{', "receipt"],
    ['{"entry":1}', null],
    ['{ "entry":"', null],
    ['{"event":{', null],
    ["SQLite format 3\u0000", null],
    ["PK\u0003\u0004", "package"],
    ["P", null],
    ["", null],
    ["example.com/audit\n1\n\n\u2014 ", "checkpoint"],
    ["{}\n\n\u2014 ", "checkpoint"],
    ["{}\n\n\u2014", null],
    ["c2sp.org/tlog-proof@v9\n\n\u2014 ", null],
  ] as const)("tells by the first bytes: %s", (head, kind) => {
    expect(recogniseFile(head)).toBe(kind);
    expect(recogniseFile(encodeUtf8(head))).toBe(kind);
  });
});

describe("refuseNewerFormat", () => {
  it.each([
    ['{"entry":"","format":"tallystick/receipt/v2"}', "newer-format"],
    ['{"entry":"","format":"tallystick/export/v10"}', "newer-format"],
    ['{"checkpoint":"","format":"tallystick/export/v9007199254740991"}', "newer-format"],
    ['{"checkpoint":"","format":"tallystick/export/v9007199254740992"}', "nothing"],
    ['{"entry":"","format":"tallystick/receipt/v1"}', "nothing"],
    ['{"entry":"","format":"tallystick/receipt/v02"}', "nothing"],
    ['{"entry":"","format":"tallystick/report/v2"}', "nothing"],
    ['{"entry":"","format":2}', "nothing"],
    ['{"entry":"", "format":"tallystick/receipt/v2"}', "nothing"],
    ['{"what":"","format":"tallystick/receipt/v2"}', "nothing"],
    ['{"entry":"', "nothing"],
  ])("believes canonical JSON of a recognised file alone: %s", (line, code) => {
    expect(codeOf(() => refuseNewerFormat(line))).toBe(code);
    expect(codeOf(() => refuseNewerFormat(encodeUtf8(line)))).toBe(code);
  });
});
