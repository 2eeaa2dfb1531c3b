"""
The hedge: a second request when the first is late, so that one slow instance costs nobody its answer.

The first runs in the caller's own task, so a hedge that is not needed costs a dict entry and no task.
"""

from __future__ import annotations

from functools import partial
from threading import Lock

from atoll.kit import clock, events
from atoll.kit.forks import renew_in_child
from atoll.kit.latency import Latency
from atoll.kit.policy import Hedge
from atoll.kit.weave import Inner, Site, State, block
from atoll.kit.window import Window

_WOVEN = """\
{alarms} = {table}.get(thread())
{task} = None if {alarms} is None else {alarms}.task()
if {task} is None: {alarms}, {task} = find_alarms({table}, {start})
{now}{racer} = Racer()
{racer}.task = {task}
{racer}.call = (f, args, kwargs)
{racer}.context = copy_context()
{racer}.pending = {task}.cancelling()
{window} = {hedge}.window
if now >= {window}.turn: {window}.rotate(now)
{window}.good += 1
{entries} = {alarms}.entries
{entries}[{racer}] = {at} = now + {hedge}.after
if {alarms}.handle is None: {alarms}.start({at})
try:
{inner}
except BaseException as error:
    if {entries}.pop({racer}, None) is not None: raise
    result = await {racer}.primary_failed(error)
else:
    if {entries}.pop({racer}, None) is None: await {racer}.primary_won()
    elif not {window}.good & 31: {hedge}.learn(now)
"""

_ENOUGH = 20  # measured calls before a quantile means something


class Hedging:
    """
    Decides when a call is late, and whether it may be asked again.

    Args:
        policy: the policy's name, for events.
        settings: see `Hedge`.

    """

    kind = "hedge"
    concurrent = True

    def __init__(self, policy: str, settings: Hedge) -> None:
        self.policy = policy
        self.settings = settings
        self._lock = Lock()
        self._latency = Latency()
        self._quantile = float(settings.after[1:]) / 100 if isinstance(settings.after, str) else None
        self.after = settings.first_after if isinstance(settings.after, str) else float(settings.after)
        self.window = Window(settings.window, clock.now())  # good: calls, bad: hedges
        self.won = 0
        renew_in_child(self)

    def weave(self, site: Site, inner: Inner) -> str:
        """See `Part`. `again`, the parts inside this one as a function of their own, was bound by the generator."""
        runtime = site.runtime
        for name in ("thread", "find_alarms", "Racer", "copy_context"):
            site.names[name] = getattr(runtime, name)
        words = {each: site.local(each) for each in ("task", "racer", "window", "alarms", "entries", "at")}
        words |= {
            "hedge": site.bind("hedge", self),
            "table": site.bind("table", runtime.Table()),
            "start": site.bind("start", partial(runtime.start_hedge, self, site.names["again"])),
        }
        return _WOVEN.format(**words, now=site.now(), inner=block(inner()))

    def state(self) -> State:
        """See `Part`."""
        return {"calls": self.window.good, "hedges": self.window.bad, "won": self.won, "after": self.after}

    def learn(self, started: float) -> None:
        """Notes how long an unhedged call took, and sets the delay by it."""
        with self._lock:
            self._record(clock.now() - started)

    def late(self, seconds: float) -> None:
        """Notes a call that was hedged, one in 32 as the others; without these the delay would only shrink."""
        if self.window.good & 31:
            return
        with self._lock:
            self._record(seconds)

    def take(self) -> bool:
        """Whether the budget allows one more hedge; if so it is counted."""
        settings = self.settings
        with self._lock:
            calls, hedges, _ = self.window.recent(clock.now())
            if hedges >= max(settings.floor, settings.budget * calls):
                return False
            self.window.bad += 1
        events.emit(self.policy, "hedge", "late", self.after)
        return True

    def renew(self) -> None:
        """In a forked child."""
        self._lock = Lock()

    def _record(self, seconds: float) -> None:
        self._latency.record(seconds)
        if self._quantile is not None and self._latency.count >= _ENOUGH and not self._latency.count % 8:
            self.after = self._latency.quantile(self._quantile)
