"""Writes the OpenTimestamps part of anchors.json with python-opentimestamps 0.4.5 (`pip install opentimestamps==0.4.5`).

The time-stamp tokens and the two proofs of another project are recorded: they stay as they stand in the file.
"""

import hashlib
import json
import os
import struct

from opentimestamps.core.notary import BitcoinBlockHeaderAttestation as Bitcoin
from opentimestamps.core.notary import PendingAttestation
from opentimestamps.core.op import OpAppend, OpPrepend, OpSHA1, OpSHA256
from opentimestamps.core.serialize import BytesSerializationContext
from opentimestamps.core.timestamp import DetachedTimestampFile, Timestamp

PATH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "anchors.json")
REGTEST_BITS = 0x207FFFFF
TIME = 1770000000
BOUND = (TIME + 7200) * 1000
HEIGHT = 840000
NONCE = bytes(range(16))


def sha256(data):
    return hashlib.sha256(data).digest()


DIGEST = sha256(b"tallystick vector\n")


def serialize(timestamp):
    context = BytesSerializationContext()
    DetachedTimestampFile(OpSHA256(), timestamp).serialize(context)
    return context.getbytes()


def mine(root):
    """A header with this Merkle root that meets the target of regtest."""
    nonce = 0
    while True:
        header = struct.pack("<i", 0x20000000) + bytes(32) + root + struct.pack("<III", TIME, REGTEST_BITS, nonce)
        if sha256(sha256(header))[31] < 0x7F:
            return header
        nonce += 1


def confirmed(*heights):
    """A tree with a promise on the way to attestations at the heights, and the Merkle root that they are about."""
    timestamp = Timestamp(DIGEST)
    node = timestamp.ops.add(OpAppend(NONCE)).ops.add(OpSHA256())
    node = node.ops.add(OpPrepend(b"\x69\x80\x00\x00")).ops.add(OpAppend(bytes(8)))
    node.attestations.add(PendingAttestation("https://alice.btc.calendar.example"))
    root = node.ops.add(OpSHA256()).ops.add(OpPrepend(sha256(b"left"))).ops.add(OpSHA256())
    for height in heights:
        root.attestations.add(Bitcoin(height))
    return timestamp, root.msg


def attested(*operations):
    timestamp = node = Timestamp(DIGEST)
    for operation in operations:
        node = node.ops.add(operation)
    node.attestations.add(Bitcoin(HEIGHT))
    return timestamp, node.msg


def pending(digest, nonce, uri):
    timestamp = Timestamp(digest)
    timestamp.ops.add(OpAppend(nonce)).ops.add(OpSHA256()).attestations.add(PendingAttestation(uri))
    return serialize(timestamp)


def row(title, proof, headers, bits=REGTEST_BITS, **outcome):
    row = {"title": title, "proof": proof.hex(), "digest": DIGEST.hex()}
    row["headers"] = [{"height": height, "header": header.hex()} for height, header in headers]
    if bits is not None:
        row["bitsMax"] = bits
    return {**row, **outcome}


def rows():
    tree, root = confirmed(HEIGHT)
    good, header, other = serialize(tree), mine(root), mine(sha256(b"x"))
    weak, weak_root = attested(OpSHA1(), OpSHA256())
    invalid, malformed = {"code": "proof-invalid"}, {"code": "malformed-proof"}
    here = [(HEIGHT, header)]
    return [
        row("pending and confirmed, with the header of a test network", good, here, notAfterMs=BOUND),
        row("the same where test networks are not accepted", good, here, None, **invalid),
        row("the same with the header of another block", good, [(HEIGHT, other)], **invalid),
        row("the same with the header at another height", good, [(HEIGHT + 1, header)], **invalid),
        row("the same with a byte behind it", good + b"\0", here, **malformed),
        row("the same, truncated", good[:-1], here, **malformed),
        row(
            "one attestation holds, the header contradicts another",
            serialize(confirmed(HEIGHT, HEIGHT - 1)[0]),
            [(HEIGHT - 1, other), *here],
            notAfterMs=BOUND,
        ),
        row("pending only", pending(DIGEST, NONCE, "https://alice.btc.calendar.example"), here, **invalid),
        row("an attestation made up on the digest itself", serialize(attested()[0]), here, **invalid),
        row("a path through SHA-1", serialize(weak), [(HEIGHT, mine(weak_root))], **invalid),
        row("version 2", good.replace(b"\x92\x94\x01\x08", b"\x92\x94\x02\x08"), here, **malformed),
    ]


with open(PATH) as file:
    vectors = json.load(file)
recorded = [one for one in vectors["opentimestamps"] if "another project" in one["title"]]
vectors["opentimestamps"] = rows() + recorded
for stamp in vectors["stamps"]:
    stamp["proof"] = pending(bytes.fromhex(stamp["digest"]), bytes.fromhex(stamp["nonce"]), stamp["uri"]).hex()
with open(PATH, "w") as file:
    file.write(json.dumps(vectors, indent=1) + "\n")
