from __future__ import annotations

from dataclasses import replace

import pytest

from atoll.values.judging import Guard, JudgePolicy, allowance, problems

USUAL = JudgePolicy()


def test_the_defaults_make_sense():
    assert list(problems(USUAL, ())) == []


def test_a_metric_that_does_not_exist_is_told_with_the_nearest_one():
    (found,) = problems(replace(USUAL, metrics=("errors", "latency_p49")), ())
    assert found.startswith("there is no metric latency_p49 (did you mean latency_p95?): the metrics are errors, ")


def test_a_count_that_nobody_delivers_is_told():
    assert list(problems(replace(USUAL, counts=("orders_created",)), {"orders_created"})) == []
    (found,) = problems(replace(USUAL, counts=("order_created",)), {"orders_created"})
    assert found == "nothing delivers a count order_created (did you mean orders_created?)"


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"alpha": 0.0}, "alpha is 0"),
        ({"beta": 1.0}, "beta is 1"),
        ({"bucket": 0.0}, "bucket is 0"),
        ({"no_data_grace": -1.0}, "no_data_grace is -1"),
        ({"dry_run": ("cpu",)}, "dry_run names cpu"),
        ({"metrics": ()}, "nothing decides"),
        ({"dry_run": USUAL.metrics}, "nothing decides"),
        ({"errors": replace(USUAL.errors, tolerated=0.9)}, "below 1"),
        ({"errors": replace(USUAL.errors, ratio=1.2)}, "raise ratio above tolerated"),
        ({"errors": replace(USUAL.errors, floor=0.01)}, "floor < rate"),
        ({"latency": replace(USUAL.latency, unacceptable=1.0)}, "unacceptable is 1"),
        ({"guard": Guard(strikes=0)}, "at least one strike"),
        ({"guard": Guard(pause=0.0)}, "a pause"),
    ],
)
def test_what_makes_no_sense_is_told(change, word):
    assert any(word in found for found in problems(replace(USUAL, **change), ()))


def test_the_guard_may_be_left_out():
    assert list(problems(replace(USUAL, guard=None), ())) == []


def test_the_chance_of_a_false_alarm_is_split_and_never_exceeded():
    policy = JudgePolicy(counts=("orders",), dry_run=("latency_p50",))
    judged = ("errors", "latency_p95", "orders")
    assert policy.alpha_of("errors") == policy.alpha / 2
    assert sum(policy.alpha_of(name) for name in judged) == pytest.approx(policy.alpha)
    alone = JudgePolicy(metrics=("errors",))
    assert alone.alpha_of("errors") == alone.alpha
    latencies = JudgePolicy(dry_run=("errors",))
    assert latencies.alpha_of("latency_p50") == latencies.alpha / 2


def test_an_allowance_is_a_share_of_the_months_budget():
    assert allowance(0.05, 0.999, 10_000_000) == 500
