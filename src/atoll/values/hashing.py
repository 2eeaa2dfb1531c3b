"""Digests that mean the same on every machine."""

from __future__ import annotations

import hashlib


def digest(*parts: bytes) -> str:
    """Sixty-four hexadecimal digits over the parts; their boundaries count."""
    total = hashlib.sha256()
    for part in parts:
        total.update(len(part).to_bytes(8, "big"))
        total.update(part)
    return total.hexdigest()


def fraction(text: str) -> float:
    """A number from 0 to below 1 that depends on *text* only: jitter without randomness."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") / (1 << 48)
