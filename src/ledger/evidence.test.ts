import { cpSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { parseCheckpoint } from "../core/checkpoint.ts";
import { parseNote } from "../core/note.ts";
import { generateLogKey } from "../keys/index.ts";
import { Ledger, recover } from "../open.ts";
import { filesystemArchive } from "../storage/archive/filesystem.ts";
import { parseEvidence } from "./evidence.ts";

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

const event = { action: "user.login", actor: "alice" };

describe("a ledger that was rolled back", () => {
  it("leaves both signed heads in a file, and is taken up again only with a record of what was lost", async () => {
    const folder = mkdtempSync(join(tmpdir(), "evidence-"));
    folders.push(folder);
    const file = join(folder, "a.db");
    const options = { state: join(folder, "state"), signer: generateLogKey(), notify: () => {} };
    const ledger = await Ledger.open(file, options);
    await ledger.append(event);
    await ledger.close();
    cpSync(file, join(folder, "old.db"));
    const again = await Ledger.open(file, options);
    await again.append(event);
    await again.close();
    cpSync(join(folder, "old.db"), file);
    for (const end of ["-wal", "-shm"]) rmSync(file + end, { force: true });

    const refusal = (await Ledger.open(file, options).catch((error: unknown) => error)) as {
      code: string;
      details: { evidence: string };
    };
    expect(refusal.code).toBe("rolled-back");
    const text = readFileSync(refusal.details.evidence, "utf8");
    const evidence = parseEvidence(text);
    expect([evidence.shown, evidence.own ?? ""].map((note) => parseCheckpoint(parseNote(note).text).size)).toEqual([
      3, 2,
    ]);

    const tampered = text.replace('"kind":"rolled-back"', '"kind":"nothing"');
    expect(() => parseEvidence(tampered)).toThrow(expect.objectContaining({ code: "malformed-receipt" }));
    const taken = await recover(file, { ...options, reason: "restored from backup", evidence: text });
    expect(taken).toMatchObject({ index: 2, lost: ["database"] });
    const recovered = await Ledger.open(file, options);
    const { event: record } = await recovered.read(2);
    expect(record?.payload).toMatchObject({ checkpoint: evidence.shown, lost: ["database"] });
    await recovered.append(event);
    expect((await recovered.verify()).ok).toBe(true);
    await recovered.close();
  });

  it("is refused by what it published, when database and lock store were both restored", async () => {
    const folder = mkdtempSync(join(tmpdir(), "evidence-"));
    folders.push(folder);
    const file = join(folder, "a.db");
    const published = filesystemArchive(join(folder, "www"));
    const options = { state: join(folder, "state"), signer: generateLogKey(), notify: () => {}, published };
    const ledger = await Ledger.open(file, options);
    await ledger.append(event);
    await ledger.close();
    for (const name of ["a.db", "state"]) cpSync(join(folder, name), join(folder, `old-${name}`), { recursive: true });
    const again = await Ledger.open(file, options);
    await again.append(event);
    await again.publish(published);
    await again.close();
    for (const name of ["a.db", "state"]) {
      rmSync(join(folder, name), { recursive: true });
      cpSync(join(folder, `old-${name}`), join(folder, name), { recursive: true });
    }
    await expect(Ledger.open(file, options)).rejects.toMatchObject({
      code: "rolled-back",
      details: { expected: 3, found: 2 },
    });
    const { published: _, ...blind } = options;
    const deceived = await Ledger.open(file, blind);
    expect(deceived.size).toBe(2);
    await deceived.close();
  });
});
