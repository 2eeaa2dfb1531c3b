"""Hear of the end of any process the moment it happens, whoever started it, see pidfd_open(2)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress

from atoll.drivers.host import proc
from atoll.drivers.host.records import Process


class Watch:
    """Calls back on the event loop, once per process, with its wait status where it was our child (else None)."""

    def __init__(self) -> None:
        self._descriptors: dict[Process, int] = {}

    def add(self, process: Process, ended: Callable[[int | None], None]) -> None:
        """Call *ended* when that very process ends; soon if it is gone already."""
        if process in self._descriptors:
            return
        loop = asyncio.get_running_loop()
        try:
            descriptor = os.pidfd_open(process.pid)
        except OSError:
            loop.call_soon(ended, None)
            return
        if proc.start_time(process.pid) not in {None, process.started}:  # another one has its number by now
            os.close(descriptor)
            loop.call_soon(ended, None)
            return
        self._descriptors[process] = descriptor
        loop.add_reader(descriptor, self._fire, process, ended)

    def collect(self, process: Process) -> int | None:
        """The wait status of a process whose end was seen before it was heard of; nobody is called then."""
        if process not in self._descriptors:
            return None
        self._drop(process)
        return _reap(process.pid)

    def close(self) -> None:
        """Watch nothing any more."""
        for process in list(self._descriptors):
            self._drop(process)

    def _fire(self, process: Process, ended: Callable[[int | None], None]) -> None:
        self._drop(process)
        ended(_reap(process.pid))

    def _drop(self, process: Process) -> None:
        descriptor = self._descriptors.pop(process)
        asyncio.get_running_loop().remove_reader(descriptor)
        os.close(descriptor)


def _reap(pid: int) -> int | None:
    with suppress(ChildProcessError):
        reaped, status = os.waitpid(pid, os.WNOHANG)
        return status if reaped else None
    return None
