// Makes packages.json: `node vectors/make-packages.mjs` (with --check: compares instead of writing).
//
// Honest and hostile evidence packages by hand (forge.mjs, forge-zip.mjs), with what spec/evidence-package.md says of them.
// src/core/verify-package.test.ts holds the library to them, and so do the independent verifiers.
import { readFileSync, writeFileSync } from "node:fs";
import { base64, digest, Forge, inclusion, jcs, raw, textOf, timeAt } from "./forge.mjs";
import { addLog, asWitness, author, control, elsewhere, erasure, genesis, log, log2, log3, login, ORIGIN, quantum, refund, rotate, signed, w1, WITNESSED_AT } from "./forge-rows.mjs";
import { zip } from "./forge-zip.mjs";
import { token, tsaRoot, tsaStranger } from "./forge-token.mjs";

// --- policies

const policy = (...items) => `${items.join("\n")}\n`;
const POLICIES = {
  alone: policy(`log ${log.vkey}`, "quorum none"),
  witnessed: policy(`log ${log.vkey}`, `witness w1 ${w1.vkey}`, "quorum w1", `#tallystick genesis ${new Forge(ORIGIN, [genesis()]).leaves[0]}`),
  "another key": policy(`log ${log3.vkey}`, "quorum none"),
  elsewhere: policy(`log ${elsewhere.vkey}`, "quorum none"),
  "keys by size": policy(`log ${log.vkey}`, `log ${log2.vkey}`, "quorum none", `#tallystick key ${log.vkey} 1 3`, `#tallystick key ${log2.vkey} 4 -`),
  hybrid: policy(`log ${log.vkey}`, `log ${quantum.vkey}`, "quorum none", `#tallystick require-all ${log.vkey} ${quantum.vkey}`),
};

// --- expectations

const VERDICTS = ["integrity", "order", "authenticity", "completeness", "independence", "time"];
const FAILS = {
  integrity: "package-malformed member-mismatch file-malformed commitment-mismatch proof-invalid entry-malformed body-missing",
  order: "index-mismatch previous-mismatch time-backwards",
  authenticity: "manifest-signature checkpoint-signature checkpoint-malformed origin-mismatch genesis-mismatch genesis-malformed",
  completeness: "entry-missing checkpoint-root expected-root",
  time: "anchor-mismatch anchor-invalid time-after-evidence time-before-evidence",
};
const verdictOf = (code) => VERDICTS.find((name) => (FAILS[name] ?? "").split(" ").includes(code));

const cases = [];
/**
 * `findings`: `code`, `[code, index]` or `{code, found}`. Options: `part` (not a whole selection, or open lines), `witnessed`, `timed` (an
 * anchor holds), `stage` ("A", or "header": E1-E3 stopped), `incomparable`; what the reader brings along: `expect`, `tsaRoots`, `requireAnchor`.
 */
function add(title, bytes, name, findings = [], options = {}) {
  const { part = false, witnessed = false, timed = false, stage, incomparable = false, expect, tsaRoots, requireAnchor, self = false } = options;
  const pin = name !== null ? "policy" : self ? "self-asserted" : "none";
  const listed = findings.map((finding) => (typeof finding === "string" ? { code: finding } : Array.isArray(finding) ? { code: finding[0], index: finding[1] } : finding));
  const verdicts =
    stage !== undefined
      ? Object.fromEntries(VERDICTS.map((verdict) => [verdict, "notChecked"]))
      : {
          integrity: "pass",
          order: "pass",
          authenticity: pin === "none" ? "notEstablished" : "pass",
          completeness: part || incomparable ? "notEstablished" : "pass",
          independence: witnessed && pin === "policy" ? "pass" : "notEstablished",
          time: pin !== "none" && (witnessed || timed) ? "pass" : "notEstablished",
        };
  for (const { code } of listed) verdicts[verdictOf(code)] = "fail";
  const missing = (name === "witnessed" && !witnessed) || (requireAnchor === true && !timed);
  const exit = listed.length > 0 ? 1 : missing ? 4 : part || incomparable || pin === "none" ? 3 : 0;
  const asked = { ...(self ? { selfAsserted: true } : {}), ...(expect === undefined ? {} : { expect }), ...(tsaRoots === undefined ? {} : { tsaRoots }), ...(requireAnchor === undefined ? {} : { requireAnchor }) };
  cases.push({ title, policy: name, ...asked, package: bytes.toString("base64"), exit, findings: listed, verdicts });
}

/** A package that is of a later version. */
const newer = (title, bytes) => cases.push({ title, policy: "alone", package: bytes.toString("base64"), exit: 5, error: "newer-format" });
/** A package that stage A refuses for this reason. */
const refused = (title, reason, bytes, name = "alone") => add(title, bytes, name, [{ code: "package-malformed", found: reason }], { stage: "A" });

// --- packages

/** Content of a package in parts: what is not changed in between is as it should be. */
function parts(lines, { signers = [log], claim = POLICIES.alone, more = [], manifest = (value) => value, checkpoint, manifestText } = {}) {
  const header = typeof lines === "string" ? jsonOf(lines.slice(0, lines.indexOf("\n"))) : lines[0];
  const entries = typeof lines === "string" ? lines : textOf(lines);
  const note = header?.checkpoint ?? "";
  const members = [
    { name: "policy", content: claim },
    { name: "checkpoint", content: checkpoint ?? note },
    { name: "entries.jsonl", content: entries },
    ...more,
  ];
  const [origin, size, root] = note.split("\n");
  const value = manifest({
    format: "tallystick/evidence/v1",
    members: members.map(({ name, content }) => ({ name, sha256: digest("sha256", content), size: Buffer.byteLength(content) })),
    origin,
    policy: digest("sha256", claim),
    root: Buffer.from(root ?? "", "base64").toString("hex"),
    selection: header?.selection,
    size: Number(size),
  });
  const text = manifestText ?? `${jcs(value)}\n`;
  return [{ name: "manifest.json", content: text }, { name: "manifest.sig", content: signManifest(text, signers, value.origin) }, ...members];
}

function signManifest(text, signers, origin = ORIGIN) {
  const message = `tallystick/v1/manifest\n${origin}\n${digest("sha256", text)}`;
  return signers.map((key) => key.line(key.sign(message))).join("");
}

