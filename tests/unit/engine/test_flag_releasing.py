"""A flag's way to users, through the whole engine, in virtual time: who gets what, when, and why."""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager
from types import MappingProxyType
from urllib.parse import quote

import pytest

from atoll import wire
from atoll.errors import Unavailable
from atoll.kit.flags import revived, shares
from atoll.model.system import Rollout, Step
from atoll.operations.flags import FlagDesk
from atoll.plan.flag_release import FlagRelease, dark
from atoll.ports import FlagCalls
from atoll.store.flags import Author, Version, as_text, content

META = {"owner": "team-a", "kind": "release", "expires": "2099-01-31"}
OFF = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "off", "metadata": META}
STEPS = (Step(10, 10.0), Step(50, 10.0))
RPS = 200


@asynccontextmanager
async def traffic(house, fails=MappingProxyType({}), name="new"):
    """
    What the proxies would count: four instances answer, and say what each request got while it is released.

    *fails* has the share of the answers with a variant that fail; it may change meanwhile.
    """
    chance = random.Random(7)
    totals: dict[tuple[str, str], list[int]] = {}

    async def count():
        while True:
            await asyncio.sleep(0.25)
            flag = house.store.flags.current().document()["flags"].get(name)
            if flag is None or house.store.flags.releases.find(name) is None:
                continue
            for variant, share in (shares(flag) or {}).items():
                for ip in ("10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"):
                    total = totals.setdefault((ip, variant), [0, 0])
                    for _ in range(round(RPS / 4 * share / 100 / 4)):
                        total[chance.random() < fails.get(variant, 0.0)] += 1
            house.mesh.counted_by_variant = tuple(
                FlagCalls("mesh", ip, 8080, quote(name, safe=""), variant, *total)
                for (ip, variant), total in totals.items()
            )

    task = asyncio.create_task(count())
    try:
        yield totals
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def write(house, **flags):
    author = Author(0.0, "ada", "sets", "")
    house.store.flags.write(content({"flags": flags}), author, before=house.store.flags.current().etag)


def begin(house, name="new", before=OFF, rest="", bake=10.0):
    rollout = Rollout(strategy="canary", steps=STEPS, most=900.0, bake=bake)
    release = FlagRelease(name, "on", rest, rollout, as_text(before), dark(0, 0.0, "it is time"))
    house.store.flags.releases.begin(release, "ada", "it is time", 0.0)
    house.engine.poke()


def state(house, name="new"):
    release = house.store.flags.releases.find(name)
    return release.progress.state if release is not None else None


def flag(house, name="new"):
    return house.store.flags.current().document()["flags"][name]


def steps(house):
    """The percentages that were served, in order."""
    versions = reversed(house.store.flags.history(100))
    return [shares(v.document()["flags"]["new"]).get("on", 0.0) for v in versions if "new" in v.document()["flags"]]


def past(house, name="new"):
    return [(release.number, release.state) for release in house.store.flags.releases.views(f"flag:{name}")]


def ask(house, signal, who="ada", why="", name="new"):
    house.store.ask(f"flag:{name}", signal, who, why, 0.0)
    house.engine.poke()


def test_a_variant_goes_to_everybody_where_the_judge_is_content(live):
    async def story(house):
        write(house, new=OFF)
        async with traffic(house):
            begin(house)
            await house.until(lambda: past(house) == [(1, "released")], seconds=1800)
        assert steps(house) == [0, 10, 50, 100]
        deeds = [(v.author.actor, v.author.deed) for v in house.store.flags.history(3)]
        assert deeds == [
            ("atoll", "gives on of new to 100%"),
            ("atoll", "gives on of new to 50%"),
            ("atoll", "gives on of new to 10%"),
        ]
        assert house.store.flags.history(3)[2].author.reason == "it is time"
        assert "odds" in house.store.flags.history(1)[0].author.reason
        told = house.texts("release")
        assert told[0].startswith("release 1 of on is growing (atoll): it is time")
        assert any("is baking" in text for text in told)
        assert any("can tell errors of" in text for text in told)

    live(story)


