from __future__ import annotations

import pytest

from atoll.policies.judge.evidence import Arm, Bucket, Unit, tally
from atoll.policies.judge.guard import Phase, Watch, watch
from atoll.values.judging import Guard

GUARD = Guard()


def piece(second, canary=((10, 0),), stable=(90, 0)):
    units = [Unit(f"c{i}", Arm.CANARY, *u) for i, u in enumerate(canary)] + [Unit("s", Arm.STABLE, *stable)]
    return Bucket(float(second), second + 1.0, tuple(units))


def watched(*pieces, state=None):
    state = state or Watch()
    for one in pieces:
        state = watch(state, one, tally(one.units), GUARD)
    return state


def test_clear_failure_takes_it_out_at_once():
    state = watched(piece(0, [(10, 2)]))
    assert (state.phase, state.strikes, state.until) == (Phase.PAUSE, 1, 11.0)


@pytest.mark.parametrize(
    ("canary", "stable"),
    [
        ([(10, 1)], (90, 0)),  # one error may be anything
        ([(10, 2)], (90, 20)),  # stable fails as well
        ([(200, 2)], (1800, 0)),  # a small share of the requests
        ([(10, 5), (10, 0)], (180, 0)),  # one instance of two: a hiccup
        ([(10, 5)], (0, 0)),  # nothing to compare with
    ],
)
def test_what_is_not_clear_does_not(canary, stable):
    assert watched(piece(0, canary, stable)).phase is Phase.WATCH


def test_two_instances_that_fail_together_are_clear():
    assert watched(piece(0, [(10, 2), (10, 1)], (180, 0))).phase is Phase.PAUSE


def test_errors_of_a_few_seconds_add_up_and_older_ones_are_forgotten():
    assert watched(piece(0, [(10, 1)]), piece(1, [(10, 1)])).phase is Phase.PAUSE
    assert watched(piece(0, [(10, 1)]), piece(10, [(10, 1)])).phase is Phase.WATCH


def test_after_the_pause_it_is_on_probation_and_what_came_late_does_not_count():
    struck = watched(piece(0, [(10, 2)]))
    assert watched(piece(5, [(5, 5)]), state=struck) == struck
    state = watched(piece(10), state=struck)
    assert (state.phase, state.strikes, state.until) == (Phase.PROBATION, 1, 26.0)


def test_every_probation_that_fails_is_a_strike_and_one_that_passes_takes_one_back():
    on_probation = watched(piece(0, [(10, 2)]), piece(10))
    assert watched(piece(11, [(10, 2)]), state=on_probation).strikes == 2
    good = watched(*(piece(s) for s in range(11, 26)), state=on_probation)
    assert (good.phase, good.strikes) == (Phase.WATCH, 0)
