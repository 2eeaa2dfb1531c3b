"""
How parts become one function: each part writes a few lines around the lines of the parts inside it.

`weave` is called from the outside in, so that the clock is read once for all parts that are entered at
the same moment, and returns text. `atoll.kit.generate` compiles it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from textwrap import indent
from types import ModuleType
from typing import Any, Protocol

from atoll.kit import clock
from atoll.kit.scope import scope

Inner = Callable[[], str]
State = Mapping[str, float | str]


class Part(Protocol):
    """One stability pattern at work: its state, and the lines it adds to a call."""

    kind: str
    concurrent: bool  # true where it needs an event loop, so that no sync function can have it

    def weave(self, site: Site, inner: Inner) -> str:
        """The lines of `inner()` with this part around them. They leave the answer in `result`."""
        ...

    def state(self) -> State:
        """What the part has counted; nothing is computed on the call's path for it."""
        ...


class Site:
    """
    The function being woven: its names, and what is known at the point reached.

    Args:
        asynchronous: whether it is an `async def`.
        runtime: loads `atoll.kit.aio.runtime`; called only by what needs an event loop.

    """

    def __init__(self, *, asynchronous: bool, runtime: Callable[[], ModuleType]) -> None:
        self.asynchronous = asynchronous
        self.wait = "await " if asynchronous else ""
        self.names: dict[str, Any] = {"clock": clock, "scope": scope}
        self._runtime = runtime
        self._used: dict[str, int] = {}
        self.clock_is_read = False  # so that `now` is the present for whatever comes next

    @property
    def runtime(self) -> ModuleType:
        """The module with everything that needs asyncio."""
        return self._runtime()

    def local(self, stem: str) -> str:
        """A name nobody else in this function uses."""
        count = self._used[stem] = self._used.get(stem, 0) + 1
        return stem if count == 1 else f"{stem}_{count}"

    def bind(self, stem: str, value: object) -> str:
        """A global name of the function which means `value`."""
        name = self.local(stem)
        self.names[name] = value
        return name

    def now(self) -> str:
        """The line that makes `now` the present, or nothing where it already is."""
        line = "" if self.clock_is_read else "now = clock.now()\n"
        self.clock_is_read = True
        return line


def block(text: str) -> str:
    """`text`, one level deeper."""
    return indent(text, "    ")
