// Ledgers of random rows, honest and hostile, and random damage to files: what two verifiers must judge alike.
import { Forge, jcs, textOf, timeAt } from "../../vectors/forge.mjs";
import * as rows from "../../vectors/forge-rows.mjs";

const { alice, bob, genesis, log, log2, log3, mallory, ORIGIN, w1, w2, w3, WITNESSED_AT } = rows;

/** Numbers of a seed (mulberry32), so that a failure can be seen again. */
export function createRandom(seed) {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (n) => Math.floor(next() * n);
  return {
    below,
    pick: (items) => items[below(items.length)],
    chance: (p) => next() < p,
    some: (items, p = 0.5) => items.filter(() => next() < p),
  };
}

// --- ledgers

const FIELD_NAMES = ["action", "actor", "id", "payload.amount", "payload.reason", "signatures", "source"];

function eventRow(random, place) {
  const id = random.chance(0.1) ? `evt-${random.below(4)}` : `evt-${place}`;
  const more = {};
  if (random.chance(0.4)) more.source = { counter: random.below(4), id: random.pick(["till-1", "till-2"]) };
  if (random.chance(0.05)) more.outcome = random.pick(["ok", "two words", 7]);
  if (random.chance(0.1)) more.actor = random.pick(["bob", { id: "alice" }, { id: "alice", name: "A" }, "mallory"]);
  const make = random.pick([rows.login, rows.refund]);
  const row = make(id, more);
  if (random.chance(0.06)) delete row.event.id;
  if (random.chance(0.04)) delete row.event.actor;
  if (random.chance(0.05))
    row.event.action = random.pick(["ledger.access", "ledger.rules.changed", "ledgers.a", "a b"]);
  if (random.chance(0.6)) row.sign = random.pick([alice, alice, alice, bob, mallory, [alice, mallory]]);
  if (row.sign !== undefined && random.chance(0.08)) row.damaged = { outcome: "changed" };
  return row;
}

function eraseRow(random, ledger) {
  const places = random.some(
    Array.from({ length: ledger.size + 1 }, (_, i) => i),
    0.35,
  );
  const items = (places.length === 0 ? [random.below(ledger.size)] : places).map((index) => {
    const entry = ledger.entries[index];
    const more = {};
    if (random.chance(0.15)) more.leaf = "ab".repeat(32);
    if (random.chance(entry?.scheme === "fields" ? 0.6 : 0.1))
      more.fields = random.chance(0.1) ? ["payload.name"] : ["payload.reason"];
    if (random.chance(0.3)) more.signedIds = [rows.signedId(alice, `evt-${random.below(6)}`)];
    if (random.chance(0.2)) more.idGuard = "cd".repeat(32);
    return [index, more];
  });
  return rows.erasure(...items)(ledger);
}

const KEYS = [log, log2, log3];

function keyRow(random, ledger) {
  const key = random.pick(KEYS);
  const other = random.pick(KEYS);
  const signers = random.chance(0.7) ? [log, key, other] : random.some([log, log2, log3, alice]);
  const unique = [...new Set(signers)];
  return random.pick([
    rows.author(alice, "alice", random.chance(0.9) ? [log, log2, alice] : unique),
    rows.author(bob, "bob", [log, bob]),
    rows.addLog(random.chance(0.1) ? random.pick([rows.elsewhere, rows.asWitness]) : key, unique),
    rows.rotate(key, other, unique),
    rows.revoke(key, random.below(9), unique),
    rows.revokeAuthor(random.pick([alice, bob]), unique),
    rows.recovered(random.chance(0.5) ? [key] : [key, other], unique),
  ])(ledger);
}

function steeringRow(random, ledger) {
  return random.pick([
    () => rows.rules(random.chance(0.5)),
    () => rows.hold(random.pick(["one", "two"]), random.below(3), 2 + random.below(6)),
    () => rows.release(random.pick(["one", "two"])),
    () => rows.anchor(1 + random.below(ledger.size + 2)),
    () => (random.chance(0.3) ? rows.sealed : rows.rules(true)),
  ])();
}

function spoil(random, row, ledger) {
  if (!random.chance(0.12)) return row;
  const place = ledger.size;
  return random.pick([
    () => ({ ...row, previous: "ab".repeat(32) }),
    () => ({ ...row, time: timeAt(random.pick([-1, place + 50, 359, 360, 361, 400])) }),
    () => ({ ...row, hash: random.pick(["sha512", "sha3-256"]) }),
    () => ({ ...row, index: random.below(place + 3) }),
    () => ({ ...row, scheme: random.pick(["control", "event"]) }),
    () => ({ ...row, event: { ...row.event, extra: 1 } }),
    () => ({ ...row, event: { ...row.event, payload: { ...row.event.payload, extra: 1 } } }),
    () => ({ ...row, event: ledger.entries[random.below(place)]?.event ?? row.event }),
  ])();
}

