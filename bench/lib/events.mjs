/** Events, rows and entries made from a seed: the same bytes for every case, every run and every machine. */

/** Canonical bytes of each event. Every value is ASCII, so `JSON.stringify` gives this length in any member order. */
export const EVENT_BYTES = 300;
/** Distinct events; cases cycle through them, so that the pool fits in memory at any ledger size. */
export const POOL_SIZE = 20_000;

/** @returns {() => number} uint32 generator (mulberry32). */
export function createRandom(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  };
}

const VERBS = [
  ["invoice", ["create", "approve", "pay", "void"]],
  ["user", ["login", "logout", "invite", "role.change"]],
  ["document", ["read", "update", "share", "delete"]],
  ["api-key", ["create", "rotate", "revoke"]],
  ["order", ["place", "refund", "cancel"]],
];
const OUTCOMES = ["success", "success", "success", "success", "success", "denied", "failure"];
const CURRENCIES = ["EUR", "USD", "CHF", "JPY"];
const WORDS = (
  "approved by second reviewer after limit check requested from mobile session on behalf of regional office " +
  "retry after timeout partial delivery customer asked for copy policy exception noted see attached ticket"
).split(" ");

function hex(random, digits) {
  let text = "";
  while (text.length < digits) text += random().toString(16).padStart(8, "0");
  return text.slice(0, digits);
}

/**
 * One event of exactly `EVENT_BYTES` canonical bytes, its members in the order a caller writes them, not in
 * canonical order.
 */
export function createEvent(random) {
  const pick = (list) => list[random() % list.length];
  const [noun, verbs] = pick(VERBS);
  const day = String(1 + (random() % 28)).padStart(2, "0");
  const clock = [24, 60, 60].map((limit) => String(random() % limit).padStart(2, "0")).join(":");
  const event = {
    action: `${noun}.${pick(verbs)}`,
    actor: { id: `u-${10_000 + (random() % 5_000)}`, type: "user" },
    targets: [{ id: `${noun}-${100_000 + (random() % 400_000)}`, type: noun }],
    outcome: pick(OUTCOMES),
    occurredAt: `2026-03-${day}T${clock}Z`,
    context: { ip: `203.0.113.${random() % 256}`, requestId: `req-${hex(random, 8)}` },
    payload: { amount: random() % 2_000_000, currency: pick(CURRENCIES), note: "" },
  };
  let spare = EVENT_BYTES - JSON.stringify(event).length;
  if (spare < 0) throw new Error(`an event without its note has ${EVENT_BYTES - spare} bytes`);
  let note = "";
  while (note.length < spare) note += `${note === "" ? "" : " "}${pick(WORDS)}`;
  event.payload.note = note.slice(0, spare).replace(/ $/, ".");
  spare = EVENT_BYTES - JSON.stringify(event).length;
  if (spare !== 0) throw new Error(`an event is ${spare} bytes short`);
  return event;
}

export function createEvents(count = POOL_SIZE, seed = 1) {
  const random = createRandom(seed);
  return Array.from({ length: count }, () => createEvent(random));
}

/** RFC 8785 for these events: sorted names, ASCII strings, small integers. */
function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value !== null && typeof value === "object") {
    const members = Object.keys(value).sort();
    return `{${members.map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`).join(",")}}`;
  }
  return JSON.stringify(value);
}

/** Rows as a ledger stores them: entry text of about 258 bytes, body of 300, salts of 16. Hashes are random hex. */
export function createRows(count = POOL_SIZE, seed = 1) {
  const random = createRandom(seed ^ 0x5bd1e995);
  return createEvents(count, seed).map((event, index) => {
    const salts = Buffer.from(hex(random, 32), "hex");
    const time = new Date(1_770_000_000_000 + index * 7).toISOString();
    const entry =
      `{"commitment":"sha256:${hex(random, 64)}","index":${100_000 + index},"previous":"${hex(random, 64)}",` +
      `"scheme":"event","time":"${time}","v":1}`;
    return { entry, body: canonical(event), salts };
  });
}
