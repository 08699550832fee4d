// Makes receipts.json: `node vectors/make-receipts.mjs`.
//
// By hand (forge.mjs), without the library, so that the vectors are a second opinion. src/core/receipt.test.ts holds the
// library to them, and so do the independent verifiers.
import { readFileSync, writeFileSync } from "node:fs";
import { bytes, commitBody, commitFields, cut, digest, fieldDigest, inclusion as path, jcs, keyOf, leafHash, noteKey, saltOf, signLine, treeHash, without } from "./forge.mjs";

const ORIGIN = "example.com/audit";

const logKey = noteKey(ORIGIN, 1, keyOf("log"));
const otherLogKey = noteKey(ORIGIN, 1, keyOf("other log"));
const strangerLogKey = noteKey("example.com/stranger", 1, keyOf("stranger"));
const witness1 = noteKey("witness.example/1", 4, keyOf("witness 1"));
const witness2 = noteKey("witness.example/2", 4, keyOf("witness 2"));
const alice = keyOf("alice");

// --- entries

function authored(event, { scheme, hash, index }) {
  const fields = cut(event);
  const content =
    scheme === "event"
      ? digest("sha256", jcs(event))
      : commitFields(hash, fields.map(([name]) => name), fields.map(([name, value]) => fieldDigest(hash, saltOf(`${index} ${name}`), name, value)));
  const message = `tallystick/v1/author\n${ORIGIN}\ned25519\n${alice.keyId}\n${scheme}\n${content}`;
  const signature = alice.sign(message).toString("base64");
  return { ...event, signatures: [{ keyId: alice.keyId, signature }] };
}

const GENESIS = { action: "ledger.genesis", payload: { commitmentHash: "sha256", limits: { eventBytes: 1048576 }, lockStoreId: "4398b5afef0861282301b623fea94159", logKeys: [logKey.vkey], origin: ORIGIN, rules: { requireSignature: false }, scheme: "event" } };
const REFUND = { action: "order.refund", actor: { id: "bob", type: "employee" }, id: "evt-2", payload: { amount: 1250, reason: "damaged" }, targets: [{ id: "order-7", type: "order" }] };
const APPROVAL = { action: "order.approve", actor: "alice", id: "evt-3", payload: { order: 7 } };
const HOLD = { action: "ledger.hold.placed", payload: { first: 1, hold: "case-1", last: 2, reason: "court" } };
const deep = (levels) => JSON.parse("[".repeat(levels) + "]".repeat(levels));

const ROWS = [
  { scheme: "control", event: GENESIS },
  { scheme: "event", event: { action: "user.login", actor: "alice", id: "evt-1", outcome: "success" } },
  { scheme: "fields", event: REFUND },
  { scheme: "event", sign: true, event: APPROVAL },
  { scheme: "fields", sign: true, event: { ...APPROVAL, id: "evt-4" } },
  { scheme: "control", event: HOLD },
  { scheme: "event", hash: "sha512", event: { action: "a", payload: "Größe 😀" } },
  { scheme: "fields", hash: "sha3-256", event: { action: "a", context: {}, metadata: { "": null }, payload: { "é": 1, "😀": 2 } } },
  { scheme: "event", event: { action: "ledger.access", actor: "auditor" } },
  { scheme: "event", event: { action: "a", payload: deep(63) } },
  { scheme: "fields", time: "2026-01-02T03:10:00.000Z", event: { action: "a", payload: { deep: deep(62) } } },
  // From here on, what an honest ledger never writes.
  { scheme: "event", event: HOLD },
  { scheme: "control", event: { action: "user.login" } },
  { scheme: "control", event: { action: "ledger.hold.released", payload: { hold: "case-1" } } },
  { scheme: "control", event: GENESIS },
  { scheme: "event", event: { action: "a", amount: 1 } },
  { scheme: "event", event: { payload: 1 } },
  { scheme: "event", event: { action: "a", payload: deep(64) } },
  { scheme: "fields", event: { action: "a", actor: 7 } },
  { scheme: "fields", event: { action: "a", payload: { deep: deep(63) } } },
  { scheme: "event", time: "2026-01-02T03:10:00.001Z", event: { action: "from.the.future" } },
  { scheme: "event", sign: true, event: { ...without(APPROVAL, "id") } },
  { scheme: "event", sign: "damaged", event: { ...APPROVAL, id: "evt-22" } },
  { scheme: "event", sign: true, event: { ...APPROVAL, actor: "mallory", id: "evt-23" } },
  { scheme: "fields", event: HOLD },
  { scheme: "control", event: { action: "ledger.anchor", payload: { kind: "opentimestamps", note: "ab".repeat(32), proof: "ab".repeat(32), root: "ab".repeat(32), size: 26 } } },
  { scheme: "control", event: { ...HOLD, actor: 7 } },
  { scheme: "event", sign: "damaged", outcome: "two words", event: { ...APPROVAL, id: "evt-27" } },
];

