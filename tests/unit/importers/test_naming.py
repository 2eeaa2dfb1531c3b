from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.importers.naming import name_for
from atoll.values.names import wrong_name


@given(st.lists(st.text(max_size=60) | st.from_regex(r"[a-zA-Z0-9_.r-]{1,50}", fullmatch=True), max_size=6))
def test_every_name_is_valid_and_its_own(texts: list[str]) -> None:
    taken: list[str] = []
    for text in texts:
        name = name_for(text, taken)
        assert wrong_name(name) == ""
        assert name not in taken
        assert not name.startswith("x-")
        taken.append(name)


@pytest.mark.parametrize(
    ("text", "name"),
    [("Order_Service", "order-service"), ("gateway", "gateway-service"), ("2048", "app-2048"), ("api-r2", "api-rev2"),
     ("x-ray", "app-x-ray"), ("X", "app-x"), ("", "app"), ("---", "app"), ("été", "t")],
)  # fmt: skip
def test_names_of_others(text: str, name: str) -> None:
    assert name_for(text) == name


def test_a_taken_name_gets_a_number_and_stays_short() -> None:
    long = "a" * 60
    assert name_for(long, [name_for(long)]) == "a" * 38 + "-2"


def test_shortening_does_not_make_a_release_of_it() -> None:
    assert wrong_name(name_for("a" * 37 + "-r1b")) == ""
