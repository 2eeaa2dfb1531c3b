from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from itertools import pairwise

import pytest

from atoll.engine import engine as module
from atoll.plan.blueprint import Stage
from atoll.plan.happenings import Happening
from atoll.plan.observed import MeshSeen, Phase

ONE = "{orders: {source: orders}}"
TWO = "{orders: {source: orders, instances: 2}}"
DARK = "{orders: {source: orders, instances: 2, run: better, release: {strategy: canary}}}"
WEB = "{source: web, instances: 2, calls: [orders]}"
CALLED = f"{{web: {WEB}, orders: {{source: orders}}}}"
ALONE = "{web: {source: web, instances: 2, run: better}}"
NEXT = "{orders: {source: orders, instances: 2, run: better}}"


def test_an_applied_file_becomes_true(live):
    async def story(house):
        assert await house.settle(house.ask(TWO)) == "done"
        assert house.running == ["orders-r1-1", "orders-r1-2"]
        assert house.texts("ready") == ["is ready and gets traffic"] * 2
        assert house.texts("change") == ["change 1 (apply) done"]
        assert [c[0] for c in house.runtime.calls] == ["create"] * 2 + ["start"] * 2

    live(story)


def test_a_release_replaces_and_a_rollback_brings_back(live):
    async def story(house):
        await house.settle(house.ask(TWO))
        assert await house.settle(house.ask(NEXT)) == "done"
        assert {n.split("-")[1] for n in house.running} == {"r2"}
        assert await house.settle(house.ask(NEXT, "rollback")) == "done"
        assert house.store.pins()["orders"].stable.artifact == "orders-None"
        assert {n.split("-")[1] for n in house.running} == {"r3"}

    live(story)


def serving(house, service):
    return [name for name in house.running if name.startswith(f"{service}-")]


def test_a_removed_service_goes_after_those_that_were_made_to_call_it(live):
    async def story(house):
        assert await house.settle(house.ask(CALLED)) == "done"
        number = house.ask(ALONE, names=("web", "orders"))
        await house.until(lambda: "web-r2-3" in house.running, every=0.01)
        while serving(house, "web") != ["web-r2-3", "web-r2-4"]:
            assert serving(house, "orders") == ["orders-r1-1"]
            called = {call.service for call in house.engine.blueprint.workloads["web"].calls}
            assert called == {"orders"}
            await asyncio.sleep(0.01)
        assert await house.settle(number) == "done"
        assert house.running == ["web-r2-3", "web-r2-4"]
        assert house.store.system()[1].retained == ()
        assert "orders" not in house.store.pins()
        assert [t for t in house.texts("release") if "needs it" in t] == ["nothing needs it any more, so it goes"]

    live(story)


def test_a_service_under_another_name_takes_the_route_over_once_it_serves(live):
    async def story(house):
        await house.settle(house.ask("{shop: {source: web, routes: [/]}}", names=("shop",)))
        house.runtime.broken["start"] = "exec format error"
        renamed = "{store: {source: web, run: better, routes: [/]}}"
        number = house.ask(renamed, names=("store", "shop"))
        await house.until(lambda: house.store.change(number).state == "failed")
        assert [*house.engine.blueprint.workloads] == ["shop", "store"], "of two with one route the first one answers"
        house.runtime.broken.clear()
        better = renamed.replace("better", "best")
        assert await house.settle(house.ask(better, names=("store",))) == "done"
        await house.until(lambda: serving(house, "shop") == [])
        assert [*house.engine.blueprint.workloads] == ["store"]
        assert house.store.system()[1].retained == ()

    live(story)


def test_a_release_waits_for_the_new_service_that_it_is_the_first_to_call(live):
    async def story(house):
        await house.settle(house.ask("{web: {source: web, instances: 2}}", names=("web",)))
        house.prober.words["/late"] = "connection refused"
        late = "{web: {source: web, instances: 2, calls: [api]}, api: {source: api, health: /late}}"
        number = house.ask(late, names=("web", "api"))
        await house.until(lambda: house.engine.observed.readiness.get("web", {}).get("web-r2-3") is not None)
        await asyncio.sleep(5)
        stages = {i.name: i.stage for i in house.engine.blueprint.workloads["web"].instances}
        assert stages == {"web-r1-1": Stage.SERVE, "web-r1-2": Stage.SERVE, "web-r2-3": Stage.START}
        house.prober.words.clear()
        assert await house.settle(number) == "done"
        assert set(house.running) == {"web-r2-3", "web-r2-4", "api-r1-1"}

    live(story)


