import { spawnSync } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it, onTestFinished } from "vitest";
import { parseVerifierKey } from "../../src/core/note.ts";
import { formatPolicy } from "../../src/core/policy.ts";
import { heldSigners } from "../../src/keys/held-signers.ts";
import { exportPem, generateLogKey, logSignerFromPem } from "../../src/keys/index.ts";
import { vkeyOf } from "../../src/ledger/genesis.ts";
import { Ledger, type OpenOptions, recover } from "../../src/open.ts";
import { sqliteLockStore } from "../../src/storage/lock-store/sqlite.ts";
import { verify } from "../../src/verify.ts";
import { DIST, isBuilt, NOT_BUILT } from "./child.ts";
import {
  codeOf,
  driver,
  filesIn,
  judged,
  newPlace,
  openAt,
  type Place,
  QUIET,
  stateOf,
  verifyAt,
  withLock,
} from "./place.ts";

const EVENT = { action: "user.login", actor: "alice" };

afterEach(() => {
  for (const name of ["NODE_ENV_BEFORE", "TALLYSTICK_KEY", "TALLYSTICK_KEY_PASSPHRASE"]) delete process.env[name];
  process.env.NODE_ENV = "test";
});

/** A ledger of `count` events made without any configuration but where it is. */
async function firstUse(
  count = 3,
  options: OpenOptions = {},
): Promise<{ place: Place; origin: string; policy: string }> {
  const place = newPlace();
  const ledger = await openAt(place, options);
  for (let i = 0; i < count; i++) await ledger.append({ ...EVENT, id: `event-${i}` });
  const { origin } = ledger;
  const policy = ledger.policy();
  await ledger.close();
  return { place, origin, policy };
}

/** What this machine says of the ledger. */
const verifyHere = async (place: Place) => judged(await verify(place.path, { state: place.state, driver }));
const problemAt = async (place: Place, options: OpenOptions = {}) => {
  const ledger = await openAt(place, options);
  const problem = ledger.appendProblem;
  await ledger.close();
  return problem;
};

