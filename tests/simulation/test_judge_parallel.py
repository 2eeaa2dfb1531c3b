"""The parallel run's table, by the real test of the odd one out: found in so many of a hundred runs, after so many."""

from __future__ import annotations

from random import Random
from statistics import median

import pytest

from atoll.policies.comparing.oddone import Comparison, Noise, Profile, compared, learned_beside
from atoll.testing.parallels import Parallel, found_after, samples

REQUESTS = 5000


def runs(noise, regression, count, requests=REQUESTS, learned=None):
    drawn = (samples(Parallel(noise, regression), requests, Random(seed)) for seed in range(count))
    return [found_after(one, noise=learned) for one in drawn]


@pytest.mark.parametrize(
    ("noise", "regression", "share", "after"),
    [
        (0.0, 0.002, 0.93, 2738),
        (0.01, 0.02, 1.0, 495),
        (0.1, 0.02, 0.87, 2320),
        (0.5, 0.2, 1.0, 252),
    ],
)
def test_a_field_that_differs_is_found_as_often_and_as_soon_as_was_simulated(noise, regression, share, after):
    outcomes = runs(noise, regression, 200)
    found = [n for n in outcomes if n is not None]
    assert len(found) / 200 == pytest.approx(share, abs=3 * (share * (1 - share) / 200) ** 0.5 + 0.01)
    assert median(found) == pytest.approx(after, rel=0.15)


@pytest.mark.parametrize("noise", [0.0, 0.01, 0.1])
def test_noise_alone_is_hardly_ever_taken_for_a_difference(noise):
    assert sum(n is not None for n in runs(noise, 0.0, 300)) <= 7


def test_two_per_cent_under_one_per_cent_of_noise_are_found_within_two_thousand():
    outcomes = runs(0.01, 0.02, 400, requests=2000)
    assert sum(n is not None for n in outcomes) >= 0.99 * 400


def test_a_learned_profile_finds_it_sooner():
    plain, learned = (median(n or REQUESTS for n in runs(0.0, 0.005, 100, learned=p)) for p in (None, Noise(10_000, 0)))
    assert learned < 0.65 * plain


def test_a_learned_profile_is_not_fooled_by_the_noise_it_was_learned_from():
    outcomes = []
    for seed in range(200):
        random = Random(seed)
        odd = sum(s.primary + s.secondary + s.candidate for s in samples(Parallel(0.001), 10_000, random))
        outcomes.append(found_after(samples(Parallel(0.001), REQUESTS, random), noise=Noise(10_000, odd)))
    assert sum(n is not None for n in outcomes) <= 5


def test_what_a_run_beside_a_bad_release_has_taught_does_not_fool_it_about_a_good_one():
    outcomes = []
    for seed in range(200):
        random = Random(seed)
        run = Comparison()
        for one in samples(Parallel(0.002, 0.05), 3000, random):
            run = compared(run, "GET /", {"a": one.odd}, 0.0, Profile())
        profile = learned_beside(Profile(), Comparison({"GET /": 3000}, run.counts))
        outcomes.append(found_after(samples(Parallel(0.002), REQUESTS, random), noise=profile.noise(("GET /", "a"))))
    assert sum(n is not None for n in outcomes) <= 5
