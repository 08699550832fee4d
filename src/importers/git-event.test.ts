import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { encodeEvent } from "../core/event.ts";
import { commitEvent, type GitCommit } from "./git-event.ts";

const HASH = "0123456789abcdef0123456789abcdef01234567";
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

function commit(parts: Partial<GitCommit> = {}): GitCommit {
  const person = { name: "Ann", email: "ann@example.org", time: "2026-03-02T09:00:00+01:00" };
  return {
    hash: HASH,
    tree: HASH,
    parents: [],
    author: person,
    committer: person,
    message: "a change\n",
    files: [{ status: "M", path: bytes("src/a.ts") }],
    filesOmitted: 0,
    ...parts,
  };
}

const eventOf = (parts: Partial<GitCommit> = {}, isCut = false) =>
  commitEvent(commit(parts), { repository: "https://example.org/r", isCut });
const payloadOf = (parts: Partial<GitCommit>, isCut = false) =>
  eventOf(parts, isCut).payload as Readonly<Record<string, unknown>>;

describe("commitEvent", () => {
  it("maps author, time, files and subject", () => {
    expect(eventOf()).toEqual({
      id: `git:${HASH}`,
      type: "git.commit",
      action: "git.commit",
      actor: { id: "ann@example.org", type: "git.author", name: "Ann" },
      targets: [{ id: "https://example.org/r", type: "git.repository" }],
      occurredAt: "2026-03-02T09:00:00+01:00",
      payload: {
        commit: HASH,
        committedAt: "2026-03-02T09:00:00+01:00",
        subject: "a change",
        tree: HASH,
        parents: [],
        files: [{ path: "src/a.ts", status: "M" }],
      },
    });
  });

  it("names the committer where it is somebody else", () => {
    const committer = { name: "Bob", email: "bob@example.org", time: "2026-03-03T09:00:00Z" };
    expect(payloadOf({ committer })).toMatchObject({
      committer: { email: "bob@example.org", name: "Bob" },
      committedAt: committer.time,
    });
  });

  it("keeps a path that is no UTF-8 as bytes, beside its readable form", () => {
    const files = [{ status: "A", path: new Uint8Array([0x61, 0xff]) }];
    expect(payloadOf({ files }).files).toEqual([{ path: "a\ufffd", pathBytes: "Yf8=", status: "A" }]);
  });

  it("leaves an impossible time out and shows it as it was written", () => {
    const author = { name: "Ann", email: "ann@example.org", time: "292277026596-12-04T15:30:07+00:00" };
    const event = eventOf({ author, committer: author });
    expect(event).not.toHaveProperty("occurredAt");
    expect(event.payload).toMatchObject({ committedAt: author.time });
  });

  it("falls back to the name, and then to `unknown`, where there is no address", () => {
    const nobody = { name: "", email: "", time: "" };
    expect(eventOf({ author: { ...nobody, name: "Ann" } }).actor).toMatchObject({ id: "Ann" });
    expect(eventOf({ author: nobody }).actor).toEqual({ id: "unknown", type: "git.author" });
  });

  it("reads trailers of the last paragraph, and only if it holds nothing else", () => {
    const trailers = (message: string): unknown => payloadOf({ message }).trailers;
    expect(trailers("s\n\nbody\n\nSigned-off-by: A <a@b>\nFixes: one,\n  two\n")).toEqual([
      { token: "Signed-off-by", value: "A <a@b>" },
      { token: "Fixes", value: "one, two" },
    ]);
    expect(trailers("Fixes: only a subject\n")).toBeUndefined();
    expect(trailers("s\n\nSee: this\nand that\n")).toBeUndefined();
  });

  it("says nothing of changes and parents at the edge of a shallow clone", () => {
    const payload = payloadOf({}, true);
    expect(payload).toMatchObject({ shallow: true });
    expect(payload).not.toHaveProperty("files");
    expect(payload).not.toHaveProperty("parents");
  });

  it("counts the files that would make the event too large", () => {
    const files = Array.from({ length: 5_000 }, (_, i) => ({
      status: "A",
      path: bytes(`${"\u0001".repeat(200)}${i}`),
    }));
    const event = eventOf({ files, filesOmitted: 7 });
    const { files: kept, filesOmitted } = event.payload as { readonly files: unknown[]; readonly filesOmitted: number };
    expect(kept.length + filesOmitted).toBe(5_007);
    expect(encodeEvent(event).sizeBytes).toBeLessThan(1024 * 1024);
  });

  it("makes an event that every ledger takes of whatever stands in a commit", () => {
    const person = fc.record({ name: fc.string({ unit: "binary" }), email: fc.string(), time: fc.string() });
    const files = fc.array(
      fc.record({
        status: fc.constantFrom("A", "M", "D", "T"),
        path: fc.uint8Array({ minLength: 1, maxLength: 4_000 }),
      }),
    );
    const anyCommit = fc.record({ author: person, committer: person, message: fc.string({ unit: "binary" }), files });
    fc.assert(
      fc.property(anyCommit, fc.boolean(), (parts, isCut) => {
        expect(encodeEvent(eventOf(parts, isCut)).id).toBe(`git:${HASH}`);
      }),
      { seed: 20260302, numRuns: 300 },
    );
  });
});