describe("first use", () => {
  it("makes key, lock store and policy for their owner alone, outside of the ledger's folder, and finds them again", async () => {
    const before = process.umask(0);
    onTestFinished(() => void process.umask(before));
    const place = newPlace();
    const home = { ...place, path: join(place.folder, "data", "audit.db"), state: join(place.folder, "home", "state") };
    mkdirSync(join(place.folder, "data"));
    const ledger = await openAt(home);
    await ledger.append(EVENT);
    await ledger.close();
    expect(filesIn(join(place.folder, "data"))).toEqual([home.path]);
    const files = filesIn(home.state);
    expect(files.some((file) => file.endsWith("key.pem"))).toBe(true);
    expect(files.some((file) => file.endsWith("lock.sqlite"))).toBe(true);
    expect(files.some((file) => file.endsWith("policy"))).toBe(true);
    if (process.platform !== "win32") {
      for (const file of files) expect((statSync(file).mode & 0o777).toString(8), file).toBe("600");
      for (let folder = join(files[0]!, ".."); folder.startsWith(home.state); folder = join(folder, ".."))
        expect((statSync(folder).mode & 0o777).toString(8), folder).toBe("700");
    }
    const again = await openAt(home);
    expect(again.appendProblem).toBeNull();
    expect((await again.append(EVENT)).index).toBe(2);
    await again.close();
    expect(await verifyHere(home)).toMatchObject({ exit: 0, found: [], report: { pin: "state" } });
  });

  it("says once, by a process warning, what was made where and that the key needs a backup", (context) => {
    if (!isBuilt) context.skip(NOT_BUILT);
    const place = newPlace();
    const program = `
        import { Ledger } from ${JSON.stringify(DIST)};
        for (let i = 0; i < 2; i++) {
          const ledger = await Ledger.open(${JSON.stringify(place.path)});
          await ledger.append({ action: "a" });
          await ledger.close();
        }`;
    const run = (): string => {
      const { status, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", program], {
        encoding: "utf8",
        env: { PATH: process.env.PATH, TALLYSTICK_STATE_DIR: place.state },
      });
      expect(status, stderr).toBe(0);
      return stderr;
    };
    const first = run();
    expect(first.match(/TALLYSTICK_CREATED/g)).toHaveLength(1);
    expect(first).toContain(place.path);
    expect(first).toContain(place.state);
    expect(first).toContain("back it up");
    expect(run()).toBe("");
  });

  it("refuses to make a key unasked in production, and leaves nothing", async () => {
    const place = newPlace();
    process.env.NODE_ENV = "production";
    await expect(openAt(place)).rejects.toMatchObject({
      code: "generated-key-refused",
      message: expect.stringContaining("TALLYSTICK_KEY"),
    });
    expect(filesIn(place.folder)).toEqual([]);
    const asked = await openAt(place, { signer: "generate" });
    await asked.append(EVENT);
    await asked.close();
    // Later opens use it without being asked for: nothing is generated.
    expect(await problemAt(place)).toBeNull();
    const given = newPlace();
    expect(await problemAt(given, { signer: generateLogKey() })).toBeNull();
  });

  it("with create: never a missing ledger is not-found, and no file is made", async () => {
    const place = newPlace();
    expect(await codeOf(openAt(place, { create: "never" }))).toBe("not-found");
    expect(filesIn(place.folder)).toEqual([]);
    writeFileSync(place.path, "");
    expect(await codeOf(openAt(place, { create: "never" }))).toBe("not-found");
    expect(statSync(place.path).size).toBe(0);
    const { place: there } = await firstUse();
    expect(await problemAt(there, { create: "never" })).toBeNull();
  });

  it.each([
    ["an unknown option", { creat: "never" }, TypeError],
    ["an unknown limit", { limits: { queue: 1 } }, TypeError],
    ["a limit of 0", { limits: { queueEntriesMax: 0 } }, RangeError],
    ["an origin with a space", { origin: "my ledger" }, Error],
    ["an origin with a plus", { origin: "my+ledger" }, Error],
    ["an empty origin", { origin: "" }, Error],
    ["an unknown scheme", { scheme: "control" }, TypeError],
  ] as const)("refuses %s before anything is made", async (_, options, kind) => {
    const place = newPlace();
    await expect(openAt(place, options as unknown as OpenOptions)).rejects.toThrow(kind);
    expect(filesIn(place.folder)).toEqual([]);
  });
});

describe("keys from elsewhere", () => {
  it("PEM, encrypted PEM, a variable with either, and a variable with a path", async () => {
    const signer = generateLogKey();
    const pem = exportPem(signer);
    const encrypted = exportPem(signer, { passphrase: "correct horse" });
    const place = newPlace();
    const file = join(place.folder, "log.pem");
    writeFileSync(file, encrypted, { mode: 0o600 });
    expect(await problemAt(place, { signer: logSignerFromPem(pem) })).toBeNull();
    // The key was given: no copy of it is kept.
    expect(stateOf(place).listKeys(stateOf(place).listOrigins()[0] ?? "")).toEqual([]);
    expect(await problemAt(place, { signer: logSignerFromPem(encrypted, { passphrase: "correct horse" }) })).toBeNull();
    for (const [key, passphrase] of [
      [pem, ""],
      [pem.replaceAll("\n", "\\n"), ""],
      [encrypted, "correct horse"],
      [file, "correct horse"],
    ] as const) {
      process.env.TALLYSTICK_KEY = key;
      process.env.TALLYSTICK_KEY_PASSPHRASE = passphrase;
      const ledger = await openAt(place);
      expect(ledger.appendProblem).toBeNull();
      await ledger.append(EVENT);
      await ledger.close();
    }
    delete process.env.TALLYSTICK_KEY;
    expect((await problemAt(place))?.code).toBe("key-lost");
    expect(await verifyHere(place)).toMatchObject({ exit: 0, found: [] });
  });

  it("a wrong or missing passphrase makes nothing and changes nothing", async () => {
    const encrypted = exportPem(generateLogKey(), { passphrase: "correct horse" });
    for (const passphrase of ["wrong", ""]) {
      const place = newPlace();
      process.env.TALLYSTICK_KEY = encrypted;
      process.env.TALLYSTICK_KEY_PASSPHRASE = passphrase;
      await expect(openAt(place)).rejects.toMatchObject({ code: "wrong-passphrase" });
      expect(filesIn(place.folder)).toEqual([]);
      delete process.env.TALLYSTICK_KEY;
      const { place: there } = await firstUse();
      const before = readFileSync(there.path);
      process.env.TALLYSTICK_KEY = encrypted;
      expect(await codeOf(openAt(there))).toBe("wrong-passphrase");
      expect(readFileSync(there.path)).toEqual(before);
    }
  });

  it("a key of another ledger is refused, not taken for lost", async () => {
    const { place } = await firstUse();
    await expect(openAt(place, { signer: generateLogKey() })).rejects.toMatchObject({ code: "untrusted-key" });
    expect(await problemAt(place)).toBeNull();
  });
});

