"""
Traffic on paper for the canary judge: instances with errors, hiccups of their own and trouble that they share.

The model is that of the research behind the judge: an instance fails `hiccup_errors` of its requests for `hiccup`
seconds now and then, all of them fail `blip_errors` when something that they share does, and some are always faster.
Every instance gets `rps` requests in every second. Errors are drawn by how far it is to the next one, so that half an
hour of fifty requests a second takes less than a millisecond.
"""

from __future__ import annotations

from bisect import bisect
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from math import comb, exp, log, sqrt
from random import Random

from atoll.policies.judge.evidence import Arm, Bucket, Latency, Unit
from atoll.policies.judge.guard import Phase
from atoll.policies.judge.judging import judge
from atoll.policies.judge.state import begin
from atoll.policies.judge.verdict import Kind, Verdict
from atoll.values.judging import JudgePolicy

BUCKET = 5
SPREAD = 0.6
"""Of the logarithm of latencies."""


@dataclass(frozen=True, slots=True)
class World:
    """A fleet and what befalls it. Times are seconds; 0 in `..._every` is never."""

    canary: int = 1
    stable: int = 9
    rps: int = 5
    errors: float = 0.001
    canary_errors: float = 0.001
    slower: float = 1.0
    timed: bool = False
    hiccup_every: float = 900.0
    hiccup: int = 5
    hiccup_errors: float = 0.3
    blip_every: float = 0.0
    blip: int = 15
    blip_errors: float = 0.2
    differ: float = 0.05


