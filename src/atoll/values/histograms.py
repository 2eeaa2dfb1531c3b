"""Histograms of which only the bars are known, as proxies count them: they add up, and give quantiles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bar:
    """So many values from `low` to `low + width`, in any unit."""

    low: float
    width: float
    count: int


def quantile(bars: Iterable[Bar], share: float) -> float | None:
    """The value that *share* of all stayed below, evenly spread within a bar; None where there are none."""
    ordered = sorted(bars, key=lambda b: b.low)
    rank = share * sum(b.count for b in ordered)
    for bar in ordered:
        if bar.count and rank <= bar.count:
            return bar.low + bar.width * rank / bar.count
        rank -= bar.count
    return None


def since(before: Iterable[Bar], now: Iterable[Bar]) -> tuple[Bar, ...]:
    """
    What was added from *before* to *now*, which only grows: nothing where nothing was.

    A bar that got smaller belongs to somebody who started anew: then all of *now* is new.
    """
    counts = Counter({(b.low, b.width): b.count for b in now})
    older = Counter({(b.low, b.width): b.count for b in before})
    if any(counts[key] < count for key, count in older.items()):
        older.clear()
    return tuple(Bar(low, width, n - older[low, width]) for (low, width), n in counts.items() if n > older[low, width])
