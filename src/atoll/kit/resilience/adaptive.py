"""
The adaptive limit: a bulkhead that finds out by itself how much the dependency can take.

Netflix concurrency-limits, Gradient2: the usual latency against the present one is the gradient by which the limit
moves, plus a little room to grow; what is throttled or times out halves nothing but takes a tenth away.
"""

from __future__ import annotations

from math import sqrt
from threading import Lock

from atoll.kit import clock, events
from atoll.kit.faults import AttemptTimeout
from atoll.kit.forks import renew_in_child
from atoll.kit.permits import Permits
from atoll.kit.policy import Adaptive
from atoll.kit.verdict import Classify
from atoll.kit.weave import Inner, Site, State, block

_WOVEN = """\
try: {take}()
except IndexError:
    {wait}{enter}{arguments}
    {started} = clock.now()
else:
    {now}{started} = now
try:
{inner}
except BaseException as error:
    {limiter}.back({started}, error)
    raise
{limiter}.back({started}, None)
"""

_LONG = 100.0  # calls over which the usual latency is averaged
_SMOOTHING = 0.2
_BACK_OFF = 0.9


class AdaptiveLimiter:
    """
    Permits whose number follows the latency.

    Args:
        policy: the policy's name, for errors and events.
        settings: see `Adaptive`.
        classify: says which errors mean overload.

    """

    kind = "bulkhead"
    concurrent = False

    def __init__(self, policy: str, settings: Adaptive, classify: Classify) -> None:
        self._policy = policy
        self._settings = settings
        self._classify = classify
        self._limit = float(settings.start)
        self._usual = 0.0
        self._lock = Lock()
        self.permits = Permits(policy, settings.start, settings.queue, settings.wait)
        renew_in_child(self)

    def weave(self, site: Site, inner: Inner) -> str:
        """See `Part`."""
        permits = site.bind("permits", self.permits)
        words = {
            "take": site.bind("take", self.permits.free.pop),
            "limiter": site.bind("limiter", self),
            "started": site.local("started"),
            "wait": site.wait,
            "enter": site.bind("enter", site.runtime.enter if site.asynchronous else self.permits.enter),
            "arguments": f"({permits})" if site.asynchronous else "()",
            "now": "now = clock.now()\n    ",
        }
        return _WOVEN.format(**words, inner=block(inner()))

    def state(self) -> State:
        """See `Part`."""
        permits = self.permits
        return {
            "limit": permits.limit,
            "in_flight": permits.in_flight,
            "waiting": len(permits.waiters),
            "rejected": permits.rejected,
            "usual_latency": self._usual,
        }

    def back(self, started: float, error: BaseException | None) -> None:
        """Gives the permit of a call back that began at `started`, and learns from how it ended."""
        flying = self.permits.in_flight
        overload = isinstance(error, AttemptTimeout) or (
            isinstance(error, Exception) and self._classify(error).kind == "throttled"
        )
        if error is None or overload:
            with self._lock:
                self._learn(clock.now() - started, flying, overload=overload)
        self.permits.give()

    def renew(self) -> None:
        """In a forked child."""
        self._lock = Lock()

    def _learn(self, seconds: float, flying: int, *, overload: bool) -> None:
        settings = self._settings
        if overload:
            wanted = self._limit * _BACK_OFF
        else:
            self._usual += (seconds - self._usual) / _LONG if self._usual else seconds
            if self._usual > 2 * seconds:  # the dependency became quicker for good: catch up
                self._usual *= 0.95
            if flying < self._limit / 2:  # the limit was not what held the calls back
                return
            gradient = max(0.5, min(1.0, settings.tolerance * self._usual / max(seconds, 1e-9)))
            wanted = self._limit * (1 - _SMOOTHING) + (self._limit * gradient + sqrt(self._limit)) * _SMOOTHING
        self._limit = max(float(settings.least), min(float(settings.most), wanted))
        limit = int(self._limit)
        if limit != self.permits.limit:
            self.permits.resize(limit)
            events.emit(self._policy, "limit", "overloaded" if overload else "latency", limit)