describe("a key that is gone", () => {
  const lose = (place: Place, origin: string): void => {
    for (const file of filesIn(place.state)) if (file.endsWith(".pem")) rmSync(file);
    expect(stateOf(place).listKeys(origin)).toEqual([]);
  };

  it("leaves a ledger that reads and verifies; its message names file, directory, user and the ways out", async () => {
    const { place, origin } = await firstUse();
    lose(place, origin);
    const ledger = await openAt(place);
    expect(await codeOf(ledger.append(EVENT))).toBe("key-lost");
    const { message } = ledger.appendProblem!;
    for (const part of [
      place.path,
      place.state,
      "user ",
      "TALLYSTICK_STATE_DIR",
      "TALLYSTICK_KEY",
      "state import",
      "recover",
    ])
      expect(message).toContain(part);
    expect((await ledger.read(1)).event?.id).toBe("event-0");
    expect(await ledger.verify()).toMatchObject({ ok: true, conclusive: true });
    // What was signed before can still be shown.
    expect(await ledger.checkpoint()).toContain("\n4\n");
    expect(await ledger.prove(2)).toContain("tallystick/receipt/v1");
    await ledger.close();
    expect(await verifyHere(place)).toMatchObject({ exit: 0, found: [] });
  });

  it("recover takes it up under a new key: readers of the old one see continuity broken, those who pin anew do not", async () => {
    const { place, origin, policy } = await firstUse();
    lose(place, origin);
    const signer = generateLogKey();
    const recovered = await recover(place.path, {
      state: place.state,
      signer,
      reason: "disk died",
      driver,
      limits: QUIET,
    });
    expect(recovered).toEqual({ index: 4, lost: ["key"] });
    const ledger = await openAt(place, { signer });
    expect((await ledger.read(4)).event).toMatchObject({
      action: "ledger.recovered",
      payload: { lost: ["key"], reason: "disk died" },
    });
    expect((await ledger.append(EVENT)).index).toBe(5);
    const fresh = ledger.policy();
    await ledger.close();
    const old = await verifyAt(place.path, { policy });
    expect(old.codes).toContain("key-continuity-broken");
    expect(old.report.findings.find(({ code }) => code === "key-continuity-broken")).toMatchObject({
      index: 4,
      message: expect.stringContaining("key continuity broken at 4"),
    });
    expect(old.exit).toBe(1);
    expect(await verifyAt(place.path, { policy: fresh })).toMatchObject({ exit: 0, found: [] });
    // Also who pins the new key alone: what the old one signed is part of what the new one signs.
    const only = formatPolicy({ logKeys: [parseVerifierKey(vkeyOf(origin, signer))], genesis: ledger.genesis });
    expect(await verifyAt(place.path, { policy: only })).toMatchObject({ exit: 0, found: [] });
    // This machine has pinned anew by recovering.
    expect(await verifyHere(place)).toMatchObject({ exit: 0, found: [], report: { pin: "state" } });
    // Not twice, and never back to the old key.
    expect(await codeOf(recover(place.path, { state: place.state, signer, reason: "again", driver }))).toBe(
      "already-exists",
    );
  });

  it("recover refuses another key while the one in force is held here, and writes nothing", async () => {
    const { place, origin } = await firstUse();
    rmSync(stateOf(place).lockStorePath);
    const other = { state: place.state, signer: generateLogKey(), reason: "in a hurry", driver };
    await expect(recover(place.path, other)).rejects.toMatchObject({
      code: "already-exists",
      message: expect.stringContaining("it is held here"),
    });
    const [held] = heldSigners(stateOf(place), origin);
    expect(await recover(place.path, { ...other, signer: held! })).toEqual({ index: 4, lost: ["lock-store"] });
  });

  it("recover with the key itself, found again, finds nothing lost", async () => {
    const signer = generateLogKey();
    const { place } = await firstUse(3, { signer });
    expect(await codeOf(recover(place.path, { state: place.state, signer, reason: "none", driver }))).toBe(
      "already-exists",
    );
    await expect(recover(place.path, { state: place.state, signer, reason: "", driver })).rejects.toThrow(TypeError);
  });
});

