"""Stretches of any length, put together until they are a bucket, so that how often one looks changes nothing."""

from __future__ import annotations

from dataclasses import dataclass

from atoll.policies.judge.counters import merged
from atoll.policies.judge.evidence import Bucket, Unit

NEARLY = 1e-6
"""Sums of times are not exact."""


@dataclass(frozen=True, slots=True)
class Open:
    """A bucket that is not full; `asked` is how many of its requests should have gone to the canary."""

    start: float
    units: tuple[Unit, ...] = ()
    asked: float | None = 0.0


def gather(
    gathered: Open | None, piece: Bucket, length: float, *, early: bool = False
) -> tuple[Open | None, Open | None]:
    """What is still open after *piece*, and the bucket that it filled. *early* fills it whatever its length."""
    asked = None if piece.share is None else piece.share * sum([u.requests for u in piece.units])
    if gathered is None:
        filled = Open(piece.start, piece.units, asked)
    else:
        total = None if asked is None or gathered.asked is None else gathered.asked + asked
        filled = Open(gathered.start, merged(gathered.units + piece.units), total)
    if early or piece.end - filled.start >= length - NEARLY:
        return None, filled
    return filled, None
