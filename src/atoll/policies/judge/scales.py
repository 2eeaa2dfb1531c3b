"""All tests side by side: a full bucket goes into each, and each says where it stands."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, log

from atoll.policies.judge import failures, falling, ratio, slowness
from atoll.policies.judge.failures import Failures
from atoll.policies.judge.falling import Falling
from atoll.policies.judge.gathering import Open
from atoll.policies.judge.ratio import Ratio
from atoll.policies.judge.slowness import Slowness
from atoll.policies.judge.splitting import sides
from atoll.policies.judge.verdict import Evidence
from atoll.values.judging import ERRORS, LATENCIES, JudgePolicy


@dataclass(frozen=True, slots=True)
class Finding:
    """
    Where one metric stands, in logarithms of odds.

    `worse` is for the canary being worse and aborts at `bar`; `clear` is against an unacceptable release. `known` is
    whether there was anything to compare.
    """

    metric: str
    evidence: Evidence
    worse: float
    bar: float
    clear: float
    known: bool

    @property
    def against(self) -> bool:
        """The canary is worse by this metric."""
        return self.worse >= self.bar


@dataclass(frozen=True, slots=True)
class Scales:
    """The tests, what they found, and which metrics of a dry run have been against the canary at any time."""

    failures: Failures
    slowness: tuple[tuple[str, Slowness], ...]
    falling: tuple[tuple[str, Falling], ...]
    ratio: Ratio
    findings: tuple[Finding, ...]
    dry_run: tuple[str, ...]


def empty(policy: JudgePolicy) -> Scales:
    """Nothing is known."""
    slow = tuple((name, Slowness()) for name in LATENCIES if name in policy.metrics)
    fewer = tuple((name, Falling()) for name in policy.counts)
    return _found(Failures(), slow, fewer, ratio.EMPTY, (), policy)


def fitted(before: Scales, policy: JudgePolicy) -> Scales:
    """The same evidence for settings that have changed meanwhile: a metric that is new knows nothing yet."""
    slow, fewer = dict(before.slowness), dict(before.falling)
    return _found(
        before.failures,
        tuple((name, slow.get(name, Slowness())) for name in LATENCIES if name in policy.metrics),
        tuple((name, fewer.get(name, Falling())) for name in policy.counts),
        before.ratio,
        tuple(name for name in before.dry_run if name in policy.dry_run),
        policy,
    )


def weigh(before: Scales, bucket: Open, policy: JudgePolicy) -> Scales:
    """The tests after one more bucket; as before if one side had nothing to do in it."""
    both = sides(bucket.units)
    if both is None:
        return before
    history = ceil(policy.latency.history / policy.bucket)
    return _found(
        failures.update(before.failures, both, policy.errors),
        tuple([(n, slowness.update(s, both, n, policy.latency, history)) for n, s in before.slowness]),
        tuple([(n, falling.update(s, both, n, policy.falling)) for n, s in before.falling]),
        ratio.update(before.ratio, both.tally.canary, both.tally.stable, bucket.asked),
        before.dry_run,
        policy,
    )


def _found(
    failed: Failures,
    slow: tuple[tuple[str, Slowness], ...],
    fewer: tuple[tuple[str, Falling], ...],
    ratio_: Ratio,
    dry_run: tuple[str, ...],
    policy: JudgePolicy,
) -> Scales:
    findings = (*_errors(failed, policy), *_latencies(slow, policy), *_counts(fewer, policy))
    if policy.dry_run:
        against = [f.metric for f in findings if f.against and f.metric in policy.dry_run]
        dry_run = tuple(dict.fromkeys((*dry_run, *against)))
    return Scales(failed, slow, fewer, ratio_, findings, dry_run)


def _errors(found: Failures, policy: JudgePolicy) -> Iterator[Finding]:
    if ERRORS not in policy.metrics:
        return
    seen = found.tally
    evidence = Evidence(seen.canary_bad, seen.canary, seen.stable_bad, seen.stable)
    worse, clear = failures.worse(found, policy.errors), failures.acceptable(found, policy.errors)
    yield Finding(ERRORS, evidence, worse, _bar(policy, ERRORS), clear, bool(seen.canary))


def _latencies(slow: tuple[tuple[str, Slowness], ...], policy: JudgePolicy) -> Iterator[Finding]:
    for name, found in slow:
        evidence = Evidence(found.canary_slow, found.canary, found.stable_slow, found.stable)
        worse, clear = slowness.worse(found), slowness.acceptable(found)
        yield Finding(name, evidence, worse, _bar(policy, name), clear, bool(found.compared))


def _counts(fewer: tuple[tuple[str, Falling], ...], policy: JudgePolicy) -> Iterator[Finding]:
    for name, found in fewer:
        evidence = Evidence(found.canary, found.canary_requests, found.stable, found.stable_requests)
        yield Finding(
            name, evidence, falling.worse(found), _bar(policy, name), falling.acceptable(found), bool(found.compared)
        )


def _bar(policy: JudgePolicy, metric: str) -> float:
    return -log(policy.alpha_of(metric))
