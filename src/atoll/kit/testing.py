"""
Testing what uses policies: time that costs nothing, chance that repeats, breakers on command.

    with virtual_time() as time:
        time.run(main())            # asyncio.sleep(3600) takes no time at all

Everything here is process-wide while it lasts, like the clock it replaces.
"""

from __future__ import annotations

import asyncio
import math
import selectors
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from random import Random
from typing import Any, Literal, TypeVar

from atoll.kit import clock
from atoll.kit.events import Event, subscribe
from atoll.kit.pipeline import Pipeline

R = TypeVar("R")


class Stuck(RuntimeError):
    """Everything waits and nothing is scheduled, so in virtual time nothing can ever happen again."""


class _Selector(selectors.BaseSelector):
    """Moves the clock on instead of waiting; whatever really is ready comes first."""

    def __init__(self, time: VirtualTime) -> None:
        self._time = time
        self._real = selectors.DefaultSelector()

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.modify(fileobj, events, data)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._real.get_map()

    def close(self) -> None:
        self._real.close()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = self._real.select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            # Only a thread or a socket can still do something: give them real time.
            ready = self._real.select(self._time.patience)
            if not ready:
                raise Stuck("virtual time: everything waits, and nothing is scheduled")
            return ready
        self._time.advance(timeout)
        return ready


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self, time: VirtualTime) -> None:
        super().__init__(_Selector(time))
        self._virtual = time

    def time(self) -> float:
        now = self._virtual.now()
        # What is due before now + this runs; on a late clock a nanosecond more is no more, and nothing would run.
        self._clock_resolution = math.ulp(now)
        return now


class VirtualTime:
    """
    A clock that moves only when somebody sleeps. Get one from `virtual_time()`.

    Args:
        start: what the clock shows at first.
        patience: real seconds to wait for threads and sockets before `Stuck` is raised.

    """

    def __init__(self, start: float, patience: float = 5.0) -> None:
        self._now = start
        self.patience = patience

    def now(self) -> float:
        """Seconds on this clock."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Moves the clock on; what a sleep in a sync function does."""
        self._now += max(0.0, seconds)

    def run(self, main: Coroutine[Any, Any, R]) -> R:
        """`asyncio.run(main)`, on this clock."""
        with asyncio.Runner(loop_factory=lambda: _Loop(self)) as runner:
            return runner.run(main)


@contextmanager
def virtual_time(start: float | None = None, *, seed: int = 0) -> Iterator[VirtualTime]:
    """
    Time that moves only by sleeping, and jitter from `seed`.

    It begins at the real clock's time, so that policies made before go on from there, or at `start`.
    """
    time = VirtualTime(clock.now() if start is None else start)
    before = clock.now, clock.wall, clock.pause, clock.chance
    clock.now, clock.wall, clock.pause = time.now, time.now, time.advance
    clock.chance = Random(seed).random  # noqa: S311 - jitter is no secret
    try:
        yield time
    finally:
        clock.now, clock.wall, clock.pause, clock.chance = before


@contextmanager
def seeded(seed: int = 0) -> Iterator[None]:
    """Jitter that repeats."""
    before, clock.chance = clock.chance, Random(seed).random  # noqa: S311 - jitter is no secret
    try:
        yield
    finally:
        clock.chance = before


@contextmanager
def instant() -> Iterator[None]:
    """Retries without pauses: the jitter is always 0."""
    before: Callable[[], float] = clock.chance
    clock.chance = lambda: 0.0
    try:
        yield
    finally:
        clock.chance = before


@contextmanager
def force(policy: Pipeline, breaker: Literal["open", "closed"]) -> Iterator[None]:
    """The breaker of `policy` stays open or closed inside; afterwards it is closed, with empty counts."""
    if breaker == "open":
        policy.breaker.force_open()
    else:
        policy.breaker.force_closed()
    try:
        yield
    finally:
        policy.breaker.reset()


@contextmanager
def capture() -> Iterator[list[Event]]:
    """The events of every policy, as they happen."""
    seen: list[Event] = []
    unsubscribe = subscribe(seen.append)
    try:
        yield seen
    finally:
        unsubscribe()
