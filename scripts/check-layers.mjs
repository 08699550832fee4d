#!/usr/bin/env node
/**
 * Enforces the may-import table of docs/internals/architecture.md over src/: arrows only point down, the core is
 * pure, and no module pulls in a vendor's library that its user may not want. Tests may import anything.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join, posix } from "node:path";
import { fileURLToPath } from "node:url";
import { importsOf } from "./lib/imports.mjs";
import { ROOT } from "./lib/process.mjs";

/** What a storage, a signer or an anchor implements: the port modules of the engine. */
const PORTS = [
  ...["storage", "archive", "lock-store", "anchor", "witness"],
  ...["signer", "clock", "random", "reader-state"],
].map((name) => `ledger/${name}.ts`);

const RECORD_LAYERS = ["core", "ledger", "privacy", "records", "monitors", "rulings"];
const LOWER_LAYERS = [
  ...["core", "ledger", "keys", "privacy", "records", "importers", "storage", "anchors", "witness"],
  ...["monitors", "rulings", "front"],
];

/**
 * One row per layer, named by its folder; `front` are the files directly in src/. A layer may always import itself. `any`: every kind of import;
 * `type`: erased imports only; `dynamic`: `import()` and erased imports. An item is a layer or one file.
 */
export const LAYERS = {
  core: { any: [] },
  ledger: { any: ["core"] },
  privacy: { any: ["core"] },
  records: { any: ["core"] },
  importers: { any: ["core"] },
  keys: { any: ["core", ...PORTS] },
  storage: { any: ["core", ...PORTS], type: ["privacy"] },
  anchors: { any: ["core", "ledger", "storage"] },
  witness: { any: ["core", "ledger", "storage"] },
  monitors: { any: ["core", "records"], type: ["ledger"] },
  rulings: { any: ["core", "records"], type: ["ledger"] },
  front: { any: ["core", "ledger", "keys"], dynamic: ["storage", "witness"] },
  // What was handed to an auditor before is among the evidence.
  attack: { any: [...LOWER_LAYERS, "compliance"] },
  testing: { any: [...LOWER_LAYERS, "attack"] },
  compliance: { any: RECORD_LAYERS },
  integrations: { any: ["core", "ledger", "records", "privacy"] },
  server: { any: [...RECORD_LAYERS, "compliance"] },
  cli: { any: [...LOWER_LAYERS, "attack", "compliance", "integrations", "server"] },
};

/** Libraries that a layer may import at the top of a module. Any module may name a vendor in types or load it lazily. */
export const LIBRARIES = {
  core: ["@noble/"],
  keys: ["@noble/"],
  cli: ["commander"],
};

/** Every rule that one source breaks, as `path:line: sentence`. `path` is relative to src/, with forward slashes. */
export function layerViolations(path, source) {
  const layer = layerOf(path);
  const row = LAYERS[layer];
  if (row === undefined) return [`src/${path}: no row of the may-import table is named ${layer}`];
  return importsOf(source).flatMap((found) => {
    const objection = objectionTo(found, path, layer, row);
    return objection === null ? [] : [`src/${path}:${found.line}: ${objection}`];
  });
}

function objectionTo({ specifier, kind }, path, layer, row) {
  if (specifier === null) return "a dynamic import names its module by a literal";
  if (specifier.startsWith("node:")) {
    const pure = layer === "core" && !path.endsWith(".node.ts") && kind !== "type";
    return pure ? `core is pure, ${specifier} belongs in a *.node.ts file behind an imports condition` : null;
  }
  if (specifier.startsWith("#")) return layer === "core" ? null : `${specifier} is for core alone`;
  if (specifier.startsWith(".")) return objectionToLocal(specifier, kind, path, layer, row);
  if (kind !== "value" || LIBRARIES[layer]?.some((library) => specifier.startsWith(library))) return null;
  return `${specifier} may only be loaded by import() or named in types here`;
}

function objectionToLocal(specifier, kind, path, layer, row) {
  const target = posix.normalize(posix.join(posix.dirname(path), specifier));
  if (target.startsWith("..")) return `${specifier} leads out of src/`;
  if (target.endsWith(".node.ts")) return `${specifier} is reached through an imports condition only`;
  if (target.endsWith(".test.ts")) return `${specifier} is a test`;
  const targetLayer = layerOf(target);
  const names = (items) => items?.some((item) => item === targetLayer || item === target) === true;
  if (targetLayer === layer || names(row.any)) return null;
  if (kind === "type" && (names(row.type) || names(row.dynamic))) return null;
  if (kind === "dynamic" && names(row.dynamic)) return null;
  return `${layer} may not import ${target}${names(row.type) || names(row.dynamic) ? ` as a ${kind}` : ""}`;
}

function layerOf(path) {
  return path.includes("/") ? path.slice(0, path.indexOf("/")) : "front";
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const src = join(ROOT, "src");
  const paths = readdirSync(src, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(".ts") && !entry.name.endsWith(".test.ts"))
    .map((entry) =>
      join(entry.parentPath, entry.name)
        .slice(src.length + 1)
        .replaceAll("\\", "/"),
    )
    .sort();
  const violations = paths.flatMap((path) => layerViolations(path, readFileSync(join(src, path), "utf8")));
  for (const violation of violations) process.stdout.write(`${violation}\n`);
  if (violations.length > 0) process.exitCode = 1;
  else process.stdout.write(`${paths.length} files keep to the may-import table\n`);
}