function jsonOf(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const pack = (lines, options, file) => zip(parts(lines, options), file);
/** The members after a change of one of them (`{name: change}`), or of the list. */
const changed = (lines, changes, options) => {
  const members = parts(lines, options);
  if (typeof changes === "function") return changes(members) ?? members;
  return members.map((member) => ({ ...member, ...(changes[member.name] ?? {}) }));
};

const consistencyMember = (checkpoint, proof) => ({ name: "consistency.json", content: `${jcs({ checkpoint, proof })}\n` });

/** RFC 9162 §2.1.4.1 */
function consistency(old, leaves, isWhole = true) {
  if (old === leaves.length) return isWhole ? [] : [treeHashOf(leaves)];
  const k = 2 ** Math.floor(Math.log2(leaves.length - 1));
  if (old <= k) return [...consistency(old, leaves.slice(0, k), isWhole), treeHashOf(leaves.slice(k))];
  return [...consistency(old - k, leaves.slice(k), false), treeHashOf(leaves.slice(0, k))];
}
function treeHashOf(leaves) {
  if (leaves.length === 1) return leaves[0];
  const k = 2 ** Math.floor(Math.log2(leaves.length - 1));
  return digest("sha256", Buffer.of(1), Buffer.from(treeHashOf(leaves.slice(0, k)), "hex"), Buffer.from(treeHashOf(leaves.slice(k)), "hex"));
}

const rows = [genesis(), author(), login("evt-2"), refund("evt-3"), signed(refund("evt-4", { actor: "alice" })), login("evt-5"), erasure([5]), refund("evt-7", { actor: "bob" })];
const ledger = new Forge(ORIGIN, rows);
const note = ledger.note([log, [w1, WITNESSED_AT]]);
const lines = { 5: { erasedBy: 6 } };
const whole = ledger.export({ note, lines });
const slice = ledger.export({ note, first: 3, last: 6, lines });
const W = { witnessed: true };

// --- honest

add("whole", pack(whole), "witnessed", [], W);
add("whole, nothing pinned", pack(whole), null);
add("whole, its own keys believed", pack(whole), null, [], { self: true });
add("whole, nobody outside", pack(whole), "alone");
add("whole, without the witness that the policy names", pack(ledger.export({ note: ledger.note([log]), lines })), "witnessed");
add("whole, every member stored", zip(parts(whole).map((member) => ({ ...member, stored: true }))), "witnessed", [], W);
add("whole, with a report that claims what it likes", pack(whole, { more: [{ name: "report.html", content: "<script>alert(1)</script>" }, { name: "report.json", content: '{"ok":true}' }, { name: "readme.txt", content: "" }] }), "witnessed", [], W);
add("whole, another policy inside", pack(whole, { claim: POLICIES.elsewhere }), "witnessed", [], W);
add("whole, a policy inside that is none", pack(whole, { claim: "trust me" }), "witnessed", [], W);
add("a prefix", pack(ledger.export({ note, last: 6, lines })), "witnessed", [], { ...W, part: true });
add("a slice", pack(slice), "witnessed", [], { ...W, part: true });
add("a filter", pack(ledger.export({ note, only: [3, 5, 6], lines })), "witnessed", [], { ...W, part: true });
add("a filter that found nothing", pack(ledger.export({ note, only: [] })), "witnessed", [], { ...W, part: true });
const proved = { 2: { withheld: true }, 3: { shown: ["action"] }, 4: { shown: ["action", "actor", "id", "signatures"] }, 5: { erasedBy: 6 }, 7: { shown: ["actor"] } };
add("a filter that is proved", pack(ledger.export({ note, complete: { action: "order.*", from: timeAt(3), to: timeAt(5) }, lines: proved })), "witnessed", [], W);
add("a filter that is proved, with open lines", pack(ledger.export({ note, complete: { action: "order.*" }, lines: proved })), "witnessed", [], { ...W, part: true });
add("two log keys, both sign", pack(new Forge(ORIGIN, [genesis(), addLog(quantum, [log, quantum])]).export({ note: new Forge(ORIGIN, [genesis(), addLog(quantum, [log, quantum])]).note([log, [quantum, 0]]) }), { signers: [log, quantum] }), "hybrid");
{
  const hybrid = new Forge(ORIGIN, [genesis(), addLog(quantum, [log, quantum])]);
  const both = hybrid.export({ note: hybrid.note([log, [quantum, 0]]) });
  add("two log keys, one signs the manifest", pack(both, { signers: [quantum] }), "hybrid");
  add("two log keys, the ML-DSA-44 signature of the manifest states a time", zip(changed(both, (members) => void (members[1].content = quantum.line(Buffer.concat([Buffer.alloc(8), quantum.sign(`tallystick/v1/manifest\n${ORIGIN}\n${digest("sha256", members[0].content)}`)]))))), "hybrid", ["manifest-signature"]);
  const rotated = new Forge(ORIGIN, [genesis(), login("evt-1"), rotate(log, log2), login("evt-3")]);
  const after = rotated.export({ note: rotated.note([log2]) });
  add("after a rotation", pack(after, { signers: [log2] }), "keys by size");
  add("after a rotation, the manifest signed by the old key", pack(after, { signers: [log] }), "keys by size", ["manifest-signature"]);
  add("after a rotation, the manifest signed by both keys", pack(after, { signers: [log, log2] }), "keys by size");
}
for (const hash of ["sha512", "sha3-256"]) {
  const other = new Forge(ORIGIN, [genesis({ commitmentHash: hash }), refund("evt-1")], { hash });
  add(`whole, ${hash}`, pack(other.export({ note: other.note([log]), lines: { 1: { shown: ["action"] } } })), "alone");
}

// --- a checkpoint from before

const early = ledger.note([log], { size: 4 });
const proof4 = consistency(4, ledger.leaves);
const since = (checkpoint, proof, of = whole) => pack(of, { more: [consistencyMember(checkpoint, proof)] });
add("since an earlier checkpoint", since(early, proof4), "witnessed", [], W);
add("a slice since an earlier checkpoint, which the reader holds", since(early, proof4, slice), "witnessed", [], { ...W, part: true, expect: early });
add("a slice since another checkpoint than the reader holds", since(early, proof4, slice), "witnessed", [], { ...W, part: true, incomparable: true, expect: ledger.note([log], { size: 5 }) });
add("since an earlier checkpoint, the reader holds another history", since(early, proof4), "witnessed", ["expected-root"], { ...W, expect: ledger.note([log], { size: 4, root: "ab".repeat(32) }) });
add("since a checkpoint of the same size", since(note, []), "witnessed", [], W);
add("the reader holds the checkpoint", pack(whole), "witnessed", [], { ...W, expect: note });
add("the reader holds an earlier checkpoint, computed from the entries", pack(whole), "witnessed", [], { ...W, expect: ledger.note([log], { size: 3 }) });
add("the reader holds an earlier checkpoint of another history", pack(whole), "witnessed", ["expected-root"], { ...W, expect: ledger.note([log], { size: 3, root: "ab".repeat(32) }) });
add("the reader holds the size of the package, another history", pack(slice), "witnessed", ["expected-root"], { ...W, part: true, expect: ledger.note([log], { root: "ab".repeat(32) }) });
add("the reader holds a later checkpoint", pack(whole), "witnessed", [], { ...W, incomparable: true, expect: ledger.note([log], { size: 9, root: "ab".repeat(32) }) });
add("the reader holds a checkpoint of another ledger", pack(whole), "witnessed", ["origin-mismatch"], { ...W, expect: ledger.note([elsewhere], { origin: "example.com/elsewhere" }) });
add("since an earlier checkpoint, the proof of another size", since(early, consistency(3, ledger.leaves)), "witnessed", ["proof-invalid"], W);
add("since an earlier checkpoint of another history", since(ledger.note([log], { size: 4, root: "ab".repeat(32) }), proof4), "witnessed", ["proof-invalid"], W);
add("since an earlier checkpoint of another history, nothing pinned", since(ledger.note([log], { size: 4, root: "ab".repeat(32) }), proof4), null, ["proof-invalid"]);
add("since a larger checkpoint", since(ledger.note([log], { size: 9, root: "ab".repeat(32) }), []), "witnessed", ["proof-invalid"], W);
add("since a checkpoint that nobody known signed", since(ledger.note([log3], { size: 4 }), proof4), "witnessed", ["checkpoint-signature"], W);
add("since a checkpoint of another ledger", since(ledger.note([elsewhere], { size: 4, origin: "example.com/elsewhere" }), proof4), "witnessed", ["origin-mismatch"], W);
add("since a checkpoint that is none", since("example.com/audit\n", proof4), "witnessed", ["checkpoint-malformed"], W);
for (const [title, content] of [
  ["without its newline", jcs({ checkpoint: early, proof: proof4 })],
  ["not canonical", `${JSON.stringify({ proof: proof4, checkpoint: early })}\n`],
  ["with a member more", `${jcs({ checkpoint: early, note: 1, proof: proof4 })}\n`],
  ["with a proof of 127 hashes", `${jcs({ checkpoint: early, proof: Array.from({ length: 127 }, () => "00".repeat(32)) })}\n`],
  ["with hashes in capitals", `${jcs({ checkpoint: early, proof: proof4.map((hash) => hash.toUpperCase()) })}\n`],
  ["with a checkpoint that is no text", `${jcs({ checkpoint: 4, proof: proof4 })}\n`],
  ["that is no UTF-8", Buffer.from([0xff, 0x0a])],
]) refused(`consistency.json ${title}`, "consistency", pack(whole, { more: [{ name: "consistency.json", content }] }));

// --- ZIP: the end record

const good = pack(whole);
refused("nothing but an end record", "zip-end", zip([]));
refused("cut off", "zip-end", good.subarray(0, good.length - 1));
refused("cut off in the middle", "zip-end", good.subarray(0, good.length >> 1));
refused("bytes behind the end", "zip-end", pack(whole, {}, { suffix: "\n" }));
refused("a comment behind the end", "zip-end", pack(whole, {}, { end: { comment: "see also" } }));
refused("bytes before the beginning, offsets as if there were none", "zip-end", Buffer.concat([Buffer.from("PK"), good]));
refused("bytes before the beginning, offsets right", "zip-layout", pack(whole, {}, { prefix: "PK\x05\x06\n" }));
refused("another disk", "zip-end", pack(whole, {}, { end: { disk: 1 } }));
refused("central headers on another disk", "zip-end", pack(whole, {}, { end: { centralDisk: 1 } }));
refused("one member more than there are", "zip-central", pack(whole, {}, { end: { members: 6 } }));
refused("one member fewer than there are", "zip-end", pack(whole, {}, { end: { members: 4 } }));
refused("fewer members on this disk", "zip-end", pack(whole, {}, { end: { here: 4 } }));
refused("the marks of ZIP64", "zip-end", pack(whole, {}, { end: { members: 0xffff, bytes: 0xffffffff, offset: 0xffffffff } }));
refused("central headers that begin elsewhere", "zip-end", pack(whole, {}, { end: { offset: 7 } }));
refused("four members", "zip-end", zip(parts(whole).slice(0, 4)));

// --- ZIP: central and local headers

/** The package in which the headers of the fourth member, the checkpoint, say something else. */
const both = (numbers) => zip(changed(whole, { checkpoint: { both: numbers } }));
const onlyCentral = (numbers) => zip(changed(whole, { checkpoint: { central: numbers } }));
const onlyLocal = (numbers) => zip(changed(whole, { checkpoint: { local: numbers } }));
for (const [title, numbers] of [
  ["the flag of encryption", { flags: 1 }],
  ["the flag of a data descriptor", { flags: 8 }],
  ["the flag of UTF-8 names", { flags: 0x800 }],
  ["a later version", { needed: 45 }],
  ["a time", { time: 1 }],
  ["a date", { date: 34 }],
  ["an extra field", { extra: "\x01\x00\x00\x00" }],
]) {
  refused(`${title}, in both headers`, "zip-central", both(numbers));
  refused(`${title}, in the local header`, "zip-local", onlyLocal(numbers));
}
for (const [title, numbers] of [
  ["made by another system", { made: 0x0314 }],
  ["a comment", { comment: "trust me" }],
  ["a disk", { disk: 1 }],
  ["internal attributes", { internal: 1 }],
  ["external attributes", { external: 0o100777 << 8 }],
]) refused(`${title}, in the central header`, "zip-central", onlyCentral(numbers));
refused("method 9", "zip-method", both({ method: 9 }));
refused("method 12", "zip-method", both({ method: 12 }));
refused("another method in the local header", "zip-local", onlyLocal({ method: 0 }));
refused("another CRC in the local header", "zip-local", onlyLocal({ crc: 0 }));
refused("another size in the local header", "zip-local", onlyLocal({ size: 5 }));
refused("another packed size in the local header", "zip-local", onlyLocal({ packed: 5 }));
refused("another name in the local header", "zip-local", onlyLocal({ name: "checkpoinT" }));
refused("a longer name in the local header", "zip-local", onlyLocal({ name: "checkpoint2" }));
refused("a shorter packed size in the central header", "zip-local", onlyCentral({ packed: 5 }));
refused("another offset in the central header", "zip-layout", onlyCentral({ offset: 0 }));
refused("an offset beyond the file", "zip-layout", onlyCentral({ offset: 0xfffffffe }));

const named = (name) => zip(changed(whole, (members) => void members.push({ name, content: "x" })));
for (const name of ["../evil", "a/../evil", "/etc/passwd", "./a", "a/.", "..", ".", "a//b", "a/", "a\\b", "C:a", "readme.TXT", "a b", "a\0b", "r\xe9sum\xe9", "~", "a".repeat(101)]) {
  refused(`a member named ${JSON.stringify(name)}`, "zip-name", named(name));
}
refused("a member without a name", "zip-name", named(""));
refused("a name of 65,535 bytes that is not there", "zip-name", onlyCentral({ nameBytes: 65_535 }));
refused("a name that reaches into the end record", "zip-central", zip(changed(whole, (members) => void (members[4].central = { nameBytes: 60 }))));
refused("a member twice", "zip-duplicate", zip(changed(whole, (members) => void members.push({ ...members[2] }))));
refused("a member twice, with other content", "zip-duplicate", zip(changed(whole, (members) => void members.push({ name: "policy", content: POLICIES.elsewhere }))));
refused("a member that the central headers hide", "zip-layout", zip(changed(whole, (members) => void members.splice(3, 0, { name: "policy", content: POLICIES.elsewhere, isHidden: true }))));
refused("central headers in another order", "zip-layout", pack(whole, {}, { order: [0, 1, 3, 2, 4] }));
refused("two central headers of one member", "zip-layout", zip(changed(whole, (members) => void (members[3].central = { offset: 0 }))));
refused("bytes between two members", "zip-layout", zip(changed(whole, { checkpoint: { after: "\0" } })));
refused("bytes before a member", "zip-layout", zip(changed(whole, { checkpoint: { before: "PK\x07\x08" } })));
refused("bytes before the first member", "zip-layout", zip(changed(whole, { "manifest.json": { before: "PK\0" } })));
refused("bytes between members and central headers", "zip-layout", pack(whole, {}, { gap: "\0" }));
refused("bytes behind the central headers", "zip-end", pack(whole, {}, { late: "\0" }));
refused("bytes behind the central headers that are counted among them", "zip-central", (() => {
  const size = parts(whole).reduce((sum, { name }) => sum + 46 + name.length, 0);
  return pack(whole, {}, { late: "\0", end: { bytes: size + 1 } });
})());
refused("data that reach into the central headers", "zip-local", zip(changed(whole, { "entries.jsonl": { central: { packed: 1 << 20 } } })));
refused("data that reach into the central headers, say both headers", "zip-layout", zip(changed(whole, { "entries.jsonl": { both: { packed: 1 << 20 } } })));

// --- ZIP: contents

const data = (name, member) => zip(changed(whole, { [name]: member }));
const zeros = Buffer.alloc(300_000);
refused("a bomb", "zip-limit", zip(changed(whole, (members) => void members.push({ name: "readme.txt", content: zeros, data: Buffer.alloc(1_000) }))));
refused("a bomb that says it is large", "zip-limit", data("policy", { both: { size: 0xfffffffe } }));
refused("a member of 64 MiB and a byte", "zip-limit", data("policy", { both: { size: 16 * 1024 * 1024 + 1 } }));
refused("a CRC that is wrong", "zip-crc", data("checkpoint", { both: { crc: 1 } }));
refused("a size one byte short", "zip-data", zip(changed(whole, { policy: { both: { size: Buffer.byteLength(POLICIES.alone) - 1 } } }, { manifest: (m) => (m.members[0].size -= 1, m) })));
refused("a size one byte long", "zip-data", zip(changed(whole, { policy: { both: { size: Buffer.byteLength(POLICIES.alone) + 1 } } }, { manifest: (m) => (m.members[0].size += 1, m) })));
refused("another size than the manifest says", "members", data("policy", { both: { size: Buffer.byteLength(POLICIES.alone) - 1 } }));
const packed = (name, change) => {
  const member = parts(whole).find((one) => one.name === name);
  const bytes = Buffer.from(zip([member]).subarray(30 + name.length));
  const length = zip([member]).readUInt32LE(18);
  return zip(changed(whole, { [name]: { data: change(Buffer.from(bytes.subarray(0, length))) } }));
};
refused("a byte behind the deflate stream", "zip-data", packed("policy", (stream) => Buffer.concat([stream, Buffer.of(0)])));
refused("a second deflate stream behind the first", "zip-data", packed("policy", (stream) => Buffer.concat([stream, stream])));
refused("a deflate stream that is cut off", "zip-data", packed("policy", (stream) => stream.subarray(0, stream.length - 1)));
refused("a deflate stream of no type", "zip-data", packed("policy", (stream) => Buffer.concat([Buffer.of(7), stream.subarray(1)])));
refused("a deflate stream that never says it is the last block", "zip-data", packed("policy", (stream) => Buffer.concat([Buffer.of(stream[0] & 0xfe), stream.subarray(1)])));
refused("no data at all", "zip-data", packed("policy", () => Buffer.alloc(0)));
refused("a wrong stream of the entries", "zip-data", packed("entries.jsonl", (stream) => Buffer.concat([stream.subarray(0, 500), Buffer.alloc(stream.length - 500, 0xff)])));
refused("a stored member with fewer bytes than its size", "zip-method", data("policy", { stored: true, data: Buffer.from(POLICIES.alone.slice(0, -1)) }));
refused("a stored member with more bytes than its size", "zip-method", data("policy", { stored: true, data: Buffer.from(`${POLICIES.alone}x`) }));
refused("a manifest that does not unpack", "zip-data", packed("manifest.json", (stream) => Buffer.concat([stream, Buffer.of(0)])));
refused("a manifest with a wrong CRC", "zip-crc", data("manifest.json", { both: { crc: 1 } }));
refused("a signature that does not unpack", "zip-data", packed("manifest.sig", (stream) => Buffer.concat([stream, Buffer.of(0)])));

// --- manifest

const manifest = (change) => pack(whole, { manifest: (value) => change(value) ?? value });
refused("the manifest is not first", "manifest", zip(changed(whole, (m) => [m[1], m[0], ...m.slice(2)])));
refused("the signature is not second", "manifest", zip(changed(whole, (m) => [m[0], m[2], m[1], ...m.slice(3)])));
const text = (change) => pack(whole, { manifestText: change(parts(whole)[0].content) });
refused("a manifest without its newline", "manifest", text((json) => json.trimEnd()));
refused("a manifest with two newlines", "manifest", text((json) => `${json}\n`));
refused("a manifest that is not canonical", "manifest", text((json) => json.replace('"format":', '"format": ')));
refused("a manifest with a member twice", "manifest", text((json) => json.replace('{"format":', '{"format":"tallystick/evidence/v1","format":')));
refused("a manifest with a byte order mark", "manifest", text((json) => `\ufeff${json}`));
refused("an empty manifest", "manifest", text(() => ""));
refused("a manifest that is a list", "manifest", text(() => "[]\n"));
for (const [title, change] of [
  ["with a member more", (m) => void (m.note = "")],
  ["without a policy", (m) => void delete m.policy],
  ["of another format", (m) => void (m.format = "tallystick/export/v1")],
  ["of version 0", (m) => void (m.format = "tallystick/evidence/v0")],
  ["of version 02", (m) => void (m.format = "tallystick/evidence/v02")],
  ["with a size that is a text", (m) => void (m.size = String(m.size))],
  ["with size 0", (m) => void (m.size = 0)],
  ["with a fraction for a size", (m) => void (m.size = 8.5)],
  ["with a root in base64", (m) => void (m.root = base64(m.root))],
  ["with a root in capitals", (m) => void (m.root = m.root.toUpperCase())],
  ["with members that are no list", (m) => void (m.members = {})],
  ["with a member of more members", (m) => void (m.members[0].note = 1)],
  ["with a member without its hash", (m) => void delete m.members[0].sha256],
  ["with a negative size", (m) => void (m.members[0].size = -1)],
  ["with a selection that is a list", (m) => void (m.selection = [])],
  ["without an origin", (m) => void (m.origin = null)],
]) refused(`a manifest ${title}`, "manifest", manifest(change));
newer("a manifest of version 2", manifest((m) => void (m.format = "tallystick/evidence/v2")));
newer("a manifest of version 10, all else unknown", text(() => '{"format":"tallystick/evidence/v10"}\n'));
add("entries: of version 2", pack(`${jcs({ ...whole[0], format: "tallystick/export/v2" })}\n`), "alone", ["file-malformed"], { stage: "header" });

refused("a member that the manifest does not list", "members", named("readme.txt"));
refused("a member that the manifest lists and the file lacks", "members", zip(changed(whole, (m) => void m.pop(), { more: [{ name: "readme.txt", content: "x" }] })));
refused("members in another order than the manifest", "members", zip(changed(whole, (m) => [m[0], m[1], m[3], m[2], m[4]])));
refused("members in another order, also in the manifest", "members", (() => {
  const swap = ([a, b, c]) => [b, a, c];
  const members = changed(whole, (m) => void m, { manifest: (m) => ({ ...m, members: swap(m.members) }) });
  return zip([...members.slice(0, 2), ...swap(members.slice(2))]);
})());
refused("a manifest that lists nothing", "members", manifest((m) => void (m.members = [])));
refused("a manifest that lists a member twice", "members", manifest((m) => void m.members.push(m.members[0])));
for (const name of ["key.pem", "manifest.json.bak", "anchors/0.txt", "anchors/1000.note", "anchors/01.note", "tiles/0/000", "consistency.json/x"]) {
  refused(`a member named ${name}, signed for`, "members", pack(whole, { more: [{ name, content: "x" }] }));
}
add("content of another hash than the manifest says", manifest((m) => void (m.members[0].sha256 = "ab".repeat(32))), "alone", [{ code: "member-mismatch", found: digest("sha256", POLICIES.alone) }], { stage: "A" });
add("another policy than was signed for", zip(changed(whole, { policy: { content: POLICIES.alone.replace("none", "nobe") } })), "alone", [{ code: "member-mismatch", found: digest("sha256", POLICIES.alone.replace("none", "nobe")) }], { stage: "A" });
{
  const swapped = textOf(whole).replace('"damaged"', '"as new!"');
  add("entries edited after the manifest was signed", zip(changed(whole, { "entries.jsonl": { content: swapped } })), "alone", [{ code: "member-mismatch", found: digest("sha256", swapped) }], { stage: "A" });
}
add("a policy of another hash than the manifest binds", manifest((m) => void (m.policy = "ab".repeat(32))), "alone", ["member-mismatch"]);
add("a manifest of another origin", manifest((m) => void (m.origin = "example.com/elsewhere")), "alone", ["member-mismatch"]);
add("a manifest of another size", manifest((m) => void (m.size = 7)), "alone", ["member-mismatch"]);
add("a manifest of another root", manifest((m) => void (m.root = "ab".repeat(32))), "alone", ["member-mismatch"]);
add("a manifest of another selection", manifest((m) => void (m.selection = { ...m.selection, first: 1 })), "alone", ["member-mismatch"]);
add("a manifest of another origin, size and selection", manifest((m) => void Object.assign(m, { origin: "", selection: {}, size: 9 })), "alone", ["member-mismatch", "member-mismatch", "member-mismatch"]);
add("another checkpoint beside than in the entries", pack(whole, { checkpoint: ledger.note([log]) }), "alone", ["member-mismatch"]);
add("a checkpoint beside that is none", pack(whole, { checkpoint: "" }), "alone", ["member-mismatch"]);

// --- signatures of the manifest

const resigned = (content) => zip(changed(whole, { "manifest.sig": { content } }));
const line = (key, text = parts(whole)[0].content) => signManifest(text, [key]);
add("a manifest edited after it was signed", (() => {
  const before = parts(whole)[1].content;
  return zip(changed(whole, { "manifest.sig": { content: before } }, { manifest: (m) => ({ ...m, selection: { ...m.selection, last: 6 } }) }));
})(), "alone", ["manifest-signature", "member-mismatch"]);
add("a manifest edited after it was signed, nothing pinned", (() => {
  const before = parts(whole)[1].content;
  return zip(changed(whole, { "manifest.sig": { content: before } }, { manifest: (m) => ({ ...m, size: 6 }) }));
})(), null, ["member-mismatch"]);
add("a manifest signed by a stranger", resigned(line(log3)), "alone", ["manifest-signature"]);
add("a manifest signed by a stranger and by the log", resigned(line(log3) + line(log)), "alone");
add("a manifest signed by the log for another manifest", resigned(line(log, "{}\n")), "alone", ["manifest-signature"]);
add("a manifest signed rightly, and once more wrongly", resigned(line(log) + line(log, "{}\n")), "alone", ["manifest-signature"]);
add("a manifest signed by a key of another ledger", resigned(line(elsewhere)), "alone", ["manifest-signature"]);
add("a manifest signed by the log key as if it were a witness", resigned(line(asWitness)), "alone", ["manifest-signature"]);
add("a manifest signed by a witness", resigned(line(w1)), "witnessed", ["manifest-signature"], W);
add("a manifest whose signature is a byte longer", resigned(log.line(Buffer.concat([log.sign("x"), Buffer.of(0)]))), "alone", ["manifest-signature"]);
add("a manifest under the signature of the checkpoint", resigned(note.split("\n")[4] + "\n"), "alone", ["manifest-signature"]);
for (const [title, content] of [
  ["empty", ""],
  ["without a newline", line(log).trimEnd()],
  ["with an empty line", `${line(log)}\n`],
  ["that begins with an empty line", `\n${line(log)}`],
  ["with a text above", `hello\n\n${line(log)}`],
  ["with a carriage return", line(log).replace("\n", "\r\n")],
  ["with a hyphen for the dash", line(log).replace("—", "-")],
  ["of 17 lines", line(log).repeat(17)],
  ["of 65,537 bytes", line(log) + `— x ${"A".repeat(65_537 - Buffer.byteLength(line(log)) - Buffer.byteLength("— x \n"))}\n`],
  ["that is no UTF-8", Buffer.from([0xe2, 0x80, 0x94, 0xff, 0x0a])],
  ["with base64 in another spelling", line(log).replace(/=+\n$/, "\n")],
]) refused(`a signature ${title}`, "manifest-signature", resigned(content));
add("a signature of 16 lines", resigned(line(log).repeat(16)), "alone");

// --- a whole package of somebody else

{
  const mine = new Forge(ORIGIN, [genesis({ logKeys: [log3.vkey] }), login("evt-1")]);
  const bytes = pack(mine.export({ note: mine.note([log3]) }), { signers: [log3], claim: POLICIES["another key"] });
  add("keys swapped everywhere", bytes, "alone", ["checkpoint-signature", "manifest-signature"]);
  add("keys swapped everywhere, believed if asked to", bytes, null, [], { self: true });
  const there = new Forge("example.com/elsewhere", [genesis({ logKeys: [elsewhere.vkey], origin: "example.com/elsewhere" })]);
  add("a package of another ledger", pack(there.export({ note: there.note([elsewhere]) }), { signers: [elsewhere] }), "alone", ["origin-mismatch", "manifest-signature"]);
}
add("under a policy with another key", pack(whole), "another key", ["checkpoint-signature", "manifest-signature"]);

// --- entries

const entries = (title, change, findings, more = {}) => {
  const copy = structuredClone(whole);
  add(`entries: ${title}`, pack(change(copy) ?? copy), "alone", findings, more);
};
entries("a value changed", (l) => void (l[3].event.actor = "bob"), [["commitment-mismatch", 2]]);
entries("a line left out", (l) => void l.splice(4, 1), [["entry-missing", 3]]);
entries("a line of junk", (l) => void l.splice(4, 1, { junk: true }), [["file-malformed", 3]]);
entries("junk behind the last line", (l) => void l.push({ junk: true }), [["file-malformed", 8]]);
entries("two lines swapped", (l) => void l.splice(3, 2, l[4], l[3]), [["entry-missing", 2], ["index-mismatch", 2], ["time-backwards", 2]]);
entries("another entry in the place of one", (l) => void (l[8] = new Forge(ORIGIN, [...rows.slice(0, 7), login("evt-x")]).line(7)), ["checkpoint-root"]);
entries("a last line without its newline", (l) => textOf(l).trimEnd(), [["file-malformed", 7]]);
add("entries: a header with a member more", pack(`${jcs({ ...whole[0], note: 1 })}\n`), "alone", ["file-malformed"], { stage: "header" });
add("entries: no header", pack("", { manifest: (m) => ({ ...m, origin: ORIGIN, root: "ab".repeat(32), selection: {}, size: 1 }) }), "alone", ["file-malformed"], { stage: "header" });
add("entries: a checkpoint with an extension line", pack([{ ...whole[0], checkpoint: note.replace("\n\n", "\nextension\n\n") }, ...whole.slice(1)]), "alone", ["checkpoint-malformed"], { stage: "header" });
add("entries: no header, and a manifest that a stranger signed", pack("", { signers: [log3], manifest: (m) => ({ ...m, origin: ORIGIN, policy: "ab".repeat(32), root: "ab".repeat(32), selection: {}, size: 1 }) }), "alone", ["file-malformed", "manifest-signature", "member-mismatch"], { stage: "header" });

// --- anchors

/** An OpenTimestamps proof that waits for a calendar. */
const pending = (stamped) => {
  const uri = Buffer.from("https://calendar.example");
  const attestation = Buffer.concat([Buffer.of(uri.length), uri]);
  return Buffer.concat([Buffer.from("004f70656e54696d657374616d7073000050726f6f6600bf89e2e884e892940108", "hex"), raw("sha256", stamped), Buffer.from("f010", "hex"), Buffer.alloc(16, 7), Buffer.from("080083dfe30d2ef90c8e", "hex"), Buffer.of(attestation.length), attestation]);
};
const recordOf = (kind, size, proofOf) => (made) => {
  const anchored = made.note([log], { size });
  const proof = proofOf(anchored);
  return control("ledger.anchor", { kind, note: digest("sha256", anchored), proof: digest("sha256", proof), root: treeHashOf(made.leaves.slice(0, size)), size });
};

const STAMPED_AT = timeAt(30);
const stamp = (stamped, at = STAMPED_AT, root = tsaRoot) => token({ stamped, time: at, root });
const anchored = new Forge(ORIGIN, [genesis(), login("evt-1"), login("evt-2"), recordOf("rfc3161", 3, (n) => stamp(n)), recordOf("opentimestamps", 3, pending), login("evt-5")]);
const anchoredNote = anchored.note([log]);
const anchoredLines = anchored.export({ note: anchoredNote });
const at3 = anchored.note([log], { size: 3 });
const proof3 = consistency(3, anchored.leaves);
const recordAt = (index, of = anchored) => ({ entry: of.entries[index].text, ...of.content(index), inclusion: inclusion(index, of.leaves) });
const PEM = [tsaRoot.pem];

/** Anchors `{kind, note, proof, consistency?, recorded?}` as members. */
function anchors(list, { index = (value) => value, headers, leave = [] } = {}) {
  const names = list.map(({ kind }, i) => [`anchors/${i}.note`, `anchors/${i}.${kind === "rfc3161" ? "tsr" : "ots"}`]);
  const value = index(list.map(({ kind, consistency: path = proof3, recorded = null }, i) => ({ consistency: path, kind, note: names[i][0], proof: names[i][1], recorded })));
  return [
    { name: "anchors/index.json", content: `${jcs(value)}\n` },
    ...list.flatMap(({ note: stamped, proof }, i) => [{ name: names[i][0], content: stamped }, { name: names[i][1], content: proof }]),
    ...(headers === undefined ? [] : [{ name: "anchors/headers", content: headers }]),
  ].filter(({ name }) => !leave.includes(name));
}
const rfc = (more = {}) => ({ kind: "rfc3161", note: at3, proof: stamp(at3), recorded: recordAt(3), ...more });
const ots = (more = {}) => ({ kind: "opentimestamps", note: at3, proof: pending(at3), recorded: recordAt(4), ...more });
const withAnchors = (list, options = {}) => pack(options.of ?? anchoredLines, { more: anchors(list, options) });
const T = { timed: true, tsaRoots: PEM };

add("anchors: a time stamp and a pending proof", withAnchors([rfc(), ots()]), "alone", [], T);
add("anchors: a time stamp of an authority that nobody pinned", withAnchors([rfc()]), "alone");
add("anchors: a time stamp of another authority than the pinned one", withAnchors([rfc()]), "alone", [], { tsaRoots: [tsaStranger.pem] });
add("anchors: a time stamp, nothing else pinned", withAnchors([rfc()]), null, [], { tsaRoots: PEM });
add("anchors: a time stamp, asked for", withAnchors([rfc()]), "alone", [], { ...T, requireAnchor: true });
add("anchors: a pending proof, where one that holds is asked for", withAnchors([ots()]), "alone", [], { tsaRoots: PEM, requireAnchor: true });
add("anchors: none, where one is asked for", pack(anchoredLines), "alone", [], { tsaRoots: PEM, requireAnchor: true });
add("anchors: of the checkpoint of the package itself, recorded nowhere", withAnchors([rfc({ note: anchoredNote, proof: stamp(anchoredNote), consistency: [], recorded: null })]), "alone", [], T);
add("anchors: of a slice", withAnchors([rfc()], { of: anchored.export({ note: anchoredNote, first: 4 }) }), "alone", [], { ...T, part: true });
add("anchors: headers for whoever has none", withAnchors([ots()], { headers: `# one\n\n0 ${"00".repeat(80)}\n` }), "alone");
add("anchors: headers without a line", withAnchors([ots()], { headers: "" }), "alone");
add("anchors: a token of another note", withAnchors([rfc({ proof: stamp(anchoredNote), recorded: null })]), "alone", ["anchor-mismatch"], { tsaRoots: PEM });
add("anchors: a pending proof of another note", withAnchors([ots({ proof: pending(anchoredNote), recorded: null })]), "alone", ["anchor-mismatch"]);
add("anchors: proof bytes that are none", withAnchors([rfc({ proof: Buffer.from("junk"), recorded: null }), ots({ proof: Buffer.from("junk"), recorded: null })]), "alone", ["anchor-invalid", "anchor-invalid"], { tsaRoots: PEM });
add("anchors: a token whose signature is wrong", withAnchors([rfc({ proof: (() => {
  const bytes = Buffer.from(stamp(at3));
  bytes[bytes.length - 1] ^= 1;
  return bytes;
})(), recorded: null })]), "alone", ["anchor-invalid"], { tsaRoots: PEM });
add("anchors: a note of another ledger", withAnchors([rfc({ note: ledger.note([elsewhere], { origin: "example.com/elsewhere" }), recorded: null })]), "alone", ["anchor-mismatch"], { tsaRoots: PEM });
add("anchors: a note that is none", withAnchors([rfc({ note: "hello", proof: stamp("hello"), recorded: null })]), "alone", ["anchor-mismatch"], { tsaRoots: PEM });
{
  const fork = anchored.note([log], { size: 3, root: "ab".repeat(32) });
  add("anchors: a note of another history", withAnchors([rfc({ note: fork, proof: stamp(fork), recorded: null })]), "alone", ["anchor-mismatch"], { tsaRoots: PEM });
  const larger = anchored.note([log], { size: 7, root: "ab".repeat(32) });
  add("anchors: a note of a larger tree", withAnchors([rfc({ note: larger, proof: stamp(larger), consistency: [], recorded: null })]), "alone", ["anchor-mismatch"], { tsaRoots: PEM });
  const strangers = anchored.note([log3], { size: 3 });
  add("anchors: a note that nobody known signed", withAnchors([rfc({ note: strangers, proof: stamp(strangers), recorded: null })]), "alone", ["checkpoint-signature"], { tsaRoots: PEM });
  add("anchors: a note that nobody known signed, nothing pinned", withAnchors([rfc({ note: strangers, proof: stamp(strangers), recorded: null })]), null, [], { tsaRoots: PEM });
}
add("anchors: the consistency proof of another size", withAnchors([rfc({ consistency: consistency(4, anchored.leaves) })]), "alone", ["anchor-mismatch"], { tsaRoots: PEM });
add("anchors: no consistency proof", withAnchors([rfc({ consistency: [] })]), "alone", ["anchor-mismatch"], { tsaRoots: PEM });
add("anchors: recorded by the event of another", withAnchors([rfc({ recorded: recordAt(4) })]), "alone", ["anchor-mismatch"], { tsaRoots: PEM });
add("anchors: recorded by an event that is none", withAnchors([rfc({ recorded: recordAt(0) })]), "alone", ["anchor-mismatch"], { tsaRoots: PEM });
add("anchors: recorded by an entry of another scheme", withAnchors([rfc({ recorded: recordAt(2) })]), "alone", ["anchor-mismatch"], { tsaRoots: PEM });
add("anchors: recorded, another proof", withAnchors([rfc({ proof: stamp(at3, timeAt(31)) })]), "alone", ["anchor-mismatch"], { tsaRoots: PEM });
add("anchors: recorded, the event changed", withAnchors([rfc({ recorded: (() => {
  const record = structuredClone(recordAt(3));
  record.event.payload.size = 2;
  return record;
})() })]), "alone", ["anchor-mismatch"], { tsaRoots: PEM });
add("anchors: recorded, the inclusion of another entry", withAnchors([rfc({ recorded: { ...recordAt(3), inclusion: inclusion(4, anchored.leaves) } })]), "alone", ["anchor-mismatch"], { tsaRoots: PEM });
add("anchors: recorded, an entry that is none", withAnchors([rfc({ recorded: { ...recordAt(3), entry: "{}" } })]), "alone", ["anchor-mismatch"], { tsaRoots: PEM });
{
  const back = new Forge(ORIGIN, [genesis(), login("evt-1"), { ...login("evt-2"), time: timeAt(400) }, { ...login("evt-3"), time: timeAt(400) }]);
  const at = back.note([log], { size: 3 });
  const bytes = (of) => pack(of, { more: anchors([rfc({ note: at, proof: stamp(at), consistency: consistency(3, back.leaves), recorded: null })]) });
  add("anchors: an entry that says it is later than its time stamp", bytes(back.export({ note: back.note([log]) })), "alone", [["time-after-evidence", 2]], { ...T });
  add("anchors: an entry that says it is later than its time stamp, not in the selection", bytes(back.export({ note: back.note([log]), first: 3 })), "alone", [], { ...T, part: true });
  const late = timeAt(1_000);
  const dated = new Forge(ORIGIN, [genesis(), login("evt-1"), recordOf("rfc3161", 2, (n) => stamp(n, late)), login("evt-3")]);
  const at2 = dated.note([log], { size: 2 });
  const early2 = { note: at2, proof: stamp(at2, late), consistency: consistency(2, dated.leaves), recorded: recordAt(2, dated) };
  add("anchors: an entry that says it is earlier than the time stamp that it records", pack(dated.export({ note: dated.note([log]) }), { more: anchors([rfc(early2)]) }), "alone", [["time-before-evidence", 2]], { ...T });
}
const badIndex = (title, list, options, reason = "anchors") => refused(`anchors: ${title}`, reason, withAnchors(list, options));
badIndex("no index", [rfc()], { leave: ["anchors/index.json"] });
badIndex("an index alone, of nothing", [], {});
badIndex("a note that is not there", [rfc()], { leave: ["anchors/0.note"] });
badIndex("a proof that is not there", [rfc()], { leave: ["anchors/0.tsr"] });
badIndex("members that the index leaves out", [rfc(), ots()], { index: (list) => list.slice(0, 1) });
badIndex("one note twice", [rfc(), ots()], { index: (list) => [list[0], { ...list[1], note: "anchors/0.note" }], leave: ["anchors/1.note"] });
badIndex("a note for a proof", [rfc()], { index: ([one]) => [{ ...one, proof: one.note, note: one.note }], leave: ["anchors/0.tsr"] });
badIndex("an unknown kind", [rfc()], { index: ([one]) => [{ ...one, kind: "blockchain" }] });
badIndex("a member more", [rfc()], { index: ([one]) => [{ ...one, url: "https://example.com" }] });
badIndex("no list", [rfc()], { index: ([one]) => one });
badIndex("a name outside", [rfc()], { index: ([one]) => [{ ...one, note: "policy" }], leave: ["anchors/0.note"] });
badIndex("recorded without a salt", [rfc()], { index: ([one]) => [{ ...one, recorded: { ...one.recorded, salt: "" } }] });
badIndex("headers that are none", [ots()], { headers: "0 00\n" }, "headers");
badIndex("headers without a newline at the end", [ots()], { headers: `0 ${"00".repeat(80)}` }, "headers");
badIndex("one height twice", [ots()], { headers: `0 ${"00".repeat(80)}\n`.repeat(2) }, "headers");
refused("anchors: headers without an index", "anchors", pack(anchoredLines, { more: [{ name: "anchors/headers", content: "" }] }));

const vectors = {
  source: "made by vectors/make-packages.mjs from the rules of spec/, without the library",
  note: "`policies` by name. Each case: a package (base64), what the reader brings along (policy by name, null: none; `selfAsserted`: the keys that the package names are believed; `expect`: a note that he holds; `tsaRoots`: PEM certificates that he pins; `requireAnchor`), and what a verifier answers: exit code, findings by code, leaf index where it is about an entry, and `found` where it stands there, status of each verdict; with `error` it reports nothing but this error.",
  policies: POLICIES,
  cases,
};
const file = new URL("packages.json", import.meta.url);
const output = `${JSON.stringify(vectors, null, 1)}\n`;
if (!process.argv.includes("--check")) writeFileSync(file, output);
else if (readFileSync(file, "utf8") !== output) throw new Error("packages.json is not what make-packages.mjs makes");
