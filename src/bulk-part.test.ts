import { describe, expect, it } from "vitest";
import { BulkPart, type LinkedEntry, PART_ENTRIES } from "./bulk-part.ts";
import { ENTRY_BYTES_MAX } from "./core/entry-layout.ts";
import { type Event, encodeEvent, writeEvent } from "./core/event.ts";
import { SaltPool } from "./ledger/salt-pool.ts";
import { seededRandom } from "./ledger/seeded-random.ts";
import { prepareSubmission, type Submission, writeSubmission } from "./ledger/submission.ts";

const pool = new SaltPool(seededRandom("parts"));

function submissionOf(event: Event, scheme: "event" | "fields" = "event"): Submission {
  if (scheme === "event") return writeSubmission(writeEvent(event), pool, "sha256");
  return prepareSubmission(encodeEvent(event), scheme, (count) => pool.take(count), "sha256");
}

/** An entry of any text around the digest, as long as the longest one if told so. */
function link({ digest }: Submission, n: number, isLongest = false): LinkedEntry {
  const before = `entry ${n}: `;
  const text = `${before}${digest}.`.padEnd(isLongest ? ENTRY_BYTES_MAX : 0, "e");
  return { entry: Buffer.from(text), digestAt: before.length, leafHash: n.toString(16).padStart(64, "abcdef") };
}

interface Content {
  readonly entry: string;
  readonly body: string;
  readonly salts: readonly number[];
  readonly leafHash: string;
}

/** What is written of it, to be read before it is. */
const contentOf = ({ body, salts }: Submission, { entry, leafHash }: LinkedEntry): Content => ({
  entry: Buffer.from(entry).toString(),
  body,
  salts: [...salts],
  leafHash,
});

function write(part: BulkPart, submission: Submission, linked = link(submission, 0)): Content {
  const content = contentOf(submission, linked);
  part.write(submission, linked);
  return content;
}

/** What another thread finds in the same memory. */
function read(part: BulkPart): Content[] {
  const other = new BulkPart(part.buffer);
  const found: Content[] = [];
  const hashes = Buffer.from(other.leafHashes());
  other.read(({ entry, body, salts }) => {
    const at = 32 * found.length;
    found.push({
      entry: Buffer.from(entry).toString(),
      body: Buffer.from(body).toString(),
      salts: [...salts],
      leafHash: hashes.toString("hex", at, at + 32),
    });
  });
  expect(hashes.length).toBe(32 * found.length);
  return found;
}

describe("a part of a bulk commit", () => {
  it("gives the other thread what was written, in order, of any size, alphabet and scheme", () => {
    const part = BulkPart.create();
    const given: Content[] = [];
    const submissions: Submission[] = [];
    for (let n = 0; n < PART_ENTRIES; n++) {
      const event: Event = { action: "a.b", payload: { n, text: "é🦊x".repeat(n) } };
      const submission = submissionOf(n % 7 === 0 ? { action: "a.b" } : event, n % 3 === 0 ? "fields" : "event");
      expect(part.fits(submission)).toBe(true);
      const { digest } = submission;
      given.push(write(part, submission, link(submission, n, n % 5 === 0)));
      submissions.push(submission);
      // It stands in the entry from now on.
      expect(submission.digest).toBe(digest);
    }
    expect(part.fits(submissionOf({ action: "a.b" }))).toBe(false);
    expect(read(part)).toEqual(given);
    for (const [n, { body, salts, digest }] of submissions.entries()) {
      expect({ body, salts: [...salts] }).toEqual({ body: given[n]!.body, salts: given[n]!.salts });
      expect(given[n]!.entry).toContain(` ${digest}.`);
    }
  });

  it("says when it is full, and what would fit in none", () => {
    const part = BulkPart.create();
    const large = submissionOf({ action: "a.b", payload: "x".repeat(20_000) });
    expect(part.fits(large)).toBe(true);
    const content = write(part, large);
    expect(part.fits(submissionOf({ action: "a.b", payload: "y".repeat(20_000) }))).toBe(false);
    expect(part.fits(submissionOf({ action: "a.b", payload: "z".repeat(10_000) }))).toBe(true);
    expect(BulkPart.create().fits(submissionOf({ action: "a.b", payload: "z".repeat(33_000) }))).toBe(false);
    expect(read(part)).toEqual([content]);
  });

  it("is empty once it is cleared, and its marks are gone", () => {
    const part = BulkPart.create();
    write(part, submissionOf({ action: "a.b" }));
    part.close({ isLast: true, isAbandoned: true });
    const other = new BulkPart(part.buffer);
    expect([other.entries, other.isLast, other.isAbandoned]).toEqual([1, true, true]);
    part.clear();
    expect([other.entries, other.isLast, other.isAbandoned]).toEqual([0, false, false]);
    expect(read(part)).toEqual([]);
    const again = write(part, submissionOf({ action: "c.d" }));
    expect(read(part)).toEqual([again]);
  });
});
