"""A release on its way, as the judge sees it: by what it is judged at its present share, what is remembered of it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from atoll.model.system import Service
from atoll.plan.releasing import ALL, Progress
from atoll.policies.judge.keeping import from_json
from atoll.policies.judge.slowness import comparable
from atoll.policies.judge.state import State, begin, stepped, suited
from atoll.values.judging import LATENCIES, JudgePolicy


def judged_by(service: Service, progress: Progress) -> JudgePolicy:
    """How it is judged at its present share; latency decides where the instances of both sides have as much to do."""
    here, there = progress.weight / progress.size, (ALL - progress.weight) / service.instances
    judge = service.rollout.judge
    if service.rollout.rollback != "safe":
        judge = replace(judge, guard=None)  # nobody may be sent back, for no moment
    return judge if comparable(here, there) else replace(judge, needless=LATENCIES)


def remembered(progress: Progress, policy: JudgePolicy, at: float) -> State:
    """What the judge knows of it; it begins at *at* where nothing or another version of it wrote that down."""
    state = begin(policy, at)
    if progress.judge:
        with suppress(ValueError):
            state = from_json(progress.judge)
    return stepped(suited(state, policy), progress.since)


def failed_beside(progress: Progress) -> float:
    """The share of its requests that the other side failed, as far as the judge knows."""
    with suppress(ValueError):
        totals = from_json(progress.judge).totals
        return totals.stable_bad / totals.stable if totals.stable else 0.0
    return 0.0
