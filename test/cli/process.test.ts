import { type ChildProcess, execFileSync, spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { MAIN, makePlace, type Place, type Ran, tallystick } from "./program.ts";

/** What the command line does as a process: signals, pipes, memory, locks, terminals. */

let place: Place;
beforeEach(() => {
  place = makePlace();
});
afterEach(() => place.remove());

const run = (...args: string[]): Promise<Ran> => tallystick(place, args);

async function made(): Promise<void> {
  expect((await run("init", "a.db")).code).toBe(0);
}

function has(command: string): boolean {
  return spawnSync(command, ["--version"], { stdio: "ignore" }).error === undefined;
}

function printed(child: ChildProcess, pattern: RegExp): Promise<void> {
  return new Promise((resolve) => {
    let text = "";
    const look = (piece: string): void => {
      text += piece;
      if (pattern.test(text)) resolve();
    };
    child.stdout?.on("data", look);
    child.stderr?.on("data", look);
  });
}

describe("files that are written", () => {
  it("removes what an earlier run of the same file left when it was killed, and nothing else", async () => {
    await made();
    const dead = spawnSync(process.execPath, ["-e", ""]).pid;
    const [abandoned, fresh] = [`.e.jsonl.${dead}.tmp`, `.e.jsonl.${dead}1.tmp`];
    const others = [`.e.jsonl.${process.pid}.tmp`, `.other.jsonl.${dead}.tmp`, ".e.jsonl.tmp", ".e.jsonl.notes.tmp"];
    for (const name of [abandoned, fresh, ...others]) writeFileSync(join(place.dir, name), "an event\n");
    for (const name of [abandoned, ...others]) utimesSync(join(place.dir, name), 1, 1);
    expect((await run("export", "a.db", "--out", "e.jsonl")).code).toBe(0);
    const left = readdirSync(place.dir).filter((name) => name.endsWith(".tmp"));
    expect(left.sort()).toEqual([fresh, ...others].sort());
  });
});

describe("interrupts", () => {
  it("closes the ledger and keeps what was read when a stream is interrupted", async () => {
    await made();
    const lines = Array.from({ length: 50 }, (_, i) => `{"action":"slow.event","payload":${i}}\n`).join("");
    const ran = await tallystick(place, ["append", "a.db", "--jsonl", "-", "--json"], {
      input: lines,
      during: (child) => void printed(child, /"index":50,/).then(() => child.kill("SIGINT")),
    });
    expect(ran.code).toBe(130);
    expect(ran.stdout.split("\n").filter((line) => line !== "")).toHaveLength(50);
    expect(ran.stderr).toContain("interrupted: 50 entries are durable");
    // Closed properly: the checkpoint covers every entry, and no log file is left behind.
    const report = JSON.parse((await run("stats", "a.db", "--json")).stdout);
    expect([report.entries, report.checkpointed]).toEqual([51, 51]);
    expect(existsSync(join(place.dir, "a.db-wal"))).toBe(false);
  });

  it("ends following with 130, having printed what another process appended", async () => {
    await made();
    const ran = await tallystick(place, ["follow", "a.db"], {
      during: (child) =>
        void (async () => {
          const seen = printed(child, /seen\.live/);
          await printed(child, /following/);
          await run("append", "a.db", "seen.live", "--actor", "other");
          await seen;
          child.kill("SIGINT");
        })(),
    });
    expect(ran.code).toBe(130);
    expect(ran.stdout).toMatch(/^1 {2}\S+ {2}seen\.live +other\n$/);
    expect(ran.stderr).toContain("following tallystick.local/a.db/");
  });

  it("follows from an index on", async () => {
    await made();
    await run("append", "a.db", "first.one");
    const ran = await tallystick(place, ["follow", "a.db", "--first", "0", "--json"], {
      during: (child) => void printed(child, /first\.one/).then(() => child.kill("SIGTERM")),
    });
    expect(ran.code).toBe(130);
    expect(ran.stdout.split("\n").map((line) => line.slice(0, 41))).toEqual([
      '{"format":"tallystick/entry/v1","index":0',
      '{"format":"tallystick/entry/v1","index":1',
      "",
    ]);
  });
});

describe("pipes", () => {
  it("stops a listing quietly when nobody reads on", async () => {
    await made();
    const lines = Array.from({ length: 20_000 }, (_, i) => `{"action":"x.y","payload":"${i} ${"-".repeat(100)}"}\n`);
    await tallystick(place, ["append", "a.db", "--jsonl", "-"], { input: lines.join("") });
    const script = `'${process.execPath}' '${MAIN}' list a.db --json | head -n 1 | wc -l; echo "\${PIPESTATUS[0]}"`;
    const ran = spawnSync("bash", ["-c", script], { cwd: place.dir, env: place.env, encoding: "utf8" });
    expect(ran).toMatchObject({ stdout: "1\n0\n", stderr: "" });
  });

  it("appends the whole stream although nobody reads its results", async () => {
    await made();
    const lines = Array.from({ length: 5_000 }, () => `{"action":"x.y","payload":"${"-".repeat(100)}"}\n`);
    writeFileSync(join(place.dir, "events.jsonl"), lines.join(""));
    const script = `'${process.execPath}' '${MAIN}' append a.db --jsonl events.jsonl --json | head -n 1 > /dev/null; echo "\${PIPESTATUS[0]}"`;
    const ran = spawnSync("bash", ["-c", script], { cwd: place.dir, env: place.env, encoding: "utf8" });
    expect(ran).toMatchObject({ stdout: "0\n", stderr: "" });
    expect(JSON.parse((await run("stats", "a.db", "--json")).stdout).entries).toBe(5_001);
  });

  it("hands over each line once it is durable, while the input is still open", async () => {
    await made();
    const ran = await tallystick(place, ["append", "a.db", "--jsonl", "-", "--json"], {
      input: '{"action":"first.event"}\n',
      during: (child) =>
        void (async () => {
          await printed(child, /"index":1,/);
          const entry = await run("show", "a.db", "1", "--json");
          expect(entry.stdout).toContain("first.event");
          child.stdin?.end('{"action":"second.event"}\n');
        })(),
    });
    expect(ran.code).toBe(0);
    expect(ran.stdout.match(/"index":\d/g)).toEqual(['"index":1', '"index":2']);
  });
});

describe("memory and loading", () => {
  // A small heap is collected before it grows, young objects too, for which V8 takes up to 48 MB on a busy machine: what is left over is what is
  // really held.
  const watch = [
    "--max-old-space-size=40",
    "--max-semi-space-size=4",
    "--import",
    new URL("fixtures/watch-memory.mjs", import.meta.url).href,
  ];

  function watched(args: readonly string[], input = ""): { maxRssBytes: number; isNative: boolean } {
    const ran = spawnSync(process.execPath, [...watch, MAIN, ...args], {
      cwd: place.dir,
      env: place.env,
      input,
      encoding: "utf8",
      maxBuffer: 2 ** 28,
    });
    expect(ran.status).toBe(0);
    return JSON.parse(ran.stderr.trimEnd().split("\n").at(-1) ?? "");
  }

  it("appends, lists and exports 20,000 large events in the memory that 2,000 take", async () => {
    await made();
    const line = `${JSON.stringify({ action: "x.y", payload: "x".repeat(4_000) })}\n`;
    const small = watched(["append", "a.db", "--jsonl", "-", "--json"], line.repeat(2_000));
    const large = watched(["append", "a.db", "--jsonl", "-", "--json"], line.repeat(20_000));
    const listed = watched(["list", "a.db", "--json"]);
    const exported = watched(["export", "a.db", "--out", "all.jsonl"]);
    // 80 MB went through each of them, and 8 MB through the first.
    const limit = small.maxRssBytes + 40_000_000;
    expect(large.maxRssBytes).toBeLessThan(limit);
    expect(listed.maxRssBytes).toBeLessThan(limit);
    expect(exported.maxRssBytes).toBeLessThan(limit);
  });

  it("loads native code only where a ledger is opened", async () => {
    await made();
    expect(watched(["--version"]).isNative).toBe(false);
    expect(watched(["append", "--help"]).isNative).toBe(false);
    expect(watched(["completion", "bash"]).isNative).toBe(false);
    expect(watched(["keys", "new", "--out", "k.pem"]).isNative).toBe(false);
    expect(watched(["list", "a.db"]).isNative).toBe(true);
  });
});

describe("files that cannot be written, or are held by others", () => {
  it.each([
    ["in words", []],
    ["in JSON", ["--json"]],
  ])("tells a failed signature at the end from a failed append, %s", async (_, options) => {
    await made();
    const [lockStore, aside] = ["state/lock.sqlite", "lock.aside"].map((name) => join(place.dir, name)) as [
      string,
      string,
    ];
    const ran = await tallystick(place, ["append", "a.db", "--jsonl", "-", ...options], {
      input: '{"action":"first.event"}\n',
      during: (child) =>
        void (async () => {
          while (!(await run("list", "a.db")).stdout.includes("first.event"));
          renameSync(lockStore, aside);
          child.stdin?.end('{"action":"second.event"}\n');
        })(),
    });
    expect(ran.code).toBe(5);
    expect(ran.stdout).toContain(options.length === 0 ? "✓ appended 2 entries, index 1 to 2" : '"index":2,');
    const message =
      "all entries are durable, but the newest are not covered by a signed checkpoint yet: the lock store has no record of";
    if (options.length === 0) {
      expect(ran.stderr).toContain(`error: ${message}`);
      expect(ran.stderr).toContain(
        "hint: do not append them again; mend what is named, then `tallystick checkpoint LEDGER` signs them",
      );
    } else {
      const { error } = JSON.parse(ran.stdout.trimEnd().split("\n").at(-1) ?? "");
      expect(error).toMatchObject({ code: "lock-store-lost", details: { level: "durable" } });
      expect(error.message).toContain(message);
    }
    // What it says is so: the entries are there, and what it names as the way out covers them.
    renameSync(aside, lockStore);
    expect((await run("checkpoint", "a.db")).stdout.split("\n")[1]).toBe("3");
    expect(await run("verify", "a.db")).toMatchObject({
      code: 0,
      stdout: expect.stringContaining("✓ intact: 3 entries"),
    });
  });

  it("waits for a writer that holds the ledger, and then appends", async () => {
    await made();
    const Database = createRequire(import.meta.url)("better-sqlite3");
    const db = new Database(join(place.dir, "a.db"));
    db.exec("BEGIN IMMEDIATE");
    const appending = run("append", "a.db", "x.y");
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    db.exec("ROLLBACK");
    db.close();
    expect(await appending).toMatchObject({ code: 0, stdout: expect.stringContaining("✓ x.y is entry 1") });
  });

  it("verifies, lists and proves a ledger in a folder that it may not write, and leaves nothing there", async (context) => {
    const isRoot = process.getuid?.() === 0;
    // The program itself must be readable for whoever runs it.
    const nobody = isRoot ? { uid: 65_534, gid: 65_534 } : {};
    const probe = spawnSync(process.execPath, [MAIN, "--version"], { ...nobody, env: place.env });
    if (probe.status !== 0) context.skip("needs a checkout that other users may read");
    await made();
    await run("append", "a.db", "x.y");
    await run("policy", "a.db", "--out", "policy");
    mkdirSync(join(place.dir, "locked"));
    execFileSync("cp", ["a.db", "policy", "locked"], { cwd: place.dir });
    for (const path of ["..", ".", "locked", "locked/policy", "locked/a.db"]) {
      chmodSync(join(place.dir, path), path.startsWith("locked/") ? 0o444 : 0o555);
    }
    const locked = join(place.dir, "locked");
    const env = { ...place.env, TALLYSTICK_STATE_DIR: join(locked, "state"), TMPDIR: "/tmp" };
    const as = (...args: string[]): Ran => {
      const ran = spawnSync(process.execPath, [MAIN, ...args], { ...nobody, cwd: locked, env, encoding: "utf8" });
      return { code: ran.status, stdout: ran.stdout, stderr: ran.stderr };
    };
    try {
      expect(as("verify", "a.db", "--policy", "policy")).toMatchObject({
        code: 0,
        stdout: expect.stringContaining("✓ intact: 2 entries"),
      });
      expect(as("list", "a.db")).toMatchObject({ code: 0, stdout: expect.stringContaining("x.y") });
      expect(as("prove", "a.db", "1", "--out", "-").stdout).toContain('"format":"tallystick/receipt/v1"');
      expect(as("append", "a.db", "x.z")).toMatchObject({ code: 5, stdout: "" });
      expect(as("append", "a.db", "x.z").stderr).toMatch(/^error: .*\[(read-only|storage-io)\]\n$/);
      expect(as("verify", "a.db", "--policy", "policy", "--remember").stderr).not.toContain("    at ");
      expect(readdirSync(locked).sort()).toEqual(["a.db", "policy"]);
    } finally {
      for (const path of ["..", ".", "locked"]) chmodSync(join(place.dir, path), 0o755);
    }
  });
});

describe("terminals", () => {
  it("colours and shows progress there, and only there", async (context) => {
    if (!has("script")) context.skip("needs the command script");
    await made();
    const onTerminal = (command: string, env: NodeJS.ProcessEnv = {}): string =>
      spawnSync("script", ["-qec", command, "/dev/null"], {
        cwd: place.dir,
        env: { ...place.env, TERM: "xterm", ...env },
        encoding: "utf8",
      }).stdout;
    const list = "tallystick list a.db";
    expect(onTerminal(list)).toContain("\u001b[36mledger.genesis");
    expect(onTerminal(list, { NO_COLOR: "1" })).not.toContain("\u001b");
    expect(onTerminal(list, { TERM: "dumb" })).not.toContain("\u001b");
    expect(onTerminal(`${list} --json`)).not.toContain("\u001b");
    expect(onTerminal(list, { FORCE_COLOR: "0" })).not.toContain("\u001b");
    // A terminal that does not know its width is as wide as none.
    expect(onTerminal(`stty cols 0; ${list} --actor nobody`)).toContain("no entry matches, of");
    const lines = `(for i in $(seq 40); do echo '{"action":"x.y"}'; sleep 0.02; done)`;
    expect(onTerminal(`${lines} | tallystick append a.db --jsonl -`)).toContain("appending");
    expect(onTerminal(`${lines} | tallystick append a.db --jsonl - --quiet`)).not.toContain("appending");
  });
});

describe("completion", () => {
  it("completes commands, options and their values in bash", async (context) => {
    if (!has("bash")) context.skip("needs bash");
    const { stdout: script } = await run("completion", "bash");
    writeFileSync(join(place.dir, "completion.bash"), script);
    const complete = (...words: string[]): string[] => {
      const quoted = words.map((word) => `'${word}'`).join(" ");
      const line = `source completion.bash; COMP_WORDS=(tallystick ${quoted}); COMP_CWORD=${words.length}; _tallystick 2>/dev/null; printf '%s\\n' "\${COMPREPLY[@]}"`;
      const ran = spawnSync("bash", ["-c", line], { cwd: place.dir, env: place.env, encoding: "utf8" });
      return ran.stdout.split("\n").filter((word) => word !== "");
    };
    expect(complete("ve")).toEqual(["verify"]);
    expect(complete("keys", "")).toEqual(["new", "list", "add", "rotate", "revoke"]);
    expect(complete("--json", "state", "ex")).toEqual(["export"]);
    expect(complete("init", "a.db", "--sch")).toEqual(["--scheme"]);
    expect(complete("init", "a.db", "--scheme", "")).toEqual(["event", "fields"]);
    expect(complete("keys", "new", "--algorithm", "ml")).toEqual(["ml-dsa-44", "ml-dsa-65", "ml-dsa-87"]);
    expect(complete("completion", "")).toEqual(["bash", "zsh", "fish", "pwsh"]);
    // A file, by bash itself.
    expect(complete("verify", "")).toEqual([]);
    expect(complete("verify", "--policy", "--")).toEqual([]);
  });

  for (const [shell, check] of [
    ["zsh", ["-n"]],
    ["fish", ["--no-execute"]],
  ] as const) {
    it(`gives ${shell} a script that it can read (needs ${shell})`, async (context) => {
      if (!has(shell)) context.skip(`needs ${shell}`);
      const { stdout } = await run("completion", shell);
      const file = join(place.dir, "completion");
      writeFileSync(file, stdout);
      const ran = spawnSync(shell, [...check, file], { encoding: "utf8", env: place.env });
      expect(ran).toMatchObject({ status: 0, stderr: "" });
    });
  }

  it("names every command in each script", async () => {
    const help = (await run("--help")).stdout;
    const commands = [...help.matchAll(/^ {2}([a-z]+) /gm)]
      .map((match) => match[1] ?? "")
      .filter((name) => name !== "help");
    expect(commands.length).toBeGreaterThan(18);
    for (const shell of ["bash", "zsh", "fish", "pwsh"]) {
      const { stdout } = await run("completion", shell);
      for (const command of commands) expect(stdout).toContain(command);
    }
  });
});

describe("attack", () => {
  it("prints the measured table, and leaves the ledger as it is", async () => {
    await made();
    await run("append", "a.db", "x.y");
    const before = readFileSync(join(place.dir, "a.db"));
    const ran = await run("attack", "a.db", "--json");
    expect(ran.code).toBe(0);
    const table = JSON.parse(ran.stdout);
    expect(table.format).toBe("tallystick/attacks/v1");
    expect(table.rows.length).toBeGreaterThanOrEqual(28);
    expect(readFileSync(join(place.dir, "a.db")).equals(before)).toBe(true);
    expect(await run("attack", "gone.db")).toMatchObject({ code: 3, stdout: "" });
    expect(await run("attack", "--entries", "7")).toMatchObject({ code: 2, stdout: "" });
  }, 120_000);
});

it("speaks JSON in every command, each line with its format", async () => {
  const file = (name: string, text: string): string => {
    writeFileSync(join(place.dir, name), text);
    return name;
  };
  const events = file("events.jsonl", '{"action":"b.c"}\n{"action":"d.e"}\n');
  execFileSync("git", ["init", "-q", "empty"], { cwd: place.dir, env: place.env });
  const commands: readonly (readonly [format: string, ...args: string[]])[] = [
    ["init", "init", "a.db"],
    ["appended", "append", "a.db", "user.login", "--id", "one"],
    ["appended", "append", "a.db", "--jsonl", events],
    ["entry", "list", "a.db"],
    ["page", "list", "a.db", "--limit", "1"],
    ["entry", "show", "a.db", "1"],
    ["stats", "stats", "a.db"],
    ["report", "verify", "a.db"],
    ["checkpoint", "checkpoint", "a.db"],
    ["policy", "policy", "a.db"],
    ["proof", "prove", "a.db", "1", "--out", "r.json"],
    ["exported", "export", "a.db", "--out", "x.jsonl"],
    ["erased", "erase", "a.db", "2", "--reason", "asked"],
    ["key", "keys", "new", "--out", "k.pem"],
    ["key-added", "keys", "add", "a.db", "--author", "k.pem", "--actor", "alice"],
    ["keys", "keys", "list", "a.db"],
    ["key-rotated", "keys", "rotate", "a.db"],
    ["reindexed", "reindex", "a.db"],
    ["state-exported", "state", "export", "state.json", "--keys"],
    ["state-imported", "state", "import", "state.json"],
    ["imported", "import", "git", "empty", "--into", "b.db"],
    ["completion", "completion", "zsh"],
    ["forgotten", "forget", "a.db"],
  ];
  for (const [format, ...args] of commands) {
    const ran = await run(...args, "--json", "--quiet");
    expect({ args, code: ran.code }).toEqual({ args, code: 0 });
    const lines = ran.stdout.trimEnd().split("\n");
    for (const line of lines) expect(JSON.parse(line).format, line).toMatch(/^tallystick\/[a-z-]+\/v1$/);
    expect(JSON.parse(lines.at(-1) ?? "").format, args.join(" ")).toBe(`tallystick/${format}/v1`);
  }
});

it("keeps stack traces to itself", async () => {
  // A state directory that is a file makes everything fail that can fail.
  writeFileSync(join(place.dir, "state"), "");
  for (const args of [
    ["init", "a.db"],
    ["append", "a.db", "x.y"],
    ["state", "export", "-"],
    ["forget", "a.db"],
  ]) {
    const ran = await run(...args);
    expect({ args, code: ran.code }).toEqual({ args, code: 5 });
    expect(ran.stderr).toMatch(/^error: .*\[[a-z-]+\]\n$/);
    expect(ran.stderr).not.toContain("    at ");
  }
});
