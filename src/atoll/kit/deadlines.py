"""
The ambient deadline: how long the work at hand may still take, known to everything inside without being passed.

It travels with the context (tasks and `asyncio.to_thread` inherit it) and can only be shortened. Deadline
propagation as in the Google SRE book, chapter 22; `atoll.kit.carriers` takes it across processes.
"""

from __future__ import annotations

from math import inf, isnan
from types import TracebackType
from typing import Any, Self

from atoll.kit import clock
from atoll.kit.faults import InvalidPolicy
from atoll.kit.generate import runtime
from atoll.kit.scope import Scope, exceeded, scope, spent


def remaining() -> float:
    """Seconds that are left for the work at hand: `inf` without a deadline, 0.0 when it has passed."""
    left = scope.get()[0] - clock.now()
    return left if left > 0 else 0.0


def scopes() -> tuple[str, ...]:
    """Who set the deadlines in force here, innermost first, as "GET /basket (1.5 s)"."""
    return spent(scope.get())


def check() -> None:
    """
    Raises `DeadlineExceeded` when no time is left; for long work that can stop at certain points.

    Raises:
        DeadlineExceeded: names who spent the time.

    """
    current = scope.get()
    if current[0] <= clock.now():
        raise exceeded(current)


class Deadline:
    """
    What `deadline(...)` returns: a context manager, for `with` and for `async with`, usable once at a time.

    In a sync block nothing is interrupted; what is inside asks `remaining()` or is refused by its policy.
    """

    __slots__ = ("_at", "_entries", "_inside", "_label", "_outer", "_pending", "_seconds", "_task")

    def __init__(self, seconds: float, label: str) -> None:
        if isnan(seconds):
            raise InvalidPolicy(f"deadline {label}: {seconds} is not a number of seconds")
        self._seconds = max(0.0, seconds)
        self._label = label
        self._at = 0.0
        self._task: Any = None
        self._entries: dict[Any, float] | None = None

    def __enter__(self) -> Self:
        self._shorten(None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        scope.set(self._outer)

    async def __aenter__(self) -> Self:
        module = runtime()
        task = module.running_task()
        outer = scope.get()
        self._task = task
        self._pending = task.cancelling()
        at = clock.now() + self._seconds
        if outer[0] <= at:
            self._entries = module.enclosing(outer, task, self._label)
            self._inside = self._outer = outer
        else:
            self._shorten(task)
            self._entries = {task: at} if at == inf else module.cancel_at(at, task)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        scope.set(self._outer)
        entries = self._entries
        if entries is not None and entries.pop(self._task, None) is None:
            runtime().rang(error, self._task, self._pending, self._inside, "", attempt=False)

    def _shorten(self, task: object) -> None:
        self._outer = scope.get()
        at = clock.now() + self._seconds
        inside: Scope = (at, self._label, self._seconds, self._outer, task) if at < self._outer[0] else self._outer
        self._inside = inside
        scope.set(inside)


def deadline(seconds: float, label: str = "deadline") -> Deadline:
    """
    Everything inside the block has `seconds` at most, and less where a deadline around it is nearer.

        async with deadline(1.5, "GET /basket"):
            ...

    Args:
        seconds: from now; 0 or less means that no time is left.
        label: who sets it, for the error of whoever runs out of it.

    Raises:
        DeadlineExceeded: from an async block, when the time is up.

    """
    return Deadline(seconds, label)
