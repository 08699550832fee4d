#!/usr/bin/env python3
"""Independent verifier for Tallystick evidence, formats version 1: receipts, exports, checkpoints, published ledgers.

    verify.py FILE [--policy FILE] [--allow-self-asserted] [--expect CHECKPOINT] [--json]

One file, Python 3.9 or later, standard library only. It was written from the texts in spec/ alone and
shares no code with the implementation that writes these files. Citations such as "export.md L9" name
the rule that a line of code follows.

Exit codes (verification.md 11): 0 nothing wrong and all of it conclusive, 1 a finding that fails a
verdict, 2 wrong usage, 3 inconclusive, 4 the quorum of the policy was not reached, 5 unreadable,
unrecognised, of a newer format, or a malformed policy, 130 interrupted.
"""

import argparse
import base64
import binascii
import datetime
import functools
import hashlib
import io
import json
import os
import re
import stat
import struct
import sys
import tempfile
import zlib
from array import array

MAX_SAFE = 2 ** 53 - 1
MAX_LINE = 34078720          # bytes of a receipt or of a line of an export, newline included
MAX_EVENT = 16777216         # bytes of JCS(event)
MAX_NOTE = 262144
MAX_POLICY = 1048576
MAX_DEPTH = 64               # an event
MAX_DEPTH_OUTER = 68         # JSON that contains an event
MAX_LISTED = 1000            # findings that are listed; more are counted

RECEIPT_FORMAT = "tallystick/receipt/v1"
EXPORT_FORMAT = "tallystick/export/v1"


class Refused(Exception):
    """Bytes that a rule refuses. The text says why."""


class Unreadable(Exception):
    """A code of errors.md and a message."""

    exit_code = 5

    def __init__(self, code, message, name="MalformedError"):
        Exception.__init__(self, message)
        self.code, self.message, self.name = code, message, name


class Absent(Unreadable):
    """There is nothing to verify."""

    exit_code = 3

    def __init__(self, message):
        Unreadable.__init__(self, "not-found", message, "UnavailableError")


def show(value, limit=120):
    """An untrusted value for a message: printable ASCII, bounded."""
    if not isinstance(value, str):
        value = repr(value)
    text = json.dumps(value[:limit])
    text = re.sub(r"[^\x20-\x7e]", "?", text)
    return text + ("..." if len(value) > limit else "")


# ---------------------------------------------------------------------------------------------------
# Canonical JSON (primitives.md 1-10)
# ---------------------------------------------------------------------------------------------------

def es_number(x):
    """A finite double as ECMAScript prints it."""
    if x == 0:
        return "0"
    sign = "-" if x < 0 else ""
    mantissa, _, exponent = repr(abs(x)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = whole + fraction
    point = len(whole) + int(exponent or 0)
    bare = digits.lstrip("0")
    point -= len(digits) - len(bare)         # the value is 0.digits * 10^point
    digits = bare.rstrip("0")
    count = len(digits)
    if count <= point <= 21:
        return sign + digits + "0" * (point - count)
    if 0 < point <= 21:
        return sign + digits[:point] + "." + digits[point:]
    if -6 < point <= 0:
        return sign + "0." + "0" * -point + digits
    e = point - 1
    tail = ("+" if e >= 0 else "-") + str(abs(e))
    return sign + digits[0] + ("." + digits[1:] if count > 1 else "") + "e" + tail


def _parse_int(text):
    if len(text) > 17:
        raise ValueError("number too large")
    value = int(text)
    if not -MAX_SAFE <= value <= MAX_SAFE:
        raise ValueError("number too large")
    return value


def _parse_float(text):
    if len(text) > 32:                       # no canonical number is that long
        raise ValueError("number not canonical")
    value = float(text)
    if not -MAX_SAFE <= value <= MAX_SAFE:   # NaN and infinities fail this too
        raise ValueError("number too large")
    if es_number(value) != text:
        raise ValueError("number not canonical")
    return value


def _parse_constant(text):
    raise ValueError("not JSON: " + text)


_DECODE = json.JSONDecoder(parse_int=_parse_int, parse_float=_parse_float, parse_constant=_parse_constant).decode
# check_circular off is safe: what is encoded was parsed from text
_ENCODE = json.JSONEncoder(ensure_ascii=False, check_circular=False, allow_nan=False, sort_keys=True,
                           separators=(",", ":")).encode
_encode_string = json.encoder.encode_basestring      # with its escapes that of RFC 8785
_ASTRAL = re.compile(rb"[\xf0-\xf4]")


def _utf16(text):
    return text.encode("utf-16-be", "surrogatepass")


def depth_of(value):
    """Open arrays and objects, the outermost counts 1; a scalar has depth 0."""
    depth = 0
    level = [value] if isinstance(value, (dict, list)) else []
    while level:
        depth += 1
        inner = []
        for container in level:
            items = container.values() if isinstance(container, dict) else container
            inner.extend(item for item in items if isinstance(item, (dict, list)))
        level = inner
    return depth


def _has_proto(value):
    level = [value]
    while level:
        inner = []
        for item in level:
            if isinstance(item, dict):
                if "__proto__" in item:
                    return True
                inner.extend(item.values())
            elif isinstance(item, list):
                inner.extend(item)
        level = inner
    return False


def _jcs(value, out):
    if isinstance(value, str):
        out.append(_ENCODE(value))
    elif value is True:
        out.append("true")
    elif value is False:
        out.append("false")
    elif value is None:
        out.append("null")
    elif isinstance(value, int):
        out.append(str(value))
    elif isinstance(value, float):
        out.append(es_number(value))
    elif isinstance(value, list):
        out.append("[")
        for i, item in enumerate(value):
            if i:
                out.append(",")
            _jcs(item, out)
        out.append("]")
    else:
        out.append("{")
        for i, name in enumerate(sorted(value, key=_utf16)):
            if i:
                out.append(",")
            out.append(_ENCODE(name))
            out.append(":")
            _jcs(value[name], out)
        out.append("}")


def jcs_text(value):
    """JCS of a value that was parsed here, at most some dozens deep."""
    out = []
    _jcs(value, out)
    return "".join(out)


def jcs(value):
    return jcs_text(value).encode("utf-8")


def canonical(raw, max_depth=MAX_DEPTH_OUTER):
    """Parses canonical JSON. Returns the value and whether the C encoder reproduces it ("plain").

    A text is canonical if serialising what was parsed gives the same text; so a member named twice,
    white space, another order, another escape or another spelling of a number all show as a difference.
    """
    try:
        text = raw.decode("utf-8")
        value = _DECODE(text)
    except RecursionError:
        raise Refused("JSON nested too deep")
    except ValueError as error:
        raise Refused("not canonical JSON: " + re.sub(r"[^\x20-\x7e]", "?", str(error))[:100])
    if raw.count(b"{") + raw.count(b"[") > max_depth and depth_of(value) > max_depth:
        raise Refused("JSON nested deeper than %d" % max_depth)
    # The C encoder sorts by code point, which differs from UTF-16 only with characters above U+FFFF.
    plain = (text.isascii() or _ASTRAL.search(raw) is None) and _ENCODE(value) == text
    if not plain and jcs_text(value) != text:
        raise Refused("not canonical JSON: its canonical form differs")
    if "__proto__" in text and _has_proto(value):
        raise Refused("a member is named __proto__")
    return value, plain


def is_int(value, low=0, high=MAX_SAFE):
    return type(value) is int and low <= value <= high


def byte_length(text):
    return len(text) if text.isascii() else len(text.encode("utf-8"))


HEX32 = re.compile(r"[0-9a-f]{32}").fullmatch
_HEX = re.compile(r"(?:[0-9a-f]{2})*").fullmatch
HEX64 = re.compile(r"[0-9a-f]{64}").fullmatch
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]").search
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,15}").fullmatch


def is_hex64(value):
    return type(value) is str and HEX64(value) is not None


def is_hex32(value):
    return type(value) is str and HEX32(value) is not None


def decimal(text):
    """primitives.md 12"""
    if not _DECIMAL(text) or int(text) > MAX_SAFE:
        raise Refused("not a decimal: " + show(text, 40))
    return int(text)


def base64_bytes(text):
    """primitives.md 11"""
    try:
        raw = base64.b64decode(text.encode("ascii"), validate=True)
    except (ValueError, binascii.Error):
        raise Refused("not base64")
    if base64.b64encode(raw).decode("ascii") != text:
        raise Refused("base64 not canonical")
    return raw


_ORIGIN = re.compile(r"[\x21-\x2a\x2c-\x7e]{1,255}").fullmatch


def is_origin(text):
    """primitives.md 20"""
    return (type(text) is str and _ORIGIN(text) is not None
            and not text.startswith(("tallystick/", "cosignature/", "subtree/")))


def real_date(year, month, day):
    """Proleptic Gregorian calendar, years 0000-9999."""
    if not 1 <= month <= 12 or day < 1:
        return False
    if month == 2:
        leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
        return day <= (29 if leap else 28)
    return day <= (30 if month in (4, 6, 9, 11) else 31)


_TIME = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\.[0-9]{3}Z").fullmatch


def is_time(value):
    """primitives.md 14"""
    match = _TIME(value) if type(value) is str else None
    return match is not None and real_date(*map(int, match.groups()))


_HASHES = {"sha256": hashlib.sha256, "sha512": hashlib.sha512, "sha3-256": hashlib.sha3_256}
_HASH_HEX = {"sha256": 64, "sha512": 128, "sha3-256": 64}


def sha256(data):
    return hashlib.sha256(data).digest()


# ---------------------------------------------------------------------------------------------------
# Tree (tree.md)
# ---------------------------------------------------------------------------------------------------

def leaf_hash(data):
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left, right):
    return hashlib.sha256(b"\x01" + left + right).digest()


def inclusion_root(leaf, index, size, proof):
    """The root that an inclusion proof gives, or None if its length does not fit."""
    if not 0 <= index < size:
        return None
    fn, sn, r = index, size - 1, leaf
    for p in proof:
        if sn == 0:
            return None
        if fn & 1 or fn == sn:
            r = node_hash(p, r)
            while not fn & 1 and fn != 0:
                fn >>= 1
                sn >>= 1
        else:
            r = node_hash(r, p)
        fn >>= 1
        sn >>= 1
    return r if sn == 0 else None


class RangeRoot:
    """Streams the leaves first..last and then gives the root of a range proof (tree.md 6).

    The subtrees left of `first` are the powers of two that `first` is made of, largest first, so they
    can stand on the stack before the leaves do. Holds at most 64 hashes besides the proof.
    """

    def __init__(self, first, proof):
        self.first, self.proof = first, proof
        self.stack = []
        self.count = first
        self.fits = True
        for bit in range(first.bit_length() - 1, -1, -1):
            if first >> bit & 1:
                if len(self.stack) == len(proof):
                    self.fits = False
                    break
                self.stack.append(proof[len(self.stack)])
        self.used = len(self.stack)

    def add(self, leaf):
        stack, n = self.stack, self.count
        if not self.fits:
            return
        while n & 1:
            leaf = hashlib.sha256(b"\x01" + stack.pop() + leaf).digest()
            n >>= 1
        stack.append(leaf)
        self.count += 1

    def root_here(self):
        """The root of the leaves so far. For a range from 0."""
        stack = list(self.stack)
        root = stack.pop()
        while stack:
            root = node_hash(stack.pop(), root)
        return root

    def root(self, size):
        """None if the proof does not fit."""
        if not self.fits or not self.first < self.count <= size:
            return None
        ready = iter(self.stack)
        rest = iter(self.proof[self.used:])

        def walk(low, high):
            if low >= self.count:
                return next(rest)
            width = high - low
            if high <= self.count and width & (width - 1) == 0:
                return next(ready)
            k = 1 << (width - 1).bit_length() - 1
            left = walk(low, low + k)
            return node_hash(left, walk(low + k, high))

        try:
            root = walk(0, size)
        except (StopIteration, RuntimeError):
            return None
        return root if next(rest, None) is None else None


# ---------------------------------------------------------------------------------------------------
# Ed25519 (note.md 13-16)
# ---------------------------------------------------------------------------------------------------

