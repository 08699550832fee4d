import { expect, it } from "vitest";
import { forbiddenWords } from "./check-words.mjs";

it.each([
  ["see /" + "work/x/y", "a path of one machine"],
  ["https://registry." + "npmjs.org/left-pad", "a registry's address"],
  ["it is Tamper" + " proof", "a claim beyond the evidence"],
  ["// TO" + "DO later", "a note to oneself"],
])("finds what must not stand in a tracked file: %s", (line, why) => {
  expect(forbiddenWords("a.md", `fine\n${line}`)).toEqual([expect.stringContaining(`a.md:2: ${why}`)]);
});

it("lets ordinary text pass", () => {
  expect(forbiddenWords("a.md", "tamper-evident, under src/work/ and ~/work/, todo: lower case is prose")).toEqual([]);
});

it("refuses download addresses in a lock file alone", () => {
  const line = '"resolved": "somewhere"';
  expect(forbiddenWords("package-lock.json", line)).toEqual([expect.stringContaining("a download address")]);
  expect(forbiddenWords("notes.json", line)).toEqual([]);
});
