"""Errors: whether the canary's rate is above stable's, and whether an unacceptable one can be ruled out."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import log

from atoll.policies.judge.evidence import Tally
from atoll.policies.judge.splitting import Sides, most, split
from atoll.policies.mixture import RATIOS, add, gains, log_mean, one_sample
from atoll.values.judging import ErrorLimits

HARMLESS = (1.0, 1.2)
"""Ratios to stable that a good release has: the alternatives to an unacceptable one."""
ABOVE = (2.0, 4.0, 10.0, 30.0, 100.0, 400.0)
BELOW = (0.02, 0.1, 0.2, 0.4, 0.7)
"""Rates, as multiples of the floor and of the unacceptable rate."""
CERTAIN = 0.95


@dataclass(frozen=True, slots=True)
class Failures:
    """The evidence so far, as logarithms of odds per alternative, and the requests it rests on."""

    worse: tuple[float, ...] = (0.0,) * len(RATIOS)
    better: tuple[float, ...] = (0.0,) * len(HARMLESS)
    tally: Tally = field(default_factory=Tally)


def update(state: Failures, both: Sides, limits: ErrorLimits) -> Failures:
    """The evidence after one more bucket."""
    canary = [u.bad for u in both.canary if u.bad]
    stable = [u.bad for u in both.stable if u.bad]
    worse, better = state.worse, state.better
    if canary or stable:
        # How many requests a unit looks at depends on the past only.
        found = split(both, canary, stable, most(limits.dense, state.tally.stable_bad, state.tally.stable))
        x, y = found.canary, found.stable
        worse = add(worse, x, y, gains(found.share, limits.tolerated))
        better = add(better, x, y, _harmless(found.share, limits.ratio))
    return Failures(worse, better, state.tally + both.tally)


def _harmless(share: float, ratio: float) -> tuple[tuple[float, float], ...]:
    return gains(share, ratio, tuple(harmless / ratio for harmless in HARMLESS))


def worse(state: Failures, limits: ErrorLimits) -> float:
    """Logarithm of the odds that the canary is worse than is tolerated, and by enough to matter."""
    ratio = log_mean(state.worse)
    if ratio <= 0.0:
        return ratio
    alternatives = tuple([min(CERTAIN, limits.floor * multiple) for multiple in ABOVE])
    return min(ratio, one_sample(state.tally.canary_bad, state.tally.canary, limits.floor, alternatives))


def acceptable(state: Failures, limits: ErrorLimits) -> float:
    """Logarithm of the odds against an unacceptable rate: either the ratio to stable or the rate itself is lower."""
    alternatives = tuple([limits.rate * multiple for multiple in BELOW])
    rate = one_sample(state.tally.canary_bad, state.tally.canary, limits.rate, alternatives)
    return log_mean((log_mean(state.better), rate)) if state.tally.canary else -log(2.0)
