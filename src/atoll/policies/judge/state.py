"""What the judge remembers from one piece of evidence to the next."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from atoll.errors import Refused
from atoll.policies.judge.counters import Baseline
from atoll.policies.judge.evidence import Tally
from atoll.policies.judge.gathering import Open
from atoll.policies.judge.guard import Watch
from atoll.policies.judge.scales import Scales, empty, fitted
from atoll.policies.judge.verdict import GUARD, RISK_BUDGET, Verdict
from atoll.values.judging import JudgePolicy, problems


@dataclass(frozen=True, slots=True)
class State:
    """
    All of it. `at` is how far the evidence reaches, `canary_at` and `stable_at` when each side was last seen with work.

    `since` is when the present share of traffic began, and `passed` the totals of then. `totals` and `users` count
    everything since the beginning, whether it is evidence or not. There is nothing in it but numbers, words and tuples:
    `keeping` writes it down.
    """

    began: float
    at: float
    canary_at: float
    stable_at: float
    scales: Scales
    watch: Watch
    totals: Tally = field(default_factory=Tally)
    users: int | None = None
    gathered: Open | None = None
    baseline: Baseline | None = None
    final: Verdict | None = None
    since: float = 0.0
    passed: Tally = field(default_factory=Tally)


def begin(policy: JudgePolicy, at: float) -> State:
    """Nothing is known yet. Raises `errors.Refused` for a policy that makes no sense."""
    wrong = list(problems(policy, policy.counts))
    if wrong:
        raise Refused(f"the judge cannot work like this: {'; '.join(wrong)}", hint="correct the judge's settings")
    return State(at, at, at, at, empty(policy), Watch(since=at), since=at)


def stepped(state: State, since: float) -> State:
    """
    The same evidence at another share of traffic, which is not passed before there was something at that share.

    Nobody is missing before they had time to come: what was held for want of requests may be resumed.
    """
    if since <= state.since:
        return state
    canary_at, stable_at = max(state.canary_at, since), max(state.stable_at, since)
    return replace(state, since=since, passed=state.totals, canary_at=canary_at, stable_at=stable_at)


def suited(state: State, policy: JudgePolicy) -> State:
    """The same evidence under settings that may have changed; a metric that is new is waited for from now on."""
    asked = {*policy.metrics, *policy.counts}
    known = {f.metric for f in state.scales.findings}
    final = state.final if state.final is not None and state.final.metric in {*asked, GUARD, RISK_BUDGET} else None
    if (
        asked == known
        and final == state.final
        and (policy.guard is not None or state.watch == Watch(since=state.began))
    ):
        return state
    return replace(
        state,
        scales=fitted(state.scales, policy),
        final=final,
        since=state.at if asked - known else state.since,
        watch=state.watch if policy.guard is not None else Watch(since=state.began),
    )
