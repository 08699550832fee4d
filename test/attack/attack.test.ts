import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { EVIDENCE } from "../../src/attack/evidence.ts";
import { openHeldPackage } from "../../src/attack/held-package.ts";
import { type AttackTable, formatAttackTable, runAttacks, tamperedExports } from "../../src/attack/index.ts";
import { openWitness } from "../../src/attack/outside.ts";
import { attackedCopies } from "../../src/attack/run-attacks.ts";
import { openVictim } from "../../src/attack/victim.ts";
import { parsePolicy } from "../../src/core/policy.ts";
import { generateAuthorKey, generateLogKey } from "../../src/keys/index.ts";
import { vkeyOf } from "../../src/ledger/genesis.ts";
import { Ledger } from "../../src/open.ts";
import { filesystemArchive } from "../../src/storage/archive/filesystem.ts";

interface Expected {
  /**
   * One mark per column: chain walk, signed head, full verify, boot check, RFC 3161, OpenTimestamps, held receipt, held head,
   * held package, witness, mirror.
   */
  readonly marks: string;
  readonly weakest: string | null;
  /** Exit code of full verify. Default: 1 where it notices, else 0. */
  readonly exit?: number | null;
  /** What some columns must have said, so that a row is not noticed for another reason than its own. */
  readonly codes?: Readonly<Record<string, readonly string[]>>;
}

/**
 * Row by row. Positions of a victim of 300 entries: single entries are attacked at 120, the tail is cut at 250, the receipt is
 * of entry 150, checkpoints stand at 200 and 300, and the client holds that of 300. Entries below 198 are time-stamped, those
 * below 199 are in a block.
 */
