import { describe, expect, it } from "vitest";
import { layerViolations } from "./check-layers.mjs";

const violations = (path, ...lines) => layerViolations(path, lines.join("\n"));

describe("the may-import table", () => {
  it.each([
    ["core/a.ts", 'import { b } from "./b.ts";'],
    ["core/a.ts", 'import { sha256 } from "@noble/hashes/sha2.js";'],
    ["core/a.ts", 'import { digestHex } from "#hash-platform";'],
    ["core/a.node.ts", 'import { hash } from "node:crypto";'],
    ["storage/sqlite.ts", 'import type { LedgerStorage } from "../ledger/storage.ts";'],
    ["storage/sqlite.ts", 'import type Database from "better-sqlite3";'],
    ["storage/sqlite.ts", 'import type { KeyStore } from "../privacy/key-store.ts";'],
    ["open.ts", 'const { openSqlite } = await import("./storage/sqlite.ts");'],
    ["cli/main.ts", 'import { Command } from "commander";'],
    ["attack/attack.ts", 'import { Ledger } from "../index.ts";'],
    ["monitors/drift.ts", 'import type { Ledger } from "../ledger/ledger.ts";'],
  ])("allows in %s: %s", (path, line) => {
    expect(violations(path, line)).toEqual([]);
  });

  it.each([
    ["core/a.ts", 'import { x } from "../ledger/storage.ts";', "core may not import ledger/storage.ts"],
    ["core/a.ts", 'export type { X } from "../ledger/storage.ts";', "core may not import ledger/storage.ts"],
    ["core/a.ts", 'import { hash } from "node:crypto";', "core is pure"],
    ["core/a.ts", 'import "./a.node.ts";', "reached through an imports condition only"],
    ["ledger/a.ts", 'import { digestHex } from "#hash-platform";', "is for core alone"],
    ["ledger/a.ts", 'import { sha256 } from "@noble/hashes/sha2.js";', "only be loaded by import()"],
    ["keys/a.ts", 'import { Ledger } from "../ledger/ledger.ts";', "keys may not import ledger/ledger.ts"],
    ["storage/sqlite.ts", 'import Database from "better-sqlite3";', "only be loaded by import()"],
    ["storage/sqlite.ts", 'import { shred } from "../privacy/shred.ts";', "privacy/shred.ts as a value"],
    ["open.ts", 'import { openSqlite } from "./storage/sqlite.ts";', "storage/sqlite.ts as a value"],
    ["open.ts", "const driver = await import(name);", "names its module by a literal"],
    ["cli/main.ts", 'import { suite } from "../testing/index.ts";', "cli may not import testing/index.ts"],
    ["server/a.ts", 'import { openSqlite } from "../storage/sqlite.ts";', "server may not import storage/sqlite.ts"],
    ["helpers/a.ts", "export const a = 1;", "no row of the may-import table"],
    ["core/a.ts", 'import { x } from "../../scripts/x.mjs";', "leads out of src/"],
  ])("refuses in %s: %s", (path, line, reason) => {
    expect(violations(path, line)).toEqual([expect.stringContaining(reason)]);
  });

  it("sees an import over several lines, and names its line", () => {
    const found = violations("core/a.ts", "/** Doc. */", "import {", "  a,", "  type B,", '} from "../keys/a.ts";');
    expect(found).toEqual(["src/core/a.ts:2: core may not import keys/a.ts"]);
  });

  it("tells import() from a method of that name", () => {
    expect(
      violations("keys/a.ts", "  import(json: unknown): Report;", "  state.import(json);", "  import() {}"),
    ).toEqual([]);
    expect(violations("keys/a.ts", "  await import(json);")).toHaveLength(1);
  });

  it("takes no notice of imports in comments", () => {
    const found = violations("core/a.ts", "/**", ' * import { x } from "../ledger/x.ts";', " */", "// await import(x)");
    expect(found).toEqual([]);
  });
});
