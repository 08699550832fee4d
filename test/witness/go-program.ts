import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const CACHE = join(import.meta.dirname, "../../.cache");
const FILES = ["go.mod", "go.sum", "main.go"];

/** A Go program that was built, or the reason why it is not there: Go is missing, or it does not build. */
export type GoProgram = { readonly path: string } | { readonly reason: string; readonly isAbsent: boolean };

/** Settings under which everything that Go keeps stays below .cache/. */
export function goEnvironment(): NodeJS.ProcessEnv {
  const known = spawnSync("go", ["env", "GOMODCACHE", "GOPROXY"], { encoding: "utf8" }).stdout.split("\n");
  const [modules = "", proxies = ""] = known;
  return {
    ...process.env,
    GOCACHE: join(CACHE, "go/build"),
    GOMODCACHE: join(CACHE, "go/modules"),
    GOFLAGS: "-modcacherw",
    // What this machine has downloaded before needs no network.
    GOPROXY: `file://${modules}/cache/download,${proxies}`,
  };
}

/** Builds the program in `folder`, once for each state of its sources. Everything that Go keeps stays below .cache/. */
export function buildGoProgram(folder: string, name: string): GoProgram {
  const version = spawnSync("go", ["version"], { encoding: "utf8" });
  if (version.status !== 0) return { reason: "go is not installed", isAbsent: true };
  const hash = createHash("sha256").update(version.stdout);
  for (const file of FILES) hash.update(readFileSync(join(folder, file)));
  const path = join(CACHE, "go/bin", `${name}-${hash.digest("hex").slice(0, 16)}`);
  if (existsSync(path)) return { path };
  mkdirSync(join(CACHE, "go/bin"), { recursive: true });
  const build = spawnSync("go", ["build", "-trimpath", "-o", path, "."], {
    cwd: folder,
    encoding: "utf8",
    env: { ...goEnvironment(), GOFLAGS: "-mod=readonly -modcacherw -buildvcs=false" },
  });
  return build.status === 0 ? { path } : { reason: `the Go program does not build: ${build.stderr}`, isAbsent: false };
}