def test_a_release_whose_new_callee_fails_fails_with_it_and_the_old_one_goes_on(live):
    async def story(house):
        await house.settle(house.ask("{web: {source: web, instances: 2}}", names=("web",)))
        house.prober.words["/never"] = "connection refused"
        never = "{web: {source: web, calls: [api]}, api: {source: api, health: {path: /never, startup: 5s}}}"
        number = house.ask(never, names=("web", "api"))
        await house.until(lambda: house.store.change(number).state == "failed")
        assert "web: release 2 was given up: it calls api, whose first release was given up" in (
            house.store.change(number).reason
        )
        assert "web-r1-1" in house.running

    live(story)


def test_where_the_new_release_fails_the_old_one_has_whom_it_calls_also_after_a_restart(live):
    async def story(house):
        await house.settle(house.ask(CALLED))
        house.runtime.broken["start"] = "exec format error"
        assert await house.settle(house.ask(ALONE, names=("web", "orders"))) == "failed"
        assert set(house.running) == {"web-r1-1", "web-r1-2", "orders-r1-1"}
        assert house.store.system()[1].retained == ("orders",)
        await house.sleep()
        house.move_in()
        await house.wake()
        house.runtime.broken.clear()
        house.runtime.end("orders-r1-1", code=3)
        await house.until(lambda: serving(house, "orders") == ["orders-r1-2"])  # it is looked after as ever
        assert await house.settle(house.ask(ALONE, "deploy", ("web",))) == "done"
        assert house.store.system()[1].retained == ()
        await house.until(lambda: serving(house, "orders") == [])

    live(story)


def test_everything_comes_down(live):
    async def story(house):
        await house.settle(house.ask(TWO))
        assert await house.settle(house.ask("{}", "down")) == "done"
        assert house.runtime.beings == {}
        assert house.engine.blueprint.workloads == {}

    live(story)


def test_deploy_makes_a_release_although_nothing_changed(live):
    async def story(house):
        await house.settle(house.ask(ONE))
        assert await house.settle(house.ask(ONE, "deploy", ("orders",))) == "done"
        assert house.running == ["orders-r2-2"]

    live(story)


def test_an_apply_of_the_same_releases_nothing(live):
    async def story(house):
        await house.settle(house.ask(ONE))
        await house.settle(house.ask(ONE))
        assert house.running == ["orders-r1-1"]

    live(story)


def test_a_failed_build_changes_nothing(live):
    async def story(house):
        await house.settle(house.ask(ONE))
        before, house.builder.broken = house.store.system(), "SyntaxError"
        number = house.ask(NEXT)
        assert await house.settle(number) == "failed"
        assert house.store.change(number).reason == "orders: SyntaxError"
        assert house.store.system() == before
        assert house.running == ["orders-r1-1"]

    live(story)


def test_a_failed_release_leaves_what_serves(live):
    async def story(house):
        await house.settle(house.ask(TWO))
        house.runtime.broken["start"] = "exec format error"
        number = house.ask(NEXT)
        assert await house.settle(number) == "failed"
        assert "release 2 was given up" in house.store.change(number).reason
        assert house.running == ["orders-r1-1", "orders-r1-2"]

    live(story)


def test_a_refused_configuration_brings_the_system_before_back(live):
    async def story(house):
        await house.settle(house.ask(ONE))
        house.mesh.refusal = "bad route"
        number = house.ask(NEXT)
        await house.until(lambda: house.store.change(number).state == "failed")
        house.mesh.refusal = ""
        await house.until(house.engine.converged)
        assert "Envoy refused the configuration" in house.store.change(number).reason
        assert house.store.system()[1].services["orders"].run is None

    live(story)


def test_a_refused_change_brings_a_service_back_that_it_removed(live):
    async def story(house):
        await house.settle(house.ask("{orders: {source: orders}, catalog: {source: catalog}}"))
        house.mesh.refusal = "bad route"
        number = house.ask(ONE, names=("catalog",))
        await house.until(lambda: house.store.change(number).state == "failed")
        house.mesh.refusal = ""
        await house.until(house.engine.converged)
        assert {n.split("-")[0] for n in house.running} == {"orders", "catalog"}

    live(story)


def test_a_crash_is_told_and_replaced(live):
    async def story(house):
        await house.settle(house.ask(ONE))
        house.runtime.end("orders-r1-1", code=3)
        await house.until(lambda: house.running == ["orders-r1-2"])
        assert house.texts("crashed") == ["has failed: it exited with code 3"]

    live(story)


