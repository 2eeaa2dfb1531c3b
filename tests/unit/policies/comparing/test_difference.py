from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.model.system import Tolerance
from atoll.policies.comparing.canonical import Canonical, Contract, Reply
from atoll.policies.comparing.difference import Difference, How, Odd, Triple, differences, odd_ones, redact, redacted


def found(one, other, **contract):
    both = (Canonical(200, (), body) for body in (one, other))
    return [(d.path, d.how) for d in differences(*both, Contract(**contract))]


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": 1.0}, []),
        ({"a": 1}, {"a": 2}, [("a", How.VALUE)]),
        ({"a": 1}, {"a": "1"}, [("a", How.TYPE)]),
        ({"a": 1}, {"a": True}, [("a", How.TYPE)]),
        ({"a": {"b": 1}}, {"a": {"b": True}}, [("a.b", How.TYPE)]),
        ({"a": None}, {}, [("a", How.MISSING)]),
        ({}, {"a": None}, [("a", How.EXTRA)]),
        ({"a": [1, 2]}, {"a": [1, 3]}, [("a[*]", How.VALUE)]),
        ({"a": [1, 2]}, {"a": [1]}, [("a", How.LENGTH)]),
        ({"a": {"b": [{"c": 1}]}}, {"a": {"b": [{"c": 2}]}}, [("a.b[*].c", How.VALUE)]),
        ([1], {"a": 1}, [("$", How.TYPE)]),
        (b"one", b"two", [("$", How.VALUE)]),
        ("", None, [("$", How.TYPE)]),
    ],
)
def test_fields_that_differ_are_named(one, other, expected):
    assert found(one, other) == expected


def test_a_tolerance_is_absolute_or_relative():
    near = {"tolerances": (("price", Tolerance(absolute=0.01)), ("rate", Tolerance(relative=0.1)))}
    assert found({"price": 1.0, "rate": 100}, {"price": 1.009, "rate": 109}, **near) == []
    assert found({"price": 1.0, "rate": 100}, {"price": 1.02, "rate": 112}, **near) == [
        ("price", How.VALUE), ("rate", How.VALUE),
    ]  # fmt: skip
    assert found({"price": "1"}, {"price": "2"}, **near) == [("price", How.VALUE)]


@pytest.mark.parametrize("other", [10**400, float("inf"), float("nan")], ids=["long", "inf", "nan"])
def test_no_tolerance_reaches_what_is_beyond_all_numbers(other):
    near = {"tolerances": (("a", Tolerance(absolute=0.01)), ("b", Tolerance(relative=0.5)))}
    assert found({"a": 1.5, "b": 1.5}, {"a": other, "b": other}, **near) == [("a", How.VALUE), ("b", How.VALUE)]


def test_a_set_has_no_order():
    assert found({"a": [1, {"b": 2}]}, {"a": [{"b": 2}, 1]}, arrays=(("a", "set"),)) == []
    assert found({"a": [1, 2]}, {"a": [3, 1]}, arrays=(("a", "set"),)) == [("a[*]", How.VALUE)]
    assert found({"a": [1, 2]}, {"a": [1]}, arrays=(("a", "set"),)) == [("a", How.LENGTH)]


def test_elements_may_be_known_by_a_field():
    by_sku = {"arrays": (("items", "sku"),)}
    one = {"items": [{"sku": 1, "n": 1}, {"sku": 2, "n": 2}]}
    assert found(one, {"items": one["items"][::-1]}, **by_sku) == []
    assert found(one, {"items": [{"sku": 2, "n": 9}]}, **by_sku) == [
        ("items[*]", How.MISSING), ("items[*].n", How.VALUE),
    ]  # fmt: skip
    assert found({"items": [{"sku": 1}, {"sku": 1}, 7]}, {"items": [{"sku": 1}, {"sku": 1}, 7]}, **by_sku) == []


def test_a_masked_field_must_be_there_and_an_ignored_one_not():
    assert found({"id": 1}, {"id": 2}, masked=("id",)) == []
    assert found({"id": 1}, {"id": "x"}, masked=("id",)) == [("id", How.TYPE)]
    assert found({"id": 1}, {}, masked=("id",)) == [("id", How.MISSING)]
    assert found({"id": 1}, {}, ignored=("id",)) == []
    for arrays in ((), (("ids", "set"),), (("ids", "sku"),)):
        assert found({"ids": [1, {"sku": 2}]}, {"ids": [1]}, masked=("ids",), arrays=arrays) == []
    assert found({"ids": [1]}, {"ids": {}}, masked=("ids",)) == [("ids", How.TYPE)]


