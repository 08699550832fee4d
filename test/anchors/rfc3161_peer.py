"""Reads JSON lines {digest, proof, root, middle, leaf} (hex and PEM) and says of each whether rfc3161-client verifies the response."""

import json
import sys

from cryptography import x509
from rfc3161_client import VerificationError, VerifierBuilder, decode_timestamp_response

for line in sys.stdin:
    case = json.loads(line)
    try:
        response = decode_timestamp_response(bytes.fromhex(case["proof"]))
        verifier = VerifierBuilder().add_root_certificate(x509.load_pem_x509_certificate(case["root"].encode())).build()
        verifier.verify(response, bytes.fromhex(case["digest"]))
        print("ok")
    except (ValueError, VerificationError) as error:
        print(f"refused: {type(error).__name__} {error}")
