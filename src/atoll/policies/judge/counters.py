"""
Counters that only grow, except when somebody starts anew, to what happened between two looks at them.

What is counted per host: the answers that are none with 5xx, the tries that were repeated, and by their kind the
failures and time-outs. Each proxy counts for itself and may start anew for itself, so a reading carries the name of its
proxy; and it may forget a kind of answer that nothing was added to for long, so each is a counter of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from atoll.policies.judge.evidence import Arm, Bucket, Latency, Unit

Counts = tuple[tuple[str, int], ...]
Kinds = tuple[tuple[str, str, int], ...]
"""Of one name there may be several counters, one for each kind of answer."""


@dataclass(frozen=True, slots=True)
class Reading:
    """
    One host's counters in one proxy. `latency` is of the calls since the last look, not since the start.

    `error` and each of `failed` count what failed, no call twice.
    """

    proxy: str
    instance: str
    arm: Arm
    success: int
    error: int
    failed: Counts = ()
    latency: Latency | None = None
    counts: Kinds = ()

    @property
    def bad(self) -> int:
        """All that failed."""
        return self.error + sum([n for _, n in self.failed])


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One look at all proxies that answered. `share` and `users` as in a Bucket; `users` only grows."""

    at: float
    readings: tuple[Reading, ...] = ()
    share: float | None = None
    users: int | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """Where the counters of one host stood."""

    proxy: str
    instance: str
    success: int
    error: int
    failed: Counts = ()
    counts: Kinds = ()


@dataclass(frozen=True, slots=True)
class Baseline:
    """Where all counters stood at the last look."""

    at: float
    marks: tuple[Mark, ...] = ()
    users: int | None = None


def difference(before: Baseline | None, now: Snapshot) -> tuple[Baseline, Bucket | None]:
    """
    What happened since the last look, None for the first look and for one that is not later.

    A counter that went back belongs to a host that started anew: all it shows is new. So does all of a host that its
    proxy did not list before. A proxy that was not seen before may have a history: it only sets the mark. One that did
    not answer keeps its marks.
    """
    if before is None:
        return _marked(Baseline(now.at), now), None
    if now.at <= before.at:
        return before, None
    marks = {(m.proxy, m.instance): m for m in before.marks}
    known = {m.proxy for m in before.marks}
    units = [_since(marks.get((r.proxy, r.instance)), r) for r in now.readings if r.proxy in known]
    return _marked(before, now), Bucket(before.at, now.at, merged(units), now.share, _users(before.users, now.users))


def _marked(before: Baseline, now: Snapshot) -> Baseline:
    answered = {r.proxy for r in now.readings}
    kept = tuple(m for m in before.marks if m.proxy not in answered)
    new = tuple(Mark(r.proxy, r.instance, r.success, r.error, r.failed, r.counts) for r in now.readings)
    return Baseline(now.at, kept + new, now.users if now.users is not None else before.users)


def _since(mark: Mark | None, now: Reading) -> Unit:
    if mark is None:
        mark = Mark(now.proxy, now.instance, 0, 0)
    good, bad = _added(mark.success, now.success), _added(mark.error, now.error)
    failed = dict(mark.failed)
    bad += sum([_added(failed.get(kind, 0), value) for kind, value in now.failed])
    return Unit(now.instance, now.arm, good + bad, bad, now.latency, _counted(mark.counts, now.counts))


def _counted(before: Kinds, now: Kinds) -> Counts:
    known = {(name, kind): value for name, kind, value in before}
    new: dict[str, int] = {}
    for name, kind, value in now:
        new[name] = new.get(name, 0) + _added(known.get((name, kind), 0), value)
    return tuple(new.items())


def _added(before: int, now: int) -> int:
    """Each counter for itself: a new process of a proxy goes on with some and begins anew with others."""
    return now - before if now >= before else now


def _users(before: int | None, now: int | None) -> int | None:
    if now is None or before is None:
        return None
    return now - before if now >= before else now


def merged(units: Iterable[Unit]) -> tuple[Unit, ...]:
    """One unit for each instance, in the order of their first appearance."""
    found: dict[str, Unit] = {}
    for unit in units:
        other = found.get(unit.instance)
        found[unit.instance] = unit if other is None else _sum(other, unit)
    return tuple(found.values())


def _sum(one: Unit, two: Unit) -> Unit:
    counts = dict(one.counts)
    for name, value in two.counts:
        counts[name] = counts.get(name, 0) + value
    return Unit(
        one.instance,
        one.arm,
        one.requests + two.requests,
        one.bad + two.bad,
        _both(one.latency, two.latency),
        tuple(counts.items()),
    )


def _both(one: Latency | None, two: Latency | None) -> Latency | None:
    """Quantiles of parts do not add up to those of the whole; their average by calls is close in so short a time."""
    if one is None or two is None or not one.calls or not two.calls:
        return one if two is None or not two.calls else two
    calls = one.calls + two.calls
    return Latency(
        calls,
        (one.p50 * one.calls + two.p50 * two.calls) / calls,
        (one.p95 * one.calls + two.p95 * two.calls) / calls,
    )
