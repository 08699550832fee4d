/**
 * An evidence package of many entries, made with the vectors' forge, without the library: `largePackage(count)` gives
 * `{bytes, policy, exportBytes}`. Lines are of some 640 bytes.
 */
import { crc32, deflateRawSync } from "node:zlib";
import { digest, Forge, jcs, textOf } from "../../vectors/forge.mjs";
import { genesis, log, ORIGIN } from "../../vectors/forge-rows.mjs";

/** @param {number} place */
function row(place) {
  const event = {
    action: place % 3 === 0 ? "user.login" : "order.refund",
    actor: { id: `user-${place % 977}`, type: "employee" },
    context: { ip: `203.0.113.${place % 250}`, requestId: `req-${place}-${digest("sha256", `${place}`).slice(0, 32)}` },
    id: `evt-${place}`,
    occurredAt: "2026-01-02T03:04:05Z",
    payload: { amount: place, reason: "damaged in transit, the customer sent a photograph" },
    targets: [{ id: `order-${place}`, type: "order" }],
  };
  return { scheme: "event", event };
}

/** @param {number} count */
export function largePackage(count) {
  const ledger = new Forge(ORIGIN, [genesis(), ...Array.from({ length: count - 1 }, (_, i) => row(i + 1))]);
  const note = ledger.note([log]);
  const lines = ledger.export({ note });
  const policy = `log ${log.vkey}\nquorum none\n`;
  const entries = Buffer.from(textOf(lines));
  const members = [
    ["policy", Buffer.from(policy)],
    ["checkpoint", Buffer.from(note)],
    ["entries.jsonl", entries],
  ];
  const [origin, size, root] = note.split("\n");
  const manifest = `${jcs({
    format: "tallystick/evidence/v1",
    members: members.map(([name, content]) => ({ name, sha256: digest("sha256", content), size: content.length })),
    origin,
    policy: digest("sha256", policy),
    root: Buffer.from(root, "base64").toString("hex"),
    selection: lines[0].selection,
    size: Number(size),
  })}\n`;
  const message = `tallystick/v1/manifest\n${origin}\n${digest("sha256", manifest)}`;
  const signature = Buffer.from(log.line(log.sign(message)));
  return {
    bytes: zip([["manifest.json", Buffer.from(manifest)], ["manifest.sig", signature], ...members]),
    policy,
    exportBytes: entries,
  };
}

/** A ZIP of evidence-package.md 2, every member deflated. */
function zip(members) {
  const locals = [];
  const centrals = [];
  let offset = 0;
  for (const [name, content] of members) {
    const data = deflateRawSync(content, { level: 1 });
    const common = Buffer.alloc(22);
    common.writeUInt16LE(8, 2);
    common.writeUInt16LE(33, 6);
    common.writeUInt32LE(crc32(content), 8);
    common.writeUInt32LE(data.length, 12);
    common.writeUInt32LE(content.length, 16);
    common.writeUInt16LE(name.length, 20);
    const local = Buffer.concat([Buffer.from("504b03041400", "hex"), common, Buffer.alloc(2), Buffer.from(name), data]);
    const place = Buffer.alloc(4);
    place.writeUInt32LE(offset);
    centrals.push(Buffer.from("504b010214001400", "hex"), common, Buffer.alloc(12), place, Buffer.from(name));
    locals.push(local);
    offset += local.length;
  }
  const central = Buffer.concat(centrals);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50);
  end.writeUInt16LE(members.length, 8);
  end.writeUInt16LE(members.length, 10);
  end.writeUInt32LE(central.length, 12);
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...locals, central, end]);
}
