"""What a release with all of the traffic may fail: clear failure is found soon, blips and little traffic are not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.policies.judge.baking import ENOUGH, Bake, explain, tolerated, watch


def looks(*seconds, usual=0.0):
    """What is known after each second, in which so many of so many failed."""
    bake, requests, errors = Bake(0.0, 0, 0), 0, 0
    for at, (bad, total) in enumerate(seconds, 1):
        requests, errors = requests + total, errors + bad
        bake = watch(bake, Bake(float(at), requests, errors), tolerated(usual, 0.05))
        yield bake


def found(*seconds, usual=0.0):
    """After how many seconds it was found, or None."""
    return next((bake.at for bake in looks(*seconds, usual=usual) if bake.failing), None)


@pytest.mark.parametrize(("share", "after"), [(100, 6), (50, 12), (20, 34), (10, 101), (5, None), (0, None)])
def test_the_more_it_fails_the_sooner_it_is_found(share, after):
    assert found(*[(share, 100)] * 600) == after


@pytest.mark.parametrize("blip", [[(100, 100)] * 5, [(20, 100)] * 30, [(30, 100)] * 15])
def test_a_short_or_mild_blip_is_let_pass_and_forgotten(blip):
    quiet = [(0, 100)] * 120
    assert found(*blip, *quiet, *blip) is None


def test_twice_what_the_old_release_failed_is_tolerated():
    assert found(*[(20, 100)] * 600, usual=0.1) is None
    assert found(*[(50, 100)] * 600, usual=0.1) == 17


def test_a_handful_says_nothing_and_without_requests_no_time_passes():
    assert found(*[(1, 1)] * 9) is None
    assert found(*[(1, 1)] * 10) == 10
    assert found(*[(3, 3)] * 4, *[(0, 0)] * 60) is None


def test_counters_that_went_back_are_counted_from_there():
    before = Bake(10.0, 1000, 500, 4.9, 5.0, 490, 500)
    assert watch(before, Bake(11.0, 50, 50), 0.05) == Bake(11.0, 50, 50, 4.9, 5.0, 490, 500)
    assert watch(None, Bake(11.0, 50, 50), 0.05) == Bake(11.0, 50, 50)


def test_the_words_tell_what_was_counted():
    *_, bake = looks(*[(0, 100)] * 3, *[(50, 100)] * 12)
    assert explain(bake, 0.001) == (
        "600 of 1,200 failed in 12 s with all of the traffic; what it replaced failed 0.10% before"
    )


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)).map(lambda t: (min(t), max(t))), max_size=80))
def test_it_is_never_found_before_so_many_seconds_of_requests_failed(seconds):
    lost = 0.0
    for (bad, total), bake in zip(seconds, looks(*seconds), strict=True):
        lost += bad / total if total else 0.0
        assert bake.seconds <= lost + 1e-9
        assert not bake.failing or lost >= ENOUGH
