from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.errors import Refused
from atoll.policies.judge.counters import Reading, Snapshot
from atoll.policies.judge.evidence import Arm, Bucket, Latency, Unit
from atoll.policies.judge.judging import judge, observe
from atoll.policies.judge.keeping import from_json, to_json
from atoll.policies.judge.state import begin, stepped
from atoll.policies.judge.verdict import Kind
from atoll.policies.judge.words import explain
from atoll.values.judging import Guard, JudgePolicy

ERRORS = JudgePolicy(metrics=("errors",), guard=None)
ALL = JudgePolicy(counts=("orders",), dry_run=("latency_p50",), risk_budget=500)


def fleet(canary_bad=0, stable_bad=0, canary=50, stable=50, **more):
    units = [Unit("c", Arm.CANARY, canary, canary_bad, **more)] if canary else []
    return (*units, *(Unit(f"s{i}", Arm.STABLE, stable, stable_bad, **more) for i in range(9) if stable))


def judged(*kinds, policy=ERRORS, seconds=5.0, share=None, state=None, users=None):
    """Judge one bucket after the other; each is the units of it."""
    state = state or begin(policy, 0.0)
    for units in kinds:
        state, verdict = judge(state, Bucket(state.at, state.at + seconds, units, share, users), policy)
    return state, verdict


def kind(*kinds, **more):
    return judged(*kinds, **more)[1].kind


def test_a_policy_that_makes_no_sense_is_refused():
    with pytest.raises(Refused, match="no metric latency_p80"):
        begin(JudgePolicy(metrics=("latency_p80",)), 0.0)


def test_a_canary_that_fails_where_stable_does_not_fails():
    state, verdict = judged(*[fleet(10)] * 3)
    assert (verdict.kind, verdict.metric, verdict.seconds, verdict.exposed) == (Kind.FAIL, "errors", 15.0, False)
    assert (verdict.evidence.canary_bad, verdict.evidence.stable) == (30, 1350)
    assert state.final == verdict


def test_whatever_comes_after_a_fail_it_has_failed():
    state, verdict = judged(*[fleet(10)] * 3)
    assert judged(*[fleet()] * 100, state=state) == (state, verdict)


def test_one_that_is_as_good_passes():
    assert kind(*[fleet()] * 10) is Kind.UNDECIDED
    assert kind(*[fleet()] * 40) is Kind.PASS


def test_it_does_not_pass_before_the_requests_that_are_wanted():
    assert kind(*[fleet()] * 40, policy=replace(ERRORS, min_requests=2001)) is Kind.UNDECIDED


@pytest.mark.parametrize(
    ("units", "word"), [(fleet(canary=0), "the canary had no request"), (fleet(stable=0), "stable had no request")]
)
def test_without_data_it_holds(units, word):
    assert kind(*[units] * 12) is Kind.UNDECIDED
    verdict = judged(*[units] * 13)[1]
    assert (verdict.kind, verdict.exposed) == (Kind.NO_DATA, True)
    assert word in explain(verdict)


def test_data_that_stop_after_a_pass_are_no_pass():
    assert kind(*[fleet()] * 40, *[fleet(canary=0)] * 13) is Kind.NO_DATA


def test_a_metric_without_data_holds_and_says_which():
    latencies = judged(*[fleet()] * 40, policy=replace(ERRORS, metrics=("errors", "latency_p95")))[1]
    counts = judged(*[fleet()] * 40, policy=replace(ERRORS, counts=("orders",)))[1]
    assert (latencies.kind, latencies.metric) == (Kind.NO_DATA, "latency_p95")
    assert (counts.kind, counts.metric) == (Kind.NO_DATA, "orders")
    assert kind(*[fleet()] * 40, policy=replace(ERRORS, counts=("orders",), dry_run=("orders",))) is Kind.PASS


