import { expect, it } from "vitest";
import { encodeEvent } from "../core/event.ts";
import { sampleEvents } from "./samples.ts";

it("ships sample events that a ledger takes, each with an id of its own", async () => {
  const events = await sampleEvents();
  expect(events.length).toBeGreaterThan(30);
  const ids = events.map((event) => encodeEvent(event).id);
  expect(new Set(ids).size).toBe(events.length);
  expect(ids[0]).toBe("sample-001");
});
