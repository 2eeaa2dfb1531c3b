"""A release on its way as the judge sees it: what decides at its share, and what is remembered."""

from __future__ import annotations

from dataclasses import replace

import pytest

from atoll.model.system import Rollout, Service, Step
from atoll.plan.releasing import Progress, State
from atoll.policies.judge.deciding import decide
from atoll.policies.judge.evidence import Arm, Bucket, Tally, Unit
from atoll.policies.judge.guard import Phase, Watch
from atoll.policies.judge.judging import judge
from atoll.policies.judge.keeping import to_json
from atoll.policies.judge.release import judged_by, remembered
from atoll.policies.judge.state import begin
from atoll.policies.judge.verdict import Kind
from atoll.values.judging import LATENCIES, JudgePolicy

STEPS = (Step(5), Step(25), Step(50))
FOUR = Service("orders", instances=4, rollout=Rollout("canary", steps=STEPS))


@pytest.mark.parametrize(
    ("weight", "size", "needless"), [(5, 1, LATENCIES), (25, 1, ()), (50, 2, ()), (100, 4, LATENCIES)]
)
def test_latency_decides_where_both_sides_have_as_much_to_do(weight, size, needless):
    policy = judged_by(FOUR, Progress(7, State.CANARY, weight=weight, size=size))
    assert policy == replace(FOUR.rollout.judge, needless=needless)


def test_what_was_seen_goes_on_at_the_next_share():
    policy = JudgePolicy()
    kept = to_json(replace(begin(policy, 100.0), at=160.0))
    found = remembered(Progress(7, State.CANARY, since=155.0, judge=kept), policy, 170.0)
    assert (found.began, found.at, found.since) == (100.0, 160.0, 155.0)


@pytest.mark.parametrize("kept", ["", "[0, []]"])
def test_it_begins_where_nothing_is_known_or_another_version_wrote_it(kept):
    found = remembered(Progress(7, State.CANARY, since=155.0, judge=kept), JudgePolicy(), 170.0)
    assert (found.began, found.at, found.since) == (170.0, 170.0, 170.0)


def seen(policy, *, canary_bad=0, seconds=60):
    """What the judge knows after so long, with 10 requests a second of the canary and 90 of stable."""
    state = begin(policy, 0.0)
    for at in range(0, seconds, 5):
        units = (Unit("c-1", Arm.CANARY, 50, canary_bad), *(Unit(f"s-{n}", Arm.STABLE, 150, 0) for n in range(3)))
        state, _ = judge(state, Bucket(at, at + 5, units), policy)
    return state


ERRORS_ONLY = JudgePolicy(metrics=("errors",))


@pytest.mark.parametrize(
    "policy", [JudgePolicy(metrics=("latency_p50",)), JudgePolicy(dry_run=("errors",)), JudgePolicy()]
)
def test_other_metrics_in_the_file_are_asked_from_then_on_and_the_old_ones_are_not(policy):
    kept = to_json(seen(ERRORS_ONLY))
    found = remembered(Progress(7, State.CANARY, judge=kept), policy, 61.0)
    assert {f.metric for f in found.scales.findings} == set(policy.metrics)
    assert found.totals == seen(ERRORS_ONLY).totals
    verdict = decide(found, policy)
    assert verdict.kind is Kind.UNDECIDED
    later = replace(found, at=found.at + 61, canary_at=found.at + 61, stable_at=found.at + 61)
    assert decide(later, policy).kind is Kind.NO_DATA, "nothing was ever compared"


def test_a_metric_that_is_left_out_is_waited_for_no_more():
    both = JudgePolicy()
    waiting = replace(seen(both, seconds=300), at=400.0, canary_at=400.0, stable_at=400.0)
    assert decide(waiting, both).kind is Kind.NO_DATA
    found = remembered(Progress(7, State.HOLDING, judge=to_json(waiting)), ERRORS_ONLY, 401.0)
    assert decide(found, ERRORS_ONLY).kind is Kind.PASS


def test_what_failed_by_a_metric_that_does_not_decide_any_more_is_judged_anew():
    failed = seen(ERRORS_ONLY, canary_bad=25)
    assert failed.final is not None
    kept = Progress(7, State.HOLDING, judge=to_json(failed))
    assert remembered(kept, ERRORS_ONLY, 61.0).final == failed.final
    if failed.final.metric == "errors":
        assert remembered(kept, JudgePolicy(metrics=("latency_p50",)), 61.0).final is None


def test_no_share_is_passed_before_there_were_requests_at_that_share():
    first = seen(ERRORS_ONLY, seconds=300)
    assert decide(first, ERRORS_ONLY).kind is Kind.PASS
    next_ = remembered(Progress(7, State.CANARY, since=300.0, judge=to_json(first)), ERRORS_ONLY, 300.0)
    assert next_.passed == first.totals
    assert decide(next_, ERRORS_ONLY).kind is Kind.UNDECIDED
    few = replace(next_, totals=next_.totals + Tally(canary=99, stable=900))
    assert decide(few, ERRORS_ONLY).kind is Kind.UNDECIDED
    enough = replace(next_, totals=next_.totals + Tally(canary=100, stable=900))
    assert decide(enough, ERRORS_ONLY).kind is Kind.PASS


def test_where_there_is_no_way_back_nobody_is_sent_back_for_a_moment():
    forward = replace(FOUR, rollout=replace(FOUR.rollout, rollback="forward-only"))
    assert judged_by(forward, Progress(7, State.CANARY, weight=25, size=1)).guard is None
    paused = replace(begin(JudgePolicy(), 0.0), watch=Watch(Phase.PAUSE, 10.0, 1))
    policy = replace(JudgePolicy(), guard=None)
    found = remembered(Progress(7, State.CANARY, judge=to_json(paused)), policy, 1.0)
    assert found.watch.phase is Phase.WATCH
