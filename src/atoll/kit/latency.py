"""
A histogram of latencies that forgets: quantiles of recent calls in constant space.

Log-linear buckets, eight to an octave from 1 microsecond to about 19 hours, so a quantile is off by at most 7 %.
"""

from __future__ import annotations

from itertools import accumulate
from math import frexp

_STEPS = 8
_OCTAVES = 36
_UNIT = 1e-6
_HALVE_AT = 1024


class Latency:
    """Recent latencies in seconds. After every 1,024 records the old ones lose half their weight."""

    __slots__ = ("_buckets", "_fresh", "_weight", "count", "total")

    def __init__(self) -> None:
        self._buckets = [0.0] * (_STEPS * _OCTAVES)
        self._weight = 0.0
        self._fresh = 0
        self.count = 0
        self.total = 0.0

    def record(self, seconds: float) -> None:
        """Notes one call that took `seconds`."""
        mantissa, exponent = frexp(max(seconds, _UNIT) / _UNIT)
        # mantissa is in [0.5, 1): its upper half-octave position picks one of the eight steps
        at = min((exponent - 1) * _STEPS + int((mantissa - 0.5) * 2 * _STEPS), len(self._buckets) - 1)
        self._buckets[at] += 1.0
        self._weight += 1.0
        self.count += 1
        self.total += seconds
        self._fresh += 1
        if self._fresh >= _HALVE_AT:
            self._fresh = 0
            self._buckets = [each / 2 for each in self._buckets]
            self._weight /= 2

    def quantile(self, share: float) -> float:
        """The latency that a `share` (0 to 1) of recent calls stayed below; 0.0 when nothing was recorded."""
        if not self._weight:
            return 0.0
        reached = accumulate(self._buckets)
        last = max(at for at, weight in enumerate(self._buckets) if weight)
        at = next((at for at, weight in enumerate(reached) if weight >= share * self._weight and weight), last)
        octave, step = divmod(at, _STEPS)
        return _UNIT * float(2**octave) * (1 + (step + 1) / _STEPS)
