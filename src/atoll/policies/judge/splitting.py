"""
On which side the bad units are.

A unit is one instance in one bucket, bad when at least one of its requests is: an instance that hiccups for a moment
fails a hundred requests for one reason and is one piece of evidence, not a hundred.

Units are comparable only if they look at equally many requests. So each looks at a random `keep` of what it had: of
`bad` requests out of n, at least one is among them with probability 1 - (1 - keep/n)^bad, and that is how much of a bad
unit it counts as. The expectation of a valid test's evidence over such a draw is valid as well (Jensen).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from atoll.policies.judge.evidence import Arm, Tally, Unit, tally

VAGUE = 1000.0
"""Requests that stable is taken to have had without a bad one, so that its first bad ones do not count for much."""


@dataclass(frozen=True, slots=True)
class Split:
    """Bad units on either side, and the canary's share of all units."""

    canary: float
    stable: float
    share: float


@dataclass(frozen=True, slots=True)
class Sides:
    """What both sides had to do in a bucket; instances without requests are left out."""

    canary: tuple[Unit, ...]
    stable: tuple[Unit, ...]
    tally: Tally

    @property
    def share(self) -> float:
        """The canary's part of the instances."""
        return len(self.canary) / (len(self.canary) + len(self.stable))

    @property
    def loads(self) -> tuple[float, float]:
        """Requests per instance."""
        return self.tally.canary / len(self.canary), self.tally.stable / len(self.stable)


def sides(units: Sequence[Unit]) -> Sides | None:
    """Who had something to do; None where one side had nothing, and there is nothing to compare."""
    canary = tuple([u for u in units if u.requests and u.arm is Arm.CANARY])
    stable = tuple([u for u in units if u.requests and u.arm is Arm.STABLE])
    if not canary or not stable:
        return None
    return Sides(canary, stable, tally(units))


def split(both: Sides, canary: Sequence[int], stable: Sequence[int], most: float) -> Split:
    """
    Count bad units, each looking at equally many requests and at no more than *most*.

    *canary* and *stable* are the bad requests of the units that have some.
    """
    here, there = both.loads
    keep = min(here, there, most)
    return Split(_bad(canary, keep / here), _bad(stable, keep / there), both.share)


def _bad(units: Sequence[int], kept: float) -> float:
    if kept >= 1.0:
        return float(len(units))
    return sum([1.0 - (1.0 - kept) ** bad for bad in units])


def most(dense: float, bad: float, requests: float) -> float:
    """Requests per unit in which *dense* bad ones are expected, going by what stable had so far."""
    return dense * (requests + VAGUE) / bad if bad else inf
