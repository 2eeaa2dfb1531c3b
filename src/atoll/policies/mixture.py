"""
Evidence that may be looked at as often as one likes: likelihood ratios averaged over alternatives, as logarithms.

Under the hypothesis that is tested such an average grows in expectation by nothing (it is a supermartingale), so the
chance that it *ever* reaches 1/alpha is at most alpha (Ville). Read it as odds. Lindon and Malek, Anytime-valid
inference for multinomial count data, NeurIPS 2022.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from math import exp, log

RATIOS = (1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0)
"""How many times the tolerated rate the worse side may have: what the odds are averaged over."""

Gains = tuple[tuple[float, float], ...]


def among(share: float, ratio: float) -> float:
    """The part of all events that falls to one side with *share* of the units and *ratio* times the other's rate."""
    weighted = share * ratio
    return weighted / (weighted + 1.0 - share)


@lru_cache(maxsize=4096)
def gains(share: float, null: float, alternatives: tuple[float, ...] = RATIOS) -> Gains:
    """What an event on the one side and one on the other add, per alternative ratio (each times *null*)."""
    base = among(share, null)
    found = (among(share, null * ratio) for ratio in alternatives)
    return tuple((log(theta / base), log((1.0 - theta) / (1.0 - base))) for theta in found)


def add(logs: Iterable[float], here: float, there: float, per_event: Gains) -> tuple[float, ...]:
    """The logarithms after so many more events on either side. Parts of an event count as parts."""
    return tuple([v + here * a + there * b for v, (a, b) in zip(logs, per_event, strict=True)])


def log_mean(logs: Sequence[float]) -> float:
    """The logarithm of the average."""
    top = max(logs)
    return top + log(sum([exp(v - top) for v in logs]) / len(logs))


def one_sample(bad: float, total: float, null: float, alternatives: tuple[float, ...]) -> float:
    """Logarithm of the odds that *bad* of *total* comes from one of the alternative rates rather than from *null*."""
    good = total - bad
    return log_mean([bad * a + good * b for a, b in _rates(null, alternatives)])


@lru_cache(maxsize=256)
def _rates(null: float, alternatives: tuple[float, ...]) -> Gains:
    return tuple((log(p / null), log((1.0 - p) / (1.0 - null))) for p in alternatives)