def test_what_hurts_is_put_back_at_once_and_harms_few(live):
    async def story(house):
        write(house, new=OFF)
        async with traffic(house, {"on": 0.2}) as totals:
            begin(house)
            await house.until(lambda: past(house) != [(1, "rolling")], seconds=600)
        assert past(house) == [(1, "rolled-back")]
        assert flag(house) == OFF
        assert sum(failed for _, failed in totals.values()) < 25
        assert any("(judge): canary" in text for text in house.texts("release"))
        rows = house.store._db.execute("SELECT actor FROM transitions WHERE signal = 'abort'").fetchall()
        assert rows == [("judge",)]

    live(story)


def test_the_proxies_count_what_answers_say_while_a_flag_is_released_and_only_then(live):
    async def story(house):
        await house.settle(house.ask("{web: {source: web}}"))
        write(house, new=OFF)
        assert not house.engine.blueprint.counting
        begin(house)
        await house.until(lambda: house.engine.blueprint.counting)
        assert house.mesh.published[-1].counting
        house.store.ask("flag:new", "abort", "ada", "", 0.0)
        await house.until(lambda: not house.engine.blueprint.counting)
        assert not house.mesh.published[-1].counting

    live(story)


def test_it_is_counted_while_it_bakes_and_not_afterwards(live):
    async def story(house):
        await house.settle(house.ask("{web: {source: web}}"))
        write(house, new=OFF)
        async with traffic(house):
            begin(house)
            await house.until(lambda: state(house) == "baking", seconds=1800)
            await asyncio.sleep(5)
            assert house.engine.blueprint.counting
            await house.until(lambda: past(house) == [(1, "released")])
            await house.until(lambda: not house.engine.blueprint.counting)
            assert not house.mesh.published[-1].counting

    live(story)


def test_what_fails_clearly_while_it_bakes_is_taken_back(live):
    async def story(house):
        write(house, new=OFF)
        async with traffic(house, fails := {}) as totals:
            begin(house)
            await house.until(lambda: state(house) == "baking", seconds=1800)
            fails["on"] = 1.0
            await house.until(lambda: state(house) is None)
        assert (past(house), flag(house)) == ([(1, "rolled-back")], OFF)
        newest = house.store.flags.current().author
        assert (newest.actor, newest.deed) == ("judge", "takes new back")
        (why,) = (text for text in house.texts("release") if "is aborting" in text)
        assert "(judge): " in why
        assert why.endswith("s with all of the traffic; what it replaced failed 0.00% before")
        assert sum(failed for _, failed in totals.values()) < 8 * RPS

    live(story)


@pytest.mark.parametrize(("share", "seconds"), [(1.0, 3), (0.2, 20), (0.05, 110)])
def test_a_short_or_mild_blip_while_it_bakes_is_let_pass(live, share, seconds):
    async def story(house):
        write(house, new=OFF)
        async with traffic(house, fails := {}):
            begin(house, bake=120.0)
            await house.until(lambda: state(house) == "baking", seconds=1800)
            fails["on"] = share
            await asyncio.sleep(seconds)
            fails["on"] = 0.0
            await house.until(lambda: past(house) == [(1, "released")])

    live(story)


def test_nobody_who_asks_while_it_bakes_is_no_reason_to_take_it_back(live):
    async def story(house):
        write(house, new=OFF)
        async with traffic(house, {"on": 1.0}):
            begin(house)
            await house.until(lambda: state(house) == "canary")
            ask(house, "promote")
            await house.until(lambda: state(house) == "baking")
        await house.until(lambda: past(house) == [(1, "released")])

    live(story)


