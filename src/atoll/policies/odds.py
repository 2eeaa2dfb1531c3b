"""Odds as people read them."""

from __future__ import annotations

from math import exp

BEYOND = 16.0
"""Logarithm of odds that nobody reads digits of: ten million."""


def odds(log_odds: float) -> str:
    """`3,100:1`, with two digits that count, from a logarithm."""
    if log_odds > BEYOND:
        return "above 9,000,000:1"
    if log_odds < 0:
        return f"1:{_rounded(exp(min(BEYOND, -log_odds)))}"
    return f"{_rounded(exp(log_odds))}:1"


def _rounded(number: float) -> str:
    text = f"{number:.2g}"
    return f"{float(text):,.0f}" if float(text) >= 10 else text  # noqa: PLR2004
