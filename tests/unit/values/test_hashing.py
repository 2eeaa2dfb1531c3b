"""Digests mean the same on every machine, and the boundaries of the parts count."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from atoll.values.hashing import digest, fraction


def test_a_digest_never_changes() -> None:
    assert digest(b"a", b"b") == "3c9d591045bc8876f9d0399bbfb05c6a412096e906f73278f98406cd5dca86df"


@given(st.lists(st.binary(max_size=4), max_size=4), st.lists(st.binary(max_size=4), max_size=4))
def test_boundaries_count(one: list[bytes], other: list[bytes]) -> None:
    assert (digest(*one) == digest(*other)) == (one == other)


@given(st.text())
def test_a_fraction_is_below_one_and_depends_on_the_text_only(text: str) -> None:
    assert 0 <= fraction(text) < 1
    assert fraction(text) == fraction(text)
