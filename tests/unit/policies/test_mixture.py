from __future__ import annotations

from math import exp, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.policies.mixture import RATIOS, add, among, gains, log_mean, one_sample

shares = st.floats(0.01, 0.99)


def test_a_side_has_its_share_of_the_events_and_more_if_it_has_a_higher_rate():
    assert among(0.1, 1.0) == pytest.approx(0.1)
    assert among(0.5, 3.0) == pytest.approx(0.75)


@given(shares, st.floats(1.0, 3.0))
def test_an_event_is_worth_nothing_in_expectation_where_nothing_is_worse(share, tolerated):
    theta = among(share, tolerated)
    here = add((0.0,) * len(RATIOS), 1, 0, gains(share, tolerated))
    there = add((0.0,) * len(RATIOS), 0, 1, gains(share, tolerated))
    assert theta * exp(log_mean(here)) + (1 - theta) * exp(log_mean(there)) == pytest.approx(1.0)


@given(shares, st.floats(0.0, 1.0))
def test_an_expected_event_is_worth_no_more_than_the_events_it_stands_for(share, part):
    both = gains(share, 1.2)
    start = (0.0,) * len(RATIOS)
    drawn = part * exp(log_mean(add(start, 1, 0, both))) + (1 - part)
    assert exp(log_mean(add(start, part, 0, both))) <= drawn + 1e-12


@given(st.floats(0.001, 0.4))
def test_a_sample_is_worth_nothing_in_expectation_under_its_own_rate(null):
    alternatives = (null * 2, null / 2)
    bad, good = one_sample(1, 1, null, alternatives), one_sample(0, 1, null, alternatives)
    assert null * exp(bad) + (1 - null) * exp(good) == pytest.approx(1.0)


def test_a_mean_of_logarithms_does_not_overflow():
    assert log_mean([5000.0, 5000.0]) == 5000.0
    assert log_mean([0.0, log(3.0)]) == pytest.approx(log(2.0))