function makeEntries(rows, firstPrevious = "0".repeat(64)) {
  const entries = [];
  for (const [index, row] of rows.entries()) {
    const { scheme, hash = "sha256", time = "2026-01-02T03:04:05.250Z" } = row;
    let { event } = row;
    if (row.sign !== undefined) event = authored(event, { scheme, hash, index });
    if (row.sign === "damaged") event = { ...event, outcome: row.outcome ?? "other" };
    const fields = cut(event);
    const digests = fields.map(([name, value]) => fieldDigest(hash, saltOf(`${index} ${name}`), name, value));
    const commitment = scheme === "fields" ? commitFields(hash, fields.map(([name]) => name), digests) : commitBody(hash, scheme, saltOf(`${index}`), event);
    const previous = index === 0 ? firstPrevious : entries[index - 1].leaf;
    const text = jcs({ commitment: `${hash}:${commitment}`, index, previous, scheme, time, v: 1 });
    entries.push({ index, scheme, hash, event, fields, digests, text, leaf: leafHash(text) });
  }
  return entries;
}

// --- proof

// 2026-01-02T03:05:00Z
const WITNESSED_AT = 1767323100;

function makeNote(leaves, { origin = ORIGIN, signer = logKey, size = leaves.length } = {}) {
  const text = `${origin}\n${size}\n${bytes(treeHash(leaves)).toString("base64")}\n`;
  return { text, note: `${text}\n${signLine(signer, text)}${signLine(witness1, text, WITNESSED_AT)}` };
}
const proofText = (index, hashes, note) => `c2sp.org/tlog-proof@v1\nindex ${index}\n${hashes.map((hash) => `${bytes(hash).toString("base64")}\n`).join("")}\n${note}`;

const ENTRIES = makeEntries(ROWS);
const LEAVES = ENTRIES.map((entry) => entry.leaf);
const { note: NOTE } = makeNote(LEAVES);
const proofOf = (index, leaves = LEAVES, note = NOTE) => proofText(index, path(index, leaves), note);

function contentOf(entry, shown) {
  if (entry.scheme !== "fields") return { event: entry.event, salt: saltOf(`${entry.index}`) };
  const isShown = (name) => shown === undefined || shown.includes(name);
  return {
    names: entry.fields.map(([name]) => name),
    disclosed: Object.fromEntries(entry.fields.filter(([name]) => isShown(name)).map(([name, value]) => [name, [saltOf(`${entry.index} ${name}`), value]])),
    digests: Object.fromEntries(entry.fields.flatMap(([name], i) => (isShown(name) ? [] : [[name, entry.digests[i]]]))),
  };
}
const parts = (index, shown) => ({ entry: ENTRIES[index].text, format: "tallystick/receipt/v1", proof: proofOf(index), ...contentOf(ENTRIES[index], shown) });
const text = (object) => `${jcs(object)}\n`;

// --- policies

const AUTHOR = `#tallystick author ed25519 ${alice.spki.toString("base64")} "alice"`;
const lines = (...items) => `${items.join("\n")}\n`;
const WITNESSED = [`log ${logKey.vkey}`, `witness w1 ${witness1.vkey}`, "quorum w1"];
const POLICIES = {
  witnessed: lines(...WITNESSED),
  "nobody outside": lines(`log ${logKey.vkey}`, "quorum none"),
  "two witnesses": lines(`log ${logKey.vkey}`, `witness w1 ${witness1.vkey}`, `witness w2 ${witness2.vkey}`, "group both all w1 w2", "quorum both"),
  genesis: lines(...WITNESSED, `#tallystick genesis ${LEAVES[0]}`),
  "another genesis": lines(...WITNESSED, `#tallystick genesis ${"ab".repeat(32)}`),
  authors: lines(...WITNESSED, `${AUTHOR} 0 -`),
  "authors required": lines(...WITNESSED, `${AUTHOR} 0 -`, "#tallystick require-signature"),
  "authors required, none pinned": lines(...WITNESSED, "#tallystick require-signature"),
  "authors until entry 3": lines(...WITNESSED, `${AUTHOR} 2 3`),
  "another log key": lines(`log ${otherLogKey.vkey}`, `witness w1 ${witness1.vkey}`, "quorum w1"),
  "two log keys": lines(`log ${logKey.vkey}`, `log ${otherLogKey.vkey}`, `witness w1 ${witness1.vkey}`, "quorum w1", `#tallystick require-all ${logKey.vkey} ${otherLogKey.vkey}`),
  "key of smaller sizes": lines(...WITNESSED, `#tallystick key ${logKey.vkey} 1 ${LEAVES.length - 1}`),
  stranger: lines(`log ${strangerLogKey.vkey}`, "quorum none"),
};

