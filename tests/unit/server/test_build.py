"""When a control plane that was told to end does so, and what those who follow its journal get."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest

from atoll import wire
from atoll.server import build
from atoll.server.build import _Ending, _follow
from atoll.server.settings import Settings
from atoll.store.store import Store


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


class Journal:
    """An engine that writes nothing but a journal."""

    def __init__(self, directory: Path):
        self.listeners = []
        self.parts = SimpleNamespace(store=Store(directory / "state.db"))

    def write(self, count: int) -> int:
        """So many events; the number of the last one."""
        written = self.parts.store.append([wire.Event(0, 1.0, "info", "k", "s", "s", "t")] * count)
        for event in written:
            for call in self.listeners:
                call(event)
        return written[-1].number


async def taken(following, count: int) -> list[int]:
    async with asyncio.timeout(20):
        return [(await anext(following)).number for _ in range(count)]


@pytest.fixture
def journal(tmp_path):
    made = Journal(tmp_path)
    yield made
    made.parts.store.close()


async def test_who_follows_after_a_number_gets_every_event_once_old_and_new(journal):
    last = journal.write(3000)
    following = _follow(journal, 500)
    assert await taken(following, 1) == [501]
    last = journal.write(1500)  # while the old ones are read
    assert await taken(following, last - 501) == list(range(502, last + 1))
    coming = asyncio.ensure_future(taken(following, 1))
    await asyncio.wait([coming], timeout=0.01)
    assert not coming.done()
    assert journal.write(1) == last + 1
    assert await coming == [last + 1]
    await following.aclose()
    assert journal.listeners == []


async def test_who_reads_slowly_loses_nothing(journal):
    journal.write(1)
    following = _follow(journal, 1)
    coming = asyncio.ensure_future(taken(following, 1))
    await asyncio.wait([coming], timeout=0.01)
    last = journal.write(12_000)
    assert [*await coming, *await taken(following, last - 2)] == list(range(2, last + 1))


@pytest.mark.parametrize("before", [0, 5])
async def test_who_follows_from_now_on_gets_what_comes_and_nothing_before(journal, before):
    if before:
        journal.write(before)
    following = _follow(journal, 0)
    coming = asyncio.ensure_future(taken(following, 1))
    await asyncio.wait([coming], timeout=0.01)
    last = journal.write(1500)
    assert [*await coming, *await taken(following, last - before - 1)] == list(range(before + 1, last + 1))


def test_an_open_page_goes_on_after_a_restart_but_whoever_took_its_port_meanwhile_has_learnt_nothing(tmp_path):
    places = Settings(tmp_path / "state", tmp_path)
    first, token = build._page(places)
    port = first.getsockname()[1]
    first.close()
    again, same = build._page(places)
    assert (again.getsockname()[1], same) == (port, token)
    again.close()
    with socket.create_server(("127.0.0.1", port)):
        other, another = build._page(places)
        assert other.getsockname()[1] != port
        assert another != token
        other.close()
    third, kept = build._page(places)
    assert kept == another
    third.close()
