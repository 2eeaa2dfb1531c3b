"""How long answers took: counts in buckets, eight to a doubling, so that a quantile is off by at most 5 %."""

from __future__ import annotations

from collections.abc import Mapping
from math import floor, log2

STEPS = 8
SHORTEST = 1e-5

Times = Mapping[int, int]


def noted(times: Times, seconds: float) -> dict[int, int]:
    """The counts with one more answer."""
    bucket = floor(STEPS * log2(max(seconds, SHORTEST) / SHORTEST))
    return {**times, bucket: times.get(bucket, 0) + 1}


def quantile(times: Times, share: float) -> float | None:
    """The seconds that *share* of the answers took at most; None without answers."""
    rank = share * sum(times.values())
    for bucket in sorted(times):
        rank -= times[bucket]
        if rank <= 0:
            return float(SHORTEST * 2 ** ((bucket + 0.5) / STEPS))
    return None
