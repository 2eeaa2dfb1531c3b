"""
The circuit breaker as a state machine. Everything that changes its state is in this file.

    closed ──▶ open ──▶ half-open ──▶ closed (all probes well) or open (one failed)

While it is closed a call touches no lock: it takes the present `Tally` and adds to it. A tally lives as
long as one closed period; what comes back to an older tally is too late to say anything and is dropped.
Nygard, Release It!; permits of the half-open state are leases, as resilience4j learned (#903, #935, #1432).
"""

from __future__ import annotations

from threading import Lock
from typing import Literal

from atoll.kit import clock, events
from atoll.kit.faults import CircuitOpen
from atoll.kit.forks import renew_in_child
from atoll.kit.policy import Breaker
from atoll.kit.verdict import Classify
from atoll.kit.weave import Inner, Site, State, block
from atoll.kit.window import Window

Phase = Literal["closed", "open", "half-open"]
Hand = Literal["auto", "open", "closed"]

_WOVEN = """\
{tally} = {breaker}.tally
if {tally} is None: {tally} = {breaker}.admit()
{rotate}try:
{inner}
except BaseException as error:
    {breaker}.failed({tally}, error{began})
    raise
{slow}if {tally} is {breaker}.tally: {tally}.good += 1
else: {breaker}.succeeded({tally})
"""

_ROTATE = """\
{now}if now >= {tally}.turn: {tally}.rotate(now)
"""

_SLOW = """\
if clock.now() - {started} > {limit!r}: {breaker}.was_slow({tally})
"""


class Tally(Window):
    """The counts of one closed period, and of how many failures in a row the last one was."""

    __slots__ = ("_good_before", "streak")

    def __init__(self, span: float, now: float) -> None:
        super().__init__(span, now)
        self.streak = 0
        self._good_before = 0

    def fail(self) -> None:
        """One more failure. In a row with the last one if no success was counted between them."""
        self.streak = self.streak + 1 if self.good == self._good_before else 1
        self._good_before = self.good
        self.bad += 1


class Lease(Tally):
    """A probe's permission to call while the breaker is half-open; ends by itself at `until`."""

    __slots__ = ("slow_probe", "until")

    def __init__(self, span: float, now: float, until: float) -> None:
        super().__init__(span, now)
        self.until = until
        self.slow_probe = False


