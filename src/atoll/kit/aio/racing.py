"""
The race of a call against its hedges.

Only the caller's task and its event loop touch a race, so it needs no lock. Whoever loses is cancelled and
waited for, and nothing outlives the call.
"""

from __future__ import annotations

import asyncio
from asyncio import CancelledError, Task
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context
from typing import Any, Protocol

from atoll.kit import clock, events
from atoll.kit.policy import Hedge


class Terms(Protocol):
    """What a race asks its policy."""

    policy: str
    settings: Hedge
    after: float
    won: int

    def take(self) -> bool:
        """Whether one more hedge may start."""
        ...

    def late(self, seconds: float) -> None:
        """Notes how long a hedged call took."""
        ...


class Racer:
    """One call that may be hedged. The primary runs in `task` itself."""

    __slots__ = ("_again", "_over", "_started", "_terms", "_winner", "call", "context", "hedges", "pending", "task")

    # The generated lines set these four, without an __init__ that would cost as much as the rest of the hedge.
    task: Task[Any]
    call: tuple[Callable[..., Awaitable[Any]], tuple[Any, ...], dict[str, Any]]
    context: Context  # the caller's: an alarm runs in that of whoever set it first
    pending: int  # cancellations that were asked for before

    def begin(self, terms: Terms, again: Callable[..., Coroutine[Any, Any, Any]]) -> None:
        """The call is late: sets up the race, and starts the first hedge if the budget allows it."""
        self._terms = terms
        self._again = again
        self._over = False
        self._started = 0.0
        self._winner: Task[Any] | None = None
        self.hedges: list[Task[Any]] = []
        self.start()

    def start(self) -> None:
        """Asks once more, if the budget allows it, and comes back for the next one after the same delay."""
        if self._over or len(self.hedges) >= self._terms.settings.extra or not self._terms.take():
            return
        loop = self.task.get_loop()
        f, args, kwargs = self.call
        self._started = self._started or clock.now() - self._terms.after
        hedge = loop.create_task(self._again(f, *args, **kwargs), context=self.context.copy())
        hedge.add_done_callback(self._finished)
        self.hedges.append(hedge)
        loop.call_later(self._terms.after, self.start)

    def _finished(self, hedge: Task[Any]) -> None:
        if self._over or self._winner is not None or hedge.cancelled() or hedge.exception() is not None:
            return
        self._winner = hedge
        self.task.cancel()

    async def primary_won(self) -> None:
        """The call itself came back first."""
        self._over = True
        if self._winner is not None:  # a hedge did at the same moment, and the cancellation was swallowed
            self.task.uncancel()
        self._note()
        await self._sweep()

    async def primary_failed(self, error: BaseException) -> Any:
        """
        The call itself ended with `error`: a hedge's answer, if one is there or comes.

        Raises:
            BaseException: `error`, where no hedge does better or the caller was cancelled.

        """
        self._over = True
        try:
            if self._winner is not None:
                alone = self.task.uncancel() <= self.pending
                if alone or not isinstance(error, CancelledError):
                    return self._won(self._winner)
            elif isinstance(error, Exception):
                winner = await self._first()
                if winner is not None:
                    return self._won(winner)
            raise error
        finally:
            self._note()
            await self._sweep()

    async def _first(self) -> Task[Any] | None:
        waiting = set(self.hedges)
        while waiting:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for hedge in done:
                if not hedge.cancelled() and hedge.exception() is None:
                    return hedge
        return None

    def _won(self, winner: Task[Any]) -> Any:
        self._terms.won += 1
        events.emit(self._terms.policy, "hedge-won")
        return winner.result()

    def _note(self) -> None:
        if self._started:
            self._terms.late(clock.now() - self._started)

    async def _sweep(self) -> None:
        for hedge in self.hedges:
            hedge.cancel()
        if self.hedges:
            await asyncio.gather(*self.hedges, return_exceptions=True)
            self.hedges.clear()


def start_hedge(terms: Terms, again: Callable[..., Coroutine[Any, Any, Any]], racer: Racer) -> None:
    """What an alarm does for a call that is late."""
    racer.begin(terms, again)
