import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { canonicalize } from "./canonical-json.ts";
import { encodeUtf8 } from "./encoding.ts";
import { type ErrorCode, isTallystickError } from "./errors.ts";
import type { JsonObject } from "./event.ts";
import { RECEIPT_BYTES_MAX } from "./limits.ts";
import { parsePolicy } from "./policy.ts";
import { formatReceipt, parseReceipt, type ReceiptParts, verifyReceipt } from "./receipt.ts";
import { exitCodeOf, type FindingCode, type VerdictName, type VerdictStatus } from "./report.ts";
import { reportReceipt } from "./verify-receipt.ts";

interface Case {
  readonly title: string;
  readonly policy: string | null;
  readonly receipt: string;
  readonly exit: number;
  readonly findings: readonly FindingCode[];
  readonly verdicts: Readonly<Record<VerdictName, VerdictStatus>>;
}

interface Vectors {
  readonly policies: Readonly<Record<string, string>>;
  readonly cases: readonly Case[];
}

const vectors = JSON.parse(readFileSync(new URL("../../vectors/receipts.json", import.meta.url), "utf8")) as Vectors;
const policies = Object.fromEntries(Object.entries(vectors.policies).map(([name, text]) => [name, parsePolicy(text)]));
const pinning = (name: string | null) => ({
  allowSelfAsserted: false,
  ...(name === null ? {} : { policy: vectors.policies[name]! }),
});
const named = (title: string): Case => vectors.cases.find((candidate) => candidate.title === title)!;

async function refusalOf(call: () => unknown): Promise<{ code: ErrorCode; message: string }> {
  try {
    await call();
  } catch (error) {
    if (!isTallystickError(error)) throw error;
    return { code: error.code, message: error.message };
  }
  throw new Error("expected a refusal");
}

/** Error code that `verifyReceipt` throws where a report has this finding first. */
const CODES: Partial<Record<FindingCode, readonly ErrorCode[]>> = {
  "file-malformed": ["malformed-receipt"],
  "checkpoint-malformed": ["malformed-note", "malformed-checkpoint"],
  "entry-malformed": ["malformed-entry"],
  "proof-invalid": ["proof-invalid"],
  "commitment-mismatch": ["commitment-mismatch"],
  "body-malformed": ["malformed-event", "too-deep"],
  "control-scheme": ["malformed-control"],
  "control-malformed": ["malformed-control"],
  "genesis-malformed": ["malformed-control"],
  "genesis-mismatch": ["ledger-replaced"],
  "origin-mismatch": ["origin-mismatch"],
  "checkpoint-signature": ["signature-invalid", "signature-missing"],
  "author-signature": ["signature-invalid"],
  "signature-required": ["signature-required"],
  "time-after-evidence": ["verification-failed"],
};

describe("reportReceipt", () => {
  it.each(vectors.cases)("answers as the vector: $title, $policy", async (vector) => {
    const report = await reportReceipt(vector.receipt, pinning(vector.policy));
    const verdicts = Object.fromEntries(Object.entries(report.verdicts).map(([name, { status }]) => [name, status]));
    expect(report.findings.map((finding) => finding.code)).toEqual(vector.findings);
    expect(verdicts).toEqual(vector.verdicts);
    expect(exitCodeOf(report)).toBe(vector.exit);
    expect(report.pin).toBe(vector.policy === null ? "none" : "policy");
    expect(report.summary).not.toBe("");
    expect(JSON.parse(JSON.stringify(report))).toEqual(report);
  });

  it("names what was left unchecked", async () => {
    const unchecked = async (title: string) => {
      const { receipt, policy } = named(title);
      const { verdicts } = await reportReceipt(receipt, pinning(policy));
      return [...verdicts.integrity.unchecked, ...verdicts.authenticity.unchecked];
    };
    expect(await unchecked("some fields")).toEqual([
      "later erasure or revocation does not show in a receipt",
      "3 withheld fields: only the digest is here",
      "genesis not pinned",
    ]);
    expect((await unchecked("signed by somebody who is not pinned")).at(-1)).toMatch(
      /^author signatures by keys that the policy does not name: [0-9a-f]{64}$/,
    );
  });

  it("tells whom it relies on", async () => {
    const { receipt } = named("a whole event");
    const witnessed = await reportReceipt(receipt, pinning("witnessed"));
    expect(witnessed).toMatchObject({ origin: "example.com/audit", range: [1, 1], kind: "receipt", conclusive: true });
    expect(witnessed.summary).toBe("entry 1 of example.com/audit is in the signed log, as it is shown");
    expect(witnessed.verdicts.independence.basis).toBe("the checkpoint was cosigned by w1");
    expect(witnessed.verdicts.time.basis).toBe("existed before 2026-01-02T03:05:00.000Z, says a quorum of witnesses");
    const alone = await reportReceipt(receipt, pinning("nobody outside"));
    expect(alone.verdicts.independence.basis).toBe("nobody outside vouches: the policy asks for no witnesses");
    const unpinned = await reportReceipt(receipt, pinning(null));
    expect(unpinned.verdicts.authenticity.basis).toBe("no key is pinned, so no signature was checked");
    expect(unpinned.conclusive).toBe(false);
  });

  it("leaves receipts of a later version to a later version", async () => {
    const { receipt } = named("a whole event");
    for (const version of ["2", "17", "9007199254740991"]) {
      const newer = receipt.replace("receipt/v1", `receipt/v${version}`);
      expect((await refusalOf(() => reportReceipt(newer, pinning(null)))).code).toBe("newer-format");
    }
    const noDecimal = receipt.replace("receipt/v1", "receipt/v9007199254740992");
    expect((await reportReceipt(noDecimal, pinning(null))).findings[0]?.code).toBe("file-malformed");
    const withMore = canonicalize({ anything: 1, format: "tallystick/receipt/v2" });
    expect((await refusalOf(() => parseReceipt(`${withMore}\n`))).code).toBe("newer-format");
  });
});

