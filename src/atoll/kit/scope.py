"""
The ambient deadline: one context variable, only ever shortened.

A scope is the plain tuple (at, label, seconds, outer, task): the moment on `clock.now()` when it ends, who set it and
how long it was, the scope around it, and the task that will be cancelled at that moment (None: nobody
will). A tuple because one is made for every call.
"""

from __future__ import annotations

from contextvars import ContextVar
from math import inf
from typing import Any

from atoll.kit import clock
from atoll.kit.faults import DeadlineExceeded

Scope = tuple[float, str, float, Any, Any]

NONE: Scope = (inf, "", inf, None, None)

scope: ContextVar[Scope] = ContextVar("atoll.kit.scope", default=NONE)


def spent(current: Scope) -> tuple[str, ...]:
    """Who set the deadlines that are in force in `current`, innermost first."""
    names = []
    while current is not NONE:
        names.append(f"{current[1]} ({current[2]:.3g} s)")
        current = current[3]
    return tuple(names)


def exceeded(current: Scope, *, policy: str = "") -> DeadlineExceeded:
    """The error that names every scope which spent the time of `current`."""
    names = spent(current)
    ago = max(0.0, clock.now() - current[0])
    message = f"no time is left for {' in '.join(names)}" + (f", it ended {ago:.3f} s ago" if ago > 0.001 else "")  # noqa: PLR2004 - below a millisecond is now
    return DeadlineExceeded(message, policy=policy, scopes=names)
