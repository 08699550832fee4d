"""Tests of verify.py. Standard library only: python3 -m unittest discover verifier  (or: python3 verifier/test_verify.py)"""

import base64
import glob
import hashlib
import io
import json
import os
import random
import re
import struct
import subprocess
import sys
import tempfile
import unittest
import zlib

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import verify as v  # noqa: E402

SPEC = os.path.join(HERE, "..", "spec")
VECTORS = os.path.join(HERE, "..", "vectors")


# ---------------------------------------------------------------------------------------------------
# What the tests need and a verifier does not: signing, proving, building ledgers
# ---------------------------------------------------------------------------------------------------

def b64(data):
    return base64.b64encode(data).decode()


def ed_multiply(n):
    q = v._ED_NEUTRAL
    if not v._ed_base_table:
        v._ed_base_table.extend(v._ed_table(v._ED_B))
    for row in v._ed_base_table:
        if n & 15:
            q = v._ed_add(q, row[n & 15])
        n >>= 4
    x, y, z, _ = q
    i = pow(z, v._P - 2, v._P)
    return (y * i % v._P | (x * i % v._P & 1) << 255).to_bytes(32, "little")


class Ed:
    def __init__(self, seed):
        h = hashlib.sha512(seed).digest()
        self.a = int.from_bytes(h[:32], "little") & (1 << 254) - 8 | 1 << 254
        self.nonce, self.public = h[32:], ed_multiply(self.a)
        self.spki = v._SPKI["ed25519"][0] + self.public
        self.key_id = hashlib.sha256(self.spki).hexdigest()

    def sign(self, message):
        r = int.from_bytes(hashlib.sha512(self.nonce + message).digest(), "little") % v._L
        big_r = ed_multiply(r)
        k = int.from_bytes(hashlib.sha512(big_r + self.public + message).digest(), "little")
        return big_r + ((r + k * self.a) % v._L).to_bytes(32, "little")

    def item(self, message):
        return {"keyId": self.key_id, "signature": b64(self.sign(message))}

    def vkey(self, name, kind):
        data = bytes([kind]) + self.public
        return "%s+%s+%s" % (name, hashlib.sha256(name.encode() + b"\n" + data).hexdigest()[:8], b64(data))


class MlDsa:
    """FIPS 204 key generation and deterministic signing, pure, empty context."""

    def __init__(self, name, seed):
        self.name = name
        self.k, self.l, self.tau, self.c_len, self.gamma1, self.gamma2, self.beta, self.omega = v._ML_DSA[name]
        self.eta = 4 if name == "ml-dsa-65" else 2
        h = hashlib.shake_256(seed + bytes([self.k, self.l])).digest(128)
        rho, rho2, self.big_k = h[:32], h[32:96], h[96:]
        self.matrix = [[v._rej_ntt_poly(rho + bytes([s, r])) for s in range(self.l)] for r in range(self.k)]
        s1 = [self._bounded(rho2 + struct.pack("<H", i)) for i in range(self.l)]
        s2 = [self._bounded(rho2 + struct.pack("<H", i + self.l)) for i in range(self.k)]
        self.s1, self.s2 = [v._ntt(p) for p in s1], [v._ntt(p) for p in s2]
        t0, t1 = [], []
        for i in range(self.k):
            product = v._ntt_inverse([sum(self.matrix[i][j][x] * self.s1[j][x] for j in range(self.l)) % v._Q for x in range(256)])
            high, low = [], []
            for x in range(256):
                r = (product[x] + s2[i][x]) % v._Q
                r0 = r % 8192
                r0 -= 8192 if r0 > 4096 else 0
                high.append(r - r0 >> 13)
                low.append(r0)
            t1.append(high)
            t0.append(v._ntt(low))
        self.t0 = t0
        self.public = rho + b"".join(v._pack(p, 10) for p in t1)
        self.tr = hashlib.shake_256(self.public).digest(64)

    def _bounded(self, seed):
        out = []
        for byte in hashlib.shake_256(seed).digest(1024):
            for z in (byte & 15, byte >> 4):
                if self.eta == 2 and z < 15:
                    out.append(2 - z % 5)
                elif self.eta == 4 and z < 9:
                    out.append(4 - z)
        return out[:256]

    def sign(self, message):
        k, l, q, g1, g2 = self.k, self.l, v._Q, self.gamma1, self.gamma2
        mu = hashlib.shake_256(self.tr + b"\x00\x00" + message).digest(64)
        rho3 = hashlib.shake_256(self.big_k + bytes(32) + mu).digest(64)
        bits, kappa = g1.bit_length(), 0
        m = (q - 1) // (2 * g2)

        def centred(x):
            x %= q
            return x - q if x > q // 2 else x

        while True:
            y = [[g1 - x for x in v._unpack(hashlib.shake_256(rho3 + struct.pack("<H", kappa + i)).digest(32 * bits), bits)] for i in range(l)]
            kappa += l
            yh = [v._ntt(p) for p in y]
            w = [v._ntt_inverse([sum(self.matrix[i][j][x] * yh[j][x] for j in range(l)) % q for x in range(256)]) for i in range(k)]
            w1 = b"".join(v._pack([v._decompose(x, g2)[0] for x in p], (m - 1).bit_length()) for p in w)
            c_tilde = hashlib.shake_256(mu + w1).digest(self.c_len)
            c = v._ntt(v._sample_in_ball(c_tilde, self.tau))

            def times(p):
                return v._ntt_inverse([a * b % q for a, b in zip(c, p)])
            z = [[centred(a + b) for a, b in zip(y[i], times(self.s1[i]))] for i in range(l)]
            if any(abs(x) >= g1 - self.beta for p in z for x in p):
                continue
            w_cs2 = [[(a - b) % q for a, b in zip(w[i], times(self.s2[i]))] for i in range(k)]
            if any(abs(v._decompose(x, g2)[1]) >= g2 - self.beta for p in w_cs2 for x in p):
                continue
            ct0 = [[centred(x) for x in times(p)] for p in self.t0]
            if any(abs(x) >= g2 for p in ct0 for x in p):
                continue
            hints, ends = [], []
            for i in range(k):
                hints += [x for x in range(256)
                          if v._decompose(w_cs2[i][x], g2)[0] != v._decompose((w_cs2[i][x] + ct0[i][x]) % q, g2)[0]]
                ends.append(len(hints))
            if len(hints) > self.omega:
                continue
            return (c_tilde + b"".join(v._pack([g1 - x for x in p], bits) for p in z)
                    + bytes(hints) + bytes(self.omega - len(hints)) + bytes(ends))


def mth(leaves):
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1 << (len(leaves) - 1).bit_length() - 1
    return v.node_hash(mth(leaves[:k]), mth(leaves[k:]))


def inclusion(index, leaves):
    if len(leaves) == 1:
        return []
    k = 1 << (len(leaves) - 1).bit_length() - 1
    if index < k:
        return inclusion(index, leaves[:k]) + [mth(leaves[k:])]
    return inclusion(index - k, leaves[k:]) + [mth(leaves[:k])]


def range_proof(first, last, leaves, low=0):
    high = low + len(leaves)
    if high <= first or low > last:
        return [mth(leaves)]
    if len(leaves) == 1:
        return []
    k = 1 << (len(leaves) - 1).bit_length() - 1
    return range_proof(first, last, leaves[:k], low) + range_proof(first, last, leaves[k:], low + k)


def seed(name):
    return hashlib.sha256(name.encode()).digest()


LOG, LOG2, WITNESS, WITNESS2, ALICE = Ed(seed("log")), Ed(seed("log2")), Ed(seed("w")), Ed(seed("w2")), Ed(seed("alice"))
ORIGIN, WNAME = "ledger.test/a", "witness.test/w"


class Ledger:
    """Builds ledgers, honest ones and others."""

    def __init__(self, hash_name="sha256", require=False, log=LOG, first_time=0, genesis=None):
        self.hash_name, self.h = hash_name, v._HASHES[hash_name]
        self.entries, self.leaves, self.bodies, self.log = [], [], [], log
        self.clock = first_time
        payload = {"commitmentHash": hash_name, "limits": {"eventBytes": 1024}, "lockStoreId": "0" * 32,
                   "logKeys": [log.vkey(ORIGIN, 1)], "origin": ORIGIN, "rules": {"requireSignature": require}, "scheme": "event"}
        payload.update(genesis or {})
        self.control("ledger.genesis", payload)

    @property
    def size(self):
        return len(self.entries)

    def previous(self):
        return self.leaves[-1].hex() if self.leaves else v.ZEROS

    def _entry(self, digest, scheme, **over):
        self.clock += 1
        fields = {"commitment": "%s:%s" % (self.hash_name, digest), "index": self.size, "previous": self.previous(), "scheme": scheme,
                  "time": "2026-01-02T03:%02d:%02d.000Z" % divmod(self.clock, 60), "v": 1}
        fields.update(over)
        text = v.jcs_text(fields)
        self.entries.append(text)
        self.leaves.append(v.leaf_hash(text.encode()))
        return self.size - 1

    def salt(self, name=""):
        return seed("salt %d %s" % (self.size, name))[:16]

    def event(self, event, scheme="event", commit=None, **over):
        salt = self.salt()
        digest = self.h(b"tallystick/v1/" + scheme.encode() + b"\n" + salt + v.jcs(event if commit is None else commit)).hexdigest()
        self.bodies.append({"event": event, "salt": salt.hex()})
        return self._entry(digest, scheme, **over)

    def control(self, action, payload, signers=(), more=None, **over):
        event = {"action": action, "payload": payload}
        event.update(more or {})
        if signers:
            message = "tallystick/v1/key\n%s\n%s\n%d\n%s\n%s" % (ORIGIN, action, self.size, self.previous(), hashlib.sha256(v.jcs(event)).hexdigest())
            event["signatures"] = [s.item(message.encode()) for s in signers]
        return self.event(event, "control", **over)

    def cut(self, event):
        out = {}
        for name, value in event.items():
            if name in v._CUT and isinstance(value, dict) and value:
                out.update(("%s.%s" % (name, m), x) for m, x in value.items())
            else:
                out[name] = value
        return out

    def fields(self, event, show=None, signers=(), fields=None, **over):
        cut = fields if fields is not None else self.cut(event)
        def parts(cut):
            names = sorted(cut, key=v._utf16)
            return names, {n: self.h(b"tallystick/v1/field\n" + self.salt(n) + v.jcs([n, cut[n]])).digest() for n in names}
        def total(names, digests):
            return self.h(b"tallystick/v1/fields\n" + v.jcs(names) + b"\n" + b"".join(digests[n] for n in names)).hexdigest()
        if signers:
            digest = total(*parts(cut))
            cut["signatures"] = [s.item(("tallystick/v1/author\n%s\ned25519\n%s\nfields\n%s" % (ORIGIN, s.key_id, digest)).encode()) for s in signers]
        names, digests = parts(cut)
        show = names if show is None else show
        self.bodies.append({"names": names, "disclosed": {n: [self.salt(n).hex(), cut[n]] for n in names if n in show},
                            "digests": {n: digests[n].hex() for n in names if n not in show}})
        return self._entry(total(names, digests), "fields", **over)

    def signed(self, event, signers=(ALICE,), **over):
        digest = hashlib.sha256(v.jcs(event)).hexdigest()
        event = dict(event)
        event["signatures"] = [s.item(("tallystick/v1/author\n%s\ned25519\n%s\nevent\n%s" % (ORIGIN, s.key_id, digest)).encode()) for s in signers]
        return self.event(event, **over)

    def add_author(self, key=ALICE, actor="alice", signers=None):
        return self.control("ledger.key.added", {"actor": actor, "algorithm": "ed25519", "role": "author", "spki": b64(key.spki)},
                            (self.log, key) if signers is None else signers)

    def erase(self, *items, **over):
        return self.control("ledger.erasure", {"entries": [dict({"index": i, "leaf": self.leaves[i].hex() if i < self.size else "0" * 64}, **more)
                                                           for i, more in items], "reason": "r"}, **over)

    def withhold(self, index, names):
        body = self.bodies[index]
        for name in names:
            salt, value = body["disclosed"].pop(name)
            body["digests"][name] = self.h(b"tallystick/v1/field\n" + bytes.fromhex(salt) + v.jcs([name, value])).hexdigest()

    def gone(self, index, by):
        self.bodies[index] = {"erasedBy": by}

    def checkpoint(self, size=None, signers=None, witness_time=1767323999, witnesses=((WITNESS, WNAME),)):
        leaves = self.leaves[:size]
        text = "%s\n%d\n%s\n" % (ORIGIN, len(leaves), b64(mth(leaves)))
        out = text + "\n"
        for key in (self.log,) if signers is None else signers:
            raw = bytes([1]) + key.public
            out += "\u2014 %s %s\n" % (ORIGIN, b64(hashlib.sha256(ORIGIN.encode() + b"\n" + raw).digest()[:4] + key.sign(text.encode())))
        for key, name in witnesses:
            raw = bytes([4]) + key.public
            signature = key.sign(b"cosignature/v1\ntime %d\n" % witness_time + text.encode())
            out += "\u2014 %s %s\n" % (name, b64(hashlib.sha256(name.encode() + b"\n" + raw).digest()[:4] + struct.pack(">Q", witness_time) + signature))
        return out

    def line(self, index, filtered=False):
        obj = dict(self.bodies[index], entry=self.entries[index])
        if filtered:
            obj["inclusion"] = [h.hex() for h in inclusion(index, self.leaves)]
        return v.jcs(obj) + b"\n"

    def header(self, first, last, filtered=False, **over):
        genesis = dict(self.bodies[0], entry=self.entries[0], inclusion=[h.hex() for h in inclusion(0, self.leaves)])
        header = {"checkpoint": self.checkpoint(), "format": v.EXPORT_FORMAT, "genesis": genesis, "origin": ORIGIN,
                  "selection": {"first": first, "kind": "range", "last": last}}
        if filtered:
            header["selection"].update(kind="filter", filter={"any": 1})
        else:
            header["proof"] = [h.hex() for h in range_proof(first, last, self.leaves)]
        header.update(over)
        return v.jcs(header) + b"\n"

    def export(self, first=0, last=None, **over):
        last = self.size - 1 if last is None else last
        return self.header(first, last, **over) + b"".join(self.line(i) for i in range(first, last + 1))

    def filtered(self, indexes, first=0, last=None, **over):
        last = self.size - 1 if last is None else last
        return self.header(first, last, True, **over) + b"".join(self.line(i, True) for i in indexes)

    def receipt(self, index, **over):
        proof = "c2sp.org/tlog-proof@v1\nindex %d\n" % index + "".join(b64(h) + "\n" for h in inclusion(index, self.leaves)) + "\n" + self.checkpoint()
        obj = dict(self.bodies[index], entry=self.entries[index], format=v.RECEIPT_FORMAT, proof=proof)
        obj.update(over)
        return v.jcs(obj) + b"\n"


def policy_text(*more, quorum="w", log=LOG, authors=()):
    out = "log %s\nwitness w %s\nquorum %s\n" % (log.vkey(ORIGIN, 1), WITNESS.vkey(WNAME, 4), quorum)
    for key, actor, first, until in authors:
        out += "#tallystick author ed25519 %s %s %s %s\n" % (b64(key.spki), v.jcs_text(actor), first, until)
    return out + "".join(line + "\n" for line in more)


def run(data, policy=None, self_asserted=False, kind=None, held=None):
    """The report, of bytes."""
    held = v.Checkpoint(held.encode()) if held else None
    if isinstance(policy, str):
        policy = v.Policy.parse(policy.encode())
    source = io.BytesIO(data)
    return v.verify_source(source, kind or v.recognise(data[:v.MAX_NOTE + 1]), v.Reader(policy, self_asserted, held))


def codes(report):
    return sorted((f["code"], f.get("index")) for f in report.findings)


def fences(name):
    with open(os.path.join(SPEC, name), encoding="utf-8") as file:
        return re.findall(r"```\n(.*?)```", file.read(), re.S)


# ---------------------------------------------------------------------------------------------------

class Json(unittest.TestCase):
    RFC8785 = """
        0000000000000000 0|8000000000000000 0|0000000000000001 5e-324|8000000000000001 -5e-324
        7fefffffffffffff 1.7976931348623157e+308|ffefffffffffffff -1.7976931348623157e+308
        4340000000000000 9007199254740992|c340000000000000 -9007199254740992|4430000000000000 295147905179352830000
        44b52d02c7e14af5 9.999999999999997e+22|44b52d02c7e14af6 1e+23|44b52d02c7e14af7 1.0000000000000001e+23
        444b1ae4d6e2ef4e 999999999999999700000|444b1ae4d6e2ef4f 999999999999999900000|444b1ae4d6e2ef50 1e+21
        3eb0c6f7a0b5ed8c 9.999999999999997e-7|3eb0c6f7a0b5ed8d 0.000001|41b3de4355555553 333333333.3333332
        41b3de4355555554 333333333.33333325|41b3de4355555555 333333333.3333333|41b3de4355555556 333333333.3333334
        41b3de4355555557 333333333.33333343|becbf647612f3696 -0.0000033333333333333333|43143ff3c1cb0959 1424953923781206.2"""

    def test_rfc8785_numbers(self):
        for pair in re.split(r"[|\n]\s*", self.RFC8785.strip()):
            bits, text = pair.split()
            self.assertEqual(v.es_number(struct.unpack(">d", bytes.fromhex(bits))[0]), text)

    def test_numbers_read_back(self):
        rng = random.Random(1)
        for _ in range(5000):
            x = struct.unpack(">d", rng.getrandbits(64).to_bytes(8, "big"))[0]
            if x == x and abs(x) != float("inf"):
                self.assertEqual(float(v.es_number(x)), x)

    def test_canonical(self):
        for text in ('{"action":"user.login","actor":"alice","n":0.000001,"text":"a\\u0001\\"é"}', "[]", "{}", '""', "0", "-1", "12.5", "1e-7",
                     "1.25e-10", "9007199254740991", "-9007199254740991", "null", '"/\x7f\u2028\ufffe\U0001f600"', '"\\b\\t\\n\\f\\r\\\\"',
                     '{"":1,"a":[true,false,null]}', '{"\U0001f600":1,"\ufb33":2}', '{"a":{"b":0.00001,"c":"\U0001f600"}}', '{"a":"__proto__"}',
                     '{"x__proto__":1}', "[" * 64 + "]" * 64, "0.1", "-0.5", '"\\u001f"'):
            value, _ = v.canonical(text.encode("utf-8"), 64)
            self.assertEqual(v.jcs(value), text.encode("utf-8"))

    def test_refused(self):
        for raw in (b"", b" 1", b"1 ", b"1\n", b"[1,]", b"{\"a\":1,}", b"'a'", b"NaN", b"Infinity", b"-Infinity", b"01", b"1.", b".5", b"+1", b"-", b"1e21",
                    b"-0", b"-0.0", b"0.0", b"1.0", b"1e5", b"1E-7", b"1e-07", b"0.0000001", b"1e-6", b"9007199254740992", b"-9007199254740992",
                    b"9007199254740992.0", b"1e309", b"1e-400", b"0.10", b"1" * 400, b"0." + b"1" * 100000, b"1" * 100000, b'"\\u0041"', b'"\\/"',
                    b'"\\u001F"', b'"\\u000a"', b'"\x01"', b'"\\ud800"', b'"\\ud83d\\ude00"', b'"\xed\xa0\x80"', b'"\xc0\x80"', b'"\xff"', b"\xef\xbb\xbf1",
                    b'{"a":1,"a":1}', b'{"a":1,"\\u0061":1}', b'{"b":1,"a":1}', b'{"a": 1}', b'{"__proto__":1}', b'[{"a":{"__proto__":1}}]',
                    b'{"a":"\xf0\x9f\x98\x80","__proto__":1}', '{"\ufb33":2,"\U0001f600":1}'.encode(), b"[" * 65 + b"]" * 65, b"[" * 100000,
                    b"[" * 100000 + b"]" * 100000, b'{"a":' * 5000 + b"1" + b"}" * 5000, b"// c\n1", b"1 // c", b"nul", b"tru", b'"', b'{"a"}', b"\x00", b"1\x00",
                    b'"\\x41"', b'"\t"', b'{1:2}', b'{"a":1}{}', b'{ "actor":"alice","action":"user.login"}', b'{"n":1e-05}'):
            with self.assertRaises(v.Refused, msg=raw[:60]):
                v.canonical(raw, 64)

    def test_both_serialisers(self):
        # What the C encoder reproduces is what the slow serialiser writes, and nothing else is accepted.
        rng = random.Random(5)
        texts = ("", "a", "\u00e9", "\uffff", "\ufb33", "\U0001f600", "\x00\x1f\x7f", "\"\\/", "\u2028", "__proto", "b.c")

        def value(depth):
            kind = rng.randrange(8 if depth else 6)
            if kind == 0:
                return rng.choice((True, False, None))
            if kind == 1:
                return rng.randrange(-v.MAX_SAFE, v.MAX_SAFE)
            if kind == 2:
                return float("%de%d" % (rng.randrange(1, 10 ** rng.randrange(1, 16)), -rng.randrange(1, 330))) or 0
            if kind < 6:
                return "".join(rng.choice(texts) for _ in range(rng.randrange(4)))
            if kind == 6:
                return [value(depth - 1) for _ in range(rng.randrange(4))]
            return {"".join(rng.choice(texts) for _ in range(2)): value(depth - 1) for _ in range(rng.randrange(5))}
        for _ in range(3000):
            made = value(4)
            if isinstance(made, float) and made == int(made):
                made = int(made)
            raw = v.jcs(made)
            try:
                got, plain = v.canonical(raw, 64)
            except v.Refused:
                self.assertTrue(re.search(rb"[0-9]", raw))    # a fraction that is a large integer
                continue
            self.assertEqual(got, made)
            if plain:
                self.assertEqual(v._ENCODE(got), v.jcs_text(got))
            at = rng.randrange(len(raw))
            changed = raw[:at] + bytes([raw[at] ^ 1 << rng.randrange(8)]) + raw[at + 1:]
            try:
                got = v.canonical(changed, 64)[0]
            except v.Refused:
                continue
            self.assertEqual(v.jcs(got), changed)

    def test_base64_and_decimals(self):
        for text in ("QQ", "QQ=", "QR==", "QQ==\n", " QQ==", "QQ==QQ==", "Q-==", "é", "=", "A"):
            with self.assertRaises(v.Refused):
                v.base64_bytes(text)
        self.assertEqual(v.base64_bytes("DqpRMw==").hex(), "0eaa5133")
        for text in ("", "01", "+1", "-1", "1 ", "9007199254740992", "1" * 100, "\u0661", "1\n"):
            with self.assertRaises(v.Refused):
                v.decimal(text)

    def test_entry(self):
        good = fences("entry.md")[0].strip()
        self.assertEqual(v.Entry(good).index, 1)
        for old, new in (("01-02T", "02-30T"), ("2026-01", "2026-13"), ("T03", "T24"), (".250", ".25"), ('"v":1', '"v":2'), ('"index":1', '"index":01'),
                         ('"index":1', '"index":9007199254740992'), ("event", "other"), ("sha256", "sha512"), ("sha256", "md5"), ('"v":1}', '"v":1}\n'), ("Z", "z")):
            with self.assertRaises(v.Refused):
                v.Entry(good.replace(old, new, 1))
        v.Entry(good.replace("2026-01-02", "0000-02-29"))


