// Makes checkpoints.json: `node vectors/make-checkpoints.mjs`.
//
// By hand (forge.mjs), without the library. src/core/verify-checkpoint.test.ts holds the library to them, and
// verifier/test_verify.py and test/verifier/verify-html.test.ts the independent verifiers.
import { readFileSync, writeFileSync } from "node:fs";
import { bytes, digest, keyOf, noteKey, signLine } from "./forge.mjs";

const ORIGIN = "example.com/audit";
const STRANGER = "example.com/stranger";
const log = noteKey(ORIGIN, 1, keyOf("log"));
const otherLog = noteKey(ORIGIN, 1, keyOf("other log"));
const stranger = noteKey(STRANGER, 1, keyOf("stranger"));
const w1 = noteKey("witness.example/1", 4, keyOf("witness 1"));
const w2 = noteKey("witness.example/2", 4, keyOf("witness 2"));
// 2026-01-02T03:05:00Z
const WITNESSED_AT = 1767323100;

const POLICIES = {
  alone: `log ${log.vkey}\nquorum none\n`,
  witnessed: `log ${log.vkey}\nwitness w1 ${w1.vkey}\nquorum w1\n`,
  "two witnesses": `log ${log.vkey}\nwitness w1 ${w1.vkey}\nwitness w2 ${w2.vkey}\ngroup both all w1 w2\nquorum both\n`,
  genesis: `log ${log.vkey}\nquorum none\n#tallystick genesis ${"ab".repeat(32)}\n`,
  "authors required": `log ${log.vkey}\nquorum none\n#tallystick require-signature\n`,
  "another log key": `log ${otherLog.vkey}\nquorum none\n`,
  "both keys": `log ${log.vkey}\nlog ${otherLog.vkey}\nquorum none\n#tallystick require-all ${log.vkey} ${otherLog.vkey}\n`,
  "key of smaller sizes": `log ${log.vkey}\nlog ${otherLog.vkey}\nquorum none\n#tallystick key ${log.vkey} 1 4\n#tallystick key ${otherLog.vkey} 5 -\n`,
  stranger: `log ${stranger.vkey}\nquorum none\n`,
};

const rootOf = (name) => bytes(digest("sha256", name)).toString("base64");
const textOf = ({ origin = ORIGIN, size = 5, root = rootOf("tree") } = {}) => `${origin}\n${size}\n${root}\n`;
const noteOf = (text, ...lines) => `${text}\n${lines.join("")}`;
const signed = (text, ...more) => noteOf(text, signLine(log, text), ...more);
const TEXT = textOf();
const seen = (witness, time = WITNESSED_AT) => signLine(witness, TEXT, time);
const NOTE = signed(TEXT, seen(w1));
const UNSEEN = signed(TEXT);

const cases = [];
const VERDICTS = { integrity: "notChecked", order: "notChecked", authenticity: "pass", completeness: "notChecked", independence: "notEstablished", time: "notEstablished" };
const WITNESSED = { independence: "pass", time: "pass" };

/** `exit` 0 and no finding where nothing else is said. */
function add(title, checkpoint, policy, { exit = 0, findings = [], held = null, verdicts = {} } = {}) {
  cases.push({ title, policy, checkpoint, held, exit, findings, verdicts: { ...VERDICTS, ...verdicts } });
}

add("a checkpoint with the quorum", NOTE, "witnessed", { verdicts: WITNESSED });
add("a checkpoint without a policy", NOTE, null, { exit: 3, verdicts: { authenticity: "notEstablished" } });
add("a checkpoint without witnesses, none asked for", UNSEEN, "alone");
add("a cosignature that nobody asked for", NOTE, "alone");
add("a missing quorum", UNSEEN, "witnessed", { exit: 4 });
add("half a quorum", NOTE, "two witnesses", { exit: 4 });
add("the whole of it", signed(TEXT, seen(w1), seen(w2)), "two witnesses", { verdicts: WITNESSED });
add("a cosignature of time 0", signed(TEXT, seen(w1, 0)), "witnessed", { exit: 4 });
add("a genesis that no entry shows", UNSEEN, "genesis");
add("author signatures are not asked of a checkpoint", UNSEEN, "authors required");
add("a line of an unknown key", signed(TEXT, signLine(stranger, TEXT)), "alone");

