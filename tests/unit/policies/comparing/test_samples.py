from __future__ import annotations

import json

import pytest

from atoll.policies.comparing.canonical import Contract, Reply
from atoll.policies.comparing.difference import Odd
from atoll.policies.comparing.oddone import REST
from atoll.policies.comparing.samples import LATENCY, MOST_ODD, Answer, LeftOut, NoAnswer, Sample, sample

SALT = b"salt"
GET = "GET /orders"


def answer(body, status=200, took=0.01, content="application/json"):
    return Answer(Reply(status, {"content-type": content}, json.dumps(body).encode()), took)


def of(*answers, contract=None):
    return sample(GET, answers, contract or Contract(), SALT)


def test_three_equal_answers_have_no_odd_one():
    found = of(*[answer({"total": 5})] * 3)
    assert found == Sample(GET, {}, (0.01, 0.01, 0.01))


def test_the_odd_one_is_named_by_field_with_an_example_that_tells_nothing():
    found = of(answer({"total": 5, "id": 1}), answer({"total": 5, "id": 1}), answer({"total": 6, "id": 1}))
    assert found.odd == {"total": Odd.CANDIDATE}
    (example,) = found.examples
    assert (example.path, example.primary) == ("total", example.secondary)
    assert example.candidate != example.primary
    assert "5" not in example.primary.partition("hash")[0]
    assert "6" not in example.candidate.partition("hash")[0]


@pytest.mark.parametrize(("masked", "times"), [((), 0), (("id",), 1)])
def test_an_answer_is_parsed_once_at_most_and_not_at_all_where_all_are_the_same(monkeypatch, masked, times):
    parsed, loads = [], json.loads
    monkeypatch.setattr(json, "loads", lambda text: parsed.append(text) or loads(text))
    contract = Contract(masked=masked)
    found = of(*[answer({"id": 1, "total": n}) for n in (1, 1, 2)], contract=contract)
    assert [example.path for example in found.examples] == ["total"]
    assert len(parsed) == 3
    parsed.clear()
    of(*[answer({"id": 1, "total": 1}) for _ in range(3)], contract=contract)
    assert len(parsed) == times


def test_what_may_be_shown_is_shown_and_so_are_status_and_type():
    contract = Contract(shown=("currency",), headers=("content-type", "set-cookie"))
    one = answer({"currency": "EUR"})
    other = answer({"currency": "USD"}, status=201, content="text/plain")
    other.reply.headers["set-cookie"] = "session=secret"
    shown = {e.path: (e.primary, e.candidate) for e in of(one, one, other, contract=contract).examples}
    assert shown["currency"] == ("'EUR'", "'USD'")
    assert shown[":status"] == ("200", "201")
    assert shown["header:content-type"] == ("'application/json'", "'text/plain'")
    assert "secret" not in shown["header:set-cookie"][1]


@pytest.mark.parametrize("why", NoAnswer)
def test_whoever_alone_does_not_answer_is_the_odd_one_whichever_it_is(why):
    good, none = answer({"a": 1}), Answer(why, 5.0)
    found = of(good, good, none)
    assert found.odd[":status"] is Odd.CANDIDATE
    assert {e.path: (e.primary, e.candidate) for e in found.examples}[":status"] == ("200", repr(str(why)))
    assert of(good, none, good).odd[":status"] is Odd.SECONDARY
    assert of(none, good, good).odd[":status"] is Odd.PRIMARY


def test_what_stable_cannot_answer_teaches_nothing():
    good, bad = answer({"a": 1}), answer({}, status=503)
    large, unreached = Answer(NoAnswer.LARGE, 1.0), Answer(NoAnswer.UNREACHED, 1.0)
    assert of(bad, Answer(NoAnswer.LATE, 5.0), good) is LeftOut.FAILED
    assert of(bad, good, good).odd[":status"] is Odd.PRIMARY
    assert of(large, large, good) is LeftOut.LARGE
    assert of(unreached, unreached, unreached) is LeftOut.UNASKED
    assert of(unreached, large, good) is LeftOut.FAILED


@pytest.mark.parametrize(
    ("contract", "bodies"),
    [
        (Contract(masked=("id",)), [{"id": 1}]),
        (Contract(masked=("[*].id", "[*].total")), [[], [{"id": 1, "total": 5}]]),
        (Contract(masked=("id",), ignored=("at",)), [{"id": 1, "at": "now"}, {}]),
    ],
)
def test_an_answer_of_which_the_contract_leaves_nothing_is_known_whichever_came_before(contract, bodies):
    for body in bodies:
        found = of(*[answer(body)] * 3, contract=contract)
        assert (found.odd, found.bare) == ({}, True)


def test_what_is_left_to_compare_counts_and_so_does_everything_where_nothing_is_left_out():
    contract = Contract(masked=("id",))
    assert not of(*[answer({"id": 1, "a": 1})] * 3, contract=contract).bare
    assert not of(Answer(NoAnswer.LATE, 1.0), *[answer({"id": 1, "a": 1})] * 2, contract=contract).bare
    assert not of(*[answer([])] * 3).bare
    bad = of(answer({"id": 1}), answer({"id": 1}), answer({"id": 1}, status=500), contract=contract)
    assert (bad.bare, bad.odd) == (True, {":status": Odd.CANDIDATE})


def test_the_slow_one_is_the_odd_one_only_where_it_is_much_slower():
    def took(*seconds):
        return of(*(answer({}, took=one) for one in seconds)).odd

    assert took(0.010, 0.011, 0.030) == {LATENCY: Odd.CANDIDATE}
    assert took(0.030, 0.011, 0.010) == {LATENCY: Odd.PRIMARY}
    assert took(0.100, 0.105, 0.110) == {}
    assert took(0.0001, 0.0001, 0.0009) == {}


def test_an_answer_that_differs_everywhere_is_told_in_few_fields():
    fields = {f"f{n:03}": n for n in range(100)}
    found = of(answer(fields), answer(fields), answer(dict.fromkeys(fields, -1)))
    assert len(found.odd) == MOST_ODD + 1
    assert found.odd[REST] is Odd.CANDIDATE
    assert of(answer(dict.fromkeys(fields, -1)), answer(fields), answer(fields)).odd[REST] is Odd.PRIMARY
