// Makes canonical-json.json, events.json, commitments.json and entries.json: `node vectors/make-text.mjs`.
//
// It uses the formulas of spec/ and Node's own SHA-2, SHA-3 and JSON, and none of the library, so that the vectors are a
// second opinion. src/core/*.test.ts holds the library to them, and so do the independent verifiers.
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";

const SOURCE = "made by vectors/make-text.mjs from the rules of spec/, without the library";

function write(name, vectors) {
  const text = `${JSON.stringify(vectors, null, 1)}\n`;
  const file = new URL(name, import.meta.url);
  if (!process.argv.includes("--check")) writeFileSync(file, text);
  else if (readFileSync(file, "utf8") !== text) throw new Error(`${name} is not what make-text.mjs makes`);
}

/** RFC 8785 of plain values. */
function jcs(value) {
  if (Array.isArray(value)) return `[${value.map(jcs).join(",")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  // The default order of sort() is that of UTF-16 code units.
  const names = Object.keys(value).sort();
  return `{${names.map((name) => `${JSON.stringify(name)}:${jcs(value[name])}`).join(",")}}`;
}

const digest = (hash, ...parts) => {
  const state = createHash(hash);
  for (const part of parts) state.update(part);
  return state.digest("hex");
};

const nested = (depth, inner = "") => "[".repeat(depth) + inner + "]".repeat(depth);
const nestedObjects = (depth) => `${'{"a":'.repeat(depth - 1)}{}${"}".repeat(depth - 1)}`;

// --- canonical-json.json

const RFC = "RFC 8785";
/** IEEE 754 bits and what they are printed as; null where this format refuses the number. RFC 8785 appendix B. */
const NUMBERS = [
  ["0000000000000000", "0"],
  ["8000000000000000", "0"],
  ["0000000000000001", "5e-324"],
  ["8000000000000001", "-5e-324"],
  ["7fefffffffffffff", null],
  ["ffefffffffffffff", null],
  ["4340000000000000", null],
  ["c340000000000000", null],
  ["4430000000000000", null],
  ["7fffffffffffffff", null],
  ["7ff0000000000000", null],
  ["44b52d02c7e14af5", null],
  ["44b52d02c7e14af6", null],
  ["44b52d02c7e14af7", null],
  ["444b1ae4d6e2ef4e", null],
  ["444b1ae4d6e2ef4f", null],
  ["444b1ae4d6e2ef50", null],
  ["3eb0c6f7a0b5ed8c", "9.999999999999997e-7"],
  ["3eb0c6f7a0b5ed8d", "0.000001"],
  ["41b3de4355555553", "333333333.3333332"],
  ["41b3de4355555554", "333333333.33333325"],
  ["41b3de4355555555", "333333333.3333333"],
  ["41b3de4355555556", "333333333.3333334"],
  ["41b3de4355555557", "333333333.33333343"],
  ["becbf647612f3696", "-0.0000033333333333333333"],
  ["43143ff3c1cb0959", "1424953923781206.2"],
];

/** Text in any spelling, and its canonical form. */
const ACCEPTED = [
  [`${RFC} §3.2.2, without 1E30`, '{\n  "numbers": [333333333.33333329, 4.50,\n              2e-3, 0.000000000000000000000000001],\n  "string": "\\u20ac$\\u000F\\u000aA\'\\u0042\\u0022\\u005c\\\\\\"\\/",\n  "literals": [null, true, false]\n}', '{"literals":[null,true,false],"numbers":[333333333.3333333,4.5,0.002,1e-27],"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'],
  [`${RFC} §3.2.3`, '{\n  "\\u20ac": "Euro Sign",\n  "\\r": "Carriage Return",\n  "\\ufb33": "Hebrew Letter Dalet With Dagesh",\n  "1": "One",\n  "\\ud83d\\ude00": "Emoji: Grinning Face",\n  "\\u0080": "Control",\n  "\\u00f6": "Latin Small Letter O With Diaeresis"\n}', '{"\\r":"Carriage Return","1":"One","\u0080":"Control","ö":"Latin Small Letter O With Diaeresis","€":"Euro Sign","😀":"Emoji: Grinning Face","\ufb33":"Hebrew Letter Dalet With Dagesh"}'],
  ["names that are prefixes, and digits as text", '{"b":1,"a.b":2,"a":3,"10":4,"9":5,"":6,"A":7}', '{"":6,"10":4,"9":5,"A":7,"a":3,"a.b":2,"b":1}'],
  ["names that objects inherit in JavaScript", '{"toString":1,"constructor":{"prototype":2},"hasOwnProperty":3,"valueOf":4}', '{"constructor":{"prototype":2},"hasOwnProperty":3,"toString":1,"valueOf":4}'],
  ["all short escapes, and control characters without one", '"\\b\\t\\n\\f\\r\\"\\\\\\u0000\\u001f\\u007f\\u2028\\/"', '"\\b\\t\\n\\f\\r\\"\\\\\\u0000\\u001f\u007f\u2028/"'],
  ["noncharacters, and no normalisation", '["\\uffff","\\ufdd0","e\\u0301","\\u00e9","\\ufeff"]', '["\uffff","\ufdd0","e\u0301","é","\ufeff"]'],
  ["white space", " \t\r\n[ 1 , 2 ]\n", "[1,2]"],
  ["numbers in many spellings", "[1.0,1e2,100E-2,-0,-0.0,0.1e1,1e-7,0.0000001,0.000001,123456789012345.5,1e-400]", "[1,100,1,0,0,1,1e-7,1e-7,0.000001,123456789012345.5,0]"],
  ["the largest integers", "[9007199254740991,-9007199254740991,9007199254740991.0,9.007199254740991e15]", "[9007199254740991,-9007199254740991,9007199254740991,9007199254740991]"],
  ["scalars", "true", "true"],
  ["empty", '{"a":{},"b":[],"c":""}', '{"a":{},"b":[],"c":""}'],
  ["64 arrays", nested(64), nested(64)],
  ["64 objects", nestedObjects(64), nestedObjects(64)],
];

/** Text that no reader may accept. */
const REFUSED = [
  ["malformed-json", ["", " ", "{", "[", '"', '"a', "[1,]", '{"a":1,}', "{,}", "[,]", "[1 2]", '{"a" 1}', '{"a":}', "{a:1}", "{'a':1}", "'a'", "nul", "NULL", "tru", "NaN", "Infinity", "-Infinity", "undefined", "01", "-01", "+1", ".5", "1.", "1.e1", "1e", "1e+", "0x10", "1_000", "--1", "-", "1 1", "[1]]", "{}{}", "// a\n1", "/* a */1", "\ufeff1", "1\u00a0", "\u000b1", '"\\x41"', '"\\u12"', '"\\u12g4"', '"\\U0041"', '"\\\'"', '"a\nb"', '"a\tb"', '"\u0000"', '{"a":1 "b":2}', '{1:2}', '{"a":1;"b":2}', "[1;2]", "(1)", "1,2", '"a" "b"', "\\u0031"]],
  ["duplicate-member", ['{"a":1,"a":2}', '{"a":1,"a":1}', '{"a":1,"\\u0061":2}', '{"b":{"a":1,"c":2,"a":3}}', '[{"":1,"":2}]', '{"constructor":1,"constructor":2}', '{"\\ud83d\\ude00":1,"😀":2}']],
  ["unsupported-value", ["9007199254740992", "-9007199254740992", "9007199254740993", "9007199254740992.0", "1e16", "1e21", "1E400", "-1e400", "123456789012345678901234567890", '"\\ud800"', '"\\udc00"', '"\\udc00\\ud800"', '"a\\ud800b"', '{"\\ud800":1}', '{"__proto__":1}', '{"a":[{"__proto__":{}}]}', '{"\\u005f_proto__":1}']],
  ["too-deep", [nested(65), nestedObjects(65), nested(65, "1"), nested(5000)]],
];

/** Text that reads well, but is not the canonical spelling of its value. */
const NOT_CANONICAL = [" 1", "1\n", "[1, 2]", '{"a": 1}', '{"b":1,"a":2}', '{"a":1,"B":2}', '{"\ufb33":1,"😀":2}', "1.0", "1e2", "100e-2", "-0", "0.10", "1E-7", "1e-07", "0.0000001", "1e0", "1.5e1", "5E-324", '"\\u0041"', '"\\/"', '"\\u000a"', '"\\u000A"', '"\\u000F"', '"\\u007f"', '"\\u00e9"', '"\\ud83d\\ude00"', '{"\\u0061":1}', '{"10":1,"1":2}', '{"payload.a":1,"payload":2}', "9007199254740991.0", "123456789012345.50", "[\t]", "{ }"];

write("canonical-json.json", {
  source: `${SOURCE}; examples of RFC 8785 (rfc-editor.org/rfc/rfc8785) where named`,
  note: "`accepted`: any spelling and its canonical form. `numbers`: IEEE 754 bits, and the text or null (refused). `refused`: no reader accepts them. `notCanonical`: readable, but another spelling.",
  accepted: ACCEPTED.map(([title, input, output]) => ({ title, input, output })),
  numbers: NUMBERS.map(([bits, output]) => ({ bits, output })),
  refused: REFUSED.flatMap(([code, inputs]) => inputs.map((input) => ({ input, code }))),
  notCanonical: NOT_CANONICAL,
});

// --- events.json

const KEY_ID = "ab".repeat(32);
const signature = { keyId: KEY_ID, signature: "AAAA" };
const actorChain = (delegations) => (delegations === 0 ? { id: "z" } : { id: "a", onBehalfOf: actorChain(delegations - 1) });

const VALID_EVENTS = [
  ["the least", { action: "a" }],
  ["every member", { action: "order.refund", actor: { id: "bob", type: "employee", name: "Bob", onBehalfOf: "alice" }, context: { ip: "192.0.2.7", requestId: "r-1", session: null }, id: "evt-2", metadata: { a: { b: 1 } }, occurredAt: "2026-01-02T03:04:05Z", outcome: "success", payload: { amount: 1250 }, signatures: [signature], source: { id: "shop", counter: 0 }, targets: [{ id: "order-7", type: "order", name: "" }], type: "refund@2" }],
  ["an action of 128 bytes and all allowed characters", { action: `A-z_0:9.${"x".repeat(120)}` }],
  ["an action of the ledger", { action: "ledger.access" }],
  ["a control action under its own rules elsewhere", { action: "ledger.anchor", payload: null }],
  ["null as payload", { action: "a", payload: null }],
  ["a scalar as payload", { action: "a", payload: 1.5 }],
  ["an array as payload", { action: "a", payload: [{}, []] }],
  ["empty containers", { action: "a", context: {}, metadata: {}, payload: {}, targets: [] }],
  ["an id of 256 bytes in UTF-8", { action: "a", id: "é".repeat(128) }],
  ["an actor of 1,024 bytes", { action: "a", actor: "é".repeat(512) }],
  ["an actor with control characters, which are not its grammar's business", { action: "a", actor: "a\nb" }],
  ["a target id of 4,096 bytes", { action: "a", targets: [{ id: "/".repeat(4096) }] }],
  ["1,000 targets", { action: "a", targets: Array.from({ length: 1000 }, (_, i) => ({ id: `${i}` })) }],
  ["several principals", { action: "a", actor: { id: "agent", onBehalfOf: ["alice", { id: "bob", onBehalfOf: "carol" }] } }],
  ["16 delegations inside one another", { action: "a", actor: actorChain(16) }],
  ["an outcome of 64 characters", { action: "a", outcome: "Ab9_.:-".padEnd(64, "x") }],
  ...["2026-01-02t03:04:05z", "2024-02-29T00:00:00.1Z", "2000-02-29T23:59:59.123456789+14:00", "1985-04-12T23:20:50.52-00:00", "0000-01-01T00:00:00Z", "9999-12-31T23:59:59+23:59", "1990-12-31T23:59:60Z", "1990-12-31T15:59:60-08:00", "1991-01-01T00:29:60.5+00:30"].map((occurredAt) => [`the time ${occurredAt}`, { action: "a", occurredAt }]),
  ["the largest counter", { action: "a", source: { id: "s", counter: 9007199254740991 } }],
  ["16 signatures", { action: "a", id: "i", signatures: Array.from({ length: 16 }, () => signature) }],
  ["signatures without an id, which no signature then counts for", { action: "a", signatures: [signature] }],
  ["a signature of 8,192 characters", { action: "a", signatures: [{ keyId: KEY_ID, signature: "A".repeat(8192) }] }],
  ["names that objects inherit, in open objects", { action: "a", context: { constructor: 1, toString: "x" }, metadata: { hasOwnProperty: null }, payload: { valueOf: 1 } }],
  ["64 open arrays and objects", { action: "a", payload: JSON.parse(nested(63)) }],
];

/** Canonical, but not an event: with code and pointer. */
const INVALID_EVENTS = [
  ["", null], ["", []], ["", "a"], ["", 1],
  ["/action", {}],
  ["/action", { payload: { action: "a" } }],
  ...[null, 1, "", ".", "a.", ".a", "a..b", "a b", "a/b", "é", "a\n", "x".repeat(129), ["a"], { a: 1 }].map((action) => ["/action", { action }]),
  ["/acton", { acton: "a", action: "a" }],
  ["/Action", { Action: "a", action: "a" }],
  ["/constructor", { action: "a", constructor: 1 }],
  ["/toString", { action: "a", toString: 1 }],
  ["/hash", { action: "a", hash: "x" }],
  ["/a~1b~0c", { action: "a", "a/b~c": 1 }],
  ...["", 1, null, "a\u0000", "a\u001f", "a\u007f", "a\u0085", "x".repeat(257), "é".repeat(129), {}].map((id) => ["/id", { action: "a", id }]),
  ...["", 1, null, "a\n", "x".repeat(257)].map((type) => ["/type", { action: "a", type }]),
  ...["", 1, null, "x".repeat(1025), ["a"]].map((actor) => ["/actor", { action: "a", actor }]),
  ["/actor/id", { action: "a", actor: {} }],
  ["/actor/id", { action: "a", actor: { id: "" } }],
  ["/actor/id", { action: "a", actor: { id: "x".repeat(1025) } }],
  ["/actor/type", { action: "a", actor: { id: "a", type: "" } }],
  ["/actor/name", { action: "a", actor: { id: "a", name: null } }],
  ["/actor/name", { action: "a", actor: { id: "a", name: "x".repeat(4097) } }],
  ["/actor/email", { action: "a", actor: { id: "a", email: "b" } }],
  ["/actor/onBehalfOf", { action: "a", actor: { id: "a", onBehalfOf: null } }],
  ["/actor/onBehalfOf", { action: "a", actor: { id: "a", onBehalfOf: [] } }],
  ["/actor/onBehalfOf", { action: "a", actor: { id: "a", onBehalfOf: Array.from({ length: 101 }, () => "a") } }],
  ["/actor/onBehalfOf/1", { action: "a", actor: { id: "a", onBehalfOf: ["a", ""] } }],
  ["/actor/onBehalfOf/0", { action: "a", actor: { id: "a", onBehalfOf: [["a"]] } }],
  ["/actor/onBehalfOf/onBehalfOf/id", { action: "a", actor: { id: "a", onBehalfOf: { id: "b", onBehalfOf: {} } } }],
  ["/actor", { action: "a", actor: actorChain(17) }],
  ...[null, {}, "a"].map((targets) => ["/targets", { action: "a", targets }]),
  ["/targets", { action: "a", targets: Array.from({ length: 1001 }, () => ({ id: "a" })) }],
  ["/targets/0", { action: "a", targets: ["a"] }],
  ["/targets/1/id", { action: "a", targets: [{ id: "a" }, { type: "b" }] }],
  ["/targets/0/id", { action: "a", targets: [{ id: "x".repeat(4097) }] }],
  ["/targets/0/typ", { action: "a", targets: [{ id: "a", typ: "b" }] }],
  ...["", 1, null, "a b", "a/b", "é", "x".repeat(65)].map((outcome) => ["/outcome", { action: "a", outcome }]),
  ...[null, 0, "", "2026-01-02", "2026-01-02 03:04:05Z", "2026-01-02T03:04Z", "2026-01-02T03:04:05", "2026-1-2T03:04:05Z", "2026-01-02T03:04:05.Z", "2026-01-02T03:04:05,5Z", "2026-01-02T03:04:05+0100", "2026-01-02T03:04:05Z\n", "+2026-01-02T03:04:05Z", "2026-00-10T00:00:00Z", "2026-13-10T00:00:00Z", "2026-01-00T00:00:00Z", "2026-01-32T00:00:00Z", "2026-04-31T00:00:00Z", "2026-02-29T00:00:00Z", "1900-02-29T00:00:00Z", "2026-01-02T24:00:00Z", "2026-01-02T03:60:00Z", "2026-01-02T03:04:61Z", "2026-01-02T03:04:60Z", "1990-12-31T23:59:60+01:00", "2026-01-02T03:04:05+24:00", "2026-01-02T03:04:05+01:60", `2026-01-02T03:04:05.${"1".repeat(44)}Z`].map((occurredAt) => ["/occurredAt", { action: "a", occurredAt }]),
  ...[null, [], "a", 1].flatMap((value) => [["/context", { action: "a", context: value }], ["/metadata", { action: "a", metadata: value }]]),
  ["/source", { action: "a", source: "s" }],
  ["/source/counter", { action: "a", source: { id: "s" } }],
  ["/source/id", { action: "a", source: { counter: 1 } }],
  ["/source/id", { action: "a", source: { counter: 1, id: "a\n" } }],
  ...[-1, 1.5, "1", null].map((counter) => ["/source/counter", { action: "a", source: { id: "s", counter } }]),
  ["/source/seq", { action: "a", source: { id: "s", counter: 1, seq: 1 } }],
  ["/signatures", { action: "a", signatures: [] }],
  ["/signatures", { action: "a", signatures: signature }],
  ["/signatures", { action: "a", signatures: Array.from({ length: 17 }, () => signature) }],
  ["/signatures/0/keyId", { action: "a", signatures: [{ signature: "AAAA" }] }],
  ...["ab", "AB".repeat(32), `${"ab".repeat(32)}\n`, 1].map((keyId) => ["/signatures/0/keyId", { action: "a", signatures: [{ ...signature, keyId }] }]),
  ...["", "A", "AAA", "AAA=A", "AB==", "AAB=", "AA=", "====", "AA-_", "AAAA\n", " AAAA", 1, "A".repeat(8196)].map((value) => ["/signatures/0/signature", { action: "a", signatures: [{ ...signature, signature: value }] }]),
  ["/signatures/0/alg", { action: "a", signatures: [{ ...signature, alg: "ed25519" }] }],
];

/** Not canonical JSON, so no event either. */
const UNREADABLE_EVENTS = [
  ["duplicate-member", '{"action":"a","action":"b"}'],
  ["duplicate-member", '{"action":"a","payload":{"x":1,"x":2}}'],
  ["not-canonical", '{"payload":1,"action":"a"}'],
  ["not-canonical", '{"action":"a"} '],
  ["not-canonical", '{"action":"\\u0061"}'],
  ["not-canonical", '{"action":"a","payload":1.0}'],
  ["unsupported-value", '{"action":"a","payload":9007199254740993}'],
  ["unsupported-value", '{"__proto__":{"x":1},"action":"a"}'],
  ["too-deep", `{"action":"a","payload":${nested(64)}}`],
  ["malformed-json", '{"action":"a"'],
  ["malformed-json", ""],
];

write("events.json", {
  source: SOURCE,
  note: "`valid`: bodies (canonical texts) that follow spec/event.md. `invalid`: bodies that do not, with the error code and, for malformed-event, the JSON Pointer of the offender.",
  valid: VALID_EVENTS.map(([title, event]) => ({ title, body: jcs(event) })),
  invalid: [
    ...INVALID_EVENTS.map(([pointer, event]) => ({ body: jcs(event), code: "malformed-event", pointer })),
    ...UNREADABLE_EVENTS.map(([code, body]) => ({ body, code })),
  ],
});

// --- commitments.json

const HASHES = ["sha256", "sha512", "sha3-256"];
/** Salts are fixed by what they are for. */
const saltOf = (text) => digest("sha256", `salt of ${text}`).slice(0, 32);
const bytes = (hex) => Buffer.from(hex, "hex");

const commitBody = (hash, scheme, salt, body) => digest(hash, `tallystick/v1/${scheme}\n`, bytes(salt), body);
const fieldDigest = (hash, salt, name, value) => digest(hash, "tallystick/v1/field\n", bytes(salt), jcs([name, value]));
const commitFields = (hash, names, digests) => digest(hash, "tallystick/v1/fields\n", jcs(names), "\n", ...digests.map(bytes));

/** Name and value of each field, ascending by name. */
function cut(event) {
  const fields = Object.entries(event).flatMap(([name, value]) => {
    const isCut = ["payload", "context", "metadata"].includes(name) && value !== null && typeof value === "object" && !Array.isArray(value) && Object.keys(value).length > 0;
    return isCut ? Object.entries(value).map(([member, inner]) => [`${name}.${member}`, inner]) : [[name, value]];
  });
  return fields.sort(([a], [b]) => (a < b ? -1 : 1));
}

const REFUND = { action: "order.refund", actor: { id: "bob", type: "employee" }, id: "evt-2", payload: { amount: 1250, reason: "damaged" }, targets: [{ id: "order-7", type: "order" }] };
const BODIES = [
  ["event", { action: "user.login", actor: "alice", id: "evt-1", occurredAt: "2026-01-02T03:04:05Z", outcome: "success" }],
  ["event", { action: "a", payload: "Größe 😀 \u0001" }],
  ["event", { action: "a", payload: "x".repeat(20_000) }],
  ["control", { action: "ledger.hold.released", payload: { hold: "case-1", reason: "closed" } }],
];
const CUTS = [
  REFUND,
  { action: "a" },
  { action: "a", context: {}, metadata: {}, payload: {} },
  { action: "a", payload: null },
  { action: "a", payload: [{ b: 1 }] },
  { action: "a", context: { ip: "192.0.2.7", "x.y": { z: 1 } }, id: "i", metadata: { "": 0, constructor: "c", toString: 1 }, payload: { "\ufb33": 1, "😀": 2, é: 3, ".": 4 }, signatures: [signature] },
  { action: "a", payload: Object.fromEntries(Array.from({ length: 1023 }, (_, i) => [`m${i}`, i])) },
];

function disclose(hash, event, shown) {
  const fields = cut(event);
  const names = fields.map(([name]) => name);
  const digests = fields.map(([name, value]) => fieldDigest(hash, saltOf(name), name, value));
  const isShown = (name) => shown.includes(name);
  return {
    hash,
    names,
    disclosed: Object.fromEntries(fields.filter(([name]) => isShown(name)).map(([name, value]) => [name, [saltOf(name), value]])),
    digests: Object.fromEntries(names.flatMap((name, i) => (isShown(name) ? [] : [[name, digests[i]]]))),
    commitment: commitFields(hash, names, digests),
  };
}

const OPEN = ["action", "id", "payload.amount"];
const disclosures = HASHES.flatMap((hash) => [
  { title: `${hash}: some fields`, ...disclose(hash, REFUND, OPEN), event: { action: "order.refund", id: "evt-2", payload: { amount: 1250 } } },
  { title: `${hash}: all fields`, ...disclose(hash, REFUND, cut(REFUND).map(([name]) => name)), event: REFUND },
  { title: `${hash}: no field`, ...disclose(hash, REFUND, []), event: {} },
]).concat(
  { title: "empty containers, and names that objects inherit", ...disclose("sha256", CUTS[5], ["metadata.constructor", "metadata.toString", "metadata.", "payload..", "signatures"]), event: { metadata: { "": 0, constructor: "c", toString: 1 }, payload: { ".": 4 }, signatures: [signature] } },
  { title: "an empty payload", ...disclose("sha256", CUTS[2], ["payload", "context"]), event: { context: {}, payload: {} } },
  { title: "an uncut payload", ...disclose("sha256", CUTS[4], ["payload"]), event: { payload: [{ b: 1 }] } },
);

/** A disclosure in which the writer cheats or errs: the commitment is right for what it says, only the rules refuse it. */
function forged(title, code, change) {
  const base = disclose("sha256", REFUND, OPEN);
  const { names, disclosed, digests } = change({ names: [...base.names], disclosed: { ...base.disclosed }, digests: { ...base.digests } });
  return { title, code, hash: "sha256", names, disclosed, digests };
}
const D = "00".repeat(32);
const withName = (name, where = "digests") => (parts) => {
  parts.names = [...parts.names, name].sort();
  if (where === "digests") parts.digests[name] = D;
  else parts.disclosed[name] = where;
  return parts;
};
const value = (name, inner) => (parts) => {
  parts.disclosed[name] = [saltOf(name), inner];
  delete parts.digests[name];
  return parts;
};
const only = (event) => () => disclose("sha256", event, cut(event).map(([name]) => name));
const FORGERIES = [
  ["two values under one name", "malformed-commitment", (parts) => ({ ...parts, names: ["action", ...parts.names] })],
  ["two values under one name, one shown and one withheld", "malformed-commitment", (parts) => ({ ...parts, digests: { ...parts.digests, action: D } })],
  ["payload beside payload.amount, withheld", "malformed-commitment", withName("payload")],
  ["payload beside payload.amount, shown", "malformed-commitment", withName("payload", [saltOf("p"), 1])],
  ["context beside context.ip", "malformed-commitment", (parts) => withName("context")(withName("context.ip")(parts))],
  ["a non-empty object as uncut payload", "malformed-event", () => ({ names: ["action", "payload"], disclosed: { action: [saltOf("a"), "a"], payload: [saltOf("p"), { amount: 1 }] }, digests: {} })],
  ["a non-empty object as uncut metadata", "malformed-event", () => ({ names: ["action", "metadata"], disclosed: { metadata: [saltOf("p"), { a: 1 }] }, digests: { action: D } })],
  ["names out of order", "malformed-commitment", (parts) => ({ ...parts, names: [...parts.names].reverse() })],
  ["names in the order of code points", "malformed-commitment", () => ({ names: ["action", "payload.\ufb33", "payload.😀"], disclosed: {}, digests: { action: D, "payload.\ufb33": D, "payload.😀": D } })],
  ["no action", "malformed-commitment", () => ({ names: ["id"], disclosed: {}, digests: { id: D } })],
  ["no names", "malformed-commitment", () => ({ names: [], disclosed: {}, digests: {} })],
  ["an unknown member", "malformed-commitment", withName("hash")],
  ["a member that objects inherit", "malformed-commitment", withName("constructor")],
  ["actor cut", "malformed-commitment", withName("actor.id")],
  ["an empty member before the dot", "malformed-commitment", withName(".x")],
  ["the member __proto__ of payload", "malformed-commitment", withName("payload.__proto__")],
  ["a name that is no string", "malformed-commitment", (parts) => ({ ...parts, names: [1, ...parts.names] })],
  ["1,025 names", "malformed-commitment", only({ action: "a", payload: Object.fromEntries(Array.from({ length: 1024 }, (_, i) => [`m${i}`, i])) })],
  ["a name in neither", "malformed-commitment", (parts) => ({ ...parts, digests: Object.fromEntries(Object.entries(parts.digests).slice(1)) })],
  ["a name more in digests", "malformed-commitment", (parts) => ({ ...parts, digests: { ...parts.digests, type: D } })],
  ["one name in both, another in neither", "malformed-commitment", (parts) => ({ ...parts, digests: { "payload.reason": D, action: D, targets: D } })],
  ["a digest too short", "malformed-commitment", (parts) => ({ ...parts, digests: { ...parts.digests, actor: D.slice(2) } })],
  ["a digest in capitals", "malformed-commitment", (parts) => ({ ...parts, digests: { ...parts.digests, actor: D.replaceAll("0", "A") } })],
  ["a digest that is no text", "malformed-commitment", (parts) => ({ ...parts, digests: { ...parts.digests, actor: 0 } })],
  ["a salt too short", "malformed-commitment", (parts) => ({ ...parts, disclosed: { ...parts.disclosed, id: [saltOf("id").slice(2), "evt-2"] } })],
  ["a salt in capitals", "malformed-commitment", (parts) => ({ ...parts, disclosed: { ...parts.disclosed, id: ["AB".repeat(16), "evt-2"] } })],
  ["a salt without a value", "malformed-commitment", (parts) => ({ ...parts, disclosed: { ...parts.disclosed, id: [saltOf("id")] } })],
  ["a value more than one", "malformed-commitment", (parts) => ({ ...parts, disclosed: { ...parts.disclosed, id: [saltOf("id"), "evt-2", 1] } })],
  ["a value without its salt", "malformed-commitment", (parts) => ({ ...parts, disclosed: { ...parts.disclosed, id: "evt-2" } })],
  ["an action against the grammar", "malformed-event", value("action", "a b")],
  ["an actor with an unknown member", "malformed-event", value("actor", { id: "a", email: "b" })],
  ["targets that are no array", "malformed-event", value("targets", {})],
  ["an uncut context that is an array", "malformed-event", () => ({ names: ["action", "context"], disclosed: { context: [saltOf("c"), []] }, digests: { action: D } })],
  ["a value nested beyond 64", "too-deep", value("payload.amount", JSON.parse(nested(63)))],
];

write("commitments.json", {
  source: SOURCE,
  note: "`bodies`: schemes event and control. `cuts`: fields of an event with their salts. `disclosures`: what a reader is shown, the commitment that it opens and the part of the event that it shows. `forged`: refused with this error code, whatever the commitment.",
  bodies: HASHES.flatMap((hash) => BODIES.map(([scheme, event]) => {
    const salt = saltOf(`${scheme} ${event.action}`);
    return { hash, scheme, salt, body: jcs(event), commitment: commitBody(hash, scheme, salt, jcs(event)) };
  })),
  cuts: HASHES.flatMap((hash) => CUTS.map((event) => {
    const fields = cut(event).map(([name, inner]) => ({ name, value: jcs(inner), salt: saltOf(name), digest: fieldDigest(hash, saltOf(name), name, inner) }));
    return { hash, body: jcs(event), fields, commitment: commitFields(hash, fields.map((field) => field.name), fields.map((field) => field.digest)) };
  })).filter((vector) => vector.hash === "sha256" || vector.fields.length < 100),
  disclosures,
  forged: FORGERIES.map(([title, code, change]) => forged(title, code, change)),
});

// --- entries.json

const ZEROS = "0".repeat(64);
const entryText = ({ commitment, index, previous, scheme, time }) => jcs({ commitment, index, previous, scheme, time, v: 1 });
const leafHash = (text) => digest("sha256", Buffer.of(0), text);

const chain = [];
for (const [index, [hash, scheme, time]] of [
  ["sha256", "control", "2026-01-02T03:04:00.000Z"],
  ["sha256", "event", "2026-01-02T03:04:05.250Z"],
  ["sha512", "fields", "2026-01-02T03:04:05.250Z"],
  ["sha3-256", "event", "2028-02-29T23:59:59.999Z"],
].entries()) {
  const previous = index === 0 ? ZEROS : chain[index - 1].leafHash;
  const commitment = `${hash}:${digest(hash, `entry ${index}`)}`;
  const text = entryText({ commitment, index, previous, scheme, time });
  chain.push({ text, leafHash: leafHash(text), entry: JSON.parse(text) });
}
const far = entryText({ ...chain[1].entry, index: 9007199254740991, time: "0000-01-01T00:00:00.000Z" });
chain.push({ text: far, leafHash: leafHash(far), entry: JSON.parse(far) });

const base = chain[1].text;
const replaced = (from, to) => {
  const text = base.replace(from, to);
  if (text === base) throw new Error(`nothing to replace: ${from}`);
  return text;
};
const times = ["2026-01-02T03:04:05Z", "2026-01-02T03:04:05.25Z", "2026-01-02T03:04:05.2500Z", "2026-01-02 03:04:05.250Z", "2026-01-02T03:04:05.250z", "2026-01-02T03:04:05.250+00:00", "2026-00-02T03:04:05.250Z", "2026-13-02T03:04:05.250Z", "2026-01-00T03:04:05.250Z", "2026-01-32T03:04:05.250Z", "2026-02-29T03:04:05.250Z", "2100-02-29T03:04:05.250Z", "2026-04-31T03:04:05.250Z", "2026-01-02T24:00:00.000Z", "2026-01-02T03:60:05.250Z", "2026-01-02T03:04:60.000Z", "12026-01-02T03:04:05.250Z", "-026-01-02T03:04:05.250Z"];
const MALFORMED_ENTRIES = [
  "", "{}", "null", ` ${base}`, `${base} `, `${base}\n`, `\ufeff${base}`,
  replaced('"v":1', '"v":2'), replaced('"v":1', '"v":1.0'), replaced(',"v":1', ""), replaced('"v":1', '"v":1,"w":1'), replaced('"v":1', '"v":1,"v":1'),
  replaced('"index":1', '"index":01'), replaced('"index":1', '"index":-1'), replaced('"index":1', '"index":1.0'), replaced('"index":1', '"index":"1"'), replaced('"index":1', '"index":1e0'), replaced('"index":1', '"index":9007199254740992'), replaced('"index":1', '"index":10000000000000000'), replaced('"index":1', '"index":null'), replaced('"index":1', '"index":'),
  replaced("sha256:", "sha1:"), replaced("sha256:", "SHA256:"), replaced("sha256:", "sha512:"), replaced("sha256:", "sha3-512:"), replaced("sha256:", ""), replaced(/"sha256:../, '"sha256:'), replaced(/"sha256:../, '"sha256:AB'), replaced(/"sha256:../, '"sha256:g0'),
  replaced('"scheme":"event"', '"scheme":"Event"'), replaced('"scheme":"event"', '"scheme":"events"'), replaced('"scheme":"event"', '"scheme":""'), replaced('"scheme":"event"', '"scheme":"\\u0065vent"'),
  replaced(/"previous":"../, '"previous":"'), replaced(/"previous":"../, '"previous":"AB'), replaced(/"previous":"/, '"previous":"00'), replaced(/"previous":"[^"]*"/, '"previous":null'),
  base.replace(/^\{("commitment":"[^"]*"),("index":1),/, "{$2,$1,"), base.replaceAll(",", ", "), base.replaceAll(":", ": "),
  ...times.map((time) => replaced(chain[1].entry.time, time)),
];

write("entries.json", {
  source: SOURCE,
  note: "`chain`: entry texts, the first four linked, with leaf hash and members. `malformed`: texts that are no entry (malformed-entry).",
  chain,
  malformed: MALFORMED_ENTRIES,
});

// --- control-events.json

const ORIGIN = "example.com/audit";
const VKEY = `${ORIGIN}+0eaa5133+AUCgDTCMaYrys/idM4QRcXHmFxqNxPk81306QjAy8bLX`;
const H = "ab".repeat(32);
const NOTE = "example.com/old\n1\nAAAA\n\n— example.com/old AAAA\n";
const without = (object, ...names) => Object.fromEntries(Object.entries(object).filter(([name]) => !names.includes(name)));

const PAYLOADS = {
  "ledger.genesis": { commitmentHash: "sha256", limits: { eventBytes: 1048576 }, lockStoreId: "ab".repeat(16), logKeys: [VKEY], origin: ORIGIN, rules: { requireSignature: false }, scheme: "event" },
  "ledger.rules.changed": { rules: { requireSignature: true } },
  "ledger.key.added": { actor: "alice", algorithm: "ed25519", role: "author", spki: "AAAA" },
  "ledger.key.rotated": { new: VKEY, old: VKEY, role: "log" },
  "ledger.key.revoked": { reason: "lost", role: "log", validUntilSize: 0, vkey: VKEY },
  "ledger.erasure": { entries: [{ index: 0, leaf: H }], reason: "request" },
  "ledger.hold.placed": { first: 0, hold: "case-1", last: 0, reason: "court" },
  "ledger.hold.released": { hold: "case-1", reason: "closed" },
  "ledger.anchor": { kind: "rfc3161", note: H, proof: H, root: H, size: 1 },
  "ledger.epoch.sealed": { logKeys: [VKEY], origin: "example.com/next" },
  "ledger.recovered": { checkpoint: null, lockStoreId: "ab".repeat(16), logKeys: [VKEY], lost: ["key"], reason: "disk" },
};
const genesis = PAYLOADS["ledger.genesis"];
const item = { index: 0, leaf: H };
const itemsOf = (...entries) => ({ entries, reason: "request" });

const VALID_CONTROLS = [
  ...Object.entries(PAYLOADS),
  ["ledger.genesis", { ...genesis, commitmentHash: "sha3-256", limits: { eventBytes: 1024 }, logKeys: Array.from({ length: 16 }, () => VKEY), predecessor: { checkpoint: NOTE, origin: "example.com/old", root: H, size: 1 }, rules: { requireSignature: true }, scheme: "fields" }],
  ["ledger.genesis", { ...genesis, commitmentHash: "sha512", limits: { eventBytes: 16777216 }, logKeys: ["a key of a later kind"] }],
  ["ledger.rules.changed", { rules: { requireSignature: false }, scheme: "fields" }],
  ["ledger.rules.changed", { rules: { anchors: ["opentimestamps", "rfc3161"], requireSignature: false } }],
  ["ledger.key.added", { role: "log", vkey: VKEY }],
  ...["ecdsa-p256", "ecdsa-p384", "ecdsa-secp256k1", "rsa-pss", "ml-dsa-44", "ml-dsa-65", "ml-dsa-87"].map((algorithm) => ["ledger.key.added", { ...PAYLOADS["ledger.key.added"], algorithm }]),
  ["ledger.key.revoked", { keyId: H, reason: "left", role: "author" }],
  ["ledger.erasure", { basis: "GDPR article 17", entries: [{ ...item, idGuard: H, signedIds: [H, H] }, { fields: ["context.ip", "payload.", "payload.x.y"], index: 9, leaf: H }], reason: "request" }],
  ["ledger.hold.placed", { basis: "order 7", first: 3, hold: "h".repeat(256), last: 9007199254740991, reason: "x".repeat(4096) }],
  ["ledger.recovered", { ...PAYLOADS["ledger.recovered"], checkpoint: NOTE, lost: ["database", "key", "lock-store"] }],
];

const INVALID_CONTROLS = [
  ...Object.entries(PAYLOADS).flatMap(([action, payload]) => [
    ["/payload/extra", { action, payload: { ...payload, extra: 1 } }],
    ["/payload", { action, payload: null }],
    ["/payload", { action }],
    ["/id", { action, id: "i", payload }],
    ...(["ledger.key.added", "ledger.key.revoked"].includes(action) ? [] : Object.keys(payload).map((name) => [`/payload/${name}`, { action, payload: without(payload, name) }])),
  ]),
  ...["context", "metadata", "occurredAt", "outcome", "source", "targets", "type"].map((name) => [`/${name}`, { action: "ledger.hold.released", payload: PAYLOADS["ledger.hold.released"], [name]: { context: {}, metadata: {}, occurredAt: "2026-01-02T03:04:05Z", outcome: "ok", source: { id: "s", counter: 1 }, targets: [], type: "t" }[name] }]),
  ["/action", { action: "user.login", payload: {} }],
  ["/action", { action: "ledger.import", payload: {} }],
  ...[
    ["ledger.genesis", "/commitmentHash", { ...genesis, commitmentHash: "sha1" }],
    ["ledger.genesis", "/limits/eventBytes", { ...genesis, limits: { eventBytes: 1023 } }],
    ["ledger.genesis", "/limits/eventBytes", { ...genesis, limits: { eventBytes: 16777217 } }],
    ["ledger.genesis", "/limits/entries", { ...genesis, limits: { ...genesis.limits, entries: 1 } }],
    ["ledger.genesis", "/lockStoreId", { ...genesis, lockStoreId: H }],
    ["ledger.genesis", "/logKeys", { ...genesis, logKeys: [] }],
    ["ledger.genesis", "/logKeys", { ...genesis, logKeys: Array.from({ length: 17 }, () => VKEY) }],
    ["ledger.genesis", "/logKeys/0", { ...genesis, logKeys: ["a\nb"] }],
    ["ledger.genesis", "/logKeys/0", { ...genesis, logKeys: ["x".repeat(4097)] }],
    ...["", "a b", "a+b", "é", "x".repeat(256), "tallystick/x", "cosignature/x", "subtree/x", 1].map((origin) => ["ledger.genesis", "/origin", { ...genesis, origin }]),
    ["ledger.genesis", "/rules/requireSignature", { ...genesis, rules: { requireSignature: 1 } }],
    ["ledger.genesis", "/rules/requireSignature", { ...genesis, rules: {} }],
    ["ledger.genesis", "/rules/anchors", { ...genesis, rules: { anchors: [], requireSignature: false } }],
    ["ledger.genesis", "/rules/anchors", { ...genesis, rules: { anchors: ["rfc3161", "opentimestamps"], requireSignature: false } }],
    ["ledger.genesis", "/rules/anchors", { ...genesis, rules: { anchors: ["rfc3161", "rfc3161"], requireSignature: false } }],
    ["ledger.genesis", "/rules/anchors/0", { ...genesis, rules: { anchors: ["x".repeat(65)], requireSignature: false } }],
    ["ledger.genesis", "/rules/anchor", { ...genesis, rules: { anchor: ["rfc3161"], requireSignature: false } }],
    ["ledger.genesis", "/scheme", { ...genesis, scheme: "control" }],
    ["ledger.genesis", "/predecessor/size", { ...genesis, predecessor: { checkpoint: NOTE, origin: ORIGIN, root: H, size: 0 } }],
    ["ledger.genesis", "/predecessor/checkpoint", { ...genesis, predecessor: { origin: ORIGIN, root: H, size: 1 } }],
    ["ledger.rules.changed", "/scheme", { ...PAYLOADS["ledger.rules.changed"], scheme: null }],
    ["ledger.key.added", "/role", { vkey: VKEY }],
    ["ledger.key.added", "/role", { role: "witness", vkey: VKEY }],
    ["ledger.key.added", "/actor", { actor: "alice", role: "log", vkey: VKEY }],
    ["ledger.key.added", "/vkey", { ...PAYLOADS["ledger.key.added"], vkey: VKEY }],
    ["ledger.key.added", "/algorithm", { ...PAYLOADS["ledger.key.added"], algorithm: "Ed25519" }],
    ["ledger.key.added", "/algorithm", { ...PAYLOADS["ledger.key.added"], algorithm: "toString" }],
    ["ledger.key.added", "/spki", { ...PAYLOADS["ledger.key.added"], spki: "AB==" }],
    ["ledger.key.added", "/spki", { ...PAYLOADS["ledger.key.added"], spki: "A".repeat(4100) }],
    ["ledger.key.added", "/actor", { ...PAYLOADS["ledger.key.added"], actor: { id: "alice" } }],
    ["ledger.key.rotated", "/role", { ...PAYLOADS["ledger.key.rotated"], role: "author" }],
    ["ledger.key.revoked", "/validUntilSize", { ...PAYLOADS["ledger.key.revoked"], validUntilSize: -1 }],
    ["ledger.key.revoked", "/keyId", { keyId: "ab", reason: "left", role: "author" }],
    ["ledger.erasure", "/entries", itemsOf()],
    ["ledger.erasure", "/entries", itemsOf(item, item)],
    ["ledger.erasure", "/entries", itemsOf({ ...item, index: 2 }, { ...item, index: 1 })],
    ["ledger.erasure", "/entries/0/leaf", itemsOf({ index: 0 })],
    ["ledger.erasure", "/entries/0/leaf", itemsOf({ index: 0, leaf: H.toUpperCase() })],
    ["ledger.erasure", "/entries/0/index", itemsOf({ ...item, index: 0.5 })],
    ["ledger.erasure", "/entries/0/fields", itemsOf({ ...item, fields: [] })],
    ["ledger.erasure", "/entries/0/fields", itemsOf({ ...item, fields: ["payload.b", "payload.a"] })],
    ["ledger.erasure", "/entries/0/fields", itemsOf({ ...item, fields: ["id", "id"] })],
    ["ledger.erasure", "/entries/0/fields/0", itemsOf({ ...item, fields: ["actor.id"] })],
    ["ledger.erasure", "/entries/0/fields/0", itemsOf({ ...item, fields: ["constructor"] })],
    ["ledger.erasure", "/entries/0/fields/0", itemsOf({ ...item, fields: ["payload.__proto__"] })],
    ["ledger.erasure", "/entries/0/signedIds", itemsOf({ ...item, signedIds: [] })],
    ["ledger.erasure", "/entries/0/signedIds", itemsOf({ ...item, signedIds: Array.from({ length: 17 }, () => H) })],
    ["ledger.erasure", "/entries/0/idGuard", itemsOf({ ...item, idGuard: null })],
    ["ledger.erasure", "/reason", { ...itemsOf(item), reason: "" }],
    ["ledger.erasure", "/basis", { ...itemsOf(item), basis: "x".repeat(4097) }],
    ["ledger.hold.placed", "", { ...PAYLOADS["ledger.hold.placed"], first: 1 }],
    ["ledger.hold.placed", "/hold", { ...PAYLOADS["ledger.hold.placed"], hold: "a\nb" }],
    ["ledger.hold.placed", "/last", { ...PAYLOADS["ledger.hold.placed"], last: "0" }],
    ["ledger.anchor", "/kind", { ...PAYLOADS["ledger.anchor"], kind: "" }],
    ["ledger.anchor", "/size", { ...PAYLOADS["ledger.anchor"], size: 0 }],
    ["ledger.epoch.sealed", "/origin", { logKeys: [VKEY], origin: "a b" }],
    ["ledger.recovered", "/lost", { ...PAYLOADS["ledger.recovered"], lost: [] }],
    ["ledger.recovered", "/lost", { ...PAYLOADS["ledger.recovered"], lost: ["key", "database"] }],
    ["ledger.recovered", "/lost", { ...PAYLOADS["ledger.recovered"], lost: ["key", "key"] }],
    ["ledger.recovered", "/lost/0", { ...PAYLOADS["ledger.recovered"], lost: ["all"] }],
    ["ledger.recovered", "/checkpoint", { ...PAYLOADS["ledger.recovered"], checkpoint: "" }],
  ].map(([action, pointer, payload]) => [`/payload${pointer}`, { action, payload }]),
];

const sha256 = (...parts) => digest("sha256", ...parts);
const KEY_EVENT = { action: "ledger.key.rotated", actor: "admin", payload: PAYLOADS["ledger.key.rotated"], signatures: [signature] };
const idDigest = sha256("tallystick/v1/id-digest\n", H, "\n", "évt-1");

write("control-events.json", {
  source: SOURCE,
  note: "`valid`, `invalid`: bodies, the latter with the JSON Pointer of the offender (malformed-control). `keyMessage`, `ids`: preimages of spec/keys.md and spec/control-events.md.",
  valid: VALID_CONTROLS.flatMap(([action, payload]) => [{ body: jcs({ action, payload }) }, { body: jcs({ action, actor: { id: "admin" }, payload, signatures: [signature] }) }]),
  invalid: INVALID_CONTROLS.map(([pointer, event]) => ({ body: jcs(event), pointer })),
  keyMessage: {
    origin: ORIGIN,
    index: 7,
    previous: H,
    body: jcs(KEY_EVENT),
    message: `tallystick/v1/key\n${ORIGIN}\nledger.key.rotated\n7\n${H}\n${sha256(jcs(without(KEY_EVENT, "signatures")))}`,
  },
  ids: {
    genesisLeaf: H,
    id: "évt-1",
    salt: "00112233445566778899aabbccddeeff",
    keyId: KEY_ID,
    idDigest,
    idGuard: sha256("tallystick/v1/erased-id\n", bytes("00112233445566778899aabbccddeeff"), bytes(idDigest)),
    signedIdDigest: sha256("tallystick/v1/id\n", KEY_ID, "\n", "évt-1"),
  },
});
