import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { sha256Hex } from "../core/hash.ts";
import { parseVerifierKey } from "../core/note.ts";
import { formatPolicy } from "../core/policy.ts";
import { vkeyOf } from "../ledger/genesis.ts";
import { logSignerFromSeed } from "./local-signer.ts";
import { openState, type State } from "./state-directory.ts";
import { stateDirectoryOf } from "./state-location.ts";

const ORIGIN = "tallystick.local/audit.db/0123456789abcdef";
const ROOT_A = `${"A".repeat(43)}=`;
const ROOT_B = `${"B".repeat(42)}A=`;
const GENESIS = "ab".repeat(32);
const policyOf = (origin: string, seed = 1): string =>
  formatPolicy({
    logKeys: [parseVerifierKey(vkeyOf(origin, logSignerFromSeed("ed25519", new Uint8Array(32).fill(seed))))],
    genesis: GENESIS,
  });
const note = (size: number, { origin = ORIGIN, root = ROOT_A, extra = "" } = {}): string =>
  `${origin}\n${size}\n${root}\n\n— ${origin} AAAA\n${extra}`;

let folder: string;
let state: State;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "tallystick-state-"));
  state = openState({ dir: join(folder, "state") });
});
afterEach(() => {
  chmodSync(folder, 0o700);
  rmSync(folder, { recursive: true });
});

describe("where the state directory is", () => {
  const cases: [string, NodeJS.Platform, Record<string, string>, string][] = [
    ["the variable of its own", "linux", { TALLYSTICK_STATE_DIR: "/a/b/", XDG_STATE_HOME: "/x", HOME: "/h" }, "/a/b"],
    ["XDG_STATE_HOME", "linux", { XDG_STATE_HOME: "/x", HOME: "/h" }, "/x/tallystick"],
    ["the home directory", "linux", { HOME: "/h" }, "/h/.local/state/tallystick"],
    [
      "home, as a relative XDG_STATE_HOME is void",
      "linux",
      { XDG_STATE_HOME: "x", HOME: "/h" },
      "/h/.local/state/tallystick",
    ],
    [
      "home, as empty variables are unset",
      "linux",
      { TALLYSTICK_STATE_DIR: "", XDG_STATE_HOME: "", HOME: "/h" },
      "/h/.local/state/tallystick",
    ],
    ["Application Support on macOS", "darwin", { HOME: "/Users/a" }, "/Users/a/Library/Application Support/tallystick"],
    ["LOCALAPPDATA on Windows", "win32", { LOCALAPPDATA: "C:\\Users\\a\\L" }, "C:\\Users\\a\\L\\tallystick"],
    ["the profile on Windows", "win32", { USERPROFILE: "C:\\Users\\a" }, "C:\\Users\\a\\AppData\\Local\\tallystick"],
  ];
  for (const [title, platform, env, expected] of cases) {
    it(`is under ${title}`, () => expect(stateDirectoryOf({ platform, env })).toBe(expected));
  }

  it("is where the caller says, before everything else", () => {
    expect(stateDirectoryOf({ dir: "/mine", env: { TALLYSTICK_STATE_DIR: "/a" }, platform: "linux" })).toBe("/mine");
  });
});