const EXPECTED: Readonly<Record<string, Expected>> = {
  untouched: { marks: "···········", weakest: null },

  // Plain writes: whoever re-hashes the bodies notices. What compares trees does not where only bodies changed, because the leaf
  // holds the commitment and not the body: the client's checkpoint is still that of this tree.
  // The package shows the bodies that its holder was given.
  "edit/write": {
    marks: "XXX·····X··",
    weakest: "chain",
    codes: { chain: ["commitment-mismatch"], package: ["other-content"] },
  },
  // The deleted row leaves a gap: entry 150 is still entry 150, so its receipt notices nothing, and the tiles still give the
  // root of the lock store. The client's checkpoint cannot be confirmed, as a tree with a gap has no root.
  "delete/write": {
    marks: "XXX·XX·XXXX",
    weakest: "chain",
    codes: { chain: ["entry-missing"], checkpoint: ["not-established"], package: ["entry-missing", "not-established"] },
  },
  // Here, in the next and in regrow/write the client's checkpoint notices although the checkpoint that is shown is still the
  // genuine one: `verify` compares what a client holds with the tree of the stored entries, not with another checkpoint.
  "insert/write": { marks: "XXXXXXXXXXX", weakest: "chain", codes: { checkpoint: ["expected-root"] } },
  "reorder/write": {
    marks: "XXX·XX·XXXX",
    weakest: "chain",
    codes: { chain: ["index-mismatch", "previous-mismatch"], checkpoint: ["expected-root"] },
  },
  // Nothing in a chain says where it ends.
  "truncate/write": {
    marks: "·XXX···XXXX",
    weakest: "head",
    codes: { head: ["checkpoint-beyond"], boot: ["rolled-back"], checkpoint: ["expected-beyond"] },
  },
  "regrow/write": {
    marks: "XXXX···XXXX",
    weakest: "chain",
    codes: { chain: ["previous-mismatch"], head: ["checkpoint-root"], boot: ["forked"] },
  },
  // Genesis and the hold keep their bodies; the receipt shows the body that the client was given.
  "rewrite/write": {
    marks: "XXX···X·X··",
    weakest: "chain",
    codes: { receipt: ["other-content"], package: ["other-content"] },
  },

  // Recomputed: the chain walk notices none of the seven any more.
  ...Object.fromEntries(
    ["edit", "insert", "reorder", "rewrite"].map((id): [string, Expected] => [
      `${id}/recompute`,
      {
        marks: "·XXXXXXXXXX",
        weakest: "head",
        codes: {
          verify: ["checkpoint-root"],
          boot: ["forked"],
          receipt: ["other-entry"],
          checkpoint: ["expected-root"],
        },
      },
    ]),
  ),
  "delete/recompute": {
    marks: "·XXXXXXXXXX",
    weakest: "head",
    codes: { verify: ["checkpoint-beyond", "checkpoint-root"], boot: ["rolled-back"], checkpoint: ["expected-beyond"] },
  },
  // The receipt of entry 150 says nothing about entries after it.
  "truncate/recompute": { marks: "·XXX···XXXX", weakest: "head", codes: { head: ["checkpoint-beyond"] } },
  "regrow/recompute": { marks: "·XXX···XXXX", weakest: "head", codes: { head: ["checkpoint-root"] } },

  // An older genuine checkpoint hides from the signed head what happened after it, and nothing before it.
  ...Object.fromEntries(
    ["edit", "insert", "reorder", "rewrite"].map((id): [string, Expected] => [
      `${id}/replay`,
      { marks: "·XXXXXXXXXX", weakest: "head", codes: { verify: ["checkpoint-root"], boot: ["forked"] } },
    ]),
  ),
  "delete/replay": {
    marks: "·XXXXXXXXXX",
    weakest: "head",
    codes: { verify: ["checkpoint-root"], boot: ["rolled-back"] },
  },
  "truncate/replay": {
    marks: "···X···XXXX",
    weakest: "boot",
    codes: { boot: ["rolled-back"], checkpoint: ["expected-beyond"] },
  },
  "regrow/replay": {
    marks: "···X···XXXX",
    weakest: "boot",
    codes: { boot: ["forked"], checkpoint: ["expected-root"] },
  },

  // With the log key nothing in the ledger itself is wrong: `rewrite` keeps genesis, which the policy pins. Anchors do not notice
  // either: whoever can sign has the new history anchored, today, and dates that truthfully.
  ...Object.fromEntries(
    ["edit", "delete", "insert", "reorder", "rewrite"].flatMap((id): [string, Expected][] => [
      [`${id}/key`, { marks: "···X··XXXXX", weakest: "boot" }],
      [`${id}/lock`, { marks: "······XXXXX", weakest: "receipt" }],
    ]),
  ),
  "truncate/key": { marks: "···X···XXXX", weakest: "boot", codes: { boot: ["rolled-back"] } },
  "regrow/key": { marks: "···X···XXXX", weakest: "boot", codes: { boot: ["forked"] } },
  // The mirror is shown another history, and keeps both signed notes; the witness refuses to cosign it.
  "truncate/lock": {
    marks: "·······XXXX",
    weakest: "checkpoint",
    codes: { checkpoint: ["expected-beyond"], package: ["entry-missing", "expected-beyond"] },
  },
  "regrow/lock": {
    marks: "·······XXXX",
    weakest: "checkpoint",
    codes: { checkpoint: ["expected-root"], package: ["expected-root", "other-entry"] },
  },

  // The opposite of all the others: everything holds but the link, which neither tree nor signature forces.
  // Whoever follows what is published walks the links too.
  "bad-link": {
    marks: "X·X·······X",
    weakest: "chain",
    codes: { chain: ["previous-mismatch"], mirror: ["verification-failed"] },
  },
  // To a chain and to a tree this is a legitimate erasure. The boot check stops at the control event that it cannot read.
  "vanished-control": {
    marks: "··XX····X··",
    weakest: "verify",
    codes: {
      verify: ["control-body-missing", "derived-filter", "erasure-void"],
      boot: ["verification-failed"],
      package: ["other-content"],
    },
  },
  // Only a reader without a pin takes the rules from the ledger: spec/policy.md 17.
  "weakened-rules": { marks: "··X········", weakest: "verify", codes: { verify: ["rules-weakened"] } },

  // Two histories under one key. What a reader saw before the split says nothing about what came after it.
  "same-size-fork": {
    marks: "·······XXXX",
    weakest: "checkpoint",
    codes: {
      checkpoint: ["expected-root"],
      witness: ["expected-root", "quorum-not-reached"],
      mirror: ["expected-root", "forked"],
    },
  },
  "split-view": {
    marks: "·········XX",
    weakest: "witness",
    codes: { witness: ["expected-root", "quorum-not-reached"], mirror: ["expected-root", "forked"] },
  },

  // About when: the entries of the anchors claim a time that was over when the proofs were made.
  "back-dating": {
    marks: "····XX·····",
    weakest: "rfc3161",
    codes: { rfc3161: ["time-before-evidence"], opentimestamps: ["time-before-evidence"] },
  },
  // What stamps something else shows without any trust.
  "other-token": {
    marks: "··X·X······",
    weakest: "verify",
    codes: { verify: ["anchor-mismatch"], rfc3161: ["anchor-mismatch"] },
  },
  "forged-ots": { marks: "·····X·····", weakest: "opentimestamps", codes: { opentimestamps: ["anchor-invalid"] } },
  // Nothing contradicts an authority that nobody pins, and nothing rests on it: what the reader asks for is not there.
  "own-authority": {
    marks: "····XXXXXXX",
    weakest: "rfc3161",
    codes: { rfc3161: ["anchor-required"], opentimestamps: ["anchor-required"] },
  },

  // Whatever was not restored with the rest remembers.
  "old-copy": {
    marks: "···X···XXXX",
    weakest: "boot",
    codes: { boot: ["rolled-back"], witness: ["expected-beyond"], mirror: ["expected-beyond"] },
  },
  "old-lock-store": { marks: "···X·······", weakest: "boot", codes: { boot: ["rolled-back"] } },
  "old-published": { marks: "··········X", weakest: "mirror", codes: { mirror: ["rolled-back"] } },
  // Of the three the published copy is left.
  "old-copy-and-lock-store": { marks: "···X···XXXX", weakest: "boot", codes: { boot: ["rolled-back"] } },
  "all-old": {
    marks: "·······XXXX",
    weakest: "checkpoint",
    codes: { witness: ["expected-beyond"], mirror: ["expected-beyond", "rolled-back"] },
  },

  // Who asks for no cosignature does not miss one.
  "stripped-cosignatures": { marks: "·········X·", weakest: "witness", codes: { witness: ["quorum-not-reached"] } },
  "stripped-signatures": {
    marks: "·XXX·····X·",
    weakest: "head",
    codes: { head: ["checkpoint-malformed"], boot: ["malformed-note"], witness: ["quorum-not-reached"] },
  },
  "swapped-keys": {
    marks: "·XXX·····X·",
    weakest: "head",
    codes: { head: ["checkpoint-signature"], boot: ["signature-invalid"], witness: ["quorum-not-reached"] },
  },
  // Two cosignatures, but of one operator: without the directive they would be a quorum.
  "one-operator-twice": { marks: "·········X·", weakest: "witness", codes: { witness: ["quorum-not-reached"] } },
  // Refused as a whole: a reader who skipped the line would count the witness twice.
  "one-witness-twice": { marks: "·········X·", weakest: "witness", codes: { witness: ["malformed-policy"] } },

  "wiped": { marks: "–––X––XXXXX", weakest: "boot", exit: null, codes: { boot: ["ledger-replaced"] } },
  "other-key": {
    marks: "·XXXXXXXXXX",
    weakest: "head",
    codes: { head: ["checkpoint-signature", "genesis-mismatch"], boot: ["ledger-replaced"] },
  },
  // Never 0: without a pin the answer is inconclusive.
  "other-key-no-pin": {
    marks: "···XXXXXXXX",
    weakest: "boot",
    exit: 3,
    codes: { checkpoint: ["checkpoint-signature"] },
  },

  // Derived data fail no verdict; verify names them as needing `reindex`.
  "id-index": { marks: "··X········", weakest: "verify", exit: 0, codes: { verify: ["derived-id"] } },
  "filter": { marks: "··X········", weakest: "verify", exit: 0, codes: { verify: ["derived-filter"] } },
  // The boot check reads the root through the tile.
  "tile": {
    marks: "··XX·······",
    weakest: "verify",
    exit: 0,
    codes: { verify: ["derived-tile"], boot: ["storage-corrupt"] },
  },
};

