import { cpSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { verifyContradiction } from "../core/contradiction.ts";
import { formatVerifierKey, parseVerifierKey } from "../core/note.ts";
import { formatPolicy, parsePolicy } from "../core/policy.ts";
import { generateLogKey, openState } from "../keys/index.ts";
import { Ledger, recover } from "../open.ts";
import { filesystemArchive } from "../storage/archive/filesystem.ts";
import { verify } from "../verify.ts";

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
    const policy = parsePolicy(again.policy());
    await again.close();
    cpSync(join(folder, "old.db"), file);
    for (const end of ["-wal", "-shm"]) rmSync(file + end, { force: true });

    const refusal = (await Ledger.open(file, options).catch((error: unknown) => error)) as {
      code: string;
      details: { evidence: string };
    };
    expect(refusal.code).toBe("rolled-back");
    const text = readFileSync(refusal.details.evidence, "utf8");
    expect(await verifyContradiction(text, policy)).toMatchObject({
      kind: "rolled-back",
      held: { size: 3 },
      shown: { size: 2 },
    });
    const tampered = text.replace('"kind":"rolled-back"', '"kind":"nothing"');
    await expect(recover(file, { ...options, reason: "x", evidence: tampered })).rejects.toMatchObject({
      code: "malformed-proof",
    });
    const forged = text.replace("\\n3\\n", "\\n4\\n");
    await expect(recover(file, { ...options, reason: "x", evidence: forged })).rejects.toMatchObject({
      code: "signature-invalid",
    });
    const taken = await recover(file, { ...options, reason: "restored from backup", evidence: text });
    expect(taken).toMatchObject({ index: 2, lost: ["database"] });
    const recovered = await Ledger.open(file, options);
    const { event: record } = await recovered.read(2);
    expect(record?.payload).toMatchObject({ checkpoint: JSON.parse(text).held, lost: ["database"] });
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

  it("is a fork in the file, with its proof, where it grew again and signed more", async () => {
    const world = await rollBack(1, 4);
    const { file, options, policy, published } = world;
    // The operator goes on with another key store and another machine, and shows the published copy.
    const state = join(world.folder, "fresh-state");
    cpSync(join(world.folder, "old-state"), state, { recursive: true });
    const regrown = await Ledger.open(file, { ...options, state });
    for (let i = 0; i < 6; i++) await regrown.append({ ...event, actor: "mallory" });
    await regrown.close();
    const refusal = (await Ledger.open(file, { ...options, state, published }).catch((error: unknown) => error)) as {
      code: string;
      details: { evidence: string };
    };
    expect(refusal.code).toBe("forked");
    expect(await verifyContradiction(readFileSync(refusal.details.evidence), policy)).toMatchObject({
      kind: "forked",
      held: { size: 6 },
      shown: { size: 8 },
    });
  });
});

