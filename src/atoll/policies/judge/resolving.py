"""
What the present traffic can resolve, told before a release starts.

The arithmetic is that of the tests: what a bucket is expected to add to the odds, less 1.28 standard deviations, so
that nine of ten such releases are decided in the time given. Trouble that strikes by itself is not in it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import ceil, exp, log, sqrt
from statistics import NormalDist

from atoll.policies.judge import falling
from atoll.policies.judge.failures import ABOVE, BELOW, CERTAIN, HARMLESS
from atoll.policies.judge.slowness import LEAST_STABLE, comparable
from atoll.policies.mixture import RATIOS, gains, log_mean
from atoll.values.judging import ERRORS, LATENCIES, JudgePolicy
from atoll.values.quantities import show_duration

NINE_OF_TEN = 1.28
SPREAD = 0.6
"""Standard deviation of the logarithm of one service's latencies, as many services have it."""
_MEDIAN = 1.57
"""How much more the median of several scatters than their mean (its variance, of many normal ones: pi / 2)."""
SCATTER = {"latency_p50": 1.2533, "latency_p95": 2.113}
"""How much the quantile of n such latencies scatters, in units of SPREAD / sqrt(n)."""
NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Traffic:
    """
    The requests of a service, the canary's share of them, the instances of both sides, the usual error rate.

    `counts` are how often a request is one of what must not become fewer, by name.
    """

    rps: float
    share: float
    canary: int
    stable: int
    errors: float = 0.001
    counts: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Resolution:
    """
    The least regressions that are found, None where none is.

    An error rate, factors of latency by metric, and by which share a count falls.

    `passes` is after how many seconds a release as good as stable passes by its errors, None where it does not.
    """

    errors: float | None
    latencies: tuple[tuple[str, float | None], ...]
    falls: tuple[tuple[str, float | None], ...]
    passes: float | None
    text: str


def resolvable(traffic: Traffic, policy: JudgePolicy, seconds: float) -> Resolution:
    """What *traffic* can resolve in *seconds*."""
    errors = _errors(traffic, policy, seconds) if ERRORS in policy.metrics else None
    judged = [name for name in LATENCIES if name in policy.metrics]
    latencies = tuple((name, _latency(name, traffic, policy, seconds)) for name in judged)
    rates = dict(traffic.counts)
    falls = tuple((name, _fall(name, rates.get(name, 0.0), traffic, policy, seconds)) for name in policy.counts)
    found = Resolution(errors, latencies, falls, _passes(traffic, policy, seconds), "")
    return replace(found, text=_words(traffic, policy, seconds, found))


def _errors(traffic: Traffic, policy: JudgePolicy, seconds: float) -> float | None:
    bar = -log(policy.alpha_of(ERRORS))
    here, there = _loads(traffic, policy)
    keep = min(here, there, policy.errors.dense / traffic.errors)
    buckets, requests = seconds / policy.bucket, traffic.rps * traffic.share * seconds
    usual = 1.0 - exp(-keep * traffic.errors)

    def found(rate: float) -> bool:
        bad = 1.0 - exp(-keep * rate)
        if not _decides(traffic, bad, usual, policy.errors.tolerated, buckets, bar):
            return False
        return _surely_above(rate, requests, policy.errors.floor, bar)

    return _least(found, traffic.errors, CERTAIN)


def _latency(name: str, traffic: Traffic, policy: JudgePolicy, seconds: float) -> float | None:
    limits = policy.latency
    buckets = (seconds - limits.history) / policy.bucket
    here, there = _loads(traffic, policy)
    if traffic.stable < LEAST_STABLE or buckets <= 0 or not comparable(here, there):
        return None
    scatter = SPREAD * SCATTER[name] / sqrt(min(here, there))
    usual = NORMAL.inv_cdf(limits.quantile)

    def found(factor: float) -> bool:
        slow = 1.0 - NORMAL.cdf(usual + (log(limits.margin) - log(factor)) / scatter)
        bar = -log(policy.alpha_of(name))
        return _decides(traffic, slow, 1.0 - limits.quantile, limits.tolerated, buckets, bar)

    return _least(found, 1.0, 10.0)


def _fall(name: str, rate: float, traffic: Traffic, policy: JudgePolicy, seconds: float) -> float | None:
    here, there = _loads(traffic, policy)
    if not rate * here:
        return None
    buckets = max(1, ceil(falling.LEAST / (rate * here)))  # in a stretch
    stretches = seconds / policy.bucket / buckets - 1  # the first says how much is usual
    usual, peer = rate * here * buckets, rate * there * buckets
    bar = usual / policy.falling.tolerated
    needed = -log(policy.alpha_of(name)) + log(len(falling.OFTEN) + 1)

    def found(fall: float) -> bool:
        left = usual * (1.0 - fall)
        scatter = sqrt(left + bar**2 * _MEDIAN / (peer * traffic.stable))
        below = NORMAL.cdf((bar - left) / scatter)
        return any(_bets(below, often, stretches) >= needed for often in falling.OFTEN)

    return _least(found, 0.01, 1.0) if stretches >= 1 else None


