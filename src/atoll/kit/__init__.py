"""
What a Python service imports: resilience as one typed policy. Standard library only.

    from atoll.kit import Breaker, Policy, Retry

    payments = Policy("payments", retry=Retry(2), breaker=Breaker(), timeout=0.5)

    @payments
    async def charge(order: Order) -> Receipt: ...

Names are loaded when they are first used, so that importing this costs a program that uses little of it little.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as in `typing`, whose import would take longer than all of this
if TYPE_CHECKING:
    from atoll.kit.attempts import Attempt, Attempts
    from atoll.kit.carriers import (
        deadline_from,
        deadline_from_message,
        deadline_headers,
        message_headers,
        retry_headers,
    )
    from atoll.kit.deadlines import Deadline, check, deadline, remaining, scopes
    from atoll.kit.dependency import Policy
    from atoll.kit.events import Event, subscribe
    from atoll.kit.faults import (
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
    from atoll.kit.trials import Example, Experiment, Observation, Result, experiment, experiments
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
    "Example",
    "Experiment",
    "Fallback",
    "Guard",
    "Hedge",
    "InvalidPolicy",
    "Keyed",
    "Meter",
    "Observation",
    "Pipeline",
    "Policy",
    "PolicyError",
    "PolicyWarning",
    "Rate",
    "RateExceeded",
    "Rejected",
    "Result",
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
    "experiment",
    "experiments",
    "message_headers",
    "policies",
    "remaining",
    "retry_headers",
    "scopes",
    "subscribe",
    "throttled",
]

# No name may be a module's as well: importing that would put the module in its place.
_HOMES = {
    "attempts": ("Attempt", "Attempts"),
    "carriers": ("deadline_from", "deadline_from_message", "deadline_headers", "message_headers", "retry_headers"),
    "deadlines": ("Deadline", "check", "deadline", "remaining", "scopes"),
    "dependency": ("Policy",),
    "events": ("Event", "subscribe"),
    "faults": (
        "AttemptTimeout",
        "BulkheadFull",
        "ChaosFault",
        "CircuitOpen",
        "DeadlineExceeded",
        "InvalidPolicy",
        "PolicyError",
        "PolicyWarning",
        "RateExceeded",
        "Rejected",
        "Unavailable",
    ),
    "generate": ("Guard",),
    "keyed": ("Keyed",),
    "pipeline": ("Pipeline", "policies"),
    "policy": (
        "Adaptive",
        "Breaker",
        "Budget",
        "Bulkhead",
        "Chaos",
        "Fallback",
        "Hedge",
        "Rate",
        "Retry",
        "RetryBudget",
        "Timeout",
    ),
    "resilience.observe": ("Meter",),
    "trials": ("Example", "Experiment", "Observation", "Result", "experiment", "experiments"),
    "verdict": ("FAIL", "IGNORE", "OK", "RETRY", "Verdict", "classify", "errors", "throttled"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    """A public name, from the module it lives in. PEP 562."""
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = __import__(f"{__name__}.{home}", fromlist=(name,))
    value = globals()[name] = getattr(module, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
