from __future__ import annotations

import os
import re
import socket
from dataclasses import replace

import pytest
from rich.console import Console

from atoll import client, wire
from atoll.cli import control, look
from atoll.errors import Unavailable
from atoll.plan.blueprint import Stage
from atoll.plan.decisions import Pin
from atoll.plan.observed import Readiness
from atoll.server import settings
from atoll.server.api.app import app

LONG = "GET http://10.118.0.1:8080/healthz/deep: answered 503 Service Unavailable, the database does not answer"


def test_status_is_a_line_for_each_service(atoll, control_plane, scene):
    scene.steady()
    said = atoll("status")
    assert said.code == 0
    assert "shop" in said.out
    assert "as wanted" in said.out
    assert [line.split()[:2] for line in said.out.splitlines()[2:]] == [
        ["web", "1/1"],
        ["orders", "2/2"],
        ["payments", "1/1"],
    ]


def test_status_in_a_pipe_cuts_nothing_off(atoll, control_plane, scene, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    scene.steady()
    scene.converged = False
    scene.pins["orders"] = Pin(scene.recipe("orders", 1), scene.recipe("orders", 2))
    scene.readiness["orders"] = {"orders-r2-3": Readiness(False, scene.at, LONG)}
    scene.run("orders", 3, release=2, stage=Stage.START)
    said = atoll("status")
    assert "not as wanted yet" in said.out
    assert any(line.startswith("orders ") and "1→2" in line for line in said.out.splitlines())
    assert any(line.endswith(LONG) for line in said.out.splitlines())


def test_status_says_what_goes_on_and_what_is_wrong(atoll, control_plane, scene):
    scene.steady()
    scene.change = wire.ChangeView(3, "deploy", ("web",), "failed", "no [such] tool", 0.0, {})
    scene.problems, scene.notes = ("a [bad] problem",), ("a note",)
    said = atoll("status")
    assert "change 3 (deploy) failed: no [such] tool" in said.out
    assert "a [bad] problem" in said.out
    assert "! a note" in said.out


def test_status_of_nothing(atoll, here, scene_of, served):

    empty = scene_of("")
    places = settings.settings(here / ".atoll")
    places.run.mkdir(parents=True)
    served(lambda: app(empty.open()), uds=places.socket)
    assert "nothing is applied" in atoll("status").out


def test_status_for_programs(atoll, control_plane, scene):
    scene.steady()
    assert atoll("status", "--json").json.system == "shop"


def test_graph(atoll, control_plane, scene):
    control_plane.call(scene.serve_now)
    said = atoll("graph")
    assert "orders → payments  within 0.8 s, 1 retries" in said.out
    assert "gateway → web" in said.out
    assert atoll("graph", "--json").json.nodes[0] == "gateway"


def test_events_for_people_and_for_programs(atoll, control_plane, scene):
    control_plane.call(scene.serve_now)
    events = [
        wire.Event(0, 0.0, "error", "crashed", "web", "web-r1-1", "it exited [with] code 1"),
        wire.Event(0, 0.0, "info", "ready", "orders", "orders", "is ready"),
        wire.Event(0, 0.0, "warning", "mesh", "", "mesh", "the gateway proxy does not answer"),
    ]
    control_plane.call(lambda: scene.store.append(events))
    said = atoll("events")
    assert "web-r1-1 it exited [with] code 1" in said.out
    assert "orders: is ready" in said.out
    assert "mesh: the gateway proxy does not answer" in said.out
    assert [e.subject for e in atoll("events", "orders", "--json").each] == ["orders"]
    assert [e.subject for e in atoll("events", "-n", "1", "--json").each] == ["mesh"]


def test_events_that_follow_are_those_of_the_service(atoll, control_plane, scene, monkeypatch):
    monkeypatch.setattr(look, "await_next", lambda _: None)
    control_plane.call(scene.serve_now)
    scene.happening = [
        wire.Event(n, 0.0, "info", "ready", name, name, f"event {n}") for n, name in enumerate(("web", "orders"), 1)
    ]
    assert [e.text for e in atoll("events", "orders", "--follow", "--json").each] == ["event 2"]


def test_events_that_follow_go_on_with_the_next_control_plane(atoll, control_plane, scene, monkeypatch):
    control_plane.call(scene.serve_now)
    ends = []

    def next_one(path):
        ends.append(path)
        scene.happening = [wire.Event(n, 0.0, "info", "ready", "web", "web", f"event {n}") for n in (1, 2)]
        return control.await_next(path) if len(ends) == 1 else None

    monkeypatch.setattr(look, "await_next", next_one)
    scene.happening = [wire.Event(1, 0.0, "info", "ready", "web", "web", "event 1")]
    said = atoll("events", "--follow", "--json")
    assert [e.text for e in said.each] == ["event 1", "event 2"]
    assert said.code == 0
    assert said.err.splitlines() == [
        "the control plane has ended; waiting for another one",
        "there is one again, process 4242",
        "the control plane has ended; waiting for another one",
        "the system was taken down",
    ]


@pytest.mark.parametrize("command", [["logs", "-f"], ["events", "--follow"]])
def test_what_follows_fails_where_the_control_plane_has_ended_for_good(
    atoll, control_plane, scene, monkeypatch, command
):
    monkeypatch.setattr(control, "PATIENCE", 0.2)
    control_plane.call(scene.serve_now)

    def end(*_):
        control_plane.close()
        yield from ()

    monkeypatch.setattr(client.Client, "_stream", lambda *_, **__: end())
    said = atoll(*command)
    assert said.code == 4
    assert "the control plane has ended; waiting for another one" in said.err
    assert "no control plane is there any more; what runs goes on" in said.err
    assert "→ start it with `atoll up --detach`" in said.err


def test_logs_that_follow_say_what_they_left_out(atoll, control_plane, scene, monkeypatch):
    control_plane.call(scene.serve_now)
    asked, ends = [], []

    def logs(_, service, *, tail, follow):
        asked.append((service, tail, follow))
        yield wire.LogLine("web", "web-r1-1", f"line {len(asked)}")

    def next_one(path):
        ends.append(path)
        return control.await_next(path) if len(ends) == 1 else None

    monkeypatch.setattr(client.Client, "logs", logs)
    monkeypatch.setattr(look, "await_next", next_one)
    said = atoll("logs", "web", "-f")
    assert said.out == "web-r1-1 line 1\nweb-r1-1 line 2\n"
    assert asked == [("web", 100, True), ("web", 0, True)]
    assert "there is one again, process 4242; lines written meanwhile are not shown" in said.err


def test_logs_for_people_and_for_programs(atoll, control_plane, scene):
    control_plane.call(scene.serve_now)
    scene.written = [wire.LogLine("web", "web-r1-1", "[red] 1"), wire.LogLine("orders", "orders-r1-1", "2" * 300)]
    assert atoll("logs").out == f"web-r1-1 [red] 1\norders-r1-1 {'2' * 300}\n"
    assert [line.text for line in atoll("logs", "web", "--json").each] == ["[red] 1"]
    assert atoll("logs", "--tail", "0").out == ""


@pytest.mark.parametrize("command", ["logs", "events", "releases"])
def test_a_service_that_never_was(atoll, control_plane, scene, command):
    control_plane.call(scene.serve_now)
    said = atoll(command, "ordrs")
    assert said.code == 2
    assert "there is no service 'ordrs' in shop" in said.err
    assert "→ did you mean orders?" in said.err
    assert said.out == ""


def test_dashboard_prints_an_address(atoll, control_plane):
    assert atoll("dashboard").out == "http://127.0.0.1:1/?token=x\n"


@pytest.mark.parametrize("command", [["status"], ["logs"], ["events"], ["graph"], ["dashboard"], ["releases"]])
def test_without_a_control_plane_it_says_how_to_start_one(atoll, command):
    said = atoll(*command)
    assert said.code == 4
    assert "no control plane runs for" in said.err
    assert "→ start it with `atoll up`" in said.err


def test_a_control_plane_that_died_is_told_apart_from_one_that_answers(atoll, here, tmp_path):

    places = settings.settings(here / ".atoll")
    places.run.mkdir(parents=True)
    places.socket.touch()
    said = atoll("status")
    assert said.code == 4
    assert "no control plane answers here" in said.err


@pytest.mark.parametrize("command", [["status"], ["up"], ["up", "-d"], ["down"], ["logs", "-f"], ["plan"]])
def test_a_control_plane_that_hangs_is_said_to_hang(atoll, here, monkeypatch, command):
    monkeypatch.setattr(client, "_SILENCE", 0.05)
    monkeypatch.setattr(client, "_AT_ONCE", 0.3)
    places = settings.settings(here / ".atoll")
    places.run.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as listener:  # as the kernel takes connections for a stopped process
        listener.bind(str(places.socket))
        listener.listen()
        said = atoll(*command)
    assert said.code == (255 if command == ["plan"] else 4)
    assert f"the control plane (process {os.getpid()}) does not answer; waiting for it" in said.err
    assert f"atoll: the control plane (process {os.getpid()}) does not answer: it hangs" in said.err
    assert "`atoll down --force` ends everything" in said.err


def test_an_error_of_the_control_plane_is_printed_with_its_mend(atoll, unwell):
    unwell(Unavailable("the proxies [mesh] do not answer", hint="look into [their] log"))
    said = atoll("status", "--json")
    assert (said.code, said.out) == (4, "")
    assert "atoll: the proxies [mesh] do not answer" in said.err
    assert "→ look into [their] log" in said.err


def test_logs_in_a_terminal_cannot_steer_it(atoll, control_plane, scene, monkeypatch):
    control_plane.call(scene.serve_now)
    evil = "a\x1b[2J\x1b[31mb\x1b]0;title\x07c\x1b]8;;http://x\x1b\\d\x07\x9b5mef\x1b"
    scene.written = [wire.LogLine("web", "web-r1-1", evil)]
    assert "\x1b[31mb" in atoll("logs").out
    monkeypatch.setattr(look, "out", Console(force_terminal=True, color_system=None, width=200))
    assert re.sub(r"\x1b\[\d*m", "", atoll("logs").out) == "web-r1-1 abcd5mef\n"


@pytest.mark.parametrize("json_", [False, True])
def test_a_status_that_is_watched_in_a_pipe_is_printed_once_for_each_change(
    atoll, control_plane, scene, monkeypatch, json_
):
    scene.steady()
    looks = []

    def sleep(_):
        looks.append(1)
        if len(looks) == 3:
            scene.system = replace(scene.system, services={"web": scene.system.services["web"]})
        if len(looks) == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(look.time, "sleep", sleep)
    said = atoll("status", "--watch", *(["--json"] if json_ else []))
    assert said.code == 130
    if json_:
        assert len(said.each) == 2
    else:
        assert said.out.count("service ") == 2


def test_a_directory_in_place_of_the_file_is_said_to_be_one(atoll, here):
    said = atoll("status", "--file", str(here))
    assert said.code == 2
    assert f"{here} is a directory" in said.err
    assert f"→ name the file in it: --file {here / 'atoll.yaml'}" in said.err
