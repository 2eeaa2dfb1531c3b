"""When a control plane that was told to end does so."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from atoll.server import build
from atoll.server.build import _Ending


class House:
    """An engine with as many looks until its last change is over, and a system that runs then or does not."""

    def __init__(self, looks, *, down):
        self.looks, self.is_down = looks, down
        self.parts = SimpleNamespace(store=SimpleNamespace(open_changes=self.open_changes))

    def open_changes(self):
        self.looks -= 1
        return ["down"] if self.looks >= 0 else []

    def down(self):
        return self.is_down


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(build, "LOOK", 0.0)


async def test_it_ends_once_every_change_is_over_and_takes_everything_with_it():
    ending, house = _Ending(), House(3, down=True)
    following = asyncio.create_task(ending.follow(house))
    await asyncio.sleep(0)
    assert not following.done(), "nobody has asked"
    ending.end_requested.set()
    await asyncio.wait_for(following, 20)
    assert (ending.over, ending.asked.is_set(), house.looks) == (True, True, -1)


async def test_where_something_runs_by_then_that_is_what_is_wanted_now():
    ending, house = _Ending(), House(1, down=False)
    following = asyncio.create_task(ending.follow(house))
    ending.end_requested.set()
    async with asyncio.timeout(20):
        while ending.end_requested.is_set():  # noqa: ASYNC110 - no event tells of it
            await asyncio.sleep(0)
    assert (ending.over, ending.asked.is_set()) == (False, False)
    house.is_down = True
    ending.end_requested.set()
    await asyncio.wait_for(following, 20)
    assert ending.over
