import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type Result, ROOT, run, runOk } from "../packaging/program.ts";

// Every program of examples/, run on the built package by its name, as a reader would run it.

const folders: string[] = [];
let folder: string;

beforeAll(async () => {
  await runOk(process.execPath, ["scripts/build.mjs"]);
}, 120_000);

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "tallystick-examples-"));
  folders.push(folder);
});

afterAll(() => {
  for (const made of folders) rmSync(made, { recursive: true, force: true });
});

function example(name: string, ...args: readonly string[]): Promise<Result> {
  const env = { PATH: process.env.PATH, HOME: folder, TMPDIR: folder, TALLYSTICK_STATE_DIR: join(folder, "state") };
  return run(process.execPath, [join(ROOT, "examples", name), ...args], { cwd: folder, env });
}

const lines = (text: string): string[] => text.trimEnd().split("\n");

describe("examples", () => {
  it("are all run here", () => {
    const programs = readdirSync(join(ROOT, "examples"), { recursive: true, encoding: "utf8" });
    const runnable = programs.filter((path) => path.endsWith(".mjs") && !/outbox.(application|relay)\.mjs$/.test(path));
    expect(runnable.sort()).toEqual([
      "agent-tool-calls.mjs",
      "audit-middleware.mjs",
      "auditor.mjs",
      join("outbox", "demo.mjs"),
      "quickstart.mjs",
    ]);
  });

  it("quickstart: records, finds, verifies and proves, and a second run adds nothing", async () => {
    const expected = [
      "entry 2: order.placed by alice",
      "entry 3: order.refunded by bob",
      "intact: 4 entries",
      "  integrity: pass",
      "  order: pass",
      "  authenticity: pass",
      "  completeness: pass",
      "  independence: notEstablished",
      "  time: notEstablished",
      "entry 1 of the ledger is in the signed log, as it is shown",
    ];
    const first = await example("quickstart.mjs");
    expect(lines(first.stdout)).toEqual(expected);
    expect(first.code).toBe(0);
    expect(first.stderr).toContain("created the ledger");
    const second = await example("quickstart.mjs");
    expect(lines(second.stdout)).toEqual(expected);
    expect(second).toMatchObject({ code: 0, stderr: "" });
  });

  it("outbox: a crash between append and delete gives one entry for each intent", async () => {
    const { code, stdout } = await example("outbox/demo.mjs", ".");
    expect(lines(stdout)).toEqual([
      "order-3: rolled back (SQLITE_CONSTRAINT_CHECK), and its audit record with it",
      "in the outbox: 2",
      "a relay appended them and was ended by SIGKILL; still in the outbox: 2",
      "the next relay sent 2 again; in the outbox: 0",
      "entry 1: order.placed order-1 by alice",
      "entry 2: order.placed order-2 by bob",
      "intact: 3 entries",
    ]);
    expect(code).toBe(0);
  });

  it("outbox: sets aside what the ledger will never take, and goes on with the rest", async () => {
    const program = `
      import { Ledger } from ${JSON.stringify(join(ROOT, "dist/index.js"))};
      import { openApplication, placeOrder } from ${JSON.stringify(join(ROOT, "examples/outbox/application.mjs"))};
      import { drain } from ${JSON.stringify(join(ROOT, "examples/outbox/relay.mjs"))};
      const db = openApplication("shop.db");
      db.prepare("INSERT INTO audit_outbox (id, event) VALUES ('bad', '{\\"action\\":\\"not an action\\"}')").run();
      placeOrder(db, { id: "order-1", customer: "alice", amount: 5 });
      const ledger = await Ledger.open("audit.db");
      console.log(await drain(db, ledger));
      console.log(db.prepare("SELECT id, refused FROM audit_outbox").all());
      await ledger.close();`;
    writeFileSync(join(folder, "program.mjs"), program);
    const env = { PATH: process.env.PATH, HOME: folder, TALLYSTICK_STATE_DIR: join(folder, "state") };
    const { code, stdout } = await run(process.execPath, ["program.mjs"], { cwd: folder, env });
    expect(lines(stdout)[0]).toBe("1");
    expect(stdout).toContain("id: 'bad'");
    expect(stdout).toContain("malformed-event: ");
    expect(code).toBe(0);
  });

  it("agent-tool-calls: records calls and outcomes, refuses foreign events, and shows a gap", async () => {
    const { code, stdout } = await example("agent-tool-calls.mjs", ".");
    expect(lines(stdout)).toEqual([
      "refund refused: limit exceeded",
      "entry 2: tool.called crm.lookup",
      "entry 3: tool.returned crm.lookup success",
      "entry 4: tool.called billing.refund",
      "entry 5: tool.returned billing.refund failure",
      "signature-required",
      "author-not-registered",
      "intact: 6 entries",
      'source-gap at 6: source "run-1" lacks the events 4 to 4',
    ]);
    expect(code).toBe(0);
  });

  it("audit-middleware: records changes before and answers after, and no secret of a query string", async () => {
    const { code, stdout, stderr } = await example("audit-middleware.mjs", ".");
    expect(lines(stdout)).toEqual([
      "note 1",
      "entry 1: http.received POST /notes alice",
      "entry 2: http.answered POST /notes alice 201",
      "entry 3: http.answered GET /notes bob 200",
      "entry 4: http.answered GET /missing - 404",
      "the request that alice can name: entries 1 and 2",
    ]);
    expect(stderr).not.toContain("not recorded");
    expect(code).toBe(0);
    expect(readFileSync(join(folder, "http.db")).includes("token=secret")).toBe(false);
  });

  it("auditor: passes honest files, and names what was changed", async () => {
    const { code, stdout } = await example("auditor.mjs");
    const printed = lines(stdout);
    expect(printed[0]).toBe("receipt: entry 1 of example.com/books is in the signed log, as it is shown");
    expect(printed).toContain("export: export of example.com/books: intact, all 3 entries");
    expect(printed.at(-1)).toBe(
      "  commitment-mismatch at entry 1: entry 1: what is shown is not what the entry commits to",
    );
    expect(code).toBe(1);
  });
});
