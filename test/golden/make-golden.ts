import { encodeUtf8 } from "../../src/core/encoding.ts";
import { sha256 } from "../../src/core/hash.ts";
import { cosignNote, formatVerifierKey, parseVerifierKey } from "../../src/core/note.ts";
import { formatPolicy } from "../../src/core/policy.ts";
import { authorSignerFromSeed, logSignerFromSeed } from "../../src/keys/index.ts";
import { Ledger } from "../../src/open.ts";

/**
 * The golden files of format version 1, by name: a ledger of each kind of entry, its exports, receipts and policies, all from
 * one seed. They never change; what writes them must keep writing the same bytes, and every verifier must keep accepting them.
 */
export async function makeGolden(): Promise<ReadonlyMap<string, string>> {
  const files = new Map<string, string>();
  const ledger = await Ledger.memory({ seed: "tallystick golden v1", origin: "example.com/golden" });
  const firstKey = ledger.state.logKeys[0]!.key;
  const alice = authorSignerFromSeed("ed25519", seedOf("author alice"));
  const bob = authorSignerFromSeed("ml-dsa-44", seedOf("author bob"));
  await ledger.keys.addAuthor(alice, "alice");
  await ledger.keys.addAuthor(bob, "bob");
  const login = {
    action: "user.login",
    actor: "alice",
    id: "evt-1",
    occurredAt: "2026-01-01T00:00:00Z",
    outcome: "success",
  };
  const whole = await ledger.append({ ...login, context: { ip: "192.0.2.1", userAgent: "Größe 😀" } });
  const refund = {
    action: "order.refund",
    actor: { id: "bob", name: "Bob", type: "employee", onBehalfOf: "carol" },
    id: "evt-2",
    payload: { amount: 12.5, reason: "damaged" },
    targets: [{ id: "order-7", type: "order" }],
    metadata: {},
  };
  const fields = await ledger.append(refund, { scheme: "fields" });
  const signed = await ledger.append(
    {
      action: "order.approve",
      actor: "alice",
      id: "evt-3",
      source: { id: "desk-1", counter: 1 },
      payload: { order: 7 },
    },
    { signer: alice },
  );
  const signedFields = await ledger.append(
    {
      action: "order.approve",
      actor: "bob",
      id: "evt-4",
      source: { id: "desk-2", counter: 7 },
      payload: [1, 1e-7, null],
    },
    { signer: bob, scheme: "fields" },
  );
  const erased = await ledger.append(
    { action: "user.email.changed", actor: "alice", id: "evt-5", payload: { email: "alice@example.com" } },
    { signer: alice },
  );
  const partly = await ledger.append(
    {
      action: "user.email.changed",
      actor: "dave",
      id: "evt-6",
      payload: { email: "dave@example.com", verified: true },
    },
    { scheme: "fields" },
  );
  await ledger.keys.placeHold("case-1", { first: 0, last: 3, reason: "court", basis: "order 17" });
  await ledger.erase(erased.index, { reason: "request 1", basis: "GDPR article 17", actor: "officer-1" });
  await ledger.erase({ index: partly.index, fields: ["id", "payload.email"] }, { reason: "request 2" });
  await ledger.keys.releaseHold("case-1", "court order lifted");
  const nextKey = logSignerFromSeed("ed25519", seedOf("second log key"));
  await ledger.keys.rotate(nextKey);
  await ledger.keys.addLogKey(logSignerFromSeed("ml-dsa-44", seedOf("post-quantum log key")));
  await ledger.keys.changeRules({ requireSignature: true });
  const last = await ledger.append(
    { action: "order.ship", actor: "alice", id: "evt-7", source: { id: "desk-1", counter: 2 } },
    { signer: alice },
  );
  await ledger.keys.revokeAuthor(bob.keyId, "left the company");

  const { size } = ledger;
  const note = await ledger.checkpoint();
  const witness = logSignerFromSeed("ed25519", seedOf("witness"));
  const witnessName = "witness.example/golden";
  const cosigned = `${note}${await cosignNote(textOf(note), witnessName, witness, { time: Date.UTC(2026, 0, 1, 0, 1) / 1000 })}`;
  const witnessed = (file: string): string =>
    file.replaceAll(JSON.stringify(note).slice(1, -1), JSON.stringify(cosigned).slice(1, -1));
  const collect = async (options: Parameters<typeof ledger.export>[0]): Promise<string> => {
    let text = "";
    for await (const line of ledger.export(options)) text += line;
    return witnessed(text);
  };
  files.set("ledger.jsonl", await collect({}));
  files.set("prefix.jsonl", await collect({ filter: { last: erased.index - 1 } }));
  files.set("slice.jsonl", await collect({ filter: { first: whole.index, last: size - 2 } }));
  files.set("filter.jsonl", await collect({ filter: { action: "order.approve" } }));
  files.set("genesis.receipt.json", witnessed(await ledger.prove(0)));
  files.set("event.receipt.json", witnessed(await ledger.prove(whole.index)));
  files.set("fields.receipt.json", witnessed(await ledger.prove(fields.index)));
  const disclose = ["action", "id", "payload.amount"];
  files.set("disclosed.receipt.json", witnessed(await ledger.prove(fields.index, { disclose })));
  files.set("control.receipt.json", witnessed(await ledger.prove(size - 1)));
  files.set("signed.receipt.json", witnessed(await ledger.prove(signed.index)));
  const kept = ["action", "actor", "id", "signatures"];
  files.set("signed-fields.receipt.json", witnessed(await ledger.prove(signedFields.index, { disclose: kept })));
  files.set("partly-erased.receipt.json", witnessed(await ledger.prove(partly.index)));
  files.set("erased.tlog-proof", (await ledger.proveInclusion(erased.index)).replace(note, cosigned));
  files.set("last.receipt.json", witnessed(await ledger.prove(last.index)));

  const logKeys = ledger.state.logKeys.filter((known) => known.retiredAt === null).map((known) => known.key);
  const witnessKey = parseVerifierKey(formatVerifierKey({ name: witnessName, type: 4, publicKey: witness.publicKey }));
  const author = (key: typeof alice, actor: string) => {
    const { algorithm, spki, keyId } = key;
    return { algorithm, spki, keyId, actor, fromIndex: 0, untilIndex: null };
  };
  files.set("policy", formatPolicy({ logKeys, genesis: ledger.genesis }));
  files.set(
    "witnessed.policy",
    formatPolicy({
      logKeys: [firstKey, ...logKeys],
      witnesses: [{ name: "w", key: witnessKey, url: null }],
      quorum: "w",
      genesis: ledger.genesis,
      keyRanges: [{ key: firstKey, minSize: 1, maxSize: size - 1 }],
      requireAll: logKeys,
      authors: [author(alice, "alice"), author(bob, "bob")],
    }),
  );
  await ledger.close();
  return files;
}

function seedOf(name: string): Uint8Array {
  return sha256(encodeUtf8(`tallystick golden v1 ${name}`));
}

/** Text of a note: all before the signature lines. */
function textOf(note: string): string {
  return note.slice(0, note.lastIndexOf("\n\n") + 1);
}
