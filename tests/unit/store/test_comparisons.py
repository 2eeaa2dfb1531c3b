from __future__ import annotations

from dataclasses import replace

from atoll.policies.comparing.oddone import Comparison, Count, Profile
from atoll.policies.comparing.run import Run
from atoll.store.comparisons import KEPT, RUNS_KEPT

RUN = Run(
    "orders", 7, 6, 1.0, 2.0, comparison=Comparison({"GET /": 3}, {("GET /", "total"): Count(1, first=1, last=1)})
)


def test_a_run_is_read_as_it_was_kept_and_the_newest_where_none_is_named(store):
    assert store.comparisons.run("orders") is None
    store.comparisons.keep(RUN, 2.0)
    store.comparisons.keep(replace(RUN, until=3.0), 3.0)
    store.comparisons.keep(replace(RUN, release=9), 3.0)
    assert store.comparisons.run("orders", 7) == replace(RUN, until=3.0)
    assert store.comparisons.run("orders").release == 9
    assert store.comparisons.run("web") is None


def test_old_runs_go_after_a_week_and_beyond_a_number(store):
    store.comparisons.keep(RUN, 2.0)
    store.comparisons.sweep(2.0 + KEPT)
    assert store.comparisons.run("orders") is not None
    store.comparisons.sweep(3.0 + KEPT)
    assert store.comparisons.run("orders") is None
    for release in range(1, RUNS_KEPT + 3):
        store.comparisons.keep(replace(RUN, release=release), KEPT)
    kept = [n for n in range(1, RUNS_KEPT + 3) if store.comparisons.run("orders", n) is not None]
    assert kept == list(range(3, RUNS_KEPT + 3))


def test_the_noise_of_another_program_is_none(store):
    profile = Profile(samples={"GET /": 10}, odd={("GET /", "at"): 3})
    store.comparisons.learn("orders", "one", profile)
    assert store.comparisons.noise("orders", "one") == profile
    assert store.comparisons.noise("orders", "two") == Profile()
    store.comparisons.learn("orders", "two", Profile())
    assert store.comparisons.noise("orders", "one") == Profile()
