"""Proofs of anchors, evidence packages and published ledgers, honest and mutated, with what verify.py says of them: one JSON object a line.

    random_proofs.py tokens|ots|packages|published SEED COUNT
"""
import base64
import hashlib
import io
import json
import os
import random
import struct
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "verifier"))
sys.dont_write_bytecode = True
import test_verify as t  # noqa: E402
import verify as v  # noqa: E402

BITS_MAX = 0x207fffff
DIGEST = hashlib.sha256(b"note").digest()


def b64(data):
    return base64.b64encode(data).decode()


def flipped(rng, data):
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


# --- time-stamp tokens: the tree of DER elements, changed and put together again

def tree(data):
    """[tag, content or list of elements], or None where it is no DER."""
    out, at = [], 0
    try:
        while at < len(data):
            element = v.Der(data, at)
            at += len(element.raw)
            inner = tree(element.content) if element.tag & 0x20 or (element.tag == 4 and len(element.content) > 40) else None
            out.append([element.tag, inner if inner is not None else element.content])
    except v.ProofRefused:
        return None
    return out


def flat(elements):
    return b"".join(t.der(tag, flat(content) if isinstance(content, list) else content) for tag, content in elements)


def places(elements, out):
    for i, (_, content) in enumerate(elements):
        out.append((elements, i))
        if isinstance(content, list):
            places(content, out)
    return out


def restructured(rng, data):
    root = tree(data)
    for _ in range(rng.choice((1, 1, 2))):
        every = places(root, [])
        siblings, i = rng.choice(every)
        element = siblings[i]
        what = rng.randrange(9)
        if what == 0 and len(every) > 1:
            del siblings[i]
        elif what == 1:
            siblings.insert(i, [element[0], flat(element[1]) if isinstance(element[1], list) else element[1]])
        elif what == 2:
            element[0] = rng.choice((2, 3, 4, 5, 6, 0x13, 0x17, 0x18, 0x30, 0x31, 0xa0, 0xa1, 0xa3, 0x80, 0x1f, element[0] ^ 0x20))
        elif what == 3 and len(siblings) > 1:
            siblings.append(siblings.pop(i))
        elif what == 4:
            others, j = rng.choice(every)
            tag, content = others[j]
            siblings[i] = [tag, flat(content) if isinstance(content, list) else content]
        elif isinstance(element[1], bytes):
            content = element[1]
            element[1] = rng.choice((b"", b"\0" + content, content + b"\0", content[:-1], b"\xff", b"\1", content[::-1],
                                     flipped(rng, content) if content else b"\2", content[1:]))
        if not root:
            return b""
    return flat(root)


def corpus():
    """(token, root) of every algorithm, and of some chains"""
    out = []
    for digest in (hashlib.sha256, hashlib.sha384, hashlib.sha512):
        for kind in ("p256", "p384", "rsa", "rsa-with", "rsa-pss", "ed25519"):
            if kind == "ed25519" and digest is not hashlib.sha512:
                continue
            signer = t.Signer(kind, digest)
            root = t.certificate("root", signer, "root", signer, [t.CA, t.SIGNS])
            own = t.certificate("tsa", signer, "root", signer, [t.STAMPS], serial=2)
            out.append((t.token(DIGEST, signer, own, [own], nonce=[5], ess=("v2", "v1", "v1 v2")[len(out) % 3]), root))
    signer = t.Signer()
    root = t.certificate("root", signer, "root", signer, [t.CA, t.SIGNS])
    middle = t.certificate("ca", signer, "root", signer, [t.CA, t.STAMPS], serial=5)
    own = t.certificate("tsa", signer, "ca", signer, [t.STAMPS], serial=2)
    token = t.token(DIGEST, signer, own, [own, middle, root], issuer="ca", time=b"20260601120000.123456789Z",
                    accuracy=t.sequence(t.der_int(1), t.der_int(2, 0x80), t.der_int(3, 0x81)))
    out.append((token, root))
    out.append((t.sequence(t.sequence(t.der_int(0)), token), middle))
    return out




