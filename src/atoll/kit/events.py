"""
Events: told on the rare paths only (a retry, a state change, a refusal), never on a call that just works.

The counters the parts keep anyway are pulled instead; see `atoll.kit.Policy.state`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "retry",
    "give-up",
    "open",
    "half-open",
    "close",
    "reject",
    "timeout",
    "hedge",
    "hedge-won",
    "fallback",
    "stale",
    "chaos",
    "limit",
]


@dataclass(frozen=True, slots=True)
class Event:
    """
    Something rare that a policy did.

    `policy` is its name, `reason` a short sentence or word, `value` the figure that belongs to it (seconds
    of delay, the new limit), `error` what caused it.
    """

    policy: str
    kind: Kind
    reason: str = ""
    value: float = 0.0
    error: BaseException | None = None


Subscriber = Callable[[Event], None]

_subscribers: tuple[Subscriber, ...] = ()


def subscribe(subscriber: Subscriber) -> Callable[[], None]:
    """
    Has `subscriber` called with every event of every policy, until the returned function is called.

    It runs in the thread where the event happened. Its errors become warnings and never reach the call.
    """
    global _subscribers  # noqa: PLW0603 - one tuple, replaced as a whole, so that readers need no lock
    _subscribers = (*_subscribers, subscriber)

    def unsubscribe() -> None:
        global _subscribers  # noqa: PLW0603 - see above
        _subscribers = tuple(each for each in _subscribers if each is not subscriber)

    return unsubscribe


def emit(policy: str, kind: Kind, reason: str = "", value: float = 0.0, error: BaseException | None = None) -> None:
    """Tells every subscriber."""
    if not _subscribers:
        return
    event = Event(policy, kind, reason, value, error)
    for subscriber in _subscribers:
        try:
            subscriber(event)
        except Exception as problem:  # noqa: BLE001 - watching must not break what is watched
            warnings.warn(f"a subscriber of atoll.kit events failed: {problem!r}", RuntimeWarning, stacklevel=2)
