"""Counts that must not fall: the test of errors with the sides exchanged, as it is stable that must not have more."""

from __future__ import annotations

from dataclasses import dataclass

from atoll.policies.judge.splitting import Sides, most, split
from atoll.policies.mixture import RATIOS, add, gains, log_mean
from atoll.values.judging import CountLimits


@dataclass(frozen=True, slots=True)
class Falling:
    """The evidence on one count, and the counts and requests that it rests on."""

    fewer: tuple[float, ...] = (0.0,) * len(RATIOS)
    canary: int = 0
    canary_requests: int = 0
    stable: int = 0
    stable_requests: int = 0


def update(state: Falling, both: Sides, name: str, limits: CountLimits) -> Falling:
    """The evidence after one more bucket."""
    canary = [n for u in both.canary for count, n in u.counts if count == name and n]
    stable = [n for u in both.stable for count, n in u.counts if count == name and n]
    fewer = state.fewer
    if canary or stable:
        found = split(both, canary, stable, most(limits.dense, state.stable, state.stable_requests))
        fewer = add(fewer, found.stable, found.canary, gains(1.0 - found.share, limits.tolerated))
    return Falling(
        fewer,
        state.canary + sum(canary),
        state.canary_requests + both.tally.canary,
        state.stable + sum(stable),
        state.stable_requests + both.tally.stable,
    )


def worse(state: Falling) -> float:
    """Logarithm of the odds that the canary has fewer than is tolerated."""
    return log_mean(state.fewer)
