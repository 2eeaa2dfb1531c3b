"""
The settings of resilience, as frozen values.

The same types say "retry twice" to Envoy (through the system file) and to a Python service (through
`atoll.kit`), so the words mean one thing. Durations are seconds, shares are 0 to 1.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RetryBudget:
    """At most `ratio` retries per first try over a window, but always `floor` of them. Google SRE book, chapter 21."""

    ratio: float = 0.2
    floor: int = 3


@dataclass(frozen=True, slots=True)
class Retry:
    """Up to `retries` further tries after the first, with full jitter between `base` and `cap` seconds."""

    retries: int = 2
    base: float = 0.025
    cap: float = 0.25
    budget: RetryBudget = RetryBudget()


@dataclass(frozen=True, slots=True)
class Bulkhead:
    """At most `limit` calls in flight, at most `queue` more waiting, each at most `wait` seconds."""

    limit: int = 1024
    queue: int = 1024
    wait: float = 1.0


@dataclass(frozen=True, slots=True)
class Breaker:
    """
    Stop calling what fails: after `consecutive` failures in a row, or when the share of failures in
    `window` seconds reaches `rate` over at least `min_calls` calls; try again after `open` seconds.
    """

    consecutive: int | None = 5
    rate: float | None = None
    min_calls: int = 20
    window: float = 10.0
    open: float = 5.0
