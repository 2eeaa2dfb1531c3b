"""The nearest known word to one that is not known."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

LONGEST = 128
"""Comparing takes time with the square of the length, and nobody mistypes so long a word."""


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that a person most likely meant, None where nothing is close."""
    if len(word) > LONGEST:
        return None
    lower = {w.lower(): w for w in known}
    found = get_close_matches(word.lower(), lower, n=1, cutoff=0.6)
    return lower[found[0]] if found else None
