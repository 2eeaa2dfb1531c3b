"""
What the judge promises of counts that must not fall, on drawn traffic. Seeds are fixed.

The whole table is printed by `python -m benchmarks.judging`.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random
from statistics import median

import pytest

from atoll.policies.judge.resolving import Traffic, resolvable
from atoll.testing.counted import Shop, judged
from atoll.values.judging import JudgePolicy

POLICY = JudgePolicy(metrics=("errors",), counts=("orders",))
HALF_HOUR = 1800
FLEETS = (
    Shop(),
    Shop(canary=1, stable=9, canary_requests=25, requests=25),
    Shop(canary=2, stable=18, canary_requests=50, requests=50),
    Shop(canary=1, stable=1, canary_requests=100, requests=100),
)


def outcomes(shop, seconds, runs):
    return [judged(shop, POLICY, seconds, Random(seed)) for seed in range(runs)]


@pytest.mark.parametrize("clump", [1.0, 5.0, 20.0])
@pytest.mark.parametrize("shop", FLEETS, ids=["1 of 5", "1 of 10", "2 of 20", "1 of 2"])
def test_a_release_that_does_as_much_is_hardly_ever_aborted(shop, clump):
    """Its part of the 1 % is a half. The benchmark has more and longer ones."""
    assert [o.aborted for o in outcomes(replace(shop, clump=clump), 900, 15)] == [None] * 15


@pytest.mark.parametrize(("left", "seconds"), [(0.0, 40), (0.5, 75), (0.7, 300)])
def test_one_that_does_less_is_aborted(left, seconds):
    found = outcomes(replace(FLEETS[0], left=left), HALF_HOUR, 40)
    assert sum(o.aborted is not None for o in found) >= 39
    assert median(o.aborted for o in found if o.aborted is not None) <= seconds


def test_one_that_does_half_hardly_ever_passes():
    assert sum(o.passed is not None for o in outcomes(replace(FLEETS[0], left=0.5), 900, 100)) <= 100 * 0.05


def test_one_that_does_as_much_passes_soon():
    found = outcomes(FLEETS[0], 900, 40)
    assert all(o.passed is not None for o in found)
    assert median(o.passed for o in found) <= 60


@pytest.mark.parametrize("seconds", [120, 600])
def test_what_is_said_to_be_resolvable_is_resolved(seconds):
    """Nine of ten times, in traffic without hiccups and clumps; and of half as much nobody said so."""
    traffic = Traffic(200, 0.1, 1, 4, counts=(("orders", 0.2),))
    ((_, fall),) = resolvable(traffic, POLICY, seconds).falls
    enough, less = (
        sum(o.aborted is not None for o in outcomes(replace(FLEETS[0], left=left, hiccup_every=0.0), seconds, 100))
        for left in (1 - fall, 1 - fall / 2)
    )
    assert enough >= 85
    assert less <= 25