describe("a lock store that is gone, or older than the ledger", () => {
  it("is never taken for new: nothing is appended, and the message says where it was looked for", async () => {
    const { place } = await firstUse();
    rmSync(stateOf(place).lockStorePath);
    const ledger = await openAt(place);
    expect(ledger.appendProblem).toMatchObject({ code: "lock-store-lost" });
    expect(ledger.appendProblem?.message).toContain(place.state);
    expect(await codeOf(ledger.append(EVENT))).toBe("lock-store-lost");
    expect(await ledger.verify()).toMatchObject({ ok: true, conclusive: true });
    await ledger.close();
    expect(existsSync(stateOf(place).lockStorePath)).toBe(false);
  });

  it("recover with the same key gives it a new one, and no reader has to pin anew", async () => {
    const signer = generateLogKey();
    const { place, policy } = await firstUse(3, { signer });
    rmSync(stateOf(place).lockStorePath);
    const recovered = await recover(place.path, { state: place.state, signer, reason: "new machine", driver });
    expect(recovered).toEqual({ index: 4, lost: ["lock-store"] });
    expect(await problemAt(place, { signer })).toBeNull();
    expect(await verifyAt(place.path, { policy })).toMatchObject({ exit: 0, found: [] });
    expect(await verifyHere(place)).toMatchObject({ exit: 0, found: [] });
    // The old one, should it turn up again, is not the ledger's any more.
    const elsewhere = { ...place, state: join(place.folder, "elsewhere") };
    await withLock(elsewhere, (lockStore) => lockStore.create({ origin: "x", lockStoreId: "0".repeat(32) }));
    expect((await problemAt(elsewhere, { signer }))?.code).toBe("lock-store-lost");
  });

  it("restored to an older state it is refused, and recover does not hide it", async () => {
    const signer = generateLogKey();
    const { place, origin, policy } = await firstUse(3, { signer });
    const old = readFileSync(stateOf(place).lockStorePath);
    const ledger = await openAt(place, { signer });
    await ledger.append(EVENT);
    const held = await ledger.checkpoint();
    await ledger.close();
    writeFileSync(stateOf(place).lockStorePath, old);
    await expect(openAt(place, { signer })).rejects.toMatchObject({
      code: "rolled-back",
      details: { what: "lock-store" },
    });
    expect(await verifyAt(place.path, { policy, expect: held })).toMatchObject({ exit: 0, found: [] });
    // The entries are whole, so the lock store can be brought up to what was released.
    const outcome = await codeOf(
      recover(place.path, { state: place.state, signer, reason: "lock store restored", driver }),
    );
    expect(outcome).toBeUndefined();
    const again = await openAt(place, { signer });
    expect(again.appendProblem).toBeNull();
    await again.append(EVENT);
    await again.close();
    expect(await verifyAt(place.path, { policy, expect: held })).toMatchObject({ exit: 0, found: [] });
    expect((await withLock(place, (lockStore) => lockStore.fetch(origin)))?.note).not.toBeNull();
  });
});

