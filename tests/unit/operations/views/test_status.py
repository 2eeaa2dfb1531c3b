from __future__ import annotations

from dataclasses import replace

import pytest

from atoll import wire
from atoll.operations.views.status import status
from atoll.plan.blueprint import Stage
from atoll.plan.decisions import Pin
from atoll.plan.observed import Exit, Phase, Readiness


@pytest.fixture
def of(scene):
    """The view of one service."""

    def look(name: str = "orders") -> wire.ServiceView:
        return next(s for s in status(scene.snapshot()).services if s.name == name)

    return look


def ended(scene, name: str, **how: object) -> None:
    seen = scene.seen["orders"][name]
    scene.seen["orders"][name] = type(seen)(
        seen.name, seen.service, Phase.EXITED, 0, seen.started_at, Exit(scene.at, **how)
    )


def test_as_wanted_has_no_why(scene, of):
    scene.steady()
    view = of()
    assert (view.wanted, view.ready, view.release, view.target, view.why, view.restarts) == (2, 2, 1, None, "", 0)


def test_the_screen_says_which_system_where_and_what_is_wrong(scene):
    scene.steady()
    scene.problems, scene.notes = ("a problem",), ("a note",)
    view = status(scene.snapshot())
    assert (view.system, view.gateway, view.generation) == ("shop", "http://127.0.0.1:8080", 7)
    assert (view.problems, view.notes, view.converged) == (("a problem",), ("a note",), True)


def test_a_proxy_that_is_away_is_a_problem(scene):
    snapshot = scene.snapshot()
    words = "the mesh proxy (process 4) hangs (stopped by SIGSTOP)"
    away = replace(snapshot, problems=("a problem",), observed=replace(snapshot.observed, away=words))
    assert status(away).problems == ("a problem", words)


def test_nothing_applied_is_an_empty_screen(scene_of):
    view = status(scene_of("").snapshot())
    assert (view.system, view.services) == ("", ())


def test_a_service_whose_first_build_is_under_way(scene, of):
    scene.building["orders"] = "uv sync"
    view = of()
    assert (view.ready, view.release) == (0, None)
    assert view.why == "building: uv sync; waits for its first build"
    scene.building["orders"] = ""
    assert of().why == "building; waits for its first build"


def test_a_rollout_says_from_where_to_where_and_what_the_new_ones_wait_for(scene, of):
    scene.steady()
    scene.pins["orders"] = Pin(scene.recipe("orders", 1), scene.recipe("orders", 2))
    scene.run("orders", 3, release=2, stage=Stage.START)
    scene.readiness["orders"] = {"orders-r2-3": Readiness(False, scene.at, "GET / answered 503")}
    view = of()
    assert (view.release, view.target, view.ready, view.wanted) == (1, 2, 2, 2)
    assert view.why == "release 2 is rolling out in place of 1; GET / answered 503"
    assert view.instances[-1].state == "starting"


def test_what_waits_for_a_new_callee_says_so(scene, of):
    scene.steady()
    stable, target = replace(scene.recipe("orders", 1), calls=()), scene.recipe("orders", 2)
    scene.pins |= {"orders": Pin(stable, target), "payments": Pin(target=scene.recipe("payments", 1))}
    scene.run("orders", 3, release=2, stage=Stage.START)
    scene.readiness["orders"] = {"orders-r2-3": Readiness(True, scene.at, "")}
    assert of().instances[-1].reason == "it is ready, and waits for payments, which it calls and which has never served"


def test_what_is_retained_says_what_it_is_there_for(scene, of):
    scene.steady()
    scene.system = replace(scene.system, retained=("payments",))
    assert of("payments").why == (
        "is not in the file any more, and goes once nothing needs it (orders release 1 may call it)"
    )


def test_a_first_release_replaces_nothing(scene, of):
    scene.pins["orders"] = Pin(None, scene.recipe("orders", 1))
    assert of().why == "release 1 is rolling out"


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"code": 1}, "it exited with code 1"),
        ({"signal": 9}, "it was killed by SIGKILL"),
        ({"oom": True}, "it ran out of memory and was killed (raise resources.memory, or use less)"),
        ({}, "it ended while nobody was watching"),
    ],
)
def test_an_ended_instance_says_how_it_ended(scene, of, how, words):
    scene.steady()
    scene.instances["orders"].pop()
    scene.run("orders", 3, stage=Stage.START)
    ended(scene, "orders-r1-3", **how)
    view = of()
    assert (view.ready, view.instances[-1].state, view.why) == (1, "ended", words)


