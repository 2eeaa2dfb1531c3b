"""
What a Python service imports: resilience as one typed policy. Standard library only.

    from atoll.kit import Breaker, Policy, Retry

    payments = Policy("payments", retry=Retry(2), breaker=Breaker(), timeout=0.5)

    @payments
    async def charge(order: Order) -> Receipt: ...
"""

from __future__ import annotations

from atoll.kit.attempts import Attempt, Attempts
from atoll.kit.carriers import (
    deadline_from,
    deadline_from_message,
    deadline_headers,
    message_headers,
    retry_headers,
)
from atoll.kit.deadline import Deadline, check, deadline, remaining, scopes
from atoll.kit.dependency import Policy
from atoll.kit.errors import (
    AttemptTimeout,
    BulkheadFull,
    ChaosFault,
    CircuitOpen,
    DeadlineExceeded,
    InvalidPolicy,
    PolicyError,
    PolicyWarning,
    RateExceeded,
    Rejected,
    Unavailable,
)
from atoll.kit.events import Event, subscribe
from atoll.kit.generate import Guard
from atoll.kit.keyed import Keyed
from atoll.kit.pipeline import Pipeline, policies
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
    Timeout,
)
from atoll.kit.resilience.observe import Meter
from atoll.kit.verdict import FAIL, IGNORE, OK, RETRY, Verdict, classify, errors, throttled

__all__ = [
    "FAIL",
    "IGNORE",
    "OK",
    "RETRY",
    "Adaptive",
    "Attempt",
    "AttemptTimeout",
    "Attempts",
    "Breaker",
    "Budget",
    "Bulkhead",
    "BulkheadFull",
    "Chaos",
    "ChaosFault",
    "CircuitOpen",
    "Deadline",
    "DeadlineExceeded",
    "Event",
    "Fallback",
    "Guard",
    "Hedge",
    "InvalidPolicy",
    "Keyed",
    "Meter",
    "Pipeline",
    "Policy",
    "PolicyError",
    "PolicyWarning",
    "Rate",
    "RateExceeded",
    "Rejected",
    "Retry",
    "RetryBudget",
    "Timeout",
    "Unavailable",
    "Verdict",
    "check",
    "classify",
    "deadline",
    "deadline_from",
    "deadline_from_message",
    "deadline_headers",
    "errors",
    "message_headers",
    "policies",
    "remaining",
    "retry_headers",
    "scopes",
    "subscribe",
    "throttled",
]