function randomLedger(random) {
  const first = genesis({
    ...(random.chance(0.25) ? { rules: { requireSignature: true } } : {}),
    ...(random.chance(0.05) ? { origin: "example.com/elsewhere" } : {}),
    ...(random.chance(0.1) ? { logKeys: [log.vkey, log2.vkey] } : {}),
    ...(random.chance(0.03) ? { logKeys: [rows.elsewhere.vkey] } : {}),
  });
  const ledger = new Forge(ORIGIN, [random.chance(0.03) ? rows.login("evt-0") : first]);
  const size = 1 + random.below(9);
  if (random.chance(0.6)) ledger.add(rows.author()(ledger));
  while (ledger.size < size) {
    const kind = random.below(10);
    const row =
      kind < 5
        ? eventRow(random, ledger.size)
        : kind < 7
          ? eraseRow(random, ledger)
          : kind < 9
            ? keyRow(random, ledger)
            : steeringRow(random, ledger);
    ledger.add(spoil(random, row, ledger));
  }
  return ledger;
}

/** How each line is shown: with the parts missing that erasures name, or others. */
function randomLines(random, ledger) {
  const lines = {};
  for (const [by, { event }] of ledger.entries.entries()) {
    if (event.action !== "ledger.erasure" || !Array.isArray(event.payload?.entries)) continue;
    for (const { index, fields } of event.payload.entries) {
      const entry = ledger.entries[index];
      if (entry === undefined || index >= by || random.chance(0.15)) continue;
      if (fields === undefined) lines[index] = { erasedBy: random.chance(0.92) ? by : index + 1 + random.below(5) };
      else if (entry.scheme === "fields" && lines[index]?.erasedBy === undefined)
        lines[index] = { shown: entry.names.filter((name) => !fields.includes(name)) };
    }
  }
  for (const [index, { scheme }] of ledger.entries.entries()) {
    if (lines[index] !== undefined) continue;
    if (scheme === "fields" && random.chance(0.4)) lines[index] = { shown: random.some(FIELD_NAMES, 0.75) };
    else if (random.chance(0.03)) lines[index] = { erasedBy: index + 1 + random.below(4) };
  }
  return lines;
}

function randomSigners(random) {
  const signers = random.chance(0.75) ? [log] : random.some([log, log2, log3], 0.6);
  const times = [WITNESSED_AT, WITNESSED_AT, WITNESSED_AT - 20, 0];
  for (const witness of [w1, w2]) if (random.chance(0.4)) signers.push([witness, random.pick(times)]);
  if (random.chance(0.03)) signers.push([w3, random.pick(times)]);
  return signers.length === 0 ? [log] : signers;
}

/** An export of a random ledger, as text. */
export function randomExport(random) {
  const ledger = randomLedger(random);
  const size = random.chance(0.9) ? ledger.size : 1 + random.below(ledger.size);
  const note = ledger.note(randomSigners(random), { size });
  const lines = randomLines(random, ledger);
  const kind = random.below(10);
  const first = kind < 7 ? 0 : random.below(size);
  const last = kind < 5 ? size - 1 : first + random.below(size - first);
  const indexes = Array.from({ length: last - first + 1 }, (_, i) => first + i);
  const selection = kind === 9 || kind === 6 ? { first, last, only: random.some(indexes, 0.7) } : { first, last };
  if (selection.only === undefined && random.chance(0.25)) {
    selection.complete = randomFilter(random);
    for (const index of indexes) if (random.chance(0.1)) lines[index] = { withheld: true };
  }
  const all = ledger.export({ note, size, lines, ...selection });
  if (random.chance(0.08) && all.length > 2) disorder(random, all);
  return textOf(all);
}

/** What a proved filter asks for; now and then nothing that one may ask. */
function randomFilter(random) {
  const all = {
    action: random.pick(["user.login", "order.*", "order.refund", "ledger.*", "user", "*"]),
    actor: random.pick(["alice", "bob"]),
    correlation: "req-7",
    from: timeAt(random.below(4)),
    outcome: random.pick(["ok", "success"]),
    target: "order-7",
    to: timeAt(3 + random.below(6)),
    type: "refund",
    where: random.pick([
      { "payload.amount": 1250 },
      { "payload.reason": "damaged" },
      { "actor.name": "A" },
      { payload: 1 },
      {},
    ]),
  };
  return Object.fromEntries(random.some(Object.keys(all), 0.2).map((name) => [name, all[name]]));
}

