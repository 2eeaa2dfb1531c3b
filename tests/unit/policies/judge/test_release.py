"""A release on its way as the judge sees it: what decides at its share, and what is remembered."""

from __future__ import annotations

from dataclasses import replace

import pytest

from atoll.model.system import Rollout, Service, Step
from atoll.plan.releasing import Progress, State
from atoll.policies.judge.keeping import to_json
from atoll.policies.judge.release import judged_by, remembered
from atoll.policies.judge.state import begin
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
