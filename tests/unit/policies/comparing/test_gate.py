from __future__ import annotations

from datetime import UTC, datetime

import pytest

from atoll.model.system import Compare, Intended
from atoll.policies.comparing.difference import Odd
from atoll.policies.comparing.gate import FAIL, NO_DATA, PASS, UNDECIDED, rule
from atoll.policies.comparing.messages import Findings
from atoll.policies.comparing.oddone import Profile
from atoll.policies.comparing.run import Run, heard
from atoll.policies.comparing.samples import LATENCY, Sample

NOW = datetime(2027, 1, 31, 12, tzinfo=UTC).timestamp()
COMPARE = Compare(samples=100, least=60)
PLAIN = Profile()
RULE = Intended("total", "ann", "cents", "2027-01-31")


def ran(*odd, left_out=None, profile=PLAIN):
    """A run of one sample for each mapping of fields to who was odd."""
    samples = tuple(Sample("GET /orders", one, (0.01, 0.01, 0.01)) for one in odd)
    findings = Findings("orders", 0.0, samples, left_out or {})
    return heard(Run("orders", 2, 1, 0.0, 0.0), findings, NOW, profile)


def kind(run, compare=COMPARE, seconds=60.0):
    return rule(run, compare, Profile(), NOW - seconds, NOW).kind


ALIKE = [{}] * 200
DIFFERENT = [{"total": Odd.CANDIDATE}] * 10


def test_enough_that_is_alike_for_long_enough_passes_and_nothing_less_does():
    assert kind(ran(*ALIKE)) == PASS
    assert kind(ran(*ALIKE[:99])) == UNDECIDED
    assert kind(ran(*ALIKE), seconds=59) == UNDECIDED


def test_no_data_is_never_a_pass_however_long_it_takes():
    run = ran(left_out={"answers had been too slow a moment before": 900, "a body was too large": 1})
    found = rule(run, COMPARE, Profile(), 0.0, NOW)
    assert found.kind == NO_DATA
    assert found.words.endswith("901 copies left out, most because answers had been too slow a moment before")


def test_answers_of_which_the_contract_leaves_nothing_are_no_pass():
    def bare(count, endpoint="GET /carts"):
        found = tuple(Sample(endpoint, {}, (0.01, 0.01, 0.01), bare=True) for _ in range(count))
        return Findings("orders", 0.0, found)

    run = heard(Run("orders", 2, 1, 0.0, 0.0), bare(500), NOW, PLAIN)
    found = rule(run, COMPARE, PLAIN, NOW - 60, NOW)
    assert (found.kind, found.words) == (
        NO_DATA, "nothing was compared yet; the contract leaves out every field of 500 answers",
    )  # fmt: skip
    assert kind(heard(ran(*ALIKE[:99]), bare(500), NOW, PLAIN)) == UNDECIDED
    found = rule(heard(ran(*ALIKE), bare(1), NOW, PLAIN), COMPARE, PLAIN, NOW - 60, NOW)
    assert found.kind == PASS
    assert found.words == "answers alike to 200 calls to 1 endpoint; the contract leaves out every field of 1 answer"
    broken = Sample("GET /carts", {":status": Odd.CANDIDATE}, (0.01, 0.01, 0.01), bare=True)
    assert kind(heard(run, Findings("orders", 0.0, (broken,) * 20), NOW, PLAIN)) == FAIL


def test_a_pass_says_what_was_left_out():
    found = rule(ran(*ALIKE, left_out={"a body was too large": 7}), COMPARE, PLAIN, NOW - 60, NOW)
    assert found.kind == PASS
    assert found.words.endswith("; 7 copies left out, most because a body was too large")


def test_a_field_that_is_its_own_fails_it_at_once_and_is_named():
    found = rule(ran(*ALIKE, *DIFFERENT), COMPARE, Profile(), NOW, NOW)
    assert found.kind == FAIL
    assert found.words.startswith("its answers differ: total in GET /orders (10 of 210, the old release 0; odds ")
    assert [v.path for v in found.differing] == ["total"]


def test_many_fields_are_named_by_the_first_few():
    found = rule(ran(*[{f"f{n}": Odd.CANDIDATE for n in range(5)}] * 20), COMPARE, Profile(), NOW, NOW)
    assert found.words.endswith(" and 2 more fields")


def test_noise_of_all_three_speaks_against_nobody():
    noise = [{"at": which} for which in (Odd.CANDIDATE, Odd.PRIMARY, Odd.SECONDARY)] * 30
    assert kind(ran(*ALIKE, *noise)) == PASS
    assert kind(ran(*[{"id": Odd.ALL}] * 200)) == PASS


def test_one_answer_alone_does_not_fail_it_however_quiet_the_field_has_been():
    quiet = Profile(samples={"GET /orders": 10_000})
    once, twice = (ran(*DIFFERENT[:count], profile=quiet) for count in (1, 2))
    assert [rule(run, COMPARE, quiet, NOW, NOW).kind for run in (once, twice)] == [UNDECIDED, FAIL]
    assert "total in GET /orders (1 of 1," in rule(once, COMPARE, quiet, NOW, NOW).words


def test_what_is_suspicious_holds_it_up_until_it_is_not():
    suspicious = [{"total": Odd.CANDIDATE}] * 5
    found = rule(ran(*ALIKE, *suspicious), COMPARE, Profile(), NOW - 60, NOW)
    assert (found.kind, "total in GET /orders" in found.words) == (UNDECIDED, True)
    others = [{"total": which} for which in (Odd.PRIMARY, Odd.SECONDARY)] * 4
    assert kind(ran(*ALIKE, *suspicious, *others)) == PASS


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ((RULE,), PASS),
        ((Intended("total", "ann", "cents", "2027-01-30"),), FAIL),
        ((Intended("total", "ann", "cents", "2027-12-31", "GET /orders"),), PASS),
        ((Intended("total", "ann", "cents", "2027-12-31", "GET /carts"),), FAIL),
        ((Intended("id", "ann", "cents", "2027-12-31"),), FAIL),
    ],
)
def test_a_difference_may_be_intended_in_its_place_until_its_day_is_over(rules, expected):
    compare = Compare(samples=100, least=60, intended=rules)
    assert kind(ran(*ALIKE, *DIFFERENT), compare) == expected


def test_a_slow_release_is_told_and_not_judged_here():
    assert kind(ran(*[{LATENCY: Odd.CANDIDATE}] * 200)) == PASS


def test_what_was_not_exercised_is_said():
    run = ran(*ALIKE)
    run = Run(**{f: getattr(run, f) for f in run.__slots__} | {"refused": {"a": 7}, "before": {"a": 4}})
    assert rule(run, COMPARE, Profile(), NOW - 60, NOW).words.endswith("3 calls of its own blocked, and so not tested")
