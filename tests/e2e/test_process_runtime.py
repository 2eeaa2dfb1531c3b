"""The main job without any isolation: plain processes, on any host and as any user."""

import json
import os
import signal
from pathlib import Path

import pytest

from e2e.harness import until
from e2e.load import Load

pytestmark = [pytest.mark.e2e, pytest.mark.linux, pytest.mark.timeout(180)]

FILE = """
  web:
    source: app
    runtime: process
    instances: 2
    health: {path: /healthz, interval: 500ms}
    routes: [/]
    calls: [orders]
    flags: all
    release: {drain: 500ms, grace: 2s}
  orders:
    source: app
    runtime: process
    health: /healthz
"""


@pytest.fixture(scope="module")
def running(shared):
    shared.source()
    shared.write(FILE)
    shared.run("up", "--detach")
    return shared


def pids(system):
    return {i["name"]: i["pid"] for i in system.instances("web")}


def test_it_answers_on_ports_of_its_own_and_says_what_is_missing(running):
    status, text = running.get("/")
    assert status == 200
    assert json.loads(text)["name"].startswith("web-r")
    addresses = {i["address"] for s in running.status()["services"] for i in s["instances"]}
    assert len(addresses) == 3
    assert any("isolation is weak" in note for note in running.status()["notes"])


def test_a_callee_is_reached_at_its_variable_with_its_caller_named(running):
    pid = running.instances("web")[0]["pid"]
    environment = dict(x.split("=", 1) for x in Path(f"/proc/{pid}/environ").read_text().split("\0") if "=" in x)
    url = environment["ORDERS_URL"]
    assert url.startswith("http://127.0.0.1:")
    status, text = running.get(f"/call?{url}/stock")
    answer = json.loads(text)
    assert status == 200
    assert answer["name"].startswith("orders-")
    assert answer["headers"]["x-atoll-caller"] == "web"
    assert environment["OFREP_ENDPOINT"] == environment["FLAGS_URL"] != url
    assert running.get(f"/call?{environment['FLAGS_URL']}/flags") == (200, '{"flags":{}}')


def test_a_killed_process_costs_no_request(running):
    before = pids(running)
    with Load(running.port, clients=4, pause=0.02) as load:
        load.wait(50)
        os.kill(next(iter(before.values())), signal.SIGKILL)
        until(lambda: len(pids(running).keys() - before.keys()) == 1, what="a replacement")
        load.wait(50)
    assert load.failed == []
    assert "it was killed by SIGKILL" in running.run("events").stdout


def test_a_deploy_costs_no_request_and_can_be_taken_back(running):
    with Load(running.port, clients=4, pause=0.02) as load:
        running.source(version="2")
        running.run("deploy", "web")
        assert json.loads(running.get("/")[1])["version"] == "2"
        running.run("rollback", "web")
        assert json.loads(running.get("/")[1])["version"] == "1"
        load.wait(50)
    assert load.failed == []


def test_the_control_plane_may_die(running):
    running.source(version="1")
    before = pids(running)
    with Load(running.port, clients=4, pause=0.02) as load:
        running.kill_control_plane()
        load.wait(50)
        running.run("up", "--detach")
        load.wait(50)
    assert load.failed == []
    assert pids(running) == before


def test_a_mixture_with_sandboxes_is_refused_in_words(running):
    before = pids(running)
    running.write(FILE + "  boxed: {source: app, health: /healthz}\n")
    done = running.run("apply", "--yes", ok=False)
    running.write(FILE)
    assert done.returncode == 2
    assert "sandbox" in done.stderr
    assert pids(running) == before


def test_down_leaves_nothing(running):
    running.run("down")
    assert running.left() == []