def random_token(rng, tokens):
    """Half of them with a random part in place of a good one, then signed; half changed after that."""
    if rng.random() < 0.45:
        signer = t.Signer(rng.choice(("p256", "p256", "ed25519")), hashlib.sha512)
        extensions = rng.choice(([t.STAMPS],) * 6 + ([], [t.STAMPS, t.CA], [t.STAMPS, t.SIGNS], [t.STAMPS, t.extension("1.2.3", b"", rng.random() < 0.5)],
                                                    [t.STAMPS, t.extension(t.USAGE, t.der(3, rng.choice((b"\x07\x80", b"\x06\xc0", b"\x06\x40", b"\x00", b"\x05\x20"))))]))
        authority = rng.choice(([t.CA],) * 6 + ([], [t.CA, t.SIGNS], [t.CA, t.extension("2.5.29.17", b"", True)], [t.CA, t.STAMPS],
                                               [t.extension(t.BASIC, t.sequence(t.der(1, b"\xff"), t.der_int(rng.randrange(2))))]))
        root = t.certificate("root", signer, "root", signer, [t.CA])
        chain, issuer = [], "root"
        for i in range(rng.choice((0, 0, 1, 2, 3, 7))):
            chain.append(t.certificate("ca%d" % i, signer, issuer, signer, authority, serial=9 + i))
            issuer = "ca%d" % i
        times = rng.choice(({},) * 5 + ({"first": b"260601120000Z"}, {"last": b"260601120000Z"}, {"first": b"260601120001Z"}, {"last": b"260601115959Z"}))
        own = t.certificate("tsa", signer, issuer, signer, extensions, serial=2, **times)
        more = rng.choice(({},) * 4 + ({"version": rng.randrange(3)}, {"nonce": [rng.randrange(300)]}, {"accuracy": b""}, {"policy": "2.999.%d" % rng.randrange(1 << 40)},
                                      {"time": rng.choice((b"20260601120000.5Z", b"20260601120000.50Z", b"20260601120060Z", b"202606011200Z", b"20260601120000+0000", b"00000601120000Z"))},
                                      {"accuracy": t.sequence(t.der_int(rng.choice((0, 1, 31536000, 31536001))), t.der_int(rng.choice((0, 1, 999, 1000)), 0x80))},
                                      {"more": rng.choice((t.der(1, b"\xff"), t.der(1, b"\0"), t.der(1, b"\1"), t.der(0xa0, t.der(0xa4, t.der_name("tsa"))),
                                                           t.der(0xa1, t.extension("1.2.3", b"x", rng.random() < 0.5)), t.der(5)))},
                                      {"ess": rng.choice(("", "v1", "v1 v2"))}, {"digest": bytes(32)}, {"hash_id": t.Signer(digest=hashlib.sha384).hash_id},
                                      {"serial": 3}))
        digest = more.pop("digest", DIGEST)
        included = [own] + chain + rng.choice(([], [root], [b"\x30\x00"], [t.der(0xa2, b"x")], [own] * 31))
        token = t.token(digest, signer, own, included, issuer=issuer, **more)
        return token, rng.choice([root] * 4 + [own] + chain)
    token, root = rng.choice(tokens)
    return rng.choice((flipped, restructured, restructured))(rng, token), root


def tokens(rng, count):
    good = corpus()
    for i in range(count):
        proof, root = good[i] if i < len(good) else random_token(rng, good)
        try:
            after, before = v.TimeStamp(proof).verify(DIGEST, [v.Certificate(root)])
            answer = {"after": after, "before": before}
        except v.ProofRefused as refused:
            answer = {"code": refused.code}
        yield {"proof": b64(proof), "digest": DIGEST.hex(), "root": b64(root), "answer": answer}


# --- OpenTimestamps proofs

def random_number(rng, n):
    out = b""
    while n >> 7:
        out += bytes([n & 0x7f | 0x80])
        n >>= 7
    return out + (bytes([n]) if rng.random() < 0.998 else bytes([n | 0x80, 0]))


def varbytes(rng, data):
    return random_number(rng, len(data)) + data


