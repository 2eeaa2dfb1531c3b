"""Waiting ever longer for what fails again and again."""

from __future__ import annotations

ENOUGH = 16
"""Doublings: more lead to numbers that no float holds, and past every bound before."""


def doubling(times: int, first: float, longest: float) -> float:
    """Seconds to wait after so many failures in a row: *first*, then twice as long each time, up to a bound."""
    return min(longest, first * 2.0 ** min(times - 1, ENOUGH))
