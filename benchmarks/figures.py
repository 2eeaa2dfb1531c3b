"""How figures are printed: median, spread and target side by side, and how busy the machine was."""

from __future__ import annotations

import math
import os
import random
from collections.abc import Sequence
from datetime import UTC, datetime
from statistics import median

DRAWS = 2000


def heading(title: str) -> None:
    """A title with the date and the load of the machine, which every figure depends on."""
    now = datetime.now(tz=UTC)
    print(f"\n{title}\n  {now:%Y-%m-%d %H:%M} UTC, {os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}")


def spread(what: str, values: Sequence[float], unit: str, target: str = "") -> None:
    """Median and range of some measurements, in one line."""
    if not values:
        print(f"  {what:58} nothing was measured")
        return
    whole = f"median {median(values):9.2f} {unit:4} range {min(values):.2f} to {max(values):.2f}, n={len(values)}"
    print(f"  {what:58} {whole}" + (f"   target {target}" if target else ""))


def single(what: str, value: object, target: str = "") -> None:
    """One figure in one line."""
    print(f"  {what:58} {value}" + (f"   target {target}" if target else ""))


def percentile(values: Sequence[float], share: float) -> float:
    """The value that *share* of the values do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, math.ceil(share * len(ordered)) - 1))]


def interval(ratios: Sequence[float]) -> str:
    """The median of *ratios* and how far it may be off: the middle 95 % of the medians of samples drawn from them."""
    draw = random.Random(0)  # one run is read like the next
    medians = sorted(median(draw.choices(ratios, k=len(ratios))) for _ in range(DRAWS))
    return f"{median(ratios):.3f} ({percentile(medians, 0.025):.3f} to {percentile(medians, 0.975):.3f})"
