"""Judges many files in one process: a JSON array a line in (base64 of the file, policy or null, self-asserted, held checkpoint or null), one out."""
import base64
import io
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "verifier"))
sys.dont_write_bytecode = True
import verify  # noqa: E402

policies = {}


def policy_of(text):
    if text not in policies:
        policies[text] = verify.Policy.parse(text.encode("utf-8"))
    return policies[text]


def judge(data, text, self_asserted, held):
    policy = None if text is None else policy_of(text)
    try:
        kind = verify.recognise(data[:verify.MAX_NOTE + 1])
        report = verify.verify_source(io.BytesIO(data), kind, verify.Reader(policy, self_asserted, None if held is None else verify.Checkpoint(held.encode("utf-8"))))
    except verify.Unreadable as error:
        return {"exit": 5, "codes": [error.code], "verdicts": {}}
    return {"exit": report.exit_code, "codes": sorted({f["code"] for f in report.findings}), "verdicts": report.status}


for line in sys.stdin:
    file, text, self_asserted, held = json.loads(line)
    sys.stdout.write(json.dumps(judge(base64.b64decode(file), text, self_asserted, held)) + "\n")