def test_while_it_bakes_a_new_control_plane_knows_what_the_old_variant_failed(live):
    async def story(house):
        write(house, new=OFF)
        async with traffic(house, fails := {"on": 0.1, "off": 0.1}):
            begin(house, bake=300.0)
            await house.until(lambda: state(house) == "baking", seconds=3600)
            fails["on"] = 0.18  # less than twice as many
            await house.sleep()
            house.move_in()
            await house.wake()
            await asyncio.sleep(120)
            assert state(house) == "baking"
            fails["on"] = 1.0
            await house.until(lambda: past(house) == [(1, "rolled-back")], seconds=15)
        (why,) = (text for text in house.texts("release") if "is aborting" in text)
        usual = float(why.split("what it replaced failed ")[1].removesuffix("% before"))
        assert 8 < usual < 13

    live(story)


def test_without_data_it_holds_and_is_never_passed(live):
    async def story(house):
        write(house, new=OFF)
        begin(house)
        await house.until(lambda: state(house) == "holding", seconds=300)
        await asyncio.sleep(200)
        assert (state(house), steps(house)) == ("holding", [0, 10])

    live(story)


def test_what_was_held_for_want_of_requests_has_a_minute_again_when_it_is_resumed(live):
    async def story(house):
        write(house, new=OFF)
        begin(house)
        await house.until(lambda: state(house) == "holding", seconds=300)
        await asyncio.sleep(200)
        ask(house, "resume")
        await house.until(lambda: state(house) == "canary")
        await asyncio.sleep(50)
        assert state(house) == "canary"
        await house.until(lambda: state(house) == "holding", seconds=20)

    live(story)


def test_data_of_another_flag_or_of_one_side_only_is_none(live):
    async def story(house):
        write(house, new=OFF, other=OFF)
        async with traffic(house, name="other"):
            begin(house, "other")
            begin(house)
            await house.until(lambda: state(house) == "holding", seconds=300)

    live(story)


def test_a_person_holds_goes_on_promotes_and_takes_back(live):
    async def story(house):
        write(house, new=OFF)
        begin(house)
        await house.until(lambda: state(house) == "canary")
        ask(house, "hold")
        await house.until(lambda: state(house) == "holding")
        ask(house, "resume")
        await house.until(lambda: state(house) == "canary")
        ask(house, "promote", why="I know it")
        await house.until(lambda: state(house) == "baking")
        assert shares(flag(house))["on"] == 100
        ask(house, "abort", "bob", "no, it is wrong")
        await house.until(lambda: state(house) is None)
        assert (past(house), flag(house)) == ([(1, "rolled-back")], OFF)
        newest = house.store.flags.current().author
        assert (newest.actor, newest.deed, newest.reason) == ("bob", "takes new back", "no, it is wrong")
        assert any("(ada): I know it" in text for text in house.texts("release"))
        ask(house, "abort", "bob", "again")
        await house.until(lambda: house.store.asked() == ())

    live(story)


def test_an_abort_puts_back_the_percentage_there_was_and_all_else_stays(live):
    async def story(house):
        before = OFF | {"targeting": {"if": [{"var": "staff"}, "on", {"fractional": [["on", 5], ["off", 95]]}]}}
        write(house, new=before, other=OFF)
        begin(house, before=before)
        await house.until(lambda: state(house) == "canary")
        assert flag(house)["targeting"]["if"][:2] == [{"var": "staff"}, "on"]
        assert shares(flag(house)) == {"on": 10.0, "off": 90.0}
        write(house, new=flag(house), other=OFF | {"defaultVariant": "on"})
        ask(house, "abort")
        await house.until(lambda: state(house) is None)
        assert (flag(house), flag(house, "other")["defaultVariant"]) == (before, "on")

    live(story)


