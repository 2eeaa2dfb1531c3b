"""What becomes of errors that nobody foresaw: the traceback goes to the log, one sentence to the journal, once each."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable
from typing import Any

from atoll.plan.happenings import Happening
from atoll.unforeseen import described, leaf
from atoll.values.printable import printable

ADVICE = "this is a bug of Atoll: report it, with the traceback in logs/control-plane.txt of the state directory"

_Place = tuple[type[BaseException], frozenset[tuple[str, int]]]
"""A kind of error and the lines it came through. An error that is raised again and again is told once."""


class InternalErrors:
    """Told by the loop's exception handler, which is `handle`. `told` are the sentences so far."""

    def __init__(self, record: Callable[[Happening], None]) -> None:
        self._record = record
        self._known: set[_Place] = set()
        self.told: list[str] = []

    def handle(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Take what nobody caught, see `asyncio.loop.set_exception_handler`."""
        error = context.get("exception")
        if not isinstance(error, Exception):
            loop.default_exception_handler(context)
            return
        place = _place(error)
        if place in self._known:
            return
        self._known.add(place)
        loop.default_exception_handler(context)
        text = printable(f"{context['message']}: {described(error)}")
        self.told.append(text)
        self._record(Happening("error", "internal", "", "control plane", f"{text} ({ADVICE})"))


def _place(error: BaseException) -> _Place:
    first = leaf(error)
    lines = traceback.walk_tb(first.__traceback__)
    return type(first), frozenset((frame.f_code.co_filename, line) for frame, line in lines)
