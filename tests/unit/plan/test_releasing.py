"""The state machine of a release, by examples and by walks through whatever may happen."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.errors import Refused
from atoll.model.system import CAREFUL, Rollout, Step
from atoll.plan.releasing import (
    EXPOSED,
    OVER,
    PEOPLE,
    TRANSITIONS,
    Facts,
    Progress,
    Signal,
    State,
    allowed,
    begin,
    diagram,
    due,
    judged,
    sized,
    step,
)

ROOT = Path(__file__).parents[3]
CANARY = Rollout("canary", steps=CAREFUL, bake=60, most=300)
BLUE_GREEN = Rollout("blue-green", bake=60)
FORWARD = Rollout("canary", steps=(Step(10), Step(50)), bake=60, rollback="forward-only")
SHADOW = Rollout("shadow-then-canary", steps=CAREFUL, bake=60, most=300)
TOTAL = 10


def walk(progress, rollout, *signals):
    for signal in signals:
        progress = step(progress, signal, rollout, TOTAL, progress.since + 1, "")
    return progress


def dark(rollout, *, asked=False):
    return walk(begin(7, rollout, TOTAL, 0.0, asked=asked), rollout, Signal.READY)


def facts(at=0.0, ready=TOTAL, verdict="", failure="", *, acknowledged=True):
    return Facts(at, ready, acknowledged, failure, verdict, "words")


def test_capacity_comes_before_weight_all_the_way_up():
    progress = walk(dark(CANARY), CANARY, Signal.RELEASE)
    seen = []
    while progress.state is not State.FULL:
        seen.append((progress.state, progress.weight, progress.size))
        progress = walk(progress, CANARY, Signal.READY if progress.state is State.GROWING else Signal.PASS)
    grow, canary = State.GROWING, State.CANARY
    assert seen == [
        (grow, 0, 1), (canary, 5, 1), (grow, 5, 3), (canary, 25, 3), (grow, 25, 5), (canary, 50, 5), (grow, 50, 10)
    ]  # fmt: skip
    assert (progress.weight, progress.size) == (100, 10)


def test_blue_green_goes_from_nothing_to_everything():
    progress = walk(dark(BLUE_GREEN), BLUE_GREEN, Signal.RELEASE)
    assert (progress.size, progress.weight) == (10, 0)
    progress = walk(progress, BLUE_GREEN, Signal.READY)
    assert (progress.state, progress.weight) == (State.FULL, 100)


def test_a_dark_release_waits_to_be_asked_for():
    assert due(dark(CANARY), CANARY, facts()) is None
    assert due(dark(CANARY, asked=True), CANARY, facts()) == (Signal.RELEASE, "the file asks for it")


def test_a_step_takes_its_time_and_needs_a_verdict():
    progress = walk(dark(CANARY), CANARY, Signal.RELEASE, Signal.READY)
    at = progress.since
    assert due(progress, CANARY, facts(at + 59, verdict="pass")) is None
    assert due(progress, CANARY, facts(at + 60, verdict="pass")) == (Signal.PASS, "words")
    assert due(progress, CANARY, facts(at + 299, verdict="undecided")) is None
    assert due(progress, CANARY, facts(at + 300, verdict="undecided")) == (Signal.HOLD, "words")
    assert due(progress, CANARY, facts(at + 1, verdict="no data")) == (Signal.HOLD, "words")
    assert due(progress, CANARY, facts(at + 1, verdict="fail")) == (Signal.ABORT, "words")


def test_an_abort_takes_the_weight_first_and_ends_only_when_the_proxies_know():
    progress = walk(dark(CANARY), CANARY, Signal.RELEASE, Signal.READY, Signal.PASS, Signal.ABORT)
    assert (progress.state, progress.weight, progress.size) == (State.ABORTING, 0, 3)
    assert due(progress, CANARY, facts(acknowledged=False)) is None
    assert due(progress, CANARY, facts()) == (Signal.ACKNOWLEDGED, "")


def test_where_there_is_no_way_back_a_bad_release_is_frozen():
    progress = walk(dark(FORWARD), FORWARD, Signal.RELEASE, Signal.READY)
    found = due(progress, FORWARD, facts(verdict="fail"))
    assert found == (Signal.HOLD, "frozen, there is no way back: words")
    assert due(walk(progress, FORWARD, Signal.HOLD), FORWARD, facts(verdict="fail")) is None
    growing = walk(progress, FORWARD, Signal.PASS)
    assert due(growing, FORWARD, facts(verdict="fail")) == found
    assert due(growing, FORWARD, facts(failure="it crashed"))[0] is Signal.HOLD


def test_what_fails_clearly_with_all_of_the_traffic_is_taken_back_where_there_is_a_way():
    full = walk(dark(BLUE_GREEN), BLUE_GREEN, Signal.RELEASE, Signal.READY)
    for progress in (full, walk(full, BLUE_GREEN, Signal.ACKNOWLEDGED)):
        assert due(progress, BLUE_GREEN, facts(verdict="fail")) == (Signal.ABORT, "words")


def test_what_has_everything_and_no_way_back_goes_on_whatever_is_wrong():
    """Only another release helps, and there can be none before this one is over."""
    full = walk(dark(FORWARD), FORWARD, Signal.RELEASE, Signal.READY, Signal.PROMOTE, Signal.READY)
    assert due(full, FORWARD, facts(failure="it crashed"))[0] is Signal.ACKNOWLEDGED
    baking = walk(full, FORWARD, Signal.ACKNOWLEDGED)
    assert due(baking, FORWARD, facts(baking.since + 60, failure="it crashed"))[0] is Signal.BAKED


def test_other_steps_in_the_file_never_take_a_share_or_capacity_back():
    eighty = Rollout("canary", steps=(Step(10), Step(80)), bake=60)
    at = walk(dark(eighty), eighty, Signal.RELEASE, Signal.READY, Signal.PASS, Signal.READY)
    lower = Rollout("canary", steps=(Step(1), Step(5), Step(10)), bake=60)
    grown = walk(at, lower, Signal.PASS)
    assert (grown.weight, grown.size) == (80, 10)
    assert walk(grown, lower, Signal.READY).state is State.FULL
    held = walk(grown, lower, Signal.HOLD)
    assert (held.weight, held.size) == (80, 8)


@pytest.mark.parametrize(
    ("signals", "total", "size"),
    [
        ((), 20, 1),
        ((Signal.RELEASE, Signal.READY), 40, 2),
        ((Signal.RELEASE, Signal.READY, Signal.PASS), 40, 10),
        ((Signal.RELEASE, Signal.READY, Signal.PROMOTE, Signal.READY), 20, 20),
        ((Signal.RELEASE, Signal.READY, Signal.PROMOTE, Signal.READY, Signal.ACKNOWLEDGED), 3, 3),
        ((Signal.RELEASE, Signal.READY, Signal.PASS, Signal.READY, Signal.ABORT), 40, 3),
    ],
)
def test_its_size_follows_the_declared_number(signals, total, size):
    assert sized(walk(dark(CANARY), CANARY, *signals), CANARY, total).size == size


def test_while_capacity_is_made_it_keeps_its_share_and_is_judged_on():
    growing = walk(dark(CANARY), CANARY, Signal.RELEASE, Signal.READY, Signal.PASS)
    assert (growing.state, growing.weight, growing.step) == (State.GROWING, 5, 1)
    assert judged(growing, CANARY)
    assert due(growing, CANARY, facts(ready=0, verdict="fail")) == (Signal.ABORT, "words")
    assert due(growing, CANARY, facts(ready=0, verdict="no data")) is None


def test_on_the_way_to_nobody_or_to_everybody_it_is_not_judged():
    assert not judged(walk(dark(CANARY), CANARY, Signal.RELEASE), CANARY)
    promoted = walk(dark(CANARY), CANARY, Signal.RELEASE, Signal.READY, Signal.PROMOTE)
    assert (promoted.state, promoted.weight) == (State.GROWING, 5)
    assert not judged(promoted, CANARY)


def test_what_grows_may_be_held_at_the_share_it_has():
    growing = walk(dark(CANARY), CANARY, Signal.RELEASE, Signal.READY, Signal.PASS)
    held = walk(growing, CANARY, Signal.HOLD)
    assert (held.state, held.weight, held.step, held.size) == (State.HOLDING, 5, 0, 1)
    back = walk(held, CANARY, Signal.RESUME)
    assert (back.state, back.weight, back.step) == (State.CANARY, 5, 0)
    nobody = walk(walk(dark(CANARY), CANARY, Signal.RELEASE), CANARY, Signal.HOLD)
    assert (nobody.state, nobody.weight, nobody.step, nobody.asked) == (State.DARK, 0, -1, False)
    assert due(nobody, CANARY, facts(10_000, verdict="pass")) is None


def test_steps_that_the_file_has_lost_meanwhile_ask_for_no_more_time():
    progress = walk(dark(CANARY), CANARY, Signal.RELEASE, Signal.READY, Signal.PASS, Signal.READY)
    shorter = Rollout("canary", steps=CAREFUL[:1], most=300)
    assert due(progress, shorter, facts(progress.since, verdict="pass")) == (Signal.PASS, "words")
    after = step(progress, Signal.PASS, shorter, TOTAL, 0.0, "")
    assert step(after, Signal.READY, shorter, TOTAL, 0.0, "").state is State.FULL


def test_what_is_compared_gets_copies_until_it_is_alike_and_then_its_first_users():
    progress = walk(dark(SHADOW), SHADOW, Signal.RELEASE)
    assert (progress.state, progress.weight, progress.step) == (State.SHADOW, 0, -1)
    at = progress.since
    assert due(progress, SHADOW, facts(at + 299, verdict="undecided")) is None
    assert due(progress, SHADOW, facts(at + 1, verdict="pass")) == (Signal.PASS, "words")
    assert due(progress, SHADOW, facts(at + 1, verdict="fail")) == (Signal.ABORT, "words")
    progress = walk(progress, SHADOW, Signal.PASS)
    assert (progress.state, progress.weight, progress.step) == (State.GROWING, 0, 0)
    assert walk(progress, SHADOW, Signal.READY).weight == 5


def test_a_comparison_without_enough_data_holds_and_a_person_decides():
    progress = walk(dark(SHADOW), SHADOW, Signal.RELEASE)
    found = due(progress, SHADOW, Facts(progress.since + 300, TOTAL, acknowledged=True))
    assert found == (Signal.HOLD, "nothing was compared")
    holding = walk(progress, SHADOW, Signal.HOLD)
    assert due(holding, SHADOW, facts(10_000, verdict="pass")) is None
    assert due(holding, SHADOW, facts(10_000, verdict="fail")) == (Signal.ABORT, "words")
    assert due(holding, SHADOW, facts(10_000, failure="it crashed")) == (Signal.ABORT, "it crashed")
    assert allowed(holding.state) == (Signal.RELEASE, Signal.RESUME, Signal.ABORT)
    assert walk(holding, SHADOW, Signal.RESUME).state is State.SHADOW
    assert walk(holding, SHADOW, Signal.RELEASE).state is State.GROWING


def test_what_no_user_has_seen_may_be_taken_back_even_where_there_is_no_way_back():
    forward = Rollout("shadow-then-canary", steps=CAREFUL, most=300, rollback="forward-only")
    progress = walk(dark(forward), forward, Signal.RELEASE)
    assert due(progress, forward, facts(verdict="fail")) == (Signal.ABORT, "words")


def test_what_means_nothing_is_refused_with_what_would():
    with pytest.raises(Refused) as refused:
        step(dark(CANARY), Signal.PROMOTE, CANARY, TOTAL, 0.0, "")
    assert refused.value.message == "release 7 is dark: promote means nothing there"
    assert refused.value.hint == "what can be done now: atoll release, atoll abort"
    assert allowed(State.BAKING) == (Signal.ABORT,)


def test_a_paused_release_is_sent_nothing_and_is_not_passed():
    progress = walk(dark(CANARY), CANARY, Signal.RELEASE, Signal.READY)
    paused = Progress(7, State.CANARY, 0, 5, 1, progress.since, paused=True)
    assert (progress.shown, paused.shown) == (5, 0)
    assert due(paused, CANARY, facts(progress.since + 100, verdict="pass")) is None


def test_every_state_can_be_reached_and_left():
    states = {State.STARTING, State.FULL, *TRANSITIONS.values()}
    assert states == set(State)
    assert {source for source, _ in TRANSITIONS} == set(State) - OVER


def test_the_documented_diagram_is_the_table():
    """Rewrite it with `python -c "from atoll.plan.releasing import diagram; print(diagram())"`."""
    assert diagram() in (ROOT / "docs" / "explanation" / "releases.md").read_text()


happening = st.one_of(
    st.sampled_from(PEOPLE),
    st.builds(
        Facts,
        at=st.floats(0, 2000),
        ready=st.integers(0, TOTAL),
        acknowledged=st.booleans(),
        failure=st.sampled_from(["", "", "it crashed"]),
        verdict=st.sampled_from(["", "pass", "fail", "undecided", "no data"]),
        words=st.just("words"),
    ),
)


@given(st.sampled_from([CANARY, BLUE_GREEN, FORWARD, SHADOW]), st.booleans(), st.lists(happening, max_size=60))
def test_whatever_happens_every_promise_holds(rollout, asked, happenings):
    now, progress = 0.0, begin(7, rollout, TOTAL, 0.0, asked=asked)
    for what in happenings:
        now += 50
        if isinstance(what, Signal):
            try:
                after = step(progress, what, rollout, TOTAL, now, "a person")
            except Refused:
                assert (progress.state, what) not in TRANSITIONS
                continue
            assert_asked(progress, after, rollout)
        else:
            found = due(progress, rollout, what)
            if found is None:
                continue
            after = step(progress, found[0], rollout, TOTAL, now, "")
            assert_due(progress, after, found[0], what, rollout)
        assert after.weight == 0 or after.state in EXPOSED | {State.RELEASED}
        if after.weight < progress.weight:
            assert after.state is State.ABORTING
            assert after.size == progress.size
        progress = after
        if progress.state in OVER:
            assert due(progress, rollout, facts(now, verdict="pass")) is None
            break


def assert_asked(before, after, rollout):
    """What is compared is compared before anything else, whoever asks."""
    if rollout is SHADOW and before.state is State.DARK:
        assert after.state in {State.SHADOW, State.ABORTING}


def assert_due(before, after, signal, known, rollout):
    """What the facts alone may bring about."""
    if after.weight > before.weight:
        assert known.ready >= after.size >= TOTAL * after.weight / 100
    if signal is Signal.PASS:
        assert known.verdict == "pass"
    if before.state is State.SHADOW and after.state is State.GROWING:
        assert known.verdict == "pass"
    if after.state is State.ROLLED_BACK:
        assert (known.acknowledged, after.weight) == (True, 0)
    if rollout.rollback != "safe" and before.state in EXPOSED - {State.ABORTING}:
        assert signal is not Signal.ABORT
