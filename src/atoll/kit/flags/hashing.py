"""
From a person to a bucket: murmur3 (x86, 32 bit) over bytes that the flag's pinned hash makes of the bucketing value.

    cbor-mmh3-1     canonical CBOR (RFC 7049, 3.9) of [flag key, targeting key] or of the bucketing value; flagd-core 2
    concat-mmh3-1   the flag key and the targeting key in one string, or the bucketing string; Go's flagd of 2026

What a pinned hash does to a value never changes: another one moves nearly everybody to another bucket.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from math import isfinite, isnan
from struct import Struct, iter_unpack, pack, unpack

CBOR = "cbor-mmh3-1"
CONCAT = "concat-mmh3-1"
HASHES = (CBOR, CONCAT)

_SHORT = 64  # bytes
_SMALL = 24  # a size below this is in the first byte
_TEXT = tuple(bytes((0x60 + size,)) for size in range(_SMALL))
_WORDS = tuple(Struct(f"<{count}I").unpack_from for count in range(_SHORT // 4 + 1))
_number = int.from_bytes


def murmur3(data: bytes) -> int:
    """The unsigned 32-bit hash of `data`, seed 0."""
    return starting_with(b"")(data)


def starting_with(prefix: bytes) -> Callable[[bytes], int]:
    """The hash of `prefix` and what is given to the returned function; the whole blocks of `prefix` are hashed once."""
    done = len(prefix) & ~3
    state = _absorb(0, prefix[:done])
    rest = prefix[done:]

    def murmur(data: bytes) -> int:
        data = rest + data
        size = done + len(data)
        h = state
        if len(data) > _SHORT:
            whole = len(data) & ~3
            h, data = _absorb(h, data[:whole]), data[whole:]
        for word in _WORDS[len(data) >> 2](data):
            k = word * 0xCC9E2D51 & 0xFFFFFFFF
            h ^= ((k << 15) | (k >> 17)) * 0x1B873593 & 0xFFFFFFFF
            h = ((h << 13) | (h >> 19)) * 5 + 0xE6546B64 & 0xFFFFFFFF
        if size & 3:
            k = _number(data[len(data) & ~3 :], "little") * 0xCC9E2D51 & 0xFFFFFFFF
            h ^= ((k << 15) | (k >> 17)) * 0x1B873593 & 0xFFFFFFFF
        h ^= size
        h = (h ^ h >> 16) * 0x85EBCA6B & 0xFFFFFFFF
        h = (h ^ h >> 13) * 0xC2B2AE35 & 0xFFFFFFFF
        return h ^ h >> 16

    return murmur


def _absorb(h: int, data: bytes) -> int:
    for (word,) in iter_unpack("<I", data):
        k = word * 0xCC9E2D51 & 0xFFFFFFFF
        # A rotation needs no mask where a mask follows: the bits beyond 32 fall off there.
        h ^= ((k << 15) | (k >> 17)) * 0x1B873593 & 0xFFFFFFFF
        h = ((h << 13) | (h >> 19)) * 5 + 0xE6546B64 & 0xFFFFFFFF
    return h


def text(value: str) -> bytes:
    """A string in CBOR."""
    data = value.encode()
    size = len(data)
    return (_TEXT[size] if size < _SMALL else _head(0x60, size)) + data


def cbor(value: object) -> bytes:
    """
    A JSON value, or a time with its zone, in canonical CBOR as flagd-core encodes it.

    A float without a fraction is written as an integer.

    Raises:
        TypeError: it holds what JSON has no word for.
        ValueError: a string is not Unicode.

    """
    if value is None or isinstance(value, bool):
        return {None: b"\xf6", True: b"\xf5", False: b"\xf4"}[value]
    if isinstance(value, str):
        return text(value)
    if isinstance(value, float):
        return _integer(int(value)) if value.is_integer() and -(2**63) <= value <= 2**64 - 1 else _float(value)
    return _integer(value) if isinstance(value, int) else _compound(value)


def _compound(value: object) -> bytes:
    if isinstance(value, list | tuple):
        return _head(0x80, len(value)) + b"".join(map(cbor, value))
    if isinstance(value, dict):
        # Shorter keys come first, then by their bytes.
        pairs = sorted(((cbor(key), cbor(each)) for key, each in value.items()), key=lambda pair: (len(pair[0]), pair))
        return _head(0xA0, len(value)) + b"".join(key + each for key, each in pairs)
    if isinstance(value, datetime) and value.tzinfo is not None:
        return b"\xc0" + text(value.isoformat().replace("+00:00", "Z"))
    raise TypeError(f"{type(value).__name__} is not a type of JSON")


def _head(major: int, size: int) -> bytes:
    if size < _SMALL:
        return bytes((major + size,))
    extra = sum(size >> limit != 0 for limit in (8, 16, 32))
    return pack(f">B{'BHIQ'[extra]}", major + 24 + extra, size)


def _integer(value: int) -> bytes:
    major, size = (0x00, value) if value >= 0 else (0x20, -1 - value)
    if size >> 64 == 0:
        return _head(major, size)
    digits = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return (b"\xc2" if major == 0 else b"\xc3") + _head(0x40, len(digits)) + digits


def _float(value: float) -> bytes:
    if isnan(value):
        return b"\xf9\x7e\x00"
    for code, first in (("e", 0xF9), ("f", 0xFA)):
        try:
            short = pack(f">{code}", value)
        except OverflowError:
            continue
        if unpack(f">{code}", short)[0] == value or not isfinite(value):
            return bytes((first,)) + short
    return b"\xfb" + pack(">d", value)
