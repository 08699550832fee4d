"""Writes a package of many entries, its export, and a policy for both: large_package.py ENTRIES FOLDER"""
import hashlib
import os
import struct
import sys
import zlib

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "verifier"))
sys.dont_write_bytecode = True
import test_verify as t  # noqa: E402
import verify as v  # noqa: E402


def root_of(leaves):
    """The tree's root, level by level."""
    while len(leaves) > 1:
        level = [v.node_hash(leaves[i], leaves[i + 1]) for i in range(0, len(leaves) - 1, 2)]
        leaves = level + leaves[len(leaves) & ~1:]
    return leaves[0]


def inclusion_of_first(leaves):
    out, size = [], 1
    while size < len(leaves):
        out.append(root_of(leaves[size:2 * size]))
        size *= 2
    return [h.hex() for h in out]


def main(count, folder):
    ledger = t.Ledger()
    genesis = dict(ledger.bodies[0], entry=ledger.entries[0])
    leaves, previous = [ledger.leaves[0]], ledger.leaves[0]
    body = os.path.join(folder, "lines")
    with open(body, "wb") as lines:
        lines.write(v.jcs(genesis) + b"\n")
        for i in range(1, count):
            event = {"action": "order.refund", "actor": {"id": "user-%d" % (i % 977), "type": "employee"}, "id": "evt-%d" % i,
                     "payload": {"amount": i * 7 % 100000, "reason": "damaged in transit, parcel %d" % i}, "targets": [{"id": "order-%d" % i, "type": "order"}]}
            salt = hashlib.sha256(b"%d" % i).digest()[:16]
            digest = hashlib.sha256(b"tallystick/v1/event\n" + salt + v.jcs(event)).hexdigest()
            time = "2026-01-02T%02d:%02d:%02d.%03dZ" % (4, i // 60000 % 60, i // 1000 % 60, i % 1000)
            entry = v.jcs_text({"commitment": "sha256:" + digest, "index": i, "previous": previous.hex(), "scheme": "event", "time": time, "v": 1})
            previous = v.leaf_hash(entry.encode())
            leaves.append(previous)
            lines.write(v.jcs({"entry": entry, "event": event, "salt": salt.hex()}) + b"\n")
    root = root_of(leaves)
    text = "%s\n%d\n%s\n" % (t.ORIGIN, count, t.b64(root))
    raw = b"\1" + t.LOG.public
    note = text + "\n\u2014 %s %s\n" % (t.ORIGIN, t.b64(hashlib.sha256(t.ORIGIN.encode() + b"\n" + raw).digest()[:4] + t.LOG.sign(text.encode())))
    genesis["inclusion"] = inclusion_of_first(leaves)
    selection = {"first": 0, "kind": "range", "last": count - 1}
    header = v.jcs({"checkpoint": note, "format": v.EXPORT_FORMAT, "genesis": genesis, "origin": t.ORIGIN, "proof": [], "selection": selection}) + b"\n"
    policy = t.policy_text(quorum="none").encode()
    export, packed = os.path.join(folder, "export.jsonl"), os.path.join(folder, "packed")
    digest, crc, size, packer = hashlib.sha256(), 0, 0, zlib.compressobj(6, zlib.DEFLATED, -15)
    with open(body, "rb") as lines, open(export, "wb") as out, open(packed, "wb") as deflated:
        block = header
        while block:
            digest.update(block)
            crc, size = zlib.crc32(block, crc), size + len(block)
            out.write(block)
            deflated.write(packer.compress(block))
            block = lines.read(1 << 20)
        deflated.write(packer.flush())
    members = [{"name": n, "sha256": hashlib.sha256(d).hexdigest(), "size": len(d)} for n, d in (("policy", policy), ("checkpoint", note.encode()))]
    members.append({"name": "entries.jsonl", "sha256": digest.hexdigest(), "size": size})
    manifest = v.jcs({"format": v.EVIDENCE_FORMAT, "members": members, "origin": t.ORIGIN, "policy": members[0]["sha256"], "root": root.hex(), "selection": selection, "size": count}) + b"\n"
    central, offset = b"", 0
    with open(os.path.join(folder, "package.zip"), "wb") as out, open(packed, "rb") as deflated:
        for name, data in (("manifest.json", manifest), ("manifest.sig", t.Packages("test_zip").signature(manifest)), ("policy", policy), ("checkpoint", note.encode()), ("entries.jsonl", None)):
            facts = (0, zlib.crc32(data), len(data), len(data)) if data is not None else (8, crc, os.path.getsize(packed), size)
            common = struct.pack("<HHHHHIIIHH", 20, 0, facts[0], 0, 33, facts[1], facts[2], facts[3], len(name), 0)
            central += b"PK\1\2" + struct.pack("<H", 20) + common + struct.pack("<HHHII", 0, 0, 0, 0, offset) + name.encode()
            out.write(b"PK\3\4" + common + name.encode())
            if data is not None:
                out.write(data)
            else:
                for block in iter(lambda: deflated.read(1 << 20), b""):
                    out.write(block)
            offset = out.tell()
        out.write(central + b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 5, 5, len(central), offset, 0))
    with open(os.path.join(folder, "policy"), "wb") as file:
        file.write(policy)
    os.remove(body)
    os.remove(packed)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
