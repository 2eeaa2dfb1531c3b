from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.plan.observed import Exit, Phase, Seen
from atoll.plan.restarts import FIRST_DELAY, GOOD_RUN, LONGEST_DELAY, crashes_after, delay

names = st.text("abc-123", min_size=1, max_size=12)


@given(names)
def test_the_first_restart_is_at_once(name):
    assert delay(0, name) == delay(1, name) == 0.0


@given(st.integers(2, 10_000), names, names)
def test_the_delay_is_jittered_grows_and_is_capped(crashes, name, later):
    now, then = delay(crashes, name), delay(crashes + 1, later)
    full = min(LONGEST_DELAY, FIRST_DELAY * 2 ** min(crashes - 2, 50))
    assert full / 2 <= now <= full
    assert then >= now or then >= LONGEST_DELAY / 2


def test_two_instances_do_not_come_back_at_the_same_moment():
    assert len({delay(5, f"orders-r1-{n}") for n in range(100)}) == 100


@pytest.mark.parametrize(
    ("served", "ended", "crashes"),
    [(0.0, 99.0, 3), (90.0, 90.0 + GOOD_RUN, 0), (90.0, 89.9 + GOOD_RUN, 3), (90.0, 80.0, 3)],
)
def test_only_serving_for_a_while_makes_a_run_good(desk, served, ended, crashes):
    one = desk(instances=1)
    one.design()
    instance = replace(one.instances[0], served=served, crashes=2)
    seen = Seen(instance.name, "orders", Phase.EXITED, 1, 0.0, Exit(ended))
    assert crashes_after(instance, seen, 1000.0) == crashes


def test_what_vanished_ended_now(desk):
    one = desk(instances=1)
    one.design()
    assert crashes_after(replace(one.instances[0], served=1.0), None, 100.0) == 0
    assert crashes_after(replace(one.instances[0], served=99.0), None, 100.0) == 1
