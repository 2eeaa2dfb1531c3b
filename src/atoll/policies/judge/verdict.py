"""What the judge says."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """Where the judgement stands."""

    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    UNDECIDED = "undecided"
    NO_DATA = "no data"


GUARD = "guard"
RISK_BUDGET = "risk_budget"
"""What may decide beside the metrics."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """So many bad ones of so many, on either side. What is counted depends on the metric."""

    canary_bad: int = 0
    canary: int = 0
    stable_bad: int = 0
    stable: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    A judgement and what it rests on.

    `metric` decided, or is what is waited for. `log_odds` is the logarithm of the odds of a PASS or a FAIL. `exposed`
    says whether the canary should get its traffic now. `failed` is how many requests
    failed at most because of the canary, `users` how many of them users saw, where that is known. `dry_run` names the
    metrics that would have aborted the release if they had been asked.
    """

    kind: Kind
    metric: str = ""
    evidence: Evidence = Evidence()
    log_odds: float = 0.0
    seconds: float = 0.0
    failed: int = 0
    users: int | None = None
    exposed: bool = True
    note: str = ""
    dry_run: tuple[str, ...] = ()
