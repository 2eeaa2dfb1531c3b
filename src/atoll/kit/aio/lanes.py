"""Work in an event loop that nobody waits for, a few pieces at a time."""

from __future__ import annotations

from asyncio import AbstractEventLoop, Task
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from functools import partial
from typing import Any

from atoll.kit.aio.alarms import running_task


class Job:
    """
    A piece of work.

    Args:
        run: what to do; it must raise nothing but its cancellation.
        lost: called instead of, or after, a `run` that was not let to its end.
        context: to run it in.

    """

    __slots__ = ("context", "lost", "run", "task", "withdrawn")

    def __init__(
        self, run: Callable[[], Coroutine[Any, Any, None]], lost: Callable[[], None], context: Context
    ) -> None:
        self.run = run
        self.lost = lost
        self.context = context
        self.task: Task[None] | None = None
        self.withdrawn = False

    def withdraw(self) -> None:
        """Nobody wants it any more: it is not begun, or cancelled."""
        self.withdrawn = self.task is None or not self.task.done()
        if self.task is not None:
            self.task.cancel()


class Lane:
    """
    The work of one event loop. Used in its thread only.

    Args:
        loop: the loop.
        width: how many pieces at a time.

    """

    def __init__(self, loop: AbstractEventLoop, width: int) -> None:
        self.loop = loop
        self._width = width
        self._waiting: deque[Job] = deque()
        self._running: set[Job] = set()
        self._launching = False

    def put(self, job: Job) -> None:
        """Begins `job` when the running task next waits, or later if the lane is full."""
        self._waiting.append(job)
        # Not a task at once: one costs ten times as much, and an eager one would run in the caller's time.
        self.loop.call_soon(self._launch)

    def drop(self) -> None:
        """Loses everything that waits."""
        while self._waiting:
            self._waiting.popleft().lost()

    def abandon(self) -> None:
        """Loses everything, because the loop was closed over it."""
        self.drop()
        for job in list(self._running):
            job.lost()
        self._running.clear()

    def _launch(self) -> None:
        if self._launching:  # an eager task came to its end in the lines below: they go on with the next
            return
        self._launching = True
        while self._waiting and len(self._running) < self._width:
            job = self._waiting.popleft()
            if job.withdrawn:
                job.lost()
                continue
            self._running.add(job)
            job.task = self.loop.create_task(self._do(job), context=job.context)
            job.task.add_done_callback(partial(self._done, job))
        self._launching = False

    async def _do(self, job: Job) -> None:
        await job.run()
        self._running.discard(job)
        if running_task().cancelling():  # the loop is ending, and the work swallowed that
            self.drop()
        else:
            # In here and not in a callback: a loop that is shut down cancels the tasks it finds, and none made later.
            self._launch()

    def _done(self, job: Job, task: Task[None]) -> None:
        if not task.cancelled() and task.exception() is None:
            return
        self._running.discard(job)
        job.lost()
        if job.withdrawn and task.cancelling() == 1:
            self._launch()
        else:
            self.drop()  # the loop is ending