describe("the pinned policy damaged", () => {
  it("refuses to open, verify and recover, naming the file; a policy that is given needs it not, and a trusted copy mends it", async () => {
    const { place, origin, policy } = await firstUse();
    const file = filesIn(place.state).find((each) => each.endsWith("/policy")) as string;
    writeFileSync(file, policy.replace("log ", "lag "));
    const refusal = { code: "malformed-policy", message: expect.stringContaining(file), details: { file, line: 1 } };
    await expect(openAt(place)).rejects.toMatchObject(refusal);
    await expect(openAt(place, { readOnly: true })).rejects.toMatchObject(refusal);
    await expect(verifyHere(place)).rejects.toMatchObject(refusal);
    // Nothing is appended before the policy that has to take up the new key was read.
    const options = { state: place.state, signer: generateLogKey("ed25519"), reason: "key lost", driver };
    await expect(recover(place.path, options)).rejects.toMatchObject(refusal);
    const given = await verify(place.path, { policy, state: place.state, driver });
    expect(judged(given)).toMatchObject({ exit: 0, found: [], report: { size: 4 } });

    writeFileSync(file, policy);
    expect(await verifyHere(place)).toMatchObject({ exit: 0, found: [] });
    // Moved away: the next open for writing pins what the ledger says, and no other does.
    rmSync(file);
    expect(await verifyHere(place)).toMatchObject({ exit: 3, found: [], report: { pin: "none" } });
    expect(await problemAt(place)).toBeNull();
    expect(stateOf(place).readPolicy(origin)).toBe(policy);
  });
});

describe("the whole state directory gone", () => {
  it("reads, verifies inconclusively, and appends nothing", async () => {
    const { place, policy } = await firstUse();
    rmSync(place.state, { recursive: true });
    const ledger = await openAt(place);
    expect(ledger.appendProblem?.code).toBe("key-lost");
    await ledger.close();
    expect(await verifyHere(place)).toMatchObject({ exit: 3, found: [], report: { pin: "none" } });
    expect(await verifyAt(place.path, { policy })).toMatchObject({ exit: 0, found: [] });
  });

  it("brought to another machine by export and import it goes on there", async () => {
    const { place } = await firstUse();
    const elsewhere = { ...place, state: join(place.folder, "elsewhere") };
    const store = (at: Place) => sqliteLockStore({ path: stateOf(at).lockStorePath, driver });
    const [from, to] = [store(place), store(elsewhere)];
    const { locks } = stateOf(elsewhere).import(
      JSON.parse(JSON.stringify(stateOf(place).export({ keys: true, locks: await from.records() }))),
    );
    for (const record of locks) expect(await to.restore(record)).toBe("restored");
    await from.close();
    await to.close();
    const ledger = await openAt(elsewhere);
    expect(ledger.appendProblem).toBeNull();
    await ledger.append(EVENT);
    await ledger.close();
    expect(await verifyHere(elsewhere)).toMatchObject({ exit: 0, found: [] });
    // The machine that it came from does not go on beside it: its lock store is behind what was released.
    await expect(openAt(place)).rejects.toMatchObject({ code: "rolled-back", details: { what: "lock-store" } });
  });
});

describe("an origin that cannot be", () => {
  it.each(["has space", "a+b", "", "tallystick/x", "cosignature/x"])(
    "%j is refused, and nothing is made",
    async (origin) => {
      const place = newPlace();
      await expect(openAt(place, { origin })).rejects.toMatchObject({ code: "malformed-origin" });
      await expect(Ledger.memory({ origin })).rejects.toMatchObject({ code: "malformed-origin" });
      expect(filesIn(place.folder)).toEqual([]);
    },
  );

  it("one that is taken is refused with a way out, and no file is made", async () => {
    const { place } = await firstUse(1, { origin: "example.com/audit" });
    const second = { ...place, path: join(place.folder, "second.db") };
    await expect(openAt(second, { origin: "example.com/audit" })).rejects.toMatchObject({
      code: "already-exists",
      message: expect.stringContaining("choose another origin"),
    });
    expect(existsSync(second.path)).toBe(false);
  });
});

