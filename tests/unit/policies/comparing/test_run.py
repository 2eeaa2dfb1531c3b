from __future__ import annotations

from atoll import wire
from atoll.policies.comparing import endpoints
from atoll.policies.comparing.canonical import Contract, below
from atoll.policies.comparing.difference import Odd
from atoll.policies.comparing.messages import Findings
from atoll.policies.comparing.oddone import MOST_FIELDS, Profile
from atoll.policies.comparing.run import EXAMPLES, Row, Run, from_row, heard, refused, to_row
from atoll.policies.comparing.samples import MOST_ODD, Example, Sample

RUN = Run("orders", 7, 6, 100.0, 100.0, Contract(masked=("id",), arrays=(("tags", "set"),)))


def one(endpoint="GET /orders", odd=None, example=None):
    examples = (example,) if example is not None else ()
    return Sample(endpoint, odd or {}, (0.01, 0.02, 0.03), examples)


def after(run, *samples, at=200.0, **left_out):
    return heard(run, Findings("orders", 0.0, samples, left_out), at, Profile())


def test_a_run_counts_what_was_compared_and_what_was_not():
    run = after(after(RUN, one(), one(odd={"total": Odd.CANDIDATE}), busy=2), one("GET /x"), busy=1, large=1)
    assert (run.samples, run.until) == (3, 200.0)
    assert run.comparison.samples == {"GET /orders": 2, "GET /x": 1}
    assert run.comparison.counts["GET /orders", "total"].candidate == 1
    assert run.left_out == {"busy": 3, "large": 1}
    assert (sum(run.stable_times.values()), sum(run.candidate_times.values())) == (6, 3)


def test_a_few_examples_of_a_field_are_kept():
    example = Example("total", "a", "a", "b")
    run = after(RUN, *[one(odd={"total": Odd.CANDIDATE}, example=example)] * 5)
    assert run.examples == {("GET /orders", "total"): (example,) * EXAMPLES}


def test_paths_that_are_data_share_one_count():
    run = after(RUN, *(one(f"GET /{n}x") for n in range(endpoints.MOST + 10)))
    assert len(run.comparison.samples) == endpoints.MOST + 1
    assert run.comparison.samples[endpoints.REST] == 10


def test_calls_that_were_refused_before_are_not_its_own():
    run = refused(RUN, {"orders-r7-1": 5})
    assert run.blocked == 0
    run = refused(run, {"orders-r7-1": 8})
    assert run.blocked == 3
    run = refused(run, {"orders-r7-1": 0, "orders-r7-2": 4})  # a proxy began anew; an instance came
    assert run.blocked == 3


def test_what_is_written_down_is_bounded_however_much_differs():
    run = RUN
    for n in range(MOST_FIELDS // MOST_ODD + 20):
        path = below("", f"{n:09}{'k' * 1000}")
        odd = {f"{path}{m}": Odd.CANDIDATE for m in range(MOST_ODD)}
        examples = tuple(Example(one, *["x" * 100] * 3) for one in odd)
        run = after(run, Sample(f"GET /{'x' * 110}", odd, (0.01, 0.01, 0.01), examples))
    assert len(run.comparison.counts) <= MOST_FIELDS + 1
    assert len(wire.encode(to_row(run))) < 2_000_000


def test_it_is_read_as_it_was_written_down():
    example = Example("total", "a", "a", "b")
    run = after(RUN, one(odd={"total": Odd.CANDIDATE, "id": Odd.ALL}, example=example), one(), busy=2)
    assert from_row(wire.decode(wire.encode(to_row(run)), Row)) == run
