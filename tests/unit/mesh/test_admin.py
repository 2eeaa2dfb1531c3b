"""Latencies of several clusters as one, and Envoy's statistics read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.mesh.admin import Bucket, parse_counts, quantile

STATS = {
    "stats": [
        {"name": "cluster.orders->payments.upstream_rq_5xx", "value": 2},
        {"name": "cluster.orders->payments.upstream_rq_completed", "value": 10},
        {"name": "cluster.a->https_//api.example.com_443.upstream_rq_completed", "value": 1},
        {
            "histograms": {
                "supported_percentiles": [50],
                "details": [
                    {
                        "name": "cluster.orders->payments.upstream_rq_time",
                        "totals": [
                            {"lower_bound": 1, "width": 0.1, "count": 9},
                            {"lower_bound": 20, "width": 1, "count": 1},
                        ],
                        "intervals": [],
                        "percentiles": [],
                    }
                ],
            }
        },
    ]
}


def test_counts_are_read_by_cluster():
    found = parse_counts(STATS)
    assert (found["orders->payments"].completed, found["orders->payments"].errors) == (10, 2)
    assert found["orders->payments"].times == (Bucket(1, 0.1, 9), Bucket(20, 1, 1))
    assert found["a->https_//api.example.com_443"].errors == 0


@pytest.mark.parametrize(("share", "expected"), [(0.5, 1.0 + 0.1 * 5 / 9), (0.99, 20.9)])
def test_quantiles(share, expected):
    assert quantile(parse_counts(STATS)["orders->payments"].times, share) == pytest.approx(expected)


def test_nothing_has_no_quantile():
    assert quantile((), 0.5) is None


@given(
    st.lists(st.builds(Bucket, st.floats(0, 1e4), st.floats(0, 100), st.integers(1, 50)), min_size=1, max_size=20),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_a_larger_share_takes_no_less_time(buckets, one, other):
    apart = [Bucket(200.0 * n, b.width, b.count) for n, b in enumerate(buckets)]
    low, high = sorted((one, other))
    assert quantile(apart, low) <= quantile(apart, high) + 1e-9