const refused = { exit: 1, verdicts: { authenticity: "fail" } };
add("another log key", UNSEEN, "another log key", { ...refused, findings: ["checkpoint-signature"] });
add("one of two keys that must sign", UNSEEN, "both keys", { ...refused, findings: ["checkpoint-signature"] });
add("both of them", signed(TEXT, signLine(otherLog, TEXT)), "both keys");
add("a key beyond its sizes", UNSEEN, "key of smaller sizes", { ...refused, findings: ["checkpoint-signature"] });
add("a key within its sizes", signed(textOf({ size: 4 })), "key of smaller sizes");
add("another ledger than the policy's", UNSEEN, "stranger", { ...refused, findings: ["origin-mismatch"] });
add("another size than was signed", UNSEEN.replace("\n5\n", "\n6\n"), "alone", { ...refused, findings: ["checkpoint-signature"] });
add("another root than was signed", UNSEEN.replace(rootOf("tree"), rootOf("other")), "alone", { ...refused, findings: ["checkpoint-signature"] });
add("a damaged cosignature", signed(TEXT, signLine(w1, textOf({ size: 6 }), WITNESSED_AT)), "witnessed", { ...refused, findings: ["checkpoint-signature"] });
add("a damaged cosignature, without a policy", signed(TEXT, signLine(w1, textOf({ size: 6 }), WITNESSED_AT)), null, { exit: 3, verdicts: { authenticity: "notEstablished" } });

const malformed = { exit: 1, findings: ["checkpoint-malformed"], verdicts: { authenticity: "fail", independence: "notChecked", time: "notChecked" } };
for (const policy of ["alone", null]) {
  const under = policy === null ? ", without a policy" : "";
  add(`a size with a leading zero${under}`, UNSEEN.replace("\n5\n", "\n05\n"), policy, malformed);
  add(`size 0${under}`, signed(textOf({ size: 0 })), policy, malformed);
  add(`an extension line${under}`, signed(`${TEXT}extension\n`), policy, malformed);
  add(`an origin with a space${under}`, signed(textOf({ origin: "example com" })), policy, malformed);
  add(`a root of 31 bytes${under}`, signed(textOf({ root: Buffer.alloc(31).toString("base64") })), policy, malformed);
  add(`bytes after the last line${under}`, `${UNSEEN}x`, policy, malformed);
  add(`no newline at the end${under}`, UNSEEN.slice(0, -1), policy, malformed);
  add(`text before an empty line that is no note${under}`, `hello\n\n\u2014 nobody\n`, policy, malformed);
  add(`the beginning of a ledger file, without its zero byte${under}`, `SQLite format 3\n${UNSEEN}`, policy, malformed);
}

const unlike = { exit: 3, verdicts: { completeness: "notEstablished" } };
const otherText = textOf({ root: rootOf("other") });
add("the held checkpoint is the same", UNSEEN, "alone", { held: UNSEEN });
add("the held checkpoint has other signatures", UNSEEN, "alone", { held: NOTE });
add("the held checkpoint has another root", UNSEEN, "alone", { held: signed(otherText), exit: 1, findings: ["expected-root"], verdicts: { completeness: "fail" } });
add("the held checkpoint is smaller", UNSEEN, "alone", { held: signed(textOf({ size: 4 })), ...unlike });
add("the held checkpoint is larger", UNSEEN, "alone", { held: signed(textOf({ size: 6 })), ...unlike });
const elsewhere = textOf({ origin: STRANGER });
add("the held checkpoint is of another ledger", UNSEEN, "alone", { ...refused, held: noteOf(elsewhere, signLine(stranger, elsewhere)), findings: ["origin-mismatch"] });
add("the held checkpoint is the same, without a policy", UNSEEN, null, { held: UNSEEN, exit: 3, verdicts: { authenticity: "notEstablished" } });
add("two histories, without a policy", UNSEEN, null, { held: signed(otherText), exit: 1, findings: ["expected-root"], verdicts: { authenticity: "notEstablished", completeness: "fail" } });
add("a missing quorum and a held checkpoint of another size", UNSEEN, "witnessed", { held: signed(textOf({ size: 4 })), exit: 4, verdicts: { completeness: "notEstablished" } });

// What is not taken for a checkpoint: exit 5.
const unrecognised = [
  { title: "a proof file", file: `c2sp.org/tlog-proof@v1\nindex 0\n\n${UNSEEN}` },
  { title: "no empty line before the signatures", file: UNSEEN.replace("\n\n", "\n") },
  { title: "carriage returns", file: UNSEEN.replaceAll("\n", "\r\n") },
  { title: "a hyphen for the dash", file: UNSEEN.replaceAll("\u2014", "-") },
  { title: "no space after the dash", file: UNSEEN.replaceAll("\u2014 ", "\u2014") },
  { title: "a ledger file that holds a checkpoint", file: `SQLite format 3\0${"\0".repeat(100)}${UNSEEN}` },
];

const vectors = {
  source: "made by vectors/make-checkpoints.mjs from the rules of spec/, without the library",
  note: "`policies` by name. Each case: a checkpoint alone, the policy that is pinned and the checkpoint that the reader holds (null: none), and what a verifier answers: exit code, finding codes, status of each verdict. `unrecognised`: files that are no checkpoint (exit 5).",
  policies: POLICIES,
  cases,
  unrecognised,
};
const file = new URL("checkpoints.json", import.meta.url);
const output = `${JSON.stringify(vectors, null, 1)}\n`;
if (!process.argv.includes("--check")) writeFileSync(file, output);
else if (readFileSync(file, "utf8") !== output) throw new Error("checkpoints.json is not what make-checkpoints.mjs makes");