class CircuitBreaker:
    """
    Refuses calls to what keeps failing.

    Args:
        policy: the policy's name, for errors and events.
        settings: see `Breaker`.
        classify: says which errors count.

    """

    kind = "breaker"
    concurrent = False

    def __init__(self, policy: str, settings: Breaker, classify: Classify) -> None:
        self._policy = policy
        self._settings = settings
        self._classify = classify
        self._lock = Lock()
        self._tally = Tally(settings.window, clock.now())
        self.tally: Tally | None = self._tally  # what a closed breaker counts on; None while it is not closed
        self._phase: Phase = "closed"
        self._hand: Hand = "auto"
        self._opened_at = 0.0
        self._leases: set[Lease] = set()
        self._probes_well = 0
        self._ok = 0  # totals of the closed periods before this one
        self._failed = 0
        self.rejected = 0
        self.opened = 0
        renew_in_child(self)

    def weave(self, site: Site, inner: Inner) -> str:
        """See `Part`."""
        tally, breaker = site.local("tally"), site.bind("breaker", self)
        slow = self._settings.slow
        timed = slow is not None or bool(self._settings.rate)
        rotate = _ROTATE.format(now=site.now(), tally=tally) if timed else ""
        words = {"tally": tally, "breaker": breaker, "slow": "", "began": ""}
        if slow is not None:
            started = site.local("started")
            rotate += f"{started} = now\n"
            words |= {"slow": _SLOW.format(started=started, limit=slow, **words), "began": f", {started}"}
        return _WOVEN.format(**words, rotate=rotate, inner=block(inner()))

    @property
    def phase(self) -> Phase:
        """Whether calls pass, are refused, or are tried out."""
        if self._phase == "open" and self._hand == "auto" and clock.now() >= self._opened_at + self._settings.open:
            return "half-open"
        return self._phase

    def state(self) -> State:
        """See `Part`."""
        good, bad, slow = self._tally.recent(clock.now())
        return {
            "phase": self.phase,
            "ok": self._ok + self._tally.good,
            "failed": self._failed + self._tally.bad,
            "recent_ok": good,
            "recent_failed": bad,
            "recent_slow": slow,
            "rejected": self.rejected,
            "opened": self.opened,
        }

    # What a call does. The closed state is in the generated lines; these are for everything else.

    def admit(self) -> Tally:
        """
        Leave to call although the breaker is not closed.

        Raises:
            CircuitOpen: the dependency is not to be called now.

        """
        with self._lock:
            if self.tally is not None:  # another thread closed it meanwhile
                return self.tally
            now = clock.now()
            if self._hand == "open":
                raise self._refusal("it was opened by hand", 0.0)
            if self._phase == "open":
                ends = self._opened_at + self._settings.open
                if now < ends:
                    raise self._refusal("too many calls failed", ends - now)
                self._phase = "half-open"
                self._probes_well = 0
                self._leases.clear()
                events.emit(self._policy, "half-open", "trying again")
            for lost in [each for each in self._leases if each.until <= now]:
                self._leases.discard(lost)
            if len(self._leases) >= self._settings.probes - self._probes_well:
                raise self._refusal("it is being tried out", max(0.0, min(each.until for each in self._leases) - now))
            lease = Lease(self._settings.window, now, now + self._settings.lease)
            self._leases.add(lease)
            return lease

    def succeeded(self, tally: Tally) -> None:
        """A call came back well that was not counted by a closed breaker."""
        with self._lock:
            if not isinstance(tally, Lease) or tally not in self._leases:
                return
            self._leases.discard(tally)
            self._ok += 1
            if tally.slow_probe:
                self._open("a probe was slow")
                return
            self._probes_well += 1
            if self._probes_well >= self._settings.probes:
                self._close("the probes came back well")

    def failed(self, tally: Tally, error: BaseException, started: float | None = None) -> None:
        """A call ended with `error`. Cancellation and the like say nothing, and give a probe's permission back."""
        kind = self._classify(error).kind if isinstance(error, Exception) else "ignore"
        with self._lock:
            now = clock.now()
            if isinstance(tally, Lease):
                self._probe_failed(tally, kind)
                return
            if tally is not self.tally:
                return
            if kind == "ok":
                tally.good += 1
            elif kind in ("fail", "retry"):
                tally.recent(now)
                tally.fail()
                if started is not None and now - started > (self._settings.slow or 0.0):
                    tally.slow += 1
                self._judge(tally, now)

    def was_slow(self, tally: Tally) -> None:
        """A call came back well but took too long; the generated lines count the success itself."""
        with self._lock:
            if isinstance(tally, Lease):
                tally.slow_probe = True
            elif tally is self.tally:
                now = clock.now()
                tally.recent(now)  # it began long ago, but counts now
                tally.slow += 1
                self._judge(tally, now, more=1)

    # What a person does.

    def force_open(self) -> None:
        """Refuses every call until `reset`."""
        with self._lock:
            self._hand = "open"
            self._open("by hand")

    def force_closed(self) -> None:
        """Lets every call pass until `reset`, whatever the counts say."""
        with self._lock:
            self._hand = "closed"
            self._close("by hand")

    def reset(self) -> None:
        """Closed, with empty counts, and in charge of itself."""
        with self._lock:
            self._hand = "auto"
            self._close("reset")

    def renew(self) -> None:
        """In a forked child: no probe is on its way."""
        self._lock = Lock()
        self._leases.clear()

    # How the state changes. The lock is held.

    def _judge(self, tally: Tally, now: float, more: int = 0) -> None:
        if self._hand != "auto":
            return
        settings = self._settings
        if settings.consecutive is not None and tally.streak >= settings.consecutive:
            self._open(f"{tally.streak} failures in a row")
            return
        good, bad, slow = tally.recent(now)
        calls = good + bad + more
        if calls < settings.min_calls:
            return
        if settings.rate and bad >= settings.rate * calls:
            self._open(f"{bad} of {calls} calls failed")
        elif settings.slow is not None and slow >= settings.slow_rate * calls:
            self._open(f"{slow} of {calls} calls were slow")

    def _probe_failed(self, lease: Lease, kind: str) -> None:
        if lease not in self._leases:
            return
        self._leases.discard(lease)
        if kind in ("fail", "retry"):
            self._failed += 1
            self._open("a probe failed")
        elif kind == "ok":
            self._ok += 1
            self._probes_well += 1
            if self._probes_well >= self._settings.probes:
                self._close("the probes came back well")

    def _open(self, why: str) -> None:
        self.opened += 1
        events.emit(self._policy, "open", why)
        self._retire()
        if self._settings.mode == "shadow" and self._hand == "auto":
            self._phase = "closed"
            self.tally = self._tally
            return
        self._phase = "open"
        self._opened_at = clock.now()
        self.tally = None

    def _close(self, why: str) -> None:
        events.emit(self._policy, "close", why)
        self._retire()
        self._phase = "closed"
        self.tally = self._tally

    def _retire(self) -> None:
        self._ok += self._tally.good
        self._failed += self._tally.bad
        self._leases.clear()
        self._tally = Tally(self._settings.window, clock.now())

    def _refusal(self, why: str, wait: float) -> CircuitOpen:
        self.rejected += 1
        events.emit(self._policy, "reject", why, wait)
        return CircuitOpen(f"{self._policy}: the breaker is open, {why}", policy=self._policy, retry_after=wait)
