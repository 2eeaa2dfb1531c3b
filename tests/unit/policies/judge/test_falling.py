from __future__ import annotations

from dataclasses import replace
from math import inf, log

from atoll.policies.judge.evidence import Arm, Unit
from atoll.policies.judge.falling import Falling, acceptable, update, worse
from atoll.policies.judge.splitting import sides
from atoll.values.judging import CountLimits

LIMITS = CountLimits()


def units(canary, stable, requests=50):
    """One instance of the canary and nine of stable, each with so many orders; everybody has views."""
    yield Unit("c", Arm.CANARY, requests, counts=(("orders", canary), ("views", 50)))
    yield from (Unit(f"s{i}", Arm.STABLE, 50, counts=(("orders", stable),)) for i in range(9))


def weighed(buckets, canary, stable, limits=LIMITS, state=Falling(), requests=50):  # noqa: B008 - it is frozen
    for _ in range(buckets):
        state = update(state, sides(tuple(units(canary, stable, requests))), "orders", limits)
    return state


def test_a_count_that_stops_is_found():
    assert worse(weighed(40, 0, 15)) > log(200)


def test_a_stop_is_found_sooner_than_a_fall():
    assert worse(weighed(6, 0, 15)) > log(200) > worse(weighed(6, 5, 15))
    assert worse(weighed(12, 5, 15)) > log(200)


def test_one_that_does_not_fall_or_rises_is_not_and_is_cleared():
    for canary in (15, 60):
        found = weighed(100, canary, 15)
        assert worse(found) < 0
        assert acceptable(found) > log(20)


def test_what_is_tolerated_is_and_what_is_less_is_not_cleared():
    assert worse(weighed(40, 13, 15)) < 0
    assert acceptable(weighed(40, 7, 15)) < 0
    assert acceptable(weighed(40, 7, 15, CountLimits(unacceptable=4.0))) > log(20)


def test_a_stop_alone_is_unacceptable_where_the_file_says_so():
    anything = CountLimits(unacceptable=inf)
    assert acceptable(weighed(40, 1, 15, anything)) > log(20)
    assert acceptable(weighed(40, 0, 15, anything)) < 0


def test_it_is_per_request():
    """Half of the orders of half of the requests are as many."""
    assert worse(weighed(100, 15, 30, requests=25)) < 0


def test_a_count_that_nobody_has_is_not_known():
    found = weighed(10, 0, 0)
    assert (found.stable, found.compared) == (0, 0)


def test_a_stretch_is_as_long_as_it_takes_the_canary_to_have_ten():
    """Two in a bucket: the first bucket says what is usual, then there is a look every fifth."""
    assert [weighed(n, 2, 2).compared for n in (1, 4, 5, 9, 10, 15)] == [0, 0, 1, 1, 2, 3]


def test_what_comes_in_clumps_is_looked_at_after_as_many_clumps():
    """Each bucket one instance of stable has all of the orders."""
    state = Falling()
    for bucket in range(200):
        orders = [Unit(f"s{i}", Arm.STABLE, 50, counts=(("orders", 90 * (i == bucket % 9)),)) for i in range(9)]
        state = update(state, sides((Unit("c", Arm.CANARY, 50, counts=(("orders", 10),)), *orders)), "orders", LIMITS)
    assert 60 < state.clump < 100
    assert 1 <= state.compared <= 4


def test_an_instance_that_has_just_come_says_nothing_yet():
    fresh = Unit("new", Arm.STABLE, 1, counts=(("orders", 1),))
    usual = weighed(1, 15, 15)
    alone = (Unit("c", Arm.CANARY, 50, counts=(("orders", 15),)), Unit("s", Arm.STABLE, 50, counts=(("orders", 15),)))
    with_it, without = (
        update(usual, sides(found), "orders", LIMITS)
        for found in ((*alone, fresh, replace(fresh, instance="x")), alone)
    )
    assert (with_it.compared, with_it.fewer, with_it.enough) == (1, without.fewer, without.enough)
