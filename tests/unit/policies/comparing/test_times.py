from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.policies.comparing.times import noted, quantile


def test_without_answers_there_is_no_quantile():
    assert quantile({}, 0.5) is None


@given(st.lists(st.floats(1e-5, 60), min_size=1, max_size=60), st.floats(0.01, 1))
def test_a_quantile_is_off_by_at_most_a_twentieth(seconds, share):
    times: dict[int, int] = {}
    for one in seconds:
        times = noted(times, one)
    rank = max(0, -(-share * len(seconds) // 1) - 1)
    exact = sorted(seconds)[min(len(seconds) - 1, int(rank))]
    assert quantile(times, share) == pytest.approx(exact, rel=0.05)


def test_no_time_at_all_counts_as_the_shortest():
    assert quantile(noted({}, 0.0), 0.5) == pytest.approx(1e-5, rel=0.05)
