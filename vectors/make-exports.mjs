// Makes exports.json: `node vectors/make-exports.mjs` (with --check: compares instead of writing).
//
// Honest and hostile exports by hand (forge.mjs), with what spec/export.md says of them. src/core/verify-export.test.ts holds
// the library to them, and so do the independent verifiers.
import { readFileSync, writeFileSync } from "node:fs";
import { Forge, inclusion, noteKey, rangeProof, textOf, timeAt } from "./forge.mjs";
import { addLog, alice, anchor, asWitness, author, bob, control, counting, elsewhere, erasure, genesis, hold, idGuard, log, log2, log3, login, mallory, ORIGIN, quantum, recovered, refund, release, revoke, revokeAuthor, rotate, rules, sealed, signed, signedId, w1, w2, w3, WITNESSED_AT } from "./forge-rows.mjs";

// --- policies

const AUTHOR = `#tallystick author ed25519 ${alice.spki.toString("base64")} "alice"`;
const policy = (...items) => `${items.join("\n")}\n`;
const ALONE = [`log ${log.vkey}`, "quorum none"];
const WITNESSED = [`log ${log.vkey}`, `witness w1 ${w1.vkey}`, "quorum w1"];
const GENESIS_LEAF = new Forge(ORIGIN, [genesis()]).leaves[0];
const POLICIES = {
  alone: policy(...ALONE),
  witnessed: policy(...WITNESSED, `#tallystick genesis ${GENESIS_LEAF}`),
  "two of three": policy(`log ${log.vkey}`, `witness w1 ${w1.vkey}`, `witness w2 ${w2.vkey}`, `witness w3 ${w3.vkey}`, "group most 2 w1 w2 w3", "quorum most"),
  "two operators": policy(`log ${log.vkey}`, `witness w1 ${w1.vkey}`, `witness w2 ${w2.vkey}`, `witness w3 ${w3.vkey}`, "group most 2 w1 w2 w3", "quorum most", "#tallystick operator acme w1 w2"),
  "another genesis": policy(...ALONE, `#tallystick genesis ${"ab".repeat(32)}`),
  "another key": policy(`log ${log3.vkey}`, "quorum none"),
  elsewhere: policy(`log ${elsewhere.vkey}`, "quorum none"),
  "second key": policy(`log ${log2.vkey}`, "quorum none"),
  "both keys": policy(`log ${log.vkey}`, `log ${log2.vkey}`, "quorum none", `#tallystick require-all ${log.vkey} ${log2.vkey}`),
  "keys by size": policy(`log ${log.vkey}`, `log ${log2.vkey}`, "quorum none", `#tallystick key ${log.vkey} 1 3`, `#tallystick key ${log2.vkey} 4 -`),
  hybrid: policy(`log ${log.vkey}`, `log ${quantum.vkey}`, "quorum none", `#tallystick require-all ${log.vkey} ${quantum.vkey}`),
  authors: policy(...ALONE, `${AUTHOR} 0 -`),
  "authors later": policy(...ALONE, `${AUTHOR} 3 3`),
  "authors required": policy(...ALONE, `${AUTHOR} 0 -`, "#tallystick require-signature"),
  "signatures required": policy(...ALONE, "#tallystick require-signature"),
};
const NAMES_QUORUM = new Set(["witnessed", "two of three", "two operators"]);

// --- expectations

const VERDICTS = ["integrity", "order", "authenticity", "completeness", "independence", "time"];
const FAILS = {
  integrity: "entry-malformed commitment-mismatch body-missing body-malformed body-after-erasure field-after-erasure erasure-void erased-under-hold control-body-missing control-scheme control-malformed id-repeated proof-invalid file-malformed",
  order: "index-mismatch previous-mismatch time-backwards",
  authenticity: "genesis-malformed genesis-mismatch origin-mismatch checkpoint-malformed checkpoint-signature key-event-invalid key-continuity-broken key-disowned author-signature author-unregistered signature-required rules-weakened",
  completeness: "entry-missing checkpoint-root after-seal source-gap source-repeated",
  time: "time-after-evidence",
};
const verdictOf = (code) => VERDICTS.find((name) => (FAILS[name] ?? "").split(" ").includes(code));

/** What a verifier answers. `open`: verdicts that are not established though a policy is pinned; `witnessed`: the quorum is reached; `undecided`: a line of a proved filter is open. */
function expected(findings, { pin, quorum, selection, open = [], witnessed = false, isForm = false }) {
  const established = (name) => (open.includes(name) ? "notEstablished" : "pass");
  const verdicts = isForm
    ? Object.fromEntries(VERDICTS.map((name) => [name, "notChecked"]))
    : {
        integrity: established("integrity"),
        order: "pass",
        authenticity: pin === "none" ? "notEstablished" : established("authenticity"),
        completeness: selection === "whole" ? "pass" : "notEstablished",
        independence: witnessed ? "pass" : "notEstablished",
        time: witnessed ? "pass" : "notEstablished",
      };
  for (const [code] of findings) verdicts[verdictOf(code)] = "fail";
  const isOpen = pin === "none" || selection !== "whole" || verdicts.integrity === "notEstablished" || verdicts.authenticity === "notEstablished";
  const exit = findings.length > 0 ? 1 : quorum && !witnessed ? 4 : isOpen ? 3 : 0;
  return { exit, findings, verdicts };
}

const cases = [];
/** `findings`: `code` or `[code, index]`; those about no entry have no index. */
function add(title, lines, name, findings = [], options = {}) {
  const pin = name === "self-asserted" ? name : name === null ? "none" : "policy";
  const header = typeof lines === "string" ? undefined : lines[0];
  const { first, last, kind } = header?.selection ?? {};
  const size = Number(header?.checkpoint?.split?.("\n")[1]);
  const selection = options.selection ?? (kind !== "filter" && first === 0 && last === size - 1 && options.undecided !== true ? "whole" : "part");
  const listed = findings.map((finding) => (typeof finding === "string" ? [finding] : finding));
  const answer = expected(listed, { pin, quorum: NAMES_QUORUM.has(name), selection, ...options });
  const pinned = pin === "policy" ? { policy: name } : { policy: null, ...(pin === "self-asserted" ? { selfAsserted: true } : {}) };
  cases.push({ title, ...pinned, export: typeof lines === "string" ? lines : textOf(lines), ...answer, findings: answer.findings.map(([code, index]) => (index === undefined ? { code } : { code, index })) });
}

/** Whole export of rows. */
function whole(rows, { signers = [log, [w1, WITNESSED_AT]], lines } = {}) {
  const ledger = new Forge(ORIGIN, rows);
  return ledger.export({ note: ledger.note(signers), ...(lines === undefined ? {} : { lines }) });
}
const W = { witnessed: true };

