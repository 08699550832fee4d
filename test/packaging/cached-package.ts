import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { CACHE, run, runOk } from "./program.ts";

/** Why something that must be downloaded is not here: the reason of a skipped test. */
export interface Missing {
  readonly missing: string;
}

/** Folder of an npm package that is no dependency of ours, such as `typescript@~5.9.0`: downloaded once, then cached. */
export async function cachedPackage(specifier: string): Promise<{ readonly folder: string } | Missing> {
  const folder = join(CACHE, specifier.replaceAll(/[^a-z0-9.-]+/g, "_"));
  if (existsSync(folder)) return { folder };
  mkdirSync(CACHE, { recursive: true });
  const scratch = mkdtempSync(`${folder}-download-`);
  try {
    const { code, stdout, stderr } = await run("npm", ["pack", "--json", specifier, "--pack-destination", scratch]);
    if (code !== 0)
      return { missing: `${specifier} cannot be downloaded: ${/error code (\w+)/.exec(stderr)?.[1] ?? code}` };
    const [{ filename }] = JSON.parse(stdout) as [{ readonly filename: string }];
    await runOk("tar", ["-xzf", join(scratch, filename), "-C", scratch]);
    // A rename of a complete folder: a run that is stopped before it leaves nothing half-made under the final name.
    renameSync(join(scratch, "package"), folder);
    return { folder };
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}