function disorder(random, lines) {
  const at = 1 + random.below(lines.length - 1);
  const other = 1 + random.below(lines.length - 1);
  random.pick([
    () => lines.splice(at, 1),
    () => lines.splice(at, 0, lines[other]),
    () => lines.splice(at, 1, lines[other]),
    () => lines.splice(at, 0, ...lines.splice(other, 1)),
  ])();
}

// --- damage

/** A copy of the bytes with one bit changed. */
export function flipBit(random, bytes) {
  const copy = Uint8Array.from(bytes);
  copy[random.below(copy.length)] ^= 1 << random.below(8);
  return copy;
}

/** The text with one part of its structure changed; mostly canonical still, so that it is looked into. */
export function damage(random, text) {
  const lines = text.split("\n").slice(0, -1);
  if (lines.length > 2 && random.chance(0.25)) {
    disorder(random, lines);
    return `${lines.join("\n")}\n`;
  }
  const at = random.below(lines.length);
  lines[at] = damageLine(random, lines[at]);
  return `${lines.join("\n")}\n`;
}

function damageLine(random, line) {
  let value;
  try {
    value = JSON.parse(line);
  } catch {
    return line;
  }
  const changed = damageValue(random, value);
  return changed === undefined ? "{}" : jcs(changed);
}

/** A value like this one; undefined: none at all. */
function damageValue(random, value) {
  if (typeof value === "string") return damageString(random, value);
  if (typeof value === "number")
    return random.pick([value + 1, value - 1, -value, value + 0.5, 0, 2 ** 53 - 1, value * 1000, String(value)]);
  if (typeof value === "boolean") return random.pick([!value, null, 1]);
  if (value === null) return random.pick([0, "", {}, false]);
  if (Array.isArray(value)) return damageArray(random, value);
  const names = Object.keys(value);
  if (names.length === 0 || random.chance(0.12)) return damageMembers(random, value, names);
  const name = random.pick(names);
  const inner = damageValue(random, value[name]);
  const { [name]: _, ...rest } = value;
  return inner === undefined ? rest : { ...rest, [name]: inner };
}

function damageMembers(random, value, names) {
  const name = names.length === 0 ? "a" : random.pick(names);
  const { [name]: taken, ...rest } = value;
  return random.pick([
    () => rest,
    () => ({
      ...value,
      [random.pick(["extra", "id", "signatures", "payload", "actor", "a.b", "payload.x", "proof"])]: random.pick([
        1,
        "text",
        {},
        [],
        null,
        taken ?? 0,
      ]),
    }),
    () => ({ ...rest, [`${name}x`]: taken ?? 0 }),
    () => undefined,
    () => [],
    () => null,
  ])();
}

function damageArray(random, value) {
  if (value.length === 0) return random.pick([[0], ["text"], ["00".repeat(32)], {}, null]);
  const at = random.below(value.length);
  if (random.chance(0.6)) {
    const inner = damageValue(random, value[at]);
    return inner === undefined ? value.toSpliced(at, 1) : value.with(at, inner);
  }
  return random.pick([
    value.toSpliced(at, 1),
    value.toSpliced(at, 0, value[at]),
    [...value].reverse(),
    [],
    value.slice(0, at),
    [...value, "00".repeat(32)],
  ]);
}

function damageString(random, text) {
  // Texts with a structure of their own: notes and proofs have lines, entries are JSON.
  if (text.includes("\n") && random.chance(0.8)) return damageLines(random, text);
  if (text.startsWith("{") && random.chance(0.8)) return damageLine(random, text);
  if (text === "") return random.pick(["a", "00", " "]);
  const at = random.below(text.length);
  const like = /[0-9]/.test(text[at]) ? "0123456789" : "abcdefABCDEF=+/. é";
  return random.pick([
    () => text.slice(0, at) + random.pick([...like]) + text.slice(at + 1),
    () => text.slice(0, at) + text.slice(at + 1),
    () => text.slice(0, at),
    () => text.slice(0, at) + text[at] + text.slice(at),
    () => text.toUpperCase(),
    () => "",
    () => `${text} `,
    () => random.pick(["\u0000", "\u007f", "\ue000", "😀", "é", "\r"]) + text,
  ])();
}

function damageLines(random, text) {
  const lines = text.split("\n");
  const at = random.below(lines.length);
  return random
    .pick([
      () => lines.toSpliced(at, 1),
      () => lines.toSpliced(at, 0, lines[at]),
      () => lines.toSpliced(at, 0, ""),
      () => lines.with(at, damageString(random, lines[at].replaceAll("\n", ""))),
      () => lines.with(at, lines[random.below(lines.length)]),
      () => lines.toSpliced(at, 0, "— stranger AAAAAAA="),
    ])()
    .join("\n");
}