def test_a_metric_without_data_is_waited_for_even_if_all_else_is_clear():
    much = fleet(canary=500, stable=500)
    assert kind(*[much] * 10) is Kind.PASS
    assert kind(*[much] * 10, policy=replace(ERRORS, counts=("orders",))) is Kind.UNDECIDED


def test_the_guard_takes_it_out_and_a_hiccup_passes():
    policy = replace(ERRORS, guard=Guard())
    state, verdict = judged(fleet(2, canary=10), policy=policy, seconds=1.0)
    assert (verdict.kind, verdict.exposed) == (Kind.UNDECIDED, False)
    assert "out of traffic for a moment" in explain(verdict)
    state, verdict = judged(*[fleet(canary=0)] * 10, policy=policy, seconds=1.0, state=state)
    assert verdict.exposed
    assert "on probation" in explain(verdict)
    assert kind(*[fleet()] * 40, policy=policy, state=state) is Kind.PASS


def test_three_strikes_and_it_is_out():
    policy = replace(ERRORS, guard=Guard(), alpha=1e-9)
    strike = [fleet(2, canary=10), *[fleet(canary=0)] * 10]
    verdict = judged(*strike * 2, fleet(2, canary=10), policy=policy, seconds=1.0)[1]
    assert (verdict.kind, verdict.metric, verdict.seconds) == (Kind.FAIL, "guard", 23.0)


def test_a_canary_that_is_out_of_traffic_is_not_missing():
    policy = replace(ERRORS, guard=Guard(pause=300.0))
    assert kind(fleet(2, canary=10), *[fleet(canary=0)] * 20, policy=policy) is Kind.UNDECIDED
    short = replace(ERRORS, guard=Guard(pause=50.0))
    state, _ = judged(fleet(2, canary=10), *[fleet(canary=0)] * 14, policy=short)
    assert state.watch.strikes == 1, "a probation without a request is none"
    assert kind(*[fleet(canary=0)] * 7, policy=short, state=state) is Kind.UNDECIDED
    assert kind(*[fleet(canary=0)] * 8, policy=short, state=state) is Kind.NO_DATA


def test_the_risk_budget_stops_whatever_the_statistics_say():
    policy = replace(ERRORS, alpha=1e-12, risk_budget=20)
    assert kind(fleet(20), policy=policy) is Kind.UNDECIDED
    verdict = judged(fleet(21), policy=policy)[1]
    assert (verdict.kind, verdict.metric) == (Kind.FAIL, "risk_budget")
    assert kind(fleet(30, 2), policy=policy) is Kind.FAIL
    assert kind(fleet(21, 2), policy=policy) is Kind.UNDECIDED  # two more than stable's rate times its requests


def test_the_risk_budget_goes_by_what_users_saw_where_that_is_known():
    policy = replace(ERRORS, alpha=1e-12, risk_budget=20)
    assert kind(fleet(21), policy=policy, users=3) is Kind.UNDECIDED
    verdict = judged(fleet(21), policy=policy, users=21)[1]
    assert (verdict.kind, verdict.users) == (Kind.FAIL, 21)


def test_a_wrong_share_of_the_traffic_holds():
    verdict = judged(*[fleet()] * 40, share=0.3)[1]
    assert verdict.kind is Kind.UNDECIDED
    assert "the canary gets less of the traffic than was asked for" in explain(verdict)
    assert kind(*[fleet()] * 40, share=0.1) is Kind.PASS


def test_a_metric_in_a_dry_run_is_told_and_decides_nothing():
    policy = replace(ERRORS, counts=("orders",), dry_run=("errors",), metrics=("errors", "latency_p50"))
    units = fleet(10, latency=Latency(50, 1.0, 2.0), counts=(("orders", 5),))
    verdict = judged(*[units] * 30, policy=policy)[1]
    assert (verdict.kind, verdict.dry_run) == (Kind.PASS, ("errors",))


