"""
The canary judge beside the rules of others, on the same drawn traffic; and the parallel run beside Diffy's rule.

    python -m benchmarks.judging [RUNS]

All rules see the same half hours: 50 requests a second to ten instances, one of them the canary; every instance fails
30 % of its requests for 5 s about every 15 minutes, and the canary is judged by errors alone. The judge decides every
second and is obeyed; what it takes out of traffic harms nobody. "Out" is when the canary was first without traffic.
A rule may be sooner because it cries wolf, or silent because it sleeps. So the judge stands there with its usual chance
of a false abort (`release.judge.alpha`, 1 %), strict (0.01 %, without the guard) and lax (40 %).

* Flagger: a minute with less than 99 % success is a failed check, five failed checks abort.
* Kayenta: error rates by minute, Mann-Whitney at 98 % with tolerance 0.25, every five minutes on all minutes so far
  (`NetflixACAJudge`, with the normal approximation of the interval).
* z-test: two proportions, one-sided, at 1 %, every ten seconds from five errors on.

Diffy: a field is flagged while it differs more often from the candidate than between the two of stable, by 20 % of
both together and 0.03 % of the requests.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from math import floor, sqrt
from random import Random
from statistics import NormalDist, mean, median

from benchmarks.figures import heading, percentile

from atoll.policies.comparing.oddone import Noise
from atoll.policies.judge.verdict import Kind
from atoll.testing.canaries import Stream, World, release
from atoll.testing.counted import Shop
from atoll.testing.counted import judged as counted_orders
from atoll.testing.parallels import Parallel, found_after, samples
from atoll.values.judging import JudgePolicy

RUNS = 200
HALF_HOUR = 1800
NORMAL = NormalDist()
ERRORS = JudgePolicy(metrics=("errors",))


@dataclass(frozen=True, slots=True)
class Ended:
    """When a rule aborted and when the canary was first out of traffic, in seconds; what it had failed by the end."""

    aborted: float | None
    out: float | None
    failed: int


@dataclass(frozen=True, slots=True)
class Counts:
    """Errors so far, by second, and requests per second."""

    canary_bad: list[int]
    stable_bad: list[int]
    canary: int
    stable: int

    def rates(self, minutes: int) -> tuple[list[float], list[float]]:
        return (
            [(self.canary_bad[60 * m + 60] - self.canary_bad[60 * m]) / (60 * self.canary) for m in range(minutes)],
            [(self.stable_bad[60 * m + 60] - self.stable_bad[60 * m]) / (60 * self.stable) for m in range(minutes)],
        )


def counts(stream: Stream) -> Counts:
    bad = [stream.bad(second, second + 1) for second in range(stream.seconds)]
    canary = list(accumulate((c for c, _ in bad), initial=0))
    stable = list(accumulate((s for _, s in bad), initial=0))
    return Counts(canary, stable, stream.world.rps * stream.world.canary, stream.world.rps * stream.world.stable)


def flagger(seen: Counts) -> int | None:
    failed = 0
    for minute, rate in enumerate(seen.rates(len(seen.canary_bad) // 60)[0], 1):
        failed += rate > 0.01
        if failed >= 5:
            return 60 * minute
    return None


def z_test(seen: Counts) -> int | None:
    bar = NORMAL.inv_cdf(0.99)
    for second in range(10, len(seen.canary_bad), 10):
        x, y, n, m = seen.canary_bad[second], seen.stable_bad[second], seen.canary * second, seen.stable * second
        p = (x + y) / (n + m)
        if x + y >= 5 and (x / n - y / m) > bar * sqrt(p * (1 - p) * (1 / n + 1 / m)):
            return second
    return None


def kayenta(seen: Counts) -> int | None:
    canary, stable = seen.rates(len(seen.canary_bad) // 60)
    return next((60 * m for m in range(5, len(canary) + 1, 5) if kayenta_high(canary[:m], stable[:m])), None)


def kayenta_high(canary: Sequence[float], stable: Sequence[float]) -> bool:
    if sorted(canary) == sorted(stable):
        return False
    low, shift = shift_bounds(canary, stable)
    effect = mean(canary) / mean(stable) if mean(stable) and mean(canary) else None
    return low > 0.25 * abs(shift) and (effect is None or effect >= 1.0)


def shift_bounds(canary: Sequence[float], stable: Sequence[float]) -> tuple[float, float]:
    """The lower end of the interval of the shift, and the Hodges-Lehmann estimate."""
    n, m = len(canary), len(stable)
    shifts = sorted(c - s for c in canary for s in stable)
    both = [*canary, *stable]
    ties = sum(k**3 - k for k in (both.count(v) for v in set(both)))
    deviation = sqrt(n * m / 12 * ((n + m + 1) - ties / ((n + m) * (n + m - 1))))
    place = max(0, floor(n * m / 2 - NORMAL.inv_cdf(0.99) * deviation - 0.5))
    return shifts[min(place, len(shifts) // 2 - 1)], median(shifts)


def judged(policy: JudgePolicy) -> Callable[[Stream, Counts], Ended]:
    def rule(stream: Stream, _: Counts) -> Ended:
        outcome = release(stream, policy)
        failed = outcome.verdict.kind is Kind.FAIL
        return Ended(outcome.verdict.seconds if failed else None, outcome.out, outcome.failed)

    return rule


def counted(rule: Callable[[Counts], int | None]) -> Callable[[Stream, Counts], Ended]:
    def ended(_: Stream, seen: Counts) -> Ended:
        at = rule(seen)
        return Ended(at, at, seen.canary_bad[at if at is not None else -1])

    return ended


RULES = {
    "judge": judged(ERRORS),
    "judge, guard off": judged(replace(ERRORS, guard=None)),
    "judge, strict": judged(replace(ERRORS, alpha=0.0001, guard=None)),
    "judge, lax": judged(replace(ERRORS, alpha=0.4)),
    "Flagger": counted(flagger),
    "Kayenta": counted(kayenta),
    "z-test": counted(z_test),
}


def spread_of(values: Sequence[float]) -> str:
    """Median, and the middle nine tenths."""
    if not values:
        return "-"
    return f"{median(values):.0f} ({percentile(values, 0.05):.0f}-{percentile(values, 0.95):.0f})"


def compare(what: str, world: World, runs: int) -> None:
    streams = [Stream(world, HALF_HOUR, Random(seed)) for seed in range(runs)]
    seen = [counts(stream) for stream in streams]
    for name, rule in RULES.items():
        ended = [rule(stream, count) for stream, count in zip(streams, seen, strict=True)]
        times = [e.aborted for e in ended if e.aborted is not None]
        out = spread_of([e.out for e in ended if e.aborted is not None and e.out is not None])
        share = f"{100 * len(times) / runs:5.1f} %"
        print(f"  {what:34} {name:17} {share:>8}  {spread_of(times):>17} {out:>17} {harm(ended):>17}", flush=True)


def harm(ended: Sequence[Ended]) -> str:
    return spread_of([float(e.failed) for e in ended])


def rules_table(runs: int) -> None:
    heading(f"judging: errors, by rules on the same streams; {runs} runs, 1,000 of the healthy one with hiccups")
    print(f"  {'world':34} {'rule':17} {'aborted':>8}  {'after s':>17} {'out s':>17} {'failed requests':>17}")
    compare("healthy, no hiccups", World(hiccup_every=0.0), runs)
    compare("healthy, hiccups", World(), max(runs, 1000) if runs >= RUNS else runs)
    compare("healthy, hiccups, shared blips", World(blip_every=600.0), runs)
    compare("healthy, errors 1 %", World(errors=0.01, canary_errors=0.01), runs)
    for rate in (0.005, 0.02, 0.2):
        compare(f"canary {100 * rate:g} %", World(canary_errors=rate), runs)


def fleets_table(runs: int) -> None:
    heading(f"judging: errors, p50 and p95 in ten minutes, with hiccups, shared blips, +-5 % of speed; {runs} runs")
    cases = {
        "healthy": {},
        "errors 0.5 %": {"canary_errors": 0.005},
        "errors 20 %": {"canary_errors": 0.2},
        "latency +20 %": {"slower": 1.2},
        "latency +50 %": {"slower": 1.5},
    }
    for canary, stable in ((1, 9), (2, 18), (1, 2)):
        for what, change in cases.items():
            world = World(canary, stable, rps=10, timed=True, blip_every=600.0, **change)
            outcomes = [release(Stream(world, 600, Random(seed)), JudgePolicy()) for seed in range(runs)]
            times = [o.verdict.seconds for o in outcomes if o.verdict.kind is Kind.FAIL]
            passed = sum(o.passed is not None for o in outcomes)
            fleet = f"{canary} of {canary + stable}"
            shares = f"aborted {100 * len(times) / runs:5.1f} %, after {spread_of(times):>14} s"
            print(f"  {fleet:8} {what:14} {shares}; passed at some time {100 * passed / runs:5.1f} %", flush=True)


def counts_table(runs: int) -> None:
    heading(f"judging: counts that must not fall, half an hour, 1 of 5 instances with a tenth of 200 rps; {runs} runs")
    policy = JudgePolicy(metrics=("errors",), counts=("orders",))
    print(f"  {'orders left':>11} {'in clumps of':>12}   {'aborted, after s':>27}   {'passed, after s':>27}")
    for left in (1.0, 0.9, 0.7, 0.5, 0.0):
        for clump in (1.0, 5.0, 20.0):
            shop = Shop(left=left, clump=clump)
            found = [counted_orders(shop, policy, HALF_HOUR, Random(seed)) for seed in range(runs)]
            aborted, passed = share([o.aborted for o in found]), share([o.passed for o in found])
            print(f"  {100 * left:>9.0f} % {clump:>12g}   {aborted:>27}   {passed:>27}", flush=True)


def diffy(parallel: Parallel, requests: int, random: Random) -> tuple[bool, bool]:
    """Whether the field was flagged at any time, and at the end."""
    raw = noise = 0
    ever = False
    for sample in samples(parallel, requests, random):
        raw += sample.primary or sample.candidate
        noise += sample.primary or sample.secondary
        ever = ever or flagged(raw, noise, sample.number)
    return ever, flagged(raw, noise, requests)


def flagged(raw: int, noise: int, requests: int) -> bool:
    return raw > noise and (raw - noise) > 0.2 * (raw + noise) and (raw - noise) > 0.0003 * requests


def parallel_table(runs: int) -> None:
    heading(f"judging: the parallel run, 5,000 requests, {runs} runs; learned: after 10,000 of an A/A run")
    rows = ((0.0, 0.0), (0.01, 0.0), (0.1, 0.0), (0.0, 0.002), (0.01, 0.02), (0.1, 0.02), (0.5, 0.2))
    print(f"  {'noise':>6} {'regression':>10}   {'Diffy ever, at end':>20}   {'odd one out':>27}   {'learned':>27}")
    for noise, regression in rows:
        parallel = Parallel(noise, regression)
        ours = [found_after(samples(parallel, 5000, Random(seed))) for seed in range(runs)]
        learned = [
            found_after(samples(parallel, 5000, Random(seed)), noise=profile(noise, seed)) for seed in range(runs)
        ]
        theirs = [diffy(parallel, 5000, Random(seed)) for seed in range(runs)]
        ever, end = (100 * sum(t[i] for t in theirs) / runs for i in (0, 1))
        figures = f"{ever:.1f} %, {end:.1f} %"
        field = f"{100 * noise:4.0f} % {100 * regression:8.1f} %"
        print(f"  {field}   {figures:>20}   {share(ours):>27}   {share(learned):>27}", flush=True)


def profile(noise: float, seed: int) -> Noise:
    drawn = samples(Parallel(noise), 10_000, Random(-1 - seed))
    return Noise(10_000, sum(s.primary + s.secondary + s.candidate for s in drawn))


def share(found: Sequence[float | None]) -> str:
    times = [n for n in found if n is not None]
    return f"{100 * len(times) / len(found):.1f} %, {spread_of(times)}"


def main(runs: int = RUNS) -> None:
    rules_table(runs)
    fleets_table(runs)
    counts_table(runs)
    parallel_table(2 * runs)


if __name__ == "__main__":
    main(*(int(number) for number in sys.argv[1:]))
