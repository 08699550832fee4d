import { homedir } from "node:os";
import { posix, win32 } from "node:path";
import { UnavailableError } from "../core/errors.ts";

export interface StateLocation {
  /** Overrides everything else. */
  readonly dir?: string;
  /** Default: `process.env`. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Default: `process.platform`. */
  readonly platform?: NodeJS.Platform;
}

/**
 * Where this machine's memory of its ledgers is: `dir`, else `$TALLYSTICK_STATE_DIR`, else `$XDG_STATE_HOME/tallystick`
 * (XDG base directory specification 0.8: a relative value is ignored), else the platform's own place:
 * `~/.local/state/tallystick`, `~/Library/Application Support/tallystick` or `%LOCALAPPDATA%\tallystick`.
 * `storage-io` when there is no home directory to build on.
 */
export function stateDirectoryOf(location: StateLocation = {}): string {
  const { dir, env = process.env, platform = process.platform } = location;
  const path = platform === "win32" ? win32 : posix;
  const chosen = dir || env.TALLYSTICK_STATE_DIR;
  if (chosen) return path.resolve(chosen);
  if (env.XDG_STATE_HOME && path.isAbsolute(env.XDG_STATE_HOME)) return path.join(env.XDG_STATE_HOME, "tallystick");
  if (platform === "win32") {
    const local = env.LOCALAPPDATA || path.join(env.USERPROFILE || home(), "AppData", "Local");
    return path.join(local, "tallystick");
  }
  const base = env.HOME || home();
  if (platform === "darwin") return path.join(base, "Library", "Application Support", "tallystick");
  return path.join(base, ".local", "state", "tallystick");
}

function home(): string {
  let directory = "";
  let cause: unknown;
  try {
    directory = homedir();
  } catch (error) {
    cause = error;
  }
  if (directory !== "") return directory;
  const message =
    "state directory: this user has no home directory; set TALLYSTICK_STATE_DIR to a directory of its own";
  throw new UnavailableError("storage-io", message, { cause });
}
