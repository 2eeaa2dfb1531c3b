"""
The figures that the canary judge has to keep, by the real judge on drawn traffic. Seeds are fixed.

The whole table, with other rules beside it, is printed by `python -m benchmarks.judging`.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random
from statistics import median

import pytest

from atoll.policies.judge.resolving import Traffic, resolvable
from atoll.policies.judge.verdict import Kind
from atoll.testing.canaries import Stream, World, release
from atoll.values.judging import JudgePolicy

ERRORS = JudgePolicy(metrics=("errors",))
ALL = JudgePolicy()
BUSY = World(rps=10, timed=True, blip_every=600.0)
HALF_HOUR = 1800


def releases(world, policy, seeds, seconds):
    return [release(Stream(world, seconds, Random(seed)), policy) for seed in seeds]


def failed(outcomes):
    return [o for o in outcomes if o.verdict.kind is Kind.FAIL]


@pytest.mark.parametrize("half", [0, 1])
def test_a_release_as_good_as_stable_is_hardly_ever_aborted(half):
    """Two times 200 releases with hiccups of single instances: at most 1.5 %. The benchmark has half an hour of it."""
    outcomes = releases(World(), ERRORS, range(half * 200, half * 200 + 200), 900)
    assert len(failed(outcomes)) <= 3
    assert sum(o.passed is not None for o in outcomes) >= 160


def test_nor_is_one_that_is_judged_by_everything_under_trouble_that_is_shared():
    assert len(failed(releases(BUSY, ALL, range(50), 600))) <= 1


def test_nor_is_one_of_a_service_that_often_fails():
    assert len(failed(releases(World(errors=0.01, canary_errors=0.01), ERRORS, range(50), 900))) <= 1


def test_a_release_that_fails_a_fifth_is_aborted_within_a_minute_in_every_run():
    """50 requests a second, a tenth of them to the canary; and it is out of traffic after a few seconds."""
    outcomes = releases(World(canary_errors=0.2), ERRORS, range(250), 120)
    assert len(failed(outcomes)) == 250
    assert max(o.verdict.seconds for o in outcomes) < 60
    assert median(o.out for o in outcomes) <= 3


def test_it_harms_fewer_than_fifteen_requests_at_a_hundred_a_second():
    """Looking twice a second. A second of the stream stands for half a one, so all times are doubled."""
    assert ERRORS.guard is not None
    guard = replace(ERRORS.guard, window=20.0, pause=20.0, probation=30.0)
    world = World(canary_errors=0.2, hiccup_every=HALF_HOUR, hiccup=10)
    outcomes = releases(world, replace(ERRORS, bucket=10.0, guard=guard), range(250), 240)
    harmed = sorted(o.failed for o in outcomes)
    assert len(failed(outcomes)) == 250
    assert harmed[125] <= 9
    assert sum(n >= 15 for n in harmed) <= 250 * 0.02


@pytest.mark.parametrize(("rate", "seconds"), [(0.02, 150), (0.005, 900)])
def test_smaller_regressions_take_longer(rate, seconds):
    outcomes = releases(World(canary_errors=rate), ERRORS, range(60), HALF_HOUR)
    assert len(failed(outcomes)) >= 57
    assert median(o.verdict.seconds for o in outcomes) < seconds


def test_a_release_that_is_half_as_slow_again_is_aborted():
    outcomes = releases(replace(BUSY, slower=1.5), ALL, range(25), 600)
    assert len(failed(outcomes)) >= 23
    assert {o.verdict.metric for o in failed(outcomes)} <= {"latency_p50", "latency_p95"}


def test_no_traffic_never_passes():
    for world in (World(canary=0), World(stable=0), World(canary=0, stable=0)):
        outcome = release(Stream(world, HALF_HOUR, Random(1)), ERRORS)
        assert (outcome.verdict.kind, outcome.passed) == (Kind.NO_DATA, None)


def test_an_unacceptable_release_hardly_ever_passes():
    """At the edge of what is unacceptable: at most one in twenty, in the time in which a good one passes."""
    outcomes = releases(World(canary_errors=0.005, hiccup_every=0.0), replace(ERRORS, guard=None), range(100), 600)
    assert sum(o.passed is not None for o in outcomes) <= 100 * 0.05


def test_what_is_said_to_be_resolvable_is_resolved():
    """Nine of ten times, in traffic without hiccups."""
    policy = replace(ERRORS, guard=None)
    least = resolvable(Traffic(50, 0.1, 1, 9), policy, 600).errors
    outcomes = releases(World(canary_errors=least, hiccup_every=0.0), policy, range(100), 600)
    assert 0.8 <= len(failed(outcomes)) / 100 <= 0.99
