"""
The sample ratio: whether the canary gets the share of the traffic that was asked for.

If it does not, whatever else was measured may be about the routing. A reason to hold and never one to abort, so it may
be forgotten: evidence that speaks for the right share does not add up, and no bucket counts for more than `MOST`.
"""

from __future__ import annotations

from math import log

from atoll.policies.mixture import add, gains

TOLERATED = 1.25
OFF = (1.6,)
MOST = 2.0
BAR = log(1000.0)
EMPTY = (0.0, 0.0)

Ratio = tuple[float, float]
"""Logarithms of the odds that the canary gets too much, and too little."""


def update(state: Ratio, canary: int, stable: int, asked: float | None) -> Ratio:
    """After a bucket with so many requests, of which *asked* should have been the canary's."""
    total = canary + stable
    if asked is None or not 0 < asked < total:
        return EMPTY if asked is None else state
    share = round(asked / total, 4)
    if not 0.0 < share < 1.0:
        return state
    (much,) = add((0.0,), canary, stable, gains(share, TOLERATED, OFF))
    (little,) = add((0.0,), stable, canary, gains(1.0 - share, TOLERATED, OFF))
    return _bounded(state[0], much), _bounded(state[1], little)


def _bounded(before: float, more: float) -> float:
    return min(2 * BAR, max(0.0, before + min(MOST, more)))


def off(state: Ratio) -> str:
    """`too much` or `too little`; empty where the share is as asked."""
    much, little = state
    if much >= BAR:
        return "more"
    return "less" if little >= BAR else ""
