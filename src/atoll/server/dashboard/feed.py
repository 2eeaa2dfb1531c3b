"""What all open pages are shown: computed once a tick for all of them, and not at all while nobody looks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from atoll import wire
from atoll.operations.views.graph import graph
from atoll.operations.views.progress import progress
from atoll.operations.views.status import status
from atoll.server.surface import Surface

PERIOD = 1.0
EVENTS_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Frame:
    """Everything at one moment. `status`, `releases`, `graph` are JSON; `events` are the newest, oldest first."""

    number: int = 0
    status: bytes = b""
    releases: bytes = b""
    graph: bytes = b""
    events: tuple[wire.Event, ...] = ()


class Feed:
    """
    The newest frame, taken when somebody asks for a newer one than they have.

    Whoever asks first takes it for all who wait. There is no queue: who is slow skips frames, and keeps nothing here.
    """

    def __init__(self, take: Callable[[int], Awaitable[Frame]], period: float = PERIOD) -> None:
        self._take = take
        self._period = period
        self._lock = asyncio.Lock()
        self._frame = Frame()
        self._due = 0.0

    async def after(self, number: int) -> Frame:
        """A frame with a higher number than *number*, at most two periods old."""
        now = asyncio.get_running_loop().time
        async with self._lock:
            if self._frame.number <= number or now() > self._due + self._period:
                await asyncio.sleep(max(0.0, self._due - now()))
                self._frame = await self._take(self._frame.number + 1)
                self._due = now() + self._period
            return self._frame


async def take_frame(surface: Surface, number: int) -> Frame:
    """Look at everything now."""
    snapshot = await surface.snapshot()
    return Frame(
        number,
        wire.encode(status(snapshot)),
        wire.encode(progress(snapshot.system, snapshot.pins, surface.store.flags.releases.on_their_way())),
        wire.encode(graph(snapshot.system)),
        surface.store.events(0, EVENTS_SHOWN),
    )


async def live(feed: Feed) -> AsyncIterator[bytes]:
    """
    Server-sent events for one page.

    `status` comes every tick, `releases` (those on their way) and `graph` when they change, `journal` with what is new
    in it. The first `journal` holds the newest events; a page that falls behind by more than those misses older ones.
    """
    seen, told = Frame(), 0
    while True:
        frame = await feed.after(seen.number)
        yield message("status", frame.status)
        if frame.releases != seen.releases:
            yield message("releases", frame.releases)
        if frame.graph != seen.graph:
            yield message("graph", frame.graph)
        fresh = tuple(event for event in frame.events if event.number > told)
        if fresh:
            told = fresh[-1].number
            yield message("journal", wire.encode(fresh))
        seen = frame


def message(name: str, data: bytes) -> bytes:
    """One server-sent event; *data* is JSON and so has no line breaks."""
    return b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"
