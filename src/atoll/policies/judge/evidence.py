"""What the judge looks at: what each instance did in a stretch of time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Arm(StrEnum):
    """Which release an instance runs."""

    CANARY = "canary"
    STABLE = "stable"


@dataclass(frozen=True, slots=True)
class Latency:
    """How long the calls of one instance took, in any unit that is the same everywhere."""

    calls: int
    p50: float
    p95: float


@dataclass(frozen=True, slots=True)
class Unit:
    """One instance in one stretch of time. `counts` are events that must not become fewer, by name."""

    instance: str
    arm: Arm
    requests: int
    bad: int = 0
    latency: Latency | None = None
    counts: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Bucket:
    """
    All instances in the seconds from `start` to `end`.

    `share` is the part of the traffic that was asked for the canary, None where nobody says. `users` is how many
    requests of users failed because of the canary, retries allowed for; None where that is not counted.
    """

    start: float
    end: float
    units: tuple[Unit, ...] = ()
    share: float | None = None
    users: int | None = None


@dataclass(frozen=True, slots=True)
class Tally:
    """Requests of either side, and the bad ones among them."""

    canary: int = 0
    canary_bad: int = 0
    stable: int = 0
    stable_bad: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.canary + other.canary,
            self.canary_bad + other.canary_bad,
            self.stable + other.stable,
            self.stable_bad + other.stable_bad,
        )


def tally(units: Iterable[Unit]) -> Tally:
    """What *units* had to do and what went wrong, by side."""
    canary = canary_bad = stable = stable_bad = 0
    for unit in units:
        if unit.arm is Arm.CANARY:
            canary, canary_bad = canary + unit.requests, canary_bad + unit.bad
        else:
            stable, stable_bad = stable + unit.requests, stable_bad + unit.bad
    return Tally(canary, canary_bad, stable, stable_bad)
