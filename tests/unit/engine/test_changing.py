"""Changes that are taken back before they are through: by the end of the system, and by a person."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

ONE = "{orders: {source: orders}}"
NEVER = "{orders: {source: orders, run: never, health: {startup: 1h}}}"
TWO = "{orders: {source: orders, instances: 2}}"
TWO_NEVER = "{orders: {source: orders, instances: 2, run: never, health: {startup: 1h}}}"
MENDED = "{orders: {source: orders, instances: 2, run: mended}}"
DARK = "{orders: {source: orders, instances: 2, run: never, health: {startup: 1h}, release: {strategy: canary}}}"
SOON = 15.0
"""Seconds; far less than a release has to become ready."""


class Unready:
    """A prober for which nothing new is ready; what was ready before stays so."""

    def __init__(self, house, *known):
        self.house, self.known = house, set(known)

    async def probe(self, address, check):
        return "" if address.ip in self.known else "it does not listen"


def nothing_new_is_ready(house):
    known = [i.address.ip for w in house.engine.blueprint.workloads.values() for i in w.instances]
    house.engine._probing._prober = Unready(house, *known)


def all_is_ready(house):
    house.engine._probing._prober = house.prober


async def rolling(house, services, runs=1):
    """Ask for something that never becomes ready, and wait until it runs."""
    nothing_new_is_ready(house)
    number = house.ask(services)
    await house.until(lambda: house.store.change(number).state == "rolling" and len(house.running) == runs)
    return number


async def being_built(house, services):
    """Ask for something whose build does not end, and wait until it is built."""
    house.builder.seconds = 3600
    number = house.ask(services)
    await house.until(lambda: house.store.change(number).state == "building")
    return number


async def is_down(house, number, seconds=SOON):
    await house.until(lambda: house.store.change(number).state == "done", seconds)
    assert house.runtime.beings == {}
    assert house.engine.blueprint.workloads == {}
    assert house.store.open_changes() == ()


def abort(house, service="orders", reason="it never listens"):
    house.store.ask(service, "abort", "ada", reason, 1.0)
    house.engine.poke()


def test_the_end_does_not_wait_for_a_first_release_that_never_gets_ready(live):
    async def story(house):
        first = await rolling(house, NEVER)
        down = house.ask("{}", "down")
        await is_down(house, down)
        assert (house.store.change(first).state, house.store.change(first).reason) == (
            "failed",
            f"cancelled: the system was taken down (change {down})",
        )
        assert [r.state for r in house.store.releases("orders")] == ["rolled-back"]

    live(story)


def test_the_end_cancels_a_build_and_never_rolls_it_out(live):
    async def story(house):
        await house.settle(house.ask(ONE))
        building = await being_built(house, MENDED)
        queued, down = house.ask(TWO), house.ask("{}", "down")
        await is_down(house, down)
        assert {house.store.change(n).state for n in (building, queued)} == {"failed"}
        assert "the system was taken down" in house.store.change(queued).reason
        assert [r.number for r in house.store.releases("orders")] == [1]

    live(story)


def test_the_end_of_what_was_never_there_opens_no_gateway(live):
    async def story(house):
        await being_built(house, ONE)
        await is_down(house, house.ask("{}", "down"))
        assert house.mesh.published == []
        assert house.store.system() == (0, None)

    live(story)


def test_a_build_that_fails_of_being_cancelled_does_not_change_how_it_ended(live, monkeypatch):
    async def story(house):
        async def build(source, run, *, progress):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise OSError("npm was killed") from None

        monkeypatch.setattr(house.builder, "build", build)
        building = house.ask(ONE)
        await house.until(lambda: house.store.change(building).state == "building")
        await is_down(house, house.ask("{}", "down"))
        assert house.store.change(building).reason == "cancelled: the system was taken down (change 2)"

    live(story)


def test_what_is_asked_for_after_the_end_comes_after_it(live):
    async def story(house):
        await house.settle(house.ask(ONE))
        down, again = house.ask("{}", "down"), house.ask(TWO)
        assert await house.settle(again) == "done"
        assert house.store.change(down).state == "done"
        assert len(house.running) == 2

    live(story)


def test_two_who_take_the_system_down_are_both_told_that_it_is(live):
    async def story(house):
        await house.settle(house.ask(ONE))
        one, other = house.ask("{}", "down"), house.ask("{}", "down")
        await is_down(house, other)
        assert house.store.change(one).state == "done"

    live(story)


def test_the_end_waits_for_what_took_effect_after_it_was_asked_for(live):
    """Its own list is of the services that were there when it was asked for."""

    async def story(house):
        await house.settle(house.ask("{orders: {source: orders}, catalog: {source: catalog}}"))
        await is_down(house, house.ask("{}", "down", ("orders",)))

    live(story)


@pytest.mark.parametrize("written", [False, True])
@pytest.mark.parametrize("method", ["cancel", "move", "take_effect", "save", "append"])
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("building", [False, True])
def test_a_control_plane_that_dies_while_it_cancels_leaves_the_end_to_the_next(live, method, times, written, building):
    async def story(house):
        await house.settle(house.ask(TWO))
        if building:
            number = await being_built(house, TWO_NEVER)
        else:
            number = await rolling(house, TWO_NEVER, runs=3)
        die_at(house, method, times, written=written)
        down = house.ask("{}", "down")
        await house.until(lambda: house.dead or house.store.change(down).state == "done", SOON)
        if house.dead:
            await move_on(house)
        await is_down(house, down)
        assert house.store.change(number).state == "failed"
        assert "the system was taken down" in house.store.change(number).reason
        assert "never" not in [r.artifact for r in house.store.releases("orders") if r.state == "serving"]

    live(story)


def die_at(house, method, times, *, written):
    """As kill -9 would: at the n-th call from now, before or after it is written down, nothing more is done."""
    inner, calls = getattr(house.store, method), []
    house.dead = False

    def dying(*args, **named):
        calls.append(method)
        if house.dead or len(calls) == times:
            result = inner(*args, **named) if written and not house.dead else None
            house.dead = True
            house.task.cancel()
            raise asyncio.CancelledError(result)
        return inner(*args, **named)

    setattr(house.store, method, dying)


async def move_on(house):
    """Another control plane over what the dead one left."""
    await asyncio.gather(house.task, return_exceptions=True)
    await house.engine.close()
    house.store.close()
    house.move_in()
    house.dead = False
    await house.wake()


def test_a_person_takes_a_rollout_back_and_the_old_release_never_stops_serving(live):
    async def story(house):
        await house.settle(house.ask(TWO))
        number = await rolling(house, TWO_NEVER, runs=3)
        abort(house)
        await house.until(lambda: house.store.change(number).state == "failed", SOON)
        all_is_ready(house)
        await house.until(house.engine.converged, SOON)
        assert house.store.change(number).reason == "orders: release 2 was aborted by ada: it never listens"
        assert {n.split("-")[1] for n in house.running} == {"r1"}
        assert [(r.number, r.state) for r in house.store.releases("orders")] == [(2, "rolled-back"), (1, "serving")]
        assert house.store.asked() == ()
        assert await house.settle(house.ask(MENDED)) == "done"

    live(story)


def test_a_first_release_that_is_taken_back_leaves_nothing_and_a_mended_one_goes_ahead(live):
    async def story(house):
        number = await rolling(house, NEVER)
        abort(house)
        await house.until(lambda: house.store.change(number).state == "failed", SOON)
        await house.until(lambda: not house.runtime.beings, SOON)
        assert not house.engine.converged()
        all_is_ready(house)
        assert await house.settle(house.ask(MENDED)) == "done"
        assert len(house.running) == 2

    live(story)


def test_a_person_cancels_a_build_and_what_is_queued_goes_ahead(live):
    async def story(house):
        await house.settle(house.ask(ONE))
        building = await being_built(house, MENDED)
        abort(house)
        await house.until(lambda: house.store.change(building).state == "failed", SOON)
        house.builder.seconds = 0.1
        assert house.store.change(building).reason == "orders: cancelled, aborted by ada: it never listens"
        assert await house.settle(house.ask(TWO)) == "done"
        assert {n.split("-")[1] for n in house.running} == {"r1"}

    live(story)


def test_an_abort_of_what_is_through_is_told_to_be_too_late(live):
    async def story(house):
        await house.settle(house.ask(ONE))
        abort(house)
        await house.until(lambda: house.store.asked() == ())
        await house.until(lambda: "abort by ada came too late" in house.texts("release"))
        assert house.running == ["orders-r1-1"]

    live(story)


def test_a_dark_release_that_is_taken_back_before_it_is_ready_fails_its_change(live):
    async def story(house):
        await house.settle(house.ask(TWO))
        number = await rolling(house, DARK, runs=3)
        abort(house)
        await house.until(lambda: house.store.change(number).state == "failed", SOON)
        assert house.store.change(number).reason == "orders: release 2 was given up: it never listens"

    live(story)


def test_an_abort_is_one_transaction(live):
    async def story(house):
        await house.settle(house.ask(TWO))
        number = await rolling(house, TWO_NEVER, runs=3)
        before = house.store.pins()
        house.store._blame = partial(broken)
        house.foreseen = ("died here",)
        abort(house)
        await house.until(lambda: house.engine.problems, SOON)
        assert house.store.pins() == before
        assert [one.signal for one in house.store.asked()] == ["abort"]
        del house.store._blame
        await house.until(lambda: house.store.change(number).state == "failed", 60)

    live(story)


def broken(*_):
    raise RuntimeError("died here")
