"""What the judge remembers from one piece of evidence to the next."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from atoll.errors import Refused
from atoll.policies.judge.counters import Baseline
from atoll.policies.judge.evidence import Tally
from atoll.policies.judge.gathering import Open
from atoll.policies.judge.guard import Watch
from atoll.policies.judge.scales import Scales, empty
from atoll.policies.judge.verdict import Verdict
from atoll.values.judging import JudgePolicy, problems


@dataclass(frozen=True, slots=True)
class State:
    """
    All of it. `at` is how far the evidence reaches, `canary_at` and `stable_at` when each side was last seen with work.

    `since` is when the present share of traffic began. `totals` and `users` count everything since the beginning,
    whether it is evidence or not. There is nothing in it but numbers, words and tuples: `keeping` writes it down.
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


def begin(policy: JudgePolicy, at: float) -> State:
    """Nothing is known yet. Raises `errors.Refused` for a policy that makes no sense."""
    wrong = list(problems(policy, policy.counts))
    if wrong:
        raise Refused(f"the judge cannot work like this: {'; '.join(wrong)}", hint="correct the judge's settings")
    return State(at, at, at, at, empty(policy), Watch(since=at), since=at)


def stepped(state: State, since: float) -> State:
    """The same evidence at another share of traffic: what can be compared only there is waited for from then on."""
    return replace(state, since=max(state.since, since))