def test_status_and_headers_are_fields():
    one = Canonical(200, (("a", "1"), ("b", "2")), None)
    other = Canonical(404, (("b", "3"), ("c", "4")), None)
    assert [(d.path, d.how) for d in differences(one, other, Contract())] == [
        (":status", How.VALUE), ("header:a", How.MISSING), ("header:b", How.VALUE), ("header:c", How.EXTRA),
    ]  # fmt: skip


def triple(*bodies, contract=None):
    replies = (Reply(200, {}, b if isinstance(b, bytes) else json.dumps(b).encode()) for b in bodies)
    return odd_ones(Triple(*replies), contract or Contract())


@pytest.mark.parametrize(
    ("bodies", "odd"),
    [((1, 1, 2), Odd.CANDIDATE), ((1, 2, 1), Odd.SECONDARY), ((2, 1, 1), Odd.PRIMARY), ((1, 2, 3), Odd.ALL)],
)
def test_the_odd_one_of_three(bodies, odd):
    assert triple(*({"a": b, "same": 0} for b in bodies)) == {"a": odd}


def test_three_equal_answers_are_not_even_read():
    assert triple(b"{not json", b"{not json", b"{not json") == {}


def test_where_a_tolerance_lets_the_middle_one_agree_with_both_nobody_is_odd():
    near = Contract(tolerances=(("a", Tolerance(absolute=1.0)),))
    assert triple({"a": 1}, {"a": 2}, {"a": 3}, contract=near) == {}


def test_answers_nested_too_deeply_are_compared_as_a_whole():
    deep = b'{"a":' * 65 + b"1" + b"}" * 65
    assert triple(deep, deep, deep.replace(b"1", b"2")) == {"$": Odd.CANDIDATE}


def test_what_nobody_allowed_to_be_shown_is_not_shown():
    difference = Difference("user.name", How.VALUE, "Ada", "Grace")
    path, one, other = redacted(difference, Contract(), b"salt")
    assert path == "user.name"
    assert "Ada" not in one
    assert one.startswith("str of length 3, hash ")
    assert one != other
    assert redact("Ada", b"salt") == one != redact("Ada", b"pepper")
    assert redacted(difference, Contract(shown=("user",)), b"salt") == ("user.name", "'Ada'", "'Grace'")


def test_not_a_number_hides_no_number():
    assert triple(b'{"a": NaN, "b": 1}', b'{"a": NaN, "b": 1}', b'{"a": 5, "b": 2}') == {
        "a": Odd.CANDIDATE, "b": Odd.CANDIDATE,
    }  # fmt: skip
    assert triple(b'{"a": NaN, "b": 1}', b'{"a": NaN, "b": 1}', b'{"a": NaN, "b": 2}') == {"b": Odd.CANDIDATE}


def test_half_a_surrogate_is_a_value_like_others():
    assert triple(b'{"a": "x"}', b'{"a": "x"}', b'{"a": "\\ud83d"}') == {"a": Odd.CANDIDATE}
    assert redact("\ud83d", b"").startswith("str of length 1, hash ")
    assert redact({"\ud83d": 1}, b"") != redact({"\ud83e": 1}, b"")


def test_every_value_can_be_redacted():
    assert [redact(v, b"") .split(",")[0] for v in (None, True, 3.5, [1], {"a": 1}, b"xy")] == [
        "NoneType", "bool", "float of length 3", "list of length 1", "dict of length 1", "bytes of length 2",
    ]  # fmt: skip


values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)


@given(values)
def test_nothing_differs_from_itself(value):
    assert found(value, json.loads(json.dumps(value))) == []
    assert found(value, value, arrays=(("$", "set"),)) == []


@given(values, values)
def test_differing_goes_both_ways(one, other):
    there, back = found(one, other), found(other, one)
    turned = {How.MISSING: How.EXTRA, How.EXTRA: How.MISSING}
    assert sorted(there) == sorted((path, turned.get(how, how)) for path, how in back)


@given(values, values, values)
def test_a_field_has_at_most_one_odd_one_and_equal_answers_have_none(one, two, three):
    assert set(triple(one, one, three).values()) <= {Odd.CANDIDATE}
    assert set(triple(one, two, one).values()) <= {Odd.SECONDARY}
    assert set(triple(one, two, two).values()) <= {Odd.PRIMARY}