def test_a_silent_runtime_stops_nothing_and_proxies_that_hang_are_not_waited_for(live):
    async def story(house):
        await house.settle(house.ask(ONE))
        calls = list(house.runtime.calls)
        house.runtime.silent = True
        await asyncio.sleep(30)
        house.runtime.silent, house.mesh.silent = False, True
        await house.until(lambda: house.texts("mesh"))
        assert house.texts("mesh") == ["a proxy does not answer"]
        assert house.runtime.calls == calls

    live(story)


def test_it_is_told_which_proxy_does_not_answer_and_how_it_ended(live):
    async def story(house):
        await house.settle(house.ask(ONE))
        house.mesh.away = "the gateway proxy does not answer"
        house.mesh.ended = {"gateway": "the gateway proxy (process 7) has ended; another one is started"}
        await house.until(lambda: len(house.texts("mesh")) == 2)
        assert house.texts("mesh") == [house.mesh.ended["gateway"], house.mesh.away]
        house.mesh.away = ""
        await house.until(lambda: house.texts("mesh")[-1] == "the proxies answer")

    live(story)


def test_a_new_control_plane_adopts_everything(live):
    async def story(house):
        await house.settle(house.ask(TWO))
        calls = list(house.runtime.calls)
        await house.sleep()
        house.move_in()
        house.mesh.seen = MeshSeen()
        await house.wake()
        await house.until(house.engine.converged)
        await asyncio.sleep(120)
        assert [c for c in house.runtime.calls if c not in calls and c[0] != "close"] == []
        assert house.texts("started") == []

    live(story)


def test_a_change_that_was_building_is_built_again(live):
    async def story(house):
        number = house.ask(ONE)
        house.store.move(number, "building")
        assert await house.settle(number) == "done"

    live(story)


def test_deaf_proxies_do_not_make_the_engine_spin(live):
    async def story(house):
        await house.settle(house.ask(ONE))
        house.mesh.deaf = True
        house.ask(TWO)
        before = house.mesh.offered
        await asyncio.sleep(20)
        assert 1 <= house.mesh.offered - before < 60

    live(story)


def test_a_state_that_cannot_be_written_holds_still_and_goes_on_later(live):
    async def story(house):
        await house.settle(house.ask(TWO))
        house.store._db.execute("VACUUM")
        number = house.ask(NEXT)
        pages = house.store._db.execute("PRAGMA page_count").fetchone()[0]
        house.store._db.execute(f"PRAGMA max_page_count = {pages}")
        await house.until(lambda: house.engine.problems)
        assert "the state cannot be written" in house.engine.problems[0]
        built = Counter(house.builder.built)["orders"]
        await asyncio.sleep(10)
        assert Counter(house.builder.built)["orders"] - built <= 12, "it is not built again and again"
        assert len(house.running) >= 2
        house.store._db.execute("PRAGMA max_page_count = 1000000")
        assert await house.settle(number) == "done"
        assert house.engine.problems == ()

    live(story)


def test_what_is_not_removed_the_first_time_is_tried_again_later(live):
    async def story(house):
        await house.settle(house.ask(ONE))
        house.runtime.broken["remove"] = "device or resource busy"
        house.ask("{}", "down")
        await house.until(lambda: house.texts("remove-failed"))
        await asyncio.sleep(60)
        tries = [c for c in house.runtime.calls if c[0] == "remove"]
        assert 4 <= len(tries) <= 12, "held back longer each time"
        assert house.texts("remove-failed")[0] == "device or resource busy (mend it)"
        del house.runtime.broken["remove"]
        await house.until(lambda: not house.runtime.beings)

    live(story)


def test_a_lost_artifact_says_how_to_get_it_back(live):
    async def story(house):
        house.builder.gone = True
        house.ask(ONE)
        await house.until(lambda: house.texts("start-failed"))
        assert house.texts("start-failed")[0].endswith("(build it again: atoll deploy orders)")
        assert all(b.phase is not Phase.RUNNING for b in house.runtime.beings.values())

    live(story)


class Trouble:
    """An error that nobody foresaw, for as long as it lasts; notes when it came."""

    def __init__(self):
        self.lasts = True
        self.at = []

    def __call__(self, *_, **__):
        self.at.append(asyncio.get_running_loop().time())
        raise KeyError("orders")

    def before(self, does):
        def either(*given, **named):
            return self() if self.lasts else does(*given, **named)

        return either

    def after(self, does):
        def both(*given, **named):
            done = does(*given, **named)
            return self() if self.lasts else done

        return both


BROKE_OFF = "a turn of the engine broke off: KeyError: 'orders'"


