"""
Retries: what may be tried again, when, and when not.

Full jitter (Brooker, Exponential Backoff and Jitter, 2015), a budget over all calls of the policy (Google SRE book,
chapter 21) so that retries do not multiply an overload, and never with less time left than an attempt needs.
"""

from __future__ import annotations

from threading import Lock

from atoll.kit import clock, events
from atoll.kit.forks import renew_in_child
from atoll.kit.latency import Latency
from atoll.kit.policy import Retry
from atoll.kit.scope import scope
from atoll.kit.verdict import Classify
from atoll.kit.weave import Inner, Site, State, block
from atoll.kit.window import Window

_WOVEN = """\
{now}{window} = {retry}.window
if now >= {window}.turn: {window}.rotate(now)
{window}.good += 1
{tries} = 0
while True:
    try:
{inner}
        if not {window}.good & 127: {retry}.learn(now)
        break
    except Exception as error:
        {delay} = {retry}.delay(error, {tries})
        if {delay} is None: raise
    {tries} += 1
    {wait}pause({delay})
    now = clock.now()
"""


class Retrying:
    """
    Decides on further tries.

    Args:
        policy: the policy's name, for events.
        settings: see `Retry`.
        classify: says which errors are worth another try.

    """

    kind = "retry"
    concurrent = False

    def __init__(self, policy: str, settings: Retry, classify: Classify) -> None:
        self._policy = policy
        self._settings = settings
        self._classify = classify
        self._lock = Lock()
        self.window = Window(settings.budget.window, clock.now())  # good: first tries, bad: retries
        self._latency = Latency()  # of one call in 128
        self.exhausted = 0
        renew_in_child(self)

    def weave(self, site: Site, inner: Inner) -> str:
        """See `Part`."""
        site.names["pause"] = site.runtime.sleep if site.asynchronous else _pause
        words = {each: site.local(each) for each in ("window", "tries", "delay")}
        words |= {"retry": site.bind("retry", self), "now": site.now(), "wait": site.wait}
        return _WOVEN.format(**words, inner=block(block(inner())))

    def state(self) -> State:
        """See `Part`."""
        calls, retries, _ = self.window.recent(clock.now())
        return {
            "calls": self.window.good,
            "retries": self.window.bad,
            "recent_calls": calls,
            "recent_retries": retries,
            "budget_exhausted": self.exhausted,
        }

    def begin(self) -> None:
        """Counts a first try. The generated lines do this themselves."""
        self.window.recent(clock.now())
        self.window.good += 1

    def learn(self, started: float) -> None:
        """Notes how long a try took that came back well."""
        with self._lock:
            self._latency.record(clock.now() - started)

    def delay(self, error: Exception, tries: int) -> float | None:
        """
        In how many seconds to try again after `error` of try number `tries` (the first is 0); None for never.

        Retries that are granted are counted.
        """
        verdict = self._classify(error)
        if verdict.kind not in ("retry", "throttled"):
            return None
        if tries >= self._settings.retries:
            if tries:
                self._give_up("no more retries", error)
            return None
        delay = self._jitter(tries)
        if verdict.kind == "throttled":
            if verdict.after > self._settings.patience:
                self._give_up(f"told to wait {verdict.after:.3g} s", error)
                return None
            delay = max(delay, verdict.after)
        if clock.now() + delay + self._latency.quantile(0.5) >= scope.get()[0]:
            self._give_up("not enough time left", error)
            return None
        if not self._take():
            self._give_up("the retry budget is spent", error)
            return None
        events.emit(self._policy, "retry", f"try {tries + 2}", delay, error)
        return delay

    def renew(self) -> None:
        """In a forked child."""
        self._lock = Lock()

    def _jitter(self, tries: int) -> float:
        # The exponent is bounded: beyond 2**32 any cap is reached, and floats have an end.
        return clock.chance() * min(self._settings.cap, self._settings.base * 2.0 ** min(tries, 32))

    def _take(self) -> bool:
        budget = self._settings.budget
        with self._lock:
            calls, retries, _ = self.window.recent(clock.now())
            if retries >= max(budget.floor, budget.ratio * calls):
                self.exhausted += 1
                return False
            self.window.bad += 1
            return True

    def _give_up(self, why: str, error: Exception) -> None:
        events.emit(self._policy, "give-up", why, error=error)


def _pause(seconds: float) -> None:
    clock.pause(seconds)
