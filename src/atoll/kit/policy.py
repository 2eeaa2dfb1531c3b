"""
The settings of resilience, as frozen values.

The same types say "retry twice" to Envoy (through the system file) and to a Python service (through
`atoll.kit`), so the words mean one thing. Durations are seconds, shares are 0 to 1.
Values are only held here; `atoll.kit.sense` says which of them make no sense.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class RetryBudget:
    """At most `ratio` retries per first try over `window` seconds, but always `floor`. Google SRE book, chapter 21."""

    ratio: float = 0.2
    floor: int = 3
    window: float = 10.0


@dataclass(frozen=True, slots=True)
class Retry:
    """
    Up to `retries` further tries after the first, with full jitter between `base` and `cap` seconds.

    A `Retry-After` longer than `patience` is not waited for: the failure is passed on.
    """

    retries: int = 2
    base: float = 0.025
    cap: float = 0.25
    budget: RetryBudget = RetryBudget()
    patience: float = 10.0


@dataclass(frozen=True, slots=True)
class Timeout:
    """One attempt may take `seconds`."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Budget:
    """The whole call, with its waiting and all its attempts, may take `seconds`."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Bulkhead:
    """At most `limit` calls in flight, at most `queue` more waiting, each at most `wait` seconds."""

    limit: int = 1024
    queue: int = 1024
    wait: float = 1.0


@dataclass(frozen=True, slots=True)
class Adaptive:
    """
    A bulkhead whose limit follows the measured latency between `least` and `most` calls in flight.

    The limit grows while answers are as quick as usual, and shrinks once they take `tolerance` times the
    usual time or the callee says it is overloaded. Netflix concurrency-limits, Gradient2.
    """

    least: int = 4
    most: int = 256
    start: int = 16
    tolerance: float = 1.5
    queue: int = 64
    wait: float = 1.0


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `limit` calls per `per` seconds, `burst` of them at once, each waiting at most `wait` seconds."""

    limit: float
    per: float = 1.0
    burst: int = 1
    wait: float = 0.0


@dataclass(frozen=True, slots=True)
class Breaker:
    """
    Stop calling what fails.

    That is: after `consecutive` failures in a row, or when the share of failures in `window` seconds reaches
    `rate` over at least `min_calls` calls. Try again after `open` seconds.

    A call slower than `slow` seconds counts towards `slow_rate`. Trying again means `probes` calls at a time;
    a probe that has not come back after `lease` seconds is given to somebody else. In `shadow` mode
    everything is counted and nothing is refused.
    """

    consecutive: int | None = 5
    rate: float | None = None
    min_calls: int = 20
    window: float = 10.0
    open: float = 5.0
    slow: float | None = None
    slow_rate: float = 0.5
    probes: int = 1
    lease: float = 30.0
    mode: Literal["enforce", "shadow"] = "enforce"


@dataclass(frozen=True, slots=True)
class Hedge:
    """
    Ask a second time when the first answer is late, and take whichever comes first.

    `after` is seconds, or the quantile of the measured latency as "p95"; `extra` is how many further calls
    may run beside the first; at most `budget` of all calls, but always `floor` in `window` seconds, are hedged.
    Until enough has been measured, `first_after` seconds are used. Dean and Barroso, The Tail at Scale, 2013.
    """

    after: float | str = "p95"
    extra: int = 1
    budget: float = 0.05
    floor: int = 3
    window: float = 10.0
    first_after: float = 0.1


@dataclass(frozen=True, slots=True)
class Fallback:
    """
    What to answer when the call failed with one of `on`; by default with whatever is not a programming error.

    The last good answer to the same arguments if it is at most `stale` seconds old, else `value`, or what
    `call` returns when given the failed call's arguments. `keep` bounds how many answers are remembered.
    """

    value: Any = None
    call: Callable[..., Any] | None = None
    on: tuple[type[Exception], ...] = ()
    stale: float = 0.0
    keep: int = 1024


@dataclass(frozen=True, slots=True)
class Chaos:
    """
    Disturb a share `rate` of the calls: wait `latency` seconds first, then raise `fault` if there is one.

    Off unless `when` is given and returns true, so that it can be left in place. `seed` makes it repeatable.
    """

    rate: float = 0.02
    latency: float = 0.0
    fault: Callable[[], Exception] | None = None
    when: Callable[[], bool] | None = None
    seed: int | None = None


Settings = Retry | Timeout | Budget | Bulkhead | Adaptive | Rate | Breaker | Hedge | Fallback | Chaos
