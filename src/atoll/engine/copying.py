"""The copy of the state that is kept after every change that is done, for whoever loses the state file."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable

from atoll.engine.parts import Parts
from atoll.plan.happenings import Happening


class Copying:
    """
    Copies the state in a thread of its own: it takes as long as the disk does, and nothing may wait for that.

    `due` says whether something was done since the last copy.
    """

    def __init__(self, parts: Parts, record: Callable[[Happening], None]) -> None:
        self._parts = parts
        self._record = record
        self._task: asyncio.Task[None] | None = None
        self.due = False

    def begin(self) -> None:
        """Keep a copy where one is due; one that is being written is enough for now, and another is due after it."""
        if self.due and (self._task is None or self._task.done()):
            self.due = False
            self._task = asyncio.get_running_loop().create_task(self._keep(), name="copy of the state")

    async def close(self) -> None:
        """Wait for the copy that is being written, and for the one that is due."""
        await self._end()
        self.begin()
        await self._end()

    async def _end(self) -> None:
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _keep(self) -> None:
        try:
            await asyncio.to_thread(self._parts.store.backup)
        except (OSError, sqlite3.Error) as error:
            text = f"no copy of the state could be kept: {error}"
            self._record(Happening("error", "state", "", "system", text))
