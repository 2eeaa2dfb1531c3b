"""
Time-outs by the thousand: one loop timer per event loop and length, for the oldest entry.

Entries of the same length expire in the order they were made, so a dict (ordered, and compacted by itself as
entries come and go) is the whole queue: arming is one insertion, disarming one removal. Semantics are those
of `asyncio.timeout`: the task is cancelled, and the cancellation is taken back with `uncancel`.
"""

from __future__ import annotations

import sys
from asyncio import AbstractEventLoop, CancelledError, Task, TimerHandle, current_task
from collections.abc import Callable
from typing import Any
from weakref import WeakValueDictionary

from atoll.kit import clock, events
from atoll.kit.errors import AttemptTimeout
from atoll.kit.scope import Scope, exceeded

Entries = dict[Any, float]

running_task: Callable[[AbstractEventLoop], Task[Any] | None]
if sys.version_info < (3, 12):
    # asyncio.current_task became C in 3.12; before, it costs half a pipeline. 3.11 will not change any more.
    from asyncio.tasks import _current_tasks  # type: ignore[attr-defined]

    running_task = _current_tasks.get
else:
    running_task = current_task


def _cancel(task: Task[Any]) -> None:
    task.cancel()


class Alarms:
    """
    Who is to be woken when, in the order of time. `entries` maps a key to its moment.

    When a moment has passed the entry is removed and `act(key)` called: whoever finds its entry
    missing knows that it was woken.
    """

    __slots__ = ("_act", "_loop", "entries", "handle")

    def __init__(self, loop: AbstractEventLoop, act: Callable[[Any], None] = _cancel) -> None:
        self.entries: Entries = {}
        self.handle: TimerHandle | None = None
        self._loop = loop
        self._act = act

    def start(self, at: float) -> None:
        """Has the loop look at the entries at `at`."""
        self.handle = self._loop.call_later(max(0.0, at - clock.now()), self._ring)

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


class Table(dict[AbstractEventLoop, Alarms]):
    """The alarms of one length, by event loop."""

    __slots__ = ("__weakref__",)


_tables: WeakValueDictionary[float, Table] = WeakValueDictionary()


def table_for(seconds: float) -> Table:
    """The table that all time-outs of this length share."""
    table = _tables.get(seconds)
    if table is None:
        table = _tables[seconds] = Table()
    return table


def alarms_in(table: Table, loop: AbstractEventLoop, act: Callable[[Any], None] = _cancel) -> Alarms:
    """The alarms of `loop`, made now; those of closed loops are dropped on the way."""
    for other in [each for each in table if each.is_closed()]:
        table.pop(other, None)
    alarms = table[loop] = Alarms(loop, act)
    return alarms


# Deadlines at one exact moment, shared by every task that lives under them.
_ambient: dict[tuple[AbstractEventLoop, float], Alarms] = {}


def cancel_at(loop: AbstractEventLoop, at: float, task: Task[Any]) -> Entries:
    """Has `task` cancelled at the moment `at`; returns the entries to remove it from."""
    alarms = _ambient.get((loop, at))
    if alarms is None or alarms.handle is None:
        for key in [each for each in _ambient if each[0].is_closed()]:
            del _ambient[key]
        alarms = _ambient[loop, at] = Alarms(loop)
        alarms.start(at)
        loop.call_later(max(0.0, at - clock.now()), _ambient.pop, (loop, at), None)
    alarms.entries[task] = at
    return alarms.entries


def enclosing(outer: Scope, task: Task[Any], loop: AbstractEventLoop, policy: str) -> Entries:
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
    return cancel_at(loop, outer[0], task)


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


def no_task() -> RuntimeError:
    """The error for async calls outside of a task, which nobody could cancel."""
    return RuntimeError("a policy with a time-out must be awaited inside of an asyncio task")