describe("a ledger that was recovered", () => {
  it("opens though a reader here saw more, who is told of it all the same", async () => {
    const { file, options, origin } = await rollBack(1, 4, { remembered: true });
    await expect(Ledger.open(file, options)).rejects.toMatchObject({ code: "rolled-back" });
    // Nothing but the reader's memory knows: the lock store was restored too.
    expect(await recover(file, { ...options, reason: "restored" })).toMatchObject({ index: 2, lost: ["database"] });
    const ledger = await Ledger.open(file, options);
    expect(ledger.appendProblem).toBeNull();
    for (let i = 0; i < 8; i++) await ledger.append(event);
    await ledger.close();
    const report = await verify(file, { state: options.state });
    expect(report.findings.map(({ code }) => code)).toEqual(["expected-root"]);
    expect(openState({ dir: options.state }).lastSeen(origin)).toContain("\n6\n");
  });

  it("puts the largest of what is lost on record, and the reader here remembers that", async () => {
    const { file, options, origin } = await rollBack(1, 4, { remembered: true, lockStore: "kept" });
    // Signed after the reader was there, and lost too.
    const { index } = await recover(file, { ...options, reason: "restored" });
    const ledger = await Ledger.open(file, options);
    const record = (await ledger.read(index)).event as { payload: { checkpoint: string } };
    await ledger.close();
    const { checkpoint } = record.payload;
    expect(checkpoint).toContain("\n7\n");
    expect(openState({ dir: options.state }).lastSeen(origin)).toBe(checkpoint);
    expect((await verify(file, { state: options.state })).findings.map(({ code }) => code)).toEqual([
      "expected-beyond",
    ]);
  });

  it("keeps what the policy of this machine asks for: witnesses, their operators, a quorum", async () => {
    const { file, options, origin, policy } = await rollBack(1, 4, { lockStore: "kept" });
    const state = openState({ dir: options.state });
    const witnesses = ["a", "b"].map((name) => {
      const { publicKey } = generateLogKey();
      const vkey = formatVerifierKey({ name: `${name}.test`, type: 4, publicKey });
      return { name, key: parseVerifierKey(vkey), url: null };
    });
    const operators = [{ name: "acme", witnesses: ["a"] }];
    state.writePolicy(origin, formatPolicy({ ...policy, witnesses, operators, quorum: "b" }));
    const signer = generateLogKey();
    expect(await recover(file, { ...options, signer, reason: "key lost too" })).toMatchObject({
      lost: ["database", "key"],
    });
    const kept = parsePolicy(state.readPolicy(origin) ?? "");
    expect(kept).toMatchObject({ quorum: "b", operators, witnesses: [{ name: "a" }, { name: "b" }] });
    expect(kept.logKeys).toHaveLength(2);
  });

  it("opens beside the published copy that it gave up, and publishes elsewhere", async () => {
    const { file, folder, options, published } = await rollBack(1, 4);
    const refusal = (await Ledger.open(file, { ...options, published }).catch((error: unknown) => error)) as {
      details: { evidence: string };
    };
    const evidence = readFileSync(refusal.details.evidence, "utf8");
    // The lock store agrees with the ledger: the evidence alone says that something is lost.
    await expect(recover(file, { ...options, reason: "restored" })).rejects.toMatchObject({ code: "already-exists" });
    expect(await recover(file, { ...options, reason: "restored", evidence })).toMatchObject({ lost: ["database"] });
    const ledger = await Ledger.open(file, { ...options, published });
    expect(ledger.appendProblem).toBeNull();
    await expect(ledger.publish(published)).rejects.toMatchObject({ code: "rolled-back" });
    expect(await ledger.publish(filesystemArchive(join(folder, "www2")))).toMatchObject({ size: 3 });
    await ledger.close();
  });

  it("is refused again when it is rolled back again: only what is on record is given up", async () => {
    const { file, folder, options, published } = await rollBack(1, 4, { remembered: true });
    await recover(file, { ...options, reason: "restored" });
    const www = filesystemArchive(join(folder, "www2"));
    const first = await Ledger.open(file, options);
    await first.publish(www);
    await first.close();
    for (const name of ["a.db", "state"])
      cpSync(join(folder, name), join(folder, `again-${name}`), { recursive: true });
    const second = await Ledger.open(file, options);
    await second.append(event);
    await second.publish(www);
    await second.close();
    for (const name of ["a.db", "state"]) {
      rmSync(join(folder, name), { recursive: true });
      cpSync(join(folder, `again-${name}`), join(folder, name), { recursive: true });
    }
    await expect(Ledger.open(file, { ...options, published: www })).rejects.toMatchObject({
      code: "rolled-back",
      details: { expected: 4, found: 3 },
    });
    await (await Ledger.open(file, { ...options, published })).close();
  });
});

/** A ledger of `before` + 1 entries, with its lock store, put back after `more` were appended and published. */
async function rollBack(
  before: number,
  more: number,
  { remembered = false, lockStore = "restored" as "restored" | "kept" } = {},
) {
  const folder = mkdtempSync(join(tmpdir(), "evidence-"));
  folders.push(folder);
  const file = join(folder, "a.db");
  const published = filesystemArchive(join(folder, "www"));
  const options = { state: join(folder, "state"), signer: generateLogKey(), notify: () => {} };
  const ledger = await Ledger.open(file, options);
  for (let i = 0; i < before; i++) await ledger.append(event);
  await ledger.close();
  for (const name of ["a.db", "state"]) cpSync(join(folder, name), join(folder, `old-${name}`), { recursive: true });
  const again = await Ledger.open(file, options);
  for (let i = 0; i < more; i++) await again.append(event);
  await again.publish(published);
  const { origin } = again;
  const policy = parsePolicy(again.policy());
  if (remembered) openState({ dir: options.state }).rememberCheckpoint(origin, await again.checkpoint());
  const seen = openState({ dir: options.state }).lastSeen(origin);
  if (lockStore === "kept") await again.append(event);
  await again.close();
  rmSync(file);
  cpSync(join(folder, "old-a.db"), file);
  for (const end of ["-wal", "-shm"]) rmSync(file + end, { force: true });
  if (lockStore === "restored") {
    rmSync(options.state, { recursive: true });
    cpSync(join(folder, "old-state"), options.state, { recursive: true });
    if (seen !== undefined) openState({ dir: options.state }).rememberCheckpoint(origin, seen);
  }
  return { folder, file, options, origin, policy, published };
}