def test_a_turn_that_breaks_off_is_told_once_and_tried_again_later_each_time(live, monkeypatch):
    async def story(house):
        await house.settle(house.ask(TWO))
        house.foreseen = (BROKE_OFF,)
        trouble = Trouble()
        monkeypatch.setattr(house.engine.changing, "step", trouble.before(house.engine.changing.step))
        house.runtime.end("orders-r1-1", code=3)
        await house.until(lambda: len(trouble.at) == 8)
        assert [round(b - a) for a, b in pairwise(trouble.at)] == [1, 2, 4, 8, 16, 30, 30]
        (told,) = house.texts("internal")
        assert told.startswith(BROKE_OFF)
        assert told.endswith("logs/control-plane.txt of the state directory)")
        assert house.engine.problems[0].startswith("a turn of the engine broke off (KeyError: 'orders'): what runs")
        assert house.running == ["orders-r1-2"]
        assert len(house.texts("crashed")) == 1
        trouble.lasts = False
        await house.until(lambda: house.running == ["orders-r1-2", "orders-r1-3"])
        assert (len(house.texts("crashed")), len(house.texts("internal"))) == (1, 1)
        assert house.engine.problems == ()

    live(story)


def test_a_good_turn_resets_the_back_off(live, monkeypatch):
    async def story(house):
        house.foreseen = (BROKE_OFF,)
        trouble = Trouble()
        monkeypatch.setattr(house.engine, "_design", trouble.before(house.engine._design))
        await house.until(lambda: len(trouble.at) == 4)
        trouble.lasts = False
        await house.until(lambda: house.engine.problems == ())
        trouble.lasts = True
        await house.until(lambda: len(trouble.at) == 6)
        assert round(trouble.at[5] - trouble.at[4]) == 1

    live(story)


def test_nothing_that_happens_hastens_the_turn_after_one_that_broke_off(live, monkeypatch):
    async def story(house):
        house.foreseen = (BROKE_OFF,)
        trouble = Trouble()
        monkeypatch.setattr(house.engine.flag_releasing, "look", trouble)
        await house.until(lambda: len(trouble.at) == 5)
        for _ in range(100):
            house.engine.poke()
            await asyncio.sleep(0.1)
        assert len(trouble.at) == 5
        monkeypatch.undo()
        assert await house.settle(house.ask(ONE)) == "done"

    live(story)


def test_what_was_written_down_and_not_noted_is_found_by_the_next_turn(live, monkeypatch):
    async def story(house):
        await house.settle(house.ask(TWO))
        house.foreseen = (BROKE_OFF,)
        trouble = Trouble()
        monkeypatch.setattr(house.store, "transit", trouble.after(house.store.transit))
        number = house.ask(DARK, "deploy")
        await house.until(lambda: trouble.at)
        trouble.lasts = False
        assert await house.settle(number) == "done"
        assert house.store.pin("orders").progress.state == "dark"
        assert len(trouble.at) == 1

    live(story)


def test_a_target_that_could_not_be_told_of_is_the_target(live, monkeypatch):
    async def story(house):
        await house.settle(house.ask(ONE))
        house.foreseen = (BROKE_OFF,)
        trouble = Trouble()
        monkeypatch.setattr(module, "design_happenings", trouble.before(module.design_happenings))
        house.ask(TWO)
        await house.until(lambda: trouble.at)
        assert house.store.blueprint() == house.engine.blueprint
        await house.until(lambda: len(house.running) == 2)
        trouble.lasts = False
        await house.until(house.engine.converged)
        assert house.store.blueprint() == house.engine.blueprint

    live(story)


def test_what_cannot_be_written_into_the_journal_does_not_end_every_turn(live):
    async def story(house):
        house.foreseen = ("IntegrityError",)
        house.engine.record(Happening("info", "x", "", "", None))
        assert await house.settle(house.ask(ONE)) == "done"
        assert "the journal cannot be written: IntegrityError" in house.texts("internal")[0]

    live(story)


def test_a_change_that_breaks_off_has_failed_and_is_not_tried_for_ever(live, monkeypatch):
    async def story(house):
        await house.settle(house.ask(ONE))
        house.foreseen = ("change 2 broke off: KeyError: 'orders'",)
        trouble = Trouble()
        monkeypatch.setattr(house.builder, "build", trouble)
        number = house.ask(NEXT)
        assert await house.settle(number) == "failed"
        assert house.store.change(number).reason.startswith("KeyError: 'orders' (this is a bug of Atoll")
        assert len(trouble.at) == 1
        assert house.running == ["orders-r1-1"]

    live(story)


