import { describe, expect, it } from "vitest";
import { canonicalize } from "../core/canonical-json.ts";
import { encodeUtf8 } from "../core/encoding.ts";
import type { Event } from "../core/event.ts";
import { outlineEvent } from "../core/event-outline.ts";
import { FilterBuilder, mayContain } from "./block-filter.ts";

const EVENT: Event = {
  action: "user.role.change",
  actor: { id: "alice" },
  context: { n: 1, requestId: "r-1" },
  outcome: "success",
  targets: [{ id: "bob" }, { id: "carol" }],
  type: "user",
};

describe("a block filter", () => {
  it("is the same of an event as of its outline", () => {
    const ofEvents = new FilterBuilder();
    const ofOutlines = new FilterBuilder();
    const body = encodeUtf8(canonicalize(EVENT));
    ofEvents.add(EVENT);
    const outline = outlineEvent(body, { fields: false });
    if (outline === null) throw new Error("expected an ordinary event");
    ofOutlines.addOutline(body, outline);
    const filter = ofOutlines.take();
    expect(filter).toEqual(ofEvents.take());
    expect(mayContain(filter, "target:carol")).toBe(true);
    expect(mayContain(filter, "action^:user.role")).toBe(true);
    expect(mayContain(filter, "target:dave")).toBe(false);
  });
});
