"""
A release that has all of the traffic: nothing stands beside it any more, only what the old one failed before.

Page's cumulative sum (Continuous inspection schemes, Biometrika 41, 1954) over the time in which requests failed: each
second adds the share that failed beyond what is tolerated, and takes away where less did. A release that fails
everything is found after 5 s, one that fails a fifth after half a minute, and a blip that hits all alike is let pass
if it was short or mild. What is tolerated is never less than what the guard calls clear-cut, as a comparison with
another time is a weak one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

ENOUGH = 5.0
"""Seconds in which everything failed, or as much longer as less did."""
LEAST = 10
"""Failed requests below which nothing is said."""
USUAL = 2.0
"""So many times what the old release failed is tolerated."""


@dataclass(frozen=True, slots=True)
class Bake:
    """
    The counters at the last look, and what has added up.

    `seconds` of everything failing; `bad` of `total` requests failed since those were last 0, at `since`.
    """

    at: float
    requests: int
    errors: int
    seconds: float = 0.0
    since: float = 0.0
    bad: int = 0
    total: int = 0

    @property
    def failing(self) -> bool:
        """Whether it has to go."""
        return self.seconds >= ENOUGH and self.bad >= LEAST


def watch(before: Bake | None, now: Bake, tolerated: float) -> Bake:
    """
    What has added up at the next look, of which *now* holds the counters.

    Counters that went back are of another proxy: counting begins anew from there.
    """
    if before is None:
        return now
    total, bad = now.requests - before.requests, now.errors - before.errors
    if total <= 0 or bad < 0:
        return replace(before, at=now.at, requests=now.requests, errors=now.errors)
    seconds = max(0.0, before.seconds + (now.at - before.at) * (bad / total - tolerated))
    if not seconds:
        return now
    since = before.since if before.seconds else before.at
    return replace(now, seconds=seconds, since=since, bad=before.bad + bad, total=before.total + total)


def tolerated(usual: float, clear_cut: float) -> float:
    """The share of requests that may fail, where the old release failed *usual* of them."""
    return max(clear_cut, USUAL * usual)


def explain(bake: Bake, usual: float) -> str:
    """What is wrong, in words."""
    took = bake.at - bake.since
    counted = f"{bake.bad:,} of {bake.total:,} failed in {took:.0f} s with all of the traffic"
    return f"{counted}; what it replaced failed {usual:.2%} before"
