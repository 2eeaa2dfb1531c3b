"""Histograms as proxies count them: quantiles, and what was added since the last look."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.values.histograms import Bar, quantile, since

NINE_FAST = (Bar(1, 0.1, 9), Bar(20, 1, 1))
grids = st.dictionaries(st.integers(0, 30), st.integers(1, 50), max_size=12).map(
    lambda counts: tuple(Bar(10.0 * n, 10.0, count) for n, count in counts.items())
)


@pytest.mark.parametrize(("share", "expected"), [(0.5, 1.0 + 0.1 * 5 / 9), (0.99, 20.9)])
def test_quantiles(share, expected):
    assert quantile(NINE_FAST, share) == pytest.approx(expected)


def test_nothing_has_no_quantile():
    assert quantile((), 0.5) is None


@given(
    st.lists(st.builds(Bar, st.floats(0, 1e4), st.floats(0, 100), st.integers(1, 50)), min_size=1, max_size=20),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_a_larger_share_takes_no_less_time(bars, one, other):
    apart = [Bar(200.0 * n, b.width, b.count) for n, b in enumerate(bars)]
    low, high = sorted((one, other))
    assert quantile(apart, low) <= quantile(apart, high) + 1e-9


@given(grids, grids)
def test_what_was_added_is_what_is_new(before, added):
    now: dict[tuple[float, float], int] = {}
    for bar in (*before, *added):
        now[bar.low, bar.width] = now.get((bar.low, bar.width), 0) + bar.count
    found = since(before, [Bar(low, width, count) for (low, width), count in now.items()])
    assert sorted(found, key=lambda b: b.low) == sorted(added, key=lambda b: b.low)


def test_who_started_anew_has_only_what_is_new():
    assert since((Bar(1, 1, 9), Bar(2, 1, 4)), (Bar(1, 1, 12),)) == (Bar(1, 1, 12),)
