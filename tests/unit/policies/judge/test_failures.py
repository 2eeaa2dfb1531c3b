from __future__ import annotations

from math import log

import pytest

from atoll.policies.judge.evidence import Arm, Unit
from atoll.policies.judge.failures import Failures, acceptable, update, worse
from atoll.policies.judge.splitting import sides
from atoll.values.judging import ErrorLimits

LIMITS = ErrorLimits()


def weighed(buckets, canary, stable, each=50, instances=9, state=None):
    state = state or Failures()
    units = [Unit("c", Arm.CANARY, each, canary)]
    units += [Unit(f"s{i}", Arm.STABLE, each, stable if i == 0 else 0) for i in range(instances)]
    for _ in range(buckets):
        state = update(state, sides(units), LIMITS)
    return state


def test_nothing_is_known_of_nothing():
    assert worse(Failures(), LIMITS) == 0.0
    assert acceptable(Failures(), LIMITS) < 0


def test_errors_of_the_canary_alone_are_evidence_against_it():
    assert worse(weighed(3, 10, 0), LIMITS) > log(100) > worse(weighed(2, 10, 0), LIMITS)


def test_as_many_on_every_instance_are_none():
    assert worse(weighed(50, 0, 1), LIMITS) < 0


def test_how_many_errors_are_in_a_unit_does_not_matter_to_the_ratio():
    assert weighed(3, 1, 0).worse == weighed(3, 50, 0).worse


def test_a_few_errors_in_many_requests_are_too_few_to_matter():
    """Stable has none at all, so that the ratio is infinite; the rate is half of what matters."""
    state = weighed(4, 1, 0, each=2000)
    assert worse(state, LIMITS) < log(20)


def test_enough_good_requests_clear_it():
    assert acceptable(weighed(30, 0, 0), LIMITS) > log(20) > acceptable(weighed(10, 0, 0), LIMITS)


def test_an_unacceptable_rate_is_never_cleared():
    assert acceptable(weighed(200, 1, 1), LIMITS) < log(20)


def test_a_service_that_often_fails_is_cleared_by_the_ratio():
    """Two per cent on either side: above the rate that is unacceptable for one that has no worse beside it."""
    state = Failures()
    units = [Unit("c", Arm.CANARY, 50, 1)] + [Unit(f"s{i}", Arm.STABLE, 50, 1) for i in range(9)]
    for _ in range(300):
        state = update(state, sides(units), LIMITS)
    assert acceptable(state, LIMITS) > log(20)


@pytest.mark.parametrize("errors", [5, 25])
def test_where_all_units_would_be_bad_they_look_at_fewer_requests(errors):
    """A canary that fails twice as often as a stable that often fails is not cleared, though every unit is bad."""
    state = Failures()
    units = [Unit("c", Arm.CANARY, 50, 2 * errors)] + [Unit(f"s{i}", Arm.STABLE, 50, errors) for i in range(9)]
    for _ in range(600):
        state = update(state, sides(units), LIMITS)
    assert acceptable(state, LIMITS) < log(20)
    assert worse(state, LIMITS) > log(100)
