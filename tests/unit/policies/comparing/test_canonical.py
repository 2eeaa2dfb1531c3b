from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.policies.comparing.canonical import (
    LONGEST_PATH,
    Canonical,
    Contract,
    Reply,
    below,
    canonical,
    covers,
    identity,
    leaves,
    matches,
)


@pytest.mark.parametrize(
    ("pattern", "path", "found"),
    [
        ("id", "id", True),
        ("id", "ident", False),
        ("user", "user.name", True),
        ("items", "items[*].price", True),
        ("items[*].price", "items[*].price", True),
        ("items[*].price", "items[*].prices", False),
        ("*.created", "order.created", True),
        ("*.created", "order.line.created", False),
        ("header:x-*", "header:x-id", True),
        ("$", "anything", True),
        ("$", ":status", False),
        ("*", "header:etag", False),
        ("**", ":status", False),
        ("*", "$.:status", True),
        (":status", ":status", True),
        ("header:*", "header:etag", True),
        ("a.b", "axb", False),
    ],
)
def test_a_pattern_names_a_field_and_what_is_below_it(pattern, path, found):
    assert matches(pattern, path) is found


def test_an_answer_is_its_status_the_chosen_headers_and_its_body():
    reply = Reply(200, {"Content-Type": "application/json", "Date": "now"}, b'{"b": 1, "a": [2]}')
    assert canonical(reply, Contract()) == Canonical(200, (("content-type", "application/json"),), {"a": [2], "b": 1})
    assert canonical(reply, Contract(status=False, headers=())) == Canonical(0, (), {"a": [2], "b": 1})


@pytest.mark.parametrize("body", [b"", b"plain", b"\xff\xfe", b"[" * 100_000])
def test_what_is_not_json_is_compared_as_it_is(body):
    assert canonical(Reply(200, {}, body), Contract()).body == body


def test_equal_values_have_one_identity():
    assert identity({"a": 1, "b": [1, None]}) == identity({"b": [1, None], "a": 1})


def test_the_leaves_of_a_body():
    assert list(leaves({"a": {"b": 1}, "c": [{"d": 1}, {"d": 2, "e": 3}], "f": [1, 2]})) == [
        "a.b", "c[*].d", "c[*].e", "f[*]",
    ]  # fmt: skip
    assert list(leaves(3)) == ["$"]


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("ascii", "user.ascii"),
        ("größe", "user.größe"),
        ("a\x1b]0;pwned\x07", r"user.a\x1b]0;pwned\x07"),
        ("\u202eevil", r"user.\u202eevil"),
        ("\ud83d", r"user.\ud83d"),
        (":status", "user.:status"),
    ],
)
def test_names_are_told_printable_whatever_an_answer_calls_them(name, path):
    assert below("user", name) == path


def test_no_field_of_a_body_passes_for_a_part_of_the_head():
    paths = {name: below("", name) for name in (":status", "header:etag", "status")}
    assert paths == {":status": "$.:status", "header:etag": "$.header:etag", "status": "status"}


@given(st.text(max_size=400), st.text(max_size=400))
def test_paths_are_bounded_printable_and_keep_their_beginning(path, name):
    found = below(path, name)
    assert len(found) <= LONGEST_PATH + 9
    assert found.isprintable()
    assert found.encode().decode() == found


def test_long_paths_are_told_apart():
    one, other = (below("user", "x" * 1000 + end) for end in "ab")
    assert one != other
    assert matches("user", one)


def test_a_contract_covers_what_it_leaves_a_field_of():
    reply = Reply(200, {}, b'{"id": 1, "at": "now"}')
    assert not covers(Contract(masked=("id",), ignored=("at",)), reply)
    assert covers(Contract(masked=("id",)), reply)
    assert not covers(Contract(masked=("id",)), Reply(200, {}, b"{}"))
    assert covers(Contract(), Reply(200, {}, b"{}"))


@given(st.text(max_size=20), st.text(max_size=20))
def test_any_text_is_a_pattern(pattern, path):
    assert matches(pattern, path) in {True, False}
    if pattern:
        assert matches(pattern.replace("*", ""), pattern.replace("*", "")) or "*" in pattern
