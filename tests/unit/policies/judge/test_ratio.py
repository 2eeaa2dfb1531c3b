from __future__ import annotations

import pytest

from atoll.policies.judge.ratio import EMPTY, off, update


def looked(times, canary, stable, asked, state=EMPTY):
    for _ in range(times):
        state = update(state, canary, stable, asked)
    return state


@pytest.mark.parametrize(("canary", "found"), [(50, ""), (55, ""), (3, "less"), (150, "more")])
def test_a_share_that_is_not_the_one_asked_for_is_found(canary, found):
    assert off(looked(20, canary, 450, (450 + canary) / 10)) == found


def test_no_single_bucket_decides():
    assert off(looked(1, 10_000, 0, 1000.0)) == ""


def test_it_is_forgotten_once_the_share_is_right_again():
    assert off(looked(60, 50, 450, 50.0, looked(20, 3, 450, 45.0))) == ""


def test_a_long_time_of_the_right_share_hides_nothing():
    right = looked(200, 50, 450, 50.0)
    assert off(looked(20, 3, 450, 45.0, right)) == off(looked(20, 3, 450, 45.0)) == "less"


def test_where_nobody_says_what_was_asked_there_is_no_wrong_share():
    assert update((5.0, 5.0), 3, 450, None) == EMPTY
    assert update((5.0, 5.0), 3, 450, 0.0) == (5.0, 5.0)