describe("another file where the ledger was", () => {
  it("gone or emptied: refused, explained, and not made anew", async () => {
    for (const empty of [false, true]) {
      const { place } = await firstUse();
      rmSync(place.path);
      if (empty) writeFileSync(place.path, "");
      for (const options of [{}, { readOnly: true }, { create: "never" }] as const)
        await expect(openAt(place, options)).rejects.toMatchObject({
          code: "ledger-replaced",
          message: expect.stringContaining("tallystick forget"),
          details: { size: 4 },
        });
      expect(await codeOf(verifyHere(place))).toBe("ledger-replaced");
      expect(existsSync(place.path)).toBe(empty);
      // Deliberately, another one.
      expect(stateOf(place).forgetPath(place.path)).toBe(true);
      expect(await problemAt(place)).toBeNull();
    }
  });

  it("something else: refused and explained, also an older export of that very ledger, which by itself verifies", async () => {
    const { place, policy } = await firstUse();
    const ledger = await openAt(place);
    const lines: string[] = [];
    for await (const line of ledger.export()) lines.push(line);
    const receipt = await ledger.prove(1);
    await ledger.append(EVENT);
    await ledger.close();
    const foreign = join(place.folder, "foreign.db");
    const database = new driver(foreign, { readonly: false, fileMustExist: false, timeout: 0 });
    database.exec("CREATE TABLE users(id)");
    database.close();
    for (const bytes of [lines.join(""), receipt, "no ledger", readFileSync(foreign)]) {
      writeFileSync(place.path, bytes);
      const refusal = { code: "ledger-replaced", details: { size: 5 } };
      await expect(verify(place.path, { state: place.state, driver, policy })).rejects.toMatchObject(refusal);
      for (const options of [{}, { readOnly: true }])
        await expect(openAt(place, options)).rejects.toMatchObject(refusal);
      expect(readFileSync(place.path).equals(Buffer.from(bytes))).toBe(true);
    }
    // Elsewhere, or once it is given up deliberately, it is what it is.
    writeFileSync(place.path, lines.join(""));
    stateOf(place).forgetPath(place.path);
    expect((await verify(place.path, { state: place.state, driver, policy })).ok).toBe(true);
  });

  it("another ledger: refused until it is accepted deliberately", async () => {
    const { place } = await firstUse();
    const other = await firstUse();
    copyFileSync(other.place.path, place.path);
    await expect(openAt(place)).rejects.toMatchObject({
      code: "ledger-replaced",
      details: { found: other.origin },
    });
    const { exit, codes } = await verifyHere(place);
    expect(codes).toContain("origin-mismatch");
    expect(exit).toBe(1);
    stateOf(place).forgetPath(place.path);
    // Accepted for reading; the key of that ledger is not here.
    expect((await problemAt(place))?.code).toBe("key-lost");
  });

  it("an old copy: refused; recover writes down that entries are gone, and whoever saw them sees it", async () => {
    const signer = generateLogKey();
    const { place, policy } = await firstUse(3, { signer });
    const copy = join(place.folder, "old.db");
    copyFileSync(place.path, copy);
    const ledger = await openAt(place, { signer });
    for (let i = 0; i < 5; i++) await ledger.append(EVENT);
    const held = await ledger.checkpoint();
    await ledger.close();
    copyFileSync(copy, place.path);
    await expect(openAt(place, { signer })).rejects.toMatchObject({ code: "rolled-back" });
    expect(await verifyHere(place)).toMatchObject({ exit: 1, codes: ["expected-beyond"] });
    // A reader may look at it, and is told what is wrong.
    const looking = await openAt(place, { readOnly: true });
    expect(looking.appendProblem?.cause).toMatchObject({ code: "rolled-back" });
    await looking.close();

    const recovered = await recover(place.path, { state: place.state, signer, reason: "restored the backup", driver });
    expect(recovered).toEqual({ index: 4, lost: ["database"] });
    const again = await openAt(place, { signer });
    expect(again.appendProblem).toBeNull();
    await again.append(EVENT);
    await again.close();
    expect(await verifyHere(place)).toMatchObject({ exit: 0, found: [] });
    const later = await verifyAt(place.path, { policy });
    expect(later).toMatchObject({ exit: 0, found: [] });
    // A reader who never saw them is told at least that they were there.
    expect(later.report.verdicts.completeness.unchecked).toContain(
      "entries that were lost before the recovery at 4: a checkpoint of size 9 that is on record there signs a history that is not this one",
    );
    const witness = await verifyAt(place.path, { policy, expect: held });
    expect(witness.exit).toBe(1);
    expect(witness.codes).toEqual(["expected-beyond"]);
    // Grown beyond it, it is another history of that size.
    const grown = await openAt(place, { signer });
    for (let i = 0; i < 8; i++) await grown.append(EVENT);
    await grown.close();
    expect(await verifyAt(place.path, { policy, expect: held })).toMatchObject({ exit: 1, codes: ["expected-root"] });
  });

  it("an old copy, where a reader here remembers more: the machine does not forget it by recovering", async () => {
    const signer = generateLogKey();
    const { place, origin } = await firstUse(3, { signer });
    const copy = join(place.folder, "old.db");
    copyFileSync(place.path, copy);
    const ledger = await openAt(place, { signer });
    for (let i = 0; i < 5; i++) await ledger.append(EVENT);
    await ledger.close();
    await verify(place.path, { state: place.state, driver, remember: true });
    expect(stateOf(place).lastSeen(origin)).toContain("\n9\n");
    copyFileSync(copy, place.path);
    await recover(place.path, { state: place.state, signer, reason: "restored the backup", driver });
    expect(await verifyHere(place)).toMatchObject({ exit: 1, codes: ["expected-beyond"] });
  });

  it("a wiped ledger cannot be recovered from nothing", async () => {
    const signer = generateLogKey();
    const { place } = await firstUse(3, { signer });
    rmSync(place.path);
    expect(await codeOf(recover(place.path, { state: place.state, signer, reason: "gone", driver }))).toBe("not-found");
    expect(existsSync(place.path)).toBe(false);
  });
});

