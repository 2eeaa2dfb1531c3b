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
{left} = {retry}.left = {retry}.left - 1
{began} = None if {left} > 0 else {retry}.look()
{tries} = 0
while True:
    try:
{inner}
        if {began} is not None: {retry}.learn({began})
        break
    except Exception as error:
        {delay} = {retry}.delay(error, {tries})
        if {delay} is None: raise
    {began} = None
    {tries} += 1
    {wait}pause({delay})
{again}"""

_AGAIN = """\
    now = clock.now()
"""


_LOOK = 128  # calls from one look at the clock to the next


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
        self._window = Window(settings.budget.window, clock.now())  # good: first tries, bad: retries
        self.left = _LOOK  # calls until the next look at the clock; a small number, which costs no memory
        self._entered = clock.now()
        self._latency = Latency()  # of one call in 128
        self.exhausted = 0
        renew_in_child(self)

    def weave(self, site: Site, inner: Inner) -> str:
        """See `Part`."""
        site.names["pause"] = site.runtime.sleep if site.asynchronous else _pause
        words = {each: site.local(each) for each in ("left", "tries", "delay", "began")}
        words |= {"retry": site.bind("retry", self), "wait": site.wait}
        # Who read the clock around the tries read it for what is inside them too, and that was before the pause.
        words["again"] = _AGAIN if site.clock_is_read else ""
        return _WOVEN.format(**words, inner=block(block(inner())))

    def state(self) -> State:
        """See `Part`."""
        with self._lock:
            now = clock.now()
            self._enter(now)
            calls, retries, _ = self._window.recent(now)
        return {
            "calls": self._window.good,
            "retries": self._window.bad,
            "recent_calls": calls,
            "recent_retries": retries,
            "budget_exhausted": self.exhausted,
        }

    def begin(self) -> None:
        """Counts a first try. The generated lines do this themselves."""
        self.left -= 1

    def look(self) -> float:
        """
        Enters the last calls in the window: one call in 128 does, because reading the clock takes longer than the rest.

        Returns the time, because that call is one to learn from as well.
        """
        now = clock.now()
        with self._lock:
            self._enter(now)
        return now

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
            now = clock.now()
            self._enter(now)
            calls, retries, _ = self._window.recent(now)
            if retries >= max(budget.floor, budget.ratio * calls):
                self.exhausted += 1
                return False
            self._window.bad += 1
            return True

    def _enter(self, now: float) -> None:
        window, used, passed = self._window, _LOOK - self.left, now - self._entered
        span = self._settings.budget.window
        recent = used if passed <= span else round(used * span / passed)  # evenly, as far as anybody knows
        window.good += used - recent
        if now >= window.turn:
            window.rotate(now)
        window.good += recent
        self.left = _LOOK
        self._entered = now

    def _give_up(self, why: str, error: Exception) -> None:
        events.emit(self._policy, "give-up", why, error=error)


def _pause(seconds: float) -> None:
    clock.pause(seconds)
