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


async def aborted(house, services, runs=1):
    """Ask for something that never becomes ready, and take it back once it runs."""
    number = await rolling(house, services, runs)
    abort(house)
    await house.until(lambda: house.store.change(number).state == "failed", SOON)
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
        assert [r.state for r in house.store.releases("orders")] == ["removed"]

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
        number = await aborted(house, TWO_NEVER, runs=3)
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
        await aborted(house, NEVER)
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
        number = await aborted(house, DARK, runs=3)
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


OTHER = "{orders: {source: orders, run: other}}"


def states(house):
    return [(r.number, r.state, r.artifact) for r in reversed(house.store.releases("orders"))]


async def rolled_back(house):
    """Two releases, of which the second was taken back."""
    await house.settle(house.ask(ONE))
    await house.settle(house.ask(OTHER))
    assert await house.settle(house.ask("{}", "rollback")) == "done"
    assert house.texts("release")[-2:] == [
        "release 3 begins: it is release 1 again",
        "release 3 has replaced everything before it",
    ]


def test_what_a_rollback_took_back_is_not_released_by_an_apply(live):
    async def story(house):
        await rolled_back(house)
        assert await house.settle(house.ask("{orders: {source: orders, run: other, instances: 2}}")) == "done"
        assert states(house) == [
            (1, "retired", "orders-None"),
            (2, "rolled-back", "orders-other"),
            (3, "serving", "orders-None"),
        ]
        assert [n.split("-")[1] for n in house.running] == ["r3", "r3"]
        assert "taken back as release 2" in house.texts("release")[-1]

    live(story)


def test_it_is_released_by_name_and_when_it_is_another(live):
    async def story(house):
        await rolled_back(house)
        assert await house.settle(house.ask(OTHER, "deploy")) == "done"
        assert states(house)[-1] == (4, "serving", "orders-other")
        await house.settle(house.ask("{}", "rollback"))
        await house.settle(house.ask(MENDED))
        assert states(house)[-1] == (6, "serving", "orders-mended")

    live(story)


def test_what_a_person_aborted_is_not_released_by_an_apply(live):
    async def story(house):
        await house.settle(house.ask(TWO))
        await aborted(house, TWO_NEVER, runs=3)
        all_is_ready(house)
        assert await house.settle(house.ask(TWO_NEVER)) == "done"
        assert [state for _, state, _ in states(house)] == ["serving", "rolled-back"]

    live(story)


def test_after_the_end_what_served_last_comes_back_and_not_what_was_taken_back(live):
    async def story(house):
        await rolled_back(house)
        await is_down(house, house.ask("{}", "down"))
        assert await house.settle(house.ask(OTHER)) == "done"
        assert states(house)[-1] == (4, "serving", "orders-None")
        assert "release 4 begins: it is release 3 again" in house.texts("release")

    live(story)


def test_what_was_taken_back_is_released_where_nothing_else_has_ever_served(live):
    async def story(house):
        number = await rolling(house, NEVER)
        abort(house)
        await house.until(lambda: house.store.change(number).state == "failed" and not house.runtime.beings, SOON)
        all_is_ready(house)
        assert await house.settle(house.ask(NEVER)) == "done"
        assert [state for _, state, _ in states(house)] == ["rolled-back", "serving"]

    live(story)


def test_a_first_release_that_was_given_up_is_nothing_to_go_back_to(live):
    async def story(house):
        house.runtime.broken["start"] = "exec format error"
        number = house.ask(ONE)
        await house.until(lambda: house.store.change(number).state == "failed")
        assert states(house) == [(1, "failing", "orders-None")]
        mended = house.ask(MENDED)
        await house.until(lambda: house.store.change(mended).state == "rolling")
        house.runtime.broken.clear()
        assert await house.settle(mended) == "done"
        assert [state for _, state, _ in states(house)] == ["failed", "serving"]
        back = house.ask("{}", "rollback")
        await house.settle(back)
        assert house.store.change(back).reason == "orders has no earlier release that has served"

    live(story)


@pytest.mark.parametrize("ends", [False, True])
def test_one_that_serves_after_all_has_served(live, ends):
    async def story(house):
        house.runtime.broken["start"] = "exec format error"
        number = house.ask(ONE)
        await house.until(lambda: house.store.change(number).state == "failed")
        if ends:  # the control plane, and the next one knows
            house.task.cancel()
            await move_on(house)
        house.runtime.broken.clear()
        await house.until(lambda: states(house) == [(1, "serving", "orders-None")])
        assert house.texts("release").count("release 1 serves after all") == 1
        await house.until(house.engine.converged)

    live(story)