def random_timestamp(rng, message, blocks, depth=0):
    """A tree whose Bitcoin attestations are noted in `blocks`: height: message, where it is known."""
    items = []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        kind = rng.random()
        if depth > 12 or kind < 0.3:
            height = rng.randrange(100, 104)
            tag, payload = rng.choice((
                [(v._OTS_BITCOIN, random_number(rng, height))] * 4
                + [(v._OTS_PENDING, varbytes(rng, rng.choice((b"https://a.example",) * 20 + (b"http://A_b:1/", b"", b"a b", b"?", b"a" * 1001))))]
                + [(v._OTS_HEIGHTS[1], random_number(rng, height)), (v._OTS_HEIGHTS[2], random_number(rng, 2 ** 53 - rng.choice((0, 1, 1, 1, 1)))), (bytes(8), b"any")]))
            if tag == v._OTS_BITCOIN and message is not None:
                blocks.setdefault(height, []).append(message)
            if rng.random() < 0.006:
                payload += b"\0"
            items.append(b"\0" + tag + varbytes(rng, payload))
            continue
        data = rng.randbytes(rng.choice((1, 1, 4, 32, 4096 if rng.random() < 0.02 else 8, 0 if rng.random() < 0.02 else 2)))
        operation, after = rng.choice((
            [(b"\x08", message and v.sha256(message))] * 6
            + [(b"\xf0" + varbytes(rng, data), message and message + data)] * 4 + [(b"\xf1" + varbytes(rng, data), message and data + message)] * 4
            + [(b"\xf2", message and message[::-1]), (b"\xf3", message and message.hex().encode()), (b"\x02", message and hashlib.sha1(message).digest()), (b"\x03", None), (b"\x67", None)]
            + ([(b"\x09", None)] if rng.random() < 0.1 else [])))
        items.append(operation + random_timestamp(rng, after, blocks, depth + 1))
    return b"".join(b"\xff" + item for item in items[:-1]) + items[-1]


def ots(rng, count):
    for _ in range(count):
        blocks = {}
        head = rng.choice((b"\x08",) * 20 + (b"\x02", b"\x03", b"\x67"))
        proof = v._OTS_MAGIC + head + (DIGEST if rng.random() < 0.97 else bytes(32))[:20 if head in (b"\x02", b"\x03") else 32]
        proof += random_timestamp(rng, DIGEST, blocks)
        if rng.random() < 0.3:
            proof += b"\x08" * rng.choice((250, 255, 256)) if rng.random() < 0.1 else b""
            proof = rng.choice((proof[:-1], proof + b"\0", flipped(rng, proof), flipped(rng, proof)))
        headers = {}
        for height, messages in blocks.items():
            if rng.random() < 0.8:
                message = rng.choice(messages)
                header = t.OpenTimestamps.mine(message if len(message) == 32 else bytes(32), rng.randrange(1, 2 ** 32))
                headers[height] = flipped(rng, header) if rng.random() < 0.1 else header
        try:
            after, before = v.OpenTimestamp(proof).verify(DIGEST, headers, BITS_MAX)
            answer = {"after": after, "before": before}
        except v.ProofRefused as refused:
            answer = {"code": refused.code}
        yield {"proof": b64(proof), "digest": DIGEST.hex(), "headers": [[h, b.hex()] for h, b in headers.items()], "bitsMax": BITS_MAX, "answer": answer}


# --- evidence packages

PEM = "-----BEGIN CERTIFICATE-----\n%s-----END CERTIFICATE-----\n"


