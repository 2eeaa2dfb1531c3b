from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.importers.interpolation import Filled, fill


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("plain", Filled("plain")),
        ("$$HOME $${X}", Filled("$HOME ${X}")),
        ("a${B:-c}d", Filled("acd", ("B",))),
        ("${B-c}", Filled("c", ("B",))),
        ("${A:-${B:-c}}/x", Filled("c/x", ("A", "B"))),
        ("${A:-}", Filled("", ("A",))),
        ("$A/${B}", Filled("/", (), ("A", "B"))),
        ("${A:?must be set}", Filled("", (), ("A",))),
        ("${A:+x}y${A+z}", Filled("y")),
        ("a}b", Filled("a}b")),
    ],
)
def test_variables_with_nothing_set(text: str, filled: Filled) -> None:
    assert fill(text) == filled


@pytest.mark.parametrize("text", ["${", "${A", "${A:-b", "$", "$1", "${1A}", "${A:-" * 30])
def test_what_is_not_understood(text: str) -> None:
    with pytest.raises(ValueError, match=r"variable|brace|nested"):
        fill(text)


@given(st.text(alphabet="${}:-?+Ab ", max_size=40))
def test_any_text_is_filled_or_refused(text: str) -> None:
    try:
        fill(text)
    except ValueError:
        return
    assert text.count("$") >= 0
