"""
The comparer as a process: started while something is compared, again when it dies, ended when nothing is.

With sandboxes it runs in one: no network, no capability, no file but the programs it is made of and the directory of
its two sockets. It reads what services answer, and nothing that they say can reach anything through it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

import atoll
from atoll import wire
from atoll.drivers.host.bubblewrap import reading
from atoll.errors import Unavailable
from atoll.policies.comparing.messages import Findings, Orders
from atoll.unforeseen import described, report
from atoll.values.network import COPIES, SHADOW_CALLS

BACK_OFF, LONGEST_BACK_OFF = 0.5, 30.0
STEADY = 10.0
ENDING = 2.0
LONGEST_LINE = 16 * 1024 * 1024


class ComparerProcess:
    """Meets `ports.Comparer`. *directory* is where the sockets are; *sandboxed* says that this host has sandboxes."""

    def __init__(self, directory: Path, log: Path, *, sandboxed: bool) -> None:
        self._directory = directory
        self._log = log
        self._sandboxed = sandboxed
        self._heard: Callable[[Findings], None] = lambda _: None
        self._orders = Orders()
        self._process: asyncio.subprocess.Process | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self.problem = ""

    def listen(self, heard: Callable[[Findings], None]) -> None:
        """Tell *heard* what is found."""
        self._heard = heard

    def compare(self, orders: Orders) -> None:
        """Compare these services and nothing else from now on."""
        if orders == self._orders:
            return
        self._orders = orders
        if not orders.tasks:
            self._end()
        elif self._keeping is None:
            self._keeping = asyncio.get_running_loop().create_task(self._keep(self._ending), name="comparer")
        else:
            self._tell()

    async def close(self) -> None:
        """End it."""
        self._orders = Orders()
        self._end()
        await _over(self._ending)

    def _end(self) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
            self._keeping, self._ending = None, self._keeping

    def _tell(self) -> None:
        process = self._process
        if process is not None and process.stdin is not None and not process.stdin.is_closing():
            process.stdin.write(wire.encode(self._orders) + b"\n")

    async def _keep(self, before: asyncio.Task[None] | None) -> None:
        """Run it, again and again, later each time that it ends soon; the one before it must have let the socket go."""
        await _over(before)
        loop, pause = asyncio.get_running_loop(), BACK_OFF
        while True:
            begun = loop.time()
            try:
                await self._run()
            except (OSError, Unavailable, ValueError, msgspec.DecodeError) as error:
                self.problem = f"the comparer cannot work: {error}"
            except Exception as error:  # noqa: BLE001 - whatever it is: nobody else would start it again
                self.problem = f"the comparer cannot work: {described(error)}"
                report("taking what the comparer found failed", error)
            else:
                self.problem = f"the comparer has ended (see {self._log})"
            pause = BACK_OFF if loop.time() - begun > STEADY else min(LONGEST_BACK_OFF, 2 * pause)
            await asyncio.sleep(pause)

    async def _run(self) -> None:
        self._directory.mkdir(mode=0o700, exist_ok=True)
        (self._directory / COPIES).unlink(missing_ok=True)
        with self._log.open("wb") as log:
            self._process = process = await asyncio.create_subprocess_exec(
                *self._command(),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                limit=LONGEST_LINE,
                start_new_session=True,
            )
        try:
            self._tell()
            assert process.stdout is not None  # noqa: S101 - it was asked for
            while line := await process.stdout.readline():
                self.problem = ""
                self._heard(wire.decode(line, Findings))
        finally:
            self._process = None
            await _ended(process)

    def _command(self) -> Iterator[str]:
        if self._sandboxed:
            path = os.environ.get("PYTHONPATH", "")
            programs = (sys.prefix, sys.base_prefix, str(Path(atoll.__file__).parent.parent), *path.split(os.pathsep))
            there = filter(os.path.isdir, programs)
            yield from reading(there, str(self._directory), {"PYTHONPATH": path} if path else {})
        sockets = ("--copies", str(self._directory / COPIES), "--calls", str(self._directory / SHADOW_CALLS))
        yield from (sys.executable, "-m", "atoll.comparer", *sockets)


async def _over(task: asyncio.Task[None] | None) -> None:
    if task is not None:
        await asyncio.wait({task})


async def _ended(process: asyncio.subprocess.Process) -> None:
    """
    Close its input, which ends it; make it end where that does not.

    Who is cancelled here has no time for it, and stays cancelled: nobody would cancel it a second time.
    """
    if process.stdin is not None:
        process.stdin.close()
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ENDING):
                await process.wait()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