describe("state directory", () => {
  it("makes nothing until something is written", () => {
    expect(state.readKey(ORIGIN)).toBeUndefined();
    expect(state.readPolicy(ORIGIN)).toBeUndefined();
    expect(state.lastSeen(ORIGIN)).toBeUndefined();
    expect(state.readVerification(ORIGIN)).toBeUndefined();
    expect(state.recallPath("/a.db")).toBeUndefined();
    expect(state.listPaths()).toEqual([]);
    expect(state.listOrigins()).toEqual([]);
    expect(state.forgetPath("/a.db")).toBe(false);
    expect(existsSync(state.dir)).toBe(false);
  });

  it("keeps a private key in a file of its owner alone and never overwrites it", () => {
    state.writeKey(ORIGIN, "PEM 1\n");
    expect(() => state.writeKey(ORIGIN, "PEM 2\n")).toThrow(
      expect.objectContaining({
        code: "already-exists",
        message: `state directory: there is a key "key" for ${ORIGIN} already`,
      }),
    );
    expect(state.readKey(ORIGIN)).toBe("PEM 1\n");
    state.writeKey(ORIGIN, "PEM 3\n", "next");
    expect(state.readKey(ORIGIN, "next")).toBe("PEM 3\n");
    expect(state.listKeys(ORIGIN)).toEqual(["key", "next"]);
    const own = join(state.dir, "ledgers", sha256Hex(ORIGIN));
    expect(statSync(join(own, "key.pem")).mode & 0o777).toBe(0o600);
    for (const made of [state.dir, join(state.dir, "ledgers"), own]) expect(statSync(made).mode & 0o777).toBe(0o700);
    expect(readFileSync(join(own, "origin"), "utf8")).toBe(`${ORIGIN}\n`);
    expect(readdirSync(own).sort()).toEqual(["key.pem", "next.pem", "origin"]);
    expect(() => state.writeKey(ORIGIN, "PEM", "../x")).toThrow(TypeError);
  });

  it("warns about a key file that others may read, and still reads it", () => {
    state.writeKey(ORIGIN, "PEM\n");
    expect(state.keyWarning(ORIGIN)).toBeUndefined();
    expect(state.keyWarning("unknown")).toBeUndefined();
    const file = join(state.dir, "ledgers", sha256Hex(ORIGIN), "key.pem");
    chmodSync(file, 0o644);
    expect(state.keyWarning(ORIGIN)).toBe(
      `key file ${file}: mode 0644 lets other users read it; chmod 600, and think about whether it was copied`,
    );
    expect(state.readKey(ORIGIN)).toBe("PEM\n");
  });

  it("answers key-unreadable when a key is there and cannot be read", () => {
    const file = join(state.dir, "ledgers", sha256Hex(ORIGIN), "key.pem");
    mkdirSync(file, { recursive: true });
    expect(() => state.readKey(ORIGIN)).toThrow(
      expect.objectContaining({ code: "key-unreadable", message: `key file ${file}: cannot be read (EISDIR)` }),
    );
  });

  it("says which file holds a damaged policy, or another ledger's, and which ways out there are", () => {
    const policy = policyOf(ORIGIN);
    state.writePolicy(ORIGIN, policy);
    expect(state.readPolicy(ORIGIN)).toBe(policy);
    const file = join(state.dir, "ledgers", sha256Hex(ORIGIN), "policy");
    for (const [text, what, details] of [
      ["lag x\n", 'policy line 1: unknown line "lag"', { line: 1, file }],
      ["", "policy: expected a log line", { file }],
      [policyOf("example.com/other"), "it is of example.com/other", { file, found: "example.com/other" }],
    ] as const) {
      writeFileSync(file, text);
      expect(() => state.readPolicy(ORIGIN), what).toThrow(
        expect.objectContaining({
          code: "malformed-policy",
          message: expect.stringContaining(`the pinned policy ${file} is damaged (${what}), so`),
          details: expect.objectContaining(details),
        }),
      );
      expect(() => state.readPolicy(ORIGIN)).toThrow(/a copy that you trust in its place.*`tallystick state import`/);
      // A backup of it would look like one, and be none.
      expect(() => state.export()).toThrow(file);
      expect(readFileSync(file, "utf8")).toBe(text);
    }
  });

  it("keeps any two origins apart, whatever characters they hold", () => {
    const origin = fc.string({ unit: "binary", minLength: 1, maxLength: 40 });
    fc.assert(
      fc.property(fc.uniqueArray(origin, { minLength: 2, maxLength: 4 }), (origins) => {
        const fresh = openState({ dir: mkdtempSync(join(folder, "odd-")) });
        for (const [i, name] of origins.entries()) fresh.writeKey(name, `key ${i}`);
        for (const [i, name] of origins.entries()) expect(fresh.readKey(name)).toBe(`key ${i}`);
        expect(fresh.listOrigins()).toEqual([...origins].sort());
      }),
      { seed: 20_261_120, numRuns: 10 },
    );
    expect(readdirSync(folder).every((name) => name.startsWith("odd-"))).toBe(true);
  });

  describe("places", () => {
    it("remembers, lists and forgets what stood where", () => {
      state.rememberPath("/data/b.db", { origin: "b", genesis: GENESIS, size: 1 });
      state.rememberPath("/data/x/../a.db", { origin: ORIGIN, genesis: GENESIS, size: 3, note: note(3) });
      state.rememberPath("postgres://host/db", { origin: "c", genesis: GENESIS, size: 0 });
      expect(state.recallPath("/data/a.db")).toEqual({
        path: "/data/a.db",
        origin: ORIGIN,
        genesis: GENESIS,
        size: 3,
        note: note(3),
      });
      expect(state.listPaths().map(({ path, size }) => [path, size])).toEqual([
        ["/data/a.db", 3],
        ["/data/b.db", 1],
        ["postgres://host/db", 0],
      ]);
      expect(state.forgetPath("/data/a.db")).toBe(true);
      expect(state.forgetPath("/data/a.db")).toBe(false);
      expect(state.recallPath("/data/a.db")).toBeUndefined();
      expect(() => state.recallPath("a.db")).toThrow(TypeError);
    });

    it("never goes back to a smaller size", () => {
      state.rememberPath("/a.db", { origin: ORIGIN, genesis: GENESIS, size: 10 });
      state.rememberPath("/a.db", { origin: ORIGIN, genesis: GENESIS, size: 9 });
      expect(state.recallPath("/a.db")?.size).toBe(10);
      state.rememberPath("/a.db", { origin: ORIGIN, genesis: GENESIS, size: 10, note: note(8) });
      state.rememberPath("/a.db", { origin: ORIGIN, genesis: GENESIS, size: 10 });
      expect(state.recallPath("/a.db")?.note).toBe(note(8));
      state.rememberPath("/a.db", { origin: ORIGIN, genesis: GENESIS, size: 2 ** 53 - 1 });
      expect(state.recallPath("/a.db")?.size).toBe(2 ** 53 - 1);
      expect(readdirSync(join(state.dir, "paths", sha256Hex("/a.db")))).toEqual(["9007199254740991"]);
    });

    it("refuses another ledger at a known place until it is forgotten", () => {
      state.rememberPath("/a.db", { origin: ORIGIN, genesis: GENESIS, size: 10 });
      for (const other of [
        { origin: "other", genesis: GENESIS },
        { origin: ORIGIN, genesis: "cd".repeat(32) },
      ]) {
        expect(() => state.rememberPath("/a.db", { ...other, size: 20 })).toThrow(
          expect.objectContaining({
            code: "ledger-replaced",
            message: `/a.db: another ledger stood here (${ORIGIN})`,
          }),
        );
      }
      state.forgetPath("/a.db");
      state.rememberPath("/a.db", { origin: "other", genesis: GENESIS, size: 1 });
      expect(state.recallPath("/a.db")?.origin).toBe("other");
    });

    it("reports a damaged record instead of forgetting it", () => {
      state.rememberPath("/a.db", { origin: ORIGIN, genesis: GENESIS, size: 10 });
      const file = join(state.dir, "paths", sha256Hex("/a.db"), "0000000000000010");
      for (const text of ["{", "null", `{"path":"/a.db"}`]) {
        writeFileSync(file, text);
        expect(() => state.recallPath("/a.db")).toThrow(expect.objectContaining({ code: "storage-corrupt" }));
      }
    });
  });

  describe("last seen checkpoints", () => {
    it("move forward only", () => {
      for (const size of [5, 3, 9, 9, 1]) state.rememberCheckpoint(ORIGIN, note(size));
      expect(state.lastSeen(ORIGIN)).toBe(note(9));
      expect(readdirSync(join(state.dir, "ledgers", sha256Hex(ORIGIN), "seen"))).toEqual(["0000000000000009"]);
    });

    it("keep the note with more cosignatures at the same size and root", () => {
      const cosigned = note(5, { extra: "— witness BBBB\n" });
      state.rememberCheckpoint(ORIGIN, note(5));
      state.rememberCheckpoint(ORIGIN, cosigned);
      state.rememberCheckpoint(ORIGIN, note(5));
      expect(state.lastSeen(ORIGIN)).toBe(cosigned);
    });

    it("refuse a second root at the same size", () => {
      state.rememberCheckpoint(ORIGIN, note(5));
      expect(() => state.rememberCheckpoint(ORIGIN, note(5, { root: ROOT_B }))).toThrow(
        expect.objectContaining({ code: "forked", message: `checkpoint of ${ORIGIN}: two roots at size 5` }),
      );
      expect(state.lastSeen(ORIGIN)).toBe(note(5));
    });

    it("refuse another origin and what is no checkpoint", () => {
      expect(() => state.rememberCheckpoint("other", note(5))).toThrow(
        expect.objectContaining({
          code: "origin-mismatch",
          message: `checkpoint: expected origin other, got ${ORIGIN}`,
        }),
      );
      for (const text of [
        "",
        ORIGIN,
        note(0),
        `${ORIGIN}\n05\n${ROOT_A}\n`,
        `${ORIGIN}\n9007199254740993\n${ROOT_A}\n`,
      ]) {
        expect(() => state.rememberCheckpoint(ORIGIN, text)).toThrow(
          expect.objectContaining({
            code: "malformed-checkpoint",
            message: "checkpoint: expected lines with origin, size and root",
          }),
        );
      }
    });
  });

  it("keeps the later verification", () => {
    const record = { time: "2026-11-20T10:00:00.000Z", size: 4, root: null, ok: true, conclusive: true, findings: 0 };
    state.writeVerification(ORIGIN, record);
    state.writeVerification(ORIGIN, { ...record, time: "2026-11-20T09:00:00.000Z", ok: false });
    expect(state.readVerification(ORIGIN)).toEqual(record);
    state.writeVerification(ORIGIN, { ...record, time: "2026-11-20T11:00:00.000Z", size: 3 });
    expect(state.readVerification(ORIGIN)?.size).toBe(3);
  });

  it.skipIf(process.getuid?.() === 0 || process.platform === "win32")(
    "names directory and user when it may not write (needs a user other than root)",
    () => {
      chmodSync(folder, 0o500);
      expect(() => state.writePolicy(ORIGIN, "x")).toThrow(
        expect.objectContaining({
          code: "read-only",
          message: expect.stringMatching(/user \S+ \(uid \d+\) has no access/),
        }),
      );
    },
  );

  it("names directory and user when a file stands where a folder should be", () => {
    writeFileSync(join(folder, "state"), "");
    expect(() => state.writePolicy(ORIGIN, "x")).toThrow(
      expect.objectContaining({
        code: "storage-io",
        message: expect.stringMatching(
          new RegExp(`^state directory ${state.dir}: E[A-Z]+ for user \\S+ \\(uid \\d+\\)$`),
        ),
      }),
    );
  });
});

