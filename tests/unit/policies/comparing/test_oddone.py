from __future__ import annotations

from math import exp, log

import pytest

from atoll.policies.comparing import oddone
from atoll.policies.comparing.difference import Odd
from atoll.policies.comparing.oddone import (
    Comparison,
    Count,
    FieldVerdict,
    Kind,
    Noise,
    Profile,
    compared,
    evidence,
    family,
    learned,
    learned_beside,
    report,
    together,
)

PLAIN = Profile()
GET = "GET /orders"


def ran(*odd, profile=PLAIN, start=None):
    run = start or Comparison()
    for at, which in enumerate(odd):
        run = compared(run, GET, {} if which is None else {"price": which}, float(at), profile)
    return run


def kinds(run, profile=PLAIN):
    return {v.path: v.kind for v in report(run, profile)}


def test_answers_that_agree_leave_nothing_to_report():
    assert report(ran(None, None), PLAIN) == ()


def test_a_candidate_that_is_always_the_odd_one_differs():
    assert kinds(ran(*[Odd.CANDIDATE] * 6)) == {"price": Kind.DIFFERENT}
    assert kinds(ran(*[Odd.CANDIDATE] * 4)) == {"price": Kind.ALIKE_SO_FAR}


def test_noise_in_all_three_is_none_of_its_doing():
    assert kinds(ran(*[Odd.CANDIDATE, Odd.PRIMARY, Odd.SECONDARY] * 300)) == {"price": Kind.ALIKE_SO_FAR}


def test_what_was_found_stays_found():
    run = ran(*[Odd.CANDIDATE] * 6, *[Odd.PRIMARY, Odd.SECONDARY, Odd.CANDIDATE] * 300)
    assert kinds(run) == {"price": Kind.DIFFERENT}


def test_a_field_in_which_all_three_differ_is_masked_and_listed():
    assert kinds(ran(*[Odd.ALL] * 20)) == {"price": Kind.MASKED}
    assert kinds(ran(*[Odd.ALL] * 19)) == {"price": Kind.ALIKE_SO_FAR}
    assert kinds(ran(*[Odd.ALL, None, None] * 20)) == {"price": Kind.ALIKE_SO_FAR}


def test_it_is_told_when_a_field_first_and_last_differed():
    (verdict,) = report(ran(None, Odd.CANDIDATE, None, Odd.PRIMARY), PLAIN)
    assert (verdict.count.first, verdict.count.last, verdict.samples) == (1.0, 3.0, 4)


def test_where_there_never_was_any_noise_two_mismatches_decide():
    quiet = learned(PLAIN, Comparison({GET: 10_000}))
    assert kinds(ran(*[None] * 60, Odd.CANDIDATE, *[None] * 30, profile=quiet), quiet) == {"price": Kind.ALIKE_SO_FAR}
    decided = ran(*[None] * 60, Odd.CANDIDATE, *[None] * 30, Odd.CANDIDATE, profile=quiet)
    assert kinds(decided, quiet) == {"price": Kind.DIFFERENT}
    assert kinds(ran(Odd.CANDIDATE, profile=quiet), quiet) == {"price": Kind.DIFFERENT}


def test_fields_without_end_share_a_count_and_are_one_piece_of_evidence(monkeypatch):
    monkeypatch.setattr(oddone, "MOST_FIELDS", 2)
    run = compared(Comparison(), GET, {f"by_id.{i}": Odd.CANDIDATE for i in range(9)}, 0.0, PLAIN)
    assert {path: count.candidate for (_, path), count in run.counts.items()} == {
        "by_id.0": 1, "by_id.1": 1, "all other fields": 1,
    }  # fmt: skip
    assert learned(PLAIN, run).noise((GET, "all other fields")) is None  # another run has other fields there


def test_names_that_only_the_other_release_had_are_not_remembered_with_the_noise():
    run = compared(Comparison(), GET, {"price": Odd.PRIMARY, "chosen.by.it": Odd.CANDIDATE}, 0.0, PLAIN)
    assert learned_beside(PLAIN, run).odd == {(GET, "price"): 1}


@pytest.mark.parametrize("one", [Odd.PRIMARY, Odd.SECONDARY, Odd.CANDIDATE])
def test_of_several_fields_together_whoever_is_it_in_most_is_the_odd_one(one):
    another = Odd.PRIMARY if one is not Odd.PRIMARY else Odd.SECONDARY
    assert together([another, one, Odd.ALL, Odd.ALL, one]) is one
    assert together([one, another, Odd.ALL]) is Odd.ALL
    assert together([Odd.ALL]) is Odd.ALL


def test_a_profile_adds_up_over_runs():
    first = learned(PLAIN, ran(Odd.CANDIDATE, Odd.ALL, None))
    second = learned(first, ran(Odd.PRIMARY, None))
    assert second.noise((GET, "price")) == Noise(5, 5)
    assert second.noise((GET, "other")) == Noise(5, 0)
    assert second.noise(("GET /other", "price")) is None


def test_a_run_beside_another_release_teaches_what_stable_did_in_it():
    run = ran(Odd.CANDIDATE, Odd.PRIMARY, Odd.SECONDARY, Odd.ALL, None, None)
    assert learned_beside(PLAIN, run).noise((GET, "price")) == Noise(4, 4)
    assert learned_beside(learned(PLAIN, ran(None)), run).noise((GET, "price")) == Noise(5, 4)


def test_a_noisy_field_is_judged_by_the_odd_one_alone():
    noisy = Noise(100, 60)
    count = Count(candidate=8)
    assert evidence(count, 10, noisy, 0.01) == evidence(count, 10, None, 0.01)


@pytest.mark.parametrize(("odd", "samples"), [(0, 100), (0, 10_000), (3, 1000), (40, 1000)])
def test_the_most_noise_is_more_than_what_was_seen_by_what_chance_allows(odd, samples):
    most = Noise(samples, odd).most(0.01)
    assert most > odd / (3 * samples)
    mean = most * 3 * samples
    seen, chance = 1.0, 0.0
    for k in range(odd + 1):
        chance += seen * exp(-mean)
        seen *= mean / (k + 1)
    assert chance <= 0.01


def test_of_all_that_are_named_few_are_wrong():
    def verdict(path, odds):
        return FieldVerdict(GET, path, Kind.DIFFERENT, log(odds), 100, Count())

    alone, strong = verdict("a", 150), [verdict(f"s{i}", 1000) for i in range(2)]
    assert family([alone], 0.01) == (alone,)
    assert family([alone, *(verdict(f"n{i}", 1) for i in range(9))], 0.01) == ()
    assert family([alone, *strong], 0.01) == (*strong, alone)
    assert family([], 0.01) == ()