@dataclass(slots=True)
class Stream:
    """What happens in *seconds* of a world: errors by second and instance; the canary's instances come first."""

    world: World
    seconds: int
    random: Random
    errors: dict[int, dict[int, int]] = field(default_factory=dict)
    troubled: dict[int, float] = field(default_factory=dict)
    speeds: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        world, total = self.world, self.world.canary + self.world.stable
        self._usual(range(world.canary), world.canary_errors)
        self._usual(range(world.canary, total), world.errors)
        for instance in range(total):
            for start in self._moments(world.hiccup_every):
                self._trouble(start, world.hiccup, [instance], world.hiccup_errors)
        for start in self._moments(world.blip_every):
            self._trouble(start, world.blip, range(total), world.blip_errors)
        speeds = [exp(self.random.gauss(0.0, world.differ)) for _ in range(total)] if world.timed else [1.0] * total
        self.speeds = [s * (world.slower if i < world.canary else 1.0) for i, s in enumerate(speeds)]

    def _usual(self, instances: range, rate: float) -> None:
        """Errors of *instances*, by the distance from one to the next."""
        a_second = self.world.rps * len(instances)
        if not rate or not a_second:
            return
        at, distance = -1, log(1.0 - rate)
        while True:
            at += int(log(1.0 - self.random.random()) / distance) + 1
            second, place = divmod(at, a_second)
            if second >= self.seconds:
                return
            self._add(second, instances[place // self.world.rps], 1)

    def _moments(self, every: float) -> Iterator[int]:
        at = self.random.expovariate(1.0 / every) if every else float(self.seconds)
        while at < self.seconds:
            yield int(at)
            at += self.random.expovariate(1.0 / every)

    def _trouble(self, start: int, length: int, instances: list[int] | range, rate: float) -> None:
        table = _binomial(self.world.rps, rate)
        for second in range(start, min(self.seconds, start + length)):
            for instance in instances:
                self._add(second, instance, bisect(table, self.random.random()))
                if self.world.timed:
                    self.troubled[second // BUCKET * 1000 + instance] = 3.0 if len(instances) == 1 else 2.0

    def _add(self, second: int, instance: int, errors: int) -> None:
        if errors:
            here = self.errors.setdefault(second, {})
            here[instance] = min(self.world.rps, here.get(instance, 0) + errors)

    def bad(self, start: int, end: int) -> tuple[int, int]:
        """Errors of the canary and of stable in some seconds, when all of it gets its traffic."""
        found = [(i, n) for s in range(start, end) if s in self.errors for i, n in self.errors[s].items()]
        canary = sum(n for i, n in found if i < self.world.canary)
        return canary, sum(n for _, n in found) - canary

    def piece(self, start: int, end: int, *, exposed: bool = True) -> Bucket:
        """These seconds as the judge sees them; a canary that is not *exposed* gets nothing."""
        world = self.world
        requests = world.rps * (end - start)
        first = 0 if exposed else world.canary
        units = list(_quiet(first, world.canary, world.canary + world.stable, requests))
        for instance, errors in self._errors(start, end):
            if instance >= first:
                units[instance - first] = _unit(instance, world.canary, requests, errors)
        if world.timed and end % BUCKET == 0:
            units = [self._timed(first + place, unit, end // BUCKET - 1) for place, unit in enumerate(units)]
        return Bucket(float(start), float(end), tuple(units))

    def troubles_canary(self, start: int, end: int) -> bool:
        """An error of the canary is in these seconds."""
        return any(instance < self.world.canary for instance, _ in self._errors(start, end))

    def _errors(self, start: int, end: int) -> Iterable[tuple[int, int]]:
        found = [self.errors[second] for second in range(start, end) if second in self.errors]
        if len(found) < 2:  # noqa: PLR2004
            return found[0].items() if found else ()
        total: Counter[int] = Counter()
        for errors in found:
            total.update(errors)
        return total.items()

    def _timed(self, instance: int, unit: Unit, bucket: int) -> Unit:
        return Unit(unit.instance, unit.arm, unit.requests, unit.bad, self._latency(instance, bucket))

    def _latency(self, instance: int, bucket: int) -> Latency:
        """Quantiles of so many log-normal times, by their own distribution: nobody draws the times."""
        calls = self.world.rps * BUCKET
        middle = 0.05 * self.speeds[instance] * self.troubled.get(bucket * 1000 + instance, 1.0)
        p50 = middle * exp(self.random.gauss(0.0, SPREAD * 1.2533 / sqrt(calls)))
        p95 = middle * exp(SPREAD * 1.645 + self.random.gauss(0.0, SPREAD * 2.113 / sqrt(calls)))
        return Latency(calls, p50, p95)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a release went: the last verdict, when it was first out of traffic and when it passed, how many it failed."""

    verdict: Verdict
    out: float | None
    passed: float | None
    failed: int


def release(stream: Stream, policy: JudgePolicy) -> Outcome:
    """
    Judge the stream to its end, every second, and do what the judge says about the canary's traffic.

    Where the canary fails nothing for a bucket, its seconds are told in one piece: the judge adds up either way.
    """
    state = begin(policy, 0.0)
    verdict = Verdict(Kind.UNDECIDED)
    out = passed = None
    second = 0
    while second < stream.seconds and verdict.kind is not Kind.FAIL:
        end = min(stream.seconds, second - second % BUCKET + BUCKET)
        if state.watch.phase is not Phase.WATCH or stream.troubles_canary(second, end):
            end = second + 1
        state, verdict = judge(state, stream.piece(second, end, exposed=verdict.exposed), policy)
        second = end
        if not verdict.exposed and out is None:
            out = float(second)
        if verdict.kind is Kind.PASS and passed is None:
            passed = float(second)
    return Outcome(verdict, out, passed, state.totals.canary_bad)


@lru_cache(maxsize=4096)
def _unit(instance: int, canary: int, requests: int, bad: int) -> Unit:
    return Unit(f"shop-{instance}", Arm.CANARY if instance < canary else Arm.STABLE, requests, bad)


@lru_cache(maxsize=64)
def _quiet(first: int, canary: int, total: int, requests: int) -> tuple[Unit, ...]:
    return tuple(_unit(instance, canary, requests, 0) for instance in range(first, total))


@lru_cache(maxsize=64)
def _binomial(n: int, p: float) -> tuple[float, ...]:
    """The chances of at most 0, 1, ... n - 1 of *n*."""
    chances = [comb(n, k) * p**k * (1.0 - p) ** (n - k) for k in range(n)]
    return tuple(sum(chances[: k + 1]) for k in range(n))