class Signatures(unittest.TestCase):
    RFC8032 = (
        ("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60", "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
         "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"),
        ("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb", "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
         "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"),
        ("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7", "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
         "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"),
    )

    def test_ed25519_rfc8032(self):
        for secret, public, message, signature in self.RFC8032:
            message, signature = bytes.fromhex(message), bytes.fromhex(signature)
            self.assertEqual(Ed(bytes.fromhex(secret)).public.hex(), public)
            self.assertEqual(Ed(bytes.fromhex(secret)).sign(message), signature)
            key = v.Ed25519Key(bytes.fromhex(public))
            for _ in range(4):                       # with and without the table
                self.assertTrue(key.verify(message, signature))
                self.assertFalse(key.verify(message + b"x", signature))
                for place in (0, 31, 32, 63):
                    bad = bytearray(signature)
                    bad[place] ^= 1
                    self.assertFalse(key.verify(message, bytes(bad)))
            s = int.from_bytes(signature[32:], "little") + v._L
            self.assertFalse(key.verify(message, signature[:32] + s.to_bytes(32, "little")))
            self.assertFalse(key.verify(message, signature[:-1]))
            self.assertFalse(key.verify(message, signature + b"\x00"))

    def test_ed25519_keys_refused(self):
        rows = re.findall(r"\b[0-9a-f]{64}\b", fences("note.md")[2])
        self.assertEqual(len(rows), 5)
        for row in rows:
            for top in (0, 0x80):
                raw = bytearray.fromhex(row)
                raw[31] |= top
                with self.assertRaises(v.Refused):
                    v.Ed25519Key(bytes(raw))
        for y in range(v._P, 2 ** 255):
            with self.assertRaises(v.Refused):
                v.Ed25519Key(y.to_bytes(32, "little"))
        with self.assertRaises(v.Refused):           # no point
            v.Ed25519Key((2).to_bytes(32, "little"))
        for length in (0, 31, 33):
            with self.assertRaises(v.Refused):
                v.Ed25519Key(bytes(length))

    def test_ed25519_cofactorless(self):
        # A key with a component of order 8: [S]B - [k]A is compared with R itself, never times 8.
        key = Ed(seed("torsion"))
        y = int.from_bytes(key.public, "little")
        point = (v._ed_recover_x(y & (1 << 255) - 1, y >> 255), y & (1 << 255) - 1)
        point = (point[0], point[1], 1, point[0] * point[1] % v._P)
        torsion_x = v._ed_recover_x(v._Y8, 0)
        mixed = v._ed_add(point, v._ed_cached((torsion_x, v._Y8, 1, torsion_x * v._Y8 % v._P)))
        i = pow(mixed[2], v._P - 2, v._P)
        raw = (mixed[1] * i % v._P | (mixed[0] * i % v._P & 1) << 255).to_bytes(32, "little")
        loaded = v.Ed25519Key(raw)                   # accepted: not of small order
        good = bad = 0
        for n in range(64):
            message = b"%d" % n
            r = int.from_bytes(hashlib.sha512(key.nonce + message).digest(), "little") % v._L
            big_r = ed_multiply(r)
            k = int.from_bytes(hashlib.sha512(big_r + raw + message).digest(), "little") % v._L
            signature = big_r + ((r + k * key.a) % v._L).to_bytes(32, "little")
            self.assertEqual(loaded.verify(message, signature), k % 8 == 0)
            good, bad = good + (k % 8 == 0), bad + (k % 8 != 0)
        self.assertTrue(good and bad)

    def test_ecdsa_rfc6979(self):
        for name, x, y, r, s in (
            ("ecdsa-p256", "60FED4BA255A9D31C961EB74C6356D68C049B8923B61FA6CE669622E60F29FB6", "7903FE1008B8BC99A41AE9E95628BC64F2F1B20C2D7E9F5177A3C294D4462299",
             "EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716", "F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8"),
            ("ecdsa-p384", "EC3A4E415B4E19A4568618029F427FA5DA9A8BC4AE92E02E06AAE5286B300C64DEF8F0EA9055866064A254515480BC13",
             "8015D9B72D7D57244EA8EF9AC0C621896708A59367F9DFB9F54CA84B3F1C9DB1288B231C3AE0D4FE7344FD2533264720",
             "94EDBB92A5ECB8AAD4736E56C691916B3F88140666CE9FA73D64C4EA95AD133C81A648152E44ACF96E36DD1E80FABE46",
             "99EF4AEB15F178CEA1FE40DB2603138F130E740A19624526203B6351D0A3A94FA329C145786E679E7B82C71A38628AC8"),
        ):
            curve = v._CURVES[name]
            size = curve.size
            key = v.key_from_raw(name, b"\x04" + bytes.fromhex(x) + bytes.fromhex(y))
            r, s = int(r, 16), int(s, 16)
            low, high = min(s, curve.n - s), max(s, curve.n - s)
            sign = lambda r, s: r.to_bytes(size, "big") + s.to_bytes(size, "big")  # noqa: E731
            self.assertTrue(key.verify(b"sample", sign(r, low)))
            self.assertFalse(key.verify(b"sample", sign(r, high)))
            self.assertFalse(key.verify(b"samples", sign(r, low)))
            for bad in (sign(0, low), sign(r, 0), sign(curve.n, low), sign(r, low)[:-1]):
                self.assertFalse(key.verify(b"sample", bad))
            with self.assertRaises(v.Refused):
                v.key_from_raw(name, b"\x04" + bytes.fromhex(x) + bytes(size))
            with self.assertRaises(v.Refused):
                v.key_from_raw(name, b"\x02" + bytes.fromhex(x))
        curve = v._CURVES["ecdsa-secp256k1"]         # no standard vector of this form: sign with d = 7, k = 5
        point = lambda k: self._affine(curve, k)  # noqa: E731
        x, y = point(7)
        key = v.key_from_spki("ecdsa-secp256k1", v._SPKI["ecdsa-secp256k1"][0] + b"\x04" + x.to_bytes(32, "big") + y.to_bytes(32, "big"))
        r = point(5)[0] % curve.n
        s = (int.from_bytes(hashlib.sha256(b"m").digest(), "big") + r * 7) * pow(5, -1, curve.n) % curve.n
        s = min(s, curve.n - s)
        self.assertTrue(key.verify(b"m", r.to_bytes(32, "big") + s.to_bytes(32, "big")))
        self.assertFalse(key.verify(b"n", r.to_bytes(32, "big") + s.to_bytes(32, "big")))

    @staticmethod
    def _affine(curve, k):
        acc = (1, 1, 0)
        for bit in bin(k)[2:]:
            acc = curve.double(acc)
            if bit == "1":
                acc = curve.add(acc, curve.g + (1,))
        i = pow(acc[2], -1, curve.p)
        return acc[0] * i * i % curve.p, acc[1] * i * i * i % curve.p

    def test_curve_orders(self):
        for curve in v._CURVES.values():
            x, y = curve.g
            self.assertEqual((y * y - (x ** 3 + curve.a * x + curve.b)) % curve.p, 0)
            self.assertEqual(self._affine(curve, curve.n - 1), (x, curve.p - y))

    N = int("""c07faded69cd8bee30779775f01290acd333707c2ae3f08716eb0c14c56bee5ad7bda0f386520677eda27f50f7177752f1136e42e5a9bf
            4e702139fcbb6fca8c5577eac9ef233251326bd951d3bbc812012b69e5da2a1c2fed92b10abac2d70ebe75b37a0dda12a8c2737c0139e6
            7e19325dfdb8186131977ea71d60334dd87685c7ec8c58ac1a534ebe1dfd3afae18a58a4b9b4d515ba8f6751cb55f9c657e21df9aba7cb
            e52f1542bf81e827d1b1846c5c0ca4ac0c338a00c6cc04445ff14249066064338daf5dab35d7c5880090bb2c86ebc4cef4fdc46021a04c
            e7318fd5884cc0123f57723a54a12f3a6a07ad91e15be6d7b739afaabca41d8bb7a03155""".replace("\n", "").replace(" ", ""), 16)
    D = int("""67ee87c17f36732e8f0c82c2327453987c0f71d41874291146d6711765dff83923f2464c3561640cac48e7e497041c70b3a88207ac6811
            da0fc060c68b8cb8173cae1a1e1cf72bdb9b158fa81661748c0405a48f6d52ff1501780a0e78f76995944f882f85fb0fc7fdf4cc26fd53
            ed113d9871bc4bad6e511518b54b93679c4eb1a43e743be995fee72cb38071b9cedebc3bceebb140f18d9d4995607b1c41aa1c2a10ee02
            5d763b9f37b4a2234302ac42c712e97aeddc9b9d8e5708467a51a4fe8c0f411f953d5faa4c0cda9bcedd5814f7f2e229174e0e51453901
            e3e0b4632eb4cf5270ab67e23ec4e18891d3b3d9e7dc6c1a3b48085af9f77ffadbdab5b""".replace("\n", "").replace(" ", ""), 16)

    @staticmethod
    def _der(tag, content):
        n = len(content)
        head = bytes([n]) if n < 128 else bytes([0x81, n]) if n < 256 else bytes([0x82]) + n.to_bytes(2, "big")
        return bytes([tag]) + head + content

    def _rsa_spki(self, n, e):
        der = self._der
        integer = lambda i: der(2, i.to_bytes(i.bit_length() // 8 + 1, "big"))  # noqa: E731
        return der(0x30, bytes.fromhex("300d06092a864886f70d0101010500") + der(3, b"\x00" + der(0x30, integer(n) + integer(e))))

    def test_rsa_pss(self):
        n = self.N
        spki = self._rsa_spki(n, 65537)
        key = v.key_from_spki("rsa-pss", spki)

        def sign(message, salt=b"s" * 32):
            h = hashlib.sha256(bytes(8) + hashlib.sha256(message).digest() + salt).digest()
            db = b"\x01" + salt
            db = bytes(256 - 33 - len(db)) + db
            mask = b"".join(hashlib.sha256(h + i.to_bytes(4, "big")).digest() for i in range(7))[:len(db)]
            em = bytearray(a ^ b for a, b in zip(db, mask)) + h + b"\xbc"
            em[0] &= 0x7f
            return pow(int.from_bytes(em, "big"), self.D, n).to_bytes(256, "big")

        good = sign(b"m")
        self.assertTrue(key.verify(b"m", good))
        self.assertFalse(key.verify(b"n", good))
        self.assertFalse(key.verify(b"m", sign(b"m", b"s" * 20)))
        self.assertFalse(key.verify(b"m", good[:-1]))
        self.assertFalse(key.verify(b"m", b"\x00" + good))
        value = int.from_bytes(good, "big") + n
        if value < 1 << 2048:
            self.assertFalse(key.verify(b"m", value.to_bytes(256, "big")))
        for bad in (self._rsa_spki(n - 1, 65537), self._rsa_spki(n, 1), self._rsa_spki(n, 65536), self._rsa_spki(n, 2 ** 32 + 1),
                    self._rsa_spki(n >> 8 | 1, 65537), self._rsa_spki((1 << 8192) + 1, 3), spki + b"\x00", spki[:-1], b"", b"\x30\x00"):
            with self.assertRaises(v.Refused):
                v.key_from_spki("rsa-pss", bad)
        for place in range(0, 40):                   # the DER around the integers has one encoding
            bad = bytearray(spki)
            bad[place] ^= 1
            if place < 32:
                with self.assertRaises(v.Refused):
                    v.key_from_spki("rsa-pss", bytes(bad))

    def test_spki(self):
        for name, (prefix, length) in v._SPKI.items():
            for spki in (b"", prefix, prefix + bytes(length), prefix + bytes(length + 1)):
                if name.startswith("ml-dsa") and len(spki) == len(prefix) + length and length:
                    continue
                with self.assertRaises(v.Refused):
                    v.key_from_spki(name, spki)
        with self.assertRaises(v.Refused):
            v.key_from_spki("dsa", b"")

    def _accumulated(self, name, count, expected):
        # C2SP CCTV, ML-DSA/accumulated
        seeds = hashlib.shake_128().digest(32 * count)
        total = hashlib.shake_128()
        for i in range(count):
            key = MlDsa(name, seeds[32 * i:32 * i + 32])
            signature = key.sign(b"")
            total.update(key.public + signature)
            if i < 5:
                public = v.key_from_raw(name, key.public)
                self.assertTrue(public.verify(b"", signature))
                self.assertFalse(public.verify(b"x", signature))
                for place in (0, 40, 2000, len(signature) - 1):
                    bad = bytearray(signature)
                    bad[place] ^= 1
                    self.assertFalse(public.verify(b"", bytes(bad)))
                self.assertFalse(public.verify(b"", signature[:-1]))
        self.assertEqual(total.hexdigest(32), expected)

    def test_ml_dsa_44(self):
        self._accumulated("ml-dsa-44", 100, "d51148e1f9f4fa1a723a6cf42e25f2a99eb5c1b378b3d2dbbd561b1203beeae4")

    def test_ml_dsa_65(self):
        self._accumulated("ml-dsa-65", 100, "8358a1843220194417cadbc2651295cd8fc65125b5a5c1a239a16dc8b57ca199")

    def test_ml_dsa_87(self):
        self._accumulated("ml-dsa-87", 100, "8c3ad714777622b8f21ce31bb35f71394f23bc0fcf3c78ace5d608990f3b061b")


class Tree(unittest.TestCase):
    def test_proofs(self):
        leaves = [v.leaf_hash(b"%d" % i) for i in range(40)]
        for size in list(range(1, 20)) + [31, 32, 33, 40]:
            part = leaves[:size]
            root = mth(part)
            for index in range(size):
                proof = inclusion(index, part)
                self.assertEqual(v.inclusion_root(part[index], index, size, proof), root)
                self.assertNotEqual(v.inclusion_root(part[index], index, size, proof + [root]), root)
                if proof:
                    self.assertNotEqual(v.inclusion_root(part[index], index, size, proof[:-1]), root)
            for first in range(size):
                for last in range(first, size):
                    proof = range_proof(first, last, part)
                    for candidate, good in ((proof, True), (proof + [root], False), (proof[:-1], not proof), ([root] + proof, False)):
                        tree = v.RangeRoot(first, candidate)
                        for leaf in part[first:last + 1]:
                            tree.add(leaf)
                        self.assertEqual(tree.root(size) == root, good)

    def test_large_sizes(self):
        size = v.MAX_SAFE
        tree = v.RangeRoot(size - 1, [bytes(32)] * 52)
        tree.add(bytes(32))
        self.assertIsNotNone(tree.root(size))
        self.assertIsNone(v.inclusion_root(bytes(32), size, size, []))
        self.assertIsNotNone(v.inclusion_root(bytes(32), size - 1, size, [bytes(32)] * 52))


class Vectors(unittest.TestCase):
    def setUp(self):
        path = os.path.join(VECTORS, "tlog.json")
        if not os.path.exists(path):
            self.skipTest("no vectors")
        with open(path, encoding="utf-8") as file:
            self.data = json.load(file)

    def test_merkle(self):
        m = self.data["merkle"]
        leaves = [v.leaf_hash(bytes.fromhex(x)) for x in m["leaf_inputs_hex"]]
        self.assertEqual([x.hex() for x in leaves], m["leaf_hashes"])
        self.assertEqual(v.leaf_hash(b"").hex(), m["leaf_empty"])
        self.assertEqual(v.leaf_hash(b"L123456").hex(), m["leaf_L123456"])
        self.assertEqual(v.node_hash(b"N123", b"N456").hex(), m["node_N123_N456"])
        for size, root in enumerate(m["roots_1_to_8"], 1):
            tree = v.RangeRoot(0, [])
            for leaf in leaves[:size]:
                tree.add(leaf)
            self.assertEqual(tree.root(size).hex(), root)
        for case in m["inclusion"]:
            root = v.inclusion_root(leaves[case["index"]], case["index"], case["size"], [bytes.fromhex(h) for h in case["proof"]])
            self.assertEqual(root.hex(), m["roots_1_to_8"][case["size"] - 1])

    def test_rolling(self):
        leaves = [v.leaf_hash(bytes([i])) for i in range(130)]
        roots, proofs = hashlib.sha256(), hashlib.sha256()
        for e in range(131):
            for s in range(e + 1):
                if s and s != e and s % (1 << (e - s - 1).bit_length()):
                    continue
                if s == e:
                    roots.update(("[%d, %d) %s\n" % (s, e, hashlib.sha256(b"").hexdigest())).encode())
                    continue
                part = leaves[s:e]
                tree = v.RangeRoot(0, [])
                for leaf in part:
                    tree.add(leaf)
                root = tree.root(e - s)
                roots.update(("[%d, %d) %s\n" % (s, e, root.hex())).encode())
                for i in range(s, e):
                    proof = inclusion(i - s, part)
                    self.assertEqual(v.inclusion_root(leaves[i], i - s, e - s, proof), root)
                    proofs.update(("%d [%d, %d)%s\n" % (i, s, e, "".join(" " + h.hex() for h in proof))).encode())
        expected = self.data["rolling"]
        self.assertEqual(roots.hexdigest(), expected["subtree_hashes"]["sha256"])
        self.assertEqual(proofs.hexdigest(), expected["inclusion"]["sha256"])

    def test_notes(self):
        for case in self.data["notes"]:
            text, lines = v.parse_note(case["note"].encode())
            keys = [v.VKey(case[name]) for name in ("vkey", "vkey2") if name in case]
            self.assertEqual(len(keys), len(lines))
            for key, (name, id4, signature) in zip(keys, lines):
                self.assertEqual((key.name, key.id4), (name, id4))
                self.assertTrue(key.key.verify(text, signature))
                self.assertFalse(key.key.verify(text + b"\n", signature))

    def test_vkeys(self):
        for text in self.data["vkeys_keyid_ok"]["vkeys"]:
            kind = base64.b64decode(text.split("+", 2)[2])[0]
            try:
                self.assertEqual(v.VKey(text).type, kind)
            except v.Refused as error:               # the key ID holds; the key itself may be no point, or of a type that is refused
                self.assertNotIn("key ID", str(error))
            name, key_id, rest = text.split("+", 2)
            with self.assertRaises(v.Refused):
                v.VKey("%s+%08x+%s" % (name, int(key_id, 16) ^ 1, rest))

    def test_cosignature_v1(self):
        case = self.data["cosig_v1"]
        note = case["checkpoint_body"] + "\n\u2014 %s %s\n" % (case["witness_vkey"].split("+")[0], case["signature_b64"])
        checkpoint = v.Checkpoint(note.encode())
        key = v.VKey(case["witness_vkey"])
        self.assertEqual(v.verify_line(key, checkpoint.signatures[0][2], checkpoint), case["timestamp"])

    def test_cosignature_ml_dsa(self):
        case = self.data["cosig_mldsa44"]
        key = MlDsa("ml-dsa-44", bytes.fromhex(case["seed_hex"]))
        self.assertEqual(hashlib.sha256(key.public).hexdigest(), case["public_key_sha256"])
        signature = key.sign(bytes.fromhex(case["message_hex"]))
        self.assertEqual(hashlib.sha256(signature).hexdigest(), case["deterministic_signature_sha256"])
        vkey = v.VKey("%s+%s+%s" % (case["cosigner"], case["key_id"], b64(b"\x06" + key.public)))
        payload = vkey.id4 + struct.pack(">Q", case["timestamp"]) + signature
        self.assertEqual((len(payload), len(b64(payload))), (case["payload_bytes"], case["base64_chars"]))
        note = "%s\n%d\n%s\n\n\u2014 %s %s\n" % (case["origin"], case["end"], case["root_b64"], case["cosigner"], b64(payload))
        checkpoint = v.Checkpoint(note.encode())
        self.assertEqual(v.verify_line(vkey, checkpoint.signatures[0][2], checkpoint), case["timestamp"])
        checkpoint.size += 1
        self.assertIsNone(v.verify_line(vkey, checkpoint.signatures[0][2], checkpoint))

    def test_tessera_log(self):
        case = self.data["tessera_log"]
        key = v.VKey(case["vkey"])
        leaves = [v.leaf_hash(e.encode()) for e in case["entries"]]
        for c in case["checkpoints"]:
            if c["size"] == 0:
                continue
            text = "%s\n%d\n%s\n" % (key.name, c["size"], c["root_b64"])
            checkpoint = v.Checkpoint((text + "\n\u2014 %s %s\n" % (key.name, c["sig_b64"])).encode())
            self.assertEqual(v.verify_line(key, checkpoint.signatures[0][2], checkpoint), 0)
            self.assertEqual(mth(leaves[:c["size"]]), checkpoint.root)

    def test_tlog_proofs(self):
        for case in self.data["tlog_proofs"]:
            self.assertEqual(hashlib.sha256(case["proof"].encode()).hexdigest(), case["sha256"])
            index, hashes, note = v.parse_tlog_proof(case["proof"])
            checkpoint = v.Checkpoint(note)
            leaf = case["leaf_utf8"].encode() if "leaf_utf8" in case else bytes.fromhex(case["leaf_hex"])
            self.assertEqual(v.inclusion_root(v.leaf_hash(leaf), index, checkpoint.size, hashes), checkpoint.root)
            keys = {(k.name, k.id4): k for k in map(v.VKey, case["vkeys"])}
            for name, id4, payload in checkpoint.signatures:
                self.assertIsNotNone(v.verify_line(keys[name, id4], payload, checkpoint))

    def load(self, name):
        path = os.path.join(VECTORS, name)
        if not os.path.exists(path):
            self.skipTest("no " + name)
        with open(path, encoding="utf-8") as file:
            return json.load(file)

    @staticmethod
    def accepts(function, *arguments):
        try:
            function(*arguments)
            return True
        except v.Refused:
            return False

    def test_canonical_json(self):
        data = self.load("canonical-json.json")
        for case in data["accepted"]:
            self.assertTrue(self.accepts(v.canonical, case["output"].encode(), 64), case)
            self.assertEqual(self.accepts(v.canonical, case["input"].encode(), 64), case["input"] == case["output"], case)
            if not re.search(r"[0-9][.eE]", case["input"]):
                self.assertEqual(v.jcs_text(json.loads(case["input"])), case["output"])
        for case in data["numbers"]:
            x = struct.unpack(">d", bytes.fromhex(case["bits"]))[0]
            if case["output"] is not None:
                self.assertEqual(v.es_number(x), case["output"])
                self.assertEqual(v.canonical(case["output"].encode())[0], x)
            elif x == x and abs(x) != float("inf"):
                self.assertFalse(self.accepts(v.canonical, v.es_number(x).encode()))
        for case in data["refused"]:
            raw = case["input"].encode("utf-8", "surrogatepass") if "input" in case else bytes.fromhex(case["hex"])
            self.assertFalse(self.accepts(v.canonical, raw, 64), case)
        for text in data["notCanonical"]:
            self.assertFalse(self.accepts(v.canonical, text.encode(), 64), text)

    def test_entries(self):
        data = self.load("entries.json")
        before = v.ZEROS
        for number, case in enumerate(data["chain"]):
            entry = v.Entry(case["text"])
            self.assertEqual({n: getattr(entry, n) for n in v.Entry.__slots__ if n != "text"}, {n: x for n, x in case["entry"].items() if n != "v"})
            self.assertEqual(v.leaf_hash(case["text"].encode()).hex(), case["leafHash"])
            if number < 4:
                self.assertEqual(entry.previous, before)
            before = case["leafHash"]
        for text in data["malformed"]:
            self.assertFalse(self.accepts(v.Entry, text), text)

    @staticmethod
    def body(text):
        """The value, or what is wrong with the bytes or the grammar."""
        raw = text.encode("utf-8", "surrogatepass")
        try:
            value = v.canonical(raw, v.MAX_DEPTH)[0]
        except v.Refused as refused:
            return None, str(refused)
        if type(value) is not dict:
            return None, "not an object"
        return value, v.event_error(value)

    def test_events(self):
        data = self.load("events.json")
        for case in data["valid"]:
            self.assertIsNone(self.body(case["body"])[1], case)
        for case in data["invalid"]:
            self.assertIsNotNone(self.body(case["body"])[1], case)

    def test_control_events(self):
        data = self.load("control-events.json")
        for case in data["valid"]:
            value, error = self.body(case["body"])
            self.assertIsNone(error, case)
            self.assertIsNone(v.control_error(value["action"], value), case)
        for case in data["invalid"]:
            value, error = self.body(case["body"])
            if error is None:
                error = value["action"] not in v._CONTROL_EVENTS or v.control_error(value["action"], value)
            self.assertTrue(error, case)
        case = data["keyMessage"]
        event = json.loads(case["body"])
        seen = []

        class Key:
            key_id = event["signatures"][0]["keyId"]

            def verify(self, message, signature):
                seen.append(message.decode())
                return False
        keys = v.LedgerKeys(case["origin"], [event["payload"]["old"]])
        for key in keys.in_force.values():
            key.key = Key()
        entry = v.Entry('{"commitment":"sha256:%s","index":%d,"previous":"%s","scheme":"control","time":"2026-01-02T03:05:00.000Z","v":1}'
                        % ("0" * 64, case["index"], case["previous"]))
        event["action"], payload = "ledger.key.revoked", event["payload"]
        event["payload"] = {"keyId": "0" * 64, "reason": "r", "role": "author"}
        keys.authors["0" * 64] = [None, "a", 0, None]
        self.assertEqual(keys.apply(entry, event)[0], "a signature is missing or does not verify")
        bare = {"action": event["action"], "actor": event["actor"], "payload": event["payload"]}
        expected = case["message"].split("\n")
        got = seen[0].split("\n")
        self.assertEqual(got[:2] + got[3:5], expected[:2] + expected[3:5])
        self.assertEqual(got[5], hashlib.sha256(v.jcs(bare)).hexdigest())
        self.assertEqual(expected[5], hashlib.sha256(v.jcs(dict(bare, action="ledger.key.rotated", payload=payload))).hexdigest())

    def commitment_of(self, scheme, hash_name, obj, plain=False):
        """The findings of a body, and the commitment that it gives."""
        entry = v.Entry('{"commitment":"%s:%s","index":1,"previous":"%s","scheme":"%s","time":"2026-01-02T03:05:00.000Z","v":1}'
                        % (hash_name, "0" * v._HASH_HEX[hash_name], "0" * 64, scheme))
        found = []
        event_bytes = None if scheme == "fields" else v.jcs(obj["event"])
        body = v.check_body(lambda *finding: found.append(finding), entry, obj, plain, event_bytes, 0, 65)
        self.assertEqual(found[0][0], "commitment-mismatch")
        return found[0][4].split(":")[1], [f[0] for f in found[1:]], body

    def test_commitments(self):
        data = self.load("commitments.json")
        for case in data["bodies"]:
            event = v.canonical(case["body"].encode())[0]
            commitment, findings, _ = self.commitment_of(case["scheme"], case["hash"], {"event": event, "salt": case["salt"]})
            self.assertEqual((commitment, findings), (case["commitment"], []))
        ledger = Ledger()
        for case in data["cuts"]:
            cut = ledger.cut(v.canonical(case["body"].encode())[0])
            self.assertEqual(sorted(cut, key=v._utf16), [f["name"] for f in case["fields"]])
            disclosed = {}
            for field in case["fields"]:
                self.assertEqual(v.jcs_text(cut[field["name"]]), field["value"])
                disclosed[field["name"]] = [field["salt"], cut[field["name"]]]
            obj = {"names": [f["name"] for f in case["fields"]], "disclosed": disclosed, "digests": {}}
            self.assertIsNone(v.disclosure_error(obj))
            commitment, findings, body = self.commitment_of("fields", case["hash"], obj)
            self.assertEqual((commitment, findings), (case["commitment"], []))
            self.assertEqual([d.hex() for d in body.field_digests], [f["digest"] for f in case["fields"]])
        for case in data["disclosures"]:
            self.assertIsNone(v.disclosure_error(case))
            commitment, findings, _ = self.commitment_of("fields", case["hash"], case)
            self.assertEqual((commitment, findings), (case["commitment"], []), case["title"])
            self.assertEqual(v.reassemble(case["disclosed"]), case["event"])
        for case in data["forged"]:
            error = None if all(m in case for m in ("names", "disclosed", "digests")) else "members"
            error = error or v.disclosure_error(case)
            if error is None and any(len(d) != v._HASH_HEX[case["hash"]] for d in case["digests"].values()):
                error = "length"
            self.assertEqual(error is not None, case["code"] == "malformed-commitment", case["title"])
            if error is None:
                self.assertEqual(self.commitment_of("fields", case["hash"], case)[1], ["body-malformed"], case["title"])

    def test_signatures(self):
        data = self.load("signatures.json")
        for group in data["groups"]:
            key = v.key_from_spki(group["algorithm"], bytes.fromhex(group["spki"]))
            for case in group["cases"]:
                self.assertEqual(key.verify(bytes.fromhex(case["message"]), bytes.fromhex(case["signature"])), case["valid"], (group["title"], case["title"]))
        for case in data["refused"]:
            self.assertFalse(self.accepts(v.key_from_spki, case["algorithm"], bytes.fromhex(case["spki"])), case["title"])

    def judge(self, case, policies, data, kind):
        policy = policies[case["policy"]] if case["policy"] is not None else None
        try:
            report = run(data, policy, kind=kind)       # as a receipt or an export, whatever its first bytes
        except v.Unreadable:
            self.assertEqual(case["exit"], 5, case["title"])
            return None
        self.assertEqual(report.exit_code, case["exit"], case["title"])
        self.assertEqual(report.status, case["verdicts"], case["title"])
        return report

    def test_anchors(self):
        data = self.load("anchors.json")
        for case in data["timestamps"] + data["opentimestamps"]:
            digest = bytes.fromhex(case["digest"])
            try:
                if "roots" in case:
                    roots = [v.Certificate(base64.b64decode(r)) for r in case["roots"]]
                    after, _ = v.TimeStamp(base64.b64decode(case["proof"])).verify(digest, roots)
                else:
                    headers = {h["height"]: bytes.fromhex(h["header"]) for h in case["headers"]}
                    after, _ = v.OpenTimestamp(bytes.fromhex(case["proof"])).verify(digest, headers, case.get("bitsMax", v.MAX_BITS))
                answer = None, after
            except v.ProofRefused as refused:
                answer = refused.code, None
            self.assertEqual(answer, (case.get("code"), case.get("notAfterMs")), case["title"])

    def test_packages(self):
        data = self.load("packages.json")
        for case in data["cases"]:
            policy = v.Policy.parse(data["policies"][case["policy"]].encode()) if case["policy"] is not None else None
            with tempfile.TemporaryDirectory() as folder:
                roots = []
                for i, pem in enumerate(case.get("tsaRoots", ())):
                    with open(os.path.join(folder, str(i)), "w") as file:
                        file.write(pem)
                    roots += v.read_certificates(file.name)
            held = v.Checkpoint(case["expect"].encode()) if "expect" in case else None
            reader = v.Reader(policy, case.get("selfAsserted", False), held, roots, None, case.get("requireAnchor", False))
            try:
                report = v.verify_source(io.BytesIO(base64.b64decode(case["package"])), "package", reader)
            except v.Unreadable as error:
                self.assertEqual((5, error.code), (case["exit"], case.get("error")), case["title"])
                continue
            self.assertEqual((report.exit_code, report.status), (case["exit"], case["verdicts"]), case["title"])
            self.assertEqual(sorted((f["code"], f.get("index", -1)) for f in report.findings),
                             sorted((f["code"], f.get("index", -1)) for f in case["findings"]), case["title"])
            reasons = [f["found"] for f in case["findings"] if f["code"] == "package-malformed"]
            self.assertEqual([f["found"] for f in report.findings if f["code"] == "package-malformed"], reasons, case["title"])

    def test_receipts(self):
        data = self.load("receipts.json")
        for case in data["cases"]:
            report = self.judge(case, data["policies"], case["receipt"].encode(), "receipt")
            if report:
                self.assertEqual([f["code"] for f in report.findings], case["findings"], case["title"])

    def test_checkpoints(self):
        data = self.load("checkpoints.json")
        for case in data["cases"]:
            policy = data["policies"][case["policy"]] if case["policy"] is not None else None
            report = run(case["checkpoint"].encode(), policy, held=case["held"])
            self.assertEqual((report.kind, report.exit_code, report.status, [f["code"] for f in report.findings]),
                             ("checkpoint", case["exit"], case["verdicts"], case["findings"]), case["title"])
        for case in data["unrecognised"]:
            with self.assertRaises(v.Unreadable, msg=case["title"]):
                run(case["file"].encode())

    def test_exports(self):
        data = self.load("exports.json")
        for case in data["cases"]:
            policy = data["policies"][case["policy"]] if case["policy"] is not None else None
            report = run(case["export"].encode(), policy, case.get("selfAsserted", False), "export")
            self.assertEqual((report.exit_code, report.status), (case["exit"], case["verdicts"]), case["title"])
            self.assertEqual({f["code"] for f in report.findings}, {f["code"] for f in case["findings"]}, case["title"])
            if "members" in case and report.range is None:
                self.assertEqual([int(n) for n in re.findall("[0-9]+", report.counts)][:3], case["members"], case["title"])

    def test_every_file_is_json(self):
        for path in glob.glob(os.path.join(VECTORS, "*.json")):
            with open(path, encoding="utf-8") as file:
                json.load(file)


class SpecExamples(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if not os.path.isdir(SPEC):
            raise unittest.SkipTest("no spec")
        cls.policy = fences("policy.md")[0]
        cls.receipts = [f.encode() for f in fences("receipt.md")[:2]]
        cls.exports = [f.encode() for f in fences("export.md")[:2]]
        header, *lines = cls.exports[0].split(b"\n")
        h = json.loads(header)
        h["proof"] = ["dbb6a64ae45890d61bcfaeb38f5f5cb6255007b5348d17bd071bde4aa360e053"]
        h["selection"] = {"first": 1, "kind": "range", "last": 2}
        cls.slice = v.jcs(h) + b"\n" + b"\n".join(lines[1:])

    def test_receipts(self):
        for data in self.receipts:
            report = run(data, self.policy)
            self.assertEqual((report.findings, report.exit_code), ([], 0))
            self.assertEqual([report.status[x] for x in v.VERDICTS], ["pass", "notChecked", "pass", "notChecked", "pass", "pass"])
            report = run(data)
            self.assertEqual(report.exit_code, 3)
            self.assertEqual([report.status[x] for x in v.VERDICTS], ["pass", "notChecked", "notEstablished", "notChecked", "notEstablished", "notEstablished"])

    def test_exports(self):
        report = run(self.exports[0], self.policy)
        self.assertEqual((report.findings, report.exit_code), ([], 0))
        self.assertEqual(set(report.status.values()), {"pass"})
        for data in (self.slice, self.exports[1]):
            report = run(data, self.policy)
            self.assertEqual((report.findings, report.exit_code), ([], 3))
            self.assertEqual([x for x in v.VERDICTS if report.status[x] != "pass"], ["completeness"])
        self.assertEqual(run(self.exports[0]).exit_code, 3)
        report = run(self.exports[0], self_asserted=True)
        self.assertEqual((report.findings, report.exit_code, report.pin), ([], 0, "self-asserted"))
        self.assertEqual(report.status["independence"], "notEstablished")

    def test_verification_example(self):
        bad = self.exports[0].replace(b'"outcome":"success"', b'"outcome":"failure"')
        report = run(bad, self.policy)
        expected = json.loads(fences("verification.md")[0].split("\n")[0])
        self.assertEqual({k: x for k, x in report.findings[0].items() if k != "message"}, {k: x for k, x in expected.items() if k != "message"})
        self.assertEqual((len(report.findings), report.exit_code), (1, 1))
        self.assertEqual(report.summary(), "integrity fail · order pass · authenticity pass · completeness pass · independence pass · time pass")

    def test_checkpoint_and_keys(self):
        note = fences("checkpoint.md")[0]
        checkpoint = v.Checkpoint(note.encode())
        self.assertEqual(note, fences("note.md")[0])
        log, witness = [v.VKey(line.split()[0]) for line in fences("note.md")[1].strip().split("\n")]
        self.assertEqual(v.verify_line(log, checkpoint.signatures[0][2], checkpoint), 0)
        self.assertEqual(v.verify_line(witness, checkpoint.signatures[1][2], checkpoint), 1767323160)
        self.assertEqual(log.key_id, "d0a604424a2621337a0de0cdc90308c4ec59ff2dde42f7b0a136844b3ab4c323")
        anchored = note.rsplit("\u2014", 1)[0]
        self.assertEqual(hashlib.sha256(anchored.encode()).hexdigest(), "35e14aa94721b4693d339469ddaab3b0453a600631574fa17d7fa9c143334d72")

    def test_keys_md(self):
        blocks = fences("keys.md")
        key_message, key_event = blocks[1].split("\n\n")[1:]
        event = json.loads(key_event)
        header = v.Policy.parse(self.policy.encode())
        log = next(iter(header.logs.values()))
        author = next(iter(header.authors.values())).key
        for item, key in zip(event["signatures"], (log.key, author)):
            self.assertTrue(key.verify(key_message.strip("\n").encode(), base64.b64decode(item["signature"])))
        keys = v.LedgerKeys("example.com/audit", [log.text])
        entry = v.Entry('{"commitment":"sha256:%s","index":3,"previous":"1d839c60744b8d6484635d41852cd1cc64bc23cbd18fe51ef5cdfaa057d54395",'
                        '"scheme":"control","time":"2026-01-02T03:05:00.000Z","v":1}' % ("0" * 64))
        self.assertEqual(keys.apply(entry, event), (None, False, ()))
        self.assertIsNotNone(keys.author(author.key_id, "alice", 4))
        self.assertIsNone(keys.author(author.key_id, "alice", 3))
        self.assertIsNone(keys.author(author.key_id, "bob", 4))
        message, event = blocks[2].strip("\n").split("\n\n")
        event = json.loads(event)
        self.assertTrue(author.verify(message.encode(), base64.b64decode(event["signatures"][0]["signature"])))

    def test_subtree_message(self):
        # note.md 18 gives the message of a log key of type 0x06
        checkpoint = v.Checkpoint(fences("checkpoint.md")[0].encode())
        with open(os.path.join(SPEC, "note.md"), encoding="utf-8") as file:
            expected = re.search(r"`(73756274726565[0-9a-f]+)`", file.read()).group(1)
        seen = []

        class Key:
            type, name = 6, "example.com/audit"

            class key:
                @staticmethod
                def verify(message, signature):
                    seen.append(message.hex())
                    return True
        self.assertEqual(v.verify_line(Key, struct.pack(">Q", 1767323160) + b"s", checkpoint), 1767323160)
        self.assertEqual(seen, [expected])

    def test_control_events(self):
        for block in fences("control-events.md")[:2]:
            event = v.canonical(block.strip().encode())[0]
            self.assertIsNone(v.event_error(event))
            self.assertIsNone(v.control_error(event["action"], event))

    def test_event(self):
        self.assertIsNone(v.event_error(v.canonical(fences("event.md")[0].strip().encode())[0]))


def variants(value):
    """(description, the value with one thing changed) for every member at every depth."""
    if isinstance(value, dict):
        for name in value:
            yield "without " + name, {k: x for k, x in value.items() if k != name}
            yield "renamed " + name, {(k if k != name else k + "x"): x for k, x in value.items()}
            for what, changed in variants(value[name]):
                yield name + "/" + what, dict(value, **{name: changed})
        yield "one more", dict(value, zz=1)
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield "without %d" % i, value[:i] + value[i + 1:]
            for what, changed in variants(item):
                yield "%d/%s" % (i, what), value[:i] + [changed] + value[i + 1:]
        yield "one more", value + [value[-1] if value else "0" * 64]
    elif isinstance(value, bool):
        yield "not", not value
    elif isinstance(value, int):
        yield "+1", value + 1
        yield "-1", value - 1
    elif isinstance(value, str):
        yield "longer", value + "a"
        yield "shorter", value[:-1]
        middle = len(value) // 2
        yield "changed", value[:middle] + ("b" if value[middle:middle + 1] == "a" else "a") + value[middle + 1:]
    for other in (None, 0, "", [], {}):
        if other != value:
            yield "%r" % (other,), other


class Tamper(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        SpecExamples.setUpClass()
        cls.policy = v.Policy.parse(SpecExamples.policy.encode())
        cls.receipts, cls.exports = SpecExamples.receipts, SpecExamples.exports + [SpecExamples.slice]

    def refused(self, data, what):
        try:
            report = run(data, self.policy)
        except v.Unreadable as error:
            self.assertIn(error.code, ("unrecognised-file", "newer-format", "not-found"), what)
            self.assertEqual(error.code == "not-found", data == b"", what)
            return
        self.assertIn(report.exit_code, (1, 4), what)
        json.dumps(report.as_json())
        report.as_text()

    def test_every_member_of_receipts(self):
        for data in self.receipts:
            obj = json.loads(data)
            for what, changed in variants(obj):
                if changed != obj:
                    self.refused(v.jcs(changed) + b"\n", what)
            for what, changed in variants(json.loads(obj["entry"])):
                self.refused(v.jcs(dict(obj, entry=v.jcs_text(changed))) + b"\n", what)

    def test_every_member_of_exports(self):
        for data in self.exports:
            lines = data.split(b"\n")[:-1]
            for number, line in enumerate(lines):
                obj = json.loads(line)
                for what, changed in variants(obj):
                    if number == 0 and "filter" in obj["selection"] and re.fullmatch(r"selection/(first/\+1|last/-1|filter/.*)", what) and isinstance(
                            changed["selection"].get("filter"), dict):
                        continue                      # opaque, and what was asked is only asserted
                    self.refused(b"\n".join(lines[:number] + [v.jcs(changed)] + lines[number + 1:]) + b"\n", "line %d: %s" % (number, what))
                for what, changed in variants(json.loads((obj if number else obj["genesis"])["entry"])):
                    made = dict(obj, entry=v.jcs_text(changed)) if number else dict(obj, genesis=dict(obj["genesis"], entry=v.jcs_text(changed)))
                    self.refused(b"\n".join(lines[:number] + [v.jcs(made)] + lines[number + 1:]) + b"\n", "line %d: entry: %s" % (number, what))

    def test_lines_moved(self):
        for data in self.exports[:1] + self.exports[2:]:
            lines = data.split(b"\n")[:-1]
            join = lambda x: b"\n".join(x) + b"\n"  # noqa: E731
            for i in range(1, len(lines)):
                self.refused(join(lines[:i] + lines[i + 1:]), "without line %d" % i)
                self.refused(join(lines[:i] + [lines[i]] + lines[i:]), "line %d twice" % i)
                self.refused(join(lines[:i] + [b""] + lines[i:]), "empty line")
            self.refused(join(lines[:1] + lines[:0:-1]), "reversed")
            self.refused(data[:-1], "no newline")
            self.refused(data + b"\n", "one more newline")
            self.refused(data.replace(b"\n", b"\r\n"), "carriage returns")
            self.refused(data + lines[-1], "trailing")

    def test_every_byte_of_receipts(self):
        for data in self.receipts:
            for at in range(len(data)):
                self.refused(data[:at] + bytes([data[at] ^ 1]) + data[at + 1:], at)
                if at % 16 == 0:
                    self.refused(data[:at] + data[at + 1:], at)
                    self.refused(data[:at], at)
                    self.refused(data[:at] + b"\xff" + data[at:], at)

    def test_bytes_of_exports(self):
        rng = random.Random(2)
        opaque = {}
        for data in self.exports:
            where = data.find(b'"filter":{')
            opaque = set(range(where, where + 32)) if where >= 0 else set()
            for at in rng.sample(range(len(data)), 700):
                if at not in opaque:
                    self.refused(data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1:], at)

    def test_garbage(self):
        rng = random.Random(3)
        heads = (b'{"checkpoint":"', b'{"digests":{', b'{"entry":"')
        for _ in range(500):
            head = rng.choice(heads)
            data = head + rng.choice((rng.getrandbits(800).to_bytes(100, "big"), b"[" * 3000, b'\\"' * 50, b'"' * 40, b'a":{' * 100, b"\n" * 10, b""))
            self.refused(data, data)


class Findings(unittest.TestCase):
    """Ledgers that break one rule each."""

    def check(self, data, expected, policy="default", exit_code=None, **more):
        if policy == "default":
            policy = policy_text()
        report = run(data, policy, **more)
        self.assertEqual(codes(report), sorted(expected, key=lambda x: (x[0], x[1] is not None, x[1])) if expected else [])
        if exit_code is not None:
            self.assertEqual(report.exit_code, exit_code)
        return report

    def ledger(self, n=5, **more):
        ledger = Ledger(**more)
        for i in range(1, n):
            ledger.event({"action": "a.b", "actor": "alice", "id": "e%d" % i})
        return ledger

    def test_honest(self):
        for hash_name in v._HASHES:
            ledger = self.ledger(7, hash_name=hash_name)
            ledger.fields({"action": "a", "actor": {"id": "bob"}, "id": "f", "payload": {"x": 1, "": 2, "a.b": {"c": [0.5, 1e-7]}}, "context": {}},
                          show=("action", "payload.a.b", "payload.", "context"))
            self.check(ledger.export(), [], exit_code=0)
            for first in range(ledger.size):
                for last in range(first, ledger.size):
                    whole = (first, last) == (0, ledger.size - 1)
                    self.check(ledger.export(first, last), [], exit_code=0 if whole else 3)
                self.check(ledger.receipt(first), [], exit_code=0)
            self.check(ledger.filtered([]), [], exit_code=3)
            self.check(ledger.filtered([0, 2, 7]), [], exit_code=3)
            self.check(ledger.filtered([2, 3], 2, 3), [], exit_code=3)
            self.check(ledger.export(), [], None, exit_code=3)

    def test_header(self):
        ledger = self.ledger()
        self.check(ledger.export(origin="other"), [("origin-mismatch", None)])
        self.check(ledger.export(selection={"first": 0, "kind": "range", "last": 5}), [("file-malformed", None)])
        self.check(ledger.export(selection={"first": 3, "kind": "range", "last": 2}), [("file-malformed", None)])
        self.check(ledger.export(checkpoint="x"), [("checkpoint-malformed", None)])
        self.check(ledger.export(proof=["0" * 64]), [("checkpoint-root", None)])
        self.check(ledger.header(1, 2, proof=[]) + ledger.line(1) + ledger.line(2), [("proof-invalid", None)])
        g = json.loads(ledger.header(0, 4))["genesis"]
        self.check(ledger.export(genesis=dict(g, inclusion=g["inclusion"][:-1])), [("proof-invalid", 0)])
        self.check(ledger.export(genesis=dict(g, salt="0" * 32)), [("genesis-malformed", 0)])
        self.check(ledger.export(genesis=dict(g, entry=ledger.entries[1])), [("genesis-malformed", 0), ("proof-invalid", 0)])
        self.check(ledger.export(), [("genesis-mismatch", 0)], policy_text("#tallystick genesis " + "0" * 64))
        self.check(ledger.export(), [], policy_text("#tallystick genesis " + ledger.leaves[0].hex()), 0)
        self.check(ledger.export(), [("origin-mismatch", None)], "log %s\nquorum none\n" % LOG.vkey("other.test", 1))
        self.check(ledger.export(format="tallystick/export/v0"), [("file-malformed", None)])
        for version in ("2", "9007199254740991"):
            with self.assertRaises(v.Unreadable) as caught:
                run(ledger.export(format="tallystick/export/v" + version))
            self.assertEqual(caught.exception.code, "newer-format")
        for version in ("02", "9007199254740992", "2 ", "1.1"):
            self.check(ledger.export(format="tallystick/export/v" + version), [("file-malformed", None)])

    def test_genesis(self):
        for bad in ({"origin": "other"}, {"logKeys": ["x"]}, {"logKeys": [LOG.vkey("other", 1)]}, {"commitmentHash": "sha512"}, {"zz": 1},
                    {"scheme": "control"}, {"lockStoreId": "0"}, {"limits": {"eventBytes": 0}}, {"rules": {}}):
            ledger = Ledger(genesis=bad)
            ledger.event({"action": "a"})
            found = {c for c, _ in codes(run(ledger.export(), policy_text()))}
            self.assertEqual(found, {"genesis-malformed"}, bad)
            found = {c for c, _ in codes(run(ledger.receipt(0), policy_text()))}
            self.assertEqual(found, {"commitment-mismatch"} if "commitmentHash" in bad else {"genesis-malformed"}, bad)
        ledger = self.ledger()
        again = ledger.bodies[0]["event"]["payload"]
        at = ledger.control("ledger.genesis", again)
        self.check(ledger.export(), [("genesis-malformed", at)])
        self.check(ledger.receipt(at), [("genesis-malformed", at)])

    def test_checkpoint(self):
        ledger = self.ledger()
        note = ledger.checkpoint()
        self.check(ledger.export(checkpoint=ledger.checkpoint(signers=())), [("checkpoint-signature", None)])
        self.check(ledger.export(checkpoint=ledger.checkpoint(signers=(LOG2,))), [("checkpoint-signature", None)])
        self.check(ledger.export(checkpoint=ledger.checkpoint(signers=(LOG2, LOG))), [])
        self.check(ledger.export(checkpoint=ledger.checkpoint(witnesses=())), [], exit_code=4)
        self.check(ledger.export(checkpoint=ledger.checkpoint(witnesses=())), [], policy_text(quorum="none"), 0)
        self.check(ledger.export(checkpoint=ledger.checkpoint(witness_time=0)), [], exit_code=4)
        self.check(ledger.export(checkpoint=ledger.checkpoint(witness_time=2 ** 53)), [("checkpoint-signature", None)])
        last = note.rindex(" ") + 40
        self.check(ledger.export(checkpoint=note[:last] + ("A" if note[last] != "A" else "B") + note[last + 1:]), [("checkpoint-signature", None)])
        report = self.check(ledger.export(checkpoint=ledger.checkpoint(witness_time=1767322000)),
                            [("time-after-evidence", i) for i in range(5)])
        self.assertEqual([x for x in v.VERDICTS if report.status[x] == "fail"], ["time"])
        self.check(ledger.receipt(2, proof=json.loads(ledger.receipt(2))["proof"].replace(note, ledger.checkpoint(witness_time=1767322000))),
                   [("time-after-evidence", 2)])
        key = LOG.vkey(ORIGIN, 1)
        self.check(ledger.export(), [("checkpoint-signature", None)], policy_text("#tallystick key %s 0 4" % key))
        self.check(ledger.export(), [], policy_text("#tallystick key %s 5 5" % key))
        self.check(ledger.export(), [("checkpoint-signature", None)],
                   policy_text("log " + LOG2.vkey(ORIGIN, 1), "#tallystick require-all %s %s" % (key, LOG2.vkey(ORIGIN, 1))))
        self.check(ledger.export(), [], policy_text("log " + LOG2.vkey(ORIGIN, 1), "#tallystick require-all " + key))

    def test_ml_dsa_log_and_witness(self):
        ledger = self.ledger(3)
        note = ledger.checkpoint(witnesses=())
        text = note.split("\n\n")[0] + "\n"
        log, witness = MlDsa("ml-dsa-44", seed("mllog")), MlDsa("ml-dsa-44", seed("mlw"))
        vkeys = []
        for key, name, time in ((log, ORIGIN, 7), (witness, "witness.test/m", 1767323999)):
            raw = b"\x06" + key.public
            id4 = hashlib.sha256(name.encode() + b"\n" + raw).digest()[:4]
            vkeys.append("%s+%s+%s" % (name, id4.hex(), b64(raw)))
            message = (b"subtree/v1\n\x00" + bytes([len(name)]) + name.encode() + struct.pack(">Q", time) + bytes([len(ORIGIN)]) + ORIGIN.encode()
                       + bytes(8) + struct.pack(">Q", 3) + mth(ledger.leaves))
            note += "\u2014 %s %s\n" % (name, b64(id4 + struct.pack(">Q", time) + key.sign(message)))
        self.assertEqual(text, note.split("\n\n")[0] + "\n")
        policy = "log %s\nlog %s\nwitness m %s\nquorum m\n#tallystick require-all %s\n" % (LOG.vkey(ORIGIN, 1), vkeys[0], vkeys[1], vkeys[0])
        report = self.check(ledger.export(checkpoint=note), [], policy, 0)
        self.assertEqual(set(report.status.values()), {"pass"})
        self.check(ledger.export(checkpoint=ledger.checkpoint()), [("checkpoint-signature", None)], policy)

    def test_lines(self):
        ledger = self.ledger(6)
        lines = [ledger.line(i) for i in range(6)]
        head = ledger.header(0, 5)
        self.check(head + b"".join(lines[:2] + lines[4:]), [("entry-missing", 2)])
        self.check(head + b"".join(lines[:4]), [("entry-missing", 4)])
        self.check(head, [("entry-missing", 0)])
        self.check(head + b"".join(lines[:3] + lines[2:]), [("index-mismatch", 2)] + [("id-repeated", 2)])
        self.check(head + b"".join(lines[:3]) + b"{}\n" + b"".join(lines[4:]), [("file-malformed", 3)])
        self.check(head + b"".join(lines[:3]) + lines[3].replace(b'\\"v\\":1', b'\\"v\\":3') + b"".join(lines[4:]), [("entry-malformed", 3)])
        self.check(ledger.export(1, 3) + lines[4], [("index-mismatch", 4)])
        self.check(ledger.header(1, 3) + b"".join(lines[0:4]), [("index-mismatch", 0)])
        self.check(ledger.filtered([2, 1]), [("index-mismatch", 1), ("time-backwards", 1)])
        self.check(ledger.filtered([2, 2]), [("index-mismatch", 2), ("id-repeated", 2)])
        self.check(ledger.filtered([5], 0, 3), [("index-mismatch", 5)])
        bad = ledger.line(2, True).replace(b'"inclusion":["', b'"inclusion":["%s","' % (b"0" * 64))
        self.check(ledger.header(0, 5, True) + bad, [("proof-invalid", 2)])

    def test_chain(self):
        ledger = self.ledger(3)
        ledger.event({"action": "a"}, previous="1" * 64)
        ledger.event({"action": "a"}, time="2025-01-01T00:00:00.000Z")
        ledger.event({"action": "a"})
        self.check(ledger.export(), [("previous-mismatch", 3), ("time-backwards", 4)])
        self.check(ledger.export(4), [])
        self.check(ledger.receipt(3), [])
        ledger = Ledger()
        ledger.entries, ledger.leaves = [], []
        payload = ledger.bodies.pop()["event"]["payload"]
        ledger.control("ledger.genesis", payload, previous="1" * 64)
        self.check(ledger.export(), [("genesis-malformed", 0), ("previous-mismatch", 0)])
        self.check(ledger.receipt(0), [("genesis-malformed", 0)])

    def test_bodies(self):
        ledger = self.ledger(2)
        ledger.event({"action": "a"}, commit={"action": "b"})
        ledger.hash_name, ledger.h = "sha512", hashlib.sha512
        ledger.event({"action": "a"})
        ledger.hash_name, ledger.h = "sha256", hashlib.sha256
        ledger.event({"action": "a", "zz": 1})
        ledger.event({"action": "ledger.anchor", "payload": {}})
        ledger.event({"action": "x"}, "control")
        ledger.control("ledger.anchor", {})
        ledger.control("ledger.rules.changed", {"rules": {"requireSignature": False}}, more={"id": "x"})
        ledger.event({"action": "ledger.import"})
        deep = json.loads("[" * 63 + "]" * 63)
        ledger.event({"action": "a", "payload": deep})
        ledger.event({"action": "a", "payload": [deep]})
        ledger.event({"action": "a", "id": "e1"})
        expected = [("commitment-mismatch", 2), ("commitment-mismatch", 3), ("body-malformed", 4), ("control-scheme", 5), ("control-scheme", 6),
                    ("control-malformed", 7), ("control-malformed", 8), ("body-malformed", 11), ("id-repeated", 12)]
        self.check(ledger.export(), expected)
        for i in range(ledger.size):
            self.check(ledger.receipt(i), [e for e in expected if e[1] == i and e[0] != "id-repeated" and i != 3])

    def test_event_grammar(self):
        good = [{"action": "a.b:c-d_e"}, {"action": "a", "actor": ""[:0] + "x" * 1024}, {"action": "a", "type": "t@1"}, {"action": "a", "targets": []},
                {"action": "a", "occurredAt": "2026-01-02T03:04:05Z"}, {"action": "a", "occurredAt": "2026-01-02t03:04:05.123456+23:59"},
                {"action": "a", "occurredAt": "2016-12-31T23:59:60Z"}, {"action": "a", "occurredAt": "2017-01-01T01:29:60+01:30"},
                {"action": "a", "occurredAt": "2016-12-31T18:29:60-05:30"}, {"action": "a", "occurredAt": "0000-02-29T00:00:00z"},
                {"action": "a", "payload": None}, {"action": "a", "context": {"ip": None}}, {"action": "a", "source": {"id": "s", "counter": 0}},
                {"action": "a", "outcome": "ok.1"}, {"action": "a", "actor": {"id": "x", "name": "", "onBehalfOf": ["a", {"id": "b"}]}},
                {"action": "a", "signatures": [{"keyId": "0" * 64, "signature": "QQ=="}]}, {"action": "a" * 128}]
        bad = [{}, {"action": ""}, {"action": "a."}, {"action": ".a"}, {"action": "a..b"}, {"action": "a" * 129}, {"action": 1}, {"action": None}, {"action": "é"},
               {"action": "a\n"}, {"action": "a", "id": ""}, {"action": "a", "id": "x" * 257}, {"action": "a", "id": "\x9f"}, {"action": "a", "id": "é" * 129},
               {"action": "a", "id": None}, {"action": "a", "actor": ""}, {"action": "a", "actor": "x" * 1025}, {"action": "a", "actor": {"id": "x", "zz": 1}},
               {"action": "a", "actor": {}}, {"action": "a", "actor": {"id": "x", "onBehalfOf": []}}, {"action": "a", "actor": {"id": "x", "type": ""}},
               {"action": "a", "targets": {}}, {"action": "a", "targets": [{"id": ""}]}, {"action": "a", "targets": [{"id": "x"}] * 1001},
               {"action": "a", "targets": [{"id": "x", "onBehalfOf": "y"}]}, {"action": "a", "outcome": ""}, {"action": "a", "outcome": "a b"}, {"action": "a", "outcome": "x" * 65},
               {"action": "a", "occurredAt": "2026-02-29T00:00:00Z"}, {"action": "a", "occurredAt": "2026-01-02 03:04:05Z"}, {"action": "a", "occurredAt": "2026-01-02T03:04:05"},
               {"action": "a", "occurredAt": "2026-01-02T03:04:60Z"}, {"action": "a", "occurredAt": "2026-01-02T24:00:00Z"}, {"action": "a", "occurredAt": "2026-01-02T23:59:60+00:01"},
               {"action": "a", "occurredAt": "2026-01-02T03:04:05.Z"}, {"action": "a", "occurredAt": "2026-01-02T03:04:05+24:00"},
               {"action": "a", "occurredAt": "2026-01-02T03:04:05." + "0" * 64 + "Z"}, {"action": "a", "context": []}, {"action": "a", "metadata": None},
               {"action": "a", "source": {"id": "s"}}, {"action": "a", "source": {"id": "s", "counter": -1}}, {"action": "a", "source": {"id": "s", "counter": True}},
               {"action": "a", "source": {"id": "s", "counter": 0.5}}, {"action": "a", "signatures": []}, {"action": "a", "signatures": [{"keyId": "0" * 63, "signature": "QQ=="}]},
               {"action": "a", "signatures": [{"keyId": "0" * 64, "signature": "QQ"}]}, {"action": "a", "signatures": [{"keyId": "0" * 64, "signature": ""}]}]
        chain = {"id": "x"}
        for _ in range(16):
            chain = {"id": "x", "onBehalfOf": chain}
        good.append({"action": "a", "actor": chain})
        bad.append({"action": "a", "actor": {"id": "x", "onBehalfOf": chain}})
        for event in good:
            self.assertIsNone(v.event_error(event), event)
        for event in bad:
            self.assertIsNotNone(v.event_error(event), event)

    def test_disclosure(self):
        def one(fields, expected, show=None):
            ledger = self.ledger(2)
            ledger.fields(None, fields=fields, show=show)
            self.check(ledger.receipt(2), [(c, 2 if c != "file-malformed" else None) for c in expected])
            self.check(ledger.export(), [(c, 2) for c in expected])
        one({"action": "a"}, [])
        one({"action": "a", "payload": []}, [])
        one({"action": "a", "payload": {}, "context": {}, "metadata": {}}, [])
        one({"action": "a", "payload.": 1, "payload.a": 2, "payload.a.b": 3}, [])
        one({"id": "a"}, ["file-malformed"])
        one({"action": "a", "zz": 1}, ["file-malformed"])
        one({"action": "a", "payload": [], "payload.a": 1}, ["file-malformed"])
        one({"action": "a", "payload.__proto__": 1}, ["file-malformed"], show=("action",))
        one({"action": "a", "actor.id": 1}, ["file-malformed"])
        one({"action": "a", "payload": {"x": 1}}, ["body-malformed"])
        one({"action": "a", "payload": {"x": 1}}, [], show=("action",))
        one({"action": "a", "context": None}, ["body-malformed"])
        one({"action": "a", "id": ""}, ["body-malformed"])
        one({"action": "a", "id": ""}, [], show=())
        one({"action": "ledger.anchor"}, ["control-scheme"])
        one({"action": "ledger.anchor"}, [], show=())
        deep = json.loads("[" * 62 + "]" * 62)
        one({"action": "a", "payload.x": deep}, [])
        one({"action": "a", "payload": [deep]}, [])
        one({"action": "a", "payload.x": [deep]}, ["body-malformed"])
        ledger = self.ledger(2)
        ledger.fields({"action": "a", "id": "x", "payload": {"p": 1, "q": 2}}, show=("action",))
        obj = json.loads(ledger.receipt(2))
        names = obj["names"]
        for change in ({"names": names[::-1]}, {"names": names + ["zz"]}, {"digests": dict(obj["digests"], id="0" * 128)}, {"digests": dict(obj["digests"], action="0" * 64)},
                       {"digests": dict(obj["digests"], id="G" * 64)}, {"disclosed": {"action": ["0" * 32]}}, {"disclosed": {"action": ["0" * 31, "a"]}}, {"names": []}):
            self.check(v.jcs(dict(obj, **change)) + b"\n", [("file-malformed", None)])

    def test_body_of_control(self):
        ledger = self.ledger(3)
        ledger.control("ledger.hold.released", {"hold": "h", "reason": "r"})
        ledger.bodies[3] = {"erasedBy": 4}
        ledger.event({"action": "a"})
        self.check(ledger.export(), [("control-body-missing", 3)])

    def test_erasure(self):
        def make():
            ledger = self.ledger(4)
            ledger.fields({"action": "a", "id": "f", "payload": {"x": 1, "y": 2}})
            return ledger
        ledger = make()
        e = ledger.erase((1, {"idGuard": "0" * 64}), (4, {"fields": ["payload.x"]}))
        self.check(ledger.export(), [("body-after-erasure", 1), ("field-after-erasure", 4)])
        ledger.gone(1, e)
        ledger.withhold(4, ["payload.x"])
        report = self.check(ledger.export(), [], exit_code=0)
        self.assertEqual(report.erased, {"entries": 1, "fields": 1})
        self.assertEqual(report.unchecked["integrity"], [])
        self.check(ledger.filtered([1, 5]), [], exit_code=3)
        report = self.check(ledger.filtered([1, 2]), [], exit_code=3)
        self.assertEqual(report.status["integrity"], "notEstablished")
        report = self.check(ledger.export(0, 4), [], exit_code=3)
        self.assertEqual(report.status["integrity"], "notEstablished")
        ledger = make()
        ledger.gone(2, 3)
        self.check(ledger.export(), [("body-missing", 2)])
        ledger = make()
        ledger.erase((1, {}))
        ledger.gone(2, 5)
        self.check(ledger.export(), [("body-after-erasure", 1), ("body-missing", 2)])
        ledger = make()
        e = ledger.erase((4, {"fields": ["payload.x"]}))
        ledger.gone(4, e)
        self.check(ledger.export(), [("body-missing", 4)])
        ledger = make()
        e = ledger.erase((4, {"fields": ["payload.x"]}), (6, {}))
        self.check(ledger.export(), [("erasure-void", e), ("field-after-erasure", 4)])
        for item in ((0, {}), (1, {"leaf": "0" * 64}), (1, {"fields": ["id"]}), (4, {"fields": ["payload.z"]})):
            ledger = make()
            e = ledger.erase(item)
            self.check(ledger.export(), [("erasure-void", e)])
        ledger = make()
        ledger.gone(1, 1)
        self.check(ledger.export(), [("file-malformed", 1)])

    def test_erased_signed_id(self):
        event = {"action": "a", "actor": "alice", "id": "s"}
        signed_id = hashlib.sha256(("tallystick/v1/id\n%s\ns" % ALICE.key_id).encode()).hexdigest()
        policy = policy_text(authors=[(ALICE, "alice", 0, "-")])
        ledger = self.ledger(2)
        ledger.signed(event)
        ledger.gone(2, 3)
        ledger.erase((2, {"signedIds": [signed_id]}))
        self.check(ledger.export(), [], policy, 0)
        ledger.signed(event)
        self.check(ledger.export(), [("id-repeated", 4)], policy)
        ledger = self.ledger(2)                       # before the erased one, too; a void item keeps nothing
        ledger.signed(event)
        ledger.signed(dict(event, id="t"))
        ledger.gone(3, 4)
        ledger.erase((3, {"signedIds": [signed_id]}))
        self.check(ledger.export(), [("id-repeated", 2)], policy)
        ledger = self.ledger(2)
        ledger.signed(event)
        ledger.event({"action": "b"})
        ledger.erase((3, {"signedIds": [signed_id], "leaf": "1" * 64}))
        self.check(ledger.export(), [("erasure-void", 4)], policy)

    def test_holds_anchors_seal(self):
        ledger = self.ledger(4)
        hold = lambda name, first=2, last=9: ledger.control("ledger.hold.placed", {"first": first, "hold": name, "last": last, "reason": "r"})  # noqa: E731
        release = lambda name: ledger.control("ledger.hold.released", {"hold": name, "reason": "r"})  # noqa: E731
        hold("h")
        hold("h")
        release("x")
        e = ledger.erase((1, {}), (2, {}))
        ledger.gone(1, e)
        ledger.gone(2, e)
        release("h")
        e = ledger.erase((3, {}))
        ledger.gone(3, e)
        anchor = {"kind": "k", "note": "0" * 64, "proof": "0" * 64, "root": "0" * 64}
        ledger.control("ledger.anchor", dict(anchor, size=ledger.size))
        ledger.control("ledger.anchor", dict(anchor, size=ledger.size + 1))
        ledger.control("ledger.epoch.sealed", {"logKeys": ["k"], "origin": "next"})
        self.check(ledger.export(), [("control-malformed", 5), ("control-malformed", 6), ("control-malformed", 11), ("erased-under-hold", 2)])
        self.check(ledger.export(1), [("control-malformed", 11)], exit_code=1)
        self.check(ledger.receipt(11), [("control-malformed", 11)])
        ledger.event({"action": "a"})
        ledger.event({"action": "a"})
        self.check(ledger.export(12), [("after-seal", 13)])

    def test_author_signatures(self):
        event = {"action": "a", "actor": "alice", "id": "s"}
        pinned = policy_text(authors=[(ALICE, "alice", 2, 2)])
        ledger = self.ledger(2)
        ledger.signed(event)
        ledger.signed(dict(event, id="t"))
        report = self.check(ledger.receipt(2), [], pinned, 0)
        self.assertIn("1 author signature", report.basis["authenticity"])
        self.check(ledger.receipt(3), [], pinned, 0)                                  # out of the range: unknown
        self.check(ledger.export(), [("author-unregistered", 3)], pinned)
        self.check(ledger.export(1), [], pinned, 3)
        self.check(ledger.export(), [], None, 3)
        self.check(ledger.export(), [("author-unregistered", 2), ("author-unregistered", 3)])
        for i, change in enumerate(({"actor": "bob"}, {"id": "z"}, {"outcome": "x"})):
            ledger = self.ledger(2)
            ledger.signed(event)
            body = dict(ledger.bodies.pop()["event"], **change)
            ledger.entries.pop(), ledger.leaves.pop()
            ledger.event(body)
            self.check(ledger.receipt(2), [] if i == 0 else [("author-signature", 2)], pinned)
        ledger = self.ledger(2)
        ledger.signed({"action": "a", "actor": "alice"})
        self.check(ledger.receipt(2), [("author-signature", 2)], pinned)
        ledger = self.ledger(2)
        ledger.fields({"action": "a", "actor": "alice", "id": "s", "payload": {"x": 1}}, signers=(ALICE,))
        self.check(ledger.receipt(2), [], pinned, 0)
        ledger.withhold(2, ["payload.x", "action"])
        report = self.check(ledger.receipt(2), [], pinned + "#tallystick require-signature\n", 0)
        self.assertIn("1 author signature", report.basis["authenticity"])
        ledger.withhold(2, ["actor"])
        report = self.check(ledger.receipt(2), [], pinned + "#tallystick require-signature\n", 3)
        self.assertEqual(report.status["authenticity"], "notEstablished")

    def test_required(self):
        require = policy_text("#tallystick require-signature", authors=[(ALICE, "alice", 0, "-")])
        ledger = self.ledger(2)
        ledger.signed({"action": "a", "actor": "alice", "id": "s"})
        ledger.event({"action": "ledger.import"})
        self.check(ledger.export(), [("signature-required", 1)], require)
        self.check(ledger.receipt(1), [("signature-required", 1)], require)
        self.check(ledger.receipt(2), [], require, 0)
        self.check(ledger.receipt(3), [], require, 0)
        self.check(ledger.export(2, 3), [], require, 3)
        ledger.fields({"action": "a", "actor": "alice", "id": "f"}, show=())
        report = self.check(ledger.receipt(4), [], require, 3)
        self.assertEqual(report.status["authenticity"], "notEstablished")
        report = self.check(ledger.export(2), [], require, 3)
        self.assertEqual(report.status["authenticity"], "notEstablished")
        # the rules of the ledger
        ledger = Ledger(require=True)
        ledger.add_author()
        ledger.signed({"action": "a", "actor": "alice", "id": "s"})
        ledger.event({"action": "a"})
        ledger.control("ledger.rules.changed", {"rules": {"requireSignature": False}})
        ledger.event({"action": "a"})
        self.check(ledger.export(), [("signature-required", 3)])
        self.check(ledger.export(), [("signature-required", 3), ("rules-weakened", 4)], None)
        self.check(ledger.export(3), [], exit_code=3)
        ledger = Ledger()
        ledger.event({"action": "a"})
        ledger.control("ledger.rules.changed", {"rules": {"requireSignature": True}})
        ledger.event({"action": "a"})
        self.check(ledger.export(), [("signature-required", 3)])

    def test_ledger_keys(self):
        event = {"action": "a", "actor": "alice"}
        ledger = self.ledger(2)
        ledger.add_author()
        ledger.signed(dict(event, id="1"))
        ledger.signed({"action": "a", "actor": "bob", "id": "2"})
        ledger.control("ledger.key.revoked", {"keyId": ALICE.key_id, "reason": "r", "role": "author"}, (LOG,))
        ledger.signed(dict(event, id="3"))
        ledger.add_author()
        self.check(ledger.export(), [("author-unregistered", 4), ("author-unregistered", 6), ("key-event-invalid", 7)])
        for signers in ((), (LOG,), (ALICE,), (LOG2, ALICE)):
            ledger = self.ledger(2)
            ledger.add_author(signers=signers)
            self.check(ledger.export(), [("key-event-invalid", 2)])
            self.check(ledger.export(), [], None, 3)
        rotate = lambda ledger, signers: ledger.control("ledger.key.rotated",  # noqa: E731
                                                        {"new": LOG2.vkey(ORIGIN, 1), "old": LOG.vkey(ORIGIN, 1), "role": "log"}, signers)
        ledger = self.ledger(2)
        rotate(ledger, (LOG, LOG2))
        ledger.add_author(signers=(LOG, ALICE))
        ledger.add_author(signers=(LOG2, ALICE))
        self.check(ledger.export(), [("key-event-invalid", 3)])
        rotate(ledger, (LOG, LOG2))
        self.check(ledger.export(), [("key-event-invalid", 3), ("key-event-invalid", 5)])
        ledger = self.ledger(2)
        rotate(ledger, (LOG,))
        self.check(ledger.export(), [("key-event-invalid", 2)])
        ledger = self.ledger(2)
        ledger.control("ledger.key.added", {"role": "log", "vkey": LOG2.vkey(ORIGIN, 1)}, (LOG, LOG2))
        ledger.control("ledger.key.revoked", {"reason": "r", "role": "log", "validUntilSize": 2, "vkey": LOG.vkey(ORIGIN, 1)}, (LOG2,))
        self.check(ledger.export(), [("key-disowned", None)])
        both = policy_text("log " + LOG2.vkey(ORIGIN, 1))
        self.check(ledger.export(checkpoint=ledger.checkpoint(signers=(LOG, LOG2))), [], both, 0)
        ledger = self.ledger(2)
        ledger.control("ledger.key.revoked", {"reason": "r", "role": "log", "validUntilSize": 3, "vkey": LOG.vkey(ORIGIN, 1)}, (LOG,))
        self.check(ledger.export(), [], exit_code=0)
        ledger = self.ledger(2)
        ledger.control("ledger.key.added", {"role": "log", "vkey": LOG2.vkey("other", 1)}, (LOG, LOG2))
        self.check(ledger.export(), [("key-event-invalid", 2)])

    def test_recovery(self):
        payload = {"checkpoint": None, "lockStoreId": "1" * 32, "logKeys": [LOG2.vkey(ORIGIN, 1)], "lost": ["key"], "reason": "r"}
        ledger = self.ledger(2)
        ledger.control("ledger.recovered", payload, (LOG2,))
        self.check(ledger.export(), [("key-continuity-broken", 2)])
        self.check(ledger.export(checkpoint=ledger.checkpoint(signers=(LOG2,))), [], policy_text(log=LOG2), 0)
        ledger = self.ledger(2)
        ledger.control("ledger.recovered", payload, (LOG2, LOG))
        ledger.add_author(signers=(LOG2, ALICE))
        self.check(ledger.export(), [], exit_code=0)
        ledger = self.ledger(2)
        ledger.control("ledger.recovered", payload, (LOG,))
        self.check(ledger.export(), [("key-event-invalid", 2)])
        ledger = self.ledger(2)
        ledger.control("ledger.recovered", dict(payload, logKeys=[LOG.vkey(ORIGIN, 1)], lost=["lock-store"]), (LOG,))
        self.check(ledger.export(), [], exit_code=0)

    def test_counters(self):
        policy = policy_text(authors=[(ALICE, "alice", 0, "-")])

        def make(counters, signed=True):
            ledger = self.ledger(2)
            for n, counter in enumerate(counters):
                event = {"action": "a", "actor": "alice", "id": "s%d" % n, "source": {"id": "src", "counter": counter}}
                ledger.signed(event) if signed else ledger.event(event)
            return ledger
        self.check(make([5, 6, 7]).export(), [], policy, 0)
        self.check(make([7, 5, 6, 8]).export(), [("source-repeated", 3), ("source-repeated", 4)], policy)
        self.check(make([1, 3, 9]).export(), [("source-gap", 3), ("source-gap", 4)], policy)
        self.check(make([1, 9, 3]).export(), [("source-gap", 3), ("source-repeated", 4)], policy)
        self.check(make([1, 2, 1]).export(), [("source-repeated", 4)], policy)
        self.check(make([1, 3]).export(1), [], policy, 3)
        self.check(make([1, 3], False).export(), [], policy, 0)

    def test_repeats_on_disk(self):
        repeats = v.Repeats()
        repeats.IN_MEMORY = 1000
        for i in range(1000):
            repeats.add("id %d" % (i % 900), i)
        self.assertEqual(sorted(repeats.repeated()), [(i, i - 900) for i in range(900, 1000)])

    def test_receipt(self):
        ledger = self.ledger(4)
        ledger.fields({"action": "a"})
        good = json.loads(ledger.receipt(2))
        make = lambda **over: v.jcs(dict(good, **over)) + b"\n"  # noqa: E731
        proof = good["proof"]
        self.check(make(proof=proof.replace("index 2", "index 1")), [("proof-invalid", 2)])
        self.check(make(proof=proof.replace("index 2", "index 02")), [("file-malformed", None)])
        self.check(make(proof=proof.replace("index 2\n", "index 2\n" + "A" * 43 + "=\n", 1)), [("proof-invalid", 2)])
        self.check(make(proof=proof.replace("index 2\n", "index 2\n" + ("A" * 43 + "=\n") * 65, 1)), [("file-malformed", None)])
        self.check(make(proof=proof.replace("\n\n", "\nextra QQ==\n\n", 1)), [("file-malformed", None)])
        self.check(make(proof=proof.replace("\n", "\r\n")), [("file-malformed", None)])
        self.check(make(proof=proof[:-1]), [("checkpoint-malformed", None)])
        self.check(make(proof="x"), [("file-malformed", None)])
        self.check(make(entry="x"), [("entry-malformed", None)])
        self.check(make(entry=ledger.entries[4]), [("file-malformed", None)])
        self.check(make(salt="0" * 32), [("commitment-mismatch", 2)])
        report = self.check(make(entry="x"), [("entry-malformed", None)])
        self.assertEqual([report.status[x] for x in v.VERDICTS], ["fail"] + ["notChecked"] * 5)
        self.check(ledger.receipt(2) + b"\n", [("file-malformed", None)])
        self.check(ledger.receipt(2)[:-1], [("file-malformed", None)])
        with self.assertRaises(v.Unreadable):
            run(make(format="tallystick/receipt/v2"))
        self.check(ledger.receipt(0), [("genesis-mismatch", 0)], policy_text("#tallystick genesis " + "0" * 64))

    def test_long_lines(self):
        ledger = self.ledger(4)
        lines = [ledger.line(i) for i in range(4)]
        long = b'{"entry":"' + b"a" * v.MAX_LINE + b'"}\n'
        self.check(ledger.header(0, 3) + lines[0] + lines[1] + long + lines[3], [("file-malformed", 2)])
        self.check(b'{"checkpoint":"' + b"a" * v.MAX_LINE, [("file-malformed", None)])
        self.check(long, [("file-malformed", None)])

    def test_large_event(self):
        ledger = self.ledger(2)
        ledger.event({"action": "a", "payload": "x" * (v.MAX_EVENT - 27)})
        ledger.event({"action": "a", "payload": "x" * (v.MAX_EVENT - 26)})
        self.assertEqual(len(v.jcs(ledger.bodies[2]["event"])), v.MAX_EVENT)
        self.check(ledger.export(), [("body-malformed", 3)])

    def test_many_findings(self):
        ledger = self.ledger(3)
        data = ledger.header(0, 2) + b"{}\n" * 1500
        report = run(data, policy_text())
        self.assertEqual((len(report.findings), report.omitted, report.exit_code), (1000, 500, 1))

    def test_non_ascii(self):
        ledger = self.ledger(2)
        for i, text in enumerate(("é", "\U0001f600", "\ufb33 \U0001f600", "\u2028\x7f")):
            ledger.event({"action": "a", "id": "n%d" % i, "actor": text, "payload": {text: 1e-6, "z": 1e-9, "\U0001f601": 1, "\ufb32": 2}})
            ledger.fields({"action": "a", "id": "m%d" % i, "payload": {text: 1e-6, "z": 1e-9, "\U0001f601": 1, "\ufb32": 2}})
        self.check(ledger.export(), [], exit_code=0)
        self.check(ledger.filtered(range(ledger.size)), [], exit_code=3)
        for i in range(ledger.size):
            self.check(ledger.receipt(i), [], exit_code=0)


def der(tag, *parts):
    content = b"".join(parts)
    n = len(content)
    size = (n.bit_length() + 7) // 8
    return bytes([tag]) + (bytes([n]) if n < 128 else bytes([0x80 | size]) + n.to_bytes(size, "big")) + content


def der_int(n, tag=2):
    return der(tag, n.to_bytes(n.bit_length() // 8 + 1, "big"))


def der_oid(text):
    return der(6, v._oid(text))


def sequence(*parts):
    return der(0x30, *parts)


class Signer:
    """A key that signs certificates and tokens: RSA, ECDSA or Ed25519."""

    def __init__(self, kind="p256", digest=hashlib.sha256):
        self.kind, self.digest = kind, digest
        number = {hashlib.sha256: 1, hashlib.sha384: 2, hashlib.sha512: 3}[digest]
        hash_id = sequence(der_oid("2.16.840.1.101.3.4.2.%d" % number), der(5))
        self.hash_id = hash_id
        if kind.startswith("rsa"):
            self.spki = Signatures()._rsa_spki(Signatures.N, 65537)
            mask = sequence(der_oid("1.2.840.113549.1.1.8"), hash_id)
            self.algorithm = {"rsa": sequence(der_oid("1.2.840.113549.1.1.1"), der(5)),
                              "rsa-with": sequence(der_oid("1.2.840.113549.1.1.%d" % (10 + number)), der(5)),
                              "rsa-pss": sequence(der_oid("1.2.840.113549.1.1.10"), sequence(
                                  der(0xa0, hash_id), der(0xa1, mask), der(0xa2, der_int(32))))}[kind]
        elif kind == "ed25519":
            self.key = Ed(seed("tsa"))
            self.spki, self.algorithm = self.key.spki, sequence(der_oid("1.3.101.112"))
        else:
            self.curve = v._CURVES["ecdsa-" + kind]
            x, y = Signatures._affine(self.curve, 7)
            self.spki = v._SPKI["ecdsa-" + kind][0] + b"\x04" + x.to_bytes(self.curve.size, "big") + y.to_bytes(self.curve.size, "big")
            self.algorithm = sequence(der_oid("1.2.840.10045.4.3.%d" % (1 + number)))

    def sign(self, message):
        h = self.digest(message).digest()
        if self.kind == "ed25519":
            return self.key.sign(message)
        if self.kind == "rsa-pss":
            salt, size = b"s" * 32, len(h)
            inner = self.digest(bytes(8) + h + salt).digest()
            db = bytes(256 - size - 34) + b"\x01" + salt
            mask = b"".join(self.digest(inner + i.to_bytes(4, "big")).digest() for i in range(8))
            em = bytearray(a ^ b for a, b in zip(db, mask)) + inner + b"\xbc"
            em[0] &= 0x7f
        elif self.kind.startswith("rsa"):
            info = sequence(self.hash_id, der(4, h))
            em = b"\x00\x01" + b"\xff" * (253 - len(info)) + b"\x00" + info
        else:
            n = self.curve.n
            e = int.from_bytes(h, "big") >> max(0, 8 * len(h) - n.bit_length())
            r = Signatures._affine(self.curve, 5)[0] % n
            return sequence(der_int(r), der_int((e + r * 7) * pow(5, -1, n) % n))
        return pow(int.from_bytes(em, "big"), Signatures.D, Signatures.N).to_bytes(256, "big")


def der_name(text):
    return sequence(der(0x31, sequence(der_oid("2.5.4.3"), der(12, text.encode()))))


def extension(oid, value, critical=True):
    return sequence(der_oid(oid), *([der(1, b"\xff")] if critical else []), der(4, value))


BASIC, USAGE, PURPOSE = "2.5.29.19", "2.5.29.15", "2.5.29.37"
CA = extension(BASIC, sequence(der(1, b"\xff")))
SIGNS = extension(USAGE, der(3, b"\x02\x04"))
STAMPS = extension(PURPOSE, sequence(der_oid("1.3.6.1.5.5.7.3.8")))


def certificate(subject, signer, issuer, by, extensions, serial=1, first=b"260101000000Z", last=b"270101000000Z"):
    sign_id = by.algorithm if by.kind != "rsa" else Signer("rsa-with", by.digest).algorithm
    tbs = sequence(der(0xa0, der_int(2)), der_int(serial), sign_id, der_name(issuer),
                   sequence(der(0x17, first), der(0x17, last)), der_name(subject), signer.spki,
                   *([der(0xa3, sequence(*extensions))] if extensions else []))
    return sequence(tbs, sign_id, der(3, b"\0", by.sign(tbs)))


def token(digest, signer, own, certificates=(), issuer="root", serial=2, time=b"20260601120000Z", accuracy=sequence(der_int(1)), ess="v2", attributes=None,
          nonce=(), policy="1.2.3", more=b"", hash_id=None, info=None, version=1, damage=lambda data: data):
    hash_id = hash_id or Signer().hash_id
    info = info or sequence(der_int(version), der_oid(policy), sequence(hash_id, der(4, digest)), der_int(9), der(0x18, time), accuracy,
                            *[der_int(n) for n in nonce], more)
    place = sequence(sequence(der(0xa4, der_name(issuer))), der_int(serial))
    if attributes is None:
        attributes = [("1.2.840.113549.1.9.3", der_oid("1.2.840.113549.1.9.16.1.4")),
                      ("1.2.840.113549.1.9.4", der(4, signer.digest(info).digest()))]
        if "two names" in ess:
            place = sequence(sequence(der(0xa4, der_name(issuer)), der(0xa4, der_name(issuer))), der_int(serial))
        if "v2" in ess:
            attributes.append(("1.2.840.113549.1.9.16.2.47", sequence(sequence(sequence(der(4, hashlib.sha256(own).digest()), place)))))
        if "v1" in ess:
            attributes.append(("1.2.840.113549.1.9.16.2.12", sequence(sequence(sequence(der(4, hashlib.sha1(own).digest()))))))
    signed = b"".join(sequence(der_oid(oid), der(0x31, value)) for oid, value in attributes)
    info_signer = sequence(der_int(1), sequence(der_name(issuer), der_int(serial)), signer.hash_id, der(0xa0, signed), signer.algorithm,
                           der(4, signer.sign(der(0x31, signed))))
    content = sequence(der_int(3), der(0x31, signer.hash_id), sequence(der_oid("1.2.840.113549.1.9.16.1.4"), der(0xa0, der(4, damage(info)))),
                       *([der(0xa0, *certificates)] if certificates else []), der(0x31, info_signer))
    return sequence(der_oid("1.2.840.113549.1.7.2"), der(0xa0, content))


class TimeStamps(unittest.TestCase):
    """anchors.md 5-16"""
    digest = hashlib.sha256(b"note").digest()

    @classmethod
    def setUpClass(cls):
        cls.signer = Signer()
        cls.root = certificate("root", cls.signer, "root", cls.signer, [CA, SIGNS])
        cls.own = certificate("tsa", cls.signer, "root", cls.signer, [STAMPS], serial=2)

    def verify(self, proof, roots=None, **more):
        try:
            return v.TimeStamp(proof).verify(self.digest, [v.Certificate(r) for r in ([self.root] if roots is None else roots)], **more)
        except v.ProofRefused as refused:
            return refused.code

    def make(self, own=None, certificates=None, **more):
        own = own or self.own
        return token(more.pop("digest", self.digest), more.pop("signer", self.signer), own, [own] if certificates is None else certificates, **more)

    def test_algorithms(self):
        noon = 1780315200000
        for digest in (hashlib.sha256, hashlib.sha384, hashlib.sha512):
            for kind in ("p256", "p384", "rsa", "rsa-with", "rsa-pss", "ed25519"):
                if kind == "ed25519" and digest is not hashlib.sha512:
                    continue
                signer = Signer(kind, digest)
                root = certificate("root", signer, "root", signer, [CA])
                own = certificate("tsa", signer, "root", signer, [STAMPS], serial=2)
                proof = self.make(own, signer=signer)
                self.assertEqual(self.verify(proof, [root]), (noon + 1000, noon - 1000), (kind, digest))
                forged = bytearray(proof)
                forged[-1] ^= 1
                self.assertEqual(self.verify(bytes(forged), [root]), "signature-invalid")
                other = certificate("root", Signer("ed25519" if kind != "ed25519" else "p256"), "root", self.signer, [CA])
                self.assertEqual(self.verify(proof, [other]), "untrusted-key")

    def test_either_s_counts(self):
        class Other(Signer):
            def sign(self, message):
                items = v.Items(v.Der.whole(super().sign(message), 0x30))
                return sequence(der_int(items.take(2).integer()), der_int(self.curve.n - items.take(2).integer()))

        self.assertIsInstance(self.verify(self.make(signer=Other())), tuple)
        self.assertNotEqual(Other().sign(b"m"), self.signer.sign(b"m"))

    def test_response(self):
        proof = self.make()
        for status, granted in ((0, True), (1, True), (2, False)):
            self.assertEqual(isinstance(self.verify(sequence(sequence(der_int(status)), proof)), tuple), granted)
        for bad in (b"", proof[:-1], proof + b"\0", sequence(sequence(der_int(0))), b"\x30\x80" + proof[4:] + b"\0\0", b"\x30\x83\0" + proof[2:],
                    proof + bytes(65536)):
            self.assertEqual(self.verify(bad), "malformed-proof")

    def test_asked_for(self):
        self.assertEqual(self.verify(self.make(digest=bytes(32))), "proof-invalid")
        self.assertEqual(self.verify(self.make(hash_id=Signer(digest=hashlib.sha384).hash_id)), "proof-invalid")
        for nonce, good in ((5, True), (6, False)):
            self.assertEqual(isinstance(self.verify(self.make(nonce=[5]), nonce=nonce), tuple), good)
        self.assertEqual(self.verify(self.make(), nonce=5), "proof-invalid")
        for policy, good in ("1.2.3", True), ("1.2.4", False):
            self.assertEqual(self.verify(self.make(), policies=[v._oid(policy)]), "untrusted-key" if not good else (1780315201000, 1780315199000))
        for now, good in (1780315200 - 300, True), (1780315200 - 301, False):
            self.assertEqual(isinstance(self.verify(self.make(), now=now), tuple), good)

    def test_info(self):
        for more in ({"version": 2}, {"time": b"20260601120000.10Z"}, {"time": b"20260601120000"}, {"time": b"20260631120000Z"}, {"time": b"20260601126000Z"},
                     {"accuracy": sequence(der_int(31536001))}, {"accuracy": sequence(der_int(1000, 0x80))}, {"accuracy": sequence(der(2, b"\0\1"))},
                     {"more": der(0xa1, extension("1.2.3", b"x"))}, {"more": der(5)}):
            self.assertEqual(self.verify(self.make(**more)), "malformed-proof", more)
        self.assertEqual(self.verify(self.make(accuracy=b"")), (1780315200000, 1780315200000))
        self.assertEqual(self.verify(self.make(time=b"20260601120000.000000001Z", accuracy=b"")), (1780315200001, 1780315200000))
        self.assertEqual(self.verify(self.make(accuracy=sequence(der_int(999, 0x81)))), (1780315200001, 1780315199999))
        self.assertIsInstance(self.verify(self.make(more=der(0xa1, extension("1.2.3", b"x", False)))), tuple)
        self.assertEqual(self.verify(self.make(damage=lambda info: info.replace(b"20260601", b"20250601"))), "proof-invalid")

    def test_signer(self):
        self.assertEqual(self.verify(self.make(certificates=[])), "untrusted-key")
        self.assertIsInstance(self.verify(self.make(certificates=[]), [self.root, self.own]), tuple)
        self.assertIsInstance(self.verify(self.make(), [self.own]), tuple)           # pinned itself
        for ess in ("v1", "v1 v2"):
            self.assertIsInstance(self.verify(self.make(ess=ess)), tuple)
        for ess in ("", "v2 two names"):
            self.assertEqual(self.verify(self.make(ess=ess)), "proof-invalid")
        twin = certificate("tsa", self.signer, "root", self.signer, [STAMPS], serial=2, first=b"260102000000Z")
        self.assertEqual(self.verify(self.make(self.own, [twin])), "proof-invalid")
        self.assertIsInstance(self.verify(self.make(self.own, [twin, self.own])), tuple)
        self.assertIsInstance(self.verify(self.make(self.own, [b"\x30\x00", self.own])), tuple)
        self.assertEqual(self.verify(self.make(self.own, [self.own] * 33)), "malformed-proof")
        self.assertEqual(self.verify(self.make(serial=3)), "untrusted-key")
        good = [("1.2.840.113549.1.9.3", der_oid("1.2.3")), ("1.2.840.113549.1.9.4", der(4, bytes(32))),
                ("1.2.840.113549.1.9.16.2.47", sequence(sequence(sequence(der(4, hashlib.sha256(self.own).digest())))))]
        self.assertEqual(self.verify(self.make(attributes=good)), "proof-invalid")
        self.assertEqual(self.verify(self.make(attributes=good + good[:1])), "malformed-proof")

    def test_certificate_of_the_signer(self):
        for extensions in ([], [extension(PURPOSE, sequence(der_oid("1.3.6.1.5.5.7.3.8")), False)],
                           [extension(PURPOSE, sequence(der_oid("1.3.6.1.5.5.7.3.8"), der_oid("1.3.6.1.5.5.7.3.1")))], [STAMPS, CA],
                           [STAMPS, SIGNS], [STAMPS, extension("1.2.3", b"")], [STAMPS, extension(USAGE, der(3, b"\x07\0"))]):
            self.assertEqual(self.verify(self.make(certificate("tsa", self.signer, "root", self.signer, extensions, serial=2))), "proof-invalid")
        for usage in (b"\x07\x80", b"\x06\xc0", b"\x06\x40"):
            self.assertIsInstance(self.verify(self.make(certificate("tsa", self.signer, "root", self.signer, [STAMPS, extension(USAGE, der(3, usage))], serial=2))), tuple)

    def test_chain(self):
        signer = self.signer

        def chain(*between, root=None, **more):
            """The token's answer, with these authorities (extensions) between root and signer."""
            certificates, issuer = [], "root"
            for i, extensions in enumerate(between):
                certificates.append(certificate("ca%d" % i, signer, issuer, signer, extensions, serial=5 + i))
                issuer = "ca%d" % i
            own = certificate("tsa", signer, issuer, signer, [STAMPS], serial=2, **more)
            return self.verify(self.make(own, [own] + certificates, issuer=issuer), [root or self.root])

        self.assertIsInstance(chain(), tuple)
        self.assertIsInstance(chain([CA]), tuple)
        self.assertIsInstance(chain([CA, STAMPS], [CA, SIGNS]), tuple)
        self.assertIsInstance(chain(*[[CA]] * 6), tuple)
        for bad in ([[]], [[SIGNS]], [[CA, extension(USAGE, der(3, b"\x07\x80"))]], [[CA, extension("1.2.3", b"")]],
                    [[CA, extension(PURPOSE, sequence(der_oid("1.3.6.1.5.5.7.3.1")))]], [[CA]] * 7):
            self.assertEqual(chain(*bad), "untrusted-key")
        short = certificate("root", signer, "root", signer, [extension(BASIC, sequence(der(1, b"\xff"), der_int(0)))])
        self.assertIsInstance(chain(root=short), tuple)
        self.assertEqual(chain([CA], root=short), "untrusted-key")
        for times in ({"last": b"260601115959Z"}, {"first": b"260601120001Z"}):
            self.assertEqual(chain(**times), "untrusted-key")
            self.assertEqual(chain(root=certificate("root", signer, "root", signer, [CA], **times)), "untrusted-key")
        self.assertIsInstance(chain(first=b"260601120000Z", last=b"260601120000Z"), tuple)
        loop = certificate("root", signer, "tsb", signer, [CA]), certificate("tsb", signer, "root", signer, [CA])
        self.assertEqual(self.verify(self.make(self.own, [self.own, *loop]), [certificate("x", signer, "x", signer, [CA])]), "untrusted-key")

    def test_mutations_never_hold(self):
        proof = self.make()
        good, rng = self.verify(proof), random.Random(7)
        for _ in range(600):
            bad = bytearray(proof)
            bad[rng.randrange(len(bad))] ^= 1 << rng.randrange(8)
            answer = self.verify(bytes(bad))
            self.assertTrue(isinstance(answer, str) or answer == good)

    def test_openssl(self):
        try:
            subprocess.run(["openssl", "version"], stdout=subprocess.PIPE, check=True)
        except (OSError, subprocess.CalledProcessError):
            self.skipTest("openssl is not installed")
        with tempfile.TemporaryDirectory() as folder:
            def path(name, data=None):
                at = os.path.join(folder, name)
                if data is not None:
                    with open(at, "wb") as file:
                        file.write(data)
                return at
            def pem(data):
                return b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(data) + b"-----END CERTIFICATE-----\n"
            for kind in ("p256", "p384", "rsa"):
                signer = Signer(kind)
                root = certificate("root", signer, "root", signer, [CA, SIGNS])
                own = certificate("tsa", signer, "root", signer, [STAMPS], serial=2)
                done = subprocess.run(["openssl", "ts", "-verify", "-token_in", "-in", path("t", self.make(own, signer=signer)), "-digest", self.digest.hex(),
                                       "-CAfile", path("r", pem(root)), "-attime", "1780315200"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
                self.assertIn(b"Verification: OK", done.stdout)      # so the builder of these tests is right
                self.assertEqual(v.read_certificates(path("r"))[0].raw, root)


class OpenTimestamps(unittest.TestCase):
    """anchors.md 17-26"""
    digest = hashlib.sha256(b"note").digest()

    @staticmethod
    def attest(tag, payload):
        return b"\0" + tag + bytes([len(payload)]) + payload

    def parse(self, tail, head=b"\x08"):
        return v.OpenTimestamp(v._OTS_MAGIC + head + self.digest + tail)

    @staticmethod
    def mine(root, time=1770000000):
        nonce = 0
        while True:
            header = struct.pack("<i", 2) + bytes(32) + root + struct.pack("<III", time, 0x207fffff, nonce)
            if v.sha256(v.sha256(header))[31] < 0x7f:
                return header
            nonce += 1

    def test_holds(self):
        root = v.sha256(b"x" + self.digest + b"y")
        block = self.attest(v._OTS_BITCOIN, b"\x64")
        proof = self.parse(b"\xff" + self.attest(v._OTS_PENDING, b"\x05https") + b"\xf0\x01y\xf1\x01x\x08" + block)
        self.assertEqual((proof.pending, proof.bitcoin), (["https"], [(100, root, True)]))
        header = self.mine(root)
        self.assertEqual(proof.verify(self.digest, {100: header}, 0x207fffff), (1770007200000, 1769992800000))
        for headers in ({}, {101: header}, {100: self.mine(self.digest)}, {100: header[:-1]}, {100: header[:72] + b"\xff\xff\x7f\x21" + header[76:]}):
            with self.assertRaises(v.ProofRefused):
                proof.verify(self.digest, headers, 0x207fffff)
        with self.assertRaises(v.ProofRefused):
            proof.verify(self.digest, {100: header})             # a test network
        with self.assertRaises(v.ProofRefused):
            proof.verify(bytes(32), {100: header}, 0x207fffff)
        for operation, message in ((b"\xf2", self.digest[::-1]), (b"\x03", None), (b"\x67", None), (b"\x02", hashlib.sha1(self.digest).digest())):
            weak = self.parse(operation + b"\x08" + block)
            self.assertEqual(weak.bitcoin, [(100, message and v.sha256(message), False)])
            if message:
                with self.assertRaises(v.ProofRefused):
                    weak.verify(self.digest, {100: self.mine(v.sha256(message))}, 0x207fffff)

    def test_earliest_and_latest(self):
        proof = self.parse(b"\xff" + self.attest(v._OTS_BITCOIN, b"\1") + self.attest(v._OTS_BITCOIN, b"\2"))
        headers = {1: self.mine(self.digest, 1770000000), 2: self.mine(self.digest, 1780000000)}
        self.assertEqual(proof.verify(self.digest, headers, 0x207fffff), (1770007200000, 1779992800000))

    def test_genesis_block(self):
        header = bytes.fromhex("0100000000000000000000000000000000000000000000000000000000000000000000003ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a29ab5f49ffff001d1dac2b7c")
        v.check_header(header)
        self.assertEqual(v.parse_headers(b"# pinned\n\n0 %s\n" % header.hex().encode()), {0: header})
        for bad in (header[:-1] + b"\0", header[:72] + b"\xff\xff\x80\x1d" + header[76:], header[:72] + bytes(4) + header[76:]):
            with self.assertRaises(v.ProofRefused):
                v.check_header(bad)
        line = b"0 %s\n" % header.hex().encode()
        for bad in (line[:-1], line + line, b"0" + line, line.upper().replace(b"0 ", b"1 "), b" " + line, line.replace(b"\n", b" \n"), b"x\n", line + b"\r\n"):
            with self.assertRaises(v.Refused):
                v.parse_headers(bad)
        many = b"".join(b"%d %s\n" % (i, header.hex().encode()) for i in range(10001))
        self.assertEqual(len(v.parse_headers(many[:many.rindex(b"10000 ")])), 10000)
        with self.assertRaises(v.Refused):
            v.parse_headers(many)

    def test_malformed(self):
        block = self.attest(v._OTS_BITCOIN, b"\x64")
        self.parse(block)
        self.parse(b"\x08" * 255 + block)
        self.parse((b"\xff" + block) * 3000 + block)
        self.parse(b"\xff\x08" * 0 + (b"\xff\x08" + block) * 3000 + block)
        self.parse(self.attest(bytes(8), b"anything"))
        for tail in (b"", b"\xff", b"\x08", b"\x08" * 256 + block, block + b"\0", b"\xff" + block, b"\xf0\0" + block, b"\xf0\xe1\x1f" + b"a" * 4065 + block,
                     b"\xf0\x81\0a" + block, b"\xf3" * 8 + block, b"\x09" + block, self.attest(v._OTS_BITCOIN, b"\x64\0"), self.attest(v._OTS_BITCOIN, b""),
                     self.attest(v._OTS_BITCOIN, b"\xff" * 7 + b"\x7f"), self.attest(v._OTS_PENDING, b"\1?"), self.attest(v._OTS_PENDING, b"\2a"),
                     (b"\xff\x08" + block) * 4096 + b"\x08" + block):
            with self.assertRaises(v.ProofRefused, msg=tail[:40]):
                self.parse(tail)
        for head in (b"\x02", b"\x67", b"\x09"):
            with self.assertRaises(v.ProofRefused):
                self.parse(block, head)


class Complete(unittest.TestCase):
    """Kind complete: export.md 9-13"""
    check = Findings.check

    def ledger(self):
        ledger = Ledger()
        ledger.event({"action": "a.b", "actor": "alice", "id": "1", "payload": {"x": 1, "y": {"z": [True, {"q.r": "s"}]}}})
        ledger.fields({"action": "a.c", "actor": {"id": "alice"}, "context": {"traceId": "t"}, "payload": {"x": 1}, "targets": [{"id": "o"}]})
        ledger.event({"action": "b", "outcome": "ok", "type": "u@1"})
        ledger.event({"action": "a.d", "payload": [7]})
        return ledger

    def counts(self, ledger, filter, first=0, last=None, exit_code=0, findings=(), **more):
        last = ledger.size - 1 if last is None else last
        selection = {"filter": filter, "first": first, "kind": "complete", "last": last}
        report = self.check(ledger.export(first, last, selection=selection), findings, exit_code=exit_code, **more)
        if report.counts is None:
            return None
        return tuple(int(n) for n in re.findall("[0-9]+", report.counts))

    def test_conditions(self):
        ledger = self.ledger()
        for filter, members in (
                ({"action": "a.b"}, 1), ({"action": "a.*"}, 3), ({"action": "ledger.*"}, 1), ({"actor": "alice"}, 2), ({"target": "o"}, 1),
                ({"type": "u@1"}, 1), ({"type": "u"}, 0), ({"outcome": "ok"}, 1), ({"correlation": "t"}, 1), ({"correlation": "x"}, 0),
                ({"from": "2026-01-02T03:00:03.000Z"}, 3), ({"to": "2026-01-02T03:00:03.000Z"}, 2),
                ({"from": "2026-01-02T03:00:03.000Z", "action": "a.*"}, 2), ({"where": {"payload.x": 1}}, 2), ({"where": {"payload.x": True}}, 0),
                ({"where": {"payload.x": 1, "actor.id": "alice"}}, 1), ({"where": {"payload.y.z.0": True}}, 1), ({"where": {"payload.y.z.00": True}}, 0),
                ({"where": {"payload.y.z.1.q.r": "s"}}, 1), ({"where": {"payload.0": 7}}, 1), ({"where": {"payload.y": {"z": [True, {"q.r": "s"}]}}}, 1),
                ({"where": {"targets.0.id": "o"}}, 1), ({"where": {"nothing": None}}, 0)):
            self.assertEqual(self.counts(ledger, filter), (members, 5 - members, 0, 0), filter)
        self.assertEqual(self.counts(ledger, {"action": "a.*"}, 1, 3, exit_code=3), (2, 1, 0, 0))

    def test_paths(self):
        for value, path, leads in (
                ({"a": {"b": 1}, "a.b": 2}, "a.b", 2), ({"a": {"b": 1}, "a.b": 2}, "a.b", 1), ({"": {"": 3}}, "..", None), ({"": {"x": 3}}, ".x", 3),
                ([[4]], "0.0", 4), ([[4]], "0.1", None), ([4], "-0", None), ([4], "9007199254740993", None), ("text", "0", None)):
            self.assertEqual(v._leads(value, path, v.jcs_text(leads)), leads is not None, (value, path))

    def test_bad_filters(self):
        ledger = self.ledger()
        for filter in ({}, {"any": 1}, {"action": ""}, {"action": ".*"}, {"action": "a*"}, {"from": "2026-01-02"}, {"from": 1}, {"to": "2026-02-30T00:00:00.000Z"},
                       {"type": 1}, {"where": {}}, {"where": []}, {"where": {"": 1}}, {"where": {"payload": 1}}, {"where": {"payload.": 1}},
                       {"where": {"p" * 1025: 1}}, {"where": {"p%d" % i: 1 for i in range(33)}}):
            self.assertIsNone(self.counts(ledger, filter, exit_code=1, findings=[("file-malformed", None)]), filter)
        self.assertIsNotNone(self.counts(ledger, {"where": {"p%d" % i: 1 for i in range(32)}}))

    def test_withheld(self):
        ledger = self.ledger()
        ledger.withhold(2, ["actor", "context.traceId", "payload.x", "targets"])
        self.assertEqual(self.counts(ledger, {"action": "b"}), (1, 4, 0, 0))
        for filter in ({"actor": "alice", "action": "a.c"}, {"correlation": "t", "action": "a.c"}, {"where": {"payload.x": 1}, "action": "a.c"},
                       {"where": {"payload.x.y": 1}}, {"target": "o"}):
            self.assertEqual(self.counts(ledger, filter, exit_code=3)[2], 1, filter)
        self.assertEqual(self.counts(ledger, {"where": {"payload.xx": 1}})[2], 0)
        ledger.bodies[1] = {}
        self.assertEqual(self.counts(ledger, {"action": "b"}, exit_code=3), (1, 3, 1, 0))
        self.assertEqual(self.counts(ledger, {"to": "2026-01-02T03:00:04.000Z"}), (3, 2, 0, 0))
        self.check(ledger.export(), [("file-malformed", 1)])
        ledger = self.ledger()
        by = ledger.erase((1, {}))
        ledger.gone(1, by)
        self.assertEqual(self.counts(ledger, {"action": "b"}, exit_code=3), (1, 4, 1, 1))

    def test_withheld_body_of_control(self):
        ledger = self.ledger()
        ledger.control("ledger.hold.placed", {"first": 1, "hold": "h", "last": 2, "reason": "r"})
        ledger.bodies[5] = {}
        self.counts(ledger, {"action": "b"}, exit_code=1, findings=[("control-body-missing", 5)])

    def test_withheld_body_may_need_a_signature(self):
        ledger = Ledger(require=True)
        ledger.event({"action": "a"})
        ledger.bodies[1] = {}
        data = ledger.export(selection={"filter": {"action": "b"}, "first": 0, "kind": "complete", "last": 1})
        self.assertEqual(self.check(data, [], exit_code=3).status["authenticity"], "notEstablished")


class Held(unittest.TestCase):
    """A checkpoint alone, and the one that the reader holds: checkpoint.md 13-15, verification.md 12"""
    check = Findings.check
    ledger = Findings.ledger

    def test_alone(self):
        ledger = self.ledger()
        note = ledger.checkpoint().encode()
        report = self.check(note, [], exit_code=0)
        self.assertEqual((report.kind, [report.status[x] for x in v.VERDICTS]), ("checkpoint", ["notChecked", "notChecked", "pass", "notChecked", "pass", "pass"]))
        self.check(note, [], None, exit_code=3)
        self.check(ledger.checkpoint(witnesses=()).encode(), [], exit_code=4)
        self.check(ledger.checkpoint(witnesses=()).encode(), [], policy_text(quorum="none"), exit_code=0)
        self.check(ledger.checkpoint(signers=(LOG2,)).encode(), [("checkpoint-signature", None)], exit_code=1)
        self.check(note.replace(ORIGIN.encode() + b"\n", b"other\n", 1), [("origin-mismatch", None)])
        report = self.check(note.replace(b"\n5\n", b"\n05\n"), [("checkpoint-malformed", None)])
        self.assertEqual(report.status["integrity"], "notChecked")
        self.check(note.replace(b"\n5\n", b"\n6\n"), [("checkpoint-signature", None)])

    def test_recognised(self):
        note = self.ledger().checkpoint().encode()
        for data in (b"c2sp.org/tlog-proof@v1\nindex 0\n\n" + note, note + b" " * v.MAX_NOTE, note.replace(b"\n\n", b"\n")):
            with self.assertRaises(v.Unreadable):
                run(data)

    def test_held(self):
        ledger, other = self.ledger(9), self.ledger(9, first_time=7)
        for size in range(1, 10):
            self.check(ledger.export(), [], exit_code=0, held=ledger.checkpoint(size))
            self.check(ledger.export(), [("expected-root", None)], exit_code=1, held=other.checkpoint(size))
        longer = self.ledger(12).checkpoint()
        report = self.check(ledger.export(), [], exit_code=3, held=longer)
        self.assertEqual(report.status["completeness"], "notEstablished")
        self.check(ledger.export(2, 8), [], exit_code=3, held=ledger.checkpoint())
        self.check(ledger.export(2, 8), [("expected-root", None)], held=other.checkpoint())
        for data in (ledger.receipt(3), ledger.checkpoint().encode()):
            self.check(data, [], exit_code=0, held=ledger.checkpoint())
            self.check(data, [], exit_code=3, held=ledger.checkpoint(4))
            self.check(data, [("expected-root", None)], held=other.checkpoint())
            self.check(data, [("origin-mismatch", None)], held=ledger.checkpoint().replace(ORIGIN, "other"))


class PublishedFolder(unittest.TestCase):
    """published.md 7-9"""

    def publish(self, ledger, size=None):
        """name: bytes"""
        size = ledger.size if size is None else size
        out = {"checkpoint": ledger.checkpoint(size).encode()}

        def put(level, hashes):
            for first in range(0, len(hashes), 256):
                part = hashes[first:first + 256]
                out[v.tile_path(level, first // 256, len(part))] = b"".join(part)
            if len(hashes) >= 256:
                put(level + 1, [mth(hashes[i:i + 256]) for i in range(0, len(hashes) - 255, 256)])

        put(0, ledger.leaves[:size])
        for first in range(0, size, 256):
            part = ledger.entries[first:min(first + 256, size)]
            out[v.tile_path(None, first // 256, len(part))] = b"".join(struct.pack(">H", len(t)) + t.encode() for t in part)
        return out

    def judge(self, objects, policy=None, held=None):
        with tempfile.TemporaryDirectory() as folder:
            for name, data in objects.items():
                path = os.path.join(folder, *name.split("/"))
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with open(path, "wb") as file:
                    file.write(data)
            return v.verify_path(folder, v.Reader(v.Policy.parse((policy or policy_text()).encode()), False, v.Checkpoint(held.encode()) if held else None))

    def check(self, objects, expected, exit_code=None, **more):
        report = self.judge(objects, **more)
        self.assertEqual(sorted({f["code"] for f in report.findings}), sorted(expected), report.as_text())
        self.assertEqual(report.exit_code, (1 if expected else 0) if exit_code is None else exit_code)
        return report

    @classmethod
    def setUpClass(cls):
        cls.large = Ledger()
        for i in range(1, 700):
            cls.large.event({"action": "a", "id": "e%d" % i})

    def test_a_size_that_nothing_stands_behind(self):
        text = "%s\n%d\n%s\n" % (ORIGIN, 2 ** 50, b64(bytes(32)))
        key_id = hashlib.sha256(ORIGIN.encode() + b"\n\x01" + LOG.public).digest()[:4]
        note = "%s\n\u2014 %s %s\n" % (text, ORIGIN, b64(key_id + LOG.sign(text.encode())))
        report = self.judge({"checkpoint": note.encode()})
        self.assertEqual(report.exit_code, 1)
        self.assertIn("256 bundles in a row are absent", "".join(report.unchecked["completeness"]))

    def test_example(self):
        self.assertEqual(v.tile_path(0, 1234067, 256), "tile/0/x001/x234/067")
        self.assertEqual(v.tile_path(None, 0, 3), "tile/entries/000.p/3")

    def test_honest(self):
        for size in (1, 2, 3, 255, 256, 257, 511, 512, 513, 700):
            self.check(self.publish(self.large, size), [])
        objects = self.publish(self.large)
        for name, data in self.publish(self.large, 300).items():
            if name != "checkpoint":
                objects.setdefault(name, data)
        objects["checkpoint"] = self.large.checkpoint(300).encode()
        for name in [n for n in objects if n.endswith(".p/44")]:
            del objects[name]                    # the full one serves
        self.check(objects, [])

    def test_damage(self):
        good = self.publish(self.large)
        for name, data in good.items():
            if name == "checkpoint":
                continue
            entries = "entries" in name
            self.check({n: d for n, d in good.items() if n != name}, ["entry-missing" if entries else "object-missing"])
            self.check(dict(good, **{name: data[:-1]}), ["object-mismatch"])
            if not entries:
                self.check(dict(good, **{name: bytes([data[0] ^ 1]) + data[1:]}), ["object-mismatch"])
        name = "tile/entries/001"
        changed = good[name].replace(b"2026-01-02T03:05:00", b"2026-01-02T03:05:01", 1)
        report = self.judge(dict(good, **{name: changed}))
        self.assertIn(("object-mismatch", 299), {(f["code"], f.get("index")) for f in report.findings})
        self.check(dict(good, checkpoint=self.publish(Findings().ledger(700))["checkpoint"]), ["checkpoint-root"])
        self.check({"checkpoint": b"x\n"}, ["checkpoint-malformed"])
        with self.assertRaises(v.Unreadable):
            self.judge({"other": b""})

    def test_entries(self):
        for over, expected in (({"index": 5}, "index-mismatch"), ({"previous": "0" * 64}, "previous-mismatch"), ({"v": 2}, "entry-malformed"),
                               ({"time": "2026-01-02T02:00:00.000Z"}, "time-backwards"), ({"time": "2026-01-03T02:00:00.000Z"}, "time-after-evidence"),
                               ({"commitment": "sha3-256:" + "0" * 64}, "commitment-mismatch")):
            ledger = Ledger()
            ledger.event({"action": "a"}, **over)
            self.check(self.publish(ledger), [expected])
        ledger = Ledger()
        self.check(self.publish(ledger), ["genesis-mismatch"], policy=policy_text("#tallystick genesis " + "0" * 64))
        self.check(self.publish(ledger), ["origin-mismatch"], policy=policy_text().replace(LOG.vkey(ORIGIN, 1), LOG.vkey("other", 1)))

    def test_held(self):
        objects = self.publish(self.large, 600)
        for size in (1, 256, 300, 600):
            self.check(objects, [], held=self.large.checkpoint(size))
            alone = self.check(objects, [], policy=policy_text(quorum="none"), held=self.large.checkpoint(size))
            self.assertEqual(alone.status["independence"], "pass")
        self.assertEqual(self.check(objects, [], policy=policy_text(quorum="none")).status["independence"], "notEstablished")
        report = self.check(objects, ["expected-beyond"], held=self.large.checkpoint(601))
        self.assertEqual(report.findings[0]["notes"], [self.large.checkpoint(601), self.large.checkpoint(600)])
        self.check(objects, ["expected-root"], held=Findings().ledger(300).checkpoint())
        self.check(objects, ["checkpoint-signature"], held=self.large.checkpoint(300, signers=(LOG2,)))


def zip_file(members, deflate=(), **over):
    """The bytes of a strict ZIP. `over` changes single numbers: local or central (name: {place in the header: bytes}), end, gap, and others."""
    out, central, names = b"", b"", list(members)
    for name, data in members.items() if isinstance(members, dict) else members:
        raw = name.encode()
        packed = data
        if name in deflate:
            packer = zlib.compressobj(9, zlib.DEFLATED, -15)
            packed = packer.compress(data) + packer.flush()
        packed = over.get("packed", {}).get(name, packed)
        size, crc = over.get("sizes", {}).get(name, len(data)), over.get("crcs", {}).get(name, zlib.crc32(data))
        common = struct.pack("<HHHHHIII", 20, 0, 8 if name in deflate else 0, 0, 33, crc, len(packed), size) + struct.pack("<H", len(raw))
        offset = len(out)

        def changed(header, which):
            header = bytearray(header)
            for place, value in over.get(which, {}).get(name, {}).items():
                header[place:place + len(value)] = value
            return bytes(header)

        out += changed(b"PK\x03\x04" + common + bytes(2) + raw, "local") + packed + over.get("gap", {}).get(name, b"")
        central += changed(b"PK\x01\x02" + struct.pack("<H", 20) + common + bytes(12) + struct.pack("<I", offset) + raw, "central")
    central += over.get("after_central", b"")
    end = bytearray(b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, len(names), len(names), len(central), len(out), 0))
    for place, value in over.get("end", {}).items():
        end[place:place + len(value)] = value
    return out + central + bytes(end) + over.get("behind", b"")


class Packages(unittest.TestCase):
    """evidence-package.md"""

    @classmethod
    def setUpClass(cls):
        cls.signer = Signer()
        cls.root = certificate("root", cls.signer, "root", cls.signer, [CA, SIGNS])
        cls.own = certificate("tsa", cls.signer, "root", cls.signer, [STAMPS], serial=2)

    def ledger(self, n=5):
        ledger = Findings.ledger(self, n)
        return ledger

    def parts(self, ledger, entries=None, checkpoint=None, **more):
        """The members but the manifest and its signature."""
        entries = ledger.export() if entries is None else entries
        out = {"policy": policy_text().encode(), "checkpoint": (checkpoint or json.loads(entries.split(b"\n")[0])["checkpoint"]).encode(), "entries.jsonl": entries}
        out.update(more)
        return out

    def manifest(self, parts, **over):
        header = json.loads(parts["entries.jsonl"].split(b"\n")[0])
        checkpoint = v.Checkpoint(header["checkpoint"].encode())
        value = {"format": "tallystick/evidence/v1", "members": [
            {"name": n, "sha256": hashlib.sha256(d).hexdigest(), "size": len(d)} for n, d in parts.items()],
            "origin": checkpoint.origin, "policy": hashlib.sha256(parts["policy"]).hexdigest(), "root": checkpoint.root.hex(),
            "selection": header["selection"], "size": checkpoint.size}
        value.update(over)
        return v.jcs(value) + b"\n"

    def signature(self, manifest, signer=LOG, origin=ORIGIN):
        raw = b"\1" + signer.public
        message = "tallystick/v1/manifest\n%s\n%s" % (origin, hashlib.sha256(manifest).hexdigest())
        return ("\u2014 %s %s\n" % (ORIGIN, b64(hashlib.sha256(ORIGIN.encode() + b"\n" + raw).digest()[:4] + signer.sign(message.encode())))).encode()

    def pack(self, parts, manifest=None, signature=None, **over):
        manifest = self.manifest(parts) if manifest is None else manifest
        signature = self.signature(manifest) if signature is None else signature
        return zip_file(dict([("manifest.json", manifest), ("manifest.sig", signature)], **parts), **over)

    def judge(self, data, policy="default", held=None, roots=None, headers=None, require_anchor=False, self_asserted=False):
        policy = v.Policy.parse((policy_text() if policy == "default" else policy).encode()) if policy else None
        reader = v.Reader(policy, self_asserted, v.Checkpoint(held.encode()) if held else None, [v.Certificate(r) for r in roots or ()], headers, require_anchor)
        report = v.verify_source(io.BytesIO(data), v.recognise(data[:v.MAX_NOTE + 1]), reader)
        self.assertEqual(report.kind, "package")
        json.dumps(report.as_json())
        report.as_text()
        return report

    def check(self, data, expected, exit_code=None, **more):
        report = self.judge(data, **more)
        self.assertEqual(sorted(f["code"] for f in report.findings), sorted(expected), report.as_text())
        self.assertEqual(report.exit_code, exit_code if exit_code is not None else 1 if expected else 0, report.as_text())
        return report

    def refused(self, data, reason, code="package-malformed"):
        report = self.check(data, [code])
        self.assertEqual((report.findings[0]["found"], report.status["integrity"]), (reason, "fail"))
        self.assertEqual({report.status[x] for x in v.VERDICTS[1:]}, {"notChecked"})

    def test_honest(self):
        ledger = self.ledger()
        parts = self.parts(ledger)
        report = self.check(self.pack(parts), [])
        self.assertEqual(set(report.status.values()), {"pass"})
        for deflate in (list(parts), ["entries.jsonl"], ["manifest.json", "manifest.sig"]):
            self.check(self.pack(parts, deflate=deflate), [])
        self.check(self.pack(dict(parts, **{"readme.txt": b"", "report.html": b"<p>", "report.json": b"{}"})), [])
        self.check(self.pack(parts), [], policy=None, exit_code=3)
        self.check(self.pack(self.parts(ledger, ledger.export(1, 3))), [], exit_code=3)
        self.check(self.pack(parts), [], self_asserted=True, policy=None)

    def test_large(self):
        ledger = self.ledger(700)
        self.check(self.pack(self.parts(ledger), deflate=["entries.jsonl"]), [])

    def test_zip(self):
        parts = self.parts(self.ledger())
        pack = lambda **over: self.pack(parts, **over)  # noqa: E731
        for over, reason in (
                ({"behind": b"\0"}, "zip-end"), ({"end": {20: b"\1\0"}}, "zip-end"), ({"end": {4: b"\1"}}, "zip-end"), ({"end": {8: b"\4"}}, "zip-end"),
                ({"end": {8: b"\4\0\4\0"}}, "zip-end"), ({"end": {8: b"\6\0\6\0"}}, "zip-central"), ({"after_central": b"\0"}, "zip-central"),
                ({"central": {"policy": {0: b"X"}}}, "zip-central"), ({"central": {"policy": {4: b"\x15"}}}, "zip-central"), ({"central": {"policy": {8: b"\1"}}}, "zip-central"),
                ({"central": {"policy": {8: b"\x08"}}}, "zip-central"), ({"central": {"policy": {10: b"\x0c"}}}, "zip-method"), ({"central": {"policy": {12: b"\1"}}}, "zip-central"),
                ({"central": {"policy": {30: b"\1"}}}, "zip-central"), ({"central": {"policy": {28: b"\0\0"}}}, "zip-name"), ({"central": {"policy": {28: b"\xff\xff"}}}, "zip-name"),
                ({"central": {"policy": {46: b"POLICY"}}}, "zip-name"), ({"central": {"policy": {46: b"../a/b"}}}, "zip-name"), ({"central": {"policy": {46: b"/olicy"}}}, "zip-name"),
                ({"central": {"policy": {46: b"p//icy"}}}, "zip-name"), ({"central": {"policy": {46: b"poli/."}}}, "zip-name"), ({"central": {"policy": {46: b"p\\licy"}}}, "zip-name"),
                ({"central": {"policy": {46: b"policx"}}}, "zip-local"), ({"local": {"policy": {30: b"policx"}}}, "zip-local"), ({"local": {"policy": {6: b"\x08"}}}, "zip-local"),
                ({"local": {"policy": {18: b"\0"}}}, "zip-local"), ({"local": {"policy": {14: b"\0\0\0\0"}}}, "zip-local"), ({"gap": {"policy": b"PK\3\4"}}, "zip-layout"),
                ({"gap": {"entries.jsonl": b"\0"}}, "zip-layout"), ({"central": {"policy": {42: b"\0\0\0\0"}}}, "zip-layout"),
                ({"crcs": {"policy": 1}}, "zip-crc"), ({"crcs": {"manifest.json": 1}}, "zip-crc")):
            self.refused(pack(**over), reason)
        self.refused(b"PK", "zip-end")
        self.refused(pack()[:-1], "zip-end")
        self.refused(b"PK" + pack(), "zip-end")
        many = [("a%d" % i, b"") for i in range(4097)]
        self.refused(zip_file(many), "zip-end")
        self.refused(zip_file(many[:4096]), "manifest")
        self.refused(zip_file(many[:4]), "zip-end")
        self.refused(zip_file(many[:5] + many[:1]), "zip-duplicate")
        items = list(dict(self._members(parts)).items())
        self.refused(zip_file(items[:1] + items[2:] + items[1:2]), "manifest")

    def _members(self, parts):
        manifest = self.manifest(parts)
        return [("manifest.json", manifest), ("manifest.sig", self.signature(manifest))] + list(parts.items())

    def test_bombs(self):
        parts = self.parts(self.ledger(), **{"report.json": bytes(1 << 20)})
        self.refused(self.pack(parts, deflate=["report.json"]), "zip-limit")         # a ratio of 1000
        self.check(self.pack(parts), [])
        zeros = zlib.compressobj(9, zlib.DEFLATED, -15)
        bomb = zeros.compress(bytes(1 << 24)) + zeros.flush()
        parts = self.parts(self.ledger(), **{"report.json": bytes(2000)})
        self.refused(self.pack(parts, deflate=["report.json"], packed={"report.json": bomb}), "zip-data")
        good = zlib.compressobj(9, zlib.DEFLATED, -15)
        good = good.compress(bytes(2000)) + good.flush()
        for packed in (good[:-1], good + b"\0", good + good, b"\xff" * 20, b"\1\0\0\xff\xff"):
            self.refused(self.pack(parts, deflate=["report.json"], packed={"report.json": packed}), "zip-data")
        self.refused(self.pack(parts, sizes={"report.json": 1999}), "zip-method")
        members = json.loads(self.manifest(parts))["members"]
        for size in (1999, 2001):
            self.refused(self.pack(parts, deflate=["report.json"], sizes={"report.json": size}), "members")
            manifest = self.manifest(parts, members=members[:-1] + [dict(members[-1], size=size)])
            self.refused(self.pack(parts, manifest, deflate=["report.json"], sizes={"report.json": size}), "zip-data")
        self.refused(self.pack(self.parts(self.ledger(), **{"readme.txt": bytes(16777217)})), "zip-limit")

    def test_manifest(self):
        parts = self.parts(self.ledger())
        good = self.manifest(parts)
        value = json.loads(good)
        for over in ({"format": "x"}, {"format": "tallystick/evidence/v01"}, {"more": 1}, {"size": 0}, {"size": "5"}, {"root": "00"}, {"policy": None}, {"selection": []}, {"members": {}},
                     {"members": [dict(value["members"][0], more=1)]}, {"members": [dict(value["members"][0], sha256="x")]}, {"origin": 1}):
            self.refused(self.pack(parts, self.manifest(parts, **over)), "manifest")
        for manifest in (good[:-1], good + b"\n", b" " + good, b"[]\n", b"\n", b"\xff\n"):
            self.refused(self.pack(parts, manifest), "manifest")
        with self.assertRaises(v.Unreadable) as raised:
            self.judge(self.pack(parts, self.manifest(parts, format="tallystick/evidence/v2")))
        self.assertEqual(raised.exception.code, "newer-format")
        line = self.signature(good)
        for signature in (b"", b"\n", line[:-1], line + b"\n", line * 17, b"- " + line[4:], line.replace(b" ", b"  "), b"\xff\n"):
            self.refused(self.pack(parts, signature=signature), "manifest-signature")
        self.check(self.pack(parts, signature=line * 16), [])
        members = value["members"]
        for listed in (members[:2], members[::-1], members + members[:1], [dict(members[0], size=1)] + members[1:], [dict(members[0], name="x")] + members[1:]):
            self.refused(self.pack(parts, self.manifest(parts, members=listed)), "members")
        for name in ("other", "anchors/0.txt", "anchors/1000.tsr", "anchors/00.tsr", "manifest.sig2", "tiles/0"):
            self.refused(self.pack(dict(parts, **{name: b""})), "members")
        self.refused(self.pack(dict(reversed(parts.items()))), "members")
        self.refused(self.pack(parts, self.manifest(parts, members=[dict(members[0], sha256="0" * 64)] + members[1:])), members[0]["sha256"], "member-mismatch")

    def test_signed_by(self):
        parts = self.parts(self.ledger())
        good = self.manifest(parts)
        self.check(self.pack(parts, signature=self.signature(good, LOG2)), ["manifest-signature"])
        self.check(self.pack(parts, signature=self.signature(good, LOG2)), [], policy=None, exit_code=3)
        self.check(self.pack(parts, signature=self.signature(good + b" ")), ["manifest-signature"])
        self.check(self.pack(parts, signature=self.signature(good, LOG2) + self.signature(good)), [])
        self.check(self.pack(parts, signature=self.signature(good + b" ") + self.signature(good)), ["manifest-signature"])
        bounded = policy_text("#tallystick key %s 0 4" % LOG.vkey(ORIGIN, 1))
        self.check(self.pack(parts), ["checkpoint-signature", "manifest-signature"], policy=bounded)

    def test_bindings(self):
        ledger = self.ledger()
        parts = self.parts(ledger)
        for over in ({"policy": "0" * 64}, {"root": "0" * 64}, {"size": 4}, {"selection": {"first": 0, "kind": "range", "last": 3}}, {"selection": {}}):
            report = self.check(self.pack(parts, self.manifest(parts, **over)), ["member-mismatch"])
            self.assertEqual(report.findings[0]["evidence"], list(over)[0])
        other = self.manifest(parts, origin="other")
        self.check(self.pack(parts, other, self.signature(other, origin="other")), ["member-mismatch"])
        self.check(self.pack(self.parts(ledger, checkpoint=ledger.checkpoint(4))), ["member-mismatch"])
        manifest = self.manifest(parts, root="0" * 64, size=4, policy="1" * 64)
        self.check(self.pack(parts, manifest), ["member-mismatch"] * 3)

    def test_entries(self):
        ledger = self.ledger()
        parts = self.parts(ledger)
        bad = dict(parts, **{"entries.jsonl": parts["entries.jsonl"].replace(b"a.b", b"a.c", 1)})
        self.check(self.pack(bad), ["commitment-mismatch"])
        bad = dict(parts, **{"entries.jsonl": b"junk\n"})
        report = self.check(self.pack(bad, self.manifest(parts, members=json.loads(self.manifest(parts))["members"][:2] + [
            {"name": "entries.jsonl", "sha256": hashlib.sha256(b"junk\n").hexdigest(), "size": 5}])), ["file-malformed"])
        self.assertEqual(report.status["completeness"], "notChecked")

    def consistency(self, ledger, size):
        """RFC 9162 2.1.4.1"""
        def sub(m, leaves, whole):
            if m == len(leaves):
                return [] if whole else [mth(leaves)]
            k = 1 << (len(leaves) - 1).bit_length() - 1
            return sub(m, leaves[:k], whole) + [mth(leaves[k:])] if m <= k else sub(m - k, leaves[k:], False) + [mth(leaves[:k])]
        return [h.hex() for h in sub(size, ledger.leaves, True)]

    def test_consistency(self):
        ledger = self.ledger(11)

        def with_(**value):
            return self.pack(self.parts(ledger, **{"consistency.json": v.jcs(value) + b"\n"}))

        for size in range(1, 12):
            data = with_(checkpoint=ledger.checkpoint(size), proof=self.consistency(ledger, size))
            self.check(data, [], held=ledger.checkpoint(size))
            self.check(data, ["expected-root"], held=Complete.ledger(self).checkpoint().replace("\n5\n", "\n%d\n" % size))
        proof = self.consistency(ledger, 6)
        self.check(with_(checkpoint=ledger.checkpoint(6), proof=proof[1:]), ["proof-invalid"])
        self.check(with_(checkpoint=ledger.checkpoint(6), proof=proof + proof[:1]), ["proof-invalid"])
        self.check(with_(checkpoint=ledger.checkpoint(6, signers=(LOG2,)), proof=proof), ["checkpoint-signature"])
        self.check(with_(checkpoint=ledger.checkpoint(6).replace(ORIGIN, "other"), proof=proof), ["origin-mismatch"])
        self.check(with_(checkpoint="x\n", proof=proof), ["checkpoint-malformed"])
        for value in ({"checkpoint": 1, "proof": []}, {"checkpoint": "x"}, {"checkpoint": "x", "proof": ["0"]}, {"checkpoint": "x", "proof": ["0" * 64] * 127}):
            self.refused(with_(**value), "consistency")
        slice_ = self.parts(ledger, ledger.export(2, 8))
        self.check(self.pack(slice_), [], exit_code=3, held=ledger.checkpoint(4))
        self.check(self.pack(slice_), [], exit_code=3, held=ledger.checkpoint())
        self.check(self.pack(slice_), ["expected-root"], held=Complete.ledger(self).checkpoint().replace("\n5\n", "\n11\n"))
        self.check(self.pack(self.parts(ledger)), ["origin-mismatch"], held=ledger.checkpoint(4).replace(ORIGIN, "other"))

    # -- anchors

    def anchored(self, size=4, kind="rfc3161", proof=None, note=None, time=b"20260601120000Z", consistency=None, over=None, payload=None, more=None, entries=None):
        ledger = self.ledger()
        note = ledger.checkpoint(size, witnesses=()) if note is None else note
        digest = v.sha256(note.encode())
        proof = token(digest, self.signer, self.own, [self.own], time=time) if proof is None else proof(digest)
        root = mth(ledger.leaves[:size]).hex()
        at = ledger.control("ledger.anchor", dict({"kind": kind, "note": digest.hex(), "proof": hashlib.sha256(proof).hexdigest(), "root": root, "size": size}, **payload or {}))
        ledger.event({"action": "late"})
        recorded = dict(ledger.bodies[at], entry=ledger.entries[at], inclusion=[h.hex() for h in inclusion(at, ledger.leaves)])
        suffix = ".tsr" if kind == "rfc3161" else ".ots"
        item = {"consistency": self.consistency(ledger, size) if consistency is None else consistency, "kind": kind, "note": "anchors/0.note",
                "proof": "anchors/0" + suffix, "recorded": recorded}
        item.update(over or {})
        parts = self.parts(ledger, entries(ledger) if entries else None, **{"anchors/index.json": v.jcs([item]) + b"\n", "anchors/0.note": note.encode(), "anchors/0" + suffix: proof})
        parts.update(more or {})
        return self.pack(parts)

    def test_time_stamp(self):
        policy = policy_text(quorum="none")
        data = self.anchored(time=b"20260102030500Z")
        report = self.check(data, [], roots=[self.root], policy=policy, require_anchor=True)
        self.assertEqual(report.status["time"], "pass")
        timeline = report.timeline()
        self.assertEqual([(r["size"], r["time"]) for r in timeline["notAfter"]], [(4, "2026-01-02T03:05:01.000Z")])
        self.assertEqual([(r["index"], r["time"]) for r in timeline["notBefore"]], [(5, "2026-01-02T03:04:59.000Z")])
        report = self.check(data, [], policy=policy)
        self.assertEqual((report.status["time"], len(report.unchecked["time"])), ("notEstablished", 1))
        self.assertEqual(self.check(data, [], policy=policy, require_anchor=True, exit_code=4).required_missing, ["anchor"])
        self.check(data, [], policy=None, roots=[self.root], exit_code=3)
        self.check(self.anchored(over={"recorded": None}), [], roots=[self.root])
        self.check(self.anchored(entries=lambda ledger: ledger.export(1, 2)), ["time-before-evidence"], roots=[self.root])

    def test_back_dated(self):
        early = certificate("root", self.signer, "root", self.signer, [CA], first=b"250101000000Z")
        own = certificate("tsa", self.signer, "root", self.signer, [STAMPS], serial=2, first=b"250101000000Z")
        make = lambda time: lambda digest: token(digest, self.signer, own, [own], time=time)  # noqa: E731
        self.check(self.anchored(proof=make(b"20260102025503Z")), [], roots=[early])
        self.check(self.anchored(proof=make(b"20260102025502Z")), ["time-after-evidence"], roots=[early])
        self.check(self.anchored(proof=make(b"20260102030507Z")), [], roots=[early])
        self.check(self.anchored(proof=make(b"20260102030508Z")), ["time-before-evidence"], roots=[early])

    def test_anchors_that_do_not_hold(self):
        other = self.ledger(3)
        check = lambda expected, **more: self.check(self.anchored(**more), expected, roots=[self.root])  # noqa: E731
        check(["anchor-mismatch"], payload={"proof": "0" * 64})
        check(["anchor-mismatch"], payload={"note": "0" * 64})
        check(["anchor-mismatch"], payload={"root": "0" * 64})
        check(["anchor-mismatch"], payload={"size": 3})
        check(["anchor-mismatch"], payload={"kind": "opentimestamps"})
        check(["anchor-mismatch"], consistency=[])
        check(["anchor-mismatch"], note="x\n\n")
        check(["anchor-mismatch"], note=other.checkpoint(3), over={"recorded": None})
        check(["checkpoint-signature"], note=self.ledger().checkpoint(4, signers=(LOG2,), witnesses=()))
        check(["anchor-invalid"], proof=lambda digest: b"x")
        check(["anchor-mismatch"], proof=lambda digest: token(bytes(32), self.signer, self.own, [self.own]))
        check(["anchor-invalid"], proof=lambda digest: token(digest, self.signer, self.own, [self.own], ess=""))
        check([], proof=lambda digest: token(digest, self.signer, self.own))
        recorded = dict(self.ledger().bodies[1], entry=self.ledger().entries[1], inclusion=[])
        check(["anchor-mismatch"], over={"recorded": recorded})

    def test_open_timestamps(self):
        block = OpenTimestamps.attest(v._OTS_BITCOIN, b"\x64")
        make = lambda tail: lambda digest: v._OTS_MAGIC + b"\x08" + digest + tail  # noqa: E731
        data = self.anchored(kind="opentimestamps", proof=make(block))
        self.assertEqual(len(self.check(data, []).unchecked["time"]), 1)
        digest = v.sha256(self.ledger().checkpoint(4, witnesses=()).encode())
        header = OpenTimestamps.mine(digest, 1767323100)
        most, v.MAX_BITS = v.OpenTimestamp.verify.__defaults__, None
        try:
            v.OpenTimestamp.verify.__defaults__, v.check_header.__defaults__ = (0x207fffff,), (0x207fffff,)
            report = self.check(data, [], headers={100: header}, policy=policy_text(quorum="none"))
            self.assertEqual(report.timeline()["notAfter"][0]["time"], "2026-01-02T05:05:00.000Z")
            self.check(data, ["anchor-invalid"], headers={100: OpenTimestamps.mine(bytes(32))})
            two = self.anchored(kind="opentimestamps", proof=make(b"\xff" + block + OpenTimestamps.attest(v._OTS_BITCOIN, b"\x65")))
            self.assertEqual(len(self.check(two, [], headers={100: OpenTimestamps.mine(bytes(32))}).unchecked["time"]), 1)
            self.check(two, [], headers={100: header})
        finally:
            v.OpenTimestamp.verify.__defaults__, v.check_header.__defaults__, v.MAX_BITS = most, most, most[0]
        pending = self.anchored(kind="opentimestamps", proof=make(OpenTimestamps.attest(v._OTS_PENDING, b"\1a")))
        self.assertIn("waits", self.check(pending, []).unchecked["time"][0])
        self.check(self.anchored(kind="opentimestamps", proof=lambda digest: v._OTS_MAGIC + b"\x08" + bytes(32) + block), ["anchor-mismatch"])

    def test_anchor_index(self):
        for over in ({"kind": "x"}, {"more": 1}, {"note": "policy"}, {"proof": "anchors/0.note"}, {"recorded": {}}, {"consistency": ["x"]}, {"consistency": ["0" * 64] * 127}):
            self.refused(self.anchored(over=over), "anchors")
        for more in ({"anchors/index.json": b"[]\n"}, {"anchors/index.json": b"{}\n"}, {"anchors/index.json": b"[]"}, {"anchors/1.note": b""}):
            self.refused(self.anchored(more=more), "anchors")
        parts = self.parts(self.ledger())
        self.refused(self.pack(dict(parts, **{"anchors/headers": b""})), "anchors")
        self.refused(self.anchored(more={"anchors/headers": b"x\n"}), "headers")
        self.check(self.anchored(more={"anchors/headers": b"# none\n"}), [])

    def test_every_byte(self):
        data, rng = self.anchored(), random.Random(3)
        for _ in range(400):
            bad = bytearray(data)
            bad[rng.randrange(2, len(bad))] ^= 1 << rng.randrange(8)
            try:
                self.assertEqual(self.judge(bytes(bad), roots=[self.root]).exit_code, 1)
            except v.Unreadable:
                pass


class Fuzz(unittest.TestCase):
    def test_committed_nonsense(self):
        """Events with one thing changed before they are committed and signed: a report, never an exception."""
        key, key2 = LOG.vkey(ORIGIN, 1), LOG2.vkey(ORIGIN, 1)
        events = [
            ("ledger.genesis", Ledger().bodies[0]["event"]["payload"]),
            ("ledger.rules.changed", {"rules": {"requireSignature": True}, "scheme": "fields"}),
            ("ledger.key.added", {"actor": "alice", "algorithm": "ed25519", "role": "author", "spki": b64(ALICE.spki)}),
            ("ledger.key.added", {"role": "log", "vkey": key2}),
            ("ledger.key.rotated", {"new": key2, "old": key, "role": "log"}),
            ("ledger.key.revoked", {"reason": "r", "role": "log", "validUntilSize": 1, "vkey": key}),
            ("ledger.key.revoked", {"keyId": ALICE.key_id, "reason": "r", "role": "author"}),
            ("ledger.erasure", {"basis": "b", "entries": [{"fields": ["id"], "idGuard": "0" * 64, "index": 1, "leaf": "0" * 64, "signedIds": ["0" * 64]}], "reason": "r"}),
            ("ledger.hold.placed", {"first": 0, "hold": "h", "last": 3, "reason": "r"}),
            ("ledger.hold.released", {"hold": "h", "reason": "r"}),
            ("ledger.anchor", {"kind": "k", "note": "0" * 64, "proof": "0" * 64, "root": "0" * 64, "size": 1}),
            ("ledger.epoch.sealed", {"logKeys": [key], "origin": "x"}),
            ("ledger.recovered", {"checkpoint": None, "lockStoreId": "0" * 32, "logKeys": [key2], "lost": ["database", "key"], "reason": "r"}),
            ("a.b", {"x": 1}),
        ]
        plain = {"action": "a", "actor": {"id": "alice", "onBehalfOf": ["x"]}, "id": "i", "source": {"id": "s", "counter": 1}, "occurredAt": "2026-01-02T03:04:05Z",
                 "context": {"ip": None}, "metadata": {"m": []}, "payload": {"p": {}}, "targets": [{"id": "t"}], "outcome": "o", "type": "t",
                 "signatures": [{"keyId": ALICE.key_id, "signature": "QQ=="}]}
        policies = [None, policy_text(), policy_text("#tallystick require-signature", authors=[(ALICE, "alice", 0, "-")])]
        count = 0
        for action, payload in events:
            for number, (_, changed) in enumerate(variants({"action": action, "payload": payload})):
                if not isinstance(changed, dict) or number % 3:
                    continue
                ledger = Ledger()
                ledger.add_author()
                ledger.signed({"action": "a", "actor": "alice", "id": "z"})
                scheme = "event" if action == "a.b" else "control"
                ledger.event(changed, scheme)
                ledger.event({"action": "a"})
                self.judge(ledger, 3, policies[count % 3])
                count += 1
        for _, changed in variants(plain):
            if not isinstance(changed, dict):
                continue
            ledger = Ledger()
            ledger.add_author()
            ledger.event(changed)
            ledger.fields(None, fields=ledger.cut(changed))
            self.judge(ledger, 2, policies[count % 3])
            self.judge(ledger, 3, policies[count % 3])
            count += 1
        self.assertGreater(count, 400)

    def judge(self, ledger, index, policy):
        for data in (ledger.export(), ledger.export(1), ledger.filtered([index]), ledger.receipt(index)):
            report = run(data, policy)
            self.assertIn(report.exit_code, (0, 1, 3))
            v.jcs(report.as_json())
            report.as_text()


class Policies(unittest.TestCase):
    def test_good(self):
        policy = v.Policy.parse(policy_text("# c", "", " \t ", "#tallysti", "#", "witness x %s url" % WITNESS2.vkey("other", 4), authors=[(ALICE, 'a "b"  c', 3, 9)]).encode())
        author = policy.authors[ALICE.key_id]
        self.assertEqual((author.actor, author.first, author.until), ('a "b"  c', 3, 9))

    def test_quorum(self):
        keys = [Ed(seed("q%d" % i)) for i in range(4)]
        text = "log %s\n" % LOG.vkey(ORIGIN, 1) + "".join("witness w%d %s\n" % (i, k.vkey("w%d" % i, 4)) for i, k in enumerate(keys))
        text += "group a 2 w0 w1 w2\ngroup b any a w3\nquorum %s\n"
        policy = v.Policy.parse((text % "a").encode())
        self.assertEqual([policy.satisfied(s) for s in ({"w0"}, {"w0", "w2"}, {"w3", "w0"}, set())], [False, True, False, False])
        policy = v.Policy.parse((text % "b").encode())
        self.assertEqual([policy.satisfied(s) for s in ({"w0"}, {"w0", "w2"}, {"w3"}, set())], [False, True, True, False])
        policy = v.Policy.parse((text % "a" + "#tallystick operator one w0 w2\n").encode())
        self.assertEqual([policy.satisfied(s) for s in ({"w0", "w2"}, {"w0", "w1"}, {"w0", "w1", "w2"})], [False, True, True])
        text = "log %s\n" % LOG.vkey(ORIGIN, 1) + "".join("witness w%d %s\n" % (i, k.vkey("w%d" % i, 4)) for i, k in enumerate(keys)) + "group a 2 w0 w1 w2\nquorum a\n"
        ledger = Ledger()
        times = {0: 500, 1: 300, 2: 400}
        note = ledger.checkpoint(witnesses=())
        for i, t in list(times.items()) + [(1, 0), (1, 900)]:
            part = ledger.checkpoint(signers=(), witness_time=t, witnesses=((keys[i], "w%d" % i),))
            note += part.split("\n\n")[1]
        acceptance = v.Acceptance(v.Checkpoint(note.encode()), v.Policy.parse(text.encode()))
        self.assertEqual((acceptance.accepted, acceptance.quorum, acceptance.time), (True, True, 400))

    def test_bad(self):
        log, witness = LOG.vkey(ORIGIN, 1), WITNESS.vkey(WNAME, 4)
        base = "log %s\n" % log
        author = "#tallystick author ed25519 %s " % b64(ALICE.spki)
        two = base + "witness w %s\nwitness x %s\ngroup g any w\ngroup h any x g\nquorum h\n" % (witness, WITNESS2.vkey("x", 4))
        v.Policy.parse((two + "#tallystick operator o x\n#tallystick operator p w\n").encode())
        pair = two.replace("group g any w\ngroup h any x g", "group h %s x w")
        v.Policy.parse((pair % "any" + "#tallystick operator o x w\n").encode())
        for text in (pair % "all" + "#tallystick operator o x w\n", two + "#tallystick operator o x w\n", two + "#tallystick operator o\n", two + "#tallystick operator w x\n",
                     two + "#tallystick operator g x\n", two + "#tallystick operator o g\n", two + "#tallystick operator o y\n", two + "#tallystick operator o x x\n",
                     two + "#tallystick operator o x\n#tallystick operator o w\n", two + "#tallystick operator o x\n#tallystick operator p x\n",
                     "", "\n", base, "quorum none\n", base + "quorum none", base + "quorum none\r\n", base + "quorum none\nquorum none\n", base + "quorum w\n",
                     base + "quorum none x\n", "log\nquorum none\n", "log a b c\nquorum none\n", "log %s\nquorum none\n" % witness, base + base + "quorum none\n",
                     base + "witness none %s\nquorum none\n" % witness, base + "witness w %s\nwitness w %s\nquorum none\n" % (witness, WITNESS2.vkey("x", 4)),
                     base + "witness w %s\nquorum none\n" % log, base + "witness w %s\nquorum none\n" % LOG.vkey("x", 4), base + "witness w %s\nquorum none\n" % WITNESS.vkey(ORIGIN, 4),
                     base + "log %s\nquorum none\n" % LOG2.vkey("other", 1), base + "group g any w\nwitness w %s\nquorum g\n" % witness,
                     base + "witness w %s\ngroup g 2 w\nquorum g\n" % witness, base + "witness w %s\ngroup g 0 w\nquorum g\n" % witness, base + "witness w %s\ngroup g 01 w\nquorum g\n" % witness,
                     base + "witness w %s\ngroup g any w w\nquorum g\n" % witness, base + "witness w %s\ngroup g any w\ngroup h any w\nquorum g\n" % witness,
                     base + "witness w %s\ngroup g any\nquorum g\n" % witness, base + "witness w %s\ngroup w any w\nquorum w\n" % witness, base + "quorum none\nfoo\n",
                     base + "quorum none\n#tallystick\n", base + "quorum none\n#tallysticks x\n", base + "quorum none\n#tallystick foo\n", base + "quorum none\n#tallystick genesis 00\n",
                     base + "quorum none\n" + ("#tallystick genesis %s\n" % ("0" * 64)) * 2, base + "quorum none\n#tallystick key %s 5 4\n" % log,
                     base + "quorum none\n#tallystick key %s 5\n" % log, base + "quorum none\n#tallystick key %s 0 -\n" % LOG2.vkey(ORIGIN, 1),
                     base + "quorum none\n" + ("#tallystick key %s 0 -\n" % log) * 2, base + "quorum none\n#tallystick require-all\n",
                     base + "quorum none\n" + ("#tallystick require-all %s\n" % log) * 2, base + "quorum none\n#tallystick require-all %s\n" % LOG2.vkey(ORIGIN, 1),
                     base + "quorum none\n" + "#tallystick require-signature\n" * 2, base + "quorum none\n#tallystick require-signature x\n",
                     base + "quorum none\n" + author + "alice 0 -\n", base + "quorum none\n" + author + '"" 0 -\n', base + "quorum none\n" + author + '"a" 2 1\n',
                     base + "quorum none\n" + author + '"a" 0\n', base + "quorum none\n" + author + '"\\u0061" 0 -\n', base + "quorum none\n" + author + '"a" 0 - 1\n',
                     base + "quorum none\n" + (author + '"a" 0 -\n') * 2, base + "quorum none\n#tallystick author ed25519 %s \"a\" 0 -\n" % b64(LOG.spki),
                     base + "quorum none\n#tallystick author rsa-pss %s \"a\" 0 -\n" % b64(ALICE.spki), base + "quorum none\n\x7f\n", base + "quorum none\n\x0b\n",
                     base + "quorum none\n" + "#" * v.MAX_POLICY + "\n", base + "quorum\u00a0none\n"):
            with self.assertRaises(v.Refused, msg=text[:200]):
                v.Policy.parse(text.encode())
        with self.assertRaises(v.Refused):
            v.Policy.parse((base + "quorum none\n# ").encode() + b"\xff\n")

    def test_vkeys(self):
        good = LOG.vkey(ORIGIN, 1)
        name, key_id, rest = good.split("+", 2)
        for text in ("", "+", "++", good[:-1], good + "=", "%s+%s+%s" % ("a b", key_id, rest), "%s+%s+%s" % (name, key_id.upper(), rest), "x+%s+%s" % (key_id, rest),
                     LOG.vkey(ORIGIN, 2), LOG.vkey(ORIGIN, 6), LOG.vkey(" ", 1), LOG.vkey("", 1), LOG.vkey("a\u2003b", 1)):
            with self.assertRaises(v.Refused, msg=text):
                v.VKey(text)
        self.assertEqual(v.VKey(LOG.vkey("é\x01", 1)).name, "é\x01")

    def test_notes(self):
        good = Ledger().checkpoint()
        v.Checkpoint(good.encode())
        text, lines = good.split("\n\n")
        line = lines.split("\n")[0] + "\n"
        origin, size, root = text.split("\n")
        for bad in ("", "\n", "\n\n", text, text + "\n\n", good[:-1], good + "\n", good + "x\n", good.replace("\u2014", "-"), good.replace("\u2014 ", "\u2014"), good + line.strip("\n") + " x\n",
                    good.replace("\n", "\r\n"), good + "\x00\n", text + "\n\n" + line * 65, text + "\n\n\u2014 a QUFBQQ==\n", text + "\n\n\u2014  QUFBQUE=\n", text + "\n\n\u2014 a+b QUFBQUE=\n",
                    text + "\next\n\n" + line, "%s\n0\n%s\n\n%s" % (origin, root, line), "%s\n01\n%s\n\n%s" % (origin, root, line), "%s\n1\n%s\n\n%s" % (origin, root[:-1], line),
                    "%s\n1\nQQ==\n\n%s" % (origin, line), "a b\n1\n%s\n\n%s" % (root, line), "a+b\n1\n%s\n\n%s" % (root, line), "tallystick/x\n1\n%s\n\n%s" % (root, line),
                    "%s\n9007199254740992\n%s\n\n%s" % (origin, root, line), "\n" + good, text + "\n\n" + "\u2014 " + "n" * v.MAX_NOTE + " QUFBQUE=\n"):
            with self.assertRaises(v.Refused, msg=bad[:300]):
                v.Checkpoint(bad.encode())
        with self.assertRaises(v.Refused):
            v.Checkpoint(good.encode() + b"\xff\n")


class CommandLine(unittest.TestCase):
    def call(self, *arguments):
        done = subprocess.run([sys.executable, os.path.join(HERE, "verify.py")] + list(arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertNotIn(b"Traceback", done.stderr + done.stdout)
        return done.returncode, done.stdout

    def test_exit_codes(self):
        ledger = Ledger()
        ledger.event({"action": "a"})
        with tempfile.TemporaryDirectory() as folder:
            def put(name, data):
                path = os.path.join(folder, name)
                with open(path, "wb") as file:
                    file.write(data)
                return path
            export, policy = put("e.jsonl", ledger.export()), put("policy", policy_text().encode())
            receipt = put("r.json", ledger.receipt(1))
            code, out = self.call(export, "--policy", policy)
            self.assertEqual(code, 0)
            self.assertIn("integrity pass \u00b7 order pass".encode(), out)
            self.assertEqual(self.call(receipt, "--policy", policy)[0], 0)
            code, out = self.call(export, "--policy", policy, "--json")
            report = json.loads(out)
            self.assertEqual(out, v.jcs(report) + b"\n")
            self.assertEqual(sorted(report), ["conclusive", "erased", "findings", "findingsOmitted", "format", "kind", "needsReindex", "ok", "origin", "pin",
                                              "range", "requiredMissing", "root", "size", "summary", "timeline", "verdicts"])
            self.assertEqual(self.call(export)[0], 3)
            self.assertEqual(self.call(export, "--allow-self-asserted")[0], 0)
            self.assertEqual(self.call(receipt, "--allow-self-asserted")[0], 3)
            self.assertEqual(self.call(put("f", ledger.export(checkpoint=ledger.checkpoint(witnesses=()))), "--policy", policy)[0], 4)
            self.assertEqual(self.call(put("b", ledger.export()[:-1]), "--policy", policy)[0], 1)
            self.assertEqual(self.call()[0], 2)
            self.assertEqual(self.call(export, "--nonsense")[0], 2)
            self.assertEqual(self.call(export, "--policy", policy, "--allow-self-asserted")[0], 2)
            self.assertEqual(self.call(put("x", b""), "--policy", policy)[0], 3)
            for data in (b"\n", b"{}", b"\xff" * 100, b"{\"checkpoint\":1}", policy_text().encode()):
                self.assertEqual(self.call(put("x", data), "--policy", policy)[0], 5)
            code, out = self.call(put("n", ledger.receipt(1, format="tallystick/receipt/v2")), "--json")
            self.assertEqual((code, json.loads(out)["code"]), (5, "newer-format"))
            self.assertEqual(self.call(os.path.join(folder, "missing"))[0], 3)
            self.assertEqual(self.call(folder)[0], 5)
            self.assertEqual(self.call(export, "--policy", os.path.join(folder, "missing"))[0], 5)
            self.assertEqual(self.call(export, "--policy", export)[0], 5)
            done = subprocess.run([sys.executable, os.path.join(HERE, "verify.py"), "/dev/stdin", "--policy", policy], input=ledger.export(), stdout=subprocess.PIPE)
            self.assertEqual(done.returncode, 0)          # a pipe: copied first



if __name__ == "__main__":
    unittest.main()
