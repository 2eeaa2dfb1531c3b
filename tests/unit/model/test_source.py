"""YAML 1.2 to a tree with places, and limits that a hostile text meets."""

from __future__ import annotations

import pytest

from atoll.model.problems import Place
from atoll.model.source import BIGGEST, Entries, Items, Scalar, Unreadable, read


def tree(text: str) -> object:
    return read(text, "f")[0]


def test_places_count_from_one() -> None:
    root = tree("a:\n  - b\n")
    assert isinstance(root, Entries)
    key, items = root.entries[0]
    assert key.place == Place("f", 1, 1)
    assert isinstance(items, Items)
    assert items.items[0].place == Place("f", 2, 5)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("12", 12),
        ("-3", -3),
        ("+3", 3),
        ("0o14", 12),
        ("0xC", 12),
        ("012", 12),
        ("1_000", None),
        ("1e3", None),
        ("'12'", None),
        ("1.0", None),
        ("0b1", None),
        ("9" * 19, None),
        ("٣", None),
        ("yes", None),
    ],
)
def test_integers_are_those_of_the_core_schema(text: str, number: int | None) -> None:
    leaf = tree(text)
    assert isinstance(leaf, Scalar)
    assert leaf.integer == number


@pytest.mark.parametrize(
    ("text", "truth"), [("true", True), ("False", False), ("no", None), ("on", None), ("Y", None), ("'true'", None)]
)
def test_norway_is_a_word(text: str, truth: bool | None) -> None:
    leaf = tree(text)
    assert isinstance(leaf, Scalar)
    assert leaf.boolean is truth


@pytest.mark.parametrize(("text", "null"), [("~", True), ("null", True), ("''", False), ("'~'", False), ("nil", False)])
def test_nulls(text: str, null: bool) -> None:
    leaf = tree(text)
    assert isinstance(leaf, Scalar)
    assert leaf.is_null is null


def test_own_keys_win_over_merged_ones_and_earlier_merges_over_later_ones() -> None:
    root = tree("a: {<<: [{x: 1, y: 1}, {x: 2, z: 2}], y: 3}")
    assert isinstance(root, Entries)
    inner = root.entries[0][1]
    assert isinstance(inner, Entries)
    assert {k.text: v.text for k, v in inner.entries if isinstance(v, Scalar)} == {"y": "3", "x": "1", "z": "2"}


def test_a_merge_of_a_merge() -> None:
    root = tree("a: &a {x: 1}\nb: &b {<<: *a, y: 2}\nc: {<<: *b}\n")
    assert isinstance(root, Entries)
    inner = root.entries[2][1]
    assert isinstance(inner, Entries)
    assert [k.text for k, _ in inner.entries] == ["y", "x"]


def test_the_size_is_bounded_before_anything_is_read() -> None:
    with pytest.raises(Unreadable) as caught:
        read("[" * (BIGGEST + 1), "f")
    assert "larger than 1Mi" in str(caught.value.problems[0])


def test_an_alias_that_is_used_twice_is_no_cycle() -> None:
    root = tree("a: &a [1]\nb: [*a, *a]\n")
    assert isinstance(root, Entries)
