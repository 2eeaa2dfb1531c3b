"""How busy everything is: samples of counters, and what came between them in the last seconds."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from atoll import wire
from atoll.engine.parts import Parts
from atoll.errors import AtollError
from atoll.ports import Traffic, Usage
from atoll.unforeseen import report
from atoll.values.histograms import Bar, quantile, since

FRESH = 1.0
WAIT = 1.0  # seconds that somebody waits for figures: a proxy that hangs is known to within about as many
PERIOD = 5.0
WINDOW = 10.0
"""
Seconds that rates are about, and up to a period more.

The proxies add to their histograms every five seconds: in a shorter window there would be times now and then only.
"""


@dataclass(frozen=True, slots=True)
class Sample:
    """The counters at one moment."""

    at: float
    usage: Mapping[str, Usage] = field(default_factory=dict)
    traffic: Mapping[str, Traffic] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Added:
    """What went to one service between two samples."""

    requests: int
    errors: int
    waited: tuple[Bar, ...]


@dataclass(frozen=True, slots=True)
class Span:
    """The time between two samples, and what was added in it by service."""

    seconds: float
    added: Mapping[str, Added]


class Meter:
    """Samples at its own slow pace, and at once when somebody looks and the last sample is old."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._old = Sample(0.0)
        self._new = Sample(0.0)
        self._spans: deque[Span] = deque()
        self._looking: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Sample until cancelled."""
        while True:
            await self.sample()
            await asyncio.sleep(PERIOD)

    async def sample(self) -> None:
        """
        Look at the counters, unless that was done a moment ago.

        Whoever shows them does not wait for a source that hangs: what it says is there the next time, if it does.
        """
        if self._parts.clock() - self._new.at < FRESH:
            return
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        await asyncio.wait({self._looking}, timeout=WAIT)

    async def _look(self) -> None:
        now = self._parts.clock()
        usage: dict[str, Usage] = {}
        traffic: Mapping[str, Traffic] = {}
        try:
            for runtime in self._parts.runtimes.values():
                usage |= await runtime.usage()
            traffic = await self._parts.mesh.traffic()
        except (AtollError, OSError):
            pass  # a look that fails shows as missing figures; the engine reports who does not answer
        except Exception as error:  # noqa: BLE001 - whatever it is: nothing else is to end for want of figures
            report("reading the counters failed", error)
        self._old, self._new = self._new, Sample(now, usage, traffic)
        self._remember()

    def rates(self) -> dict[str, wire.Rates]:
        """Traffic by service in the window."""
        seconds = sum(span.seconds for span in self._spans)
        return {name: _rates(self._of(name), seconds) for name in self._new.traffic}

    def loads(self) -> dict[str, wire.Load]:
        """Use by instance between the last two samples."""
        seconds = self._new.at - self._old.at
        return {name: _load(self._old.usage.get(name), new, seconds) for name, new in self._new.usage.items()}

    def _remember(self) -> None:
        """
        Keep what was added since the last look, and forget what has left the window.

        Differences and not the samples: those of all clusters of a large system are many megabytes. Across a look that
        failed nothing is known, so the window begins anew.
        """
        if not (self._old.traffic and self._new.traffic):
            self._spans.clear()
            return
        pairs = ((name, self._old.traffic.get(name), new) for name, new in self._new.traffic.items())
        added = {name: _added(old, new) for name, old, new in pairs if old is not None and old != new}
        self._spans.append(Span(self._new.at - self._old.at, added))
        while sum(span.seconds for span in self._spans) - self._spans[0].seconds >= WINDOW:
            self._spans.popleft()

    def _of(self, service: str) -> Iterator[Added]:
        return (span.added[service] for span in self._spans if service in span.added)


def _added(old: Traffic, new: Traffic) -> Added:
    known = ((old.waited.get(name, ()), bars) for name, bars in new.waited.items())
    waited = [bar for before, now in known if before != now for bar in since(before, now)]
    return Added(max(0, new.requests - old.requests), max(0, new.errors - old.errors), tuple(waited))


def _rates(window: Iterable[Added], seconds: float) -> wire.Rates:
    spans = tuple(window)
    requests = sum(one.requests for one in spans)
    # What is told late of calls before the window is no figure of it where nobody called in it.
    waited = [bar for one in spans for bar in one.waited] if requests else []
    return wire.Rates(
        rps=requests / seconds if seconds > 0 else 0.0,
        p50=_milliseconds(quantile(waited, 0.5)),
        p99=_milliseconds(quantile(waited, 0.99)),
        errors=sum(one.errors for one in spans) / requests if requests else 0.0,
    )


def _milliseconds(microseconds: float | None) -> float | None:
    return microseconds / 1000 if microseconds is not None else None


def _load(old: Usage | None, new: Usage, seconds: float) -> wire.Load:
    share = None
    if old is not None and old.cpu is not None and new.cpu is not None and seconds > 0:
        share = max(0.0, new.cpu - old.cpu) / seconds
    return wire.Load(share, new.memory)
