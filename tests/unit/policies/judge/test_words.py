from __future__ import annotations

from math import log

import pytest

from atoll.policies.judge.verdict import Evidence, Kind, Verdict
from atoll.policies.judge.words import explain, odds

FOUND = Evidence(14, 2310, 9, 21004)


def test_a_fail_says_what_was_counted_what_it_means_and_whom_it_hurt():
    verdict = Verdict(Kind.FAIL, "errors", FOUND, log(3123), 38.2, failed=14, users=14)
    assert explain(verdict) == (
        "canary 14 of 2,310 bad, stable 9 of 21,004; odds 3,100:1 that it is worse; aborted after 38 s; "
        "14 users saw an error"
    )


def test_where_nobody_counts_users_it_says_how_many_at_most():
    assert explain(Verdict(Kind.FAIL, "errors", FOUND, failed=14)).endswith("at most 14 users saw an error")
    assert explain(Verdict(Kind.FAIL, "errors", FOUND, failed=0)).endswith("; no user saw an error")


def test_a_fail_by_something_else_gives_its_reason():
    verdict = Verdict(Kind.FAIL, "guard", FOUND, seconds=23.0, failed=14, note="it failed clearly 3 times")
    assert "; it failed clearly 3 times; aborted after 23 s; " in explain(verdict)


def test_a_pass_says_how_sure_it_is():
    verdict = Verdict(Kind.PASS, "errors", FOUND, log(23), 290.0, dry_run=("orders",))
    assert explain(verdict) == (
        "canary 14 of 2,310 bad, stable 9 of 21,004; odds 23:1 against an unacceptable release; passed after 290 s; "
        "in a dry run orders would have aborted"
    )


def test_what_is_undecided_says_how_far_it_is_or_what_it_waits_for():
    assert explain(Verdict(Kind.UNDECIDED, "errors", FOUND, log(3))).endswith(
        "odds 3:1 that it is worse, which decides nothing yet"
    )
    assert explain(Verdict(Kind.NO_DATA, note="stable had no request for 61 s")).endswith(
        "; stable had no request for 61 s"
    )


def test_each_metric_has_its_words():
    assert explain(Verdict(Kind.UNDECIDED, "latency_p95", FOUND)).startswith(
        "canary's p95 slow in 14 of 2,310 units, stable's in 9 of 21,004;"
    )
    assert explain(Verdict(Kind.UNDECIDED, "orders_created", FOUND)).startswith(
        "canary 14 orders_created in 2,310 requests, stable 9 in 21,004;"
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.0, "1:1"), (2.34, "2.3:1"), (9.96, "10:1"), (3123, "3,100:1"), (1e6, "1,000,000:1"), (0.01, "1:100")],
)
def test_odds_have_two_digits_that_count(value, text):
    assert odds(log(value)) == text


def test_odds_that_nobody_can_imagine():
    assert odds(800.0) == "above 9,000,000:1"
    assert odds(-800.0) == "1:8,900,000"
