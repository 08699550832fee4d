import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { filesystemArchive } from "../../src/storage/archive/filesystem.ts";
import { bundleChildJobs, type ChildJobs, killAfter } from "../child-jobs.ts";

// Real processes on one folder: what links and renames decide must not depend on anything that one process remembers.
const PROCESSES = 6;
const ROUNDS = 15;

let child: ChildJobs;

const JOBS = `
import { filesystemArchive } from "./src/storage/archive/filesystem.ts";

const bytes = (text) => new TextEncoder().encode(text);
const sizeOf = (object) => object === undefined ? 0 : Number(new TextDecoder().decode(object).split("\\n")[0]);
// Notes of very different lengths: half of one would show.
const note = (size) => bytes(size + "\\n" + "x".repeat((size % 7) * 3000) + "\\n" + size + "\\n");
const codeOf = (action) => action.then(() => "done", (error) => error.code);

const jobs = {
  // Puts one more on the checkpoint until it has won ${ROUNDS} times, and says which sizes it won.
  async counter({ directory }) {
    const won = [];
    while (won.length < ${ROUNDS}) {
      const archive = filesystemArchive(directory);
      const present = await archive.get("checkpoint");
      const size = sizeOf(present) + 1;
      const code = await codeOf(archive.replace("checkpoint", present ?? null, note(size)));
      if (code === "done") won.push(size);
      else if (code !== "lock-moved") throw new Error(code);
    }
    return won;
  },
  // Replaces for ever, and says each size once it is durable; it is killed in the middle of it.
  async forever({ directory }) {
    const archive = filesystemArchive(directory);
    for (;;) {
      const present = await archive.get("checkpoint");
      const size = sizeOf(present) + 1;
      const code = await codeOf(archive.replace("checkpoint", present ?? null, note(size)));
      if (code === "done") process.send(size);
    }
  },
  // Everybody puts the same objects, and one that is their own.
  async put({ directory, id }) {
    const archive = filesystemArchive(directory);
    const codes = [];
    for (let i = 0; i < ${ROUNDS}; i++) {
      const path = "tile/0/x00" + (i % 3) + "/" + String(i).padStart(3, "0");
      codes.push(await codeOf(archive.put(path, bytes("tile " + i))));
      codes.push(await codeOf(archive.put(path + ".p/1", bytes("by " + id))));
      if (i % 5 === 4) await archive.deletePartials("tile/0/x009/999");
    }
    return codes;
  },
};
`;

beforeAll(async () => {
  child = await bundleChildJobs("archive", JOBS);
});
afterAll(() => child.remove());

/** Size of a checkpoint as a web server would read it; a torn one has different first and last lines. */
function readSize(directory: string): number {
  let text: string;
  try {
    text = readFileSync(join(directory, "checkpoint"), "utf8");
  } catch {
    return 0;
  }
  const lines = text.trimEnd().split("\n");
  expect(lines.at(-1)).toBe(lines[0]);
  return Number(lines[0]);
}

describe(`${PROCESSES} processes on one archive`, () => {
  it("win every replacement exactly once, and nobody who looks on sees it go back", async () => {
    const directory = join(child.folder, "counter");
    let seen = 0;
    let isRunning = true;
    const looking = (async () => {
      while (isRunning) {
        const size = readSize(directory);
        expect(size).toBeGreaterThanOrEqual(seen);
        seen = size;
        await new Promise((resolve) => setImmediate(resolve));
      }
    })();
    const won = await child.runAll<number[]>(PROCESSES, "counter", { directory }).finally(() => {
      isRunning = false;
    });
    await looking;
    expect(won.flat().sort((a, b) => a - b)).toEqual(Array.from({ length: PROCESSES * ROUNDS }, (_, i) => i + 1));
    expect(readSize(directory)).toBe(PROCESSES * ROUNDS);
    expect(readdirSync(join(directory, ".drafts"))).toEqual([]);
  });

  it("put the same object together, and different ones so that one of them stays", async () => {
    const directory = join(child.folder, "put");
    const codes = await child.runAll<string[]>(PROCESSES, "put", { directory });
    for (let i = 0; i < ROUNDS; i++) {
      const same = codes.map((each) => each[2 * i]);
      const own = codes.map((each) => each[2 * i + 1]);
      expect(same).toEqual(codes.map(() => "done"));
      expect(own.filter((code) => code === "done")).toHaveLength(1);
      expect(own.filter((code) => code === "already-exists")).toHaveLength(PROCESSES - 1);
      const path = join(directory, "tile", "0", `x00${i % 3}`, String(i).padStart(3, "0"));
      expect(readFileSync(path, "utf8")).toBe(`tile ${i}`);
      expect(readFileSync(`${path}.p/1`, "utf8")).toBe(`by ${own.indexOf("done")}`);
    }
  });

  it("keep every replacement that had resolved when one of them is killed", async () => {
    const directory = join(child.folder, "killed");
    const archive = filesystemArchive(directory);
    for (const messages of [1, 2, 5, 13, 40]) {
      const resolved = await killAfter(child.start({ job: "forever", directory }), messages);
      expect(readSize(directory)).toBeGreaterThanOrEqual(resolved);
      // The killed writer may have decided one more; either way the next one goes on from there, at the second try at the latest.
      for (let tries = 0; tries < 2; tries++) {
        const present = await archive.get("checkpoint");
        const size = readSize(directory) + 1;
        const next = new TextEncoder().encode(`${size}\n${size}\n`);
        const code = await archive.replace("checkpoint", present ?? null, next).then(
          () => "done",
          (error: { code: string }) => error.code,
        );
        if (code === "done") break;
        expect({ code, tries }).toEqual({ code: "lock-moved", tries: 0 });
      }
    }
  });
});
