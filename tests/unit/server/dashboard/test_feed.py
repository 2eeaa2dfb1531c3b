from __future__ import annotations

import asyncio
from dataclasses import replace

import msgspec
import pytest

from atoll import wire
from atoll.plan.releasing import Progress, State
from atoll.server.dashboard.feed import Feed, Frame, live, take_frame


class Looks:
    """Counts looks; a look takes as long as `gate` is closed."""

    def __init__(self):
        self.count = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.events = ()
        self.releases = b"[]"
        self.graph = b"{}"

    async def __call__(self, number: int) -> Frame:
        self.count += 1
        await self.gate.wait()
        return Frame(number, b"{}", self.releases, self.graph, self.events)


def event(number: int) -> wire.Event:
    return wire.Event(number, 0.0, "info", "ready", "orders", "orders", "is ready")


async def hear(page, count: int) -> list[tuple[str, object]]:
    """The next *count* messages of a page."""
    heard = []
    for _ in range(count):
        name, data, *rest = (await anext(page)).decode().split("\n")
        assert rest == ["", ""]
        heard.append((name.removeprefix("event: "), msgspec.json.decode(data.removeprefix("data: "))))
    return heard


async def test_all_who_wait_share_one_look():
    looks = Looks()
    looks.gate.clear()
    feed = Feed(looks, 60.0)
    pages = [asyncio.ensure_future(feed.after(0)) for _ in range(50)]
    looks.gate.set()
    frames = await asyncio.gather(*pages)
    assert looks.count == 1
    assert len(set(map(id, frames))) == 1


async def test_nobody_looks_while_nobody_asks():
    looks = Looks()
    feed = Feed(looks, 0.0)
    await feed.after(0)
    for _ in range(100):
        await asyncio.sleep(0)
    assert looks.count == 1


async def test_who_leaves_in_the_middle_of_a_look_does_not_hold_up_the_others():
    looks = Looks()
    looks.gate.clear()
    feed = Feed(looks, 0.0)
    first, second = asyncio.ensure_future(feed.after(0)), asyncio.ensure_future(feed.after(0))
    await asyncio.sleep(0)
    first.cancel()
    looks.gate.set()
    assert (await second).number == 1


async def test_a_look_that_fails_ends_one_page_and_the_next_looks_again():
    looks = Looks()

    async def fails_once(number: int) -> Frame:
        frame = await looks(number)
        if looks.count == 1:
            raise OSError("the disk is gone")
        return frame

    feed = Feed(fails_once, 0.0)
    with pytest.raises(OSError, match="the disk is gone"):
        await feed.after(0)
    assert (await feed.after(0)).number == 1


async def test_a_new_page_is_not_shown_what_was_true_long_ago():
    looks = Looks()
    feed = Feed(looks, 0.0)
    old = await feed.after(0)
    assert (await feed.after(0)).number > old.number


async def test_a_page_hears_status_graph_and_the_newest_events_first():
    looks = Looks()
    looks.events = (event(1), event(2))
    page = live(Feed(looks, 0.0))
    names = [name for name, _ in await hear(page, 4)]
    assert names == ["status", "releases", "graph", "journal"]


async def test_a_page_then_hears_only_what_is_new():
    looks = Looks()
    looks.events = (event(1),)
    page = live(Feed(looks, 0.0))
    await hear(page, 4)
    assert [name for name, _ in await hear(page, 2)] == ["status", "status"]
    looks.events = (event(1), event(2), event(3))
    heard = await hear(page, 2)
    assert [e["number"] for e in heard[1][1]] == [2, 3]
    looks.graph = b"[1]"
    assert ("graph", [1]) in await hear(page, 2)
    looks.releases = b"[2]"
    assert ("releases", [2]) in await hear(page, 2)


async def test_a_page_that_does_not_read_keeps_nothing_here_and_skips_to_the_newest():
    looks = Looks()
    feed = Feed(looks, 0.0)
    slow, quick = live(feed), live(feed)
    await hear(slow, 3)
    for number in range(1, 500):
        looks.events = tuple(event(n) for n in range(max(1, number - 199), number + 1))
        await hear(quick, 1)
    heard = await hear(slow, 2)
    assert [name for name, _ in heard] == ["status", "journal"]
    assert len(heard[1][1]) <= 200


async def test_a_release_on_its_way_is_shown(scene):
    surface = scene.open()
    scene.steady()
    scene.pins["orders"] = replace(scene.pins["orders"], progress=Progress(2, State.CANARY, 0, 5, said="0 of 12 bad"))
    (view,) = wire.decode((await take_frame(surface, 1)).releases, tuple[wire.ProgressView, ...])
    assert (view.service, view.state, view.weight, view.evidence) == ("orders", "canary", 5, "0 of 12 bad")


async def test_a_frame_is_what_the_surface_shows(scene):
    surface = scene.open()
    scene.steady()
    scene.store.append([event(0)])
    frame = await take_frame(surface, 3)
    assert frame.number == 3
    assert wire.decode(frame.status, wire.StatusView).system == "shop"
    assert "gateway" in wire.decode(frame.graph, wire.GraphView).nodes
    assert [e.text for e in frame.events] == ["is ready"]
    assert scene.looks == 1