function marksOf(table: AttackTable, row: AttackTable["rows"][number]): string {
  return table.columns
    .map(({ id }) => row.notices[id]?.noticed ?? null)
    .map((noticed) => (noticed === null ? "–" : noticed ? "X" : "·"))
    .join("");
}

/** The temporary directory and the state directory of this process, both empty and watched. */
const folder = realpathSync(mkdtempSync(join(tmpdir(), "tallystick-test-")));
const temporary = join(folder, "tmp");
const stateDirectory = join(folder, "state");
const before = { TMPDIR: process.env.TMPDIR, TALLYSTICK_STATE_DIR: process.env.TALLYSTICK_STATE_DIR };

beforeAll(() => {
  mkdirSync(temporary);
  process.env.TMPDIR = temporary;
  process.env.TALLYSTICK_STATE_DIR = stateDirectory;
});

afterAll(() => {
  for (const [name, value] of Object.entries(before)) {
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  }
  rmSync(folder, { recursive: true });
});

function expectNothingLeft(): void {
  expect(readdirSync(temporary)).toEqual([]);
  expect(readdirSync(folder)).toEqual(["tmp"]);
}

describe("the attack table", () => {
  let table: AttackTable;

  beforeAll(async () => {
    table = await runAttacks();
  });

  it("has a row for every expected attack and no other", () => {
    expect(table.rows.map(({ id }) => id).sort()).toEqual(Object.keys(EXPECTED).sort());
    expect(table.columns.map(({ id }) => id)).toEqual([
      "chain",
      "head",
      "verify",
      "boot",
      "rfc3161",
      "opentimestamps",
      "receipt",
      "checkpoint",
      "package",
      "witness",
      "mirror",
    ]);
  });

  it.each(Object.entries(EXPECTED))("is noticed by exactly the evidence that can: %s", (id, expected) => {
    const row = table.rows.find((candidate) => candidate.id === id) as AttackTable["rows"][number];
    const measured = { marks: marksOf(table, row), weakest: row.weakest, exit: row.exit };
    const exit = expected.exit === undefined ? (expected.marks[2] === "X" ? 1 : 0) : expected.exit;
    expect(measured).toEqual({ marks: expected.marks, weakest: expected.weakest, exit });
    for (const [column, codes] of Object.entries(expected.codes ?? {}))
      expect({ column, codes: row.notices[column]?.codes }).toEqual({ column, codes });
  });

  it("gives the same table and the same text in a second run, and leaves nothing behind", async () => {
    const again = await runAttacks();
    expect(again).toEqual(table);
    expect(formatAttackTable(again)).toBe(formatAttackTable(table));
    expectNothingLeft();
  });

  it("survives structured cloning and JSON unchanged", () => {
    expect(structuredClone(table)).toEqual(table);
    expect(JSON.parse(JSON.stringify(table))).toEqual(table);
  });

  it("reports its progress from none to all", async () => {
    const seen: string[] = [];
    const controller = new AbortController();
    const onProgress = (done: number, total: number): void => {
      seen.push(`${done}/${total}`);
      if (done === 2) controller.abort(new Error("enough"));
    };
    await expect(runAttacks({ onProgress, signal: controller.signal, dir: temporary })).rejects.toThrow("enough");
    expect(seen).toEqual([`0/${table.rows.length}`, `1/${table.rows.length}`, `2/${table.rows.length}`]);
    expectNothingLeft();
  });

  it("refuses a victim that is too small or too large, before anything is made", async () => {
    for (const entries of [0, 299, 300.5, 5_001, Number.NaN]) {
      await expect(runAttacks({ entries })).rejects.toThrow(`attack: expected 300 to 5000 entries, got ${entries}`);
    }
    expectNothingLeft();
  });

  describe("as text", () => {
    it("keeps to the width, and to plain characters without colour", () => {
      for (const width of [undefined, 100, 86, 85, 80, 10]) {
        const text = formatAttackTable(table, width === undefined ? {} : { width });
        const longest = Math.max(...text.split("\n").map((line) => line.length));
        expect(longest).toBeLessThanOrEqual(Math.max(80, width ?? 100));
        expect(text).not.toMatch(/\u001b| \n/);
        expect(text.endsWith(".\n")).toBe(true);
      }
    });

    it("numbers the columns where their titles would leave too little room", () => {
      const [, , titles, names] = formatAttackTable(table, { width: 100 }).split("\n");
      expect(titles?.trim().split(/ +/)).toEqual([
        "chain",
        "signed",
        "full",
        "boot",
        "RFC",
        "Bitcoin",
        "held",
        "held",
        "held",
      ]);
      expect(names?.trim().split(/ +/)).toEqual([
        ...["walk", "head", "verify", "check", "3161", "stamp", "receipt", "head", "package", "witness", "mirror"],
      ]);
      const part = formatAttackTable({ ...table, rows: table.rows.filter(({ attacker }) => attacker !== "time") });
      expect(part).toContain("Needs a key: of 14 attacks");
      expect(part).not.toContain("of 0 attacks");
      const narrow = formatAttackTable(table, { width: 99 });
      expect(narrow.split("\n")[2]?.trim()).toBe("1   2   3   4   5   6   7   8   9  10  11");
      expect(narrow).toMatch(/^11 mirror +a copy in other hands/m);
    });

    it("says the same with colour", () => {
      const painted = formatAttackTable(table, { color: true });
      expect(painted.replaceAll(/\u001b\[[0-9]+m/g, "")).toBe(formatAttackTable(table));
      expect(painted).toContain("\u001b[32mX\u001b[0m");
    });

    it("puts attacks of one attacker that were answered alike on one line", () => {
      const lines = formatAttackTable(table).split("\n");
      const line = (start: string): string | undefined => lines.find((text) => text.trimStart().startsWith(start));
      expect(lines[0]).toBe("60 attacks on a ledger of 300 entries, and what noticed them");
      expect(line("untouched")?.replaceAll(" ", "")).toBe("untouchedledger···········");
      expect(line("delete, reorder")?.replaceAll(" ", "")).toBe("delete,reorderXXX·XX·XXXX");
      expect(line("another key, to a")?.replaceAll(" ", "")).toBe("anotherkey,toa···XXXXXXXX");
      expect(line("reader with no pin *")).toBeDefined();
      expect(lines.filter((text) => text.startsWith("* Not noticed"))).toHaveLength(1);
    });

    it("takes its sentences from what was measured", () => {
      const flat = (text: string): string => text.replaceAll("\n", " ");
      const text = flat(formatAttackTable(table));
      expect(text).toContain("of 14 attacks that recompute every hash without the log key, the chain walk notices 0,");
      expect(text).toContain("hashing up to a head signed by a pinned key 12.");
      expect(text).toContain("of 14 attacks with the log key, verifying the ledger notices 0.");
      expect(text).toContain(
        "the boot check notices 0 of 9, a client's checkpoint 8, a client's package 8, a witness 9, a mirror 9.",
      );
      expect(text).toContain("of 7 plain writes, a client's checkpoint notices 5, and a package of that visit,");
      expect(text).toContain("which holds what the entries said, 7.");
      expect(text).toContain(
        "of 4 attacks on when, verifying the ledger notices 1, with a time stamp 3, with a block 3.",
      );
      expect(text).toContain("whose holder has any history stamped anew, these notice 0 and 0: they prove when,");
      expect(text).toContain(
        "of 5 backups put back, the boot check notices 3, a client's package 3, a witness 3, a mirror 4.",
      );
      const blind = structuredClone(table) as unknown as { rows: { notices: Record<string, { noticed: boolean }> }[] };
      for (const row of blind.rows) for (const id of ["checkpoint", "package"]) row.notices[id] = { noticed: false };
      expect(flat(formatAttackTable(blind as unknown as AttackTable))).toContain(
        "a client's checkpoint 0, a client's package 0,",
      );
    });
  });
});

describe("a held package", () => {
  it("is asked only if it verifies under its holder's policy: a damaged one says nothing of the ledger", async () => {
    const { notices } = EVIDENCE.find(({ id }) => id === "package")!;
    for await (const { suspect } of attackedCopies({ dir: temporary })) {
      expect(await notices(suspect)).toEqual({ noticed: false, codes: [] });
      const refused = { code: "verification-failed", message: expect.stringMatching(/^the held package: /) };
      const { heldPackage, held } = suspect;
      for (const at of [0, Math.floor(heldPackage.length / 3), heldPackage.length - 1]) {
        const damaged = Uint8Array.from(heldPackage, (byte, i) => (i === at ? byte ^ 1 : byte));
        await expect(notices({ ...suspect, heldPackage: damaged }), `byte ${at}`).rejects.toMatchObject(refused);
      }
      // Sound, but signed by nobody whom this holder knows.
      const stranger = `log ${vkeyOf(suspect.origin, generateLogKey())}\nquorum none\n`;
      await expect(notices({ ...suspect, policy: stranger })).rejects.toMatchObject(refused);
      const { checkpoint, entries } = await openHeldPackage(heldPackage, held.policy);
      expect(checkpoint.split("\n\n")[0]).toBe(held.checkpoint.split("\n\n")[0]);
      expect(entries).toHaveLength(suspect.at.size);
      break;
    }
    expectNothingLeft();
  });
});

describe("a ledger restored with everything around it", () => {
  it("opens, unless its witness is asked what it saw", async () => {
    let met = false;
    for await (const { suspect, attack } of attackedCopies({ dir: temporary })) {
      if (attack.id !== "all-old") continue;
      met = true;
      const published = filesystemArchive(suspect.publishedPath);
      const { client, close } = openWitness({ ...suspect, policy: suspect.held.policy });
      const witnesses = { policy: suspect.held.witnessPolicy, witnesses: [client] };
      await expect(openVictim(suspect, { published, witnesses })).rejects.toMatchObject({
        code: "rolled-back",
        message: expect.stringContaining("witness w"),
      });
      close();
      // To be refused changed nothing.
      const alone = await openVictim(suspect, { published });
      expect(alone.appendProblem).toBe(null);
      await alone.close();
    }
    expect(met).toBe(true);
    expectNothingLeft();
  });
});

describe("attacks on copies of real events", () => {
  const source = join(folder, "source");
  const path = join(source, "audit.db");

  const digest = (): string => createHash("sha256").update(readFileSync(path)).digest("hex");

  beforeAll(async () => {
    mkdirSync(source);
    const author = generateAuthorKey("ed25519");
    const ledger = await Ledger.open(path, {
      state: join(source, "state"),
      signer: generateLogKey(),
      notify: () => {},
    });
    await ledger.keys.addAuthor(author, "alice");
    await ledger.append({ action: "contract.signed", actor: "alice", id: "signed-1" }, { signer: author });
    for (let i = 0; i < 40; i++) {
      const event = { action: "commit.made", actor: `author-${i % 3}`, payload: { files: [`src/${i}.ts`], lines: i } };
      await ledger.append(event, { scheme: i % 2 === 0 ? "fields" : "event" });
    }
    await ledger.append({ action: "big", payload: "x".repeat(20_000) });
    await ledger.erase([{ index: 4 }, { index: 5, fields: ["payload.files"] }], { reason: "asked for" });
    await ledger.close();
  });

  afterAll(() => rmSync(source, { recursive: true }));

  it("notices the same, whatever the events, the sizes and the seed, and only reads the source", async () => {
    const files = readdirSync(source);
    const bytes = digest();
    const table = await runAttacks({ source: path, entries: 701, seed: "another", dir: temporary });
    const measured = Object.fromEntries(table.rows.map((row) => [row.id, marksOf(table, row)]));
    const expected = Object.fromEntries(Object.entries(EXPECTED).map(([id, { marks }]) => [id, marks]));
    expect(measured).toEqual(expected);
    expect(table.at).toEqual({ size: 701, older: 467, anchored: 465, hold: 140, target: 280, receipt: 350, cut: 584 });
    expect(digest()).toBe(bytes);
    expect(readdirSync(source)).toEqual(files);
    expect(readdirSync(temporary)).toEqual([]);
  });

  it("copies whole ordinary events without signatures, and invents what is missing", async () => {
    for await (const { id, text, problem, policy, withoutPin } of tamperedExports({ source: path })) {
      expect({ id, problem, withoutPin }).toEqual({ id: "untouched", problem: null, withoutPin: false });
      expect(parsePolicy(policy).origin).toBe("attack.invalid/victim");
      const lines = (text ?? "").trimEnd().split("\n");
      expect(lines).toHaveLength(301);
      expect(lines[1]).toContain("ledger.genesis");
      expect(lines[2]).toContain('"contract.signed"');
      expect(text).not.toContain("signatures");
      expect(text).not.toContain("xxxx");
      // Of the forty, two were erased in whole or in part.
      expect(lines.filter((line) => line.includes('commit.made"'))).toHaveLength(38);
      const invented = lines.slice(2).filter((line) => line.includes('"attack.invalid/'));
      expect(invented).toHaveLength(298 - 1 - 38 - 2);
      break;
    }
    expect(readdirSync(temporary)).toEqual([]);
  });

  it("fails for a source that is no ledger, and leaves nothing behind", async () => {
    await expect(runAttacks({ source: join(source, "none.db") })).rejects.toMatchObject({ code: "not-found" });
    expect(readdirSync(temporary)).toEqual([]);
  });
});