describe("state export and import", () => {
  const verification = {
    time: "2026-11-20T10:00:00.000Z",
    size: 4,
    root: null,
    ok: true,
    conclusive: true,
    findings: 0,
  };
  const locks = [{ origin: ORIGIN, lockStoreId: "0".repeat(32), note: note(5) }];
  let other: State;
  beforeEach(() => {
    other = openState({ dir: join(folder, "other") });
    state.writeKey(ORIGIN, "PEM\n");
    state.writeKey(ORIGIN, "PEM 2\n", "next");
    state.writePolicy(ORIGIN, policyOf(ORIGIN));
    state.rememberCheckpoint(ORIGIN, note(5));
    state.writeVerification(ORIGIN, verification);
    state.rememberPath("/a.db", { origin: ORIGIN, genesis: GENESIS, size: 5 });
  });
  const viaJson = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

  it("moves everything to an empty machine, and again without change", () => {
    const everything = viaJson(state.export({ keys: true, locks }));
    const report = other.import(everything);
    expect(report).toEqual({
      imported: [
        `key key of ${ORIGIN}`,
        `key next of ${ORIGIN}`,
        `policy of ${ORIGIN}`,
        `checkpoint of ${ORIGIN}`,
        `verification of ${ORIGIN}`,
        "path /a.db",
      ],
      kept: [],
      conflicts: [],
      locks,
    });
    expect(other.export({ keys: true, locks })).toEqual(everything);
    expect(other.import(everything).kept).toEqual(report.imported);
  });

  it("leaves private keys out unless they are asked for", () => {
    const text = JSON.stringify(state.export());
    expect(text).not.toContain("PEM");
    other.import(JSON.parse(text));
    expect(other.listKeys(ORIGIN)).toEqual([]);
  });

  it("never overwrites a newer record, a key or a policy", () => {
    other.writeKey(ORIGIN, "ANOTHER\n");
    other.writePolicy(ORIGIN, policyOf(ORIGIN, 2));
    other.rememberCheckpoint(ORIGIN, note(6));
    other.writeVerification(ORIGIN, { ...verification, time: "2026-11-21T10:00:00.000Z" });
    other.rememberPath("/a.db", { origin: "other", genesis: GENESIS, size: 1 });
    const before = other.export({ keys: true });
    const report = other.import(viaJson(state.export({ keys: true })));
    expect(report.conflicts).toEqual([`key key of ${ORIGIN}`, `policy of ${ORIGIN}`, "path /a.db"]);
    expect(report.kept).toEqual([`checkpoint of ${ORIGIN}`, `verification of ${ORIGIN}`]);
    expect(report.imported).toEqual([`key next of ${ORIGIN}`]);
    const { keys, ...rest } = other.export({ keys: true }).ledgers[0]!;
    expect(keys).toEqual({ key: "ANOTHER\n", next: "PEM 2\n" });
    expect({ ...rest, keys: { key: "ANOTHER\n" } }).toEqual(before.ledgers[0]);
  });

  it("reports a forked checkpoint as a conflict", () => {
    other.rememberCheckpoint(ORIGIN, note(5, { root: ROOT_B }));
    expect(other.import(state.export()).conflicts).toEqual([`checkpoint of ${ORIGIN}`]);
    expect(other.lastSeen(ORIGIN)).toBe(note(5, { root: ROOT_B }));
  });

  it("refuses what is no state export, or a newer one", () => {
    for (const json of [null, 1, [], {}, { format: "tallystick/receipt/v1" }]) {
      expect(() => other.import(json)).toThrow(
        expect.objectContaining({
          code: "unrecognised-file",
          message: "state import: expected format tallystick/state/v1",
        }),
      );
    }
    expect(() => other.import({ format: "tallystick/state/v2" })).toThrow(
      expect.objectContaining({
        code: "newer-format",
        message: "state import: expected format tallystick/state/v1, got tallystick/state/v2",
      }),
    );
  });

  it("refuses every member of the wrong type, naming it, before anything is written", () => {
    const whole = viaJson(state.export({ keys: true, locks })) as Record<string, unknown>;
    const pointers = [
      "/ledgers",
      "/ledgers/0",
      "/ledgers/0/origin",
      "/ledgers/0/policy",
      "/ledgers/0/lastSeen",
      "/ledgers/0/verification",
      "/ledgers/0/verification/time",
      "/ledgers/0/keys",
      "/ledgers/0/keys/next",
      "/paths",
      "/paths/0/path",
      "/paths/0/origin",
      "/paths/0/genesis",
      "/paths/0/size",
      "/paths/0/note",
      "/locks",
      "/locks/0/origin",
      "/locks/0/lockStoreId",
      "/locks/0/note",
    ];
    for (const pointer of pointers) {
      const copy = structuredClone(whole);
      const names = pointer.slice(1).split("/");
      let at = copy;
      for (const name of names.slice(0, -1)) at = at[name] as Record<string, unknown>;
      at[names.at(-1)!] = -7;
      expect(() => other.import(copy), pointer).toThrow(
        expect.objectContaining({
          code: "malformed-export",
          message: `state import: unexpected value at "${pointer}"`,
        }),
      );
    }
    const damaged = structuredClone(whole) as { ledgers: { policy: string }[] };
    damaged.ledgers[0]!.policy = "log x\n";
    expect(() => other.import(damaged)).toThrow('unexpected value at "/ledgers/0/policy"');
    const relative = structuredClone(whole) as { paths: { path: string }[] };
    relative.paths[0]!.path = "a.db";
    expect(() => other.import(relative)).toThrow(expect.objectContaining({ code: "malformed-export" }));
    expect(existsSync(other.dir)).toBe(false);
  });
});