describe("a ledger that is something else than was asked for", () => {
  it.each<[string, OpenOptions, RegExp]>([
    ["origin", { origin: "example.com/other" }, /to have the origin example.com\/other, but it has tallystick.local/],
    ["scheme", { scheme: "fields" }, /to have the scheme fields, but it has event/],
    ["commitment hash", { commitmentHash: "sha512" }, /to have the commitment hash sha512, but it has sha256/],
    [
      "requireSignature",
      { rules: { requireSignature: true } },
      /to have the rule requireSignature true, but it has none/,
    ],
  ])("is not opened in silence: %s", async (_, options, message) => {
    const { place, origin } = await firstUse();
    await expect(openAt(place, options)).rejects.toThrow(message);
    const same = await openAt(place, {
      origin,
      scheme: "event",
      commitmentHash: "sha256",
      rules: { requireSignature: false },
    });
    expect(same.size).toBe(4);
    await same.close();
  });

  it("is not made by the name of something that is no file", async () => {
    const place = newPlace();
    for (const path of [":memory:", "postgres://host/db", "https://example.com/audit"])
      await expect(openAt({ ...place, path })).rejects.toThrow(/^expected a path/);
  });
});

it("leaves no file behind where the state directory cannot be made", async () => {
  const place = newPlace();
  const state = join(place.folder, "no-folder");
  symlinkSync(join(place.folder, "gone", "elsewhere"), state);
  await expect(openAt({ ...place, state })).rejects.toMatchObject({ message: expect.stringContaining(state) });
  expect(existsSync(place.path)).toBe(false);
});