def test_an_action_that_breaks_off_is_held_back_and_tried_again(live, monkeypatch):
    async def story(house):
        await house.settle(house.ask(ONE))
        house.foreseen = ("Remove orders-r1-1 broke off: KeyError: 'orders'",)
        trouble = Trouble()
        monkeypatch.setattr(house.runtime, "remove", trouble)
        house.ask("{}", "down")
        await house.until(lambda: trouble.at)
        await asyncio.sleep(60)
        assert 4 <= len(trouble.at) <= 12
        assert set(house.texts("remove-failed")) == {"KeyError: 'orders'"}
        monkeypatch.undo()
        await house.until(lambda: not house.runtime.beings)

    live(story)


def test_an_internal_error_fails_a_test_that_does_not_expect_it(live, monkeypatch):
    async def story(house):
        trouble = Trouble()
        monkeypatch.setattr(house.engine, "_design", trouble)
        await house.until(lambda: trouble.at)

    with pytest.raises(AssertionError, match="an internal error"):
        live(story)


def test_an_engine_that_is_cancelled_ends(live):
    async def story(house):
        await house.settle(house.ask(ONE))
        house.task.cancel()
        await house.until(house.task.done)
        assert house.task.cancelled()
        await house.engine.prepare()
        house.task = asyncio.create_task(house.engine.run())

    live(story)


def test_a_copy_of_the_state_is_kept_when_nothing_happens_any_more(live):
    async def story(house):
        copy = house.path.with_suffix(".db.backup")
        await house.settle(house.ask(ONE))
        await house.until(copy.exists)
        first = copy.stat().st_ino
        await house.settle(house.ask(TWO))
        await house.until(lambda: copy.stat().st_ino != first)

    live(story)


def test_a_control_plane_that_was_killed_before_it_kept_a_copy_leaves_that_to_the_next_one(live):
    async def story(house):
        copy = house.path.with_suffix(".db.backup")
        await house.settle(house.ask(ONE))
        await house.until(copy.exists)
        copy.unlink()
        await house.sleep()
        assert not copy.exists()
        house.move_in()
        await house.wake()
        await house.until(copy.exists)

    live(story)


def test_a_copy_that_cannot_be_kept_is_told_and_stops_nothing(live, monkeypatch):
    async def story(house):
        def full():
            raise OSError("No space left on device")

        monkeypatch.setattr(house.store, "backup", full)
        assert await house.settle(house.ask(ONE)) == "done"
        await house.until(
            lambda: house.texts("state") == ["no copy of the state could be kept: No space left on device"]
        )
        assert await house.settle(house.ask(TWO)) == "done"

    live(story)


def test_a_state_file_that_is_deleted_is_written_anew_and_that_is_told(live):
    async def story(house):
        await house.settle(house.ask(ONE))
        for file in house.path.parent.glob("state.db*"):
            file.unlink()
        await house.until(lambda: house.texts("state"))
        assert "it was written anew, with everything that was in it" in house.texts("state")[0]
        assert await house.settle(house.ask(TWO)) == "done"
        await house.sleep()
        house.move_in()
        await house.wake()
        assert house.store.last_change().number == 2
        assert len(house.texts("state")) <= 1

    live(story)


def test_another_file_in_the_place_of_the_state_holds_everything_and_says_so(live):
    async def story(house):
        await house.settle(house.ask(ONE))
        house.path.rename(house.path.with_name("moved"))
        house.path.write_text("somebody's")
        await house.until(lambda: house.engine.problems)
        assert "another file is in the place of" in house.engine.problems[0]
        house.path.unlink()
        await house.until(lambda: not house.engine.problems)
        assert house.running == ["orders-r1-1"]

    live(story)


def test_one_that_ends_while_the_state_cannot_be_written_is_not_replaced_and_nothing_is_said_to_be_as_wanted(live):
    """Nothing is done before it is written down: what acts without that cannot be taken up by the next one."""

    async def story(house):
        await house.settle(house.ask(TWO))
        save = house.store.save

        def full(*_):
            raise sqlite3.OperationalError("database or disk is full")

        house.store.save = full
        house.runtime.end("orders-r1-1", signal=9)
        await house.until(lambda: house.engine.problems)
        await asyncio.sleep(10)
        assert not house.engine.converged()
        assert house.running == ["orders-r1-2"]
        house.store.save = save
        await house.until(house.engine.converged)
        assert len(house.running) == 2

    live(story)


def test_a_service_that_is_to_have_no_instance_is_as_wanted_with_none(live):
    async def story(house):
        assert await house.settle(house.ask("{orders: {source: orders, instances: 0}}")) == "done"
        assert house.running == []

    live(story)