def _bets(share: float, often: float, times: float) -> float:
    """What so many bets bring in nine of ten cases."""
    won, lost = log(2.0 * often), log(2.0 * (1.0 - often))
    mean, spread = share * won + (1.0 - share) * lost, share * (1.0 - share) * (won - lost) ** 2
    return times * mean - NINE_OF_TEN * sqrt(times * spread)


def _loads(traffic: Traffic, policy: JudgePolicy) -> tuple[float, float]:
    """Requests of an instance in a bucket, on either side."""
    total = traffic.rps * policy.bucket
    return total * traffic.share / traffic.canary, total * (1.0 - traffic.share) / traffic.stable


def _decides(traffic: Traffic, bad: float, usual: float, tolerated: float, buckets: float, bar: float) -> bool:
    """Whether so many buckets lead one of the alternatives over the bar, when these are the shares of bad units."""
    share = traffic.canary / (traffic.canary + traffic.stable)
    needed = bar + log(len(RATIOS))
    for here, there in gains(share, tolerated):
        mean = traffic.canary * bad * here + traffic.stable * usual * there
        spread = traffic.canary * bad * (1 - bad) * here**2 + traffic.stable * usual * (1 - usual) * there**2
        if buckets * mean - NINE_OF_TEN * sqrt(buckets * spread) >= needed:
            return True
    return False


def _surely_above(rate: float, requests: float, floor: float, bar: float) -> bool:
    for multiple in ABOVE:
        there = min(CERTAIN, floor * multiple)
        error, success = log(there / floor), log((1 - there) / (1 - floor))
        mean = requests * (rate * error + (1 - rate) * success)
        spread = requests * rate * (1 - rate) * (error - success) ** 2
        if mean - NINE_OF_TEN * sqrt(spread) >= bar + log(len(ABOVE)):
            return True
    return False


def _passes(traffic: Traffic, policy: JudgePolicy, seconds: float) -> float | None:
    """By what a second is expected to add to either way of being acceptable, each of which counts for half."""
    if ERRORS not in policy.metrics:
        return None
    rate, ratio = _clears_by_rate(traffic, policy), _clears_by_ratio(traffic, policy)

    def found(after: float) -> bool:
        if after * traffic.rps * traffic.share < policy.min_requests:
            return False
        by_rate, by_ratio = (log_mean([after * a_second for a_second in way]) for way in (rate, ratio))
        return log_mean((by_rate, by_ratio)) >= -log(policy.beta)

    return _least(found, 1.0, seconds)


def _clears_by_rate(traffic: Traffic, policy: JudgePolicy) -> list[float]:
    rate, found = policy.errors.rate, []
    for multiple in BELOW:
        error, success = log(multiple), log((1 - rate * multiple) / (1 - rate))
        found.append(traffic.rps * traffic.share * (traffic.errors * error + (1 - traffic.errors) * success))
    return found


def _clears_by_ratio(traffic: Traffic, policy: JudgePolicy) -> list[float]:
    here, there = _loads(traffic, policy)
    usual = 1.0 - exp(-min(here, there, policy.errors.dense / traffic.errors) * traffic.errors)
    share = traffic.canary / (traffic.canary + traffic.stable)
    per_event = gains(share, policy.errors.ratio, tuple(harmless / policy.errors.ratio for harmless in HARMLESS))
    return [usual * (traffic.canary * a + traffic.stable * b) / policy.bucket for a, b in per_event]


def _least(found: Callable[[float], bool], low: float, high: float) -> float | None:
    """The least value that is found, to one per cent; None where not even *high* is."""
    if not found(high):
        return None
    while high / low > 1.01:  # noqa: PLR2004
        middle = sqrt(low * high)
        low, high = (low, middle) if found(middle) else (middle, high)
    return high


def _words(traffic: Traffic, policy: JudgePolicy, seconds: float, can: Resolution) -> str:
    instances = f"{traffic.canary} of {traffic.canary + traffic.stable} instances"
    where = f"{traffic.rps:g} rps, {100 * traffic.share:g} % of them on {instances}, for {show_duration(seconds)}"
    found = []
    if ERRORS in policy.metrics:
        worse = f"errors of {100 * can.errors:.2g} % or more" if can.errors is not None else "no error rate"
        found.append(f"{worse} (stable has {100 * traffic.errors:.2g} %)")
    for name, factor in can.latencies:
        quantile = name.removeprefix("latency_")
        found.append(f"{quantile} +{100 * (factor - 1):.0f} %" if factor is not None else f"no rise of {quantile}")
    for name, fall in can.falls:
        found.append(f"{name} -{100 * fall:.0f} %" if fall is not None else f"no fall of {name}")
    text = f"{where}: can tell {', '.join(found) or 'nothing'}; what is less stays undecided"
    if ERRORS not in policy.metrics:
        return text
    good = "does not pass in that time"
    if can.passes is not None:
        good = f"passes by its errors after about {can.passes:.0f} s"
    return f"{text}; a release as good as stable {good}"
