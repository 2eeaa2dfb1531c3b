"""The comparer's process, where the real one would need luck to be caught; see tests/contracts/test_comparer.py."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from atoll.drivers import comparer
from atoll.drivers.comparer import ComparerProcess
from atoll.policies.comparing.canonical import Contract
from atoll.policies.comparing.messages import Orders, Task

ORDERS = Orders((Task("orders", "orders-r2", 5.0, 4, 2.0, Contract()),))


class Lingering(ComparerProcess):
    """Its process says at once that it has nothing more to say, and does not end."""

    started = 0

    def _command(self) -> Iterator[str]:
        self.started += 1
        yield from (sys.executable, "-c", "import os, time; os.close(1); time.sleep(600)")


async def test_who_ends_it_while_its_process_is_ending_has_ended_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ending: asyncio.Future[asyncio.subprocess.Process] = asyncio.get_running_loop().create_future()
    ended = comparer._ended

    async def waiting(process: asyncio.subprocess.Process) -> None:
        if not ending.done():
            ending.set_result(process)
        await ended(process)

    monkeypatch.setattr(comparer, "ENDING", 60.0)
    monkeypatch.setattr(comparer, "_ended", waiting)
    one = Lingering(tmp_path / "sockets", tmp_path / "log", sandboxed=False)
    one.compare(ORDERS)
    process = await asyncio.wait_for(ending, 20)
    try:
        await asyncio.wait_for(one.close(), 20)
    finally:
        if one._ending is not None:  # against what has lost its cancellation, another one helps
            one._ending.cancel()
    assert process.returncode is not None
    assert one.started == 1
