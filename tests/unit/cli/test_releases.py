from __future__ import annotations

from dataclasses import replace

import pytest

from atoll.plan.releasing import Progress, State
from atoll.store.store import Transition

DARK = Progress(2, State.DARK)


def test_deploy_names_the_release_and_returns_when_it_is_over(atoll, control_plane, scene):
    control_plane.call(scene.serve_now)
    said = atoll("deploy", "web", "orders")
    assert said.code == 0
    assert said.out == "done: deploy\n"
    assert control_plane.call(lambda: scene.store.last_change().services) == ("web", "orders")


def test_deploy_for_programs(atoll, control_plane, scene):
    control_plane.call(scene.serve_now)
    said = atoll("deploy", "web", "--json")
    assert (said.json.kind, said.json.state) == ("deploy", "done")


def test_deploy_that_fails_says_why_and_its_exit_code_tells(atoll, control_plane, scene):
    control_plane.call(scene.serve_now)
    scene.outcome = ("failed", "web: it exited with code 1")
    said = atoll("deploy", "web")
    assert said.code == 1
    assert "web: it exited with code 1" in said.err
    assert "done" not in said.out


@pytest.mark.parametrize("command", [["deploy", "web"], ["rollback", "web"]])
def test_for_programs_the_change_that_failed_is_printed_too(atoll, control_plane, scene, command):
    control_plane.call(lambda: scene.serve_now(1, 2))
    scene.outcome = ("failed", "web: it exited with code 1")
    said = atoll(*command, "--json")
    assert said.code == 1
    assert (said.json.kind, said.json.state, said.json.reason) == (command[0], "failed", "web: it exited with code 1")
    assert "web: it exited with code 1" in said.err


def test_deploy_of_an_unknown_service(atoll, control_plane, scene):
    control_plane.call(scene.serve_now)
    said = atoll("deploy", "wep")
    assert said.code == 2
    assert "→ did you mean web?" in said.err


def test_deploy_needs_a_name(atoll):
    said = atoll("deploy")
    assert said.code == 2
    assert "SERVICES" in said.err


def test_releases_newest_first(atoll, control_plane, scene):
    control_plane.call(lambda: scene.serve_now(1, 2, service="orders"))
    rows = [line.split()[:3] for line in atoll("releases", "orders").out.splitlines()[1:]]
    assert rows == [["orders", "2", "serving"], ["orders", "1", "retired"]]
    assert [r.number for r in atoll("releases", "--json").items] == [2, 1]


def test_rollback(atoll, control_plane, scene):
    control_plane.call(lambda: scene.serve_now(1, 2, service="orders"))
    assert atoll("rollback", "orders", "--json").json.kind == "rollback"
    assert atoll("rollback", "orders").out == "done: rollback\n"


def test_rollback_without_a_history(atoll, control_plane, scene):
    control_plane.call(scene.serve_now)
    said = atoll("rollback", "orders")
    assert said.code == 2
    assert "orders has no earlier release that has served" in said.err
    assert "→ see them with `atoll releases orders`" in said.err


def test_the_history_says_who_moved_a_release_on_and_why(atoll, control_plane, scene):
    def moved():
        scene.serve_now(1, service="orders")
        change = scene.store.request("deploy", ("orders",), b"", 1.0)
        scene.store.take_effect(change, scene.system, [scene.recipe("orders", 2)], (), 1.0, lambda _: DARK)
        asked = Transition("orders", "release", "ada", "it is time")
        scene.store.transit(asked, DARK, replace(DARK, state=State.GROWING), 2.0)

    control_plane.call(moved)
    line = atoll("releases", "orders", "--history").out.splitlines()[1]
    assert line.split()[2:] == ["orders", "2", "dark", "growing", "release", "ada", "it", "is", "time"]
    assert [(t.source, t.actor) for t in atoll("releases", "--history", "--json").items] == [("dark", "ada")]
    assert atoll("releases", "nobody", "--history").code == 2