// --- cases

const VERDICT_OF = {
  "file-malformed": "integrity", "entry-malformed": "integrity", "proof-invalid": "integrity", "commitment-mismatch": "integrity", "body-malformed": "integrity", "control-scheme": "integrity", "control-malformed": "integrity",
  "checkpoint-malformed": "authenticity", "genesis-malformed": "authenticity", "genesis-mismatch": "authenticity", "origin-mismatch": "authenticity", "checkpoint-signature": "authenticity", "author-signature": "authenticity", "signature-required": "authenticity",
  "time-after-evidence": "time",
};

/** What a verifier answers; `authenticity` where it is not established although a policy is given. */
function expected(policy, findings, { isForm = false, authenticity = "pass" } = {}) {
  const isAccepted = policy !== null && !findings.some((code) => ["origin-mismatch", "checkpoint-signature"].includes(code));
  const hasQuorum = isAccepted && !["nobody outside", "two witnesses", "stranger"].includes(policy);
  const verdicts = isForm
    ? { integrity: "notChecked", order: "notChecked", authenticity: "notChecked", completeness: "notChecked", independence: "notChecked", time: "notChecked" }
    : {
        integrity: "pass",
        order: "notChecked",
        authenticity: policy === null ? "notEstablished" : authenticity,
        completeness: "notChecked",
        independence: hasQuorum ? "pass" : "notEstablished",
        time: hasQuorum ? "pass" : "notEstablished",
      };
  for (const code of findings) verdicts[VERDICT_OF[code]] = "fail";
  const exit = findings.length > 0 ? 1 : policy === "two witnesses" ? 4 : verdicts.authenticity === "notEstablished" ? 3 : 0;
  return { exit, findings, verdicts };
}

const cases = [];
const add = (title, receipt, policy, findings = [], options = {}) =>
  cases.push({ title, policy, receipt: typeof receipt === "string" ? receipt : text(receipt), ...expected(policy, findings, options) });
const form = (title, receipt, finding = "file-malformed") => add(title, receipt, "witnessed", [finding], { isForm: true });

const OPEN = ["action", "id", "payload.amount"];
add("a whole event", parts(1), "witnessed");
add("some fields", parts(2, OPEN), "witnessed");
add("all fields", parts(2), "witnessed");
add("no field", parts(2, []), "witnessed");
add("genesis", parts(0), "genesis");
add("a control event", parts(5), "witnessed");
add("sha512", parts(6), "witnessed");
add("sha3-256, all fields", parts(7), "witnessed");
add("sha3-256, some fields", parts(7, ["payload.é", "context"]), "witnessed");
add("an ordinary event of the ledger", parts(8), "authors required");
add("an event nested to 64", parts(9), "witnessed");
add("a field by which the event is nested to 64, and an entry time 300 s after its witnesses", parts(10), "witnessed");
add("no policy", parts(1), null);
add("no witness asked for", parts(1), "nobody outside");
add("a witness short of the quorum", parts(1), "two witnesses");
add("entry 1, genesis pinned", parts(1), "another genesis");
add("signed by the author, who is pinned", parts(3), "authors");
add("signed by the author, in scheme fields", parts(4), "authors required");
add("signed by the author, shown as far as the signature needs", parts(4, ["actor", "id", "signatures"]), "authors required");
add("signed by the author, who is withheld", parts(4, ["action", "signatures"]), "authors required", [], { authenticity: "notEstablished" });
add("signed by the author, the signature withheld", parts(4, ["action", "actor"]), "authors required", [], { authenticity: "notEstablished" });
add("signed by somebody who is not pinned", parts(3), "witnessed");
add("signed by somebody who is not pinned, where a signature is required", parts(3), "authors required, none pinned", [], { authenticity: "notEstablished" });
add("signed by a key that is pinned for other entries", parts(4), "authors until entry 3");
add("signed by the key of another actor", parts(23), "authors");
add("no signature where the action is withheld", parts(2, ["id"]), "authors required", [], { authenticity: "notEstablished" });
add("a later time without witnesses", parts(20), "nobody outside");

