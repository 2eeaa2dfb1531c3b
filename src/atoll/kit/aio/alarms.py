"""
Time-outs by the thousand: one loop timer per event loop and length, for the oldest entry.

Entries of the same length expire in the order they were made, so a dict (ordered, and compacted by itself as
entries come and go) is the whole queue: arming is one insertion, disarming one removal. Semantics are those
of `asyncio.timeout`: the task is cancelled, and the cancellation is taken back with `uncancel`.
"""

from __future__ import annotations

import sys
from asyncio import AbstractEventLoop, CancelledError, Task, TimerHandle, current_task, get_running_loop
from collections.abc import Callable
from functools import partial
from threading import get_ident
from typing import Any
from weakref import WeakValueDictionary

from atoll.kit import clock, events
from atoll.kit.faults import AttemptTimeout
from atoll.kit.scope import Scope, exceeded

Entries = dict[Any, float]

_running: Callable[[AbstractEventLoop], Task[Any] | None]
if sys.version_info < (3, 12):
    # current_task() became C in 3.12; before, it and the running loop's check for forks cost half a
    # pipeline. 3.11 will not change any more, so its private name is safe to use.
    from asyncio.tasks import _current_tasks  # type: ignore[attr-defined]

    _running = _current_tasks.get
else:
    _running = current_task


def running_task() -> Task[Any]:
    """
    The task that is running in this thread.

    Raises:
        RuntimeError: there is none, so nobody could be cancelled.

    """
    task = _running(get_running_loop())
    if task is None:
        raise RuntimeError("a policy with a time-out or hedge must be awaited inside of an asyncio task")
    return task


def _cancel(task: Task[Any]) -> None:
    task.cancel()


class Alarms:
    """
    Who is to be woken when, in the order of time. `entries` maps a key to its moment.

    When a moment has passed the entry is removed and `act(key)` called: whoever finds its entry
    missing knows that it was woken.
    """

    __slots__ = ("_act", "entries", "handle", "loop", "task")

    def __init__(self, loop: AbstractEventLoop, act: Callable[[Any], None] = _cancel) -> None:
        self.entries: Entries = {}
        self.handle: TimerHandle | None = None
        self.loop = loop
        self.task = partial(_running, loop)  # the task that runs in the loop at this moment, or None
        self._act = act

    def start(self, at: float) -> None:
        """Has the loop look at the entries at `at`."""
        self.handle = self.loop.call_later(max(0.0, at - clock.now()), self._ring)

    def _ring(self) -> None:
        self.handle = None
        now = clock.now()
        for key, at in list(self.entries.items()) if len(self.entries) < 8 else self._due(now):  # noqa: PLR2004 - for few, a copy is cheapest
            if at > now:
                break
            del self.entries[key]
            self._act(key)
        if self.entries:
            self.start(next(iter(self.entries.values())))

    def _due(self, now: float) -> list[tuple[Any, float]]:
        due = []
        for key, at in self.entries.items():
            if at > now:
                break
            due.append((key, at))
        return due


class Table(dict[int, Alarms]):
    """The alarms of one length, by the thread whose event loop they belong to."""

    __slots__ = ("__weakref__",)


_tables: WeakValueDictionary[float, Table] = WeakValueDictionary()


def table_for(seconds: float) -> Table:
    """The table that all time-outs of this length share."""
    table = _tables.get(seconds)
    if table is None:
        table = _tables[seconds] = Table()
    return table


def find_alarms(table: Table, act: Callable[[Any], None] = _cancel) -> tuple[Alarms, Task[Any]]:
    """
    The alarms of the event loop that runs in this thread, and the running task.

    Those of closed loops, and those this loop had in another thread, are dropped on the way.

    Raises:
        RuntimeError: no loop or no task is running.

    """
    task = running_task()
    loop = task.get_loop()
    alarms = None
    for thread, each in list(table.items()):
        if each.loop is loop:
            alarms = each
        if each.loop is loop or each.loop.is_closed():
            table.pop(thread, None)
    alarms = table[get_ident()] = alarms or Alarms(loop, act)
    return alarms, task


# Deadlines at one exact moment, shared by every task that lives under them.
_ambient: dict[tuple[AbstractEventLoop, float], Alarms] = {}


def cancel_at(at: float, task: Task[Any]) -> Entries:
    """Has `task` cancelled at the moment `at`; returns the entries to remove it from."""
    loop = task.get_loop()
    alarms = _ambient.get((loop, at))
    if alarms is None or alarms.handle is None:
        for key in [each for each in _ambient if each[0].is_closed()]:
            del _ambient[key]
        alarms = _ambient[loop, at] = Alarms(loop)
        alarms.start(at)
        loop.call_later(max(0.0, at - clock.now()), _ambient.pop, (loop, at), None)
    alarms.entries[task] = at
    return alarms.entries


def enclosing(outer: Scope, task: Task[Any], policy: str) -> Entries:
    """
    The entries that enforce the scope around a call whose own time-out would come later.

    Where this very task is already going to be cancelled by that scope, nothing is armed.

    Raises:
        DeadlineExceeded: it has already ended.

    """
    if outer[0] <= clock.now():
        events.emit(policy, "timeout", "no time was left")
        raise exceeded(outer, policy=policy)
    if outer[4] is task:
        return {task: outer[0]}
    return cancel_at(outer[0], task)


def rang(
    error: BaseException | None, task: Task[Any], pending: int, inside: Scope, policy: str, *, attempt: bool
) -> None:
    """
    Settles a time-out whose alarm rang: takes its cancellation back.

    Raises:
        AttemptTimeout: the time-out ended an attempt.
        DeadlineExceeded: it was the deadline of the whole.

    """
    if task.uncancel() > pending or not is_cancellation(error):
        return
    if attempt:
        events.emit(policy, "timeout", f"attempt took more than {inside[2]:.3g} s", inside[2])
        raise AttemptTimeout(f"{policy}: an attempt took longer than {inside[2]:.3g} s", policy=policy) from error
    events.emit(policy, "timeout", inside[1], inside[2])
    raise exceeded(inside, policy=policy) from error


def is_cancellation(error: BaseException | None) -> bool:
    """Whether a task was cancelled, rather than failed."""
    return isinstance(error, CancelledError)