def test_an_instance_that_waits_says_for_how_long_and_why(scene, of):
    scene.run(
        "orders", 5, stage=Stage.START, phase=None, crashes=4, not_before=scene.at + 7.6, reason="it exited with code 3"
    )
    scene.pins["orders"] = Pin(scene.recipe("orders", 1))
    view = of()
    assert view.instances[0].state == "waiting"
    assert view.why == "starts again in 8 s, 4 in a row failed: it exited with code 3"
    assert (view.instances[0].pid, view.instances[0].started_at) == (0, 0.0)


def test_one_that_served_and_fails_its_check_is_unready_and_not_starting(scene, of):
    scene.run("orders", 1, stage=Stage.START, served=scene.at - 9)
    scene.run("orders", 2, stage=Stage.START)
    scene.readiness["orders"] = {
        name: Readiness(False, scene.at, "no answer") for name in ("orders-r1-1", "orders-r1-2")
    }
    assert [i.state for i in of().instances] == ["unready", "starting"]
    assert of().why.count("no answer") == 1


def test_one_that_lost_a_process_and_serves_says_so(scene, of):
    scene.steady()
    seen = scene.seen["orders"]
    seen["orders-r1-2"] = replace(seen["orders-r1-2"], killed=2)
    lost = "2 processes in it ran out of memory and were killed (raise resources.memory, or use less)"
    assert [(i.state, i.reason) for i in of().instances] == [("ready", ""), ("ready", lost)]
    assert of().why == f"orders-r1-2: {lost}"


@pytest.mark.parametrize(
    ("stage", "word"), [(Stage.SERVE, "ready"), (Stage.DRAIN, "draining"), (Stage.STOP, "stopping")]
)
def test_a_stage_has_a_word(scene, of, stage, word):
    scene.run("orders", 1, stage=stage, reason="because")
    assert (of().instances[0].state, of().instances[0].reason) == (word, "because")


def test_restarts_are_the_design_s_count_and_not_how_many_there_have_been(scene, of):
    scene.run("orders", 9)
    assert of().restarts == 0
    del scene.system.services["orders"]
    view = of()
    assert (view.wanted, view.restarts, view.why) == (0, 0, "is leaving")


def test_restarts_are_those_of_the_release_that_serves(scene, of):
    scene.steady()
    scene.failed_runs["orders"] = ((1, 3), (2, 40))
    scene.pins["orders"] = Pin(scene.recipe("orders", 1), scene.recipe("orders", 2))
    assert of().restarts == 3
    scene.pins["orders"] = Pin(None, scene.recipe("orders", 2))
    assert of().restarts == 40


def test_services_come_in_the_order_of_the_file_and_those_that_leave_last(scene):
    scene.steady()
    del scene.system.services["web"]
    assert [s.name for s in status(scene.snapshot()).services] == ["orders", "payments", "web"]


def test_figures_are_sums_over_instances_and_unknown_stays_unknown(scene, of):
    scene.steady()
    assert (of().cpu, of().memory, of().rps, of().p99) == (None, None, None, None)
    scene.loads = {"orders-r1-1": wire.Load(0.25, 100), "orders-r1-2": wire.Load(None, 50)}
    scene.rates = {"orders": wire.Rates(12.5, 3.0, 40.0, 0.01)}
    view = of()
    assert (view.cpu, view.memory) == (0.25, 150)
    assert (view.rps, view.p50, view.p99, view.errors) == (12.5, 3.0, 40.0, 0.01)
    assert [i.cpu for i in view.instances] == [0.25, None]


def test_what_serves_by_the_target_and_has_ended_is_not_ready(scene, of):
    """The target cannot follow while the state cannot be written: then the two differ for long."""
    scene.steady()
    ended(scene, "orders-r1-1", signal=9)
    view = of()
    assert (view.ready, view.wanted) == (1, 2)
    assert view.why == "it was killed by SIGKILL, and is not replaced yet"
    assert view.instances[0].state == "ended"
    del scene.seen["orders"]["orders-r1-1"]
    assert (of().ready, of().why) == (1, "it vanished, and is not replaced yet")


def test_what_cannot_be_seen_is_as_it_was_decided(scene, of):
    scene.steady()
    scene.seen.clear()
    scene.answered = frozenset()
    assert (of().ready, of().why) == (2, "")