// Properly made by somebody who broke the rules, so only the rules refuse it.
add("entry 0 is not the pinned genesis", parts(0), "another genesis", ["genesis-mismatch"]);
add("a control action under scheme event", parts(11), "witnessed", ["control-scheme"]);
add("a control action under scheme fields", parts(24), "witnessed", ["control-scheme"]);
add("a control action under scheme fields, withheld", parts(24, ["payload.hold"]), "witnessed");
add("an ordinary action under scheme control", parts(12), "witnessed", ["control-scheme"]);
add("a control event with a member missing", parts(13), "witnessed", ["control-malformed"]);
add("a second genesis", parts(14), "witnessed", ["genesis-malformed"]);
add("an event with an unknown member", parts(15), "witnessed", ["body-malformed"]);
add("an event without an action", parts(16), "witnessed", ["body-malformed"]);
add("an event nested to 65", parts(17), "witnessed", ["body-malformed"]);
add("a field against the grammar", parts(18), "witnessed", ["body-malformed"]);
add("a field against the grammar, withheld", parts(18, ["action"]), "witnessed");
add("a field by which the event is nested to 65", parts(19), "witnessed", ["body-malformed"]);
add("an entry time 300.001 s after its witnesses", parts(20), "witnessed", ["time-after-evidence"]);
add("signed, but without an id", parts(21), "authors", ["author-signature"]);
add("signed, and changed since", parts(22), "authors", ["author-signature"]);
add("signed, and changed since, against the grammar", parts(27), "authors", ["body-malformed", "author-signature"]);
add("an anchor beyond its index", parts(25), "witnessed", ["control-malformed"]);
add("a control event of a malformed actor", parts(26), "witnessed", ["body-malformed"]);
add("signed, and changed since, by somebody who is not pinned", parts(22), "witnessed");
add("no signature where one is required", parts(1), "authors required", ["signature-required"], { authenticity: "notEstablished" });
add("no field of signatures where one is required", parts(2, ["action"]), "authors required", ["signature-required"], { authenticity: "notEstablished" });
{
  const entries = makeEntries([{ scheme: "event", event: GENESIS }]);
  const { note } = makeNote([entries[0].leaf]);
  add("an entry 0 that is no control event", { ...parts(1), entry: entries[0].text, event: GENESIS, salt: saltOf("0"), proof: proofText(0, [], note) }, "witnessed", ["control-scheme", "genesis-malformed"]);
}
for (const [title, payload, finding] of [
  ["a genesis of another ledger", { origin: "example.com/stranger" }, "genesis-malformed"],
  ["a genesis with a member too many", { comment: "" }, "genesis-malformed"],
  ["a genesis without a usable key", { logKeys: [strangerLogKey.vkey] }, "genesis-malformed"],
  ["a genesis that fixes another hash than it commits with", { commitmentHash: "sha512" }, "commitment-mismatch"],
]) {
  const event = { ...GENESIS, payload: { ...GENESIS.payload, ...payload } };
  const entries = makeEntries([{ scheme: "control", event }]);
  const { note } = makeNote([entries[0].leaf]);
  add(title, { ...parts(1), entry: entries[0].text, event, salt: saltOf("0"), proof: proofText(0, [], note) }, "witnessed", [finding]);
}
{
  const entries = makeEntries([{ scheme: "control", event: GENESIS }], "ab".repeat(32));
  const { note } = makeNote([entries[0].leaf]);
  add("a genesis with a predecessor", { ...parts(1), entry: entries[0].text, event: GENESIS, salt: saltOf("0"), proof: proofText(0, [], note) }, "witnessed", ["genesis-malformed"]);
}

