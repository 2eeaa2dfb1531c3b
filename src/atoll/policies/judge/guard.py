"""
The guard: out of traffic within a second or two, aborted only on evidence.

No statistic can tell a release that fails a fifth of its requests from one instance's hiccup while the hiccup lasts.
But taking the canary out of traffic can be undone. So clear-cut failure takes it out at once (a strike), for longer
than a hiccup lasts, and lets it back in on probation. A release that is broken strikes again at once; an instance that
had a hiccup does not. Strikes are separated in time, so that no single trouble is counted twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from math import log

from atoll.policies.judge.evidence import Arm, Bucket, Tally
from atoll.policies.mixture import RATIOS, add, gains, log_mean
from atoll.values.judging import Guard

LEAST = 2
"""Errors, and instances with errors where the canary has so many, below which nothing is clear-cut."""


class Phase(StrEnum):
    """What the guard does with the canary's traffic."""

    WATCH = "watch"
    PAUSE = "pause"
    PROBATION = "probation"


@dataclass(frozen=True, slots=True)
class Watch:
    """Strikes so far, and the requests since `since`; `bad` holds the canary's bad ones by instance."""

    phase: Phase = Phase.WATCH
    until: float = 0.0
    strikes: int = 0
    since: float = 0.0
    bad: tuple[tuple[str, int], ...] = ()
    tally: Tally = field(default_factory=Tally)


def watch(state: Watch, piece: Bucket, new: Tally, guard: Guard) -> Watch:
    """The guard after *piece*, which holds *new*. There was a strike if it has more of them than before."""
    if state.phase is Phase.PAUSE:
        return state if piece.end < state.until else _back(state, piece.end, guard)
    seen = _seen(state, piece, new, guard)
    if _struck(seen, piece, guard):
        return Watch(Phase.PAUSE, piece.end + guard.pause, seen.strikes + 1)
    if seen.phase is Phase.PROBATION and piece.end >= seen.until and seen.tally.canary:
        return Watch(strikes=seen.strikes - 1, since=piece.end)
    return seen


def _back(state: Watch, at: float, guard: Guard) -> Watch:
    return Watch(Phase.PROBATION, at + guard.probation, state.strikes, since=at)


def _seen(state: Watch, piece: Bucket, new: Tally, guard: Guard) -> Watch:
    if state.phase is Phase.WATCH and piece.end - state.since > guard.window:
        state = Watch(strikes=state.strikes, since=piece.start)
    bad = _with(state.bad, piece) if new.canary_bad else state.bad
    return Watch(state.phase, state.until, state.strikes, state.since, bad, state.tally + new)


def _with(bad: tuple[tuple[str, int], ...], piece: Bucket) -> tuple[tuple[str, int], ...]:
    counted = dict(bad)
    for unit in piece.units:
        if unit.bad and unit.arm is Arm.CANARY:
            counted[unit.instance] = counted.get(unit.instance, 0) + unit.bad
    return tuple(counted.items())


def _struck(state: Watch, piece: Bucket, guard: Guard) -> bool:
    seen = state.tally
    if seen.canary_bad < LEAST or not seen.stable or seen.canary_bad < guard.rate * seen.canary:
        return False
    if len(state.bad) < min(LEAST, sum(u.arm is Arm.CANARY for u in piece.units)):
        return False
    share = min(0.999, max(0.001, round(seen.canary / (seen.canary + seen.stable), 3)))
    odds = add((0.0,) * len(RATIOS), seen.canary_bad, seen.stable_bad, gains(share, 1.0))
    return log_mean(odds) >= log(guard.odds)
