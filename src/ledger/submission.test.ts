import { describe, expect, it } from "vitest";
import { canonicalize } from "../core/canonical-json.ts";
import { commitBody } from "../core/commitment.ts";
import { type Event, encodeEvent, writeEvent } from "../core/event.ts";
import { SALT_BYTES } from "../core/limits.ts";
import { SaltPool } from "./salt-pool.ts";
import { seededRandom } from "./seeded-random.ts";
import { type ContentPlace, prepareSubmission, type Submission, writeSubmission } from "./submission.ts";

const salts = (): SaltPool => new SaltPool(seededRandom("submissions"));
const write = (event: Event, pool = salts()): Submission => writeSubmission(writeEvent(event), pool, "sha256");

const EVENTS: Event[] = [
  { action: "user.login" },
  { action: "user.login", payload: { text: "Zoë 🦊\u2028", long: "x".repeat(5_000) } },
  { action: "user.login", metadata: { long: "é".repeat(70_000) } },
];

/** Its digest stands there before the rest is moved. */
function move(submission: Submission, target: Buffer, to: ContentPlace): void {
  target.write(submission.digest, to.digest, "latin1");
  submission.moveTo(target, to);
}

/** What was moved to these places. */
function movedTo(target: Buffer, { saltsSize, sizeBytes, digestSize }: Submission, to: ContentPlace) {
  return {
    salts: Uint8Array.from(target.subarray(to.salts, to.salts + saltsSize)),
    body: target.toString("utf8", to.body, to.body + sizeBytes),
    digest: target.toString("latin1", to.digest, to.digest + digestSize),
  };
}

describe("a submission", () => {
  it("has the same content whether it is text, stands where it was written, or was moved", () => {
    for (const event of EVENTS) {
      const body = canonicalize(event);
      const text = prepareSubmission(encodeEvent(event), "event", (count) => salts().take(count), "sha256");
      const same = {
        body,
        sizeBytes: Buffer.byteLength(body),
        saltsSize: SALT_BYTES,
        salts: text.salts,
        digest: text.digest,
      };
      expect(text).toMatchObject(same);
      expect(text.commitment).toBe(`sha256:${commitBody("sha256", "event", text.salts, body)}`);

      const written = write(event);
      expect(written).toMatchObject({ ...same, commitment: text.commitment, scheme: "event" });
      const target = Buffer.alloc(200_000, 0xff);
      const place = { salts: 7, digest: 30, body: 100 };
      move(written, target, place);
      expect(movedTo(target, written, place)).toEqual({ salts: text.salts, body, digest: text.digest });
      expect(written).toMatchObject(same);
      const other = Buffer.alloc(200_000);
      move(written, other, { digest: 0, salts: 64, body: 80 });
      target.fill(0);
      expect(written).toMatchObject(same);
      written.own();
      other.fill(0);
      expect(written).toMatchObject(same);
      move(written, target, place);
      expect(movedTo(target, written, place)).toEqual({ salts: text.salts, body, digest: text.digest });
    }
  });

  it("keeps what it owns when the next is written", () => {
    const pool = salts();
    const all = EVENTS.map((event) => {
      const submission = write(event, pool);
      submission.own();
      return submission;
    });
    const drawn = salts();
    for (const [i, submission] of all.entries())
      expect(submission).toMatchObject({ body: canonicalize(EVENTS[i]), salts: drawn.take(1) });
  });

  it("refuses to pass off another one's content as its own", () => {
    const [first, second] = EVENTS.map((event) => write(event)) as [Submission, Submission];
    const overwritten = expect.objectContaining({ code: "invariant-broken" });
    expect(() => first.own()).toThrow(overwritten);
    expect(() => first.body).toThrow(overwritten);
    expect(() => first.salts).toThrow(overwritten);
    expect(() => second.moveTo(Buffer.alloc(10_000), { digest: 0, salts: 64, body: 80 })).toThrow(overwritten);
  });

  it("notices a later event that was refused half-way, too", () => {
    const submission = write(EVENTS[0]!);
    expect(() =>
      write({ action: "a.b", payload: { text: "x".repeat(50), wrong: () => 1 } } as unknown as Event),
    ).toThrow();
    expect(() => submission.body).toThrow(expect.objectContaining({ code: "invariant-broken" }));
  });

  it("is whole when its own toJSON writes another one", () => {
    let inner: Submission | null = null;
    const payload = {
      toJSON() {
        inner = write({ action: "inner.one", payload: "y".repeat(200) });
        inner.own();
        return { n: 1 };
      },
    };
    const outer = write({ action: "outer.one", payload } as unknown as Event);
    expect(outer.body).toBe('{"action":"outer.one","payload":{"n":1}}');
    expect(outer.commitment).toBe(`sha256:${commitBody("sha256", "event", outer.salts, outer.body)}`);
    expect(inner!.body).toContain("inner.one");
    expect(inner!.commitment).toBe(`sha256:${commitBody("sha256", "event", inner!.salts, inner!.body)}`);
  });
});
