"""
What the kit itself raises. Errors of the called function are never wrapped: they arrive as they were raised.

    PolicyError
    ├── InvalidPolicy        the settings contradict each other (also a ValueError)
    ├── ChaosFault           raised on purpose
    └── Unavailable          the dependency could not be used this time; what `Fallback(on=Unavailable)` catches
        ├── AttemptTimeout   one attempt took too long (also a TimeoutError)
        ├── DeadlineExceeded no time is left for the whole (also a TimeoutError)
        └── Rejected         nothing was sent
            ├── BulkheadFull, RateExceeded, CircuitOpen
"""

from __future__ import annotations


class PolicyError(Exception):
    """
    Something the kit decided, not the called function.

    Args:
        message: what happened and why.
        policy: the name of the policy that decided it.
        hint: what to do about it.

    """

    def __init__(self, message: str, *, policy: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.policy = policy
        self.hint = hint

    def __str__(self) -> str:
        said = str(self.args[0]) if self.args else ""
        return f"{said} ({self.hint})" if self.hint else said


class InvalidPolicy(PolicyError, ValueError):
    """Settings that make no sense, alone or together. The message lists every problem."""


class PolicyWarning(UserWarning):
    """An order of parts that is known to work badly, used on purpose or by mistake."""


class ChaosFault(PolicyError):
    """A failure that `Chaos` made up."""


class Unavailable(PolicyError):
    """The dependency could not be used this time."""


class AttemptTimeout(Unavailable, TimeoutError):
    """One attempt took longer than the policy's time-out."""


class DeadlineExceeded(Unavailable, TimeoutError):
    """No time is left. `scopes` names who set the deadline, innermost first, with the seconds each was given."""

    def __init__(self, message: str, *, policy: str = "", hint: str = "", scopes: tuple[str, ...] = ()) -> None:
        super().__init__(message, policy=policy, hint=hint)
        self.scopes = scopes


class Rejected(Unavailable):
    """Refused before anything was sent. `retry_after` is in how many seconds it may be worth asking again."""

    def __init__(self, message: str, *, policy: str = "", hint: str = "", retry_after: float = 0.0) -> None:
        super().__init__(message, policy=policy, hint=hint)
        self.retry_after = retry_after


class CircuitOpen(Rejected):
    """The breaker is open: the dependency failed too often just now."""


class BulkheadFull(Rejected):
    """Too many calls are in flight, and the queue is full or the wait in it was too long."""


class RateExceeded(Rejected):
    """More calls than the rate allows, and waiting for the next one would take too long."""
