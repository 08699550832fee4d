import type { Archive } from "../ledger/archive.ts";
import { checkWith, outcomeOf, type SuiteTools } from "./suite.ts";

export interface ArchiveUnderTest {
  readonly archive: Archive;
  /** A further handle on the same objects, as another process would have it. Absent where an archive has one handle only. */
  readonly another?: () => Promise<Archive>;
  readonly dispose: () => Promise<void>;
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (object: Uint8Array | undefined): string | undefined =>
  object === undefined ? undefined : new TextDecoder().decode(object);

/** Writers of a race, and rounds that they run. */
const WRITERS = 8;
const ROUNDS = 5;

/**
 * Conformance suite of the Archive port: every sentence of its doc comments. `make` gives a fresh, empty archive each time.
 * Implementations of your own should pass it on the real service.
 */
export function archiveSuite(name: string, tools: SuiteTools, make: () => Promise<ArchiveUnderTest>): void {
  const { describe, expect } = tools;
  const check = checkWith(tools, make);
  const handlesOf = async ({ archive, another }: ArchiveUnderTest): Promise<Archive[]> => {
    const handles = [archive];
    while (handles.length < WRITERS) handles.push(another === undefined ? archive : await another());
    return handles;
  };

  describe(`archive: ${name}`, () => {
    check("has nothing at first", async ({ archive }) => {
      expect(await archive.get("checkpoint")).toBe(undefined);
      expect(await archive.get("tile/0/000")).toBe(undefined);
      expect(await archive.get("tile/0/x001/234")).toBe(undefined);
    });

    check("gives back what was put, byte for byte, empty and large objects too", async ({ archive }) => {
      const every = Uint8Array.from({ length: 256 }, (_, i) => i);
      const large = new Uint8Array(256 * 65_537).fill(7);
      await archive.put("tile/0/000", every);
      await archive.put("tile/0/000.p/1", new Uint8Array());
      await archive.put("tile/entries/x999/999", large);
      expect(Buffer.compare((await archive.get("tile/0/000")) as Uint8Array, every)).toBe(0);
      expect((await archive.get("tile/0/000.p/1"))?.length).toBe(0);
      expect(Buffer.compare((await archive.get("tile/entries/x999/999")) as Uint8Array, large)).toBe(0);
    });

    check("takes the same bytes again, and refuses others without touching the object", async ({ archive }) => {
      await archive.put("tile/0/000", bytes("one"));
      await archive.put("tile/0/000", bytes("one"));
      for (const other of ["", "on", "two", "ones"])
        expect(await outcomeOf(archive.put("tile/0/000", bytes(other)))).toBe("already-exists");
      expect(text(await archive.get("tile/0/000"))).toBe("one");
    });

    check("does not keep the caller's buffer", async ({ archive }) => {
      // A slice of a Buffer shares its memory.
      const buffer = Buffer.from("one");
      await archive.put("tile/0/000", buffer);
      buffer.fill(0);
      const given = (await archive.get("tile/0/000")) as Uint8Array;
      expect(text(given)).toBe("one");
      given.fill(0);
      expect(text(await archive.get("tile/0/000"))).toBe("one");
    });

    check("lets many put the same object at once", async (under) => {
      const handles = await handlesOf(under);
      const codes = await Promise.all(handles.map((handle) => outcomeOf(handle.put("tile/1/x001/000", bytes("same")))));
      expect(codes).toEqual(handles.map(() => "no error"));
      expect(text(await under.archive.get("tile/1/x001/000"))).toBe("same");
    });

    check("keeps the object of exactly one of many who put different ones", async (under) => {
      const handles = await handlesOf(under);
      for (let round = 0; round < ROUNDS; round++) {
        const path = `tile/0/00${round}`;
        const codes = await Promise.all(handles.map((handle, i) => outcomeOf(handle.put(path, bytes(`writer ${i}`)))));
        expect(codes.filter((code) => code === "no error").length).toBe(1);
        expect(codes.filter((code) => code === "already-exists").length).toBe(WRITERS - 1);
        for (const handle of handles) expect(text(await handle.get(path))).toBe(`writer ${codes.indexOf("no error")}`);
      }
    });

    check("shows other handles what was put", async ({ archive, another }) => {
      if (another === undefined) return;
      await archive.put("tile/0/000", bytes("one"));
      expect(text(await (await another()).get("tile/0/000"))).toBe("one");
    });

    check("replaces an object that is exactly the expected one, and one that is absent", async ({ archive }) => {
      await archive.replace("checkpoint", null, bytes("1"));
      expect(text(await archive.get("checkpoint"))).toBe("1");
      await archive.replace("checkpoint", bytes("1"), bytes("a longer one"));
      expect(text(await archive.get("checkpoint"))).toBe("a longer one");
      await archive.replace("checkpoint", bytes("a longer one"), bytes("3"));
      expect(text(await archive.get("checkpoint"))).toBe("3");
    });

    check("replaces objects in folders too, as large as the largest bundle, each by itself", async ({ archive }) => {
      const [first, second] = [new Uint8Array(256 * 65_537).fill(7), new Uint8Array(256 * 65_537).fill(8)];
      for (const path of ["body/000", "body/x001/000"]) await archive.replace(path, null, first);
      await archive.replace("body/x001/000", first, second);
      expect(Buffer.compare((await archive.get("body/000")) as Uint8Array, first)).toBe(0);
      expect(Buffer.compare((await archive.get("body/x001/000")) as Uint8Array, second)).toBe(0);
      expect(await outcomeOf(archive.replace("body/x001/000", first, second))).toBe("lock-moved");
    });

    check("answers lock-moved to any other expectation, and nothing changes", async ({ archive }) => {
      expect(await outcomeOf(archive.replace("checkpoint", bytes("1"), bytes("2")))).toBe("lock-moved");
      expect(await outcomeOf(archive.replace("checkpoint", bytes(""), bytes("2")))).toBe("lock-moved");
      expect(await archive.get("checkpoint")).toBe(undefined);
      await archive.replace("checkpoint", null, bytes("1"));
      for (const expected of [null, bytes(""), bytes("2"), bytes("11")])
        expect(await outcomeOf(archive.replace("checkpoint", expected, bytes("3")))).toBe("lock-moved");
      expect(text(await archive.get("checkpoint"))).toBe("1");
      await archive.replace("checkpoint", bytes("1"), bytes("2"));
      expect(await outcomeOf(archive.replace("checkpoint", null, bytes("3")))).toBe("lock-moved");
      expect(await outcomeOf(archive.replace("checkpoint", bytes("1"), bytes("3")))).toBe("lock-moved");
      expect(text(await archive.get("checkpoint"))).toBe("2");
    });

    check("gives each round of a race to exactly one writer, and shows all what it wrote", async (under) => {
      const handles = await handlesOf(under);
      let present: Uint8Array | null = null;
      for (let round = 0; round < ROUNDS; round++) {
        const before: Uint8Array | null = present;
        const codes = await Promise.all(
          handles.map((handle, i) => outcomeOf(handle.replace("checkpoint", before, bytes(`${round} by ${i}`)))),
        );
        expect(codes.filter((code) => code === "no error").length).toBe(1);
        expect(codes.filter((code) => code === "lock-moved").length).toBe(WRITERS - 1);
        present = bytes(`${round} by ${codes.indexOf("no error")}`);
        for (const handle of handles) expect(text(await handle.get("checkpoint"))).toBe(text(present));
      }
    });

    check("shows readers whole objects only, and none after a later one", async (under) => {
      const [writer, reader] = (await handlesOf(under)) as [Archive, Archive];
      const object = (n: number): Uint8Array => bytes(`${n}\n`.repeat(1 + (n % 3) * 5_000));
      await writer.replace("checkpoint", null, object(0));
      let done = false;
      const writing = (async () => {
        for (let n = 1; n <= 50; n++) await writer.replace("checkpoint", object(n - 1), object(n));
        done = true;
      })();
      let seen = 0;
      while (!done) {
        const now = (await reader.get("checkpoint")) as Uint8Array;
        const n = Number.parseInt(text(now) as string, 10);
        expect(Buffer.compare(now, object(n))).toBe(0);
        expect(n >= seen).toBe(true);
        seen = n;
      }
      await writing;
    });

    check("reads objects up to the bound, and refuses larger ones", async ({ archive }) => {
      await archive.put("tile/0/000", bytes("12345"));
      expect(text(await archive.get("tile/0/000", { bytesMax: 5 }))).toBe("12345");
      expect(await outcomeOf(archive.get("tile/0/000", { bytesMax: 4 }))).toBe("malformed-tile");
      expect(await archive.get("tile/0/001", { bytesMax: 0 })).toBe(undefined);
    });

    check("does not read once the signal is aborted", async ({ archive }) => {
      await archive.put("tile/0/000", bytes("one"));
      const reason = new Error("enough");
      const read = archive.get("tile/0/000", { signal: AbortSignal.abort(reason) });
      expect(
        await read.then(
          () => null,
          (error: unknown) => error,
        ),
      ).toBe(reason);
    });

    check("removes the partial tiles of one tile and nothing else", async ({ archive }) => {
      const kept = ["tile/0/000", "tile/0/001.p/3", "tile/0/x000/000.p/3", "tile/1/000.p/3", "tile/entries/000.p/3"];
      const removed = ["tile/0/000.p/1", "tile/0/000.p/200", "tile/0/000.p/255"];
      for (const path of [...kept, ...removed]) await archive.put(path, bytes(path));
      await archive.deletePartials("tile/0/000");
      await archive.deletePartials("tile/0/000");
      await archive.deletePartials("tile/5/x123/456");
      for (const path of kept) expect(text(await archive.get(path))).toBe(path);
      for (const path of removed) expect(await archive.get(path)).toBe(undefined);
    });

    check("takes partial tiles again after they were removed", async (under) => {
      const [archive, other] = (await handlesOf(under)) as [Archive, Archive];
      await archive.put("tile/0/000.p/1", bytes("1"));
      await other.put("tile/0/000.p/2", bytes("2"));
      await other.deletePartials("tile/0/000");
      await archive.put("tile/0/000.p/3", bytes("3"));
      await other.put("tile/0/000.p/4", bytes("4"));
      expect(text(await other.get("tile/0/000.p/3"))).toBe("3");
      expect(text(await archive.get("tile/0/000.p/4"))).toBe("4");
      expect(await archive.get("tile/0/000.p/1")).toBe(undefined);
    });

    check("refuses paths that are not plain relative ones", async ({ archive }) => {
      const paths = [
        "",
        "/",
        "/a",
        "a/",
        "a//b",
        ".",
        "..",
        "../a",
        "a/../b",
        "a/./b",
        ".a",
        "a/.b",
        "a\\b",
        "a b",
        "a\0",
      ];
      for (const path of paths) {
        expect(await outcomeOf(archive.get(path))).toBe("TypeError");
        expect(await outcomeOf(archive.put(path, bytes("x")))).toBe("TypeError");
        expect(await outcomeOf(archive.replace(path, null, bytes("x")))).toBe("TypeError");
        expect(await outcomeOf(archive.deletePartials(path))).toBe("TypeError");
      }
    });

    check("says where it is", async ({ archive }) => {
      expect(archive.location.length > 0).toBe(true);
      expect(/\/\/[^/]*@/.test(archive.location)).toBe(false);
    });
  });
}
