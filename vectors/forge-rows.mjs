// Keys and rows of hostile and honest ledgers, for forge.mjs.
import { bytes, digest, keyOf, mlDsaKeyOf, noteKey, raw, saltOf, timeAt } from "./forge.mjs";

export const ORIGIN = "example.com/audit";
export const log = noteKey(ORIGIN, 1, keyOf("log"));
export const log2 = noteKey(ORIGIN, 1, keyOf("log 2"));
export const log3 = noteKey(ORIGIN, 1, keyOf("log 3"));
export const quantum = noteKey(ORIGIN, 6, mlDsaKeyOf("quantum log"));
export const elsewhere = noteKey("example.com/elsewhere", 1, keyOf("log elsewhere"));
export const asWitness = noteKey(ORIGIN, 4, keyOf("log as witness"));
export const w1 = noteKey("witness.example/1", 4, keyOf("witness 1"));
export const w2 = noteKey("witness.example/2", 4, keyOf("witness 2"));
export const w3 = noteKey("witness.example/3", 6, mlDsaKeyOf("witness 3"));
export const alice = keyOf("alice");
export const bob = keyOf("bob");
export const mallory = keyOf("mallory");

/** Seconds since 1970, after all entries of an honest ledger. */
export const WITNESSED_AT = Date.parse(timeAt(60)) / 1000;

// --- rows

export const GENESIS = { commitmentHash: "sha256", limits: { eventBytes: 1048576 }, lockStoreId: "4398b5afef0861282301b623fea94159", logKeys: [log.vkey], origin: ORIGIN, rules: { requireSignature: false }, scheme: "event" };
export const genesis = (more = {}) => ({ scheme: "control", event: { action: "ledger.genesis", payload: { ...GENESIS, ...more } } });
export const control = (action, payload) => ({ scheme: "control", event: { action, payload } });
export const login = (id, more = {}) => ({ scheme: "event", event: { action: "user.login", actor: "alice", id, ...more } });
export const refund = (id, more = {}) => ({ scheme: "fields", event: { action: "order.refund", actor: "alice", id, payload: { amount: 1250, reason: "damaged" }, ...more } });
export const signed = (row, key = alice) => ({ ...row, sign: key });
export const counting = (id, counter, more = {}) => signed(login(id, { source: { counter, id: "till-1" }, ...more }));
export const author = (key = alice, actor = "alice", signers = [log, key]) => (ledger) =>
  ledger.keyEvent("ledger.key.added", { actor, algorithm: key.algorithm, role: "author", spki: key.spki.toString("base64") }, signers);
export const addLog = (key, signers) => (ledger) => ledger.keyEvent("ledger.key.added", { role: "log", vkey: key.vkey }, signers);
export const rotate = (old, next, signers = [old, next]) => (ledger) => ledger.keyEvent("ledger.key.rotated", { new: next.vkey, old: old.vkey, role: "log" }, signers);
export const revoke = (key, validUntilSize, signers) => (ledger) => ledger.keyEvent("ledger.key.revoked", { reason: "stolen", role: "log", validUntilSize, vkey: key.vkey }, signers);
export const revokeAuthor = (key, signers = [log]) => (ledger) => ledger.keyEvent("ledger.key.revoked", { keyId: key.keyId, reason: "left", role: "author" }, signers);
export const recovered = (keys, signers) => (ledger) =>
  ledger.keyEvent("ledger.recovered", { checkpoint: null, lockStoreId: "00".repeat(16), logKeys: keys.map((key) => key.vkey), lost: ["key"], reason: "disk" }, signers);
export const rules = (requireSignature) => control("ledger.rules.changed", { rules: { requireSignature } });
export const hold = (name, first, last) => control("ledger.hold.placed", { first, hold: name, last, reason: "court" });
export const release = (name) => control("ledger.hold.released", { hold: name, reason: "over" });
export const anchor = (size) => control("ledger.anchor", { kind: "opentimestamps", note: "ab".repeat(32), proof: "cd".repeat(32), root: "ef".repeat(32), size });
export const sealed = control("ledger.epoch.sealed", { logKeys: [log2.vkey], origin: "example.com/audit-2" });
/** Erasure of items `[index, {fields?, leaf?, …}]`. */
export const erasure = (...items) => (ledger) =>
  control("ledger.erasure", {
    entries: items.map(([index, more = {}]) => ({ index, leaf: ledger.entries[index]?.leaf ?? "00".repeat(32), ...more })),
    reason: "request",
  });
export const signedId = (key, id) => digest("sha256", `tallystick/v1/id\n${key.keyId}\n${id}`);
export const idGuard = (id) => digest("sha256", "tallystick/v1/erased-id\n", bytes(saltOf(id)), raw("sha256", `tallystick/v1/id-digest\n${id}`));
