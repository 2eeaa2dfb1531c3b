from __future__ import annotations

from math import inf

import pytest

from atoll.policies.judge.evidence import Arm, Unit
from atoll.policies.judge.splitting import most, sides, split


def fleet(canary, stable):
    return [Unit(f"c{i}", Arm.CANARY, *u) for i, u in enumerate(canary)] + [
        Unit(f"s{i}", Arm.STABLE, *u) for i, u in enumerate(stable)
    ]


def found(canary, stable, limit=inf):
    both = sides(fleet(canary, stable))
    bad = [[u.bad for u in side if u.bad] for side in (both.canary, both.stable)]
    return split(both, *bad, limit)


def test_where_one_side_had_nothing_to_do_there_is_nothing_to_compare():
    assert sides(fleet([(0, 0)], [(10, 0)])) is None
    assert sides(fleet([(10, 0)], [])) is None


def test_an_instance_with_a_hundred_errors_is_one_bad_unit():
    assert found([(200, 100)], [(200, 1), (200, 0), (200, 7)]) == found([(200, 1)], [(200, 9), (200, 1), (200, 0)])


def test_idle_instances_are_no_units():
    assert found([(10, 1)], [(10, 0), (0, 0)]).share == 0.5


@pytest.mark.parametrize(("canary", "stable"), [(10, 100), (100, 10)])
def test_units_look_at_equally_many_requests_whatever_the_load(canary, stable):
    """A tenth of the requests finds a single error in a tenth of the cases."""
    split_ = found([(canary, 1)], [(stable, 1)])
    assert (split_.canary, split_.stable) == pytest.approx((min(1, 10 / canary), min(1, 10 / stable)))


def test_no_unit_looks_at_so_many_that_all_are_bad():
    assert most(0.25, 0, 5000) == inf
    limit = most(0.25, bad=1000, requests=9000)
    assert limit == pytest.approx(2.5)
    split_ = found([(100, 10)], [(100, 10)], limit)
    assert split_.canary == split_.stable == pytest.approx(1 - 0.975**10)
