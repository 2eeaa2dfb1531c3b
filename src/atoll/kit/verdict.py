"""What an outcome says about the dependency: one verdict for retry, breaker, hedge, limit and fallback alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from atoll.kit.faults import AttemptTimeout, DeadlineExceeded, Rejected

Kind = Literal["ok", "fail", "retry", "throttled", "ignore"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    The meaning of one outcome.

    `ok` is a healthy answer; `fail` counts against the dependency; `retry` as well, and trying again may
    help; `throttled` asks to come back after `after` seconds and is no sign of ill health; `ignore` says nothing.
    """

    kind: Kind
    after: float = 0.0


OK = Verdict("ok")
FAIL = Verdict("fail")
RETRY = Verdict("retry")
IGNORE = Verdict("ignore")


def throttled(after: float) -> Verdict:
    """The dependency is well but asks to come back in `after` seconds."""
    return Verdict("throttled", max(0.0, after))


Classify = Callable[[Exception], Verdict]
Judge = Callable[[object], Verdict]


def classify(error: Exception) -> Verdict:
    """
    The verdict on an error where nobody said otherwise.

    Trouble with the network or time is worth another try; any other error counts against the
    dependency but would come again; what another policy refused never reached a dependency.
    """
    if isinstance(error, (Rejected, DeadlineExceeded)):
        return IGNORE
    if isinstance(error, (AttemptTimeout, OSError, EOFError)):
        return RETRY
    return FAIL


def errors(
    *,
    retry: tuple[type[Exception], ...] = (),
    fail: tuple[type[Exception], ...] = (),
    ignore: tuple[type[Exception], ...] = (),
    otherwise: Classify = classify,
) -> Classify:
    """A classifier by type; the first of `ignore`, `retry`, `fail` that matches, else what `otherwise` says."""

    def by_type(error: Exception) -> Verdict:
        if isinstance(error, ignore):
            return IGNORE
        if isinstance(error, retry):
            return RETRY
        if isinstance(error, fail):
            return FAIL
        return otherwise(error)

    return by_type


class Unwelcome(Exception):
    """A value was returned, and `judge` did not find it well."""

    def __init__(self, result: object, verdict: Verdict) -> None:
        super().__init__()
        self.result = result
        self.verdict = verdict


def with_results(base: Classify) -> Classify:
    """The classifier `base`, which also knows the verdicts on returned values."""

    def both(error: Exception) -> Verdict:
        return error.verdict if isinstance(error, Unwelcome) else base(error)

    return both