def test_what_a_dry_run_would_have_done_is_not_forgotten():
    policy = replace(ERRORS, metrics=("errors", "latency_p50"), dry_run=("errors",))
    state, verdict = judged(*[fleet(10)] * 5, *[fleet(0, 10)] * 20, policy=policy)
    assert not state.scales.findings[0].against
    assert verdict.dry_run == ("errors",)


def test_a_count_can_stop_a_release():
    policy = replace(ERRORS, counts=("orders",))
    units = fleet(counts=(("orders", 5),))
    none = (replace(units[0], counts=()), *units[1:])
    verdict = judged(*[none] * 60, policy=policy)[1]
    assert (verdict.kind, verdict.metric) == (Kind.FAIL, "orders")


def test_a_slow_canary_fails():
    policy = replace(ERRORS, metrics=("errors", "latency_p95"))
    units = [
        (
            Unit("c", Arm.CANARY, 50, 0, Latency(50, 1.0, 9.0)),
            *(Unit(f"s{i}", Arm.STABLE, 50, 0, Latency(50, 1.0, 2.0 + (i + k) % 9 / 100)) for i in range(9)),
        )
        for k in range(60)
    ]
    verdict = judged(*units, policy=policy)[1]
    assert (verdict.kind, verdict.metric) == (Kind.FAIL, "latency_p95")


def test_what_is_not_newer_than_the_evidence_is_left_out():
    state, _ = judged(fleet())
    assert judge(state, Bucket(0.0, 5.0, fleet(50)), ERRORS)[0] == state


def test_looks_at_counters_are_judged():
    def look(at):
        readings = [Reading("mesh", "c", Arm.CANARY, 10 * at, 5 * at)]
        readings += [Reading("mesh", f"s{i}", Arm.STABLE, 15 * at, 0) for i in range(9)]
        return Snapshot(float(at), tuple(readings))

    state = begin(ERRORS, 0.0)
    state, verdict = observe(state, look(0), ERRORS)
    assert (verdict.kind, verdict.note) == (Kind.UNDECIDED, "waiting for the canary's first request")
    for at in range(1, 16):
        state, verdict = observe(state, look(at), ERRORS)
    assert (verdict.kind, verdict.failed, verdict.seconds) == (Kind.FAIL, 75, 15.0)


def test_looks_that_nobody_answers_come_to_no_data():
    state = begin(ERRORS, 0.0)
    for at in range(62):
        state, verdict = observe(state, Snapshot(float(at)), ERRORS)
    assert verdict.kind is Kind.NO_DATA


# Whatever happens: a few fleets for so many seconds each, judged under a policy with everything in it.

units = st.builds(
    fleet,
    canary_bad=st.sampled_from([0, 0, 1, 3]),
    stable_bad=st.sampled_from([0, 0, 1]),
    canary=st.sampled_from([0, 10, 50]),
    stable=st.sampled_from([0, 10, 50]),
    latency=st.none() | st.builds(Latency, st.integers(0, 50), st.floats(0.0, 2.0), st.floats(0.0, 9.0)),
    counts=st.just(()) | st.builds(lambda n: (("orders", n),), st.integers(0, 9)),
)
pieces = st.lists(
    st.tuples(units, st.sampled_from([0.5, 1.0, 5.0, 30.0]), st.sampled_from([None, 0.1])), min_size=1, max_size=40
)


def run(told, policy=ALL, between=lambda state: state):
    state, verdicts = begin(policy, 0.0), []
    for found, seconds, share in told:
        state, verdict = judge(state, Bucket(state.at, state.at + seconds, found, share), policy)
        state = between(state)
        verdicts.append(verdict)
    return state, verdicts


@given(pieces)
def test_a_judge_that_is_killed_at_any_time_goes_on_as_if_it_had_not_been(told):
    assert run(told, between=lambda state: from_json(to_json(state))) == run(told)


