from __future__ import annotations

from math import log
from random import Random
from statistics import median

import pytest

from atoll.policies.judge.evidence import Arm, Latency, Unit
from atoll.policies.judge.slowness import Slowness, _others, acceptable, update, worse
from atoll.policies.judge.splitting import sides
from atoll.values.judging import LatencyLimits

LIMITS = LatencyLimits()


def weighed(buckets, factor=1.0, stable=9, requests=50, calls=50, common=lambda _: 1.0):
    random, state = Random(7), Slowness()
    for bucket in range(buckets):
        units = []
        for i in range(stable + 1):
            p95 = common(bucket) * random.lognormvariate(0.0, 0.1) * (factor if i == 0 else 1.0)
            arm = Arm.CANARY if i == 0 else Arm.STABLE
            units.append(Unit(f"i{i}", arm, requests if i == 0 else 50, 0, Latency(calls, p95, p95)))
        state = update(state, sides(units), "latency_p95", LIMITS, 12)
    return state


def test_a_slow_canary_is_found_after_a_minute_of_history():
    assert weighed(12, 3.0).canary == 0
    assert worse(weighed(50, 3.0)) > log(400)


def test_one_that_is_as_fast_is_not_and_is_cleared():
    state = weighed(120)
    assert worse(state) < log(20) < acceptable(state)


def test_one_that_is_unacceptable_is_not_cleared():
    assert acceptable(weighed(120, 1.25)) < log(20)


def test_what_slows_down_all_is_nobodys_fault():
    state = weighed(120, common=lambda bucket: 1.0 + bucket % 5)
    assert worse(state) < log(20)


@pytest.mark.parametrize(("factor", "slow"), [(1.08, 0), (1.12, 28)])
def test_the_canary_is_slow_only_beyond_the_margin(factor, slow):
    """Stable's are all alike, so that without the margin any difference would do."""
    state = Slowness()
    times = [factor, *[1.0] * 9]
    units = [
        Unit(f"i{i}", Arm.STABLE if i else Arm.CANARY, 50, 0, Latency(50, time, time)) for i, time in enumerate(times)
    ]
    for _ in range(40):
        state = update(state, sides(units), "latency_p50", LIMITS, 12)
    assert (state.canary, state.canary_slow) == (28, slow)


@pytest.mark.parametrize("change", [{"stable": 1}, {"calls": 4}, {"requests": 20}])
def test_what_cannot_be_compared_is_left_out(change):
    """One instance of stable has none to be measured by; quantiles of few or unequally many calls scatter too much."""
    assert weighed(30, 3.0, **change) == Slowness()


@pytest.mark.parametrize("count", range(2, 8))
def test_everybody_is_measured_by_the_others(count):
    times = [float(2**i) for i in range(count)]
    assert _others(times) == [median(times[:i] + times[i + 1 :]) for i in range(count)]
