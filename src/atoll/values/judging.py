"""
The settings of the canary judge, as frozen values. Durations are seconds, shares and rates are 0 to 1.

Every default is one of the figures that were simulated: `docs/explanation/judging.md` has the tables. Values are only
held here; `problems` says which of them make no sense.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from atoll.values.nearest import nearest

ERRORS = "errors"
LATENCIES = ("latency_p50", "latency_p95")
METRICS = (ERRORS, *LATENCIES)
"""What the proxies measure for every service. Counts are named by whoever delivers them."""


@dataclass(frozen=True, slots=True)
class ErrorLimits:
    """
    What errors a release may have.

    A canary fails when its rate is above `tolerated` times stable's and above `floor`. It passes when a rate of
    `ratio` times stable's that is also above `rate` is ruled out. A unit of evidence looks at so many requests that
    `dense` of stable's units hold an error: more would make every unit bad, on both sides.
    """

    tolerated: float = 1.2
    floor: float = 0.001
    ratio: float = 2.0
    rate: float = 0.005
    dense: float = 0.25


@dataclass(frozen=True, slots=True)
class LatencyLimits:
    """
    How much slower a release may be.

    An instance is slow in a bucket when it is above the `quantile` of what stable's instances showed in the last
    `history` seconds, the canary's only when above it by the factor `margin`. The canary fails when it is slow more
    than `tolerated` times as often, and passes when the factor `unacceptable` is ruled out.
    """

    margin: float = 1.1
    tolerated: float = 1.5
    quantile: float = 0.8
    history: float = 60.0
    unacceptable: float = 1.2


@dataclass(frozen=True, slots=True)
class CountLimits:
    """
    How much less of what counts a release may do.

    A count fails when stable has more than `tolerated` times the canary's per request, and passes when the factor
    `unacceptable` is ruled out.
    """

    tolerated: float = 1.2
    unacceptable: float = 2.0


@dataclass(frozen=True, slots=True)
class Guard:
    """
    What is done about clear-cut failure before the statistics are done.

    A strike is an error share of at least `rate` within `window` seconds, at odds of `odds` to 1 that the canary is
    worse. It takes the canary out of traffic for `pause` seconds, which must be longer than an instance's hiccup; then
    it is on probation for `probation` seconds. It fails at `strikes` strikes; a probation that passes takes one back.
    """

    odds: float = 20.0
    rate: float = 0.05
    window: float = 10.0
    pause: float = 10.0
    probation: float = 15.0
    strikes: int = 3


@dataclass(frozen=True, slots=True)
class JudgePolicy:
    """
    How a release is judged.

    `alpha` bounds the chance that a release as good as stable is aborted, over all metrics and however long it takes;
    `beta` the chance that an unacceptable one passes. `bucket` is the length of a unit of evidence. `counts` are counts
    that must not fall. What is in `dry_run` is measured and told, and decides nothing. `risk_budget` is how many
    requests the release may fail beyond what stable would have failed; None for no such stop. Without data for
    `no_data_grace` seconds the release holds, but not for want of what is in `needless`: that is judged where it can
    be compared, and nobody waits for it.
    """

    alpha: float = 0.01
    beta: float = 0.05
    bucket: float = 5.0
    metrics: tuple[str, ...] = METRICS
    counts: tuple[str, ...] = ()
    dry_run: tuple[str, ...] = ()
    errors: ErrorLimits = ErrorLimits()
    latency: LatencyLimits = LatencyLimits()
    falling: CountLimits = CountLimits()
    guard: Guard | None = Guard()
    risk_budget: int | None = None
    min_requests: int = 100
    no_data_grace: float = 60.0
    needless: tuple[str, ...] = ()

    def alpha_of(self, metric: str) -> float:
        """The part of `alpha` that one metric may use: half of it for errors, the others share the rest."""
        others = sum(m not in {ERRORS, *self.dry_run} for m in (*self.metrics, *self.counts))
        if ERRORS not in self.metrics or ERRORS in self.dry_run:
            return self.alpha / max(1, others)
        if metric == ERRORS:
            return self.alpha / 2 if others else self.alpha
        return self.alpha / 2 / max(1, others)


def allowance(share: float, objective: float, requests_a_month: float) -> int:
    """The failed requests that are *share* of a month's error budget: 5 % of 99.9 % of ten million are 500."""
    return int(share * (1 - objective) * requests_a_month + 0.5)


def problems(policy: JudgePolicy, known_counts: Collection[str]) -> Iterator[str]:
    """What is wrong with *policy*, where only *known_counts* are delivered; nothing where it makes sense."""
    yield from _unknown(policy, known_counts)
    if not set(policy.metrics) - set(policy.dry_run):
        yield "nothing decides: judge at least one metric that is not in dry_run"
    for name in ("alpha", "beta"):
        if not 0 < getattr(policy, name) < 1:
            yield f"{name} is {getattr(policy, name):g}: write a share between 0 and 1, such as 0.01"
    for name in ("bucket", "no_data_grace"):
        if getattr(policy, name) <= 0:
            yield f"{name} is {getattr(policy, name):g} s: write a time above 0"
    yield from _limits(policy)
    if policy.guard is not None:
        yield from _guard(policy.guard)


def _unknown(policy: JudgePolicy, known_counts: Collection[str]) -> Iterator[str]:
    for metric in policy.metrics:
        if metric not in METRICS:
            yield f"there is no metric {metric}{_meant(metric, METRICS)}: the metrics are {', '.join(METRICS)}"
    for count in policy.counts:
        if count not in known_counts:
            yield f"nothing delivers a count {count}{_meant(count, known_counts)}"
    for name in policy.dry_run:
        judged = (*policy.metrics, *policy.counts)
        if name not in judged:
            yield f"dry_run names {name}, which is not judged{_meant(name, judged)}"


def _meant(word: str, known: Collection[str]) -> str:
    found = nearest(word, known)
    return f" (did you mean {found}?)" if found else ""


def _limits(policy: JudgePolicy) -> Iterator[str]:
    errors, latency = policy.errors, policy.latency
    if min(errors.tolerated, latency.tolerated, latency.margin, policy.falling.tolerated) < 1:
        yield "a tolerated ratio or a margin below 1 fails releases that are as good as stable: write 1 or more"
    if errors.ratio <= errors.tolerated:
        yield f"an error ratio of {errors.ratio:g} cannot be tolerated and unacceptable: raise ratio above tolerated"
    if not 0 < errors.floor < errors.rate < 1:
        yield f"errors need 0 < floor < rate < 1, and have floor {errors.floor:g} and rate {errors.rate:g}"
    if policy.falling.unacceptable <= policy.falling.tolerated:
        fall = 100 * (1 - 1 / policy.falling.tolerated)
        yield f"a fall of counts by {fall:.0f} % is tolerated: what is unacceptable has to be more"
    if latency.unacceptable <= 1:
        yield f"latency.unacceptable is {latency.unacceptable:g}: write a factor above 1, such as 1.2"


def _guard(guard: Guard) -> Iterator[str]:
    if guard.strikes < 1 or guard.odds <= 1:
        yield "the guard needs at least one strike and odds above 1"
    if min(guard.window, guard.pause, guard.probation) <= 0:
        yield "the guard needs a window, a pause and a probation above 0 s"