def test_an_abort_is_not_over_before_the_flag_is_what_it_was(live, monkeypatch):
    async def story(house):
        write(house, new=OFF)
        begin(house)
        await house.until(lambda: state(house) == "canary")
        served, full = house.store.flags.write, True

        def sometimes(*given, **named):
            if full:
                raise Unavailable("the disk is full")
            return served(*given, **named)

        monkeypatch.setattr(house.store.flags, "write", sometimes)
        ask(house, "abort")
        await house.until(lambda: state(house) == "aborting")
        await asyncio.sleep(20)
        assert (state(house), shares(flag(house))["on"]) == ("aborting", 10)
        full = False
        await house.until(lambda: state(house) is None)
        assert flag(house) == OFF

    live(story)


def test_a_kill_ends_it_and_what_comes_back_is_what_there_was_before(live):
    async def story(house):
        write(house, new=OFF)
        desk = FlagDesk(house.store, house.engine.record, lambda: 0.0)
        begin(house)
        await house.until(lambda: state(house) == "canary")
        receipt = await desk.change(wire.FlagChange("new", "kill", "bob", "it hurts"))
        assert receipt.words[-1] == "its release of on is over"
        await house.until(lambda: state(house) is None)
        assert (past(house), flag(house)["metadata"]["killed"]) == ([(1, "rolled-back")], True)
        assert revived(house.store.flags.current().document(), "new")["flags"]["new"] == OFF

    live(story)


KILLED = OFF | {"metadata": META | {"killed": True}, "targeting": {"if": [True, "off"]}}


@pytest.mark.parametrize("change", [{}, {"new": KILLED}])
def test_a_flag_that_is_killed_or_gone_behind_its_back_ends_it(live, change):
    async def story(house):
        write(house, new=OFF)
        begin(house)
        await house.until(lambda: state(house) == "canary")
        write(house, **change)
        await house.until(lambda: state(house) is None)
        assert past(house) == [(1, "rolled-back")]
        assert house.store.flags.current().document()["flags"] == change

    live(story)


def test_the_guard_takes_it_out_for_a_moment_and_puts_it_in_again(live):
    async def story(house):
        write(house, new=OFF)
        async with traffic(house) as totals:
            begin(house)
            await house.until(lambda: state(house) == "canary")
            await asyncio.sleep(6)
            for (_, variant), total in totals.items():
                total[1] += 3 if variant == "on" else 0  # a hiccup of all that is new
            await house.until(lambda: house.store.flags.releases.find("new").progress.paused)
            assert flag(house) == OFF
            await house.until(lambda: steps(house) == [0, 10, 0, 10])

    live(story)


def test_a_new_control_plane_goes_on_where_it_was(live):
    async def story(house):
        write(house, new=OFF)
        async with traffic(house):
            begin(house)
            await house.until(lambda: state(house) == "canary")
            await house.sleep()
            house.move_in()
            assert state(house) == "canary"
            await house.wake()
            await house.until(lambda: past(house) == [(1, "released")], seconds=1800)
        assert steps(house) == [0, 10, 50, 100]

    live(story)


def test_what_a_dead_control_plane_had_no_time_to_write_is_written(live):
    async def story(house):
        write(house, new=OFF)
        begin(house)
        await house.until(lambda: state(house) == "canary")
        await house.sleep()
        house.move_in()
        write(house, new=OFF)  # as if it had died between the transition and the document
        await house.wake()
        await house.until(lambda: shares(flag(house)).get("on") == 10.0)

    live(story)


def test_a_document_that_stays_as_it_is_is_not_read_again_in_every_turn(live, monkeypatch):
    read, reads = Version.document, []

    def counted(version):
        reads.append(version.number)
        return read(version)

    async def story(house):
        write(house, new=OFF)
        begin(house)
        await house.until(lambda: state(house) == "holding", seconds=300)
        monkeypatch.setattr(Version, "document", counted)
        await asyncio.sleep(60)
        assert reads == []

    live(story)


def test_names_that_no_header_holds_are_found_all_the_same(live):
    async def story(house):
        write(house, **{"näw, very": OFF})
        async with traffic(house, name="näw, very"):
            begin(house, "näw, very")
            await house.until(lambda: house.store.flags.releases.find("näw, very").progress.step == 1)

    live(story)
