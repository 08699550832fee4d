import { describe, expect, it } from "vitest";
import { BulkPart, PART_ENTRIES } from "./bulk-part.ts";
import type { Scheme } from "./core/entry.ts";
import { type Event, encodeEvent, writeEvent } from "./core/event.ts";
import { SaltPool } from "./ledger/salt-pool.ts";
import { seededRandom } from "./ledger/seeded-random.ts";
import { prepareSubmission, type Submission, writeSubmission } from "./ledger/submission.ts";

const pool = new SaltPool(seededRandom("parts"));

function submissionOf(event: Event, scheme: "event" | "fields" = "event"): Submission {
  if (scheme === "event") return writeSubmission(writeEvent(event), pool, "sha256");
  return prepareSubmission(encodeEvent(event), scheme, (count) => pool.take(count), "sha256");
}

interface Content {
  readonly scheme: Scheme;
  readonly body: string;
  readonly salts: readonly number[];
  readonly commitment: string;
}

const contentOf = ({ scheme, body, salts, commitment }: Submission): Content => ({
  scheme,
  body,
  salts: [...salts],
  commitment,
});

/** What another thread finds in the same memory. */
function read(part: BulkPart): Content[] {
  const other = new BulkPart(part.buffer);
  const found: Content[] = [];
  other.read(({ scheme, body, salts, digest }) => {
    const commitment = `${other.hash}:${Buffer.from(digest).toString()}`;
    found.push({ scheme, body: Buffer.from(body).toString(), salts: [...salts], commitment });
  });
  return found;
}

describe("a part of a bulk commit", () => {
  it("gives the other thread what was written, in order, of any size, alphabet and scheme", () => {
    const part = BulkPart.create();
    const given: Content[] = [];
    for (let n = 0; n < PART_ENTRIES; n++) {
      const event: Event = { action: "a.b", payload: { n, text: "é🦊x".repeat(n) } };
      const submission = submissionOf(n % 7 === 0 ? { action: "a.b" } : event, n % 3 === 0 ? "fields" : "event");
      expect(part.fits(submission)).toBe(true);
      part.write(submission);
      given.push(contentOf(submission));
    }
    expect(part.fits(submissionOf({ action: "a.b" }))).toBe(false);
    expect(read(part)).toEqual(given);
  });

  it("says when it is full, and what would fit in none", () => {
    const part = BulkPart.create();
    const large = submissionOf({ action: "a.b", payload: "x".repeat(20_000) });
    expect(part.fits(large)).toBe(true);
    part.write(large);
    expect(part.fits(submissionOf({ action: "a.b", payload: "y".repeat(20_000) }))).toBe(false);
    expect(part.fits(submissionOf({ action: "a.b", payload: "z".repeat(10_000) }))).toBe(true);
    expect(BulkPart.create().fits(submissionOf({ action: "a.b", payload: "z".repeat(33_000) }))).toBe(false);
    expect(read(part)).toEqual([contentOf(large)]);
  });

  it("brings leaf hashes back", () => {
    const part = BulkPart.create();
    const hashes = Array.from({ length: PART_ENTRIES }, (_, n) => `${n % 10}`.repeat(64));
    const bodies = hashes.map((_, n) => {
      const submission = submissionOf({ action: "a.b", payload: n });
      part.write(submission);
      return contentOf(submission);
    });
    const other = new BulkPart(part.buffer);
    for (const [n, hash] of hashes.entries()) other.writeLeafHash(n, hash);
    expect(hashes.map((_, n) => part.readLeafHash(n))).toEqual(hashes);
    expect(read(part)).toEqual(bodies);
  });

  it("is empty once it is cleared, and its marks are gone", () => {
    const part = BulkPart.create();
    part.write(submissionOf({ action: "a.b" }));
    part.close({ isLast: true, isAbandoned: true });
    const other = new BulkPart(part.buffer);
    expect([other.entries, other.isLast, other.isAbandoned]).toEqual([1, true, true]);
    part.clear();
    expect([other.entries, other.isLast, other.isAbandoned]).toEqual([0, false, false]);
    const again = submissionOf({ action: "c.d" });
    part.write(again);
    expect(read(part)).toEqual([contentOf(again)]);
  });
});
