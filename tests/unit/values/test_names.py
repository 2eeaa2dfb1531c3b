"""What may be a name, a variable, a host, a port."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.values.names import LONGEST, RESERVED, is_host, is_variable, port_number, wrong_name


@pytest.mark.parametrize("name", ["web", "a", "orders-db", "v2", "a" * LONGEST, "web-rx", "x-r"])
def test_names(name: str) -> None:
    assert wrong_name(name) == ""


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Web",
        "9web",
        "web-",
        "-web",
        "a--b",
        "a_b",
        "a.b",
        "../x",
        "a b",
        "web\n",
        "été",
        "web-r2",
        "web-r2-x",
        "a" * (LONGEST + 1),
        *sorted(RESERVED),
    ],
)
def test_no_names(name: str) -> None:
    assert wrong_name(name)


@given(st.text(max_size=60))
def test_every_name_is_an_rfc_1123_label(name: str) -> None:
    if not wrong_name(name):
        assert name.isascii()
        assert name == name.lower()
        assert name.replace("-", "a").isalnum()
        assert 0 < len(name) <= LONGEST


@pytest.mark.parametrize("name", ["A", "_x", "LOG_LEVEL", "a1"])
def test_variables(name: str) -> None:
    assert is_variable(name)


@pytest.mark.parametrize("name", ["", "1A", "A-B", "A=B", "A B", "A\n", "Ä"])
def test_no_variables(name: str) -> None:
    assert not is_variable(name)


@pytest.mark.parametrize("name", ["localhost", "api.example.org", "10.0.0.1", "a-b.c", "x" * 63])
def test_hosts(name: str) -> None:
    assert is_host(name)


@pytest.mark.parametrize("name", ["", "a_b", "-a", "a-", "a..b", ".a", "a.", "A.org", "x" * 64, "a/b", "a@b", "a\n"])
def test_no_hosts(name: str) -> None:
    assert not is_host(name)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1", 1),
        ("65535", 65535),
        ("0", None),
        ("65536", None),
        ("", None),
        ("8o", None),
        ("-1", None),
        ("٣", None),
        ("080", 80),
        ("000080", None),
        ("9" * 5000, None),
    ],
)
def test_ports(text: str, number: int | None) -> None:
    assert port_number(text) == number