@given(pieces)
def test_a_fail_is_for_ever(told):
    kinds = [v.kind for v in run(told)[1]]
    if Kind.FAIL in kinds:
        assert set(kinds[kinds.index(Kind.FAIL) :]) == {Kind.FAIL}


@given(pieces)
def test_nothing_passes_without_requests_of_both_sides(told):
    for _, verdict in zip(told, run(told, replace(ALL, min_requests=0))[1], strict=True):
        if verdict.kind is Kind.PASS:
            assert verdict.evidence.canary
            assert verdict.evidence.stable


@settings(max_examples=50)
@given(st.lists(st.sampled_from([fleet(canary=0), fleet(stable=0), ()]), min_size=1, max_size=60), st.booleans())
def test_one_side_alone_never_passes_nor_fails(told, guarded):
    policy = replace(ERRORS, guard=Guard() if guarded else None, min_requests=0)
    _, verdicts = run([(found, 5.0, None) for found in told], policy)
    assert {v.kind for v in verdicts} <= {Kind.UNDECIDED, Kind.NO_DATA}


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1)), min_size=10, max_size=60))
def test_how_often_one_looks_changes_no_evidence(seconds):
    """Every second or every bucket: at the end of each bucket the scales are the same."""
    found = [fleet(canary, stable, canary=10, stable=10) for canary, stable in seconds[: len(seconds) // 5 * 5]]
    fine, _ = run([(units_, 1.0, 0.1) for units_ in found], ERRORS)
    coarse, _ = run([(_together(found[i : i + 5]), 5.0, 0.1) for i in range(0, len(found), 5)], ERRORS)
    if fine.final is None or coarse.final is None:
        assert fine.final is coarse.final
        assert fine.scales == coarse.scales


def _together(several):
    return tuple(
        replace(one[0], requests=sum(u.requests for u in one), bad=sum(u.bad for u in one))
        for one in zip(*several, strict=True)
    )


UNLIKE = {"canary": 50, "stable": 500}
"""So many more calls for stable's instances that quantiles cannot be compared."""


def test_nobody_waits_for_what_is_needless_and_everybody_for_what_is_not():
    both = JudgePolicy(metrics=("errors", "latency_p95"), guard=None)
    slow = Latency(50, 10.0, 20.0)
    held = judged(*[fleet(latency=slow, **UNLIKE)] * 40, policy=both)[1]
    assert (held.kind, held.metric) == (Kind.NO_DATA, "latency_p95")
    assert "an instance needs 5 calls in a bucket" in explain(held)
    excused = replace(both, needless=("latency_p95",))
    assert kind(*[fleet(latency=slow, **UNLIKE)] * 40, policy=excused) is Kind.PASS


def test_what_is_needless_decides_where_it_is_known():
    policy = JudgePolicy(metrics=("errors", "latency_p95"), needless=("latency_p95",), guard=None)
    quick, slow = Latency(50, 10.0, 20.0), Latency(50, 10.0, 60.0)
    units = (Unit("c", Arm.CANARY, 50, latency=slow), *(Unit(f"s{i}", Arm.STABLE, 50, latency=quick) for i in range(9)))
    assert kind(*[units] * 60, policy=policy) is Kind.FAIL


def test_at_another_share_the_time_to_get_something_to_compare_begins_anew():
    policy = JudgePolicy(metrics=("errors", "latency_p95"), guard=None)
    excused = replace(policy, needless=("latency_p95",))
    slow = Latency(50, 10.0, 20.0)
    state, _ = judged(*[fleet(latency=slow, **UNLIKE)] * 40, policy=excused)
    renewed = stepped(state, state.at)
    assert kind(fleet(latency=slow), policy=policy, state=renewed) is not Kind.NO_DATA
    assert kind(fleet(latency=slow, **UNLIKE), policy=policy, state=state) is Kind.NO_DATA
    assert kind(*[fleet(latency=slow)] * 20, policy=policy, state=renewed) is Kind.PASS
