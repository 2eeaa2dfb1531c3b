"""Settings that make no sense, alone or together: every problem at once, each with what to write instead."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import inf, isfinite, ulp
from typing import Any

from atoll.kit.policy import (
    Adaptive,
    Breaker,
    Budget,
    Bulkhead,
    Chaos,
    Fallback,
    Hedge,
    Rate,
    Retry,
    RetryBudget,
    Settings,
    Timeout,
)

# The order of a Policy, outermost first.
ORDER: tuple[type, ...] = (Fallback, Budget, Rate, Bulkhead, Adaptive, Retry, Hedge, Breaker, Timeout, Chaos)


def problems(settings: Sequence[Settings], *, idempotent: bool) -> Iterator[str]:
    """What is wrong with `settings`; nothing where they make sense."""
    for each in settings:
        yield from _alone(each)
    by_type = {type(each): each for each in settings}
    timeout, budget, hedge = by_type.get(Timeout), by_type.get(Budget), by_type.get(Hedge)
    if isinstance(timeout, Timeout) and isinstance(budget, Budget) and timeout.seconds > budget.seconds:
        yield (
            f"a time-out of {timeout.seconds} s per attempt cannot fit the budget of {budget.seconds} s: "
            "lower the time-out or raise the budget"
        )
    if isinstance(hedge, Hedge):
        if not idempotent:
            yield "a hedge sends the same call twice: say idempotent=True if that does no harm, or leave it out"
        if isinstance(timeout, Timeout) and isinstance(hedge.after, int | float) and hedge.after >= timeout.seconds:
            yield f"a hedge after {hedge.after} s never starts before the time-out of {timeout.seconds} s: lower it"


def doubts(settings: Sequence[Settings]) -> Iterator[str]:
    """What is known to work badly but may be meant."""
    kinds = [type(each) for each in settings]
    budgeted = Budget in kinds
    if _outside(kinds, Breaker, Retry):
        yield "a breaker around the retries counts a call once, however often it failed: put the breaker inside"
    if _outside(kinds, Timeout, Retry) and not budgeted:
        yield "a time-out around the retries ends the call while a retry is on its way: use a budget"
    if _outside(kinds, Retry, Bulkhead) or _outside(kinds, Retry, Adaptive):
        yield "a bulkhead inside the retries lets waiting calls retry: put it outside"
    if _outside(kinds, Breaker, Fallback):
        yield "a breaker around a fallback never sees a failure: put the fallback outside"
    total = worst_case(settings)
    budget = next((each.seconds for each in settings if isinstance(each, Budget)), total)
    attempts = attempt_seconds(settings)
    if attempts > budget and isfinite(attempts):
        yield f"all attempts may take {attempts:.3g} s, more than the budget of {budget:.3g} s: some may not start"


def attempt_seconds(settings: Sequence[Settings]) -> float:
    """The longest time that all attempts and the pauses between them may take; infinite without a time-out."""
    timeout = next((each.seconds for each in settings if isinstance(each, Timeout)), float("inf"))
    retry = next((each for each in settings if isinstance(each, Retry)), Retry(retries=0))
    pauses = sum(min(retry.cap, retry.base * 2.0 ** min(each, 32)) for each in range(retry.retries))
    return timeout * (1 + retry.retries) + pauses


def worst_case(settings: Sequence[Settings]) -> float:
    """The longest time a call may take, in seconds; infinite where nothing bounds it."""
    budget = min([each.seconds for each in settings if isinstance(each, Budget)], default=float("inf"))
    waits = sum(each.wait for each in settings if isinstance(each, Bulkhead | Adaptive | Rate))
    return min(budget, waits + attempt_seconds(settings))


def requests(settings: Sequence[Settings]) -> int:
    """How many requests one call may send at most."""
    most = 1
    for each in settings:
        most *= 1 + each.retries if isinstance(each, Retry) else 1 + each.extra if isinstance(each, Hedge) else 1
    return most


def _outside(kinds: list[type], outer: type, inner: type) -> bool:
    return outer in kinds and inner in kinds and kinds.index(outer) < kinds.index(inner)


def _alone(settings: Settings | RetryBudget) -> Iterator[str]:
    kind, name_of = type(settings), type(settings).__name__
    limits = [(name, least, f"is below {least}") for name, least in _AT_LEAST.get(kind, {}).items()]
    limits += [(name, _TINY, "is not above 0") for name in _ABOVE_ZERO.get(kind, ())]
    limits += [(name, _TINY, "is not a share above 0 and up to 1") for name in _SHARES.get(kind, ())]
    for name, least, complaint in limits:
        value = getattr(settings, name)
        most = 1 if name in _SHARES.get(kind, ()) else inf
        if not _is_number(value):
            yield f"{name_of}: {name}={value!r} is not a number"
            return
        if not least <= value <= most or (least == _TINY and value == inf):
            yield f"{name_of}: {name}={value} {complaint}"
    if isinstance(settings, Retry | Adaptive | Breaker | Hedge):
        yield from _FURTHER[type(settings)](settings)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _retry(settings: Retry) -> Iterator[str]:
    yield from _alone(settings.budget)
    if settings.cap < settings.base:
        yield f"Retry: cap={settings.cap} is below base={settings.base}: raise it"


def _adaptive(settings: Adaptive) -> Iterator[str]:
    if not settings.least <= settings.start <= settings.most:
        yield f"Adaptive: start={settings.start} is not between least={settings.least} and most={settings.most}"


def _breaker(settings: Breaker) -> Iterator[str]:
    if settings.consecutive is None and settings.rate is None and settings.slow is None:
        yield "Breaker: it can never open: give consecutive, rate or slow"
    wrong = [each for each in ("consecutive", "rate", "slow") if not _is_number(getattr(settings, each) or 0)]
    if wrong:
        yield f"Breaker: {', '.join(wrong)} must be numbers or None"
        return
    if settings.consecutive is not None and settings.consecutive < 1:
        yield f"Breaker: consecutive={settings.consecutive} is below 1"
    if settings.rate is not None and not 0 < settings.rate <= 1:
        yield f"Breaker: rate={settings.rate} is not a share above 0 and up to 1"
    if settings.slow is not None and not settings.slow > 0:
        yield f"Breaker: slow={settings.slow} is not above 0"
    if settings.mode not in ("enforce", "shadow"):
        yield f'Breaker: mode={settings.mode!r} is neither "enforce" nor "shadow"'


def _hedge(settings: Hedge) -> Iterator[str]:
    after = settings.after
    if isinstance(after, str):
        share = after[1:]
        if not after.startswith("p") or not share.replace(".", "", 1).isdigit() or not 0 < float(share) < 100:  # noqa: PLR2004 - per cent
            yield f'Hedge: after={after!r} is neither seconds nor a quantile: write for example 0.2 or "p95"'
    elif not (isfinite(after) and after > 0):
        yield f"Hedge: after={after} is not above 0"


_TINY = ulp(0.0)  # the least number above zero

_FURTHER: dict[type, Callable[[Any], Iterator[str]]] = {
    Retry: _retry,
    Adaptive: _adaptive,
    Breaker: _breaker,
    Hedge: _hedge,
}
_AT_LEAST: dict[type, dict[str, float]] = {
    Retry: {"retries": 0, "base": 0, "cap": 0, "patience": 0},
    RetryBudget: {"ratio": 0, "floor": 0},
    Bulkhead: {"limit": 1, "queue": 0, "wait": 0},
    Adaptive: {"least": 1, "start": 1, "most": 1, "tolerance": 1, "queue": 0, "wait": 0},
    Rate: {"burst": 1, "wait": 0},
    Breaker: {"min_calls": 1, "probes": 1},
    Hedge: {"extra": 1, "floor": 0},
    Fallback: {"stale": 0, "keep": 1},
    Chaos: {"latency": 0},
}
_ABOVE_ZERO: dict[type, tuple[str, ...]] = {
    Timeout: ("seconds",),
    Budget: ("seconds",),
    RetryBudget: ("window",),
    Rate: ("limit", "per"),
    Breaker: ("window", "open", "lease"),
    Hedge: ("window", "first_after"),
}
_SHARES: dict[type, tuple[str, ...]] = {
    Breaker: ("slow_rate",),
    Hedge: ("budget",),
    Chaos: ("rate",),
}
