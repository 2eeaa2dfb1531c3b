"""The copy of the state: when one is kept, and that nobody waits for it."""

import asyncio
import sqlite3
import threading
from types import SimpleNamespace

import pytest

from atoll.engine.copying import Copying

WAIT = 20


class Disk:
    """A copy takes until `go` is set. `begun` counts them."""

    def __init__(self):
        self.go, self.begun = threading.Event(), 0

    def backup(self):
        self.begun += 1
        assert self.go.wait(WAIT)


def parts(disk):
    return SimpleNamespace(store=disk)


def play(story):
    async def main():
        async with asyncio.timeout(WAIT):
            await story()

    asyncio.run(main())


def test_one_is_kept_where_one_is_due():
    async def story():
        disk = Disk()
        disk.go.set()
        copying = Copying(parts(disk), print)
        copying.begin()
        await copying.close()
        assert disk.begun == 0
        copying.due = True
        copying.begin()
        assert not copying.due
        await copying.close()
        assert disk.begun == 1

    play(story)


def test_nobody_waits_for_a_slow_disk_and_what_was_done_meanwhile_is_copied_after_it():
    async def story():
        disk = Disk()
        copying = Copying(parts(disk), print)
        copying.due = True
        copying.begin()
        while not disk.begun:  # noqa: ASYNC110 - a thread begins it
            await asyncio.sleep(0)
        copying.due = True
        copying.begin()
        copying.begin()
        assert copying.due
        closing = asyncio.create_task(copying.close())
        await asyncio.sleep(0)
        assert disk.begun == 1
        assert not closing.done()
        disk.go.set()
        await closing
        assert disk.begun == 2
        assert not copying.due

    play(story)


@pytest.mark.parametrize("error", [OSError("No space left on device"), sqlite3.OperationalError("disk I/O error")])
def test_one_that_cannot_be_kept_is_told(error):
    class Full:
        def backup(self):
            raise error

    async def story():
        told = []
        copying = Copying(parts(Full()), told.append)
        copying.due = True
        await copying.close()
        assert [(each.level, each.text) for each in told] == [("error", f"no copy of the state could be kept: {error}")]

    play(story)