_P = 2 ** 255 - 19
_L = 2 ** 252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, _P - 2, _P) % _P
_D2 = 2 * _D % _P
_SQRT_M1 = pow(2, (_P - 1) // 4, _P)
_Y8 = int.from_bytes(bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little")
_SMALL_ORDER_Y = frozenset([0, 1, _P - 1, _Y8, _P - _Y8])


def _ed_recover_x(y, sign):
    u = (y * y - 1) % _P
    v = (_D * y * y + 1) % _P
    x = u * pow(v, 3, _P) * pow(u * pow(v, 7, _P), (_P - 5) // 8, _P) % _P
    square = v * x * x % _P
    if square != u:
        if square != -u % _P:
            return None
        x = x * _SQRT_M1 % _P
    if x == 0 and sign:
        return None
    return _P - x if x & 1 != sign else x


def _ed_add(a, b):
    """a + b, b as (Y - X, Y + X, 2dT, 2Z)"""
    x, y, z, t = a
    ym, yp, td, zz = b
    m = (y - x) * ym % _P
    n = (y + x) * yp % _P
    c = t * td % _P
    d = z * zz % _P
    e, f, g, h = n - m, d - c, d + c, n + m
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _ed_double(a):
    x, y, z, _ = a
    aa = x * x % _P
    bb = y * y % _P
    h = aa + bb
    e = h - (x + y) * (x + y) % _P
    g = aa - bb
    f = 2 * z * z + g
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _ed_cached(a):
    x, y, z, t = a
    return (y - x) % _P, (y + x) % _P, t * _D2 % _P, 2 * z % _P


_ED_NEUTRAL = (0, 1, 1, 0)
_ED_B = (15112221349535400772501151409588531511454012693041857206046113283949847762202,
         4 * pow(5, _P - 2, _P) % _P)
_ED_B = (_ED_B[0], _ED_B[1], 1, _ED_B[0] * _ED_B[1] % _P)


def _ed_row(point):
    """1..15 times the point, cached form, at their index"""
    row = [None, _ed_cached(point)]
    p = point
    for _ in range(14):
        p = _ed_add(p, row[1])
        row.append(_ed_cached(p))
    return row


def _ed_table(point):
    """j * 16^i * point for i below 64"""
    table = []
    for _ in range(64):
        table.append(_ed_row(point))
        for _ in range(4):
            point = _ed_double(point)
    return table


_ed_base_table = []


class Ed25519Key:
    def __init__(self, raw):
        if len(raw) != 32:
            raise Refused("Ed25519 key of wrong length")
        value = int.from_bytes(raw, "little")
        y, sign = value & (1 << 255) - 1, value >> 255
        if y >= _P:
            raise Refused("Ed25519 key: y not below the prime")
        if y in _SMALL_ORDER_Y:
            raise Refused("Ed25519 key of small order")
        x = _ed_recover_x(y, sign)
        if x is None:
            raise Refused("Ed25519 key: no point of the curve")
        x = _P - x                              # -A
        self.raw = raw
        self.minus = (x, y, 1, x * y % _P)
        self.uses = 0
        self.table = None

    def verify(self, message, signature):
        if len(signature) != 64:
            return False
        r_bytes, s = signature[:32], int.from_bytes(signature[32:], "little")
        if s >= _L:
            return False
        k = int.from_bytes(hashlib.sha512(r_bytes + self.raw + message).digest(), "little") % _L
        if not _ed_base_table:
            _ed_base_table.extend(_ed_table(_ED_B))
        self.uses += 1
        if self.uses == 3:                      # a key that comes again: trade memory for doublings
            self.table = _ed_table(self.minus)
        q = _ED_NEUTRAL
        if self.table is None:
            row = _ed_row(self.minus)
            for shift in range(252, -1, -4):
                q = _ed_double(_ed_double(_ed_double(_ed_double(q))))
                digit = k >> shift & 15
                if digit:
                    q = _ed_add(q, row[digit])
        else:
            for row in self.table:
                digit = k & 15
                if digit:
                    q = _ed_add(q, row[digit])
                k >>= 4
        for row in _ed_base_table:
            digit = s & 15
            if digit:
                q = _ed_add(q, row[digit])
            s >>= 4
        x, y, z, _ = q
        inverse = pow(z, _P - 2, _P)
        x, y = x * inverse % _P, y * inverse % _P
        return (y | (x & 1) << 255).to_bytes(32, "little") == r_bytes


# ---------------------------------------------------------------------------------------------------
# ECDSA (keys.md, signatures)
# ---------------------------------------------------------------------------------------------------

class Curve:
    def __init__(self, p, a, b, n, gx, gy, digest):
        self.p, self.a, self.b, self.n, self.g, self.digest = p, a, b, n, (gx, gy), digest
        self.size = (p.bit_length() + 7) // 8

    def double(self, point):
        x, y, z = point
        p = self.p
        if z == 0 or y == 0:
            return 1, 1, 0
        yy = y * y % p
        s = 4 * x * yy % p
        m = (3 * x * x + self.a * pow(z, 4, p)) % p
        x2 = (m * m - 2 * s) % p
        return x2, (m * (s - x2) - 8 * yy * yy) % p, 2 * y * z % p

    def add(self, one, two):
        if one[2] == 0:
            return two
        if two[2] == 0:
            return one
        p = self.p
        x1, y1, z1 = one
        x2, y2, z2 = two
        zz1, zz2 = z1 * z1 % p, z2 * z2 % p
        u1, u2 = x1 * zz2 % p, x2 * zz1 % p
        s1, s2 = y1 * zz2 * z2 % p, y2 * zz1 * z1 % p
        h, r = (u2 - u1) % p, (s2 - s1) % p
        if h == 0:
            return self.double(one) if r == 0 else (1, 1, 0)
        hh = h * h % p
        hhh, v = h * hh % p, u1 * hh % p
        x3 = (r * r - hhh - 2 * v) % p
        return x3, (r * (v - x3) - s1 * hhh) % p, h * z1 * z2 % p


_CURVES = {
    "ecdsa-p256": Curve(
        0xffffffff00000001000000000000000000000000ffffffffffffffffffffffff, -3,
        0x5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b,
        0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551,
        0x6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296,
        0x4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5, hashlib.sha256),
    "ecdsa-p384": Curve(
        0xfffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffeffffffff0000000000000000ffffffff, -3,
        0xb3312fa7e23ee7e4988e056be3f82d19181d9c6efe8141120314088f5013875ac656398d8a2ed19d2a85c8edd3ec2aef,
        0xffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973,
        0xaa87ca22be8b05378eb1c71ef320ad746e1d3b628ba79b9859f741e082542a385502f25dbf55296c3a545e3872760ab7,
        0x3617de4a96262c6f5d9e98bf9292dc29f8f41dbd289a147ce9da3113b5f0b8c00a60b1ce1d7e819d7a431d7c90ea0e5f,
        hashlib.sha384),
    "ecdsa-secp256k1": Curve(
        0xfffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f, 0, 7,
        0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141,
        0x79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798,
        0x483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8, hashlib.sha256),
}


class EcdsaKey:
    def __init__(self, curve, raw):
        size = curve.size
        if len(raw) != 1 + 2 * size or raw[0] != 4:
            raise Refused("EC point is not uncompressed")
        x, y = int.from_bytes(raw[1:1 + size], "big"), int.from_bytes(raw[1 + size:], "big")
        if x >= curve.p or y >= curve.p:
            raise Refused("EC coordinate not below the prime")
        if (y * y - (x * x * x + curve.a * x + curve.b)) % curve.p:
            raise Refused("EC point not on the curve")
        self.curve, self.q = curve, (x, y, 1)

    def verify(self, message, signature):
        curve, size, n = self.curve, self.curve.size, self.curve.n
        if len(signature) != 2 * size:
            return False
        r, s = int.from_bytes(signature[:size], "big"), int.from_bytes(signature[size:], "big")
        if not 1 <= r < n or not 1 <= s <= n // 2:
            return False
        return self.verify_scalars(int.from_bytes(curve.digest(message).digest(), "big"), r, s)   # as many bits as n

    def verify_scalars(self, e, r, s):
        curve, n = self.curve, self.curve.n
        w = pow(s, -1, n)
        u1, u2 = e * w % n, r * w % n
        g = (curve.g[0], curve.g[1], 1)
        both = curve.add(g, self.q)
        acc = (1, 1, 0)
        for bit in range(n.bit_length() - 1, -1, -1):
            acc = curve.double(acc)
            pick = u1 >> bit & 1, u2 >> bit & 1
            if pick == (1, 1):
                acc = curve.add(acc, both)
            elif pick == (1, 0):
                acc = curve.add(acc, g)
            elif pick == (0, 1):
                acc = curve.add(acc, self.q)
        if acc[2] == 0:
            return False
        inverse = pow(acc[2], -1, curve.p)
        return acc[0] * inverse * inverse % curve.p % n == r


# ---------------------------------------------------------------------------------------------------
# RSA-PSS (keys.md 2-4)
# ---------------------------------------------------------------------------------------------------

def _der(data, at, tag):
    """The content of one DER element with minimal length, and where it ends."""
    if at + 2 > len(data) or data[at] != tag:
        raise Refused("RSA key: not the expected DER")
    length, at = data[at + 1], at + 2
    if length >= 0x80:
        count = length & 0x7f
        if not 1 <= count <= 2 or at + count > len(data):
            raise Refused("RSA key: DER length")
        length, at = int.from_bytes(data[at:at + count], "big"), at + count
        if length < (0x80 if count == 1 else 0x100):
            raise Refused("RSA key: DER length not minimal")
    if at + length > len(data):
        raise Refused("RSA key: DER truncated")
    return data[at:at + length], at + length


def _der_positive(content):
    if not content or content[0] & 0x80 or (len(content) > 1 and content[0] == 0 and not content[1] & 0x80):
        raise Refused("RSA key: integer not minimal or negative")
    return int.from_bytes(content, "big")


class RsaPssKey:
    def __init__(self, spki):
        if len(spki) > 1100:
            raise Refused("RSA key too long")
        outer, end = _der(spki, 0, 0x30)
        algorithm = bytes.fromhex("300d06092a864886f70d0101010500")
        if end != len(spki) or not outer.startswith(algorithm):
            raise Refused("RSA key: not rsaEncryption")
        bits, end = _der(outer, len(algorithm), 0x03)
        if end != len(outer) or bits[:1] != b"\x00":
            raise Refused("RSA key: BIT STRING")
        key, end = _der(bits, 1, 0x30)
        if end != len(bits):
            raise Refused("RSA key: trailing bytes")
        modulus, at = _der(key, 0, 0x02)
        exponent, end = _der(key, at, 0x02)
        if end != len(key):
            raise Refused("RSA key: trailing bytes")
        self.n, self.e = _der_positive(modulus), _der_positive(exponent)
        if not 2048 <= self.n.bit_length() <= 8192 or not self.n & 1:
            raise Refused("RSA modulus")
        if not 3 <= self.e <= 2 ** 32 - 1 or not self.e & 1:
            raise Refused("RSA exponent")

    def _open(self, signature):
        """The signed value, or None."""
        value = int.from_bytes(signature, "big")
        if len(signature) != (self.n.bit_length() + 7) // 8 or value >= self.n:
            return None
        return pow(value, self.e, self.n)

    def verify(self, message, signature):
        return self.verify_pss(hashlib.sha256, 32, message, signature)

    def verify_pss(self, digest, salt_length, message, signature):
        """RFC 8017 8.1.2, MGF1 over the same hash"""
        value, em_bits, h_len = self._open(signature), self.n.bit_length() - 1, digest().digest_size
        em_len = (em_bits + 7) // 8
        db_len = em_len - h_len - 1
        if value is None or value.bit_length() > em_bits or db_len < salt_length + 1:
            return False
        em = value.to_bytes(em_len, "big")
        masked, h = em[:db_len], em[db_len:-1]
        if em[-1] != 0xbc:
            return False
        mask = b"".join(digest(h + i.to_bytes(4, "big")).digest() for i in range(db_len // h_len + 1))[:db_len]
        db = int.from_bytes(masked, "big") ^ int.from_bytes(mask, "big")
        db = (db & (1 << em_bits - 8 * h_len - 8) - 1).to_bytes(db_len, "big")
        padding = db_len - salt_length - 1
        if db[:padding] != bytes(padding) or db[padding] != 1:
            return False
        return digest(bytes(8) + digest(message).digest() + db[padding + 1:]).digest() == h

    def verify_pkcs1(self, digest, message, signature):
        """RFC 8017 8.2.2"""
        value, length = self._open(signature), (self.n.bit_length() + 7) // 8
        if value is None:
            return False
        info = _DIGEST_INFO[digest] + digest(message).digest()
        return value.to_bytes(length, "big") == b"\x00\x01" + b"\xff" * (length - len(info) - 3) + b"\x00" + info


# ---------------------------------------------------------------------------------------------------
# ML-DSA (FIPS 204, pure, empty context)
# ---------------------------------------------------------------------------------------------------

_Q = 8380417
_ZETAS = [pow(1753, int(format(i, "08b")[::-1], 2), _Q) for i in range(256)]

# name: k, l, tau, lambda / 4, gamma1, gamma2, beta, omega
_ML_DSA = {
    "ml-dsa-44": (4, 4, 39, 32, 1 << 17, (_Q - 1) // 88, 78, 80),
    "ml-dsa-65": (6, 5, 49, 48, 1 << 19, (_Q - 1) // 32, 196, 55),
    "ml-dsa-87": (8, 7, 60, 64, 1 << 19, (_Q - 1) // 32, 120, 75),
}


def _ntt(w):
    w = list(w)
    m, length = 0, 128
    while length:
        for start in range(0, 256, 2 * length):
            m += 1
            z = _ZETAS[m]
            for j in range(start, start + length):
                t = z * w[j + length] % _Q
                w[j + length] = w[j] - t
                w[j] += t
        length >>= 1
    return [x % _Q for x in w]


def _ntt_inverse(w):
    w = list(w)
    m, length = 256, 1
    while length < 256:
        for start in range(0, 256, 2 * length):
            m -= 1
            z = _Q - _ZETAS[m]
            for j in range(start, start + length):
                t, u = w[j], w[j + length]
                w[j] = t + u
                w[j + length] = (t - u) * z % _Q
        length <<= 1
    return [8347681 * x % _Q for x in w]


def _rej_ntt_poly(seed):
    want = 840
    while True:
        stream = hashlib.shake_128(seed).digest(want)
        out = []
        for i in range(0, want - 2, 3):
            z = stream[i] | stream[i + 1] << 8 | (stream[i + 2] & 0x7f) << 16
            if z < _Q:
                out.append(z)
                if len(out) == 256:
                    return out
        want *= 2


def _sample_in_ball(seed, tau):
    want = 272
    while True:
        stream = hashlib.shake_256(seed).digest(want)
        signs = int.from_bytes(stream[:8], "little")
        c, at = [0] * 256, 8
        for i in range(256 - tau, 256):
            while at < want and stream[at] > i:
                at += 1
            if at == want:
                break
            j, at = stream[at], at + 1
            c[i] = c[j]
            c[j] = -1 if signs >> (i + tau - 256) & 1 else 1
        else:
            return c
        want *= 2


def _unpack(data, bits):
    value, mask = int.from_bytes(data, "little"), (1 << bits) - 1
    return [value >> bits * i & mask for i in range(256)]


def _pack(values, bits):
    total = 0
    for i, v in enumerate(values):
        total |= v << bits * i
    return total.to_bytes(32 * bits, "little")


def _decompose(r, gamma2):
    r0 = r % (2 * gamma2)
    if r0 > gamma2:
        r0 -= 2 * gamma2
    if r - r0 == _Q - 1:
        return 0, r0 - 1
    return (r - r0) // (2 * gamma2), r0


class MlDsaKey:
    def __init__(self, name, raw):
        self.parameters = _ML_DSA[name]
        k, l = self.parameters[:2]
        if len(raw) != 32 + 320 * k:
            raise Refused("ML-DSA key of wrong length")
        self.raw = raw
        self.expanded = None

    def _expand(self):
        k, l = self.parameters[:2]
        rho = self.raw[:32]
        matrix = [[_rej_ntt_poly(rho + bytes([s, r])) for s in range(l)] for r in range(k)]
        t1 = [_ntt([x << 13 for x in _unpack(self.raw[32 + 320 * i:352 + 320 * i], 10)]) for i in range(k)]
        self.expanded = matrix, t1, hashlib.shake_256(self.raw).digest(64)

    def verify(self, message, signature):
        k, l, tau, c_len, gamma1, gamma2, beta, omega = self.parameters
        z_bits = gamma1.bit_length()
        if len(signature) != c_len + l * 32 * z_bits + omega + k:
            return False
        c_tilde, at, z = signature[:c_len], c_len, []
        for _ in range(l):
            poly = [gamma1 - x for x in _unpack(signature[at:at + 32 * z_bits], z_bits)]
            if any(abs(x) >= gamma1 - beta for x in poly):
                return False
            z.append(poly)
            at += 32 * z_bits
        y, hints, index = signature[at:], [], 0
        for i in range(k):                       # HintBitUnpack, with all its refusals
            end = y[omega + i]
            if end < index or end > omega:
                return False
            places = y[index:end]
            if any(places[j] >= places[j + 1] for j in range(len(places) - 1)):
                return False
            hints.append(frozenset(places))
            index = end
        if any(y[index:omega]):
            return False
        if self.expanded is None:
            self._expand()
        matrix, t1, tr = self.expanded
        mu = hashlib.shake_256(tr + b"\x00\x00" + message).digest(64)
        c = _ntt(_sample_in_ball(c_tilde, tau))
        z = [_ntt(poly) for poly in z]
        m, w1 = (_Q - 1) // (2 * gamma2), []
        for i in range(k):
            row, t = matrix[i], t1[i]
            w = _ntt_inverse([(sum(row[j][x] * z[j][x] for j in range(l)) - c[x] * t[x]) % _Q for x in range(256)])
            high = []
            for x in range(256):
                r1, r0 = _decompose(w[x], gamma2)
                if x in hints[i]:
                    r1 = (r1 + 1) % m if r0 > 0 else (r1 - 1) % m
                high.append(r1)
            w1.append(_pack(high, (m - 1).bit_length()))
        return hashlib.shake_256(mu + b"".join(w1)).digest(c_len) == c_tilde


# ---------------------------------------------------------------------------------------------------
# Public keys (keys.md 1-3) and verifier keys (note.md 6-8)
# ---------------------------------------------------------------------------------------------------

_SPKI = {
    "ed25519": (bytes.fromhex("302a300506032b6570032100"), 32),
    "ecdsa-p256": (bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200"), 65),
    "ecdsa-p384": (bytes.fromhex("3076301006072a8648ce3d020106052b81040022036200"), 97),
    "ecdsa-secp256k1": (bytes.fromhex("3056301006072a8648ce3d020106052b8104000a034200"), 65),
    "ml-dsa-44": (bytes.fromhex("30820532300b06096086480165030403110382052100"), 1312),
    "ml-dsa-65": (bytes.fromhex("308207b2300b0609608648016503040312038207a100"), 1952),
    "ml-dsa-87": (bytes.fromhex("30820a32300b060960864801650304031303820a2100"), 2592),
    "rsa-pss": (b"", 0),
}


class PublicKey:
    """A key that passed every check of its algorithm."""

    def __init__(self, algorithm, raw, spki, key):
        self.algorithm, self.raw, self.spki, self.key = algorithm, raw, spki, key
        self.key_id = hashlib.sha256(spki).hexdigest()

    def verify(self, message, signature):
        return self.key.verify(message, signature)


def key_from_raw(algorithm, raw):
    if algorithm == "ed25519":
        key = Ed25519Key(raw)
    elif algorithm in _ML_DSA:
        key = MlDsaKey(algorithm, raw)
    else:
        key = EcdsaKey(_CURVES[algorithm], raw)
    return PublicKey(algorithm, raw, _SPKI[algorithm][0] + raw, key)


def key_from_spki(algorithm, spki):
    if algorithm not in _SPKI:
        raise Refused("unknown algorithm " + show(algorithm, 40))
    if algorithm == "rsa-pss":
        return PublicKey(algorithm, spki, spki, RsaPssKey(spki))
    prefix, length = _SPKI[algorithm]
    if len(spki) != len(prefix) + length or not spki.startswith(prefix):
        raise Refused("SPKI is not that of " + algorithm)
    return key_from_raw(algorithm, spki[len(prefix):])


_NOT_IN_NAME = re.compile("[+\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]").search
_KEY_ID8 = re.compile(r"[0-9a-f]{8}").fullmatch
_VKEY_TYPES = {1: "ed25519", 4: "ed25519", 6: "ml-dsa-44"}


class VKey:
    def __init__(self, text):
        parts = text.split("+", 2)
        if len(parts) != 3:
            raise Refused("vkey without two +")
        name, key_id, encoded = parts
        if not name or _NOT_IN_NAME(name):
            raise Refused("vkey: name")
        if not _KEY_ID8(key_id):
            raise Refused("vkey: key ID")
        data = base64_bytes(encoded)
        if not data or data[0] not in _VKEY_TYPES:
            raise Refused("vkey of unknown type")
        self.text, self.name, self.type, self.raw = text, name, data[0], data[1:]
        self.id4 = sha256(name.encode("utf-8") + b"\n" + data)[:4]
        if self.id4.hex() != key_id:
            raise Refused("vkey states another key ID than its own")
        self.key = key_from_raw(_VKEY_TYPES[self.type], self.raw)
        self.key_id = self.key.key_id


# ---------------------------------------------------------------------------------------------------
# Note and checkpoint (note.md, checkpoint.md)
# ---------------------------------------------------------------------------------------------------

_BELOW_SPACE = re.compile(rb"[\x00-\x09\x0b-\x1f]").search


def parse_note(data):
    """The text with its newline, and (name, key ID, signature) of each line."""
    if len(data) > MAX_NOTE:
        raise Refused("note longer than %d bytes" % MAX_NOTE)
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused("note is not UTF-8")
    if _BELOW_SPACE(data):
        raise Refused("note holds a control character")
    if not data.endswith(b"\n"):
        raise Refused("note does not end with a newline")
    at = data.rfind(b"\n\n")
    if at < 1:
        raise Refused("note without text and blank line")
    return data[:at + 1], parse_signature_lines(data[at + 2:].decode("utf-8"), 64)


def parse_signature_lines(text, most):
    """note.md 3 and 4; the text ends with a newline."""
    lines = text.split("\n")[:-1]
    if not 1 <= len(lines) <= most:
        raise Refused("note with %d signature lines" % len(lines))
    signatures = []
    for line in lines:
        if not line.startswith("\u2014 "):
            raise Refused("note: not a signature line")
        parts = line[2:].split(" ")
        if len(parts) != 2 or not parts[0] or _NOT_IN_NAME(parts[0]):
            raise Refused("note: not a signature line")
        payload = base64_bytes(parts[1])
        if len(payload) < 5:
            raise Refused("note: signature too short")
        signatures.append((parts[0], payload[:4], payload[4:]))
    return signatures


class Checkpoint:
    def __init__(self, data):
        self.text, self.signatures = parse_note(data)
        self.note = data.decode("utf-8")
        lines = self.text.decode("utf-8").split("\n")
        if len(lines) != 4:
            raise Refused("checkpoint text is not three lines")
        self.origin = lines[0]
        if not is_origin(self.origin):
            raise Refused("checkpoint: origin")
        self.size = decimal(lines[1])
        if self.size == 0:
            raise Refused("checkpoint of size 0")
        self.root = base64_bytes(lines[2])
        if len(self.root) != 32:
            raise Refused("checkpoint: root")


def verify_line(vkey, payload, checkpoint):
    """The time of a signature line (0 for type 0x01), or None if it does not verify."""
    if vkey.type == 1:
        return 0 if vkey.key.verify(checkpoint.text, payload) else None
    if len(payload) < 8:
        return None
    time, signature = int.from_bytes(payload[:8], "big"), payload[8:]
    if time > MAX_SAFE:
        return None
    if vkey.type == 4:
        message = b"cosignature/v1\ntime %d\n" % time + checkpoint.text
    else:
        name, origin = vkey.name.encode("utf-8"), checkpoint.origin.encode("utf-8")
        if len(name) > 255:
            return None
        message = (b"subtree/v1\n\x00" + bytes([len(name)]) + name + payload[:8] + bytes([len(origin)]) + origin
                   + bytes(8) + checkpoint.size.to_bytes(8, "big") + checkpoint.root)
    return time if vkey.key.verify(message, signature) else None


# ---------------------------------------------------------------------------------------------------
# Policy (policy.md)
# ---------------------------------------------------------------------------------------------------

_POLICY_BAD_BYTE = re.compile(rb"[^\t\n\x20-\x7e\x80-\xff]").search
_ITEM = re.compile("[^ \t]+").finditer


class Author:
    def __init__(self, key, actor, first, until):
        self.key, self.actor, self.first, self.until = key, actor, first, until


class Policy:
    """Every violation raises Refused: malformed-policy."""

    def __init__(self):
        self.origin = None
        self.logs = {}               # vkey text: VKey
        self.witnesses = {}          # witness name: VKey
        self.order = []              # (group name, k, members) as defined
        self.quorum = None           # name, or "none"
        self.operators = {}          # witness name: operator name
        self.genesis = None
        self.ranges = {}             # vkey text: (min, max or None)
        self.require_all = []
        self.authors = {}            # key ID: Author
        self.require_signature = False
        self.lines = {}              # (name, id4): VKey

    @classmethod
    def parse(cls, data):
        self = cls()
        if len(data) > MAX_POLICY:
            raise Refused("policy longer than %d bytes" % MAX_POLICY)
        if _POLICY_BAD_BYTE(data):
            raise Refused("policy holds a byte that is not allowed")
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            raise Refused("policy is not UTF-8")
        if not text.endswith("\n"):
            raise Refused("policy does not end with a newline")
        self._names, self._members, self._quorums = set(), set(), 0
        for number, line in enumerate(text.split("\n")[:-1], 1):
            items = [match.group() for match in _ITEM(line)]
            try:
                if not items:
                    continue
                if items[0].startswith("#"):
                    if items[0].startswith("#tallystick"):
                        self._directive(items, line)
                    continue
                self._line(items)
            except Refused as error:
                raise Refused("line %d: %s" % (number, error))
        self._finish()
        return self

    @classmethod
    def self_asserted(cls, vkeys):
        """verification.md 6: one log line for each key, quorum none."""
        self = cls()
        self.quorum = "none"
        self.origin = vkeys[0].name
        for vkey in vkeys:
            self.logs[vkey.text] = vkey
            self.lines[vkey.name, vkey.id4] = vkey
        return self

    def _line(self, items):
        word = items[0]
        if word == "log":
            if len(items) not in (2, 3):
                raise Refused("log: number of items")
            vkey = VKey(items[1])
            if vkey.type not in (1, 6):
                raise Refused("log key of type %d" % vkey.type)
            if not is_origin(vkey.name):
                raise Refused("log key: its name is no origin")
            if self.origin is not None and vkey.name != self.origin:
                raise Refused("log keys of two names")
            if vkey.text in self.logs:
                raise Refused("log key twice")
            self.origin = vkey.name
            self.logs[vkey.text] = vkey
        elif word == "witness":
            if len(items) not in (3, 4):
                raise Refused("witness: number of items")
            vkey = VKey(items[2])
            if vkey.type not in (4, 6):
                raise Refused("witness key of type %d" % vkey.type)
            self._define(items[1])
            self.witnesses[items[1]] = vkey
        elif word == "group":
            if len(items) < 4:
                raise Refused("group: number of items")
            members = items[3:]
            for member in members:
                if member not in self._names:
                    raise Refused("group: member not defined before")
                if member in self._members:
                    raise Refused("a member of two groups, or twice of one")
                self._members.add(member)
            k = {"any": 1, "all": len(members)}.get(items[2])
            if k is None:
                k = decimal(items[2])
            if not 1 <= k <= len(members):
                raise Refused("group: k")
            self._define(items[1])
            self.order.append((items[1], k, members))
        elif word == "quorum":
            if len(items) != 2:
                raise Refused("quorum: number of items")
            if self.quorum is not None:
                raise Refused("quorum twice")
            if items[1] != "none" and items[1] not in self._names:
                raise Refused("quorum: name not defined before")
            self.quorum = items[1]
        else:
            raise Refused("unknown word " + show(word, 40))

    def _define(self, name):
        if name == "none" or name in self._names:
            raise Refused("name %s cannot be defined" % show(name, 40))
        self._names.add(name)

    def _directive(self, items, line):
        if items[0] != "#tallystick" or len(items) < 2:
            raise Refused("#tallystick without a directive")
        word, rest = items[1], items[2:]
        if word == "genesis":
            if len(rest) != 1 or not is_hex64(rest[0]) or self.genesis is not None:
                raise Refused("directive genesis")
            self.genesis = rest[0]
        elif word == "key":
            if len(rest) != 3 or rest[0] in self.ranges:
                raise Refused("directive key")
            low = decimal(rest[1])
            high = None if rest[2] == "-" else decimal(rest[2])
            if high is not None and low > high:
                raise Refused("directive key: min above max")
            self.ranges[rest[0]] = low, high
        elif word == "require-all":
            if not rest or self.require_all:
                raise Refused("directive require-all")
            self.require_all = rest
        elif word == "author":
            if len(rest) < 5:
                raise Refused("directive author")
            places = list(_ITEM(line))
            algorithm, spki, first, until = rest[0], rest[1], rest[-2], rest[-1]
            actor = line[places[3].end():places[-2].start()].strip(" \t")
            key = key_from_spki(algorithm, base64_bytes(spki))
            actor = canonical(actor.encode("utf-8"))[0]
            if type(actor) is not str or not 1 <= byte_length(actor) <= 1024:
                raise Refused("directive author: actor id")
            first = decimal(first)
            until = None if until == "-" else decimal(until)
            if until is not None and first > until:
                raise Refused("directive author: from above until")
            if key.key_id in self.authors:
                raise Refused("a key in two author lines")
            self.authors[key.key_id] = Author(key, actor, first, until)
        elif word == "operator":
            if len(rest) < 2 or rest[0] in self.operators.values():
                raise Refused("directive operator")
            for witness in rest[1:]:
                if witness in self.operators:
                    raise Refused("a witness of two operators, or twice of one")
                self.operators[witness] = rest[0]
        elif word == "require-signature":
            if rest or self.require_signature:
                raise Refused("directive require-signature")
            self.require_signature = True
        else:
            raise Refused("unknown directive " + show(word, 40))

    def _finish(self):
        if not self.logs:
            raise Refused("no log line")
        if self.quorum is None:
            raise Refused("no quorum line")
        raws = set()
        for vkey in list(self.logs.values()) + list(self.witnesses.values()):
            if vkey.raw in raws:
                raise Refused("a public key twice")
            raws.add(vkey.raw)
            if (vkey.name, vkey.id4) in self.lines:
                raise Refused("two keys of one name and key ID")
            self.lines[vkey.name, vkey.id4] = vkey
        for vkey in self.witnesses.values():
            if vkey.name == self.origin:
                raise Refused("a witness key has the name of the log")
        for text in list(self.ranges) + self.require_all:
            if text not in self.logs:
                raise Refused("a directive names a vkey without a log line")
        for author in self.authors.values():
            if author.key.raw in raws:
                raise Refused("an author key is a log or witness key")
        places = {}
        group_of = {member: name for name, _, members in self.order for member in members}
        for witness, operator in self.operators.items():
            if witness not in self.witnesses or operator in self._names:
                raise Refused("operator: no witness, or the name of a witness or group")
            if witness in group_of and places.setdefault(operator, group_of[witness]) != group_of[witness]:
                raise Refused("operator: witnesses in several groups")
        for name, k, members in self.order:
            if k > self._operators(members):
                raise Refused("group: k is more than its operators")

    def _operators(self, members):
        """How many members count: those of one operator once (policy.md 19)."""
        return len({self.operators.get(member, member) for member in members})

    def valid_for(self, vkey, size):
        low, high = self.ranges.get(vkey.text, (0, None))
        return low <= size and (high is None or size <= high)

    def satisfied(self, cosigned):
        """Do these witness names satisfy the quorum?"""
        value = {name: name in cosigned for name in self.witnesses}
        for name, k, members in self.order:
            value[name] = self._operators(m for m in members if value[m]) >= k
        return value[self.quorum]


class Acceptance:
    """Checkpoint.md 7-12. `problem` is the first finding, as (code, message)."""

    def __init__(self, checkpoint, policy):
        self.accepted = False
        self.quorum = False          # a quorum that the policy names is reached
        self.time = None             # witness time
        self.signers = []            # log keys that signed and are valid for the size
        self.witnesses = []
        self.problem = self._judge(checkpoint, policy)
        self.accepted = self.problem is None

    def _judge(self, checkpoint, policy):
        if checkpoint.origin != policy.origin:
            return "origin-mismatch", "the checkpoint is of %s, the policy of %s" % (
                show(checkpoint.origin), show(policy.origin))
        logs, times = {}, {}
        of_witness = {vkey.text: name for name, vkey in policy.witnesses.items()}
        for name, id4, payload in checkpoint.signatures:
            vkey = policy.lines.get((name, id4))
            if vkey is None:
                continue
            time = verify_line(vkey, payload, checkpoint)
            if time is None:
                return "checkpoint-signature", "the line of the key %s does not verify" % show(vkey.text, 80)
            if vkey.text in policy.logs:
                logs[vkey.text] = vkey
            elif time > 0:
                witness = of_witness[vkey.text]
                times[witness] = min(time, times.get(witness, time))
        self.signers = [v for v in logs.values() if policy.valid_for(v, checkpoint.size)]
        if not self.signers:
            return "checkpoint-signature", "no log key of the policy that is valid for this size signed the checkpoint"
        for text in policy.require_all:
            if policy.valid_for(policy.logs[text], checkpoint.size) and text not in logs:
                return "checkpoint-signature", "the required key %s did not sign" % show(text, 80)
        self.witnesses = sorted(times)
        if policy.quorum != "none":
            for time in sorted(set(times.values())):
                if policy.satisfied({name for name, t in times.items() if t <= time}):
                    self.quorum, self.time = True, time
                    break
        return None


# ---------------------------------------------------------------------------------------------------
# Entry (entry.md)
# ---------------------------------------------------------------------------------------------------

_ENTRY = re.compile(
    r'\{"commitment":"(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}|sha3-256:[0-9a-f]{64})",'
    r'"index":(0|[1-9][0-9]{0,15}),"previous":"([0-9a-f]{64})","scheme":"(control|event|fields)",'
    r'"time":"(([0-9]{4})-([0-9]{2})-([0-9]{2})T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\.[0-9]{3}Z)","v":1\}'
).fullmatch
_dates = set()


class Entry:
    __slots__ = ("text", "commitment", "index", "previous", "scheme", "time")

    def __init__(self, text):
        match = _ENTRY(text)
        if match is None:
            raise Refused("not an entry text")
        self.text = text
        self.commitment, index, self.previous, self.scheme, self.time, year, month, day = match.groups()
        self.index = int(index)
        if self.index > MAX_SAFE:
            raise Refused("index above 2^53-1")
        date = year, month, day
        if date not in _dates:
            if not real_date(int(year), int(month), int(day)):
                raise Refused("no such date")
            if len(_dates) < 4096:
                _dates.add(date)

    @property
    def hash_name(self):
        return self.commitment.partition(":")[0]


ZEROS = "0" * 64


# ---------------------------------------------------------------------------------------------------
# Event grammar (event.md). Each check returns None or what is wrong.
# ---------------------------------------------------------------------------------------------------

_ACTION = re.compile(r"[A-Za-z0-9_:-]+(?:\.[A-Za-z0-9_:-]+)*").fullmatch
_OUTCOME = re.compile(r"[A-Za-z0-9_.:-]{1,64}").fullmatch
_OCCURRED = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.[0-9]+)?"
    r"(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))").fullmatch


def is_name(value, most=256):
    """A string of 1 to 256 bytes without control characters."""
    return type(value) is str and 1 <= byte_length(value) <= most and _CONTROL(value) is None


def is_string(value, low, high):
    return type(value) is str and low <= byte_length(value) <= high


def _check_action(value):
    if type(value) is not str or len(value) > 128 or not _ACTION(value):
        return "action"


def _check_name(value):
    if not is_name(value):
        return "not a string of 1 to 256 bytes without control characters"


def _check_party(value, id_bytes, more):
    for member in value:
        if member not in ("id", "type", "name") and member not in more:
            return "unknown member " + show(member, 60)
    if not is_string(value.get("id"), 1, id_bytes):
        return "id"
    if "type" in value and not is_name(value["type"]):
        return "type"
    if "name" in value and not is_string(value["name"], 0, 4096):
        return "name"


def _check_actor(value, chain=1):
    if type(value) is str:
        return None if 1 <= byte_length(value) <= 1024 else "actor: length"
    if type(value) is not dict:
        return "actor: neither string nor object"
    error = _check_party(value, 1024, ("onBehalfOf",))
    if error:
        return "actor: " + error
    if "onBehalfOf" in value:
        inner = value["onBehalfOf"]
        if chain > 16:
            return "actor: more than 16 inside one another"
        if type(inner) is list:
            if not 1 <= len(inner) <= 100:
                return "actor: onBehalfOf of wrong length"
        else:
            inner = [inner]
        for actor in inner:
            error = _check_actor(actor, chain + 1)
            if error:
                return error


def _check_targets(value):
    if type(value) is not list or len(value) > 1000:
        return "targets: not an array of at most 1000"
    for target in value:
        if type(target) is not dict:
            return "targets: not an object"
        error = _check_party(target, 4096, ())
        if error:
            return "targets: " + error


def _check_outcome(value):
    if type(value) is not str or not _OUTCOME(value):
        return "outcome"


def _check_occurred(value):
    match = _OCCURRED(value) if type(value) is str and len(value) <= 64 else None
    if match is None:
        return "occurredAt"
    year, month, day, hour, minute, second = map(int, match.groups()[:6])
    if not real_date(year, month, day) or hour > 23 or minute > 59 or second > 60:
        return "occurredAt: no such time"
    offset = 0
    if match.group(7):
        hours, minutes = int(match.group(8)), int(match.group(9))
        if hours > 23 or minutes > 59:
            return "occurredAt: offset"
        offset = (60 * hours + minutes) * (-1 if match.group(7) == "-" else 1)
    if second == 60 and (60 * hour + minute - offset) % 1440 != 1439:
        return "occurredAt: second 60 where it cannot be"


def _check_object(value):
    if type(value) is not dict:
        return "not an object"


def _check_any(value):
    return None


def _check_source(value):
    if type(value) is not dict or len(value) != 2 or "id" not in value or "counter" not in value:
        return "source: not exactly id and counter"
    if not is_name(value["id"]) or not is_int(value["counter"]):
        return "source"


def _check_signatures(value):
    if type(value) is not list or not 1 <= len(value) <= 16:
        return "signatures: not an array of 1 to 16"
    for item in value:
        if type(item) is not dict or len(item) != 2 or "keyId" not in item or "signature" not in item:
            return "signatures: not exactly keyId and signature"
        if not is_hex64(item["keyId"]):
            return "signatures: keyId"
        text = item["signature"]
        if type(text) is not str or not 1 <= len(text) <= 8192:
            return "signatures: signature"
        try:
            base64_bytes(text)
        except Refused as error:
            return "signatures: " + str(error)


_MEMBERS = {
    "action": _check_action, "actor": _check_actor, "context": _check_object, "id": _check_name,
    "metadata": _check_object, "occurredAt": _check_occurred, "outcome": _check_outcome, "payload": _check_any,
    "signatures": _check_signatures, "source": _check_source, "targets": _check_targets, "type": _check_name,
}
_CUT = ("payload", "context", "metadata")


def is_field_name(name):
    """commitment.md 8"""
    if type(name) is not str:
        return False
    top, dot, rest = name.partition(".")
    return top in _CUT and rest != "__proto__" if dot else name in _MEMBERS


def event_error(event):
    if "action" not in event:
        return "action is missing"
    for member, value in event.items():
        check = _MEMBERS.get(member)
        if check is None:
            return "unknown member " + show(member, 60)
        error = check(value)
        if error:
            return member + ": " + error if check in (_check_name, _check_object) else error


def actor_id(actor):
    return actor.get("id") if type(actor) is dict else actor


# ---------------------------------------------------------------------------------------------------
# Control events (control-events.md)
# ---------------------------------------------------------------------------------------------------

def _shape(value, required, optional=()):
    return (type(value) is dict and all(name in value for name in required)
            and all(name in required or name in optional for name in value))


def _is_text(value):
    return is_string(value, 1, 4096)


def _is_vkey(value):
    return _is_text(value) and _CONTROL(value) is None


def _is_vkeys(value):
    return type(value) is list and 1 <= len(value) <= 16 and all(_is_vkey(v) for v in value)


def _is_note(value):
    return is_string(value, 1, MAX_NOTE)


def _is_rules(value):
    if not _shape(value, ("requireSignature",), ("anchors",)) or type(value["requireSignature"]) is not bool:
        return False
    kinds = value.get("anchors", ["-"])
    return (type(kinds) is list and 1 <= len(kinds) <= 16 and all(is_name(k, 64) for k in kinds)
            and all(_utf16(a) < _utf16(b) for a, b in zip(kinds, kinds[1:])))


def ascending(names):
    """Strictly, by UTF-16 code units."""
    keys = [_utf16(name) for name in names]
    return all(keys[i] < keys[i + 1] for i in range(len(keys) - 1))


def _control_genesis(p):
    if not _shape(p, ("commitmentHash", "limits", "lockStoreId", "logKeys", "origin", "rules", "scheme"), ("predecessor",)):
        return "members"
    if type(p["commitmentHash"]) is not str or p["commitmentHash"] not in _HASHES:
        return "commitmentHash"
    if not _shape(p["limits"], ("eventBytes",)) or not is_int(p["limits"]["eventBytes"], 1024, MAX_EVENT):
        return "limits"
    if not is_hex32(p["lockStoreId"]):
        return "lockStoreId"
    if not _is_vkeys(p["logKeys"]):
        return "logKeys"
    if not is_origin(p["origin"]):
        return "origin"
    if "predecessor" in p:
        q = p["predecessor"]
        if (not _shape(q, ("checkpoint", "origin", "root", "size")) or not is_origin(q["origin"])
                or not is_hex64(q["root"]) or not is_int(q["size"], 1) or not _is_note(q["checkpoint"])):
            return "predecessor"
    if not _is_rules(p["rules"]):
        return "rules"
    if p["scheme"] not in ("event", "fields"):
        return "scheme"


def _control_rules(p):
    if not _shape(p, ("rules",), ("scheme",)) or not _is_rules(p["rules"]):
        return "rules"
    if "scheme" in p and p["scheme"] not in ("event", "fields"):
        return "scheme"


def _control_key_added(p):
    if type(p) is dict and p.get("role") == "log":
        return None if _shape(p, ("role", "vkey")) and _is_vkey(p["vkey"]) else "members"
    if not _shape(p, ("actor", "algorithm", "role", "spki")) or p["role"] != "author":
        return "members"
    if not is_string(p["actor"], 1, 1024):
        return "actor"
    if type(p["algorithm"]) is not str or p["algorithm"] not in _SPKI:
        return "algorithm"
    if not is_string(p["spki"], 1, 4096):
        return "spki"
    try:
        base64_bytes(p["spki"])
    except Refused:
        return "spki"


def _control_key_rotated(p):
    if not _shape(p, ("new", "old", "role")) or p["role"] != "log" or not _is_vkey(p["new"]) or not _is_vkey(p["old"]):
        return "members"


def _control_key_revoked(p):
    if type(p) is dict and p.get("role") == "author":
        if not _shape(p, ("keyId", "reason", "role")) or not is_hex64(p["keyId"]) or not _is_text(p["reason"]):
            return "members"
    elif (not _shape(p, ("reason", "role", "validUntilSize", "vkey")) or p["role"] != "log" or not _is_text(p["reason"])
          or not is_int(p["validUntilSize"]) or not _is_vkey(p["vkey"])):
        return "members"


def _control_erasure(p):
    if not _shape(p, ("entries", "reason"), ("basis",)) or not _is_text(p["reason"]):
        return "members"
    if "basis" in p and not _is_text(p["basis"]):
        return "basis"
    items = p["entries"]
    if type(items) is not list or not 1 <= len(items) <= 10000:
        return "entries"
    before = -1
    for item in items:
        if not _shape(item, ("index", "leaf"), ("fields", "idGuard", "signedIds")):
            return "item: members"
        if not is_int(item["index"]) or item["index"] <= before:
            return "item: index"
        before = item["index"]
        if not is_hex64(item["leaf"]) or ("idGuard" in item and not is_hex64(item["idGuard"])):
            return "item: hash"
        if "fields" in item:
            fields = item["fields"]
            if (type(fields) is not list or not 1 <= len(fields) <= 1024 or not all(is_field_name(f) for f in fields)
                    or not ascending(fields)):
                return "item: fields"
        if "signedIds" in item:
            ids = item["signedIds"]
            if type(ids) is not list or not 1 <= len(ids) <= 16 or not all(is_hex64(i) for i in ids):
                return "item: signedIds"


def _control_hold_placed(p):
    if not _shape(p, ("first", "hold", "last", "reason"), ("basis",)) or not _is_text(p["reason"]) or not is_name(p["hold"]):
        return "members"
    if "basis" in p and not _is_text(p["basis"]):
        return "basis"
    if not is_int(p["first"]) or not is_int(p["last"]) or p["last"] < p["first"]:
        return "first, last"


def _control_hold_released(p):
    if not _shape(p, ("hold", "reason")) or not is_name(p["hold"]) or not _is_text(p["reason"]):
        return "members"


def _control_anchor(p):
    if (not _shape(p, ("kind", "note", "proof", "root", "size")) or not is_name(p["kind"], 64) or not is_hex64(p["note"])
            or not is_hex64(p["proof"]) or not is_hex64(p["root"]) or not is_int(p["size"], 1)):
        return "members"


def _control_sealed(p):
    if not _shape(p, ("logKeys", "origin")) or not _is_vkeys(p["logKeys"]) or not is_origin(p["origin"]):
        return "members"


def _control_recovered(p):
    if not _shape(p, ("checkpoint", "lockStoreId", "logKeys", "lost", "reason")):
        return "members"
    if p["checkpoint"] is not None and not _is_note(p["checkpoint"]):
        return "checkpoint"
    if not is_hex32(p["lockStoreId"]) or not _is_vkeys(p["logKeys"]) or not _is_text(p["reason"]):
        return "members"
    lost = p["lost"]
    if (type(lost) is not list or not 1 <= len(lost) <= 3 or any(x not in ("database", "key", "lock-store") for x in lost)
            or not ascending(lost)):
        return "lost"


_CONTROL_EVENTS = {
    "ledger.genesis": _control_genesis, "ledger.rules.changed": _control_rules, "ledger.key.added": _control_key_added,
    "ledger.key.rotated": _control_key_rotated, "ledger.key.revoked": _control_key_revoked,
    "ledger.erasure": _control_erasure, "ledger.hold.placed": _control_hold_placed,
    "ledger.hold.released": _control_hold_released, "ledger.anchor": _control_anchor,
    "ledger.epoch.sealed": _control_sealed, "ledger.recovered": _control_recovered,
}


def control_error(action, event):
    """control-events.md 1 and 3, for an action of the eleven."""
    for member in event:
        if member not in ("action", "payload", "actor", "signatures"):
            return "a control event has no member " + show(member, 60)
    if "payload" not in event:
        return "payload is missing"
    error = _CONTROL_EVENTS[action](event["payload"])
    return "payload: " + error if error else None


# ---------------------------------------------------------------------------------------------------
# Body: commitment, grammar, control payload (commitment.md; receipt.md B2-B4; export.md L5-L7)
# ---------------------------------------------------------------------------------------------------

WITHHELD = object()


@functools.lru_cache(maxsize=64)             # the entries of one ledger have few different lists of names
def _names_error(names):
    """commitment.md 7-9"""
    if not ascending(names):
        return "names are not strictly ascending"
    whole, cut = set(), set()
    for name in names:
        if not is_field_name(name):
            return "name " + show(name, 60)
        top, dot, _ = name.partition(".")
        (cut if dot else whole).add(top)
    if "action" not in whole:
        return "action is not among the names"
    if whole & cut:
        return "a member stands beside its own fields"


@functools.lru_cache(maxsize=64)
def _encoded_names(names):
    """JCS of the names, and for each name what the preimage of its field begins with"""
    return jcs(list(names)), ["[" + _ENCODE(name) + "," for name in names]


def _of_names(function, names):
    """Through the cache unless the names are long: what is hostile must not stay in memory."""
    return (function if sum(map(len, names)) <= 8192 else function.__wrapped__)(tuple(names))


def disclosure_error(obj):
    """commitment.md 7-11, but for the length of the digests."""
    names, disclosed, digests = obj["names"], obj["disclosed"], obj["digests"]
    if type(names) is not list or not 1 <= len(names) <= 1024 or any(type(n) is not str for n in names):
        return "names"
    error = _of_names(_names_error, names)
    if error:
        return error
    if type(disclosed) is not dict or type(digests) is not dict:
        return "disclosed or digests is not an object"
    if len(disclosed) + len(digests) != len(names) or any((n in disclosed) == (n in digests) for n in names):
        return "disclosed and digests are not together the names"
    for pair in disclosed.values():
        if type(pair) is not list or len(pair) != 2 or type(pair[0]) is not str or HEX32(pair[0]) is None:
            return "a disclosed field is not salt and value"
    for digest in digests.values():
        if type(digest) is not str or _HEX(digest) is None:
            return "a digest is not hex"


def disclosed_value_error(disclosed):
    """commitment.md 12 and 13"""
    for name, (_, value) in disclosed.items():
        check = _MEMBERS.get(name)
        if check is None:
            depth = 2
        else:
            depth = 1
            error = check(value)
            if error:
                return show(name, 60) + ": " + error
            if name in _CUT and type(value) is dict and value:
                return name + ": not cut, though a non-empty object"
        if type(value) in (dict, list) and depth + depth_of(value) > MAX_DEPTH:
            return "nested deeper than %d" % MAX_DEPTH


class Body:
    """What became of the body of one entry."""
    __slots__ = ("event", "disclosed", "names", "digests", "field_digests", "action", "commitment_ok",
                 "grammar_ok", "control_ok", "jcs_event")


def check_body(add, entry, obj, plain, event_bytes, raw_len, opens):
    """B2-B4 / L5-L7. `event_bytes` is JCS(event) for the form with event, else None.

    `opens` bounds the nesting: the number of { and [ in the whole line.
    """
    body = Body()
    hash_name, _, expected = entry.commitment.partition(":")
    h = _HASHES[hash_name]
    index = entry.index
    grammar = None
    if event_bytes is not None:
        event = obj["event"]
        body.event, body.jcs_event = event, event_bytes
        body.disclosed = body.names = body.digests = body.field_digests = None
        found = h(b"tallystick/v1/" + entry.scheme.encode() + b"\n" + bytes.fromhex(obj["salt"]) + event_bytes).hexdigest()
        if len(event_bytes) > MAX_EVENT:
            grammar = "larger than %d bytes" % MAX_EVENT
        elif opens > MAX_DEPTH and depth_of(event) > MAX_DEPTH:
            grammar = "nested deeper than %d" % MAX_DEPTH
        else:
            grammar = event_error(event)
        action = event.get("action")
    else:
        names, disclosed, digests = obj["names"], obj["disclosed"], obj["digests"]
        body.event = body.jcs_event = None
        body.names, body.disclosed, body.digests = names, disclosed, digests
        encode = _ENCODE if plain else jcs_text
        all_names, heads = _of_names(_encoded_names, names)
        parts = []
        for name, head in zip(names, heads):
            pair = disclosed.get(name)
            if pair is None:
                parts.append(bytes.fromhex(digests[name]))
            else:
                salt, value = pair
                text = _encode_string(value) if type(value) is str else encode(value)
                preimage = (head + text + "]").encode("utf-8")
                parts.append(h(b"tallystick/v1/field\n" + bytes.fromhex(salt) + preimage).digest())
        body.field_digests = parts
        found = h(b"tallystick/v1/fields\n" + all_names + b"\n" + b"".join(parts)).hexdigest()
        grammar = disclosed_value_error(disclosed)
        if grammar is None and raw_len > MAX_EVENT and len(jcs(reassemble(disclosed))) > MAX_EVENT:
            grammar = "larger than %d bytes" % MAX_EVENT
        action = disclosed["action"][1] if "action" in disclosed else WITHHELD
    body.action = action
    body.commitment_ok = found == expected
    if not body.commitment_ok:
        add("commitment-mismatch", "the content gives another commitment than the entry states", index,
            entry.commitment, hash_name + ":" + found)
    body.grammar_ok = grammar is None
    if grammar is not None:
        add("body-malformed", "the body is against event.md: " + grammar, index)
    body.control_ok = True
    if action is not WITHHELD:
        steering = type(action) is str and action in _CONTROL_EVENTS
        if steering != (entry.scheme == "control"):
            body.control_ok = False
            add("control-scheme", "action %s under the scheme %s" % (show(action, 128), entry.scheme), index)
        elif steering:
            error = control_error(action, body.event)
            if error:
                body.control_ok = False
                code = "genesis-malformed" if action == "ledger.genesis" else "control-malformed"
                add(code, "%s: %s" % (action, error), index)
    return body


def reassemble(disclosed):
    out = {}
    for name, (_, value) in disclosed.items():
        top, dot, rest = name.partition(".")
        if dot:
            out.setdefault(top, {})[rest] = value
        else:
            out[name] = value
    return out


# ---------------------------------------------------------------------------------------------------
# Author signatures (keys.md 13-22)
# ---------------------------------------------------------------------------------------------------

class AuthorResult:
    __slots__ = ("counted", "pinned", "findings", "unknown", "note")

    def __init__(self):
        self.counted = 0             # signatures that count
        self.pinned = 0              # of them, by keys of the policy
        self.findings = []           # (code, message)
        self.unknown = []            # key IDs found nowhere
        self.note = None             # what could not be looked at


def author_signatures(origin, entry, body, policy, registrations, names_unregistered):
    """keys.md 17-20. `registrations` finds a key of the ledger, or is None."""
    result = AuthorResult()
    if body.event is not None:
        source = body.event
        if "signatures" not in source:
            return result
        signatures, actor, has_id = source["signatures"], source.get("actor"), "id" in source
    else:
        if "signatures" not in body.names:
            return result
        withheld = [m for m in ("signatures", "actor") if m in body.digests]
        if withheld:
            result.note = "signatures not looked at: %s withheld" % " and ".join(withheld)
            return result
        signatures = body.disclosed["signatures"][1]
        actor = body.disclosed["actor"][1] if "actor" in body.disclosed else None
        has_id = "id" in body.names
    if _check_signatures(signatures) or (actor is not None and _check_actor(actor)):
        result.note = "signatures not looked at: the body is malformed"
        return result
    actor = actor_id(actor)
    digest = None
    for item in signatures:
        key_id = item["keyId"]
        key, pinned = None, False
        if actor is not None:
            line = policy.authors.get(key_id) if policy else None
            if line and line.actor == actor and line.first <= entry.index and (line.until is None or entry.index <= line.until):
                key, pinned = line.key, True
            elif registrations is not None:
                key = registrations(key_id, actor, entry.index)
        if key is None:
            if names_unregistered:
                result.findings.append(("author-unregistered", "a signature by the key %s, which is not registered for this actor here" % key_id))
            else:
                result.unknown.append(key_id)
            continue
        if not has_id:
            result.findings.append(("author-signature", "a signed event without id"))
            continue
        if digest is None:
            digest = _author_digest(entry, body)
        message = "\n".join(("tallystick/v1/author", origin, key.algorithm, key_id, entry.scheme, digest)).encode("utf-8")
        if key.verify(message, base64_bytes(item["signature"])):
            result.counted += 1
            result.pinned += pinned
        else:
            result.findings.append(("author-signature", "the signature by the key %s does not verify" % key_id))
    return result


def _author_digest(entry, body):
    if body.event is not None:
        return hashlib.sha256(jcs({m: v for m, v in body.event.items() if m != "signatures"})).hexdigest()
    names, parts = [], []
    for name, part in zip(body.names, body.field_digests):
        if name != "signatures":
            names.append(name)
            parts.append(part)
    h = _HASHES[entry.hash_name]
    return h(b"tallystick/v1/fields\n" + jcs(names) + b"\n" + b"".join(parts)).hexdigest()


# ---------------------------------------------------------------------------------------------------
# Report (verification.md, findings.md)
# ---------------------------------------------------------------------------------------------------

VERDICTS = ("integrity", "order", "authenticity", "completeness", "independence", "time")

FAILS = {}
for _verdict, _codes in {
    "integrity": "entry-malformed commitment-mismatch body-missing body-malformed body-after-erasure field-after-erasure "
                 "erasure-void erased-under-hold control-body-missing control-scheme control-malformed "
                 "erased-id-mismatch id-repeated stored-garbage object-mismatch proof-invalid file-malformed "
                 "package-malformed member-mismatch schema-altered",
    "order": "index-mismatch previous-mismatch time-backwards",
    "authenticity": "genesis-malformed genesis-mismatch origin-mismatch checkpoint-malformed checkpoint-signature "
                    "manifest-signature key-event-invalid key-continuity-broken key-disowned author-signature "
                    "author-unregistered signature-required rules-weakened",
    "completeness": "entry-missing object-missing checkpoint-root checkpoint-beyond expected-root expected-beyond after-seal "
                    "source-gap source-repeated",
    "time": "time-after-evidence time-before-evidence anchor-missing anchor-mismatch anchor-invalid",
}.items():
    for _code in _codes.split():
        FAILS[_code] = _verdict


class Reader:
    """What the reader brings. Nothing of it comes from the evidence."""

    def __init__(self, policy=None, self_asserted=False, held=None, roots=(), headers=None, require_anchor=False):
        self.policy, self.self_asserted, self.held = policy, self_asserted, held     # Policy, Checkpoint
        self.roots, self.headers, self.require_anchor = roots, headers or {}, require_anchor     # Certificates; height: header
        self.pin = "policy" if policy else "self-asserted" if self_asserted else "none"


class Report:
    def __init__(self, kind, policy, pin=None):
        pin = pin or ("policy" if policy else "none")
        self.kind, self.pin = kind, pin
        self.findings, self.omitted, self.failed, self.codes = [], 0, set(), set()
        self.status = {v: "notChecked" for v in VERDICTS}
        self.basis = {v: "" for v in VERDICTS}
        self.unchecked = {v: [] for v in VERDICTS}
        self.origin = self.size = self.root = self.range = None
        self.erased = {"entries": 0, "fields": 0}
        self.inconclusive = pin == "none"    # exit 3
        self.quorum_asked, self.quorum_reached = policy is not None and policy.quorum != "none", False
        self.anchor_missing = False
        self.not_after, self.not_before = [], []     # rows of the timeline
        self.entry = None                    # of a receipt
        self.checked = 0                     # lines of an export
        self.selected = None                 # kind of its selection
        self.counts = None                   # what its filter says of the lines

    def add(self, code, message, index=None, expected=None, found=None, evidence=None, notes=None):
        self.failed.add(FAILS[code])
        self.codes.add(code)
        if len(self.findings) >= MAX_LISTED:
            self.omitted += 1
            return
        finding = {"code": code}
        for name, value in (("evidence", evidence), ("expected", expected), ("found", found), ("index", index), ("message", message),
                            ("notes", notes)):
            if value is not None:
                finding[name] = value
        self.findings.append(finding)

    def set(self, verdict, status, basis):
        self.status[verdict], self.basis[verdict] = status, basis

    def stop(self, why):
        """Every verdict that no finding fails was not looked at."""
        for verdict in VERDICTS:
            self.set(verdict, "notChecked", why)
        return self.finish()

    def finish(self):
        if self.kind != "receipt":
            self.findings.sort(key=lambda f: f.get("index", -1))
        for verdict in self.failed:
            self.status[verdict] = "fail"
            codes = sorted({f["code"] for f in self.findings if FAILS[f["code"]] == verdict})
            self.basis[verdict] = "findings: " + (", ".join(codes) if codes else "not listed")
        return self

    @property
    def required_missing(self):
        """verification.md 4: what asks for exit 4, findings or not"""
        return ["quorum"] * (self.quorum_asked and not self.quorum_reached) + ["anchor"] * self.anchor_missing

    @property
    def exit_code(self):
        if self.failed:
            return 1
        if self.required_missing:
            return 4
        return 3 if self.inconclusive else 0

    def summary(self):
        return " \u00b7 ".join("%s %s" % (v, self.status[v]) for v in VERDICTS)

    def existed(self, size, time, source, relies):
        """A row of notAfter; no row for a time beyond the year 9999."""
        if time is not None:
            self.not_after.append({"relies": relies, "size": size, "source": source, "time": time})

    def follows(self, index, time, source, relies):
        if time is not None:
            self.not_before.append({"index": index, "relies": relies, "source": source, "time": time})

    def timeline(self):
        """verification.md 20 and 21: without the rows of which another says no less"""
        after, before = [], []
        for row in sorted(self.not_after, key=lambda r: (r["time"], -r["size"])):
            if not after or row["size"] > after[-1]["size"]:
                after.append(row)
        for row in sorted(self.not_before, key=lambda r: (r["index"], _reversed(r["time"]))):
            if not before or row["time"] > before[-1]["time"]:
                before.append(row)
        return {"notAfter": after, "notBefore": before}

    def as_json(self):
        return {
            "conclusive": not self.inconclusive, "erased": self.erased, "findings": self.findings,
            "findingsOmitted": self.omitted, "format": "tallystick/report/v1", "kind": self.kind, "needsReindex": False,
            "ok": not self.failed, "origin": self.origin, "pin": self.pin, "range": self.range,
            "requiredMissing": self.required_missing, "root": self.root, "size": self.size,
            "summary": self.summary() + ("; " + self.counts if self.counts else ""),
            "timeline": self.timeline(),
            "verdicts": {v: {"basis": self.basis[v], "status": self.status[v], "unchecked": self.unchecked[v]} for v in VERDICTS},
        }

    def as_text(self):
        out = []
        head = self.kind
        if self.origin is not None:
            head += " of %s, tree of %d, root %s" % (self.origin, self.size, self.root)
        out.append(head)
        if self.entry is not None:
            out.append("entry %d of %s, scheme %s" % (self.entry.index, self.entry.time, self.entry.scheme))
        if self.kind in ("export", "package") and self.checked:
            out.append("%d lines read%s" % (self.checked, ", entries %d to %d" % tuple(self.range) if self.range else ", whole ledger"))
        if self.counts:
            out.append(self.counts)
        if self.erased["entries"] or self.erased["fields"]:
            out.append("erased: %d entries, %d fields" % (self.erased["entries"], self.erased["fields"]))
        out.append("pin: " + self.pin)
        out.append("")
        for f in self.findings:
            place = "entry %d: " % f["index"] if "index" in f else ""
            out.append("FINDING %s: %s%s" % (f["code"], place, f["message"]))
            for name in ("expected", "found", "evidence"):
                if name in f:
                    out.append("    %-9s %s" % (name, f[name]))
        if self.omitted:
            out.append("and %d more findings" % self.omitted)
        if self.findings:
            out.append("")
        for v in VERDICTS:
            out.append("%-13s %-15s %s" % (v, self.status[v], self.basis[v]))
            for line in self.unchecked[v]:
                out.append("%-13s %-15s unchecked: %s" % ("", "", line))
        out.append("")
        out.append(self.summary())
        out.append("exit %d" % self.exit_code)
        return "\n".join(out) + "\n"


def _reversed(time):
    """Sorts times of one length from the latest to the earliest."""
    return [-ord(c) for c in time]


def utc(seconds):
    try:
        moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=seconds)
    except OverflowError:
        return None
    return moment.isoformat(timespec="seconds")


def utc_ms(milliseconds):
    text = utc(milliseconds // 1000)
    return None if text is None else "%s.%03dZ" % (text, milliseconds % 1000)


def latest_time(acceptance):
    """The latest entry time that the witness time allows, as text, or None for no bound (entry.md 9)."""
    if acceptance is None or not acceptance.accepted or acceptance.time is None:
        return None
    limit = utc(acceptance.time + 300)
    return limit + ".000Z" if limit else None


def compare_held(report, held, origin, root_at):
    """verification.md 12: the checkpoint that the reader holds. `root_at` gives the root of the tree at a size, or
    None where it cannot be told."""
    if held is None:
        return
    if held.origin != origin:
        report.add("origin-mismatch", "the checkpoint that the reader holds is of another origin", None, show(held.origin), show(origin))
        return
    root = root_at(held.size)
    if root is None:
        report.inconclusive = True
        report.set("completeness", "notEstablished", "it cannot be compared with the checkpoint of size %d that the reader holds" % held.size)
    elif root != held.root:
        report.add("expected-root", "not the history of the checkpoint that the reader holds", None, held.root.hex(), root.hex(),
                   "held checkpoint of size %d" % held.size)
    else:
        report.set("completeness", report.status["completeness"], "; ".join(filter(None, (
            report.basis["completeness"], "the checkpoint of size %d that the reader holds is of this tree" % held.size))))


def anchor_missing(report, reader):
    """verification.md 11: the reader brought pins for anchors, or asked for one, and none holds."""
    if reader.require_anchor:
        report.anchor_missing = True
    if report.kind != "package" and (reader.require_anchor or reader.roots or reader.headers):
        report.unchecked["time"].append("anchors: nothing of this kind carries any")


def outside_verdicts(report, policy, acceptance):
    """Independence and time, the same for both kinds of file."""
    if policy is None:
        why = "no policy is pinned, so no signature was checked"
        report.set("independence", "notEstablished", why)
        report.set("time", "notEstablished", why)
        return
    if not acceptance.accepted:
        report.set("independence", "notEstablished", "the checkpoint is not accepted under the policy")
        report.set("time", "notEstablished", "the checkpoint is not accepted under the policy")
    elif policy.quorum == "none":
        why = "quorum none: nobody outside vouches"
        report.set("independence", "notEstablished", why)
        report.set("time", "notEstablished", why)
    elif acceptance.quorum:
        names = ", ".join(show(n, 60) for n in acceptance.witnesses)
        report.quorum_reached = True
        operators = sorted({policy.operators.get(n, n) for n in acceptance.witnesses})
        report.set("independence", "pass", "the quorum is reached; cosigned by %s; operators: %s" % (
            names, ", ".join(show(n, 60) for n in operators)))
        report.existed(report.size, utc_ms(acceptance.time * 1000), "cosignatures of size %d by %s" % (report.size, names),
                       "the witnesses of the quorum tell the right time and keep their keys")
        report.set("time", "pass", "existed before %s, by the clocks of the witnesses"
                   % ((utc(acceptance.time) or "second %d" % acceptance.time) + ("Z" if utc(acceptance.time) else "")))
    else:
        why = "the quorum that the policy names was not reached"
        report.set("independence", "notEstablished", why)
        report.set("time", "notEstablished", why)


# ---------------------------------------------------------------------------------------------------
# Receipt (receipt.md)
# ---------------------------------------------------------------------------------------------------

_FORM_EVENT = ("entry", "event", "format", "proof", "salt")
_FORM_FIELDS = ("digests", "disclosed", "entry", "format", "names", "proof")


def parse_tlog_proof(text):
    """receipt.md 6: index, hashes, note bytes"""
    if "\r" in text:
        raise Refused("proof holds a carriage return")
    head, blank, note = text.partition("\n\n")
    lines = head.split("\n")
    if not blank or lines[0] != "c2sp.org/tlog-proof@v1" or len(lines) < 2 or not lines[1].startswith("index "):
        raise Refused("proof: not a tlog-proof")
    index = decimal(lines[1][6:])
    if len(lines) > 66:
        raise Refused("proof: more than 64 hashes")
    hashes = [base64_bytes(line) for line in lines[2:]]
    if any(len(h) != 32 for h in hashes):
        raise Refused("proof: not a hash")
    return index, hashes, note.encode("utf-8")


def verify_receipt(first, parsed, trailing, reader):
    """`first` is the first line with its newline, `parsed` (value, plain) or the reason why not,
    `trailing` whether bytes follow it."""
    policy = reader.policy
    report = Report("receipt", policy)
    add = report.add
    obj = parsed[0] if type(parsed) is tuple else None
    # Stage A: the first failure is the only finding
    error = None
    if len(first) > MAX_LINE:
        error = "longer than %d bytes" % MAX_LINE
    elif not first.endswith(b"\n"):
        error = "does not end with a newline"
    elif trailing:
        error = "bytes after the first line"
    elif obj is None:
        error = parsed
    elif tuple(obj) not in (_FORM_EVENT, _FORM_FIELDS):
        error = "its members are not those of a receipt"
    elif obj["format"] != RECEIPT_FORMAT:
        error = "format " + show(obj["format"], 60)
    elif type(obj["entry"]) is not str or type(obj["proof"]) is not str:
        error = "entry or proof is not a string"
    elif "event" in obj:
        if type(obj["event"]) is not dict or not is_hex32(obj["salt"]):
            error = "event or salt"
    else:
        error = disclosure_error(obj)
    if error is None:
        try:
            proof_index, hashes, note = parse_tlog_proof(obj["proof"])
        except Refused as refused:
            error = str(refused)
    if error:
        add("file-malformed", error)
        return report.stop("the file is malformed")
    try:
        checkpoint = Checkpoint(note)
    except Refused as refused:
        add("checkpoint-malformed", str(refused))
        return report.stop("the checkpoint is malformed")
    report.origin, report.size, report.root = checkpoint.origin, checkpoint.size, checkpoint.root.hex()
    try:
        entry = Entry(obj["entry"])
    except Refused as refused:
        add("entry-malformed", str(refused))
        return report.stop("the entry is malformed")
    report.entry = entry
    error = None
    if ("event" in obj) == (entry.scheme == "fields"):
        error = "the form does not go with the scheme %s" % entry.scheme
    elif "event" not in obj and any(len(d) != _HASH_HEX[entry.hash_name] for d in obj["digests"].values()):
        error = "a digest of wrong length"
    if error:
        add("file-malformed", error)
        return report.stop("the file is malformed")

    # Stage B: every check
    index = entry.index
    leaf = leaf_hash(entry.text.encode("ascii"))
    placed = index == proof_index and index < checkpoint.size
    if not placed:
        add("proof-invalid", "entry index %d, index of the proof %d, size of the checkpoint %d" % (index, proof_index, checkpoint.size), index)
    event_bytes = None
    if "event" in obj:
        event_bytes = _ENCODE(obj["event"]).encode("utf-8") if parsed[1] else jcs(obj["event"])
    body = check_body(add, entry, obj, parsed[1], event_bytes, len(first), first.count(b"{") + first.count(b"["))
    if placed:
        root = inclusion_root(leaf, index, checkpoint.size, hashes)
        if root != checkpoint.root:
            add("proof-invalid", "the inclusion proof does not give the root of the checkpoint", index,
                checkpoint.root.hex(), root.hex() if root else None)
    genesis_bad = any(f["code"] == "genesis-malformed" for f in report.findings)
    if index == 0:
        error = None
        if entry.scheme != "control" or body.action != "ledger.genesis":
            error = "entry 0 is not a ledger.genesis of scheme control"
        elif entry.previous != ZEROS:
            error = "previous of entry 0 is not 64 zeros"
        elif body.control_ok:
            payload = body.event["payload"]
            if payload["origin"] != checkpoint.origin:
                error = "the origin of genesis is %s" % show(payload["origin"])
            elif not usable_log_keys(payload["logKeys"], checkpoint.origin):
                error = "none of the log keys of genesis is usable"
            if payload["commitmentHash"] != entry.hash_name:       # control-events.md 6
                add("commitment-mismatch", "the entry names another hash than genesis", 0, payload["commitmentHash"], entry.hash_name)
        if error and not genesis_bad:
            add("genesis-malformed", error, 0)
    elif entry.scheme == "control" and body.action == "ledger.genesis" and not genesis_bad:
        add("genesis-malformed", "a ledger.genesis at another index than 0", index)
    if (entry.scheme == "control" and body.action == "ledger.anchor" and body.control_ok
            and body.event["payload"]["size"] > index):            # control-events.md 15
        add("control-malformed", "an anchored size above the index of the event", index)

    # Stage C
    acceptance, undecided = None, False
    if policy is not None:
        acceptance = Acceptance(checkpoint, policy)
        if acceptance.problem:
            add(*acceptance.problem)
        if index == 0 and policy.genesis is not None and leaf.hex() != policy.genesis:
            add("genesis-mismatch", "entry 0 is not the pinned one", 0, policy.genesis, leaf.hex(), "pinned genesis")
        signed = AuthorResult()
        if entry.scheme != "control":
            signed = author_signatures(checkpoint.origin, entry, body, policy, None, False)
            for code, message in signed.findings:
                add(code, message, index)
            if signed.note:
                report.unchecked["authenticity"].append(signed.note)
            for key_id in signed.unknown:
                report.unchecked["authenticity"].append("signature by the key %s, which the policy does not name for this actor and index" % key_id)
        elif "signatures" in body.event:
            report.unchecked["authenticity"].append("signatures of the control event: a receipt cannot show the ledger's keys")
        if policy.require_signature:
            has = "signatures" in (body.event if body.event is not None else body.names)
            needs = body.action is WITHHELD or not (type(body.action) is str and body.action.startswith("ledger."))
            if needs and not has and body.action is not WITHHELD:
                add("signature-required", "the policy asks for an author signature", index)
            elif needs and not signed.pinned and not signed.findings:
                undecided = True
                report.unchecked["authenticity"].append(
                    "action is withheld: whether a signature is needed" if body.action is WITHHELD and not has
                    else "the author signature that the policy asks for")
        limit = latest_time(acceptance)
        if limit is not None and entry.time > limit:
            add("time-after-evidence", "the entry time is more than 300 s after the witness time", index, "at most " + limit, entry.time,
                "cosignatures of the checkpoint of size %d" % checkpoint.size)

    # Verdicts (receipt.md 7)
    report.set("integrity", "pass", "commitment and inclusion under the root of the checkpoint")
    if body.digests:
        report.unchecked["integrity"].append("%d withheld fields" % len(body.digests))
    report.set("order", "notChecked", "one entry")
    report.set("completeness", "notChecked", "one entry")
    if policy is None:
        report.set("authenticity", "notEstablished", "no policy is pinned, so no signature was checked")
    elif undecided:
        report.inconclusive = True
        report.set("authenticity", "notEstablished", "no author signature of a pinned key was verified")
    else:
        basis = "the checkpoint is signed under the pinned policy"
        if policy.genesis is None:
            basis += "; genesis not pinned"
        if signed.pinned:
            basis += "; %d author signature%s by pinned keys" % (signed.pinned, "s" if signed.pinned > 1 else "")
        report.set("authenticity", "pass", basis)
    outside_verdicts(report, policy, acceptance)
    compare_held(report, reader.held, checkpoint.origin, lambda size: checkpoint.root if size == checkpoint.size else None)
    return report.finish()


# ---------------------------------------------------------------------------------------------------
# Checkpoint alone (checkpoint.md 13-15)
# ---------------------------------------------------------------------------------------------------

def verify_checkpoint(data, reader):
    policy = reader.policy
    report = Report("checkpoint", policy)
    try:
        checkpoint = Checkpoint(data)
    except Refused as refused:
        report.add("checkpoint-malformed", str(refused))
        return report.stop("the checkpoint is malformed")
    report.origin, report.size, report.root = checkpoint.origin, checkpoint.size, checkpoint.root.hex()
    for verdict in ("integrity", "order", "completeness"):
        report.set(verdict, "notChecked", "a checkpoint alone: no entries")
    acceptance = None
    if policy is None:
        report.set("authenticity", "notEstablished", "no policy is pinned, so no signature was checked")
    else:
        acceptance = Acceptance(checkpoint, policy)
        if acceptance.problem:
            report.add(*acceptance.problem)
        report.set("authenticity", "pass", "the checkpoint is signed under the pinned policy"
                   + ("; genesis not pinned" if policy.genesis is None else ""))
    outside_verdicts(report, policy, acceptance)
    compare_held(report, reader.held, checkpoint.origin, lambda size: checkpoint.root if size == checkpoint.size else None)
    return report.finish()


# ---------------------------------------------------------------------------------------------------
# Time-stamp tokens of RFC 3161 (anchors.md 5-16)
# ---------------------------------------------------------------------------------------------------

MAX_PROOF = 65536
MAX_CERTIFICATE = 16384


class ProofRefused(Exception):
    """An anchor's proof that supports nothing: a code of errors.md, and why."""

    def __init__(self, code, message):
        Exception.__init__(self, message)
        self.code, self.message = code, message


def _malformed(message):
    raise ProofRefused("malformed-proof", message)


class Der:
    """One DER element: its tag, its content, and all its bytes (anchors.md 6)."""
    __slots__ = ("tag", "content", "raw")

    def __init__(self, data, at=0):
        if at + 2 > len(data):
            _malformed("DER: truncated")
        tag, length, start = data[at], data[at + 1], at + 2
        if tag & 0x1f == 0x1f:
            _malformed("DER: a tag of several bytes")
        if length >= 0x80:
            count = length & 0x7f
            if not 1 <= count <= 4 or start + count > len(data):
                _malformed("DER: length")
            length = int.from_bytes(data[start:start + count], "big")
            if length < 0x80 or length >> 8 * (count - 1) == 0:
                _malformed("DER: length not in the fewest bytes")
            start += count
        if start + length > len(data):
            _malformed("DER: truncated")
        self.tag, self.content, self.raw = tag, data[start:start + length], data[at:start + length]

    @classmethod
    def whole(cls, data, tag):
        out = cls(data)
        if len(out.raw) != len(data) or out.tag != tag:
            _malformed("DER: not exactly one element of tag %02x" % tag)
        return out

    def items(self):
        out, at = [], 0
        while at < len(self.content):
            if len(out) == 256:
                _malformed("DER: more than 256 elements in one level")
            item = Der(self.content, at)
            out.append(item)
            at += len(item.raw)
        return out

    def integer(self):
        c = self.content
        if not c or (len(c) > 1 and (c[0] == 0 and not c[1] & 0x80 or c[0] == 0xff and c[1] & 0x80)):
            _malformed("DER: integer not in the fewest bytes")
        return int.from_bytes(c, "big", signed=True)

    def oid(self):
        c = self.content
        if not c or c[-1] & 0x80 or c[0] == 0x80 or any(c[i] == 0x80 and not c[i - 1] & 0x80 for i in range(1, len(c))):
            _malformed("DER: object identifier")
        return c

    def boolean(self):
        if self.content not in (b"\x00", b"\xff"):
            _malformed("DER: boolean")
        return self.content == b"\xff"

    def bits(self):
        """The bytes of a BIT STRING and its number of unused bits."""
        c = self.content
        if not c or c[0] > 7 or (c[0] and (len(c) == 1 or c[-1] & (1 << c[0]) - 1)):
            _malformed("DER: bit string")
        return c[1:], c[0]


class Items:
    """The elements of a SEQUENCE or SET, taken in order."""

    def __init__(self, element):
        self.rest = element.items()

    def take(self, tag):
        item = self.maybe(tag)
        if item is None:
            _malformed("DER: no element of tag %02x where there must be one" % tag)
        return item

    def maybe(self, tag):
        return self.rest.pop(0) if self.rest and self.rest[0].tag == tag else None

    def end(self):
        if self.rest:
            _malformed("DER: an element too many")


_INTEGER, _BITS, _OCTETS, _NULL, _OID, _SEQUENCE, _SET = 0x02, 0x03, 0x04, 0x05, 0x06, 0x30, 0x31


def _only(element, tag):
    """The one element in an explicit tag."""
    items = Items(element)
    item = items.take(tag)
    items.end()
    return item


def _oid(text):
    parts = [int(p) for p in text.split(".")]
    out = bytearray()
    for part in [40 * parts[0] + parts[1]] + parts[2:]:
        group = [part & 0x7f]
        while part >> 7:
            part >>= 7
            group.insert(0, part & 0x7f | 0x80)
        out += bytes(group)
    return bytes(out)


_ID_SIGNED_DATA, _ID_TST_INFO = _oid("1.2.840.113549.1.7.2"), _oid("1.2.840.113549.1.9.16.1.4")
_ID_CONTENT_TYPE, _ID_MESSAGE_DIGEST = _oid("1.2.840.113549.1.9.3"), _oid("1.2.840.113549.1.9.4")
_ID_ESS_V1, _ID_ESS_V2 = _oid("1.2.840.113549.1.9.16.2.12"), _oid("1.2.840.113549.1.9.16.2.47")
_ID_RSA, _ID_MGF1, _ID_PSS = _oid("1.2.840.113549.1.1.1"), _oid("1.2.840.113549.1.1.8"), _oid("1.2.840.113549.1.1.10")
_ID_ED25519, _ID_EC_KEY = _oid("1.3.101.112"), _oid("1.2.840.10045.2.1")
_ID_BASIC, _ID_KEY_USAGE, _ID_EXT_USAGE, _ID_POLICIES = (_oid("2.5.29.%d" % n) for n in (19, 15, 37, 32))
_ID_TIME_STAMPING, _ID_ANY_USAGE = _oid("1.3.6.1.5.5.7.3.8"), _oid("2.5.29.37.0")
_DIGESTS = {_oid("2.16.840.1.101.3.4.2.%d" % n): h for n, h in ((1, hashlib.sha256), (2, hashlib.sha384), (3, hashlib.sha512))}
_RSA_WITH = {_oid("1.2.840.113549.1.1.%d" % n): h for n, h in ((11, hashlib.sha256), (12, hashlib.sha384), (13, hashlib.sha512))}
_ECDSA_WITH = {_oid("1.2.840.10045.4.3.%d" % n): h for n, h in ((2, hashlib.sha256), (3, hashlib.sha384), (4, hashlib.sha512))}
_DIGEST_INFO = {h: bytes([0x30, 17 + h().digest_size, 0x30, 13, 6, 9]) + oid + bytes([5, 0, 4, h().digest_size]) for oid, h in _DIGESTS.items()}


def _digest_of(element):
    """The hash of an AlgorithmIdentifier, its parameters NULL or absent."""
    items = Items(element)
    found = _DIGESTS.get(items.take(_OID).oid())
    null = items.maybe(_NULL)
    items.end()
    if found is None or (null is not None and null.content):
        _malformed("hash algorithm")
    return found


class SignatureAlgorithm:
    """anchors.md 11. `digest` is None where the algorithm does not name one."""

    def __init__(self, element):
        items = Items(element)
        oid = items.take(_OID).oid()
        self.digest, self.salt = None, None
        if oid == _ID_RSA or oid in _RSA_WITH:
            self.kind, self.digest = "rsa", _RSA_WITH.get(oid)
            null = items.maybe(_NULL)
            if null is not None and null.content:
                _malformed("signature algorithm: parameters")
        elif oid == _ID_PSS:
            self.kind = "rsa-pss"
            self._pss(items.take(_SEQUENCE))
        elif oid in _ECDSA_WITH:
            self.kind, self.digest = "ecdsa", _ECDSA_WITH[oid]
        elif oid == _ID_ED25519:
            self.kind = "ed25519"
        else:
            _malformed("signature algorithm")
        items.end()

    def _pss(self, element):
        items = Items(element)
        self.digest = _digest_of(_only(items.take(0xa0), _SEQUENCE))
        mask = Items(_only(items.take(0xa1), _SEQUENCE))
        if mask.take(_OID).oid() != _ID_MGF1 or _digest_of(mask.take(_SEQUENCE)) is not self.digest:
            _malformed("RSASSA-PSS: mask")
        mask.end()
        salt, trailer = items.maybe(0xa2), items.maybe(0xa3)
        self.salt = 20 if salt is None else _only(salt, _INTEGER).integer()
        if self.salt < 0 or (trailer is not None and _only(trailer, _INTEGER).integer() != 1):
            _malformed("RSASSA-PSS: parameters")
        items.end()

    def verify(self, key, digest, message, signature):
        """Does it verify under a PublicKey? `digest` is the hash where the algorithm names none."""
        digest = self.digest or digest
        if key is None:
            return False
        if self.kind == "rsa":
            return key.algorithm == "rsa-pss" and key.key.verify_pkcs1(digest, message, signature)
        if self.kind == "rsa-pss":
            return key.algorithm == "rsa-pss" and key.key.verify_pss(digest, self.salt, message, signature)
        if self.kind == "ecdsa":
            return key.algorithm.startswith("ecdsa") and _verify_ecdsa_der(key.key, digest(message).digest(), signature)
        return key.algorithm == "ed25519" and key.verify(message, signature)


def _verify_ecdsa_der(key, digest, signature):
    try:
        items = Items(Der.whole(signature, _SEQUENCE))
        r, s = items.take(_INTEGER).integer(), items.take(_INTEGER).integer()
        items.end()
    except ProofRefused:
        return False
    n = key.curve.n
    e = int.from_bytes(digest, "big") >> max(0, 8 * len(digest) - n.bit_length())
    return 1 <= r < n and 1 <= s < n and key.verify_scalars(e, r, s)


_UTC_TIME = re.compile(rb"([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})Z").fullmatch
_GENERALIZED = re.compile(rb"([0-9]{4})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})(?:\.([0-9]{0,8}[1-9]))?Z").fullmatch


def _der_time(element):
    """Nanoseconds since 1970"""
    match, fraction = None, 0
    if element.tag == 0x17:
        match = _UTC_TIME(element.content)
    elif element.tag == 0x18:
        match = _GENERALIZED(element.content)
        if match and match.group(7):
            fraction = int(match.group(7).ljust(9, b"0"))
    if match is None:
        _malformed("a time")
    year, month, day, hour, minute, second = map(int, match.groups()[:6])
    if element.tag == 0x17:
        year += 1900 if year >= 50 else 2000
    if not real_date(year, month, day) or hour > 23 or minute > 59 or second > 59:
        _malformed("a time that does not exist")
    cycles, year = divmod(year, 400)             # datetime knows no year 0
    days = datetime.date(year + 400, month, day).toordinal() - 719163 + (cycles - 1) * 146097
    return (((days * 24 + hour) * 60 + minute) * 60 + second) * 10 ** 9 + fraction


class Certificate:
    """X.509, as far as a time-stamp needs it. Raises ProofRefused."""

    def __init__(self, raw):
        if len(raw) > MAX_CERTIFICATE:
            _malformed("certificate longer than %d bytes" % MAX_CERTIFICATE)
        self.raw = raw
        outer = Items(Der.whole(raw, _SEQUENCE))
        tbs = outer.take(_SEQUENCE)
        algorithm = outer.take(_SEQUENCE)
        self.signature, unused = outer.take(_BITS).bits()
        outer.end()
        if unused:
            _malformed("certificate: signature")
        self.tbs = tbs.raw
        items = Items(tbs)
        version = items.maybe(0xa0)
        version = 0 if version is None else _only(version, _INTEGER).integer()
        if version not in (0, 1, 2):
            _malformed("certificate: version")
        serial = items.take(_INTEGER)
        serial.integer()
        self.serial = serial.content
        if items.take(_SEQUENCE).raw != algorithm.raw:
            _malformed("certificate: two signature algorithms")
        self.issuer = items.take(_SEQUENCE).raw
        validity = items.take(_SEQUENCE).items()
        if len(validity) != 2:
            _malformed("certificate: validity")
        self.first, self.last = map(_der_time, validity)
        self.subject = items.take(_SEQUENCE).raw
        spki = items.take(_SEQUENCE)
        try:
            self.key = _certificate_key(spki)
        except Refused:
            self.key = None          # then nothing verifies under it
        items.maybe(0x81), items.maybe(0x82)
        extensions = items.maybe(0xa3)
        items.end()
        try:                         # of a pinned certificate the signature is not looked at, so any algorithm will do
            self.algorithm = SignatureAlgorithm(algorithm)
        except ProofRefused:
            self.algorithm = None
        self.extensions = {}         # OID: (critical, value)
        if extensions is not None:
            for extension in _only(extensions, _SEQUENCE).items():
                if extension.tag != _SEQUENCE:
                    _malformed("certificate: extension")
                parts = Items(extension)
                oid = parts.take(_OID).oid()
                critical = parts.maybe(0x01)
                value = parts.take(_OCTETS).content
                parts.end()
                if oid in self.extensions:
                    _malformed("certificate: an extension twice")
                self.extensions[oid] = critical is not None and critical.boolean(), value
        self.ca, self.path_length = self._basic()
        self.usages = self._key_usage()
        self.purposes = self._purposes()

    def _basic(self):
        found = self.extensions.get(_ID_BASIC)
        if found is None:
            return False, None
        items = Items(Der.whole(found[1], _SEQUENCE))
        ca, length = items.maybe(0x01), items.maybe(_INTEGER)
        items.end()
        length = None if length is None else length.integer()
        if length is not None and length < 0:
            _malformed("certificate: path length")
        return ca is not None and ca.boolean(), length

    def _key_usage(self):
        """Numbers of the bits that are set, or None."""
        found = self.extensions.get(_ID_KEY_USAGE)
        if found is None:
            return None
        data, _ = Der.whole(found[1], _BITS).bits()
        return {8 * i + bit for i, byte in enumerate(data) for bit in range(8) if byte >> 7 - bit & 1}

    def _purposes(self):
        found = self.extensions.get(_ID_EXT_USAGE)
        if found is None:
            return None
        out = []
        for item in Der.whole(found[1], _SEQUENCE).items():
            if item.tag != _OID:
                _malformed("certificate: extended key usage")
            out.append(item.oid())
        if not out:
            _malformed("certificate: extended key usage")
        return out

    def unknown_critical(self):
        known = (_ID_BASIC, _ID_KEY_USAGE, _ID_EXT_USAGE, _ID_POLICIES)
        return any(critical and oid not in known for oid, (critical, _) in self.extensions.items())

    def may_issue(self, below, pinned):
        """anchors.md 14, for a chain with so many certificates of authorities below this one."""
        return (self.ca and (self.path_length is None or below <= self.path_length) and (self.usages is None or 5 in self.usages)
                and not self.unknown_critical()
                and (pinned or self.purposes is None or _ID_TIME_STAMPING in self.purposes or _ID_ANY_USAGE in self.purposes))

    def may_stamp(self):
        """anchors.md 13, row 9"""
        critical, _ = self.extensions.get(_ID_EXT_USAGE, (False, None))
        return (critical and self.purposes == [_ID_TIME_STAMPING] and not self.ca
                and (self.usages is None or (self.usages and self.usages <= {0, 1})) and not self.unknown_critical())


def _certificate_key(spki):
    """A PublicKey of one of the algorithms of anchors.md 11. Raises Refused for another."""
    for algorithm in ("ecdsa-p256", "ecdsa-p384", "ed25519"):
        if spki.raw.startswith(_SPKI[algorithm][0]):
            return key_from_spki(algorithm, spki.raw)
    return key_from_spki("rsa-pss", spki.raw)


def read_certificates(path):
    """The certificates of a PEM file that the reader pins."""
    data = read_pinned(path, 1 << 20, "certificates")
    out = []
    for block in re.findall(rb"-----BEGIN CERTIFICATE-----\s+([A-Za-z0-9+/=\s]+?)\s*-----END CERTIFICATE-----", data):
        try:
            out.append(Certificate(base64.b64decode(b"".join(block.split()), validate=True)))
        except (ProofRefused, ValueError) as error:
            raise Unreadable("malformed-config", "certificate of %s: %s" % (show(path), error))
    if not out:
        raise Unreadable("malformed-config", "no certificate in %s" % show(path))
    return out


class TimeStamp:
    """A token that parses: anchors.md 5-12."""

    def __init__(self, proof):
        if len(proof) > MAX_PROOF:
            _malformed("proof longer than %d bytes" % MAX_PROOF)
        outer = Der.whole(proof, _SEQUENCE)
        items = Items(outer)
        if items.rest and items.rest[0].tag == _SEQUENCE:        # TimeStampResp
            status = Items(items.take(_SEQUENCE))
            if status.take(_INTEGER).integer() not in (0, 1):
                _malformed("the authority granted nothing")
            status.maybe(_SEQUENCE), status.maybe(_BITS)
            status.end()
            token = items.take(_SEQUENCE)
            items.end()
            items = Items(token)
        if items.take(_OID).oid() != _ID_SIGNED_DATA:
            _malformed("not SignedData")
        content = _only(items.take(0xa0), _SEQUENCE)
        items.end()
        self._signed_data(Items(content))

    def _signed_data(self, items):
        if items.take(_INTEGER).integer() != 3:
            _malformed("SignedData: version")
        items.take(_SET)
        content = Items(items.take(_SEQUENCE))
        if content.take(_OID).oid() != _ID_TST_INFO:
            _malformed("the content is no TSTInfo")
        self.info = _only(content.take(0xa0), _OCTETS).content
        content.end()
        certificates = items.maybe(0xa0)
        self.certificates = []
        if certificates is not None:
            found = certificates.items()
            if len(found) > 32:
                _malformed("more than 32 certificates")
            for item in found:
                try:
                    self.certificates.append(Certificate(item.raw))
                except ProofRefused:
                    pass                                 # anchors.md 15
        items.maybe(0xa1)
        signers = items.take(_SET).items()
        items.end()
        if len(signers) != 1 or signers[0].tag != _SEQUENCE:
            _malformed("not exactly one signer")
        self._signer(Items(signers[0]))
        self._tst_info(Items(Der.whole(self.info, _SEQUENCE)))

    def _signer(self, items):
        if items.take(_INTEGER).integer() != 1:
            _malformed("SignerInfo: version")
        name = Items(items.take(_SEQUENCE))
        self.issuer = name.take(_SEQUENCE).raw
        serial = name.take(_INTEGER)
        serial.integer()
        name.end()
        self.serial = serial.content
        self.digest = _digest_of(items.take(_SEQUENCE))
        attributes = items.take(0xa0)
        self.signed_bytes = b"\x31" + attributes.raw[1:]
        self.attributes = {}
        for attribute in attributes.items():
            if attribute.tag != _SEQUENCE:
                _malformed("a signed attribute")
            parts = Items(attribute)
            oid = parts.take(_OID).oid()
            values = parts.take(_SET).items()
            parts.end()
            if len(values) != 1 or oid in self.attributes:
                _malformed("a signed attribute twice, or not with one value")
            self.attributes[oid] = values[0]
        self.algorithm = SignatureAlgorithm(items.take(_SEQUENCE))
        self.signature = items.take(_OCTETS).content
        items.maybe(0xa1)
        items.end()
        if self.algorithm.digest not in (None, self.digest) or (self.algorithm.kind == "ed25519" and self.digest is not hashlib.sha512):
            _malformed("the signature algorithm names another hash")

    @staticmethod
    def _ess(value, second):
        """Hash, digest, and issuer and serial number where they stand there, of the first identifier."""
        if value.tag != _SEQUENCE:
            _malformed("ESS attribute")
        outer = Items(value)
        identifiers = outer.take(_SEQUENCE).items()
        outer.maybe(_SEQUENCE)
        outer.end()
        if not identifiers or identifiers[0].tag != _SEQUENCE:
            _malformed("ESS attribute")
        items = Items(identifiers[0])
        digest = hashlib.sha1
        if second:
            algorithm = items.maybe(_SEQUENCE)
            digest = hashlib.sha256 if algorithm is None else _digest_of(algorithm)
        expected = items.take(_OCTETS).content
        place = items.maybe(_SEQUENCE)
        items.end()
        issuers = serial = None
        if place is not None:
            parts = Items(place)
            names = parts.take(_SEQUENCE).items()
            issuers = [names[0].content] if len(names) == 1 and names[0].tag == 0xa4 else []
            number = parts.take(_INTEGER)
            number.integer()
            serial = number.content
            parts.end()
        return digest, expected, issuers, serial

    def _tst_info(self, items):
        if items.take(_INTEGER).integer() != 1:
            _malformed("TSTInfo: version")
        self.policy = items.take(_OID).oid()
        imprint = Items(items.take(_SEQUENCE))
        self.imprint_digest = _digest_of(imprint.take(_SEQUENCE))
        self.imprint = imprint.take(_OCTETS).content
        imprint.end()
        items.take(_INTEGER).integer()
        self.time = _der_time(items.take(0x18))
        accuracy = items.maybe(_SEQUENCE)
        self.accuracy = None if accuracy is None else self._accuracy(Items(accuracy))
        ordering = items.maybe(0x01)
        if ordering is not None:
            ordering.boolean()
        nonce = items.maybe(_INTEGER)
        self.nonce = None if nonce is None else nonce.integer()
        items.maybe(0xa0)
        extensions = items.maybe(0xa1)
        items.end()
        for extension in extensions.items() if extensions is not None else ():
            if extension.tag != _SEQUENCE:
                _malformed("TSTInfo: extension")
            parts = Items(extension)
            parts.take(_OID).oid()
            critical = parts.maybe(0x01)
            parts.take(_OCTETS)
            parts.end()
            if critical is not None and critical.boolean():
                _malformed("TSTInfo: a critical extension")

    @staticmethod
    def _accuracy(items):
        """Nanoseconds"""
        total = 0
        for tag, most, unit in ((_INTEGER, 31536000, 10 ** 9), (0x80, 999, 10 ** 6), (0x81, 999, 10 ** 3)):
            part = items.maybe(tag)
            if part is not None:
                value = part.integer()
                if not 0 <= value <= most:
                    _malformed("TSTInfo: accuracy")
                total += value * unit
        items.end()
        return total

    def stamps(self, digest):
        return self.imprint_digest is hashlib.sha256 and self.imprint == digest

    # anchors.md 13

    def verify(self, digest, roots, nonce=None, policies=None, now=None):
        """Bounds in milliseconds since 1970: not after, not before."""
        invalid = "proof-invalid"
        if not self.stamps(digest):
            raise ProofRefused(invalid, "the imprint is not the digest")
        if nonce is not None and self.nonce != nonce:
            raise ProofRefused(invalid, "the nonce is another")
        if policies is not None and self.policy not in policies:
            raise ProofRefused("untrusted-key", "the policy is not one of those pinned")
        if now is not None and self.time > (now + 300) * 10 ** 9:
            raise ProofRefused(invalid, "a time in the future")
        named = [c for c in self.certificates + list(roots) if c.issuer == self.issuer and c.serial == self.serial]
        if not named:
            raise ProofRefused("untrusted-key", "no certificate of the signer")
        ess = [self._ess(self.attributes[oid], oid == _ID_ESS_V2) for oid in (_ID_ESS_V2, _ID_ESS_V1) if oid in self.attributes]
        signer = next((c for c in named if ess and all(self._bound(c, *one) for one in ess)), None)
        if signer is None:
            raise ProofRefused(invalid, "the ESS attribute binds no certificate of the signer")
        kind, message = self.attributes.get(_ID_CONTENT_TYPE), self.attributes.get(_ID_MESSAGE_DIGEST)
        if kind is None or kind.tag != _OID or kind.oid() != _ID_TST_INFO:
            raise ProofRefused(invalid, "the attribute content type")
        if message is None or message.tag != _OCTETS or message.content != self.digest(self.info).digest():
            raise ProofRefused(invalid, "the attribute message digest")
        if not self.algorithm.verify(signer.key, self.digest, self.signed_bytes, self.signature):
            raise ProofRefused("signature-invalid", "the signature of the token does not verify")
        if not signer.may_stamp():
            raise ProofRefused(invalid, "the certificate is not one for time-stamps")
        if not self._chain(signer, list(roots)):
            raise ProofRefused("untrusted-key", "no chain to a pinned certificate")
        return self.bounds()

    def bounds(self):
        accuracy = self.accuracy or 0
        return -(-(self.time + accuracy) // 10 ** 6), (self.time - accuracy) // 10 ** 6

    @staticmethod
    def _bound(certificate, digest, expected, issuers, serial):
        return (digest(certificate.raw).digest() == expected
                and (issuers is None or (certificate.issuer in issuers and certificate.serial == serial)))

    def _chain(self, signer, roots):
        """anchors.md 14"""
        pinned = {root.raw for root in roots}
        pool = roots + [c for c in self.certificates if c.raw not in pinned]
        checks = [32]

        def valid(certificate):
            return certificate.first <= self.time // 10 ** 9 * 10 ** 9 <= certificate.last

        def leads(chain):
            last = chain[-1]
            if last.raw in pinned:
                return True
            if len(chain) == 8 or last.algorithm is None:
                return False
            for issuer in pool:
                if (issuer.subject != last.issuer or any(issuer.raw == c.raw for c in chain) or not valid(issuer)
                        or not issuer.may_issue(len(chain) - 1, issuer.raw in pinned)):
                    continue
                if checks[0] == 0:
                    return False
                checks[0] -= 1
                if last.algorithm.verify(issuer.key, hashlib.sha512, last.tbs, last.signature) and leads(chain + [issuer]):
                    return True
            return False

        return valid(signer) and leads([signer])


# ---------------------------------------------------------------------------------------------------
# OpenTimestamps (anchors.md 17-26)
# ---------------------------------------------------------------------------------------------------

_OTS_MAGIC = bytes.fromhex("004f70656e54696d657374616d7073000050726f6f6600bf89e2e884e89294") + b"\x01"
_OTS_HASHES = {0x02: ("sha1", 20), 0x03: (None, 20), 0x08: ("sha256", 32), 0x67: (None, 32)}
_OTS_PENDING, _OTS_BITCOIN = bytes.fromhex("83dfe30d2ef90c8e"), bytes.fromhex("0588960d73d71901")
_OTS_HEIGHTS = (_OTS_BITCOIN, bytes.fromhex("06869a0d73d71b45"), bytes.fromhex("30fe8087b5c7ead7"))
_OTS_ADDRESS = re.compile(rb"[A-Za-z0-9._/:-]{0,1000}").fullmatch
MAX_BITS = 0x1d00ffff
MARGIN = 7200                        # seconds


class OpenTimestamp:
    """A proof that parses. `bitcoin` lists (height, message, sound): sound if only append, prepend and SHA-256
    lead to it. RIPEMD-160 and Keccak-256 are not computed: what follows them can hold nothing anyway."""

    def __init__(self, proof):
        if len(proof) > MAX_PROOF:
            _malformed("proof longer than %d bytes" % MAX_PROOF)
        if not proof.startswith(_OTS_MAGIC):
            _malformed("not an OpenTimestamps proof of version 1")
        self.data, self.at = proof, len(_OTS_MAGIC)
        self.file_hash = self._byte()
        if self.file_hash not in (0x02, 0x03, 0x08):
            _malformed("file hash")
        self.digest = self._bytes(_OTS_HASHES[self.file_hash][1])
        self.bitcoin, self.pending, self.others = [], [], 0
        self._timestamps()
        if self.at != len(proof):
            _malformed("bytes behind the proof")

    def _byte(self):
        if self.at == len(self.data):
            _malformed("truncated")
        self.at += 1
        return self.data[self.at - 1]

    def _bytes(self, count):
        if count > len(self.data) - self.at:
            _malformed("truncated")
        self.at += count
        return self.data[self.at - count:self.at]

    def _number(self):
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 0x7f) << shift
            if not byte & 0x80:
                break
            shift += 7
            if shift > 56:
                _malformed("a number above 2^53-1")
        if value > MAX_SAFE or (byte == 0 and shift):
            _malformed("a number above 2^53-1 or not in the fewest bytes")
        return value

    def _varbytes(self, low, high):
        length = self._number()
        if not low <= length <= high:
            _malformed("bytes of length %d" % length)
        return self._bytes(length)

    def _timestamps(self):
        operations = 0
        # nodes whose items are being read: (message or None, its length, sound, depth)
        stack = [(self.digest, len(self.digest), True, 1)]
        while stack:
            node = stack.pop()
            message, length, sound, depth = node
            tag = self._byte()
            if tag == 0xff:
                stack.append(node)               # another item of this node follows this one
                tag = self._byte()
            if tag == 0x00:
                self._attestation(message, sound)
                continue
            operations += 1
            if operations > 4096 or depth == 256:
                _malformed("too many operations, or too deep")
            if tag in (0xf0, 0xf1):
                more = self._varbytes(1, 4096)
                length += len(more)
                if message is not None:
                    message = message + more if tag == 0xf0 else more + message
            elif tag == 0xf2:
                message, sound = None if message is None else message[::-1], False
            elif tag == 0xf3:
                message, length, sound = None if message is None else message.hex().encode(), 2 * length, False
            elif tag in _OTS_HASHES:
                name, length = _OTS_HASHES[tag]
                message = None if message is None or name is None else hashlib.new(name, message).digest()
                sound = sound and tag == 0x08
            else:
                _malformed("operation %02x" % tag)
            if length > 4096:
                _malformed("a message longer than 4096 bytes")
            stack.append((message, length, sound, depth + 1))

    def _attestation(self, message, sound):
        tag = self._bytes(8)
        payload = self._varbytes(0, 8192)
        after, data = self.at, self.data
        self.data, self.at = payload, 0
        if tag == _OTS_PENDING:
            address = self._varbytes(0, 1000)
            if not _OTS_ADDRESS(address):
                _malformed("address of a calendar")
            self.pending.append(address.decode("ascii"))
        elif tag in _OTS_HEIGHTS:
            height = self._number()
            if tag == _OTS_BITCOIN:
                self.bitcoin.append((height, message, sound))
            else:
                self.others += 1
        else:
            self.others += 1
            self.at = len(payload)
        if self.at != len(payload):
            _malformed("bytes behind an attestation")
        self.data, self.at = data, after

    def verify(self, digest, headers, bits_max=MAX_BITS):
        """Bounds in milliseconds since 1970: not after, not before. `headers`: height: 80 bytes"""
        if self.file_hash != 0x08 or self.digest != digest:
            raise ProofRefused("proof-invalid", "a proof about another digest")
        times = []
        for height, message, sound in self.bitcoin:
            header = headers.get(height)
            if header is None:
                continue
            check_header(header, bits_max)
            if sound and message == header[36:68]:
                times.append(int.from_bytes(header[68:72], "little"))
        if not times:
            raise ProofRefused("proof-invalid", "no attestation holds")
        return (min(times) + MARGIN) * 1000, (max(times) - MARGIN) * 1000


def _target(bits):
    mantissa, exponent = bits & 0x7fffff, bits >> 24
    if bits & 0x800000:
        return -1
    return mantissa << 8 * (exponent - 3) if exponent >= 3 else mantissa >> 8 * (3 - exponent)


def check_header(header, bits_max=MAX_BITS):
    """anchors.md 23"""
    if len(header) != 80:
        raise ProofRefused("proof-invalid", "a header of %d bytes" % len(header))
    target = _target(int.from_bytes(header[72:76], "little"))
    if target > _target(bits_max) or int.from_bytes(sha256(sha256(header)), "little") > target:
        raise ProofRefused("proof-invalid", "a header without the work that it states")


_HEADER_LINE = re.compile(rb"(0|[1-9][0-9]{0,15}) ([0-9a-f]{160})").fullmatch


def parse_headers(data):
    """anchors.md 26: height: header. Raises Refused."""
    if data and not data.endswith(b"\n"):
        raise Refused("headers: the last line does not end with a newline")
    out = {}
    for line in data.split(b"\n")[:-1]:
        if not line or line.startswith(b"#"):
            continue
        match = _HEADER_LINE(line)
        if match is None or int(match.group(1)) > MAX_SAFE:
            raise Refused("headers: a line that is not height and header")
        height = int(match.group(1))
        if height in out:
            raise Refused("headers: height %d twice" % height)
        if len(out) == 10000:
            raise Refused("headers: more than 10000")
        out[height] = bytes.fromhex(match.group(2).decode("ascii"))
    return out


# ---------------------------------------------------------------------------------------------------
# Keys of the ledger (keys.md 7-12)
# ---------------------------------------------------------------------------------------------------

def usable_log_keys(texts, origin):
    out = []
    for text in texts:
        try:
            vkey = VKey(text)
        except Refused:
            continue
        if vkey.type in (1, 6) and vkey.name == origin:
            out.append(vkey)
    return out


class LedgerKeys:
    """Replay of key events in order of index."""

    def __init__(self, origin, genesis_keys):
        self.origin = origin
        self.in_force = {}           # key ID: VKey
        self.named = {}              # (id4, type): raw key
        self.log_ids = set()
        self.authors = {}            # key ID: [PublicKey, actor, registered at, revoked at or None]
        self.revoked = {}            # key ID of a log key: smallest validUntilSize
        for vkey in self._usable(genesis_keys):
            self._name(vkey)
            self.in_force[vkey.key_id] = vkey

    def _usable(self, texts):
        out, named = [], dict(self.named)
        for vkey in usable_log_keys(texts, self.origin):
            if named.setdefault((vkey.id4, vkey.type), vkey.raw) == vkey.raw:
                out.append(vkey)
        return out

    def _name(self, vkey):
        self.named[vkey.id4, vkey.type] = vkey.raw
        self.log_ids.add(vkey.key_id)

    def author(self, key_id, actor, index):
        found = self.authors.get(key_id)
        if found and found[1] == actor and found[2] < index and (found[3] is None or index <= found[3]):
            return found[0]
        return None

    def apply(self, entry, event):
        """Returns (error or None, continuity broken, new keys)."""
        action, p = event["action"], event["payload"]
        bare = {m: v for m, v in event.items() if m != "signatures"}
        message = "\n".join(("tallystick/v1/key", self.origin, action, str(entry.index), entry.previous,
                             hashlib.sha256(jcs(bare)).hexdigest())).encode("utf-8")
        signatures = [(i["keyId"], base64_bytes(i["signature"])) for i in event.get("signatures", ())]

        def signed(key):
            if isinstance(key, VKey):
                key = key.key
            return any(i == key.key_id and key.verify(message, s) for i, s in signatures)

        def signed_in_force():
            return any(signed(v) for v in self.in_force.values())

        def one(text):
            usable = self._usable([text])
            return usable[0] if usable else None

        if action == "ledger.key.added" and p["role"] == "author":
            try:
                key = key_from_spki(p["algorithm"], base64_bytes(p["spki"]))
            except Refused as error:
                return "the SPKI is refused: %s" % error, False, ()
            if key.key_id in self.authors:
                return "the author key was registered before", False, ()
            if key.key_id in self.log_ids:
                return "the author key is a log key", False, ()
            if not signed_in_force() or not signed(key):
                return "a signature is missing or does not verify", False, ()
            self.authors[key.key_id] = [key, p["actor"], entry.index, None]
        elif action == "ledger.key.added":
            new = one(p["vkey"])
            if new is None or new.key_id in self.authors:
                return "the new log key is not usable", False, ()
            if not signed_in_force() or not signed(new):
                return "a signature is missing or does not verify", False, ()
            self._name(new)
            self.in_force[new.key_id] = new
        elif action == "ledger.key.rotated":
            old, new = one(p["old"]), one(p["new"])
            if old is None or new is None or new.key_id in self.authors:
                return "a log key is not usable", False, ()
            if old.key_id not in self.in_force:
                return "the old key is not in force", False, ()
            if not signed(old) or not signed(new):
                return "a signature is missing or does not verify", False, ()
            del self.in_force[old.key_id]
            self._name(new)
            self.in_force[new.key_id] = new
        elif action == "ledger.key.revoked" and p["role"] == "log":
            gone = one(p["vkey"])
            if gone is None:
                return "the log key is not usable", False, ()
            if not signed_in_force():
                return "a signature is missing or does not verify", False, ()
            self.in_force.pop(gone.key_id, None)
            size = p["validUntilSize"]
            self.revoked[gone.key_id] = min(size, self.revoked.get(gone.key_id, size))
        elif action == "ledger.key.revoked":
            found = self.authors.get(p["keyId"])
            if found is None or found[3] is not None:
                return "the author key is not registered, or was revoked before", False, ()
            if not signed_in_force():
                return "a signature is missing or does not verify", False, ()
            found[3] = entry.index
        else:                                                       # ledger.recovered
            new = self._usable(p["logKeys"])
            if not new or any(v.key_id in self.authors for v in new):
                return "none of the new log keys is usable", False, ()
            if not all(signed(v) for v in new):
                return "a signature is missing or does not verify", False, ()
            if all(v.key_id in self.in_force for v in new):
                return None, False, ()
            broken = not signed_in_force()
            self.in_force = {}
            for vkey in new:
                self._name(vkey)
                self.in_force[vkey.key_id] = vkey
            return None, broken, new
        return None, False, ()


# ---------------------------------------------------------------------------------------------------
# Small stores that keep memory bounded
# ---------------------------------------------------------------------------------------------------

class Repeats:
    """Finds strings that were added twice. 24 bytes each; beyond a bound they go to temporary files."""

    BUCKETS, IN_MEMORY = 64, 48 << 20

    def __init__(self):
        self.key = os.urandom(16)
        self.buckets = [bytearray() for _ in range(self.BUCKETS)]
        self.files = None
        self.held = 0

    def add(self, text, index):
        digest = hashlib.blake2b(text.encode("utf-8"), digest_size=16, key=self.key).digest()
        self.buckets[digest[0] & 63] += digest + index.to_bytes(8, "big")
        self.held += 24
        if self.held > self.IN_MEMORY:
            if self.files is None:
                self.files = [tempfile.TemporaryFile() for _ in range(self.BUCKETS)]
            for bucket, file in zip(self.buckets, self.files):
                file.write(bucket)
                bucket.clear()
            self.held = 0

    def repeated(self):
        """(later index, earlier index) in no order"""
        for number, bucket in enumerate(self.buckets):
            data = bytes(bucket)
            bucket.clear()
            if self.files is not None:
                self.files[number].seek(0)
                data = self.files[number].read() + data
                self.files[number].close()
            seen = {}
            for at in range(0, len(data), 24):
                digest, index = data[at:at + 16], data[at + 16:at + 24]
                if digest in seen:
                    yield int.from_bytes(index, "big"), int.from_bytes(seen[digest], "big")
                else:
                    seen[digest] = index


# ---------------------------------------------------------------------------------------------------
# Export (export.md)
# ---------------------------------------------------------------------------------------------------

_HEADER_RANGE = ("checkpoint", "format", "genesis", "origin", "proof", "selection")
_HEADER_FILTER = ("checkpoint", "format", "genesis", "origin", "selection")
_LINE_FORMS = {
    ("entry", "event", "salt"): "event", ("digests", "disclosed", "entry", "names"): "fields", ("entry", "erasedBy"): "erased",
}
_LINE_FORMS_FILTER = {
    ("entry", "event", "inclusion", "salt"): "event", ("digests", "disclosed", "entry", "inclusion", "names"): "fields",
    ("entry", "erasedBy", "inclusion"): "erased",
}
_LINE_FORMS_COMPLETE = dict(_LINE_FORMS)
_LINE_FORMS_COMPLETE["entry",] = "withheld"
_FORMS = {"range": _LINE_FORMS, "filter": _LINE_FORMS_FILTER, "complete": _LINE_FORMS_COMPLETE}
_CONTROL_MARK = b'\\"scheme\\":\\"control\\"'    # how scheme control looks in every canonical line


def _is_hashes(value, most):
    return type(value) is list and len(value) <= most and all(is_hex64(v) for v in value)


def _ignore(*_):
    return None


class Line:
    __slots__ = ("entry", "form", "obj", "plain", "event_bytes", "opens", "length", "bodyless_control")


class LineRefused(Exception):
    def __init__(self, code, message):
        Exception.__init__(self, message)
        self.code, self.message = code, message


def parse_line(raw, forms):
    """L1, L2 and the mark of L8. Raises LineRefused."""
    if raw is None:
        raise LineRefused("file-malformed", "a line longer than %d bytes" % MAX_LINE)
    if raw[-1] != 10:
        raise LineRefused("file-malformed", "the last line does not end with a newline")
    raw = raw[:-1]
    try:
        obj, plain = canonical(raw)
    except Refused as refused:
        raise LineRefused("file-malformed", str(refused))
    if type(obj) is not dict:
        raise LineRefused("file-malformed", "a line that is not an object")
    form = forms.get(tuple(obj))
    if form is None:
        raise LineRefused("file-malformed", "the members of a line")
    if type(obj["entry"]) is not str:
        raise LineRefused("file-malformed", "entry is not a string")
    if "inclusion" in obj and not _is_hashes(obj["inclusion"], 64):
        raise LineRefused("file-malformed", "inclusion")
    if form == "event":
        if type(obj["event"]) is not dict or not is_hex32(obj["salt"]):
            raise LineRefused("file-malformed", "event or salt")
    elif form == "fields":
        error = disclosure_error(obj)
        if error:
            raise LineRefused("file-malformed", error)
    elif form == "erased" and not is_int(obj["erasedBy"]):
        raise LineRefused("file-malformed", "erasedBy")
    try:
        entry = Entry(obj["entry"])
    except Refused as refused:
        raise LineRefused("entry-malformed", str(refused))
    line = Line()
    line.entry, line.form, line.obj, line.plain, line.length = entry, form, obj, plain, len(raw)
    line.event_bytes = None
    scheme = entry.scheme
    line.bodyless_control = scheme == "control" and form != "event"
    if line.bodyless_control:
        return line
    if form == "event":
        if scheme == "fields":
            raise LineRefused("file-malformed", "a line with event and an entry of scheme fields")
        # The line is canonical, so JCS(event) stands in it between what is known before and after it.
        # 20 quotes of an entry text are escaped.
        tail = 43
        if "inclusion" in obj:
            count = len(obj["inclusion"])
            tail += 15 + (67 * count - 1 if count else 0)
        line.event_bytes = raw[40 + len(entry.text):-tail]
        line.opens = raw.count(b"{") + raw.count(b"[")
    elif form == "fields":
        if scheme != "fields":
            raise LineRefused("file-malformed", "a disclosure and an entry of scheme event")
        length = _HASH_HEX[entry.hash_name]
        if any(len(d) != length for d in obj["digests"].values()):
            raise LineRefused("file-malformed", "a digest of wrong length")
        line.opens = 0
    elif form == "erased" and obj["erasedBy"] <= entry.index:
        raise LineRefused("file-malformed", "erasedBy is not above the own index")
    return line


class Filter:
    """What a selection of kind `complete` was asked for (export.md 9-11). Raises Refused."""

    def __init__(self, value):
        if not value or not all(name in self._MEMBERS for name in value):
            raise Refused("filter: members")
        self.first = self.until = None
        self.conditions = []         # (fields shown, names of fields withheld): True, False, or None for unknown
        for name, wanted in value.items():
            self._MEMBERS[name](self, name, wanted)

    def judge(self, time, body):
        """True for a member, False for none, None for an open line. `body` is None where it is withheld or erased."""
        if (self.first is not None and time < self.first) or (self.until is not None and time >= self.until):
            return False
        if body is None:
            return None if self.conditions else True
        if body.event is not None:
            shown, hidden = cut_fields(body.event), {}
        else:
            shown, hidden = {name: pair[1] for name, pair in body.disclosed.items()}, body.digests
        answer = True
        for condition in self.conditions:
            one = condition(shown, hidden)
            if one is False:
                return False
            if one is None:
                answer = None
        return answer

    def _times(self, name, wanted):
        if not is_time(wanted):
            raise Refused("filter: %s is not a time" % name)
        if name == "from":
            self.first = wanted
        else:
            self.until = wanted

    def _action(self, name, wanted):
        if type(wanted) is not str or _check_action(wanted[:-2] if wanted.endswith(".*") else wanted):
            raise Refused("filter: action")
        if wanted.endswith(".*"):
            self._field(name, lambda value: type(value) is str and value.startswith(wanted[:-1]))
        else:
            self._field(name, lambda value: value == wanted)

    def _text(self, name, wanted):
        if type(wanted) is not str:
            raise Refused("filter: %s is not a string" % name)
        if name == "actor":
            self._field(name, lambda value: actor_id(value) == wanted)
        elif name == "target":
            self._field("targets", lambda value: type(value) is list and any(
                type(target) is dict and target.get("id") == wanted for target in value))
        elif name == "correlation":
            self.conditions.append(lambda shown, hidden: _in_context(shown, hidden, wanted))
        else:
            self._field(name, lambda value: value == wanted)

    def _field(self, name, holds):
        self.conditions.append(lambda shown, hidden: (
            bool(holds(shown[name])) if name in shown else None if name in hidden else False))

    def _where(self, name, wanted):
        if type(wanted) is not dict or not 1 <= len(wanted) <= 32:
            raise Refused("filter: where")
        for path, value in wanted.items():
            if not 1 <= byte_length(path) <= 1024 or path.endswith(".") or path in _CUT:
                raise Refused("filter: path %s" % show(path, 60))
            self.conditions.append(_path_condition(path, jcs_text(value)))

    _MEMBERS = {"from": _times, "to": _times, "action": _action, "type": _text, "outcome": _text, "actor": _text,
                "target": _text, "correlation": _text, "where": _where}


def cut_fields(event):
    """commitment.md 3: name of each field and its value"""
    out = {}
    for name, value in event.items():
        if name in _CUT and type(value) is dict and value:
            for member, inner in value.items():
                out[name + "." + member] = inner
        else:
            out[name] = value
    return out


def _in_context(shown, hidden, wanted):
    if any(value == wanted and name.startswith("context.") for name, value in shown.items()):
        return True
    return None if any(name == "context" or name.startswith("context.") for name in hidden) else False


def _path_condition(path, wanted):
    fields = [(path, None)] + [(path[:at], path[at + 1:]) for at in range(len(path)) if path[at] == "."]

    def condition(shown, hidden):
        if any(name in shown and _leads(shown[name], rest, wanted) for name, rest in fields):
            return True
        return None if any(name in hidden for name, _ in fields) else False

    return condition


_POSITION = re.compile(r"(0|[1-9][0-9]{0,15})(?:\.(.*))?", re.DOTALL).fullmatch


def _leads(value, rest, wanted):
    """Does the rest of a path lead from here to a value of this canonical form? (export.md 10) Each node of the
    value has one way to it, so this takes no more steps than the value has nodes."""
    if rest is None:
        return jcs_text(value) == wanted
    if type(value) is dict:
        for name, inner in value.items():
            if rest == name:
                if _leads(inner, None, wanted):
                    return True
            elif rest.startswith(name + ".") and _leads(inner, rest[len(name) + 1:], wanted):
                return True
    elif type(value) is list:
        match = _POSITION(rest)
        if match and int(match.group(1)) < len(value):
            return _leads(value[int(match.group(1))], match.group(2), wanted)
    return False


class Item:
    """An item of an erasure in effect."""
    __slots__ = ("erasure", "index", "leaf", "fields", "held", "void", "seen")


class Export:
    def __init__(self, source, reader):
        self.source, self.policy, self.pin, self.held = source, reader.policy, reader.pin, reader.held
        self.report = Report("export", self.policy, self.pin)
        self.add = self.report.add
        self.asked = None            # the Filter of kind complete
        self.held_size = None if self.held is None else self.held.size
        self.wanted, self.times = (), {}         # entries whose times are asked for, and these
        self.checkpoint, self.stopped = None, True

    # -- header -------------------------------------------------------------------------------------

    def verify(self, first, parsed):
        report = self.report
        try:
            error = self._header_shape(first, parsed)
            if error:
                self.add("file-malformed", error)
                return report.stop("the header is malformed")
            header = parsed[0]
            try:
                self.checkpoint = checkpoint = Checkpoint(header["checkpoint"].encode("utf-8"))
            except Refused as refused:
                self.add("checkpoint-malformed", str(refused))
                return report.stop("the checkpoint is malformed")
            report.origin, report.size, report.root = checkpoint.origin, checkpoint.size, checkpoint.root.hex()
            selection = header["selection"]
            self.first, self.last, self.kind = selection["first"], selection["last"], selection["kind"]
            self.filter = self.kind == "filter"
            if not self.first <= self.last < checkpoint.size:
                self.add("file-malformed", "not first <= last < size: %d, %d, %d" % (self.first, self.last, checkpoint.size))
                return report.stop("the header is malformed")
            self.prefix = not self.filter and self.first == 0
            self.whole = self.prefix and self.last == checkpoint.size - 1
            self.stopped = False
            report.selected = self.kind
            if not self.whole:
                report.range = [self.first, self.last]
                report.inconclusive = True
            self.proof = [bytes.fromhex(h) for h in header["proof"]] if not self.filter else None
            self._header(header)
            digest = self._first_pass()
            if self._second_pass() != digest:
                raise Unreadable("storage-io", "the file changed while it was read", "UnavailableError")
            self._verdicts()
            return report.finish()
        finally:
            self.source = None

    def _header_shape(self, first, parsed):
        if len(first) > MAX_LINE:
            return "the first line is longer than %d bytes" % MAX_LINE
        if not first.endswith(b"\n"):
            return "the first line does not end with a newline"
        if type(parsed) is not tuple:
            return parsed
        header = parsed[0]
        if type(header) is not dict:
            return "the header is no object"
        names = tuple(header)
        if names not in (_HEADER_RANGE, _HEADER_FILTER):
            return "the members of the header"
        if header["format"] != EXPORT_FORMAT:
            return "format " + show(header["format"], 60)
        if type(header["checkpoint"]) is not str or type(header["origin"]) is not str:
            return "checkpoint or origin is not a string"
        selection = header["selection"]
        if not _is_proved_entry(header["genesis"]):
            return "genesis"
        if type(selection) is not dict:
            return "selection"
        kind = selection.get("kind")
        if kind == "range":
            if not _shape(selection, ("first", "kind", "last")):
                return "selection"
        elif kind in ("filter", "complete"):
            if not _shape(selection, ("filter", "first", "kind", "last")) or type(selection["filter"]) is not dict:
                return "selection"
            if kind == "complete":
                try:
                    self.asked = Filter(selection["filter"])
                except Refused as refused:
                    return str(refused)
        else:
            return "selection: kind"
        if not is_int(selection["first"]) or not is_int(selection["last"]):
            return "selection: indexes"
        if ("proof" in header) != (kind != "filter"):
            return "proof goes with the kinds range and complete"
        if kind != "filter" and not _is_hashes(header["proof"], 126):
            return "proof"
        return None

    def _header(self, header):
        checkpoint, add = self.checkpoint, self.add
        if header["origin"] != checkpoint.origin:
            add("origin-mismatch", "the header names another origin than the checkpoint", None, checkpoint.origin, show(header["origin"]))
        genesis = header["genesis"]
        problem, entry, payload = None, None, None
        try:
            entry = Entry(genesis["entry"])
        except Refused as refused:
            problem = str(refused)
        if entry is not None:
            bad = []
            event_bytes = jcs(genesis["event"])
            body = check_body(lambda code, message, *_: bad.append(message), entry, genesis, False, event_bytes, 0, 65)
            payload = genesis["event"].get("payload")
            if entry.index != 0:
                problem = "its index is not 0"
            elif entry.previous != ZEROS:
                problem = "its previous is not 64 zeros"
            elif entry.scheme != "control" or body.action != "ledger.genesis":
                problem = "not a ledger.genesis of scheme control"
            elif bad:
                problem = bad[0]
            elif payload["origin"] != checkpoint.origin:
                problem = "its origin is %s" % show(payload["origin"])
            elif payload["commitmentHash"] != entry.hash_name:
                problem = "its entry names another hash than its commitmentHash"
            elif not usable_log_keys(payload["logKeys"], checkpoint.origin):
                problem = "none of its log keys is usable"
        self.genesis_ok = problem is None
        leaf = leaf_hash(genesis["entry"].encode("utf-8"))
        if self.pin == "self-asserted":
            if self.genesis_ok:
                self.policy = Policy.self_asserted(usable_log_keys(payload["logKeys"], checkpoint.origin))
            else:
                self.report.inconclusive = True
        policy = self.policy
        self.acceptance = None
        if policy is not None:
            self.acceptance = Acceptance(checkpoint, policy)
            if self.acceptance.problem:
                add(*self.acceptance.problem)
        if problem:
            add("genesis-malformed", "genesis of the header: " + problem, 0)
        root = inclusion_root(leaf, 0, checkpoint.size, [bytes.fromhex(h) for h in genesis["inclusion"]])
        if root != checkpoint.root:
            add("proof-invalid", "the inclusion proof of genesis does not give the root of the checkpoint", 0,
                checkpoint.root.hex(), root.hex() if root else None)
        if policy is not None and policy.genesis is not None and policy.genesis != leaf.hex():
            add("genesis-mismatch", "entry 0 is not the pinned one", 0, policy.genesis, leaf.hex(), "pinned genesis")
        self.genesis_hash = payload["commitmentHash"] if self.genesis_ok else None
        self.keys = self.rules = None
        if self.genesis_ok and self.prefix:
            self.keys = LedgerKeys(checkpoint.origin, payload["logKeys"])
            self.rules = [(1, payload["rules"]["requireSignature"])]

    # -- lines --------------------------------------------------------------------------------------

    def _lines(self, digest):
        """Lines after the header; None for one that is too long."""
        source = self.source
        source.seek(0)
        readline, update = source.readline, digest.update
        first = True
        while True:
            raw = readline(MAX_LINE + 1)
            if not raw:
                return
            update(raw)
            if len(raw) > MAX_LINE:
                rest = raw
                while rest and rest[-1] != 10:
                    rest = readline(1 << 20)
                    update(rest)
                raw = None
            if first:
                first = False
            else:
                yield raw

    # First pass: only events of scheme control, to know what they say before their targets are read.

    def _first_pass(self):
        digest = hashlib.sha256()
        forms = _FORMS[self.kind]
        found = []
        for raw in self._lines(digest):
            if raw is None or _CONTROL_MARK not in raw:
                continue
            try:
                line = parse_line(raw, forms)
            except LineRefused:
                continue
            entry = line.entry
            if entry.scheme != "control" or line.bodyless_control:
                continue
            body = check_body(_ignore, entry, line.obj, line.plain, line.event_bytes, line.length, line.opens)
            if body.commitment_ok and body.grammar_ok and body.control_ok:
                found.append((entry, body.event))
        found.sort(key=lambda pair: pair[0].index)
        self._replay(found)
        return digest.digest()

    def _replay(self, events):
        add, policy = self.add, self.policy
        self.items = {}              # index of the target: [Item]
        self.signed_ids = {}         # signedId: [Item]
        self.sealed_at = None
        holds, used = {}, set()      # holds in force: name: (first, last)
        check_keys = self.keys is not None and self.pin != "none"
        for entry, event in events:
            index, action, p = entry.index, event["action"], event["payload"]
            if action == "ledger.genesis":
                if index != 0:
                    add("genesis-malformed", "a ledger.genesis at another index than 0", index)
            elif action == "ledger.rules.changed":
                if self.rules is not None:
                    new = p["rules"]["requireSignature"]
                    if self.rules[-1][1] and not new:
                        pinned = self.pin == "policy" and not policy.require_signature
                        if not pinned:
                            add("rules-weakened", "requireSignature is switched off", index)
                    self.rules.append((index + 1, new))
            elif action == "ledger.erasure":
                for item in p["entries"]:
                    if item["index"] >= index:
                        add("erasure-void", "an item names entry %d, which is not below the erasure" % item["index"], index)
                        continue
                    made = Item()
                    made.erasure, made.index, made.leaf = index, item["index"], item["leaf"]
                    made.fields = frozenset(item["fields"]) if "fields" in item else None
                    made.void = made.seen = False
                    made.held = self.prefix and any(a <= made.index <= b for a, b in holds.values())
                    self.items.setdefault(made.index, []).append(made)
                    for signed_id in item.get("signedIds", ()):
                        self.signed_ids.setdefault(signed_id, []).append(made)
            elif action == "ledger.hold.placed":
                if self.prefix:
                    if p["hold"] in used:
                        add("control-malformed", "the hold %s was used before" % show(p["hold"], 80), index)
                    else:
                        used.add(p["hold"])
                        holds[p["hold"]] = p["first"], p["last"]
            elif action == "ledger.hold.released":
                if self.prefix and holds.pop(p["hold"], None) is None:
                    add("control-malformed", "the hold %s is not in force" % show(p["hold"], 80), index)
            elif action == "ledger.anchor":
                if p["size"] > index:
                    add("control-malformed", "an anchored size above the index of the event", index)
            elif action == "ledger.epoch.sealed":
                if self.sealed_at is None:
                    self.sealed_at = index
            elif check_keys:
                error, broken, new = self.keys.apply(entry, event)
                if error:
                    add("key-event-invalid", "%s: %s" % (action, error), index)
                elif broken and not any(v.raw == log.raw for v in new for log in policy.logs.values()):
                    add("key-continuity-broken", "the log keys were replaced without a signature of the old ones", index)
        if check_keys and self.acceptance is not None and self.acceptance.accepted:
            size = self.checkpoint.size
            if all(self.keys.revoked.get(v.key_id, size) < size for v in self.acceptance.signers):
                add("key-disowned", "every log key that signed the checkpoint was revoked below its size")

    def _rule(self, index):
        """Is a signature required by the rules in force at this index?"""
        if self.rules is None:
            return False
        value = False
        if len(self.rules) == 1:
            return self.rules[0][1] and index >= 1
        for start, rule in self.rules:
            if start > index:
                break
            value = rule
        return value

    # Second pass: every line.

    def _second_pass(self):
        report, add, policy, pin = self.report, self.add, self.policy, self.pin
        digest = hashlib.sha256()
        is_filter, first, last = self.filter, self.first, self.last
        forms = _FORMS[self.kind]
        expected = first
        sound = not is_filter        # L1-L3 had no finding
        before = None                # (index, leaf hash in hex, time) of the line before
        tree = None if is_filter else RangeRoot(first, self.proof)
        limit = latest_time(self.acceptance)
        size, root = self.checkpoint.size, self.checkpoint.root
        genesis_hash = self.genesis_hash
        items_by_index, sealed_at = self.items, self.sealed_at
        sealed_reported = False
        ids = Repeats()
        self.counters, self.gaps = {}, []            # largest counter of each source
        replays = {}                 # signedId: indexes of the events that give it
        pending = {}                 # erasedBy that is no erasure of this line: indexes of the lines
        self.outside = 0
        self.withheld = self.withheld_bodies = 0
        asked = self.asked
        self.judged, self.open_erased = {True: 0, False: 0, None: 0}, 0
        self.undecided = 0
        self.signed_pinned = self.signed_ledger = 0
        self.unknown_keys, self.author_notes = {}, {}
        asks = policy is not None and policy.require_signature
        rules = self.rules if self.rules is not None and (len(self.rules) > 1 or self.rules[0][1]) else None
        lines = erased = erased_fields = 0
        held = self.held_size if self.whole else None
        self.held_root = None
        wanted, times = self.wanted, self.times
        for raw in self._lines(digest):
            lines += 1
            try:
                line = parse_line(raw, forms)
            except LineRefused as refused:
                add(refused.code, refused.message, None if is_filter else expected)
                if not is_filter:
                    expected += 1
                sound, before = False, None
                continue
            entry, form = line.entry, line.form
            index = entry.index
            # L3
            if index == expected and index <= last:
                expected = index + 1
            elif index < expected or index > last:
                sound = False
                add("index-mismatch", "an entry at another place than its index", index,
                    "an index above the one before, up to %d" % last if is_filter else "index %d" % expected, "index %d" % index)
            else:
                if not is_filter:
                    sound = False
                    add("entry-missing", "entries %d to %d have no line" % (expected, index - 1), expected)
                expected = index + 1
            leaf = hashlib.sha256(b"\x00" + entry.text.encode("ascii")).digest()
            leaf_hex = leaf.hex()
            if sound:
                tree.add(leaf)
                if expected == held:
                    self.held_root = tree.root_here()
            # L4
            if genesis_hash is not None and not entry.commitment.startswith(genesis_hash + ":"):
                add("commitment-mismatch", "the entry names another hash than genesis", index, genesis_hash, entry.hash_name)
            # L5-L8
            body = None
            if line.bodyless_control:
                add("control-body-missing", "an entry of scheme control without its event", index)
                if form == "erased":
                    erased += 1
            elif form != "erased" and form != "withheld":
                body = check_body(add, entry, line.obj, line.plain, line.event_bytes, line.length, line.opens)
            if index == 0 and body is not None and (entry.scheme != "control" or body.action != "ledger.genesis"):
                add("genesis-malformed", "entry 0 is not a ledger.genesis of scheme control", 0)     # S1
            elif index == 0 and form in ("erased", "withheld") and entry.scheme != "control":
                add("genesis-malformed", "entry 0 is not a ledger.genesis of scheme control", 0)
            # L9, L10
            if index == 0:
                if entry.previous != ZEROS:
                    add("previous-mismatch", "previous of entry 0 is not 64 zeros", 0, ZEROS, entry.previous)
            elif before is not None and before[0] == index - 1 and entry.previous != before[1]:
                add("previous-mismatch", "previous is not the leaf hash of the entry before", index, before[1], entry.previous)
            if before is not None and entry.time < before[2]:
                add("time-backwards", "the time is before that of the entry before", index, "at least " + before[2], entry.time)
            before = index, leaf_hex, entry.time
            if index in wanted:
                times[index] = entry.time
            # L11
            if limit is not None and entry.time > limit:
                add("time-after-evidence", "the entry time is more than 300 s after the witness time", index, "at most " + limit, entry.time,
                    "cosignatures of the checkpoint of size %d" % size)
            # L12
            if is_filter:
                got = inclusion_root(leaf, index, size, [bytes.fromhex(h) for h in line.obj["inclusion"]])
                if got != root:
                    add("proof-invalid", "the inclusion proof does not give the root of the checkpoint", index, root.hex(), got.hex() if got else None)
            # S7
            if sealed_at is not None and index > sealed_at and not sealed_reported:
                sealed_reported = True
                add("after-seal", "an entry after the ledger.epoch.sealed at %d" % sealed_at, index)
            # S2, S4, S5, S8
            effective = ()
            if items_by_index:
                effective = items_by_index.get(index, ())
                if effective:
                    effective = self._erasures(effective, line, leaf_hex)
            # S3
            if form == "erased" and not line.bodyless_control:
                erased += 1
                by = line.obj["erasedBy"]
                if not any(item.erasure == by and item.fields is None for item in effective):
                    if by > last:
                        self.outside += 1
                    else:
                        pending.setdefault(by, array("Q")).append(index)
            if pending:
                for target in pending.pop(index, ()):
                    add("body-missing", "erasedBy names entry %d, which is no erasure in effect of this entry" % index, target)
            if asked is not None:
                answer = asked.judge(entry.time, body)
                self.judged[answer] += 1
                if answer is None and form == "erased":
                    self.open_erased += 1
            if body is None:
                if form == "withheld" and entry.scheme != "control":
                    self.withheld_bodies += 1
                    if asks or (rules is not None and self._rule(index)):
                        self.undecided += 1
                continue
            # L14, S6, S14-S16 read the members that are visible
            if body.event is not None:
                event = body.event
                event_id = event.get("id")
            else:
                if body.digests:
                    hidden = len(body.digests)
                    for item in effective:
                        if item.fields is not None:
                            named = sum(name in item.fields for name in body.digests)
                            hidden -= named
                            erased_fields += named
                    self.withheld += max(hidden, 0)
                event = None
                event_id = body.disclosed["id"][1] if "id" in body.disclosed else None
            if type(event_id) is str:
                ids.add(event_id, index)
            if entry.scheme == "control":
                continue
            has_signatures = "signatures" in (event if event is not None else body.names)
            if has_signatures and self.signed_ids and type(event_id) is str:
                self._replayed(event, body, event_id, index, replays)
            needs = asks or (rules is not None and self._rule(index))
            if not has_signatures and not needs:
                continue
            self._author(entry, body, has_signatures, needs)

        # L13
        if not is_filter:
            if expected <= last:
                sound = False
                add("entry-missing", "entries %d to %d have no line" % (expected, last), expected)
            if not sound:
                self.held_root = None
            else:
                got = tree.root(size)
                if got != root:
                    if self.whole:
                        add("checkpoint-root", "the entries do not give the root of the checkpoint", None, root.hex(),
                            got.hex() if got else None, "checkpoint of size %d" % size)
                    else:
                        add("proof-invalid", "the range proof does not give the root of the checkpoint", None, root.hex(),
                            got.hex() if got else None, "checkpoint of size %d" % size)
        for later, earlier in ids.repeated():
            add("id-repeated", "its id stands in entry %d too" % earlier, later)
        replayed = set()
        for signed_id, indexes in replays.items():
            items = [item for item in self.signed_ids[signed_id] if not item.void]
            # Of two entries, one is another than that of the event.
            other = [next((item for item in items if item.index != items[0].index), None)] if items else []
            for index in indexes:
                for item in items[:1] + other:
                    if item is not None and item.index != index and index not in replayed:
                        replayed.add(index)
                        add("id-repeated", "the replay of a signed event that the erasure at %d erased" % item.erasure, index,
                            evidence="erasure at %d" % item.erasure)
        if self.prefix:              # S8 for targets without a line
            for items in items_by_index.values():
                for item in items:
                    if item.held and not item.seen and not item.void:
                        add("erased-under-hold", "the erasure at %d names an entry under a hold" % item.erasure, item.index)
        for indexes in pending.values():
            self.outside += len(indexes)
        for source, largest, counter, at in self.gaps:
            add("source-gap", "source %s: counter %d after %d (%d entries are erased)" % (show(source, 80), counter, largest, erased), at)
        report.checked = lines
        report.erased = {"entries": erased, "fields": erased_fields}
        return digest.digest()

    def _erasures(self, items, line, leaf_hex):
        """Judges the items that name this entry (S2); reports S4, S5, S8. Returns those in effect."""
        add, entry = self.add, line.entry
        effective = []
        for item in items:
            error = None
            if item.leaf != leaf_hex:
                error = "another leaf hash"
            elif entry.scheme == "control":
                error = "an entry of scheme control"
            elif item.fields is not None:
                if entry.scheme != "fields":
                    error = "fields of an entry that has none"
                elif line.form == "fields" and not item.fields.issubset(line.obj["names"]):
                    error = "a field that the entry does not have"
            if error:
                if not item.void:
                    add("erasure-void", "the item for entry %d: %s" % (item.index, error), item.erasure)
                item.void = True
                continue
            effective.append(item)
            if item.held and not item.seen:
                add("erased-under-hold", "the erasure at %d names an entry under a hold" % item.erasure, entry.index,
                    evidence="erasure at %d" % item.erasure)
            item.seen = True
            if line.form in ("event", "fields"):
                if item.fields is None:
                    add("body-after-erasure", "the erasure at %d names this body, which is still there" % item.erasure, entry.index,
                        evidence="erasure at %d" % item.erasure)
                elif line.form == "fields":
                    for name in line.obj["disclosed"]:
                        if name in item.fields:
                            add("field-after-erasure", "the erasure at %d names the field %s, which is still there"
                                % (item.erasure, show(name, 80)), entry.index, evidence="erasure at %d" % item.erasure)
        return effective

    def _replayed(self, event, body, event_id, index, replays):
        if event is not None:
            signatures = event["signatures"]
        elif "signatures" in body.disclosed:
            signatures = body.disclosed["signatures"][1]
        else:
            return
        if _check_signatures(signatures):
            return
        for signature in signatures:
            preimage = ("tallystick/v1/id\n" + signature["keyId"] + "\n" + event_id).encode("utf-8")
            signed_id = hashlib.sha256(preimage).hexdigest()
            if signed_id in self.signed_ids:
                replays.setdefault(signed_id, array("Q")).append(index)

    def _author(self, entry, body, has_signatures, needs):
        """S14-S16 for one entry of scheme event or fields."""
        add, index, action = self.add, entry.index, body.action
        if needs:
            if action is WITHHELD:
                needs = None
            elif type(action) is str and action.startswith("ledger."):
                needs = False
        if not has_signatures:
            if needs:
                add("signature-required", "an event without the author signature that policy or rules ask for", index)
            elif needs is None:
                self.undecided += 1
            return
        if self.pin == "none":
            self.author_notes["author signatures: no policy is pinned"] = True
            return
        if self.policy is None:      # self-asserted, and genesis is malformed
            return
        prefix = self.prefix and self.keys is not None
        result = author_signatures(self.checkpoint.origin, entry, body, self.policy, self.keys.author if prefix else None, prefix)
        for code, message in result.findings:
            add(code, message, index)
        if result.note:
            self.author_notes[result.note] = self.author_notes.get(result.note, 0) + 1
        for key_id in result.unknown:
            if key_id in self.unknown_keys or len(self.unknown_keys) < 100:
                self.unknown_keys[key_id] = self.unknown_keys.get(key_id, 0) + 1
        self.signed_pinned += result.pinned
        self.signed_ledger += result.counted - result.pinned
        if result.counted:
            if self.whole and self.asked is None:
                source = body.event.get("source") if body.event is not None else (
                    body.disclosed["source"][1] if "source" in body.disclosed else None)
                if source is not None and _check_source(source) is None:
                    name, counter = source["id"], source["counter"]
                    largest = self.counters.get(name, counter - 1)
                    if counter <= largest:
                        add("source-repeated", "source %s: counter %d after %d" % (show(name, 80), counter, largest), index)
                    else:
                        if counter > largest + 1:
                            self.gaps.append((name, largest, counter, index))
                        self.counters[name] = counter
        elif needs is not False and not result.findings:
            self.undecided += 1

    # -- verdicts -----------------------------------------------------------------------------------

    def _verdicts(self):
        report, policy = self.report, self.policy
        unchecked = report.unchecked
        if self.outside:
            report.inconclusive = True
            report.set("integrity", "notEstablished", "the erasure of %d bodies is outside the selection" % self.outside)
            unchecked["integrity"].append("%d erased bodies whose erasure is outside the selection" % self.outside)
        else:
            report.set("integrity", "pass", "commitments, bodies and proofs")
        if self.withheld:
            unchecked["integrity"].append("%d withheld fields" % self.withheld)
        if self.withheld_bodies:
            unchecked["integrity"].append("%d withheld bodies" % self.withheld_bodies)
        if not self.prefix:
            unchecked["integrity"].append("holds: the export does not begin with entry 0")
        report.set("order", "pass", "only neighbours are linked: kind filter" if self.filter else "indexes, links and times of all lines")
        if policy is None:
            report.set("authenticity", "notEstablished", "no policy is pinned, so no signature was checked")
        else:
            basis = ("the checkpoint is signed by the keys that the evidence itself names: self-asserted" if self.pin == "self-asserted"
                     else "the checkpoint is signed under the pinned policy")
            if policy.genesis is None:
                basis += "; genesis not pinned"
            if self.signed_pinned:
                basis += "; %d author signatures by pinned keys" % self.signed_pinned
            if self.signed_ledger:
                basis += "; %d author signatures by keys that only the ledger names (self-asserted)" % self.signed_ledger
            if self.undecided:
                report.inconclusive = True
                report.set("authenticity", "notEstablished", "%d events may need an author signature and none could be verified" % self.undecided)
            else:
                report.set("authenticity", "pass", basis)
        for note, count in self.author_notes.items():
            unchecked["authenticity"].append(note + ("" if count is True else " (%d entries)" % count))
        for key_id, count in self.unknown_keys.items():
            unchecked["authenticity"].append("%d signatures by the key %s, which the policy does not name for their actor and index" % (count, key_id))
        if not self.prefix:
            unchecked["authenticity"].append("key events and rules of the ledger: the export does not begin with entry 0")
        elif self.keys is None:
            unchecked["authenticity"].append("key events and rules of the ledger: genesis is malformed")
        elif self.pin == "none":
            unchecked["authenticity"].append("signatures of key events: no policy is pinned")
        opened = self.judged[None]
        if self.asked is not None:
            report.counts = "the filter: %d members, %d no members, %d open, of these %d erased" % (
                self.judged[True], self.judged[False], opened, self.open_erased)
        if opened:
            report.inconclusive = True
            unchecked["completeness"].append("%d lines that may be members: what the filter reads is not there" % opened)
        if self.whole and opened:
            report.set("completeness", "notEstablished", "every entry of the tree is here, but for %d the filter cannot be answered" % opened)
        elif self.whole:
            report.set("completeness", "pass", "every entry of the tree is here and gives its root"
                       + (", and the filter is answered for each" if self.asked is not None else ""))
        elif self.filter:
            report.set("completeness", "notEstablished", "members proved, completeness asserted")
        else:
            report.set("completeness", "notEstablished", "the selection itself is complete, checked; it is not the whole ledger")
        if not self.whole or self.asked is not None:
            unchecked["completeness"].append("counters of sources: not a whole ledger")
        elif self.pin == "none":
            unchecked["completeness"].append("counters of sources: they count in signed events only, and no policy is pinned")
        outside_verdicts(report, policy, self.acceptance)
        compare_held(report, self.held, self.checkpoint.origin, self._root_at)

    def _root_at(self, size):
        if self.held_root is not None:
            return self.held_root
        return self.checkpoint.root if size == self.checkpoint.size and not self.whole else None


# ---------------------------------------------------------------------------------------------------
# Evidence package: the ZIP (evidence-package.md 2-6, K1-K3)
# ---------------------------------------------------------------------------------------------------

MAX_ZIP = 4294967294
MAX_MEMBER = 16777216
_MEMBER_LIMITS = {"entries.jsonl": MAX_ZIP, "report.html": 67108864, "anchors/headers": 2097152}
_ZIP_NAME = re.compile(rb"[a-z0-9._/-]{1,100}").fullmatch


class PackageRefused(Exception):
    """Stage A: the reason that stands in `found` (evidence-package.md, K1-K8)."""

    def __init__(self, reason, message, code="package-malformed", expected=None, evidence=None):
        Exception.__init__(self, message)
        self.reason, self.message, self.code, self.expected, self.evidence = reason, message, code, expected, evidence


class Member:
    """What the headers say of a member, and where its data are."""
    __slots__ = ("name", "method", "crc", "packed", "size", "start")


class Zip:
    """Looks at every header before any content. `members` by name, in order."""

    def __init__(self, source):
        self.source = source
        total = source.seek(0, os.SEEK_END)
        if not 22 <= total <= MAX_ZIP:
            raise PackageRefused("zip-end", "a ZIP file of %d bytes" % total)
        end = total - 22
        record = self._at(end, 22)
        signature, disk, start_disk, here, count, length, start, comment = struct.unpack("<4sHHHHIIH", record)
        if (signature != b"PK\x05\x06" or disk or start_disk or comment or here != count or not 5 <= count <= 4096
                or start + length != end):
            raise PackageRefused("zip-end", "the end record")
        self.members = {}
        central = self._central(self._at(start, length), count)
        self._local(central, start)

    def _at(self, offset, length):
        self.source.seek(offset)
        data = self.source.read(length)
        if len(data) != length:
            raise OSError(0, "the file became shorter")
        return data

    def _central(self, data, count):
        """K2: (member, offset of its local header) in order"""
        out, at, total = [], 0, 0
        for _ in range(count):
            if at + 46 > len(data):
                raise PackageRefused("zip-central", "a central header beyond the end record")
            (signature, made, needed, flags, method, time, date, crc, packed, size, name_length, extra, comment, disk, internal, external,
             offset) = struct.unpack_from("<4sHHHHHHIIIHHHHHII", data, at)
            if (signature, made, needed, flags, time, date, extra, comment, disk, internal, external) != (b"PK\x01\x02", 20, 20, 0, 0, 33, 0, 0, 0, 0, 0):
                raise PackageRefused("zip-central", "a central header")
            if method not in (0, 8) or (method == 0 and packed != size):
                raise PackageRefused("zip-method", "method %d" % method)
            if not 1 <= name_length <= 100:
                raise PackageRefused("zip-name", "a name of %d bytes" % name_length)
            name = data[at + 46:at + 46 + name_length]
            if len(name) != name_length:
                raise PackageRefused("zip-central", "a central header beyond the end record")
            if not _ZIP_NAME(name) or any(part in (b"", b".", b"..") for part in name.split(b"/")):
                raise PackageRefused("zip-name", "the name %s" % show(name.decode("latin-1")))
            member = Member()
            member.name = name.decode("ascii")
            if member.name in self.members:
                raise PackageRefused("zip-duplicate", "the name %s twice" % member.name)
            member.method, member.crc, member.packed, member.size = method, crc, packed, size
            total += size
            if size > _MEMBER_LIMITS.get(member.name, MAX_MEMBER) or size > 200 * packed + 1024 or total > MAX_ZIP:
                raise PackageRefused("zip-limit", "%s of %d bytes" % (member.name, size))
            self.members[member.name] = member
            out.append((member, offset))
            at += 46 + name_length
        if at != len(data):
            raise PackageRefused("zip-central", "bytes behind the last central header")
        return out

    def _local(self, central, start):
        """K3"""
        at = 0
        for member, offset in central:
            name = member.name.encode("ascii")
            header = struct.pack("<4sHHHHHIIIHH", b"PK\x03\x04", 20, 0, member.method, 0, 33, member.crc, member.packed, member.size, len(name), 0) + name
            if offset != at or at + len(header) > start:
                raise PackageRefused("zip-layout", "the place of %s" % member.name)
            if self._at(at, len(header)) != header:
                raise PackageRefused("zip-local", "the local header of %s" % member.name)
            member.start = at + len(header)
            at = member.start + member.packed
        if at != start:
            raise PackageRefused("zip-layout", "the data of the last member do not end where the central headers begin")

    def blocks(self, member):
        """The content in pieces; never more than its size. Raises PackageRefused at the end, or before."""
        bad = PackageRefused("zip-data", "%s does not unpack to its size" % member.name)
        at, left, produced, crc = member.start, member.packed, 0, 0
        inflate = zlib.decompressobj(-15) if member.method == 8 else None
        pending, done = b"", False
        while not done:
            if not pending and left:
                pending = self._at(at, min(left, 1 << 18))
                at, left = at + len(pending), left - len(pending)
            if inflate is None:
                block, pending, done = pending, b"", not left
            else:
                fed = bool(pending)
                try:
                    block = inflate.decompress(pending, 1 << 20)
                except zlib.error:
                    raise bad
                pending, done = inflate.unconsumed_tail, inflate.eof
                if not done and not block and not fed:
                    raise bad                            # truncated
            produced += len(block)
            if produced > member.size:
                raise bad
            if block:
                crc = zlib.crc32(block, crc)
                yield block
        if produced != member.size or left or pending or (inflate is not None and inflate.unused_data):
            raise bad
        if crc != member.crc:
            raise PackageRefused("zip-crc", "the CRC of %s" % member.name)

    def read(self, name):
        return b"".join(self.blocks(self.members[name]))

    def open(self, name):
        """A file to read lines from, which can go back to its beginning."""
        return io.BufferedReader(_MemberFile(self, self.members[name]), 1 << 20)


class _MemberFile(io.RawIOBase):
    def __init__(self, package, member):
        self.package, self.member = package, member
        self.seek(0)

    def readable(self):
        return True

    def seekable(self):
        return True

    def tell(self):
        return self.position

    def seek(self, offset, whence=0):
        if offset or whence:
            raise io.UnsupportedOperation("only back to the beginning")
        self.blocks, self.block, self.position = self.package.blocks(self.member), memoryview(b""), 0
        return 0

    def readinto(self, buffer):
        while not self.block:
            block = next(self.blocks, None)
            if block is None:
                return 0
            self.block = memoryview(block)
        count = min(len(buffer), len(self.block))
        buffer[:count] = self.block[:count]
        self.block = self.block[count:]
        self.position += count
        return count


# ---------------------------------------------------------------------------------------------------
# Evidence package: members, manifest, anchors (evidence-package.md 7-16)
# ---------------------------------------------------------------------------------------------------

EVIDENCE_FORMAT = "tallystick/evidence/v1"
MAX_SIGNATURES = 65536
_OTHER_MEMBER = re.compile(
    r"consistency\.json|anchors/index\.json|anchors/headers|report\.html|report\.json|readme\.txt"
    r"|anchors/(?:0|[1-9][0-9]{0,2})\.(?:note|tsr|tst|ots)").fullmatch
_ANCHOR_MEMBER = re.compile(r"anchors/[0-9]+\.[a-z]+").fullmatch
_ANCHOR_PROOFS = {"rfc3161": (".tsr", ".tst"), "opentimestamps": (".ots",)}


def consistent(m, root1, n, root2, proof):
    """tree.md 5"""
    if not 1 <= m <= n:
        return False
    if m == n:
        return not proof and root1 == root2
    if not proof:
        return False
    path = [root1] + proof if m & (m - 1) == 0 else proof
    fn, sn = m - 1, n - 1
    while fn & 1:
        fn >>= 1
        sn >>= 1
    fr = sr = path[0]
    for c in path[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            fr, sr = node_hash(c, fr), node_hash(c, sr)
            while not fn & 1 and fn != 0:
                fn >>= 1
                sn >>= 1
        else:
            sr = node_hash(sr, c)
        fn >>= 1
        sn >>= 1
    return sn == 0 and fr == root1 and sr == root2


def canonical_line(data, reason):
    """The value of a file that is canonical JSON and a newline."""
    if not data.endswith(b"\n"):
        raise PackageRefused(reason, "does not end with a newline")
    try:
        return canonical(data[:-1])[0]
    except Refused as refused:
        raise PackageRefused(reason, str(refused))


def parse_signatures(data):
    """evidence-package.md 9: (name, key ID, signature) of each line"""
    try:
        text = data.decode("utf-8")
        if len(data) > MAX_SIGNATURES or _BELOW_SPACE(data) or not text.endswith("\n"):
            raise Refused("not lines of at most %d bytes" % MAX_SIGNATURES)
        return parse_signature_lines(text, 16)
    except UnicodeDecodeError:
        raise PackageRefused("manifest-signature", "not UTF-8")
    except Refused as refused:
        raise PackageRefused("manifest-signature", str(refused))


class Anchor:
    """An item of anchors/index.json that holds, or why it does not."""
    __slots__ = ("kind", "size", "after", "before", "recorded")


class Package:
    def __init__(self, source, reader):
        self.source, self.reader = source, reader
        self.pin = reader.pin
        self.anchored = False

    def verify(self):
        report = self._verify()
        if not self.anchored:
            anchor_missing(report, self.reader)
        return report

    def _verify(self):
        try:
            self._stage_a()
        except PackageRefused as refused:
            report = Report("package", self.reader.policy, self.pin)
            report.add(refused.code, refused.message, None, refused.expected, refused.reason, refused.evidence)
            return report.stop("the package is malformed")
        return self._stage_b()

    # -- stage A ------------------------------------------------------------------------------------

    def _stage_a(self):
        self.zip = Zip(self.source)                                                      # K1-K3
        names = list(self.zip.members)
        if names[:2] != ["manifest.json", "manifest.sig"]:                               # K4
            raise PackageRefused("manifest", "the first members are not manifest.json and manifest.sig")
        self.manifest_bytes = self.zip.read("manifest.json")
        self.manifest = self._manifest(self.manifest_bytes)
        self.signatures = parse_signatures(self.zip.read("manifest.sig"))                # K5
        listed = self.manifest["members"]                                                # K6
        if ([item["name"] for item in listed] != names[2:] or names[2:5] != ["policy", "checkpoint", "entries.jsonl"]
                or not all(_OTHER_MEMBER(name) for name in names[5:])):
            raise PackageRefused("members", "the members are not those of the manifest")
        for item in listed:
            if item["size"] != self.zip.members[item["name"]].size:
                raise PackageRefused("members", "%s has another size than the manifest says" % item["name"])
        for item in listed:                                                              # K7
            digest = hashlib.sha256()
            for block in self.zip.blocks(self.zip.members[item["name"]]):
                digest.update(block)
            if digest.hexdigest() != item["sha256"]:
                raise PackageRefused(digest.hexdigest(), "%s is not the one of the manifest" % item["name"], "member-mismatch", item["sha256"], item["name"])
        self.consistency = self._consistency()                                           # K8
        self.anchors = self._anchor_index()
        if "anchors/headers" in self.zip.members:
            try:
                parse_headers(self.zip.read("anchors/headers"))
            except Refused as refused:
                raise PackageRefused("headers", str(refused))

    def _manifest(self, data):
        value = canonical_line(data, "manifest")
        if type(value) is dict and type(value.get("format")) is str:
            match = re.fullmatch(r"tallystick/evidence/v([1-9][0-9]{0,15})", value["format"])
            if match and 2 <= int(match.group(1)) <= MAX_SAFE:
                raise Unreadable("newer-format", "the file is of the newer format %s" % value["format"])
        if not _shape(value, ("format", "members", "origin", "policy", "root", "selection", "size")) or value["format"] != EVIDENCE_FORMAT:
            raise PackageRefused("manifest", "members or format of the manifest")
        if (type(value["origin"]) is not str or not is_int(value["size"], 1) or not is_hex64(value["root"]) or not is_hex64(value["policy"])
                or type(value["selection"]) is not dict or type(value["members"]) is not list):
            raise PackageRefused("manifest", "values of the manifest")
        for item in value["members"]:
            if not _shape(item, ("name", "sha256", "size")) or type(item["name"]) is not str or not is_hex64(item["sha256"]) or not is_int(item["size"]):
                raise PackageRefused("manifest", "the list of members")
        return value

    def _consistency(self):
        if "consistency.json" not in self.zip.members:
            return None
        value = canonical_line(self.zip.read("consistency.json"), "consistency")
        if not _shape(value, ("checkpoint", "proof")) or type(value["checkpoint"]) is not str or not _is_hashes(value["proof"], 126):
            raise PackageRefused("consistency", "members of consistency.json")
        return value

    def _anchor_index(self):
        names = [name for name in self.zip.members if _ANCHOR_MEMBER(name)]
        if "anchors/index.json" not in self.zip.members:
            if names or "anchors/headers" in self.zip.members:
                raise PackageRefused("anchors", "there is no anchors/index.json")
            return []
        if not names and "anchors/headers" not in self.zip.members:
            raise PackageRefused("anchors", "anchors/index.json stands alone")
        value = canonical_line(self.zip.read("anchors/index.json"), "anchors")
        if type(value) is not list or not 1 <= len(value) <= 1000:
            raise PackageRefused("anchors", "not an array of 1 to 1000")
        used = []
        for item in value:
            if not _shape(item, ("consistency", "kind", "note", "proof", "recorded")) or item["kind"] not in ("rfc3161", "opentimestamps"):
                raise PackageRefused("anchors", "members of an anchor")
            if type(item["note"]) is not str or type(item["proof"]) is not str or not _is_hashes(item["consistency"], 126):
                raise PackageRefused("anchors", "values of an anchor")
            recorded = item["recorded"]
            if recorded is not None and not _is_proved_entry(recorded):
                raise PackageRefused("anchors", "recorded")
            used += [item["note"], item["proof"]]
        if sorted(used) != sorted(names):
            raise PackageRefused("anchors", "the names in the index are not the members, each once")
        return value

    # -- stage B ------------------------------------------------------------------------------------

    def _stage_b(self):
        reader, manifest = self.reader, self.manifest
        source = self.zip.open("entries.jsonl")
        try:
            first, parsed = first_line(source)
        except PackageRefused:
            raise Unreadable("storage-io", "the file changed while it was read", "UnavailableError")
        export = Export(source, Reader(reader.policy, reader.self_asserted, held=None))
        export.wanted = self._wanted()
        if reader.held is not None:
            export.held_size = reader.held.size
        try:
            report = export.verify(first, parsed)                                        # K11
        except PackageRefused:
            raise Unreadable("storage-io", "the file changed while it was read", "UnavailableError")
        report.kind, self.report, self.export = "package", report, export
        self.policy = export.policy
        self._signature()                                                                # K9
        self._bindings(parsed)                                                           # K10
        if export.stopped:
            return report.finish()
        self.checkpoint = export.checkpoint
        held = self._check_consistency()                                                 # K12
        self._check_anchors()                                                            # K13
        if reader.held is not None:                                                      # K14
            compare_held(report, reader.held, self.checkpoint.origin, lambda size: self._root_at(size, held))
        return report.finish()

    def _signature(self):
        policy, manifest, add = self.policy, self.manifest, self.report.add
        if policy is None:
            return
        message = ("tallystick/v1/manifest\n%s\n%s" % (manifest["origin"], hashlib.sha256(self.manifest_bytes).hexdigest())).encode("utf-8")
        valid = False
        for name, id4, payload in self.signatures:
            vkey = policy.lines.get((name, id4))
            if vkey is None or vkey.text not in policy.logs:
                continue
            if not vkey.key.verify(message, payload):
                add("manifest-signature", "the line of the key %s does not verify" % show(vkey.text, 80))
                return
            valid = valid or policy.valid_for(vkey, manifest["size"])
        if not valid:
            add("manifest-signature", "no log key of the policy that is valid for this size signed the manifest")

    def _bindings(self, parsed):
        manifest, report = self.manifest, self.report

        def same(what, expected, found):
            if expected != found:
                report.add("member-mismatch", "the manifest, or the member of this name, says otherwise than the rest of the package", None,
                           show(expected), show(found), what)

        same("policy", manifest["policy"], manifest["members"][0]["sha256"])
        checkpoint = self.export.checkpoint
        if checkpoint is None:           # E1 or E2 failed
            return
        header = parsed[0]
        note = self.zip.read("checkpoint")
        same("checkpoint", header["checkpoint"], note.decode("utf-8", "replace") if note != header["checkpoint"].encode("utf-8") else header["checkpoint"])
        same("selection", jcs_text(header["selection"]), jcs_text(manifest["selection"]))
        same("origin", checkpoint.origin, manifest["origin"])
        same("size", checkpoint.size, manifest["size"])
        same("root", checkpoint.root.hex(), manifest["root"])

    def _check_consistency(self):
        """Its checkpoint, or None."""
        if self.consistency is None:
            return None
        add, checkpoint = self.report.add, self.checkpoint
        try:
            held = Checkpoint(self.consistency["checkpoint"].encode("utf-8"))
        except Refused as refused:
            add("checkpoint-malformed", "consistency.json: %s" % refused)
            return None
        if held.origin != checkpoint.origin:
            add("origin-mismatch", "consistency.json: a checkpoint of %s" % show(held.origin))
            return None
        if self.policy is not None:
            problem = Acceptance(held, self.policy).problem
            if problem:
                add(problem[0], "consistency.json: " + problem[1])
        proof = [bytes.fromhex(h) for h in self.consistency["proof"]]
        if not consistent(held.size, held.root, checkpoint.size, checkpoint.root, proof):
            add("proof-invalid", "consistency.json: the proof does not lead to the checkpoint of the package", None, None, None,
                "checkpoint of size %d" % held.size)
        return held

    def _root_at(self, size, held):
        if size == self.checkpoint.size:
            return self.checkpoint.root
        if held is not None and size == held.size:
            return held.root
        return self.export.held_root

    # -- anchors (anchors.md 31-34) -----------------------------------------------------------------

    def _wanted(self):
        """Indexes of the entries whose times the anchors are compared with."""
        out = set()
        for item in self.anchors:
            try:
                out.add(Checkpoint(self.zip.read(item["note"])).size - 1)
                if item["recorded"]:
                    out.add(Entry(item["recorded"]["entry"]).index)
            except Refused:
                pass
        return out

    def _check_anchors(self):
        held = []
        for item in self.anchors:
            anchor = self._anchor(item)
            if anchor is not None:
                held.append(anchor)
        self._time(held)

    def _anchor(self, item):
        """The Anchor if it holds. Else None, and the finding or what is unchecked was noted."""
        add, name, checkpoint = self.report.add, item["proof"], self.checkpoint
        note_bytes, proof = self.zip.read(item["note"]), self.zip.read(item["proof"])
        digest = sha256(note_bytes)

        def mismatch(message, expected=None, found=None):
            add("anchor-mismatch", "%s: %s" % (name, message), None, expected, found, name)

        recorded = None
        if item["recorded"] is not None:
            recorded, error = self._recorded(item["recorded"])
            if error:
                return mismatch("the recorded entry: " + error)
            self.export.times[recorded.index] = recorded.time
            payload = item["recorded"]["event"]["payload"]
            for what, expected, found in (("note", payload["note"], digest.hex()), ("proof", payload["proof"], sha256(proof).hex()),
                                          ("kind", payload["kind"], item["kind"])):
                if expected != found:
                    return mismatch("another %s than was recorded" % what, expected, found)
        try:
            note = Checkpoint(note_bytes)
        except Refused as refused:
            return mismatch("the note: %s" % refused)
        if note.origin != checkpoint.origin:
            return mismatch("a note of another origin", checkpoint.origin, show(note.origin))
        if recorded is not None and (payload["size"], payload["root"]) != (note.size, note.root.hex()):
            return mismatch("a note of another size or root than was recorded")
        if not consistent(note.size, note.root, checkpoint.size, checkpoint.root, [bytes.fromhex(h) for h in item["consistency"]]):
            return mismatch("the tree has another root at the size of the note, or it is not shown")
        if self.policy is not None:
            problem = Acceptance(note, self.policy).problem
            if problem:
                return add("checkpoint-signature", "%s: %s" % (name, problem[1]), None, None, None, name)
        anchor = Anchor()
        anchor.kind, anchor.size, anchor.recorded = item["kind"], note.size, recorded
        try:
            bounds = self._stamp(item["kind"], name, proof, digest, mismatch)
        except ProofRefused as refused:
            if refused.code == "untrusted-key":
                return self._unchecked("%s: %s" % (name, refused.message))
            return add("anchor-invalid", "%s: %s: %s" % (name, refused.code, refused.message), None, None, refused.code, name)
        if bounds is None:
            return None
        anchor.after, anchor.before = bounds
        return anchor

    def _recorded(self, recorded):
        """(entry, what is wrong)"""
        try:
            entry = Entry(recorded["entry"])
        except Refused as refused:
            return None, str(refused)
        bad = []
        body = check_body(lambda code, message, *_: bad.append(message), entry, recorded, False, jcs(recorded["event"]), 0, 65) if entry.scheme != "fields" else None
        if body is None or entry.scheme != "control" or body.action != "ledger.anchor":
            return None, "not a ledger.anchor of scheme control"
        if bad:
            return None, bad[0]
        if body.event["payload"]["size"] > entry.index:
            return None, "an anchored size above the index of the event"
        root = inclusion_root(leaf_hash(entry.text.encode("ascii")), entry.index, self.checkpoint.size, [bytes.fromhex(h) for h in recorded["inclusion"]])
        if root != self.checkpoint.root:
            return None, "its inclusion proof does not give the root of the checkpoint"
        return entry, None

    def _stamp(self, kind, name, proof, digest, mismatch):
        """Bounds; None if a finding or what is unchecked was noted. Raises ProofRefused."""
        if kind == "rfc3161":
            stamp = TimeStamp(proof)
            if not stamp.stamps(digest):
                return mismatch("it stamps something else", digest.hex(), stamp.imprint.hex())
            return stamp.verify(digest, self.reader.roots)
        stamp = OpenTimestamp(proof)
        if stamp.file_hash != 0x08 or stamp.digest != digest:
            return mismatch("it stamps something else", digest.hex(), stamp.digest.hex())
        headers = self.reader.headers
        given = [height for height, _, _ in stamp.bitcoin if height in headers]
        try:
            if given:
                return stamp.verify(digest, headers)
            complete = False
        except ProofRefused:
            complete = len(given) == len(stamp.bitcoin)
            if complete:
                raise
        if not stamp.bitcoin:
            return self._unchecked("%s: it waits for %s" % (name, ", ".join(stamp.pending) or "another chain"))
        return self._unchecked("%s: no pinned header of block %s" % (name, ", ".join(
            str(h) for h in sorted({h for h, _, _ in stamp.bitcoin if h not in headers})[:10])))

    def _unchecked(self, text):
        self.report.unchecked["time"].append(text)

    def _time(self, anchors):
        report, times = self.report, self.export.times
        for anchor in anchors:
            last = times.get(anchor.size - 1)
            limit = utc_ms(anchor.after + 300000)
            if last is not None and limit is not None and last > limit:
                report.add("time-after-evidence", "the entry time is more than 300 s after the anchor", anchor.size - 1, "at most " + limit, last,
                           "anchor of the checkpoint of size %d" % anchor.size)
            if anchor.recorded is not None:
                limit, own = utc_ms(anchor.before - 300000), anchor.recorded.time
                if limit is not None and own < limit:
                    report.add("time-before-evidence", "the entry time is more than 300 s before the anchor that it records", anchor.recorded.index,
                               "at least " + limit, own, "anchor of the checkpoint of size %d" % anchor.size)
            relies = "the keys and the clock of the time-stamping authority" if anchor.kind == "rfc3161" else "the proof of work of Bitcoin, and the pinned headers"
            report.existed(anchor.size, utc_ms(anchor.after), "%s over size %d" % (anchor.kind, anchor.size), relies)
            if anchor.recorded is not None:
                report.follows(anchor.recorded.index, utc_ms(anchor.before), "%s over size %d, recorded by entry %d" % (
                    anchor.kind, anchor.size, anchor.recorded.index), relies)
        self.anchored = bool(anchors)
        if anchors and self.policy is not None:
            basis = [report.basis["time"]] if report.status["time"] == "pass" else []
            rows = report.timeline()["notAfter"]
            basis += ["entries below %d existed before %s, by %s" % (row["size"], row["time"], row["source"]) for row in rows[:5] + rows[5:][-5:]]
            report.set("time", "pass", "; ".join(basis))


def _is_proved_entry(value):
    return (_shape(value, ("entry", "event", "inclusion", "salt")) and type(value["entry"]) is str and type(value["event"]) is dict
            and is_hex32(value["salt"]) and _is_hashes(value["inclusion"], 64))


# ---------------------------------------------------------------------------------------------------
# Published ledger (published.md)
# ---------------------------------------------------------------------------------------------------

MAX_ABSENT_BUNDLES = 256         # P3: a checkpoint may claim any size
MAX_BUNDLE = 256 * (2 + 65535)


def tile_path(level, index, width):
    """published.md 2 and 3; `level` None for a bundle of entries"""
    groups = ["%03d" % (index % 1000)]
    while index >= 1000:
        index //= 1000
        groups.insert(0, "x%03d" % (index % 1000))
    name = "tile/%s/%s" % ("entries" if level is None else level, "/".join(groups))
    return name if width == 256 else "%s.p/%d" % (name, width)


def subtree_root(hashes):
    """The Merkle tree hash of a few hashes of subtrees of one size."""
    while len(hashes) > 1:
        pairs = [node_hash(hashes[i], hashes[i + 1]) for i in range(0, len(hashes) - 1, 2)]
        hashes = pairs + hashes[len(hashes) & ~1:]
    return hashes[0]


class Published:
    """A folder as it is written for web servers."""

    def __init__(self, folder, reader):
        self.folder, self.policy, self.held = folder, reader.policy, reader.held
        self.report = Report("published", reader.policy)
        self.add = self.report.add
        self.mismatched = set()      # (level, tile) that were reported

    def _read(self, name, most):
        """The bytes, None if there is no such object. One byte more than `most` shows that it is too long."""
        try:
            with open(os.path.join(self.folder, *name.split("/")), "rb") as file:
                return file.read(most + 1)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None

    def _object(self, level, index, width, most):
        """P3: the bytes of a tile or bundle, and whether they are those of the full one."""
        data = self._read(tile_path(level, index, width), most)
        if data is None and width < 256:
            return self._read(tile_path(level, index, 256), most), True
        return data, width == 256

    def verify(self):
        report, add, policy = self.report, self.add, self.policy
        note = self._read("checkpoint", MAX_NOTE)
        if note is None:
            raise Unreadable("unrecognised-file", "a folder without a checkpoint is no published ledger")
        try:
            self.checkpoint = checkpoint = Checkpoint(note)
        except Refused as refused:
            add("checkpoint-malformed", str(refused))
            return report.stop("the checkpoint is malformed")
        report.origin, report.size, report.root = checkpoint.origin, checkpoint.size, checkpoint.root.hex()
        self.size = checkpoint.size
        acceptance = None
        if policy is not None:
            acceptance = Acceptance(checkpoint, policy)
            if acceptance.problem:
                add(*acceptance.problem)
        self.limit = latest_time(acceptance)
        self._entries()
        report.set("integrity", "pass", "entry texts and tiles are those of the tree; events were not seen")
        report.set("order", "pass", "indexes, links and times of all entries")
        report.set("completeness", "pass", "every entry of the tree is here and gives its root")
        if policy is None:
            report.set("authenticity", "notEstablished", "no policy is pinned, so no signature was checked")
        else:
            report.set("authenticity", "pass", "the checkpoint is signed by keys that the pinned policy names"
                       + ("; genesis not pinned" if policy.genesis is None else ""))
        report.unchecked["integrity"].append("events: this verifier does not read them")
        report.unchecked["authenticity"].append("keys that the ledger introduced: they stand in events")
        outside_verdicts(report, policy, acceptance)
        self._compare_held(acceptance)
        return report.finish()

    # -- entries and the tiles that they give --------------------------------------------------------

    def _bundle(self, index, width):
        """The entry texts, or None (P3, P4)."""
        first = 256 * index
        data, full = self._object(None, index, width, MAX_BUNDLE)
        if data is None:
            self.add("entry-missing", "the bundle of entries %d to %d is not there" % (first, first + width - 1), first)
            return None
        texts, at, count = [], 0, 256 if full else width
        while len(texts) < count and at + 2 <= len(data):
            end = at + 2 + (data[at] << 8 | data[at + 1])
            if end > len(data):
                break
            texts.append(data[at + 2:end])
            at = end
        if len(texts) != count or at != len(data):
            self.add("object-mismatch", "the bundle %s does not hold exactly %d entries" % (tile_path(None, index, 256 if full else width), count), first)
            return None
        return texts[:width]

    def _tile(self, level, index, width):
        """The hashes, or None if the tile is absent or of another length. Reports nothing."""
        data, full = self._object(level, index, width, 8192)
        if data is None:
            return None, "object-missing"
        if len(data) != (8192 if full else 32 * width):
            return None, "object-mismatch"
        return [data[i:i + 32] for i in range(0, 32 * width, 32)], None

    def _entries(self):
        report, size, levels = self.report, self.size, 1
        while size >> 8 * levels:
            levels += 1
        stack = [[] for _ in range(levels)]      # hashes of the tile being filled, None for what is unknown
        tree, known = RangeRoot(0, []), True     # the root that the entries give
        self.hash_name, self.before, self.first_unknown = None, None, False
        self.held_root = None
        entry = None
        absent = 0                   # bundles in a row
        for bundle in range((size + 255) // 256):
            width = min(256, size - 256 * bundle)
            texts = self._bundle(bundle, width)
            absent = absent + 1 if texts is None else 0
            if absent == MAX_ABSENT_BUNDLES:
                report.unchecked["completeness"].append("what lies behind entry %d: %d bundles in a row are absent" % (256 * bundle + width - 1, absent))
                return
            if texts is None:
                self.before = entry = None
                known = False
                self.first_unknown = self.first_unknown or bundle == 0
            for place in range(width):
                leaf = None
                if texts is not None:
                    leaf = leaf_hash(texts[place])
                    entry = self._entry(256 * bundle + place, texts[place], leaf)
                    if known:
                        tree.add(leaf)
                        if self.held is not None and self.held.size == tree.count:
                            self.held_root = tree.root_here()
                self._push(stack, 0, bundle, leaf)
        for level, hashes in enumerate(stack):
            if hashes:
                self._check_tile(level, (size >> 8 * level) >> 8, hashes)
        if entry is not None and self.limit is not None and entry.time > self.limit:
            self.add("time-after-evidence", "the entry time is more than 300 s after the witness time", size - 1,
                     "at most " + self.limit, entry.time, "cosignatures of the checkpoint of size %d" % size)
        root = tree.root_here() if known else None
        if root == self.checkpoint.root:
            return
        self.held_root = None        # the tree is that of the checkpoint, so it is looked for in the tiles
        confirmed = self._edge_confirmed()
        if confirmed and self.held is not None and self.held.size <= size:
            self.held_root = self._root_of_tiles(self.held.size)
        if confirmed and self.first_unknown:
            self._check_genesis((self.confirmed(0, 0) or [None])[0])
        if confirmed and known:
            self._explain()
        if "object-mismatch" not in report.codes and (known or not confirmed):
            self.add("checkpoint-root", "the entries do not give the root of the checkpoint", None, self.checkpoint.root.hex(),
                     root.hex() if root else None, "checkpoint of size %d" % size)

    def _check_genesis(self, leaf):
        """P8"""
        pinned = self.policy.genesis if self.policy is not None else None
        if pinned is not None and leaf is not None and leaf.hex() != pinned:
            self.add("genesis-mismatch", "entry 0 is not the pinned one", 0, pinned, leaf.hex(), "pinned genesis")

    def _push(self, stack, level, index, value):
        stack[level].append(value)
        if len(stack[level]) == 256:
            full, stack[level] = stack[level], []
            self._check_tile(level, index, full)
            self._push(stack, level + 1, index >> 8, None if None in full else subtree_root(full))

    def _check_tile(self, level, index, expected):
        """P3, P4, P7. Where the entries below are not known, nothing is compared."""
        name = tile_path(level, index, len(expected))
        hashes, problem = self._tile(level, index, len(expected))
        if problem == "object-missing":
            self.add(problem, "the tile %s is not there" % name)
        elif problem:
            self.add(problem, "the tile %s is of another length" % name)
        else:
            for place, (one, two) in enumerate(zip(hashes, expected)):
                if two is not None and one != two:
                    self.add("object-mismatch", "hash %d of the tile %s is not what the entries give" % (place, name), None, two.hex(), one.hex())
                    break

    def _entry(self, index, data, leaf):
        """P5: the entry, or None if it is none."""
        add, before = self.add, self.before
        if index == 0:
            self._check_genesis(leaf)
        try:
            entry = Entry(data.decode("ascii"))
        except (Refused, UnicodeDecodeError):
            add("entry-malformed", "not an entry text", index)
            self.before = leaf.hex(), None
            return None
        if entry.index != index:
            add("index-mismatch", "an entry at another place than its index", index, "index %d" % index, "index %d" % entry.index)
        if index == 0:
            self.hash_name = entry.hash_name
            if entry.previous != ZEROS:
                add("previous-mismatch", "previous of entry 0 is not 64 zeros", 0, ZEROS, entry.previous)
            if entry.scheme != "control":
                add("genesis-malformed", "entry 0 is not of scheme control", 0)
        elif self.hash_name is not None and entry.hash_name != self.hash_name:
            add("commitment-mismatch", "the entry names another hash than entry 0", index, self.hash_name, entry.hash_name)
        if before is not None:
            if entry.previous != before[0]:
                add("previous-mismatch", "previous is not the leaf hash of the entry before", index, before[0], entry.previous)
            if before[1] is not None and entry.time < before[1]:
                add("time-backwards", "the time is before that of the entry before", index, "at least " + before[1], entry.time)
        self.before = leaf.hex(), entry.time
        return entry

    # -- which object explains a wrong root (P6) ------------------------------------------------------

    def _edge_confirmed(self):
        """Do the tiles on the right edge give the root?"""
        size, edge, level = self.size, [], 0
        while size >> 8 * level:
            width = (size >> 8 * level) & 255
            if width:
                hashes, problem = self._tile(level, size >> 8 * level + 8, width)
                if problem:
                    return False
                edge.append((level, hashes))
            level += 1
        root = None
        for _, hashes in edge:       # from the right, smallest subtrees first
            at = len(hashes)
            for bit in range(8):
                if len(hashes) >> bit & 1:
                    part = subtree_root(hashes[at - (1 << bit):at])
                    root = part if root is None else node_hash(part, root)
                    at -= 1 << bit
        self.confirmed = functools.lru_cache(maxsize=64)(self._confirm)
        return root == self.checkpoint.root

    def _root_of_tiles(self, size):
        """The root that the tree has at a smaller size, or None where a tile does not show it."""
        tree = RangeRoot(0, [])
        for index in range((size + 255) // 256):
            for leaf in (self.confirmed(0, index) or [])[:size - tree.count]:
                tree.add(leaf)
        return tree.root_here() if tree.count == size else None

    def _explain(self):
        """Names each entry that differs from a tile that the root confirms."""
        size = self.size
        for bundle in range((size + 255) // 256):
            tile = self.confirmed(0, bundle)
            if tile is None:
                continue
            data, full = self._object(None, bundle, len(tile), MAX_BUNDLE)
            at = 0
            for place, leaf in enumerate(tile):
                end = at + 2 + (data[at] << 8 | data[at + 1])
                if leaf_hash(data[at + 2:end]) != leaf:
                    self.add("object-mismatch", "the entry is not the one of the tree", 256 * bundle + place, leaf.hex(),
                             leaf_hash(data[at + 2:end]).hex())
                at = end

    def _confirm(self, level, index):
        """The hashes of a tile if the root confirms it (published.md 8); the edge is confirmed."""
        width = min(256, (self.size >> 8 * level) - 256 * index)
        hashes, problem = self._tile(level, index, width)
        if problem:
            return None
        if width == 256:
            above = self.confirmed(level + 1, index >> 8)
            if above is None or above[index & 255] != subtree_root(hashes):
                return None
        return hashes

    def _compare_held(self, acceptance):
        """P10, and what it says of independence (rule 9)"""
        held, policy, report = self.held, self.policy, self.report
        if held is None:
            return
        if policy is not None:
            problem = Acceptance(held, policy).problem
            if problem:
                self.add("checkpoint-signature", "the checkpoint that the reader holds: " + problem[1])
                return
        elif held.origin != self.checkpoint.origin:
            self.add("origin-mismatch", "the checkpoint that the reader holds is of another origin", None, show(held.origin), show(self.checkpoint.origin))
            return
        notes = [held.note, self.checkpoint.note]
        if held.size > self.size:
            self.add("expected-beyond", "the checkpoint that the reader holds is larger than the ledger: its tail is gone", None,
                     "size %d" % held.size, "size %d" % self.size, "held checkpoint of size %d" % held.size, notes)
        elif self.held_root is None:
            report.inconclusive = True
            report.set("completeness", "notEstablished", "it cannot be compared with the checkpoint of size %d that the reader holds" % held.size)
        elif self.held_root != held.root:
            self.add("expected-root", "not the history of the checkpoint that the reader holds", None, held.root.hex(), self.held_root.hex(),
                     "held checkpoint of size %d" % held.size, notes)
        elif policy is not None and policy.quorum == "none" and acceptance.accepted:
            report.set("independence", "pass", "the history up to size %d is the one that the reader saw before" % held.size)


# ---------------------------------------------------------------------------------------------------
# Files (verification.md 9-10)
# ---------------------------------------------------------------------------------------------------

_FORMAT = re.compile(r"tallystick/(?:receipt|export)/v([1-9][0-9]{0,15})").fullmatch


def open_source(path):
    """A seekable file. What is not a regular file is copied, after a look at its first bytes."""
    try:
        source = open(path, "rb", buffering=1 << 20)
    except FileNotFoundError:
        raise Absent("no such file")
    except OSError as error:
        raise Unreadable("storage-io", "cannot be read: %s" % error.strerror, "UnavailableError")
    try:
        head = source.read(MAX_NOTE + 1)
        kind = recognise(head)
        if not stat.S_ISREG(os.fstat(source.fileno()).st_mode):
            copy = tempfile.TemporaryFile()
            copy.write(head)
            while True:
                block = source.read(1 << 20)
                if not block:
                    break
                copy.write(block)
            source.close()
            source = copy
        source.seek(0)
        return source, kind
    except BaseException:
        source.close()
        raise


def recognise(head):
    """verification.md 9, by the first 262,145 bytes"""
    if head.startswith(b'{"checkpoint":"'):
        return "export"
    if head.startswith((b'{"digests":{', b'{"entry":"')):
        return "receipt"
    if head.startswith(b"PK"):
        return "package"
    if len(head) <= MAX_NOTE and b"\n\n\xe2\x80\x94 " in head and not head.startswith((b"c2sp.org/tlog-proof@", b"SQLite format 3\0")):
        return "checkpoint"
    if not head:
        raise Absent("the file is empty")
    raise Unreadable("unrecognised-file", "neither receipt, export, checkpoint nor evidence package")


def first_line(source):
    """The first line with its newline, and (value, plain) or the reason why not."""
    first = source.readline(MAX_LINE + 1)
    if len(first) > MAX_LINE:
        return first, "longer than %d bytes" % MAX_LINE
    try:
        return first, canonical(first[:-1] if first.endswith(b"\n") else first)
    except Refused as refused:
        return first, str(refused)


def verify_source(source, kind, reader):
    if kind == "package":
        return Package(source, reader).verify()
    report = verify_checkpoint(source.read(MAX_NOTE + 1), reader) if kind == "checkpoint" else verify_lines(source, kind, reader)
    anchor_missing(report, reader)
    return report


def verify_lines(source, kind, reader):
    """A receipt or an export."""
    first, parsed = first_line(source)
    if type(parsed) is tuple:
        value = parsed[0].get("format")
        match = _FORMAT(value) if type(value) is str else None
        if match and 2 <= int(match.group(1)) <= MAX_SAFE:
            raise Unreadable("newer-format", "the file is of the newer format %s" % value)
    if kind == "receipt":
        return verify_receipt(first, parsed, bool(source.read(1)), reader)
    return Export(source, reader).verify(first, parsed)


def read_pinned(path, most, what):
    """A small file that the reader brings; one byte more than `most` shows that it is too long."""
    try:
        with open(path, "rb") as file:
            return file.read(most + 1)
    except FileNotFoundError:
        raise Unreadable("not-found", "%s: no such file" % what, "UnavailableError")
    except OSError as error:
        raise Unreadable("storage-io", "%s: cannot be read: %s" % (what, error.strerror), "UnavailableError")


def read_headers(path):
    try:
        return parse_headers(read_pinned(path, 2097152, "headers"))
    except Refused as refused:
        raise Unreadable("malformed-config", str(refused))


def read_policy(path):
    try:
        return Policy.parse(read_pinned(path, MAX_POLICY, "policy"))
    except Refused as refused:
        raise Unreadable("malformed-policy", "policy: %s" % refused)


def read_held(path):
    """The checkpoint that the reader holds"""
    try:
        return Checkpoint(read_pinned(path, MAX_NOTE, "held checkpoint"))
    except Refused as refused:
        raise Unreadable("malformed-config", "held checkpoint: %s" % refused)


def verify_path(path, reader):
    """The report, or Unreadable."""
    if path.startswith(("http://", "https://")):
        raise Unreadable("unrecognised-file", "this verifier uses no network: fetch the published ledger into a folder")
    try:
        if os.path.isdir(path):
            report = Published(path, reader).verify()
            anchor_missing(report, reader)
            return report
        source, kind = open_source(path)
        with source:
            return verify_source(source, kind, reader)
    except OSError as error:
        raise Unreadable("storage-io", "cannot be read: %s" % error.strerror, "UnavailableError")
    except MemoryError:
        raise Unreadable("storage-io", "not enough memory", "UnavailableError")


def write(text):
    try:
        sys.stdout.buffer.write(text.encode("utf-8", "backslashreplace"))
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main(argv=None):
    parser = argparse.ArgumentParser(prog="verify.py", description="Verifies Tallystick evidence: a receipt, an export, a checkpoint, or a published ledger.")
    parser.add_argument("file", metavar="FILE", help="a receipt, an export in JSON lines, a checkpoint, or the folder of a published ledger")
    parser.add_argument("--policy", metavar="FILE", help="the policy that you pinned; never one that came with the evidence")
    parser.add_argument("--allow-self-asserted", action="store_true",
                        help="without a policy: take the keys that the evidence names, for an export")
    parser.add_argument("--expect", metavar="CHECKPOINT", help="a checkpoint of the ledger that you hold from before")
    parser.add_argument("--tsa-root", metavar="PEM", action="append", default=[],
                        help="certificates of a time-stamping authority that you pinned; may be given again")
    parser.add_argument("--bitcoin", metavar="HEADERS-FILE", help="Bitcoin block headers that you pinned")
    parser.add_argument("--require-anchor", action="store_true", help="exit 4 if no anchor holds")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    options = parser.parse_args(argv)
    if options.policy is not None and options.allow_self_asserted:
        parser.error("--policy and --allow-self-asserted exclude one another")
    try:
        reader = Reader(read_policy(options.policy) if options.policy is not None else None, options.allow_self_asserted,
                        read_held(options.expect) if options.expect is not None else None,
                        [root for path in options.tsa_root for root in read_certificates(path)],
                        read_headers(options.bitcoin) if options.bitcoin is not None else None, options.require_anchor)
        report = verify_path(options.file, reader)
        write(_ENCODE(report.as_json()) + "\n" if options.json else report.as_text())
        return report.exit_code
    except Unreadable as error:
        code, message, name, exit_code = error.code, error.message, error.name, error.exit_code
    except KeyboardInterrupt:
        return 130
    except Exception as error:       # a defect of this program: never a verdict
        code, message, name, exit_code = "invariant-broken", "internal error: %s" % type(error).__name__, "FatalError", 5
    if options.json:
        write(_ENCODE({"code": code, "message": message, "name": name}) + "\n")
    else:
        write("%s: %s\nexit %d\n" % (code, message, exit_code))
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