// --- honest

{
  const rows = [genesis(), author(), counting("evt-2", 1), refund("evt-3"), signed(refund("evt-4", { source: { counter: 2, id: "till-1" } })), hold("case-1", 3, 3), counting("evt-6", 3), erasure([6, { idGuard: idGuard("evt-6"), signedIds: [signedId(alice, "evt-6")] }]), release("case-1"), erasure([3, { fields: ["payload.reason"] }]), rotate(log, log2), login("evt-11"), anchor(5), { scheme: "event", event: { action: "ledger.access", actor: "auditor" } }];
  const ledger = new Forge(ORIGIN, rows);
  const kept = ["action", "actor", "id", "payload.amount"];
  const lines = { 3: { shown: kept }, 6: { erasedBy: 7 } };
  const note = ledger.note([log, log2, [w1, WITNESSED_AT]]);
  const all = ledger.export({ note, lines });
  add("a whole ledger", all, "witnessed", [], W);
  add("a whole ledger, nothing pinned", all, null);
  add("a whole ledger, its own keys believed", all, "self-asserted");
  add("a whole ledger, nobody outside", all, "alone");
  add("a whole ledger, too few witnesses", all, "two of three");
  add("a whole ledger, both log keys required", all, "both keys");
  add("a whole ledger, its author pinned", all, "authors");
  add("a whole ledger, fields withheld", ledger.export({ note, lines: { ...lines, 4: { shown: ["action", "actor", "id", "signatures", "source"] } } }), "witnessed", [], W);
  add("a whole ledger, actor withheld of a signed event", ledger.export({ note, lines: { ...lines, 4: { shown: ["action", "id", "signatures", "source"] } } }), "witnessed", [], W);
  add("a prefix", ledger.export({ note, last: 7, lines }), "witnessed", [], W);
  add("a prefix that ends before an erasure", ledger.export({ note, last: 6, lines }), "witnessed", [], { ...W, open: ["integrity"] });
  add("a slice", ledger.export({ note, first: 6, last: 9, lines }), "witnessed", [], W);
  add("a slice of one, erased elsewhere", ledger.export({ note, first: 6, last: 6, lines }), "witnessed", [], { ...W, open: ["integrity"] });
  add("a slice with a signature of a key that only the ledger knows", ledger.export({ note, first: 2, last: 4, lines }), "alone");
  add("a slice with a signature of a pinned key", ledger.export({ note, first: 4, last: 4 }), "authors required");
  add("a slice without a pinned key where one is required", ledger.export({ note, first: 4, last: 4 }), "signatures required", [], { open: ["authenticity"] });
  add("the last entry", ledger.export({ note, first: 13 }), "authors required");
  add("a filter", ledger.export({ note, only: [2, 4, 11] }), "witnessed", [], W);
  add("a filter that found nothing", ledger.export({ note, only: [] }), "witnessed", [], W);
  add("a filter over erased entries", ledger.export({ note, only: [3, 6, 7, 9], lines }), "witnessed", [], W);
  add("a filter without the erasure", ledger.export({ note, only: [3, 6], lines }), "witnessed", [], { ...W, open: ["integrity"] });
  add("a filter with bounds", ledger.export({ note, first: 3, last: 5, only: [3, 5], lines: { 3: lines[3] } }), "witnessed", [], W);
  const older = ledger.note([log, [w1, WITNESSED_AT]], { size: 6 });
  add("a checkpoint before the rest", ledger.export({ note: older, size: 6 }), "witnessed", [], W);

  // The same ledger, tampered with after it was signed.
  const damaged = (change) => {
    const copy = all.map((line) => structuredClone(line));
    return change(copy) ?? copy;
  };
  add("a value changed", damaged((l) => void (l[12].event.actor = "bob")), "witnessed", [["commitment-mismatch", 11]], W);
  add("a signed value changed", damaged((l) => void (l[3].event.actor = "bob")), "witnessed", [["author-unregistered", 2], ["commitment-mismatch", 2]], W);
  add("an outcome added to a signed event", damaged((l) => void (l[3].event.outcome = "ok")), "witnessed", [["author-signature", 2], ["commitment-mismatch", 2]], W);
  add("a control event changed, with no effect left", damaged((l) => void (l[8].event.payload.reason = "other")), "witnessed", [["body-missing", 6], ["commitment-mismatch", 7]], W);
  add("a registration changed, with no effect left", damaged((l) => void (l[2].event.payload.actor = "bob")), "witnessed", [["commitment-mismatch", 1], ["author-unregistered", 2], ["author-unregistered", 4]], W);
  add("a line left out", damaged((l) => void l.splice(12, 1)), "witnessed", [["entry-missing", 11]], W);
  add("three lines left out", damaged((l) => void l.splice(10, 3)), "witnessed", [["entry-missing", 9]], W);
  add("the last line left out", damaged((l) => void l.pop()), "witnessed", [["entry-missing", 13]], W);
  add("all lines left out", damaged((l) => void l.splice(1)), "witnessed", [["entry-missing", 0]], W);
  add("a line twice", damaged((l) => void l.splice(12, 0, l[12])), "witnessed", [["index-mismatch", 11], ["id-repeated", 11]], W);
  add("two lines swapped", damaged((l) => void l.splice(12, 2, l[13], l[12])), "witnessed", [["entry-missing", 11], ["index-mismatch", 11], ["time-backwards", 11]], W);
  add("an entry after the last", (() => {
    const longer = new Forge(ORIGIN, [...rows, login("evt-14")]);
    return [...all, longer.line(14)];
  })(), "witnessed", [["index-mismatch", 14]], W);
  add("the time of an entry changed", damaged((l) => void (l[12].entry = l[12].entry.replace(timeAt(11), timeAt(12)))), "witnessed", [["previous-mismatch", 12], "checkpoint-root"], W);
  add("an entry text that is none", damaged((l) => void (l[12].entry = l[12].entry.replace('"v":1', '"v":2'))), "witnessed", [["entry-malformed", 11]], W);
  add("a line with a member more", damaged((l) => void (l[12].note = 1)), "witnessed", [["file-malformed", 11]], W);
  add("the line of an erasure damaged: the erased body is unaccounted for", damaged((l) => void (l[8].salt = "zz")), "witnessed", [["file-malformed", 7]], { ...W, open: ["integrity"] });
  add("a control event without its body", damaged((l) => void l.splice(13, 1, { entry: l[13].entry, erasedBy: 13 })), "witnessed", [["control-body-missing", 12]], W);
  add("a body gone that nobody erased", damaged((l) => void l.splice(12, 1, { entry: l[12].entry, erasedBy: 12 })), "witnessed", [["body-missing", 11]], W);
  add("a body gone that another erasure is said to have erased", damaged((l) => void (l[7].erasedBy = 9)), "witnessed", [["body-missing", 6]], W);
  add("fields gone of which one is said to be the whole body", damaged((l) => void l.splice(4, 1, { entry: l[4].entry, erasedBy: 9 })), "witnessed", [["body-missing", 3]], W);
  add("an erased body that is still there", ledger.export({ note, lines: { 3: lines[3] } }), "witnessed", [["body-after-erasure", 6]], W);
  add("an erased field that is still there", ledger.export({ note, lines: { 6: lines[6] } }), "witnessed", [["field-after-erasure", 3]], W);
  add("a proof that a whole ledger does not need", damaged((l) => void l[0].proof.push("00".repeat(32))), "witnessed", ["checkpoint-root"], W);
  add("another genesis than pinned", all, "another genesis", [["genesis-mismatch", 0]]);
  add("signed by another key than pinned", all, "another key", ["checkpoint-signature"]);
  add("another origin than pinned", all, "elsewhere", ["origin-mismatch"]);
  add("a header of another origin", damaged((l) => void (l[0].origin = "example.com/elsewhere")), "witnessed", ["origin-mismatch"], W);
  add("a genesis in the header with another body", damaged((l) => void (l[0].genesis.event.payload.scheme = "fields")), "witnessed", [["genesis-malformed", 0]], W);
  add("a genesis in the header with another path", damaged((l) => void (l[0].genesis.inclusion = l[0].genesis.inclusion.slice(1))), "witnessed", [["proof-invalid", 0]], W);
  add("a genesis in the header that is entry 2", damaged((l) => void Object.assign(l[0].genesis, { entry: l[12].entry, event: l[12].event, salt: l[12].salt, inclusion: inclusion(11, ledger.leaves) })), "witnessed", [["genesis-malformed", 0], ["genesis-mismatch", 0], ["proof-invalid", 0]], W);
  const slice = ledger.export({ note, first: 11, last: 12 });
  const changed = (change) => {
    const copy = slice.map((line) => structuredClone(line));
    change(copy);
    return copy;
  };
  add("a slice one hash short", changed((l) => void l[0].proof.pop()), "alone", ["proof-invalid"]);
  add("a slice one hash long", changed((l) => void l[0].proof.push("00".repeat(32))), "alone", ["proof-invalid"]);
  add("a slice with another hash", changed((l) => void (l[0].proof[0] = "00".repeat(32))), "alone", ["proof-invalid"]);
  add("a slice at another place", changed((l) => void Object.assign(l[0], { selection: { first: 10, kind: "range", last: 11 }, proof: rangeProof(10, 11, ledger.leaves) })), "alone", [["entry-missing", 10], ["index-mismatch", 12]]);
  const filtered = ledger.export({ note, only: [2, 11] });
  const refiltered = (change) => {
    const copy = filtered.map((line) => structuredClone(line));
    change(copy);
    return copy;
  };
  add("a filter with another path", refiltered((l) => void (l[2].inclusion[0] = "00".repeat(32))), "alone", [["proof-invalid", 11]]);
  add("a filter with a path one hash short", refiltered((l) => void l[2].inclusion.pop()), "alone", [["proof-invalid", 11]]);
  add("a filter in disorder", refiltered((l) => void l.splice(1, 2, l[2], l[1])), "alone", [["index-mismatch", 2], ["time-backwards", 2]]);
  add("a filter with a line twice", refiltered((l) => void l.push(l[2])), "alone", [["id-repeated", 11], ["index-mismatch", 11]]);
  add("a filter with an entry beyond its bounds", refiltered((l) => void (l[0].selection.last = 10)), "alone", [["index-mismatch", 11]]);
  add("a filter with a line that is none", refiltered((l) => void l.splice(1, 1, "{}")), "alone", ["file-malformed"]);
  const entryElsewhere = new Forge(ORIGIN, [genesis(), login("evt-x")]);
  add("a filter with an entry of another ledger", [...filtered.slice(0, 2), { ...entryElsewhere.line(1), inclusion: inclusion(1, ledger.leaves) }], "alone", [["index-mismatch", 1], ["proof-invalid", 1], ["time-backwards", 1]]);

  // Form.
  const good = textOf(all);
  const form = (title, text, finding = "file-malformed") => add(title, text, "witnessed", [finding], { isForm: true });
  form("a header without its newline", textOf([all[0]]).slice(0, -1));
  form("a header with white space", good.replace('"format":', '"format": '));
  form("a header with a member more", damagedText(all, (header) => void (header.comment = "")));
  form("a header without proof", damagedText(all, (header) => void delete header.proof));
  form("a header with proof and a filter", damagedText(all, (header) => void (header.selection = { filter: {}, first: 0, kind: "filter", last: 13 })));
  form("a header of another kind", damagedText(all, (header) => void (header.selection.kind = "all")));
  form("a header of the format of receipts", damagedText(all, (header) => void (header.format = "tallystick/receipt/v1")));
  form("a header with a filter that is no object", damagedText(filtered, (header) => void (header.selection.filter = "all")));
  form("a header with too long a proof", damagedText(all, (header) => void (header.proof = Array.from({ length: 127 }, () => "00".repeat(32)))));
  form("a header with a genesis of more members", damagedText(all, (header) => void (header.genesis.names = [])));
  form("a header with a genesis that has no salt", damagedText(all, (header) => void delete header.genesis.salt));
  form("a selection that ends beyond the tree", damagedText(all, (header) => void (header.selection.last = 14)));
  form("a selection that ends before it begins", damagedText(all, (header) => void Object.assign(header.selection, { first: 5, last: 4 })));
  form("a selection of fractions", damagedText(all, (header) => void (header.selection.last = 12.5)));
  form("a checkpoint that is no note", damagedText(all, (header) => void (header.checkpoint = "example.com/audit\n")), "checkpoint-malformed");
  form("a checkpoint with an extension line", damagedText(all, (header) => void (header.checkpoint = header.checkpoint.replace("\n\n", "\nextension\n\n"))), "checkpoint-malformed");
  form("a checkpoint of size 0", damagedText(all, (header) => void (header.checkpoint = header.checkpoint.replace("\n14\n", "\n0\n"))), "checkpoint-malformed");
  const selection = "whole";
  add("a last line without its newline", good.slice(0, -1), "witnessed", [["file-malformed", 13]], { ...W, selection });
  add("an empty line at the end", `${good}\n`, "witnessed", [["file-malformed", 14]], { ...W, selection });
  add("a carriage return", good.replace(/\n$/, "\r\n"), "witnessed", [["file-malformed", 13]], { ...W, selection });
  add("a member twice in a line", good.replace(/\{"entry":(?=[^\n]*\n$)/, '{"entry":"","entry":'), "witnessed", [["file-malformed", 13]], { ...W, selection });
}

function damagedText(lines, change) {
  const copy = structuredClone(lines[0]);
  change(copy);
  return textOf([copy, ...lines.slice(1)]);
}

// --- filters that are proved

{
  const rows = [
    genesis(),
    login("evt-1"),
    refund("evt-2"),
    refund("evt-3", { actor: "bob" }),
    { scheme: "fields", event: { action: "order.refund.undone", actor: { id: "alice", name: "Alice" }, context: { requestId: "req-7", tags: ["a", "req-7"] }, id: "evt-4", payload: { amount: 1250, "a.b": { "c": [1, { "d.e": null }] }, list: [10, 20, [30]] }, targets: [{ id: "order-1" }, { id: "order-2" }], type: "refund@2" } },
    { scheme: "fields", event: { action: "user.login", context: { requestId: "req-7" }, id: "evt-5", outcome: "failure", payload: [1250, { amount: 1250 }] } },
    { scheme: "fields", event: { action: "note.added", id: "evt-6", payload: {} } },
    login("evt-7"),
    erasure([7]),
    { scheme: "fields", event: { action: "order.refund", id: "evt-9", payload: { amount: 1, "amount.x": 2, "": { "": 3, x: { "": { y: 4 } } } } } },
    refund("evt-10"),
    erasure([10, { fields: ["payload.amount"] }]),
  ];
  const ledger = new Forge(ORIGIN, rows);
  const note = ledger.note([log, [w1, WITNESSED_AT]]);
  const lines = { 7: { erasedBy: 8 }, 10: { shown: ["action", "actor", "id", "payload.reason"] } };
  // Counts of members, no members and open lines. A filter of which no line is open proves itself complete.
  const asked = (title, filter, [member, none, open], more = {}) => {
    const { lines: shown, findings = [], policy: name = "witnessed", ...rest } = more;
    add(`proved: ${title}`, ledger.export({ note, complete: filter, lines: { ...lines, ...shown } }), name, findings, { ...W, undecided: open > 0, ...rest });
    Object.assign(cases.at(-1), { members: [member, none, open] });
  };
  const nothing = (...indexes) => Object.fromEntries(indexes.map((index) => [index, { withheld: true }]));
  const bare = { shown: [] };
  asked("an action", { action: "user.login" }, [2, 9, 1]);
  asked("an action, as little shown as says so", { action: "order.refund" }, [4, 7, 1], { lines: { 2: { shown: ["action"] }, 5: { shown: ["action"] }, 6: { shown: ["action"] } } });
  asked("actions that begin alike", { action: "order.refund.*" }, [1, 10, 1]);
  asked("actions that begin alike, a shorter word is none of them", { action: "order.*" }, [5, 6, 1]);
  asked("times alone decide", { from: timeAt(2), to: timeAt(5) }, [3, 9, 0], { lines: nothing(1, 2, 3, 4, 5, 6, 9, 10) });
  asked("a time before all", { to: timeAt(0) }, [0, 12, 0], { lines: nothing(1, 2, 9) });
  asked("times decide for the erased", { action: "user.login", to: timeAt(7) }, [2, 10, 0]);
  asked("a body left out", { action: "user.login" }, [1, 9, 2], { lines: nothing(1) });
  asked("a body left out outside the times", { action: "user.login", from: timeAt(2), to: timeAt(7) }, [1, 11, 0], { lines: nothing(1) });
  asked("a type", { to: timeAt(7), type: "refund@2" }, [1, 11, 0], { lines: { 2: bare, 3: bare } });
  asked("an outcome", { outcome: "failure", to: timeAt(7) }, [1, 11, 0]);
  asked("an actor, written in two ways", { actor: "alice", to: timeAt(7) }, [3, 9, 0]);
  asked("an actor that is withheld", { actor: "alice", to: timeAt(7) }, [2, 9, 1], { lines: { 2: { shown: ["action"] } } });
  asked("two conditions, one withheld, one false", { action: "user.login", actor: "bob", to: timeAt(7) }, [0, 12, 0], { lines: { 3: { shown: ["action"] }, 2: { shown: ["action"] } } });
  asked("a target", { target: "order-2", to: timeAt(7) }, [1, 11, 0]);
  asked("a value of the context", { correlation: "req-7", to: timeAt(7) }, [2, 10, 0]);
  asked("a value of the context, one member of it withheld", { correlation: "req-7", to: timeAt(7) }, [1, 10, 1], { lines: { 4: { shown: ["action", "context.tags"] } } });
  asked("a value of the context that another member shows", { correlation: "req-7", to: timeAt(7) }, [2, 10, 0], { lines: { 4: { shown: ["action", "context.requestId"] } } });
  const where = (title, paths, members, more) => asked(`where ${title}`, { to: timeAt(7), where: paths }, members, more);
  const amount = { "payload.amount": 1250 };
  where("a field", amount, [3, 9, 0]);
  where("a field that is withheld", amount, [2, 9, 1], { lines: { 2: { shown: ["action"] } } });
  where("another value", { "payload.amount": "1250" }, [0, 12, 0]);
  where("a name with dots", { "payload.a.b.c.1.d.e": null }, [1, 11, 0]);
  where("an object, whole", { "payload.a.b": { c: [1, { "d.e": null }] } }, [1, 11, 0]);
  where("a position", { "payload.list.2.0": 30 }, [1, 11, 0]);
  where("a position with a leading zero", { "payload.list.02.0": 30 }, [0, 12, 0]);
  where("a length is no position", { "payload.list.length": 3 }, [0, 12, 0]);
  where("a position of a payload that is a list", { "payload.1.amount": 1250 }, [1, 11, 0]);
  where("a target's id", { "targets.0.id": "order-1" }, [1, 11, 0]);
  where("an actor's name", { "actor.name": "Alice" }, [1, 11, 0]);
  where("an inherited name", { "payload.toString": 1, "payload.constructor.name": "Object" }, [0, 12, 0]);
  asked("where names are empty", { where: { "payload..x..y": 4 } }, [1, 10, 1]);
  asked("where an empty name leads nowhere", { where: { "payload...y": 3 } }, [0, 11, 1]);
  asked("where a longer name begins with a shorter one", { from: timeAt(9), to: timeAt(10), where: { "payload.amount.x": 2 } }, [1, 11, 0]);
  asked("where the shorter one is withheld", { from: timeAt(9), to: timeAt(10), where: { "payload.amount.y": 2 } }, [0, 11, 1], { lines: { 9: { shown: ["action", "payload.amount.x"] } } });
  asked("where the longer one is withheld", { from: timeAt(9), to: timeAt(10), where: { "payload.amount": 2 } }, [0, 12, 0], { lines: { 9: { shown: ["action", "payload.amount"] } } });
  asked("where a field was erased", { from: timeAt(8), where: amount }, [0, 11, 1]);
  asked("a slice", { action: "order.refund" }, [2, 1, 0], { selection: "part" });
  Object.assign(cases.at(-1), { export: textOf(ledger.export({ note, first: 1, last: 3, complete: { action: "order.refund" } })) });
  asked("a policy that asks for signatures, bodies left out", { to: timeAt(0) }, [0, 12, 0], { policy: "signatures required", witnessed: false, open: ["authenticity"], lines: { ...nothing(1, 2, 3, 4, 5, 6, 9, 10) } });
  asked("nothing pinned", { to: timeAt(0) }, [0, 12, 0], { policy: null, witnessed: false });
  asked("the erasure of a line is not told", { to: timeAt(0) }, [0, 12, 0], { lines: { 7: { withheld: true } } });
  asked("a control event left out", { to: timeAt(0) }, [0, 12, 0], { lines: nothing(8), findings: [["body-missing", 7], ["control-body-missing", 8]] });

  const good = { action: "user.login" };
  const all = ledger.export({ note, complete: good, lines });
  const tampered = (title, change, findings, more = {}) => add(`proved: ${title}`, (() => {
    const copy = structuredClone(all);
    return change(copy) ?? copy;
  })(), "witnessed", findings, { ...W, undecided: true, ...more });
  tampered("a line left out", (l) => void l.splice(4, 1), [["entry-missing", 3]]);
  tampered("a value changed so that it is no member", (l) => void (l[2].event.action = "user.logout"), [["commitment-mismatch", 1]]);
  tampered("a body left out of a member in a kind of its own", (l) => void (l[2] = { entry: l[2].entry, withheld: true }), [["file-malformed", 1]]);
  tampered("a line with an inclusion proof", (l) => void (l[2].inclusion = []), [["file-malformed", 1]]);
  tampered("a proof of another range", (l) => void l[0].proof.push("00".repeat(32)), ["checkpoint-root"]);
  add("a body left out of a range", ledger.export({ note, lines: { ...lines, 1: { withheld: true } } }), "witnessed", [["file-malformed", 1]], W);
  const badFilter = (title, filter) => add(`a proved filter ${title}`, textOf(ledger.export({ note, complete: filter, lines })), "witnessed", ["file-malformed"], { isForm: true });
  badFilter("that asks for nothing", {});
  badFilter("with a condition of another kind", { text: "alice" });
  badFilter("that is a list", []);
  badFilter("with an action that is none", { action: "user login" });
  badFilter("with an action of a star", { action: "*" });
  badFilter("with an action of a dot and a star", { action: ".*" });
  badFilter("with a star inside", { action: "user.*.x" });
  badFilter("with an action too long", { action: "a".repeat(129) });
  badFilter("with a date for a time", { from: "2026-01-02" });
  badFilter("with a day that is none", { to: "2026-02-30T00:00:00.000Z" });
  badFilter("with a number for an actor", { actor: 7 });
  badFilter("with no paths", { where: {} });
  badFilter("with a list of paths", { where: [] });
  badFilter("with 33 paths", { where: Object.fromEntries(Array.from({ length: 33 }, (_, i) => [`payload.f${i}`, i])) });
  badFilter("with an empty path", { where: { "": 1 } });
  badFilter("with a path that ends in a dot", { where: { "payload.": 1 } });
  badFilter("with a path to a payload as a whole", { where: { payload: 1 } });
  badFilter("with a path to a context as a whole", { where: { context: 1 } });
  badFilter("with a path of 1025 bytes", { where: { [`payload.${"é".repeat(508)}x`]: 1 } });
  asked("paths of 1024 bytes", { to: timeAt(7), where: { [`payload.${"é".repeat(508)}`]: 1 } }, [0, 12, 0]);
}

// --- properly signed by an operator who breaks the rules

const rule = (title, rows, findings, { name = "alone", ...options } = {}) => add(title, whole(rows, options), name, findings, options);

rule("one entry", [genesis()], [], { name: "witnessed", ...W });
rule("a second genesis", [genesis(), genesis()], [["genesis-malformed", 1]]);
rule("no genesis", [login("evt-0"), login("evt-1")], [["genesis-malformed", 0], ["genesis-malformed", 0]]);
rule("a genesis of another ledger", [genesis({ origin: "example.com/elsewhere" })], [["genesis-malformed", 0]]);
rule("a genesis with a member too many", [genesis({ comment: "" })], [["genesis-malformed", 0], ["genesis-malformed", 0]]);
rule("a genesis without a usable key", [genesis({ logKeys: [elsewhere.vkey, "example.com/audit+00000000+AQ=="] })], [["genesis-malformed", 0]]);
rule("a genesis with a key of a later kind beside its own", [genesis({ logKeys: [log.vkey, "example.com/audit+00000000+CQ==", asWitness.vkey] })], []);
rule("a genesis with a predecessor", [{ ...genesis(), previous: "ab".repeat(32) }], [["genesis-malformed", 0], ["previous-mismatch", 0]]);
rule("an entry that commits with another hash", [genesis(), { ...login("evt-1"), hash: "sha512" }], [["commitment-mismatch", 1]]);
rule("a genesis that commits with another hash", [{ ...genesis(), hash: "sha3-256" }], [["genesis-malformed", 0]]);
rule("a link to no entry", [genesis(), { ...login("evt-1"), previous: "ab".repeat(32) }], [["previous-mismatch", 1]]);
rule("an entry before its predecessor", [genesis(), { ...login("evt-1"), time: timeAt(-1) }], [["time-backwards", 1]]);
rule("an entry 300 s after its witnesses", [genesis(), { ...login("evt-1"), time: timeAt(360) }], [], { name: "witnessed", ...W });
rule("an entry 300.001 s after its witnesses", [genesis(), { ...login("evt-1"), time: timeAt(360.001) }], [["time-after-evidence", 1]], { name: "witnessed", ...W });
rule("an entry at another index", [genesis(), { ...login("evt-1"), index: 2 }, login("evt-2")], [["entry-missing", 1], ["index-mismatch", 2]]);
rule("an event against the grammar", [genesis(), login("evt-1", { amount: 1 })], [["body-malformed", 1]]);
rule("an event without an action", [genesis(), { scheme: "event", event: { actor: "alice" } }], [["body-malformed", 1]]);
rule("a field against the grammar", [genesis(), refund("evt-1", { outcome: "not one word" })], [["body-malformed", 1]]);
rule("a control action under scheme event", [genesis(), { ...hold("case-1", 1, 1), scheme: "event" }], [["control-scheme", 1]]);
rule("a genesis under scheme event", [genesis(), { ...genesis(), scheme: "event" }], [["control-scheme", 1]]);
rule("an ordinary action under scheme control", [genesis(), { ...login("evt-1"), scheme: "control" }], [["control-scheme", 1]]);
rule("an ordinary action of the ledger under scheme control", [genesis(), { scheme: "control", event: { action: "ledger.access" } }], [["control-scheme", 1]]);
rule("a control event with a member too many", [genesis(), { scheme: "control", event: { ...hold("case-1", 1, 1).event, id: "evt-1" } }], [["control-malformed", 1]]);
rule("a control event with a malformed actor", [genesis(), { scheme: "control", event: { ...hold("case-1", 1, 1).event, actor: 7 } }], [["body-malformed", 1]]);
rule("a hold that ends before it begins", [genesis(), hold("case-1", 2, 1)], [["control-malformed", 1]]);
rule("an id twice", [genesis(), login("evt-1"), login("evt-1")], [["id-repeated", 2]]);
rule("an id twice, in two schemes", [genesis(), refund("evt-1"), login("evt-1")], [["id-repeated", 2]]);
rule("an id twice, withheld once", [genesis(), refund("evt-1"), login("evt-1")], [], { lines: { 1: { shown: ["action"] } } });
rule("an anchor beyond its index", [genesis(), anchor(2)], [["control-malformed", 1]]);
rule("an anchor up to its index", [genesis(), anchor(1)], []);
rule("an entry after the seal", [genesis(), sealed, login("evt-2"), login("evt-3")], [["after-seal", 2]]);
rule("a seal at the end", [genesis(), sealed], []);

// Erasures.
rule("an erasure of what comes later", [genesis(), erasure([2]), login("evt-2")], [["erasure-void", 1]]);
rule("an erasure of itself", [genesis(), erasure([1])], [["erasure-void", 1]]);
rule("an erasure of a control event", [genesis(), erasure([0])], [["erasure-void", 0]]);
rule("an erasure by another leaf hash", [genesis(), login("evt-1"), erasure([1, { leaf: "ab".repeat(32) }])], [["erasure-void", 1]]);
rule("an erasure by another leaf hash has no effect", [genesis(), login("evt-1"), erasure([1, { leaf: "ab".repeat(32) }])], [["body-missing", 1], ["erasure-void", 1]], { lines: { 1: { erasedBy: 2 } } });
rule("a void erasure does not spoil a good one", [genesis(), login("evt-1"), erasure([1, { leaf: "ab".repeat(32) }]), erasure([1])], [["erasure-void", 1]], { lines: { 1: { erasedBy: 3 } } });
rule("an erasure of fields in scheme event", [genesis(), login("evt-1"), erasure([1, { fields: ["actor"] }])], [["erasure-void", 1]]);
rule("an erasure of a field that is not there", [genesis(), refund("evt-1"), erasure([1, { fields: ["actor", "payload.name"] }])], [["erasure-void", 1]]);
rule("an item that is void leaves the others", [genesis(), refund("evt-1"), login("evt-2"), erasure([1, { fields: ["payload.name"] }], [2])], [["erasure-void", 1]], { lines: { 2: { erasedBy: 3 } } });
rule("an erasure twice", [genesis(), refund("evt-1"), erasure([1, { fields: ["payload.reason"] }]), erasure([1])], [], { lines: { 1: { erasedBy: 3 } } });
rule("an erasure under hold", [genesis(), login("evt-1"), hold("case-1", 1, 5), erasure([1])], [["erased-under-hold", 1]], { lines: { 1: { erasedBy: 3 } } });
rule("an erasure after the hold", [genesis(), login("evt-1"), hold("case-1", 1, 5), release("case-1"), erasure([1])], [], { lines: { 1: { erasedBy: 4 } } });
rule("an erasure beside the hold", [genesis(), login("evt-1"), hold("case-1", 2, 5), erasure([1])], [], { lines: { 1: { erasedBy: 3 } } });
rule("a hold under a name that was used", [genesis(), hold("case-1", 1, 1), release("case-1"), hold("case-1", 1, 1)], [["control-malformed", 3]]);
rule("a release of no hold", [genesis(), release("case-1")], [["control-malformed", 1]]);
rule("a release twice", [genesis(), hold("case-1", 1, 1), release("case-1"), release("case-1")], [["control-malformed", 3]]);
{
  const rows = [genesis(), author(), signed(login("evt-2")), erasure([2, { signedIds: [signedId(alice, "evt-2")] }]), (ledger) => ({ scheme: "event", event: ledger.entries[2].event })];
  rule("the replay of an erased signed event", rows, [["id-repeated", 4]], { lines: { 2: { erasedBy: 3 } } });
  const shown = [...rows.slice(0, 3), login("evt-3"), erasure([2], [3, { signedIds: [signedId(alice, "evt-2")] }])];
  rule("a signed event of which another erasure keeps the id", shown, [["body-after-erasure", 2], ["id-repeated", 2]], { lines: { 3: { erasedBy: 4 } } });
  const voided = [...rows.slice(0, 3), login("evt-3"), erasure([3, { leaf: "ab".repeat(32), signedIds: [signedId(alice, "evt-2")] }])];
  rule("a signed event of which a void erasure keeps the id", voided, [["erasure-void", 3]]);
  const digests = { signedIds: [signedId(alice, "evt-2")] };
  const both = [...rows.slice(0, 3), login("evt-3"), login("evt-4"), erasure([3, { leaf: "ab".repeat(32), ...digests }], [4, digests])];
  rule("a signed event of which a void item and a good one keep the id", both, [["id-repeated", 2], ["erasure-void", 3]], { lines: { 4: { erasedBy: 5 } } });
}

// Keys.
rule("an added log key that signs", [genesis(), addLog(log2, [log, log2])], [], { name: "second key", signers: [log2] });
rule("a log key added by itself", [genesis(), addLog(log2, [log2])], [["key-event-invalid", 1]]);
rule("a log key added without its own signature", [genesis(), addLog(log2, [log])], [["key-event-invalid", 1]]);
rule("a log key of another name", [genesis(), addLog(elsewhere, [log, elsewhere])], [["key-event-invalid", 1]]);
rule("a witness key as log key", [genesis(), addLog(asWitness, [log, asWitness])], [["key-event-invalid", 1]]);
rule("an ML-DSA-44 key beside", [genesis(), addLog(quantum, [log, quantum])], [], { name: "hybrid", signers: [log, [quantum, 0]] });
rule("an ML-DSA-44 key that did not sign", [genesis(), addLog(quantum, [log, quantum])], ["checkpoint-signature"], { name: "hybrid" });
rule("a rotation", [genesis(), login("evt-1"), rotate(log, log2), login("evt-3")], [], { name: "second key", signers: [log2] });
rule("a rotation, keys bounded by size", [genesis(), login("evt-1"), rotate(log, log2), login("evt-3")], [], { name: "keys by size", signers: [log2] });
rule("a checkpoint by the key that was rotated away, bounded by size", [genesis(), login("evt-1"), rotate(log, log2), login("evt-3")], ["checkpoint-signature"], { name: "keys by size", signers: [log] });
rule("a rotation that the old key did not sign", [genesis(), rotate(log, log2, [log2])], [["key-event-invalid", 1]]);
rule("a rotation that the old key did not sign, nothing pinned", [genesis(), rotate(log, log2, [log2])], [], { name: null });
rule("a rotation that the new key did not sign", [genesis(), rotate(log, log2, [log])], [["key-event-invalid", 1]]);
rule("a rotation of a key that is not in force", [genesis(), rotate(log2, log3)], [["key-event-invalid", 1]]);
rule("a rotation twice", [genesis(), rotate(log, log2), rotate(log, log3)], [["key-event-invalid", 2]]);
rule("a rotation signed for another place", [genesis(), (ledger) => new Forge(ORIGIN, [genesis(), login("evt-1")]).keyEvent("ledger.key.rotated", { new: log2.vkey, old: log.vkey, role: "log" }, [log, log2])], [["key-event-invalid", 1]]);
rule("a revocation that does not reach the checkpoint", [genesis(), addLog(log2, [log, log2]), revoke(log, 3, [log2])], []);
rule("a checkpoint by a revoked key", [genesis(), addLog(log2, [log, log2]), revoke(log, 2, [log2])], ["key-disowned"]);
rule("a checkpoint by a revoked key, the smallest size counts", [genesis(), addLog(log2, [log, log2]), revoke(log, 2, [log2]), revoke(log, 9, [log2])], ["key-disowned"]);
rule("a checkpoint by a revoked key and another", [genesis(), addLog(log2, [log, log2]), revoke(log, 2, [log2])], [], { name: "both keys", signers: [log, log2] });
rule("a revocation by the revoked key", [genesis(), addLog(log2, [log, log2]), revoke(log, 9, [log])], []);
rule("a revocation by nobody", [genesis(), addLog(log2, [log, log2]), revoke(log, 9, [])], [["key-event-invalid", 2]]);
rule("a key event by a key that was revoked", [genesis(), addLog(log2, [log, log2]), revoke(log, 9, [log2]), addLog(log3, [log, log3])], [["key-event-invalid", 3]]);
rule("a recovery with the old key", [genesis(), recovered([log2], [log, log2])], [], { name: "second key", signers: [log2] });
rule("a recovery without the old key", [genesis(), recovered([log2], [log2])], [["key-continuity-broken", 1]]);
rule("a recovery without the old key, pinned anew", [genesis(), recovered([log2], [log2])], [], { name: "second key", signers: [log2] });
rule("a recovery that its key did not sign", [genesis(), recovered([log2], [log])], [["key-event-invalid", 1]]);
rule("a recovery of the lock store alone", [genesis(), recovered([log], [log])], []);
rule("a key event by a key that a recovery replaced", [genesis(), recovered([log2], [log, log2]), addLog(log3, [log, log3])], [["key-event-invalid", 2]], { name: "second key", signers: [log2] });
rule("key events that nobody signed, nothing pinned", [genesis(), rotate(log, log2, [])], [], { name: null });

// Rules.
rule("rules that ask for signatures, one missing", [genesis({ rules: { requireSignature: true } }), author(), signed(login("evt-2")), login("evt-3")], [["signature-required", 3]]);
rule("rules that ask for signatures, changed later", [genesis(), login("evt-1"), author(), rules(true), signed(login("evt-4"))], []);
rule("rules that ask for signatures from the next entry on", [genesis(), rules(true), login("evt-2")], [["signature-required", 2]]);
rule("rules that ask for signatures, nothing pinned", [genesis(), rules(true), login("evt-2")], [["signature-required", 2]], { name: null });
rule("an action of the ledger needs none", [genesis({ rules: { requireSignature: true } }), { scheme: "event", event: { action: "ledger.access" } }], []);
rule("an action that only sounds like one needs one", [genesis({ rules: { requireSignature: true } }), { scheme: "event", event: { action: "ledgers.access" } }], [["signature-required", 1]]);
rule("an erased body needs none", [genesis({ rules: { requireSignature: true } }), author(), signed(login("evt-2")), erasure([2])], [], { lines: { 2: { erasedBy: 3 } } });
rule("a withheld action may need one", [genesis({ rules: { requireSignature: true } }), author(), refund("evt-2")], [], { lines: { 2: { shown: ["id"] } }, open: ["authenticity"] });
rule("a withheld signature", [genesis({ rules: { requireSignature: true } }), author(), signed(refund("evt-2"))], [], { lines: { 2: { shown: ["action", "actor", "id"] } }, open: ["authenticity"] });
rule("a withheld action, signed", [genesis({ rules: { requireSignature: true } }), author(), signed(refund("evt-2"))], [], { lines: { 2: { shown: ["actor", "id", "signatures"] } } });
rule("weakened rules", [genesis({ rules: { requireSignature: true } }), rules(false)], [["rules-weakened", 1]], { name: "authors required" });
rule("weakened rules, which the policy allows", [genesis({ rules: { requireSignature: true } }), rules(false)], []);
rule("weakened rules, nothing pinned", [genesis({ rules: { requireSignature: true } }), rules(false)], [["rules-weakened", 1]], { name: null });
rule("weakened rules, the ledger's own keys believed", [genesis({ rules: { requireSignature: true } }), rules(false)], [["rules-weakened", 1]], { name: "self-asserted" });
rule("rules changed to what they were", [genesis(), rules(false)], [], { name: "authors required" });
rule("signatures required by the policy alone", [genesis(), author(), signed(login("evt-2")), login("evt-3")], [["signature-required", 3]], { name: "signatures required" });

// Authors.
rule("a registration that the author did not sign", [genesis(), author(alice, "alice", [log]), signed(login("evt-2"))], [["key-event-invalid", 1], ["author-unregistered", 2]]);
rule("a registration that no log key signed", [genesis(), author(alice, "alice", [alice]), signed(login("evt-2"))], [["key-event-invalid", 1], ["author-unregistered", 2]]);
rule("a registration twice", [genesis(), author(), author()], [["key-event-invalid", 2]]);
rule("a registration of a log key", [genesis(), author(log, "alice", [log])], [["key-event-invalid", 1]]);
rule("a log key that is an author's", [genesis(), author(), addLog(noteKey(ORIGIN, 1, alice), [log, alice])], [["key-event-invalid", 2]]);
rule("a registration of bytes that are no key", [genesis(), (ledger) => ledger.keyEvent("ledger.key.added", { actor: "alice", algorithm: "ed25519", role: "author", spki: "AAAA" }, [log])], [["key-event-invalid", 1]]);
rule("a registration under another algorithm", [genesis(), (ledger) => ledger.keyEvent("ledger.key.added", { actor: "alice", algorithm: "ecdsa-p256", role: "author", spki: alice.spki.toString("base64") }, [log, alice])], [["key-event-invalid", 1]]);
rule("a signature before the registration", [genesis(), signed(login("evt-1")), author()], [["author-unregistered", 1]]);
rule("a signature after the revocation", [genesis(), author(), revokeAuthor(alice), signed(login("evt-3"))], [["author-unregistered", 3]]);
rule("a signature before the revocation", [genesis(), author(), signed(login("evt-2")), revokeAuthor(alice)], []);
rule("a revocation of nobody", [genesis(), revokeAuthor(bob)], [["key-event-invalid", 1]]);
rule("a signature of another actor's key", [genesis(), author(bob, "bob"), signed(login("evt-2"), bob)], [["author-unregistered", 2]]);
rule("a signature of an unknown key", [genesis(), signed(login("evt-1"), mallory)], [["author-unregistered", 1]]);
rule("a signature of an unknown key, nothing pinned", [genesis(), signed(login("evt-1"), mallory)], [], { name: null });
rule("a signature of a pinned key that the ledger does not know", [genesis(), signed(login("evt-1"))], [], { name: "authors" });
rule("a signature of a pinned key at another index", [genesis(), signed(login("evt-1"))], [["author-unregistered", 1]], { name: "authors later" });
rule("a signature of no actor", [genesis(), author(), signed({ scheme: "event", event: { action: "user.login", id: "evt-2" } })], [["author-unregistered", 2]]);
rule("a signed event without an id", [genesis(), author(), signed({ scheme: "event", event: { action: "user.login", actor: "alice" } })], [["author-signature", 2]]);
rule("a signed event changed before it was committed", [genesis(), author(), { ...signed(login("evt-2")), damaged: { outcome: "success" } }], [["author-signature", 2]]);
rule("a signed event in scheme fields", [genesis(), author(), signed(refund("evt-2"))], []);
rule("a signed event in scheme fields, its id withheld", [genesis(), author(), signed(refund("evt-2"))], [], { lines: { 2: { shown: ["action", "actor", "signatures"] } } });
rule("two signatures, one of an unknown key", [genesis(), author(), { ...login("evt-2"), sign: [alice, mallory] }], [["author-unregistered", 2]]);
rule("an actor that is an object", [genesis(), author(), signed(login("evt-2", { actor: { id: "alice", name: "Alice" } }))], []);

// Counters of signed sources.
rule("counters in order, from any first", [genesis(), author(), counting("a", 7), counting("b", 8), counting("c", 9)], []);
rule("a counter left out", [genesis(), author(), counting("a", 1), counting("b", 3), counting("c", 4)], [["source-gap", 3]]);
rule("a counter twice", [genesis(), author(), counting("a", 1), counting("b", 1), counting("c", 2)], [["source-repeated", 3]]);
rule("counters of two sources", [genesis(), author(), counting("a", 1), counting("b", 5, { source: { counter: 5, id: "till-2" } }), counting("c", 2)], []);
rule("counters that nobody signed", [genesis(), login("a", { source: { counter: 1, id: "till-1" } }), login("b", { source: { counter: 5, id: "till-1" } })], []);
rule("an erased counter", [genesis(), author(), counting("a", 1), counting("b", 2), counting("c", 3), erasure([3])], [["source-gap", 4]], { lines: { 3: { erasedBy: 5 } } });
{
  const ledger = new Forge(ORIGIN, [genesis(), author(), counting("a", 1), counting("b", 3)]);
  add("a counter left out of a part", ledger.export({ note: ledger.note([log]), last: 2 }), "alone");
}

// Witnesses.
{
  const rows = [genesis(), login("evt-1")];
  const name = "two of three";
  const at = WITNESSED_AT;
  rule("a quorum of two", rows, [], { name, signers: [log, [w1, at], [w2, at + 9]], ...W });
  rule("a quorum of two, one by ML-DSA-44", rows, [], { name, signers: [log, [w1, at], [w3, at]], ...W });
  rule("one witness of two", rows, [], { name, signers: [log, [w2, at]] });
  rule("a witness that states no time", rows, [], { name, signers: [log, [w1, at], [w2, 0]] });
  rule("a witness by ML-DSA-44 that states no time", rows, [], { name, signers: [log, [w1, at], [w3, 0]] });
  rule("the same witness twice", rows, [], { name, signers: [log, [w1, at], [w1, at + 1]] });
  rule("witnesses but no log", rows, ["checkpoint-signature"], { name, signers: [[w1, at], [w2, at]] });
  rule("two witnesses of one operator", rows, [], { name: "two operators", signers: [log, [w1, at], [w2, at]] });
  rule("two operators", rows, [], { name: "two operators", signers: [log, [w1, at], [w2, at], [w3, at]], ...W });
  const ledger = new Forge(ORIGIN, rows);
  const stranger = ledger.note([log]).replace("\n\n", "\n\n— stranger AAAAAAA=\n");
  add("a line of an unknown key", ledger.export({ note: stranger }), "alone");
  add("a witness line that does not verify", ledger.export({ note: cutLast(ledger.note([log, [w1, at], [w2, at]])) }), name, ["checkpoint-signature"]);
}

/** The note with the last byte of its last signature changed. */
function cutLast(note) {
  const lines = note.trimEnd().split("\n");
  const [dash, name, text] = lines.at(-1).split(" ");
  const payload = Buffer.from(text, "base64");
  payload[payload.length - 1] ^= 1;
  return `${[...lines.slice(0, -1), [dash, name, payload.toString("base64")].join(" ")].join("\n")}\n`;
}

const vectors = {
  source: "made by vectors/make-exports.mjs from the rules of spec/, without the library",
  note: "`policies` by name. Each case: an export, the policy that is pinned (null: none; `selfAsserted`: the keys that the export names are believed), and what a verifier answers: exit code, findings by code and leaf index (of `erasure-void` the entry that is named, where it is there), status of each verdict.",
  policies: POLICIES,
  cases,
};
const file = new URL("exports.json", import.meta.url);
const output = `${JSON.stringify(vectors, null, 1)}\n`;
if (!process.argv.includes("--check")) writeFileSync(file, output);
else if (readFileSync(file, "utf8") !== output) throw new Error("exports.json is not what make-exports.mjs makes");
