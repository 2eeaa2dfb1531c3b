"""
The rate limit: a leaky bucket kept as one number, the moment at which it will be empty.

GCRA (ITU-T I.371), the virtual scheduling form: exact, and constant work without a timer.
"""

from __future__ import annotations

from threading import Lock

from atoll.kit import clock, events
from atoll.kit.faults import RateExceeded
from atoll.kit.forks import renew_in_child
from atoll.kit.policy import Rate
from atoll.kit.scope import scope
from atoll.kit.weave import Inner, Site, State

_WOVEN = """\
{now}{delay} = {take}(now)
if {delay}:
    {wait}pause({delay})
    now = clock.now()
{inner}"""

_ROUNDING = 1e-6
"""Seconds that a call may come too early, or the last one of a burst would, by what floats make of the others."""


class RateLimiter:
    """
    Lets through at most so many calls per time.

    Args:
        policy: the policy's name, for errors.
        settings: see `Rate`.

    """

    kind = "rate"
    concurrent = False

    def __init__(self, policy: str, settings: Rate) -> None:
        self._policy = policy
        self._wait = settings.wait
        self._interval = settings.per / settings.limit
        self._slack = self._interval * (settings.burst - 1)
        self._next = clock.now() - self._slack  # when the bucket is empty, seen from a steady stream
        self._lock = Lock()
        self.passed = 0
        self.rejected = 0
        renew_in_child(self)

    def weave(self, site: Site, inner: Inner) -> str:
        """See `Part`."""
        site.names["pause"] = site.runtime.sleep if site.asynchronous else _pause
        words = {"delay": site.local("delay"), "take": site.bind("take_rate", self.take), "wait": site.wait}
        return _WOVEN.format(**words, now=site.now(), inner=inner())

    def state(self) -> State:
        """See `Part`."""
        return {"passed": self.passed, "rejected": self.rejected}

    def take(self, now: float) -> float:
        """
        Books the next call at `now`; returns in how many seconds it may start.

        Raises:
            RateExceeded: that would be later than the call may or can wait; nothing was booked.

        """
        with self._lock:
            at = max(now - self._slack, self._next)
            delay = at - now
            if delay <= _ROUNDING:
                self._next = at + self._interval
                self.passed += 1
                return 0.0
            if delay <= self._wait and now + delay < scope.get()[0]:
                self._next = at + self._interval
                self.passed += 1
                return delay
            self.rejected += 1
        events.emit(self._policy, "reject", "over the rate", delay)
        raise RateExceeded(f"{self._policy}: over the rate", policy=self._policy, retry_after=delay)

    def renew(self) -> None:
        """In a forked child."""
        self._lock = Lock()


def _pause(seconds: float) -> None:
    clock.pause(seconds)
