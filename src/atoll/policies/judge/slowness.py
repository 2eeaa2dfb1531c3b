"""
Latency: how often the canary's instances are slower than stable's usually are.

Everything is relative to stable's median in the same bucket, so that what slows down all cancels out. The measure for
"usually" is what stable's instances showed in the last minute, each against the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import median

from atoll.policies.judge.splitting import Sides
from atoll.policies.mixture import RATIOS, add, gains, log_mean, one_sample
from atoll.values.judging import LatencyLimits

LEAST_CALLS = 5
"""Calls of an instance in a bucket below which its quantiles say nothing."""
LEAST_STABLE = 2
"""Instances of stable that are needed, as each is measured by the others."""
ALIKE = 2.0
"""How many times the calls of the other side an instance may have: quantiles of fewer calls scatter more."""
FASTER = (0.05, 0.15, 0.3)
"""How often a canary that is fast enough is above the unacceptable time: the alternatives to every second time."""


def comparable(here: float, there: float) -> bool:
    """Whether the quantiles of either side say the same thing, when their instances have so many calls each."""
    return max(here, there) <= ALIKE * min(here, there)


@dataclass(frozen=True, slots=True)
class Slowness:
    """The evidence on one quantile; `recent` holds what stable's instances showed in the last buckets."""

    worse: tuple[float, ...] = (0.0,) * len(RATIOS)
    recent: tuple[tuple[float, ...], ...] = ()
    canary: int = 0
    canary_slow: int = 0
    stable: int = 0
    stable_slow: int = 0
    compared: int = 0
    unacceptable: int = 0


def update(state: Slowness, both: Sides, quantile: str, limits: LatencyLimits, buckets: int) -> Slowness:
    """The evidence after one more bucket; *buckets* of history come before the first comparison."""
    times = sorted(_times(both, quantile, canary=False))
    canary = _times(both, quantile, canary=True)
    here, there = both.loads
    if len(times) < LEAST_STABLE or not canary or not comparable(here, there):
        return state
    middle = median(times)
    ratios = tuple([time / other for time, other in zip(times, _others(times), strict=True)])
    mine = [time / middle for time in canary]
    recent = (*state.recent, ratios)[-buckets:]
    unacceptable = state.unacceptable + sum([r > limits.unacceptable for r in mine])
    compared = state.compared + len(mine)
    if len(state.recent) < buckets:
        return Slowness(state.worse, recent, compared=compared, unacceptable=unacceptable)
    usual = sorted(chain.from_iterable(state.recent))
    bar = usual[min(len(usual) - 1, int(limits.quantile * len(usual)))]
    x = sum([r > bar * limits.margin for r in mine])
    y = sum([r > bar for r in ratios])
    share = len(mine) / (len(mine) + len(ratios))
    worse = add(state.worse, x, y, gains(share, limits.tolerated)) if x or y else state.worse
    return Slowness(
        worse,
        recent,
        state.canary + len(mine),
        state.canary_slow + x,
        state.stable + len(ratios),
        state.stable_slow + y,
        compared,
        unacceptable,
    )


def _times(both: Sides, quantile: str, *, canary: bool) -> list[float]:
    units = both.canary if canary else both.stable
    found = [u.latency for u in units if u.latency is not None and u.latency.calls >= LEAST_CALLS]
    times = [latency.p50 if quantile == "latency_p50" else latency.p95 for latency in found]
    return [time for time in times if time > 0.0]


def _others(ordered: Sequence[float]) -> list[float]:
    """
    For each time the median of the others.

    A time that is part of its own measure looks nearer to it than it is: with two instances, half as far.
    """
    half, odd = divmod(len(ordered), 2)
    if not odd:
        return [ordered[half]] * half + [ordered[half - 1]] * half
    low, middle, high = ordered[half - 1], ordered[half], ordered[half + 1]
    return [(middle + high) / 2] * half + [(low + high) / 2] + [(low + middle) / 2] * half


def worse(state: Slowness) -> float:
    """Logarithm of the odds that the canary is slow more often than is tolerated."""
    return log_mean(state.worse)


def acceptable(state: Slowness) -> float:
    """
    Logarithm of the odds against the unacceptable factor.

    A canary that is slower by that factor is above it, measured by stable's median, at least every second time.
    """
    return one_sample(state.unacceptable, state.compared, 0.5, FASTER)