// Put together wrongly, or tampered with.
const COMMITTED = "commitment-mismatch";
add("another value", { ...parts(1), event: { ...ENTRIES[1].event, outcome: "failure" } }, "witnessed", [COMMITTED]);
add("another salt", { ...parts(1), salt: "00".repeat(16) }, "witnessed", [COMMITTED]);
add("a member left out", { ...parts(1), event: without(ENTRIES[1].event, "outcome") }, "witnessed", [COMMITTED]);
add("a member more, against the grammar", { ...parts(1), event: { ...ENTRIES[1].event, amount: 1 } }, "witnessed", [COMMITTED, "body-malformed"]);
{
  const some = parts(2, OPEN);
  add("another value of a field", { ...some, disclosed: { ...some.disclosed, "payload.amount": [some.disclosed["payload.amount"][0], 1] } }, "witnessed", [COMMITTED]);
  add("another digest of a field", { ...some, digests: { ...some.digests, actor: "00".repeat(32) } }, "witnessed", [COMMITTED]);
  add("a withheld field left out", { ...some, names: some.names.filter((name) => name !== "targets"), digests: without(some.digests, "targets") }, "witnessed", [COMMITTED]);
  add("payload, uncut and a non-empty object", { ...some, names: ["action", "payload"], disclosed: { payload: ["00".repeat(16), { amount: 1 }] }, digests: { action: "00".repeat(32) } }, "witnessed", [COMMITTED, "body-malformed"]);
}
add("another entry's proof", { ...parts(1), proof: proofOf(3) }, "witnessed", ["proof-invalid"]);
add("another entry's path", { ...parts(1), proof: proofText(1, path(3, LEAVES), NOTE) }, "witnessed", ["proof-invalid"]);
add("a path one hash short", { ...parts(1), proof: proofText(1, path(1, LEAVES).slice(1), NOTE) }, "witnessed", ["proof-invalid"]);
add("a path one hash long", { ...parts(1), proof: proofText(1, [...path(1, LEAVES), LEAVES[0]], NOTE) }, "witnessed", ["proof-invalid"]);
add("a checkpoint that is too small", { ...parts(3), proof: proofOf(3, LEAVES, makeNote(LEAVES.slice(0, 3)).note) }, "witnessed", ["proof-invalid"]);
add("another entry text, with its commitment", { ...parts(1), entry: ENTRIES[1].text.replace('.250Z"', '.251Z"') }, "witnessed", ["proof-invalid"]);
add("another entry text", { ...parts(1), entry: ENTRIES[3].text }, "witnessed", ["proof-invalid", COMMITTED]);
add("a checkpoint of another root", { ...parts(1), proof: proofOf(1, LEAVES, makeNote([...LEAVES.slice(1), LEAVES[0]]).note) }, "witnessed", ["proof-invalid"]);
add("a checkpoint that another key signed", parts(1), "another log key", ["checkpoint-signature"]);
add("a checkpoint that not all required keys signed", parts(1), "two log keys", ["checkpoint-signature"]);
add("a checkpoint beyond the sizes of its key", parts(1), "key of smaller sizes", ["checkpoint-signature"]);
add("a checkpoint of another origin", parts(1), "stranger", ["origin-mismatch"]);
{
  const [before, after] = NOTE.split("— example.com/audit ");
  const damaged = `${before}— example.com/audit ${after.slice(0, 20)}${after[20] === "A" ? "B" : "A"}${after.slice(21)}`;
  add("a damaged signature of the log", { ...parts(1), proof: proofOf(1, LEAVES, damaged) }, "witnessed", ["checkpoint-signature"]);
  add("a damaged signature of the log, nothing pinned", { ...parts(1), proof: proofOf(1, LEAVES, damaged) }, null);
  const forged = NOTE.replace(signLine(witness1, makeNote(LEAVES).text, WITNESSED_AT), witness1.line(Buffer.alloc(72)));
  add("a damaged signature of a witness", { ...parts(1), proof: proofOf(1, LEAVES, forged) }, "witnessed", ["checkpoint-signature"]);
  const unknown = `${NOTE}${signLine(strangerLogKey, "something else\n")}`;
  add("a line of an unknown key", { ...parts(1), proof: proofOf(1, LEAVES, unknown) }, "witnessed");
}