describe("verifyReceipt", () => {
  it.each(vectors.cases.filter(({ policy }) => policy !== null))(
    "accepts or refuses: $title, $policy",
    async (vector) => {
      const verified = verifyReceipt(encodeUtf8(vector.receipt), policies[vector.policy!]!);
      const [finding] = vector.findings;
      if (finding === undefined) expect((await verified).entry.index).toBe(parseReceipt(vector.receipt).entry.index);
      else expect(CODES[finding]).toContain((await refusalOf(() => verified)).code);
    },
  );

  it("gives what is shown, what is withheld and who vouches", async () => {
    const whole = await verifyReceipt(named("signed by the author, who is pinned").receipt, policies.authors!);
    expect(whole).toMatchObject({
      index: 3,
      withheld: [],
      event: { action: "order.approve", actor: "alice", id: "evt-3" },
    });
    expect(whole.authors.map((author) => author.actor)).toEqual(["alice"]);
    expect(whole.checkpoint).toMatchObject({
      quorum: true,
      witnessTime: 1767323100,
      witnesses: [{ name: "w1", time: 1767323100 }],
    });
    const some = await verifyReceipt(named("some fields").receipt, policies.witnessed!);
    expect(some.event).toEqual({ action: "order.refund", id: "evt-2", payload: { amount: 1250 } });
    expect(some.withheld).toEqual(["actor", "payload.reason", "targets"]);
    expect((await verifyReceipt(named("no field").receipt, policies.witnessed!)).event).toEqual({});
  });

  it("notices a change of any byte", async () => {
    for (const title of ["a whole event", "some fields"]) {
      const { receipt } = named(title);
      const bytes = encodeUtf8(receipt);
      // Every byte would take a minute; every ninth, in another phase for each file, meets every part.
      for (let at = title.length % 9; at < bytes.length; at += 9) {
        const changed = bytes.slice();
        changed[at] = changed[at]! ^ 1;
        // A line that names another witness is ignored, and the quorum is gone; nothing else may still verify.
        const answer = await verifyReceipt(changed, policies.witnessed!).then(
          ({ checkpoint }) => checkpoint.quorum,
          (error) => isTallystickError(error) && "refused",
        );
        expect(["refused", false], `byte ${at}`).toContain(answer);
      }
    }
  });

  it("verifies the examples of the specification", async () => {
    const example = (page: string, position: number): string => {
      const source = readFileSync(new URL(`../../spec/${page}`, import.meta.url), "utf8");
      return [...source.matchAll(/^```\n([\s\S]*?)^```$/gm)][position]![1]!;
    };
    const policy = parsePolicy(example("policy.md", 0));
    expect(await verifyReceipt(example("receipt.md", 0), policy)).toMatchObject({
      index: 1,
      checkpoint: { quorum: true },
    });
    expect(await verifyReceipt(example("receipt.md", 1), policy)).toMatchObject({
      index: 2,
      checkpoint: { quorum: true },
    });
  });
});

describe("parseReceipt", () => {
  it("refuses bytes that are not UTF-8, a byte order mark, and files that are too long", async () => {
    const bytes = encodeUtf8(named("a whole event").receipt);
    expect(await refusalOf(() => parseReceipt(Uint8Array.of(0xff, ...bytes)))).toEqual({
      code: "malformed-receipt",
      message: "expected UTF-8 text",
    });
    expect((await refusalOf(() => parseReceipt(Uint8Array.of(0xef, 0xbb, 0xbf, ...bytes)))).code).toBe(
      "malformed-receipt",
    );
    for (const file of [new Uint8Array(RECEIPT_BYTES_MAX + 1), "é".repeat(RECEIPT_BYTES_MAX / 2 + 1)]) {
      expect(await refusalOf(() => parseReceipt(file))).toEqual({
        code: "malformed-receipt",
        message: "receipt: expected at most 34078720 bytes",
      });
    }
  });

  it("says what is wrong with the form", async () => {
    const message = async (title: string) => (await refusalOf(() => parseReceipt(named(title).receipt))).message;
    expect(await message("no newline")).toBe("receipt: expected a newline at the end");
    expect(await message("no salt")).toBe(
      "receipt: expected exactly the members entry,event,format,proof,salt or digests,disclosed,entry,format,names,proof",
    );
    expect(await message("a member twice")).toBe("receipt: /entry: expected each member once");
    expect(await message("scheme event with a disclosure")).toBe(
      "receipt: scheme event comes with the event and its salt",
    );
    expect(await message("a proof with an extra line")).toBe("receipt: proof: expected no extra line");
  });
});

describe("formatReceipt", () => {
  it("writes the file of its parts, whatever their order", () => {
    for (const title of ["a whole event", "some fields", "an event nested to 64", "genesis"]) {
      const { receipt } = named(title);
      const { format: _format, ...parts } = JSON.parse(receipt) as JsonObject;
      const turned = Object.fromEntries(Object.entries(parts).reverse());
      expect(formatReceipt(turned as unknown as ReceiptParts)).toBe(receipt);
    }
  });

  it("writes nothing that parseReceipt would refuse", async () => {
    const { format: _format, ...parts } = JSON.parse(named("a whole event").receipt) as JsonObject;
    const wrong = { ...parts, salt: "short" } as unknown as ReceiptParts;
    expect((await refusalOf(() => formatReceipt(wrong))).code).toBe("malformed-receipt");
  });
});
