from __future__ import annotations

import re
import threading
from dataclasses import replace

import pytest

from atoll.cli import screen
from atoll.plan.releasing import Progress, State
from atoll.store.store import Transition

ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
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


def test_deploy_says_that_its_change_is_kept_where_the_control_plane_ends(atoll, control_plane, scene):
    control_plane.call(scene.serve_now)
    scene.outcome = None  # nobody moves it on
    timer = threading.Timer(0.3, control_plane.end)
    timer.start()
    said = atoll("deploy", "web", "--json")
    timer.join()
    assert (said.code, said.out) == (4, "")
    assert "(deploy) was over; what runs goes on. The change was accepted and is kept" in said.err
    assert "→ start it with `atoll up`" in said.err


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


def noted(scene, words):
    scene.serve_now(1, service="orders")
    scene.serve_now(1, service="web")
    change = scene.store.request("deploy", ("orders",), b"", 1.0)
    scene.store.take_effect(change, scene.system, [scene.recipe("orders", 2)], (), 1.0, lambda _: None)
    scene.store.abort("orders", 2, words)


def test_a_long_note_makes_no_other_line_long(atoll, control_plane, scene):
    words = "it exited with code 1\n    [red] " + "and so on, " * 30 + "to the end"
    control_plane.call(lambda: noted(scene, words))
    head, *rows = atoll("releases").out.splitlines()
    (long,) = [row for row in rows if row.split()[:3] == ["orders", "2", "failed"]]
    assert long.endswith(" ".join(words.split()))
    assert max(len(row) for row in (head, *rows) if row is not long) < 80
    assert len(rows) == 3
    assert words in [r.note for r in atoll("releases", "orders", "--json").items]


@pytest.mark.parametrize(("arguments", "whole"), [([], False), (["orders"], True)])
def test_in_a_terminal_a_note_is_cut_unless_it_is_asked_for(atoll, control_plane, scene, monkeypatch, arguments, whole):
    control_plane.call(lambda: noted(scene, "word " * 60 + "end"))
    monkeypatch.setattr(screen.out, "_force_terminal", True)
    monkeypatch.setattr(screen.out, "width", 110)
    lines = ESCAPES.sub("", atoll("releases", *arguments).out).splitlines()
    assert max(map(len, lines)) <= 110
    assert ("end" in " ".join(lines)) is whole
    assert ("…" in " ".join(lines)) is not whole
    assert len([line for line in lines if line.startswith("orders")]) == 2


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