def damaged(rng, value):
    """A JSON value with one part of it changed."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        name = rng.choice(list(value))
        what = rng.random()
        if what < 0.05:
            return {k: x for k, x in value.items() if k != name}
        if what < 0.1:
            return dict(value, **{rng.choice(("more", "size", "note")): value[name]})
        return dict(value, **{name: damaged(rng, value[name])})
    if isinstance(value, list) and value and rng.random() < 0.9:
        i = rng.randrange(len(value))
        return rng.choice((value[:i] + value[i + 1:], value + [value[i]], value[:i] + [damaged(rng, value[i])] + value[i + 1:],
                           value[:i] + [damaged(rng, value[i])] + value[i + 1:], value[::-1]))
    if isinstance(value, str) and value and rng.random() < 0.8:
        i = rng.randrange(len(value))
        return rng.choice((value[:i] + rng.choice("0a9fz/.\n") + value[i + 1:], value[:i] + value[i + 1:], value + value[-1]))
    if isinstance(value, int) and not isinstance(value, bool) and rng.random() < 0.8:
        return value + rng.choice((-1, 1, 1000))
    return rng.choice((None, 0, 1, "", "x", [], {}, True))


def damaged_json(rng, data):
    """One line of it changed."""
    lines = data.split(b"\n")[:-1]
    i = rng.randrange(len(lines))
    lines[i] = v.jcs(damaged(rng, json.loads(lines[i])))
    return b"\n".join(lines) + b"\n"


class Forge(t.Packages):
    def runTest(self):
        pass


def random_package(rng, forge):
    ledger = t.Ledger()
    for i in range(1, rng.choice((2, 4, 7))):
        if rng.random() < 0.3:
            at = ledger.fields({"action": "f", "id": "f%d" % i, "payload": {"x": i, "y": 2}})
            if rng.random() < 0.5:
                ledger.withhold(at, ["payload.y"])
        else:
            ledger.event({"action": "a.b", "actor": "alice", "id": "e%d" % rng.choice((i, i, i, 1))})
    anchors, more = [], {}
    for number in range(rng.choice((0, 0, 1, 2))):
        size = rng.randrange(1, ledger.size + 1)
        note = ledger.checkpoint(size, witnesses=(), signers=rng.choice(((t.LOG,),) * 9 + ((t.LOG2,),)))
        digest = v.sha256(note.encode())
        kind = rng.choice(("rfc3161", "rfc3161", "opentimestamps"))
        if kind == "rfc3161":
            if rng.random() < 0.08:
                digest = bytes(32)
            time = rng.choice((b"20260102030%d0%dZ" % (rng.randrange(10), rng.randrange(10)), b"20260102025%d0%dZ" % (rng.randrange(4, 6), rng.randrange(10)), b"20260601120000Z"))
            proof = t.token(digest, forge.signer, forge.own, [forge.own], time=time, ess=rng.choice(("v2",) * 9 + ("",)))
        else:
            proof = v._OTS_MAGIC + b"\x08" + digest + random_timestamp(rng, digest, {}, 11)
        if rng.random() < 0.06:
            proof = flipped(rng, proof)
        payload = {"kind": kind, "note": v.sha256(note.encode()).hex(), "proof": v.sha256(proof).hex(), "root": t.mth(ledger.leaves[:size]).hex(), "size": size}
        at = ledger.control("ledger.anchor", payload if rng.random() < 0.93 else damaged(rng, payload))
        name = "anchors/%d" % number
        suffix = rng.choice((".tsr", ".tst")) if kind == "rfc3161" else ".ots"
        anchors.append((kind, name + ".note", name + suffix, size, at))
        more[name + ".note"], more[name + suffix] = note.encode(), proof
    if rng.random() < 0.3:
        at = ledger.erase((rng.randrange(ledger.size), {}))
    over = {}
    first, last = (0, ledger.size - 1) if rng.random() < 0.7 else sorted((rng.randrange(ledger.size), rng.randrange(ledger.size)))
    note = ledger.checkpoint(witnesses=rng.choice(((), ((t.WITNESS, t.WNAME),), ((t.WITNESS, t.WNAME),))),
                             witness_time=rng.choice((1767323999, 1767323100, 1767322500)), signers=rng.choice((None,) * 15 + ((t.LOG2,),)))
    kind = rng.random()
    if kind < 0.7:
        entries = ledger.export(first, last, checkpoint=note)
    elif kind < 0.85:
        entries = ledger.filtered(sorted(rng.sample(range(first, last + 1), rng.randrange(last - first + 2))), first, last, checkpoint=note)
    else:
        wanted = rng.choice(({"action": "a.b"}, {"where": {"payload.y": 2}}, {"from": "2026-01-02T03:00:03.000Z"}))
        entries = ledger.export(first, last, checkpoint=note, selection={"filter": wanted, "first": first, "kind": "complete", "last": last})
    if rng.random() < 0.12:
        entries = damaged_json(rng, entries)
    if anchors:
        more["anchors/index.json"] = v.jcs([{
            "consistency": forge.consistency(ledger, size), "kind": kind, "note": name, "proof": proof, "recorded": None if rng.random() < 0.2 else dict(
                ledger.bodies[at], entry=ledger.entries[at], inclusion=[h.hex() for h in t.inclusion(at, ledger.leaves)])}
            for kind, name, proof, size, at in anchors]) + b"\n"
        if rng.random() < 0.2:
            more["anchors/index.json"] = damaged_json(rng, more["anchors/index.json"])
        if rng.random() < 0.2:
            more["anchors/headers"] = rng.choice((b"# none\n", b"", b"x\n", b"1 %s\n" % (b"0" * 160)))
    if rng.random() < 0.3:
        size = rng.randrange(1, ledger.size + 1)
        value = {"checkpoint": ledger.checkpoint(size), "proof": forge.consistency(ledger, size)}
        more["consistency.json"] = v.jcs(value if rng.random() < 0.8 else damaged(rng, value)) + b"\n"
    if rng.random() < 0.2:
        more[rng.choice(("report.html", "report.json", "readme.txt", "other", "anchors/5.note"))] = b"text"
    names = list(more)
    rng.shuffle(names)
    parts = {"policy": t.policy_text().encode(), "checkpoint": note.encode(), "entries.jsonl": entries}
    parts.update((name, more[name]) for name in names)
    if rng.random() < 0.05:
        parts["checkpoint"] = ledger.checkpoint(1).encode()
    try:
        manifest = forge.manifest(dict(parts, **{"entries.jsonl": ledger.export(first, last, checkpoint=note, **over)} if kind < 0.7 else {}))
        value = json.loads(manifest)
        value["selection"] = json.loads(entries.split(b"\n")[0]).get("selection") if rng.random() < 0.97 else {}
    except (ValueError, AttributeError, v.Refused, TypeError, KeyError):
        value = json.loads(forge.manifest(dict(parts, **{"entries.jsonl": ledger.export(checkpoint=note)})))
    value["members"] = [{"name": n, "sha256": hashlib.sha256(d).hexdigest(), "size": len(d)} for n, d in parts.items()]
    if rng.random() < 0.15:
        value = damaged(rng, value)
    manifest = v.jcs(value) + b"\n"
    signature = forge.signature(manifest, rng.choice((t.LOG,) * 12 + (t.LOG2,)))
    if rng.random() < 0.05:
        signature = rng.choice((signature * 2, signature * 17, b"", flipped(rng, signature), signature + forge.signature(manifest, t.LOG2)))
    deflate = rng.sample(list(parts), rng.randrange(len(parts) + 1)) + rng.choice(([], ["manifest.json"]))
    how = {}
    target = rng.choice(list(parts) + ["manifest.json", "manifest.sig"])
    if rng.random() < 0.15:
        which = rng.choice(("central", "local"))
        how[which] = {target: {rng.randrange(30 if which == "local" else 46): rng.randbytes(1)}}
    elif rng.random() < 0.05:
        how = rng.choice(({"crcs": {target: 1}}, {"gap": {target: b"\0"}}, {"behind": b"\0"}, {"after_central": b"\0"}, {"sizes": {target: rng.randrange(3000)}},
                          {"packed": {target: rng.randbytes(40)}}, {"end": {rng.randrange(22): rng.randbytes(1)}}))
    data = forge.pack(parts, manifest, signature, deflate=deflate, **how)
    if rng.random() < 0.1:
        data = flipped(rng, data)
    held = ledger.checkpoint(rng.randrange(1, ledger.size + 1)) if rng.random() < 0.3 else None
    if held and rng.random() < 0.2:
        held = t.Findings.ledger(None, 3).checkpoint(rng.randrange(1, 4))
    return data, held


def packages(rng, count):
    forge = Forge()
    forge.setUpClass()
    policies = [t.policy_text(), t.policy_text(quorum="none"), t.policy_text("#tallystick require-signature"), t.policy_text(log=t.LOG2), None, None]
    parsed = {text: v.Policy.parse(text.encode()) for text in policies if text}
    root = v.Certificate(forge.root)
    for _ in range(count):
        data, held = random_package(rng, forge)
        policy = rng.choice(policies)
        with_root, require, asserted = rng.random() < 0.8, rng.random() < 0.2, policy is None and rng.random() < 0.5
        reader = v.Reader(parsed.get(policy), asserted, v.Checkpoint(held.encode()) if held else None, [root] if with_root else [], None, require)
        try:
            report = v.verify_source(io.BytesIO(data), "package", reader)
            timeline = report.timeline()
            answer = {"exit": report.exit_code, "codes": sorted({f["code"] for f in report.findings}), "verdicts": report.status,
                      "required": report.required_missing, "found": [f["found"] for f in report.findings if f["code"] == "package-malformed"],
                      "after": [[r["size"], r["time"]] for r in timeline["notAfter"]], "before": [[r["index"], r["time"]] for r in timeline["notBefore"]]}
        except v.Unreadable as error:
            answer = {"exit": 5, "codes": [error.code]}
        yield {"file": b64(data), "policy": policy, "selfAsserted": asserted, "held": held, "tsaRoots": PEM % base64.encodebytes(forge.root).decode() if with_root else None,
               "requireAnchor": require, "answer": answer}


# --- published ledgers

class Publisher(t.PublishedFolder):
    def runTest(self):
        pass


def random_ledger(rng, size):
    ledger = t.Ledger() if rng.random() < 0.98 else t.Ledger(hash_name="sha512")
    bad = rng.randrange(1, size + 1) if rng.random() < 0.25 else None
    while ledger.size < size:
        over = {}
        if ledger.size == bad:
            over = rng.choice(({"index": bad + 1}, {"previous": "0" * 64}, {"time": "2026-01-02T02:00:00.000Z"}, {"time": "2026-01-05T02:00:00.000Z"}, {"v": 2},
                               {"commitment": "sha3-256:" + "0" * 64}, {"scheme": "other"}))
        ledger.event({"action": "a"}, **over)
    return ledger


def repacked(rng, data):
    """A bundle with one of its entries changed."""
    texts, at = [], 0
    while at < len(data):
        end = at + 2 + int.from_bytes(data[at:at + 2], "big")
        texts.append(data[at + 2:end])
        at = end
    i = rng.randrange(len(texts))
    what = rng.randrange(4)
    if what == 0:
        texts[i] = flipped(rng, texts[i])
    elif what == 1:
        texts[i] = texts[i].replace(b"2026", b"2025")
    elif what == 2:
        texts[i] = texts[rng.randrange(len(texts))]
    else:
        del texts[i]
    return b"".join(struct.pack(">H", len(text)) + text for text in texts)


def random_folder(rng, publisher, ledgers):
    ledger = rng.choice(ledgers)
    size = rng.choice((ledger.size, rng.randrange(1, ledger.size + 1)))
    objects = publisher.publish(ledger, size)
    if rng.random() < 0.2:
        later = publisher.publish(ledger, ledger.size)
        objects = dict(later, **objects)
    note = ledger.checkpoint(size, witnesses=rng.choice(((), ((t.WITNESS, t.WNAME),), ((t.WITNESS, t.WNAME),))), signers=rng.choice((None,) * 9 + ((t.LOG2,),)))
    objects["checkpoint"] = note.encode()
    for _ in range(rng.choice((0, 1, 1, 1, 2))):
        name = rng.choice(list(objects))
        what = rng.randrange(7)
        if what == 0 and len(objects) > 1 and name != "checkpoint":
            del objects[name]
        elif what == 1 and name.startswith("tile/entries/") and objects[name]:
            try:
                objects[name] = repacked(rng, objects[name])
            except ValueError:
                pass
        elif what == 2:
            objects[name] = rng.choice((objects[name][:-1], objects[name] + b"\0", b""))
        elif what == 3 and objects[name]:
            objects[name] = flipped(rng, objects[name])
        elif what == 4:
            objects["checkpoint"] = rng.choice(ledgers).checkpoint(size=None).encode()
        elif what == 5:
            other = publisher.publish(rng.choice(ledgers))
            if name in other and name != "checkpoint":
                objects[name] = other[name]
    held = rng.choice(ledgers).checkpoint(rng.randrange(1, 4)) if rng.random() < 0.15 else ledger.checkpoint(rng.randrange(1, ledger.size + 1)) if rng.random() < 0.3 else None
    return objects, held


def published(rng, count):
    publisher = Publisher()
    sizes = [1, 2, 3, 7, 255, 256, 257, 300, 515, 600]
    ledgers = [random_ledger(rng, size) for size in sizes for _ in range(2)]
    policies = [t.policy_text(), t.policy_text(quorum="none"), t.policy_text(log=t.LOG2), None, t.policy_text("#tallystick genesis " + ledgers[2].leaves[0].hex()),
                t.policy_text("#tallystick genesis " + "0" * 64, quorum="none")]
    for _ in range(count):
        objects, held = random_folder(rng, publisher, ledgers)
        policy = rng.choice(policies)
        reader = v.Reader(v.Policy.parse(policy.encode()) if policy else None, False, v.Checkpoint(held.encode()) if held else None)
        with tempfile.TemporaryDirectory() as folder:
            for name, data in objects.items():
                path = os.path.join(folder, *name.split("/"))
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with open(path, "wb") as file:
                    file.write(data)
            try:
                report = v.verify_path(folder, reader)
                answer = {"exit": report.exit_code, "codes": sorted({f["code"] for f in report.findings}), "verdicts": report.status}
            except v.Unreadable as error:
                answer = {"exit": 5, "codes": [error.code]}
        yield {"objects": {name: b64(data) for name, data in objects.items()}, "policy": policy, "held": held, "answer": answer}


if __name__ == "__main__":
    kind, seed, count = sys.argv[1:]
    for case in {"tokens": tokens, "ots": ots, "packages": packages, "published": published}[kind](random.Random(int(seed)), int(count)):
        sys.stdout.write(json.dumps(case) + "\n")
