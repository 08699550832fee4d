#!/usr/bin/env python3
"""Holds every verdict of signatures.json to OpenSSL, through pyca/cryptography 48 or later.

    python3 vectors/check-signatures.py

Where the formats are stricter than OpenSSL (low s, widths) the rule is applied here first, written anew. Refused keys
have no oracle: what OpenSSL makes of them is counted, not judged.
"""
import json
import pathlib
import sys

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, utils

ORDER = {
    "ecdsa-p256": 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    "ecdsa-p384": 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973,
    "ecdsa-secp256k1": 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141,
}


def verifies(algorithm, key, message, signature):
    try:
        if algorithm in ORDER:
            width = (key.curve.key_size + 7) // 8
            r, s = (int.from_bytes(half, "big") for half in (signature[:width], signature[width:]))
            if len(signature) != 2 * width or s > ORDER[algorithm] // 2:
                return False
            digest = hashes.SHA384() if algorithm == "ecdsa-p384" else hashes.SHA256()
            key.verify(utils.encode_dss_signature(r, s), message, ec.ECDSA(digest))
        elif algorithm == "rsa-pss":
            pss = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=32)
            key.verify(signature, message, pss, hashes.SHA256())
        else:
            key.verify(signature, message)
        return True
    except InvalidSignature:
        return False


def main():
    vectors = json.loads(pathlib.Path(__file__).with_name("signatures.json").read_text())
    wrong = 0
    count = 0
    for group in vectors["groups"]:
        key = serialization.load_der_public_key(bytes.fromhex(group["spki"]))
        for case in group["cases"]:
            message, signature = (bytes.fromhex(case[name]) for name in ("message", "signature"))
            count += 1
            if verifies(group["algorithm"], key, message, signature) != case["valid"]:
                wrong += 1
                print(f"{group['algorithm']}, {group['title']}, {case['title']}: expected {case['valid']}")
    taken = 0
    for case in vectors["refused"]:
        try:
            serialization.load_der_public_key(bytes.fromhex(case["spki"]))
            taken += 1
        except Exception:  # OpenSSL refuses too
            pass
    print(f"{count} verdicts, {wrong} wrong; OpenSSL itself loads {taken} of {len(vectors['refused'])} refused keys")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