// Not of the form of a receipt.
const good = text(parts(1));
form("an empty object", "{}\n");
form("no newline", good.slice(0, -1));
form("two newlines", `${good}\n`);
form("a carriage return", good.replace("\n", "\r\n"));
form("white space", `{ ${good.slice(1)}`);
form("members in another order", `${JSON.stringify({ proof: proofOf(1), ...without(parts(1), "proof") })}\n`);
form("a member twice", good.replace('{"entry":', '{"entry":"","entry":'));
form("a duplicate member of the event", good.replace('"action":', '"action":"b","action":'));
form("an unsafe integer in the event", good.replace('"outcome":"success"', '"payload":9007199254740993'));
form("an unknown member", { ...parts(1), comment: "" });
form("no salt", without(parts(1), "salt"));
form("a salt beside a disclosure", { ...parts(2), salt: "00".repeat(16) });
form("an event beside a disclosure", { ...parts(2), event: REFUND });
form("another format", { ...parts(1), format: "tallystick/receipt/v0" });
form("the format of an export", { ...parts(1), format: "tallystick/export/v1" });
form("a salt in capitals", { ...parts(1), salt: "AB".repeat(16) });
form("a salt of 8 bytes", { ...parts(1), salt: "ab".repeat(8) });
form("an event that is no object", { ...parts(1), event: [] });
form("an entry that is no string", { ...parts(1), entry: JSON.parse(ENTRIES[1].text) });
form("a proof that is no string", { ...parts(1), proof: null });
form("nested to 69", { ...parts(1), event: { action: "a", payload: deep(67) } });
form("scheme fields with a whole event", { ...without(parts(2), "names", "disclosed", "digests"), ...contentOf(ENTRIES[1]) });
form("scheme event with a disclosure", { ...without(parts(1), "event", "salt"), ...contentOf(ENTRIES[2]) });
form("a disclosure with a name twice", { ...parts(2), names: ["action", ...parts(2).names] });
form("a disclosure with payload beside payload.amount", { ...parts(2, OPEN), names: [...parts(2).names, "payload"].sort(), digests: { ...parts(2, OPEN).digests, payload: "00".repeat(32) } });
form("a digest as long as that of another hash", { ...parts(2, OPEN), digests: { ...parts(2, OPEN).digests, actor: "00".repeat(64) } });
form("a proof with an extra line", { ...parts(1), proof: proofOf(1).replace("\nindex", "\nextra AAAA\nindex") });
form("a proof with another header", { ...parts(1), proof: proofOf(1).replace("@v1", "@v2") });
form("a proof with a leading zero", { ...parts(1), proof: proofOf(1).replace("index 1", "index 01") });
form("a proof with a hash of 31 bytes", { ...parts(1), proof: proofText(1, [LEAVES[0].slice(2)], NOTE) });
form("a proof without a blank line", { ...parts(1), proof: proofText(1, [], "").slice(0, -1) });
form("a proof with carriage returns", { ...parts(1), proof: proofOf(1).replaceAll("\n", "\r\n") });
form("a checkpoint that is no note", { ...parts(1), proof: proofText(1, path(1, LEAVES), makeNote(LEAVES).text) }, "checkpoint-malformed");
form("a note that is no checkpoint", { ...parts(1), proof: proofText(1, path(1, LEAVES), `${ORIGIN}\n\n${signLine(logKey, `${ORIGIN}\n`)}`) }, "checkpoint-malformed");
form("a checkpoint with an extension line", { ...parts(1), proof: proofText(1, path(1, LEAVES), NOTE.replace("=\n\n", "=\nextension\n\n")) }, "checkpoint-malformed");
form("a checkpoint of size 0", { ...parts(1), proof: proofText(1, path(1, LEAVES), makeNote(LEAVES, { size: 0 }).note) }, "checkpoint-malformed");
form("an entry with a space", { ...parts(1), entry: `${ENTRIES[1].text} ` }, "entry-malformed");
form("an entry with another version", { ...parts(1), entry: ENTRIES[1].text.replace('"v":1', '"v":2') }, "entry-malformed");
form("an entry of the hash sha1", { ...parts(1), entry: ENTRIES[1].text.replace("sha256:", "sha1:") }, "entry-malformed");

const vectors = {
  source: "made by vectors/make-receipts.mjs from the rules of spec/, without the library",
  note: "`policies` by name. Each case: a receipt, the policy that is pinned (null: none), and what a verifier answers: exit code, finding codes in the order of spec/receipt.md, status of each verdict.",
  policies: POLICIES,
  cases,
};
const file = new URL("receipts.json", import.meta.url);
const output = `${JSON.stringify(vectors, null, 1)}\n`;
if (!process.argv.includes("--check")) writeFileSync(file, output);
else if (readFileSync(file, "utf8") !== output) throw new Error("receipts.json is not what make-receipts.mjs makes");
