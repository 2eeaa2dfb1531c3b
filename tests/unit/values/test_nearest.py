"""The word that was meant."""

from __future__ import annotations

import pytest

from atoll.values.nearest import LONGEST, nearest

KNOWN = ("instances", "retries", "timeout", "maxPending")


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("instnces", "instances"),
        ("retry", "retries"),
        ("TIMEOUT", "timeout"),
        ("maxpendng", "maxPending"),
        ("xyz", None),
        ("", None),
        ("timeout" * LONGEST, None),
    ],
)
def test_nearest(word: str, meant: str | None) -> None:
    assert nearest(word, KNOWN) == meant


def test_nobody_mistypes_a_word_that_long() -> None:
    assert nearest("a" * (LONGEST + 1), ["a" * LONGEST]) is None
    assert nearest("a" * LONGEST, ["a" * (LONGEST + 1)]) is not None


def test_nothing_is_near_to_nothing() -> None:
    assert nearest("word", ()) is None
