"""
Counts that must not fall: how often an instance of the canary has less, per request, than the median of stable's.

What is counted comes in clumps (a customer who orders for a whole office), and nobody knows how large. So only the
sign is looked at: an instance as good as stable's is below their median about every second time. A stretch is looked
at once the canary's instances should have had `LEAST` each, or as many clumps of the size that stable's counts show.
Source: the sign test as a bet (Shafer, Testing by betting, JRSS A 2021).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import log
from statistics import median

from atoll.policies.judge.evidence import Arm, Unit
from atoll.policies.judge.splitting import Sides
from atoll.policies.mixture import log_mean
from atoll.values.judging import CountLimits

LEAST = 10.0
"""Of fewer the median is too far from the mean, and further for who has fewer requests."""
OFTEN = (0.6, 0.75, 0.9, 0.97)
"""How often a canary that is worse is below, and one that is good enough is above: the alternatives to one half."""
EVEN = (0.0,) * len(OFTEN)
RARE = 0.1
"""How often a whole stretch may pass without any, at most, where ten are expected: chance alone says 1 in 20,000."""


@dataclass(frozen=True, slots=True)
class Part:
    """What one instance had in the stretch that is not looked at yet."""

    instance: str
    arm: Arm
    requests: int
    count: int


@dataclass(frozen=True, slots=True)
class Falling:
    """
    The evidence on one count, and the counts and requests of either side since the beginning.

    `fewer` is for the canary having fewer than is tolerated, `none` for it having none at all, `enough` against an
    unacceptable fall, after `compared` stretches. `scatter` adds up how far stable's `units` were from what was usual,
    as squares by what was expected: 1 each where everything comes by itself (Pearson's dispersion), more where it comes
    in clumps.
    """

    fewer: tuple[float, ...] = EVEN
    none: float = 0.0
    enough: tuple[float, ...] = EVEN
    parts: tuple[Part, ...] = ()
    compared: int = 0
    scatter: float = 0.0
    units: int = 0
    canary: int = 0
    canary_requests: int = 0
    stable: int = 0
    stable_requests: int = 0

    @property
    def usual(self) -> float:
        """How many stable has had per request."""
        return self.stable / self.stable_requests if self.stable_requests else 0.0

    @property
    def clump(self) -> float:
        """How many come at once; 1 where each comes by itself."""
        return self.scatter / self.units if self.units else 1.0


def update(state: Falling, both: Sides, name: str, limits: CountLimits) -> Falling:
    """The evidence after one more bucket. When a stretch is long enough is known from what was before."""
    new = [_part(unit, name) for unit in (*both.canary, *both.stable)]
    parts = tuple(_merged((*state.parts, *new)))
    canary, stable = _arms(parts)
    due = state.usual * _total(canary).requests / len(canary) >= LEAST * max(1.0, state.clump)
    seen = replace(_told(state, *_arms(new)), parts=parts)
    return _compared(seen, _rates(canary), median(_rates(stable)), limits) if due else seen


def _told(state: Falling, canary: Sequence[Part], stable: Sequence[Part]) -> Falling:
    pairs = [(part.count, state.usual * part.requests) for part in stable]
    off = [(count - expected) ** 2 / expected for count, expected in pairs if expected]
    here, there = _total(canary), _total(stable)
    return replace(
        state,
        scatter=state.scatter + sum(off),
        units=state.units + len(off),
        canary=state.canary + here.count,
        canary_requests=state.canary_requests + here.requests,
        stable=state.stable + there.count,
        stable_requests=state.stable_requests + there.requests,
    )


def worse(state: Falling) -> float:
    """Logarithm of the odds that the canary has fewer than is tolerated."""
    return log_mean((*state.fewer, state.none))


def acceptable(state: Falling) -> float:
    """Logarithm of the odds against an unacceptable fall."""
    return log_mean(state.enough)


def _part(unit: Unit, name: str) -> Part:
    return Part(unit.instance, unit.arm, unit.requests, sum([n for counted, n in unit.counts if counted == name]))


def _arms(parts: Iterable[Part]) -> tuple[list[Part], list[Part]]:
    """The canary's and stable's."""
    canary: list[Part] = []
    stable: list[Part] = []
    for part in parts:
        (canary if part.arm is Arm.CANARY else stable).append(part)
    return canary, stable


def _total(parts: Sequence[Part]) -> Part:
    """All in one, under the name of the first."""
    first = parts[0]
    return Part(first.instance, first.arm, sum([p.requests for p in parts]), sum([p.count for p in parts]))


def _merged(parts: Iterable[Part]) -> Iterator[Part]:
    """One for each instance, in the order of their first appearance."""
    found: dict[str, list[Part]] = {}
    for part in parts:
        found.setdefault(part.instance, []).append(part)
    for same in found.values():
        yield _total(same) if len(same) > 1 else same[0]


def _rates(parts: Sequence[Part]) -> list[float]:
    """How many each instance had per request; one that has just come or is going says nothing yet."""
    enough = _total(parts).requests / len(parts) / 2
    return [part.count / part.requests for part in parts if part.requests >= enough]


def _compared(state: Falling, canary: list[float], usual: float, limits: CountLimits) -> Falling:
    """Several instances are one bet: what befalls one of them may befall all."""
    below = sum(rate * limits.tolerated < usual for rate in canary) / len(canary)
    enough = sum(rate * limits.unacceptable > usual for rate in canary) / len(canary)
    return replace(
        state,
        fewer=_bet(state.fewer, below),
        none=state.none + log(0.5 / (1.0 - RARE if any(canary) else RARE)),
        enough=_bet(state.enough, enough),
        parts=(),
        compared=state.compared + 1,
    )


def _bet(logs: tuple[float, ...], share: float) -> tuple[float, ...]:
    return tuple(
        [v + log(2.0 * (often * share + (1.0 - often) * (1.0 - share))) for v, often in zip(logs, OFTEN, strict=True)]
    )
