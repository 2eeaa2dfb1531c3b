from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.policies.comparing.endpoints import LONGEST, endpoint, is_path


@pytest.mark.parametrize(
    ("target", "found"),
    [
        ("/", "GET /"),
        ("/orders/17", "GET /orders/{id}"),
        ("/orders/17?full=1", "GET /orders/{id}"),
        ("/orders/last", "GET /orders/last"),
        ("/v1/orders", "GET /v1/orders"),
        ("/o/3f2504e0-4f89-11d3-9a0c-0305e82c3301/x", "GET /o/{id}/x"),
        ("/o/01ARZ3NDEKTSV4RRFFQ69G5FAV", "GET /o/{id}"),
        ("/o/deadbeef", "GET /o/{id}"),
        ("/o/administrators-only", "GET /o/administrators-only"),
        ("/users/ann/cart", "GET /users/{name}/cart"),
        ("/users/ann/cart/2", "GET /users/ann/cart/{id}"),
        ("/users/ann%40example.com/orders", "GET /users/{id}/orders"),
        ("/users/Ann", "GET /users/{id}"),
        ("/reset/c2VjcmV0LXRva2VuLTEyMw==", "GET /reset/{id}"),
        ("/confirm/eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N", "GET /confirm/{id}"),
        ("/o/aqzxswedcvfrtgbnhyujmkiolpaqzxswe", "GET /o/{id}"),
        ("/a/\x1b[2J/b/", "GET /a/{id}/b/"),
        ("/order_items/v2", "GET /order_items/v2"),
    ],
)
def test_what_differs_from_call_to_call_does_not_count(target, found):
    assert endpoint("GET", target, ("/users/{name}/cart",)) == found


def test_a_pattern_is_of_whole_segments_and_a_query_does_not_count():
    assert is_path("/search/{kind}", "/search/all?q=1")
    assert not is_path("/search/{kind}", "/search/all/of")
    assert not is_path("/search", "/searching")
    assert not is_path("/a.b", "/axb")


@given(st.text(max_size=300))
def test_whatever_is_asked_has_an_endpoint_of_bounded_length(target):
    assert len(endpoint("GET", target, ("/{a}/b",))) <= LONGEST
