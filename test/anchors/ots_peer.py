"""Reads one hex .ots file a line, prints what python-opentimestamps makes of it: its own serialisation and its attestations."""

import json
import sys

from opentimestamps.core.notary import BitcoinBlockHeaderAttestation, PendingAttestation
from opentimestamps.core.serialize import BytesDeserializationContext, BytesSerializationContext, DeserializationError
from opentimestamps.core.timestamp import DetachedTimestampFile

for line in sys.stdin:
    try:
        detached = DetachedTimestampFile.deserialize(BytesDeserializationContext(bytes.fromhex(line.strip())))
        context = BytesSerializationContext()
        detached.serialize(context)
        leaves = []
        for message, attestation in detached.timestamp.all_attestations():
            if isinstance(attestation, PendingAttestation):
                leaves.append(["pending", attestation.uri, message.hex()])
            elif isinstance(attestation, BitcoinBlockHeaderAttestation):
                leaves.append(["bitcoin", attestation.height, message.hex()])
            else:
                leaves.append(["other", None, message.hex()])
        print(json.dumps({"bytes": context.getbytes().hex(), "leaves": sorted(leaves, key=str)}))
    except (DeserializationError, ValueError, OverflowError) as error:
        print(json.dumps({"refused": type(error).__name__}))
