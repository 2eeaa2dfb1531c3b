"""Quantities are read strictly and written so that they read back as the same number."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.values import quantities as q


@pytest.mark.parametrize(
    ("read", "text", "number"),
    [
        (q.duration, "300ms", 0.3),
        (q.duration, "2s", 2.0),
        (q.duration, "1h30m", 5400.0),
        (q.duration, "1d", 86400.0),
        (q.duration, "1.5s", 1.5),
        (q.duration, "0s", 0.0),
        (q.size, "512", 512),
        (q.size, "64k", 64_000),
        (q.size, "128Mi", 134_217_728),
        (q.size, "1.5Ki", 1536),
        (q.size, "1G", 1_000_000_000),
        (q.cpu, "500m", 500),
        (q.cpu, "2", 2000),
        (q.cpu, "0.5", 500),
        (q.cpu, "0.001", 1),
        (q.percent, "50%", 0.5),
        (q.percent, "99.9%", 0.999),
        (q.percent, "100%", 1.0),
    ],
)
def test_reads(read: Callable[[str], float], text: str, number: float) -> None:
    assert read(text) == number


@pytest.mark.parametrize(
    ("read", "text", "saying"),
    [
        (q.duration, "", "not a duration"),
        (q.duration, "5", "write 300ms"),
        (q.duration, "5 s", "not a duration"),
        (q.duration, " 5s", "not a duration"),
        (q.duration, "-5s", "not a duration"),
        (q.duration, "s", "not a duration"),
        (q.duration, "1h 30m", "not a duration"),
        (q.duration, "٣s", "not a duration"),
        (q.duration, "1s" * 40, "…"),
        (q.duration, "1s\n", "not a duration"),
        (q.size, "12Q", "not a size"),
        (q.size, "1.5", "not a size"),
        (q.size, "-1", "not a size"),
        (q.size, "1gi", "write 128Mi"),
        (q.cpu, "half", "amount of cpu"),
        (q.cpu, "0.0005", "amount of cpu"),
        (q.cpu, "1.5m", "amount of cpu"),
        (q.percent, "50", "write 50%"),
        (q.percent, "101%", "more than 100%"),
        (q.size, "1" * 40, "not a size"),
    ],
)
def test_refuses(read: Callable[[str], float], text: str, saying: str) -> None:
    with pytest.raises(ValueError, match=saying):
        read(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (q.show_duration(0.3), "300ms"),
        (q.show_duration(0), "0s"),
        (q.show_duration(90), "1m30s"),
        (q.show_duration(86400), "1d"),
        (q.show_duration(61.5), "1m1.5s"),
        (q.show_duration(0.0005), "0.5ms"),
        (q.show_size(134_217_728), "128Mi"),
        (q.show_size(1_000_000_000), "1G"),
        (q.show_size(1500), "1500"),
        (q.show_size(0), "0"),
        (q.show_cpu(1500), "1500m"),
        (q.show_cpu(2000), "2"),
        (q.show_cpu(0), "0m"),
        (q.show_percent(0.999), "99.9%"),
        (q.show_percent(1.0), "100%"),
        (q.show_percent(1.2 - 1), "20%"),
    ],
)
def test_shows(text: str, shown: str) -> None:
    assert text == shown


@given(st.integers(0, 30 * 86400 * 1000))
def test_durations_come_back(milliseconds: int) -> None:
    assert q.duration(q.show_duration(milliseconds / 1000)) == milliseconds / 1000


@given(st.integers(0, 2**60))
def test_sizes_come_back(count: int) -> None:
    assert q.size(q.show_size(count)) == count


@given(st.integers(0, 10**9))
def test_cpu_comes_back(thousandths: int) -> None:
    assert q.cpu(q.show_cpu(thousandths)) == thousandths


@given(st.integers(0, 100_000))
def test_percentages_come_back(thousandths: int) -> None:
    share = q.percent(f"{thousandths / 1000:.3f}%")
    assert q.percent(q.show_percent(share)) == share


@given(st.text(alphabet="0123456789.msdhkMGTi% rp-+e٣", max_size=40))
def test_any_text_is_a_number_or_a_sentence(text: str) -> None:
    for read in (q.duration, q.size, q.cpu, q.percent):
        try:
            assert read(text) >= 0
        except ValueError as error:
            assert "write" in str(error) or "more than" in str(error)  # noqa: PT017 - both outcomes are right
