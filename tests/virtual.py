"""A loop whose clock only moves when everybody waits: nothing takes time, and a starved machine changes nothing."""

from __future__ import annotations

import asyncio
import selectors


class _Selector(selectors.DefaultSelector):
    now = 1_000.0

    def select(self, timeout=None):
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "everybody waits for what never happens"
            self.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """
    Sockets between its own tasks work: what one has sent is there for the other before any time passes.

    What is given to a thread is done at once, without one: no time passes while it works either.
    """

    def __init__(self):
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self):
        return self._virtual.now

    def run_in_executor(self, executor, func, *args):
        done = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - it is handed on
            done.set_exception(error)
        return done
