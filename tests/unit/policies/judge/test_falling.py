from __future__ import annotations

from math import log

from atoll.policies.judge.evidence import Arm, Unit
from atoll.policies.judge.falling import Falling, update, worse
from atoll.policies.judge.splitting import sides
from atoll.values.judging import CountLimits


def weighed(buckets, canary, stable):
    state = Falling()
    units = [Unit("c", Arm.CANARY, 50, counts=(("orders", canary), ("views", 50)))]
    units += [Unit(f"s{i}", Arm.STABLE, 50, counts=(("orders", stable),)) for i in range(9)]
    for _ in range(buckets):
        state = update(state, sides(units), "orders", CountLimits())
    return state


def test_a_count_that_stops_is_found():
    assert worse(weighed(40, 0, 5)) > log(200)


def test_one_that_does_not_fall_or_rises_is_not():
    assert worse(weighed(100, 5, 5)) < 0
    assert worse(weighed(100, 20, 5)) < 0


def test_a_count_that_nobody_has_is_not_known():
    assert weighed(10, 0, 0).stable == 0
