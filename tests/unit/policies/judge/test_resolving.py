from __future__ import annotations

import pytest

from atoll.policies.judge.resolving import Traffic, resolvable
from atoll.values.judging import JudgePolicy

POLICY = JudgePolicy(metrics=("errors", "latency_p95"))
USUAL = Traffic(50, 0.1, 1, 9)


def test_it_is_told_in_words_and_numbers():
    assert resolvable(USUAL, POLICY, 600.0).text == (
        "50 rps, 10 % of them on 1 of 10 instances, for 10m: can tell errors of 0.73 % or more (stable has 0.1 %), "
        "p95 +47 %; what is less stays undecided; a release as good as stable passes by its errors after about 364 s"
    )


def test_more_traffic_and_more_time_resolve_more():
    least = resolvable(USUAL, POLICY, 600.0).errors
    assert resolvable(Traffic(500, 0.1, 1, 9), POLICY, 600.0).errors < least
    assert resolvable(USUAL, POLICY, 1800.0).errors < least
    assert resolvable(USUAL, POLICY, 60.0).errors > least


def test_what_cannot_be_told_is_said():
    found = resolvable(Traffic(0.1, 0.1, 1, 1), POLICY, 50.0)
    assert (found.errors, found.latencies, found.passes) == (None, (("latency_p95", None),), None)
    assert "can tell no error rate (stable has 0.1 %), no rise of p95" in found.text
    assert found.text.endswith("does not pass in that time")


def test_only_what_is_judged_is_told():
    text = resolvable(USUAL, JudgePolicy(metrics=("latency_p95",)), 600.0).text
    assert "errors" not in text
    assert "p95" in text


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
def test_a_release_needs_its_least_number_of_requests_to_pass(share):
    policy = JudgePolicy(metrics=("errors",), min_requests=6000)
    assert resolvable(Traffic(100, share, 1, 9), policy, 1e6).passes >= 60 / share
