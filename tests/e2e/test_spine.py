"""The main job on real parts: up, look, kill, deploy, break, down."""

import json
import os
import signal
from pathlib import Path

import pytest

from e2e.harness import until
from e2e.load import Load
from ports import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.linux, pytest.mark.timeout(180)]

WEB = """
  web:
    source: app
    instances: {instances}
    health: {{path: /healthz, interval: 500ms}}
    routes: [/]
    calls: [orders]
    release: {{drain: 2s, grace: 5s}}
"""
ORDERS = """
  orders:
    source: app
    instances: 2
    health: /healthz
  hidden:
    source: app
    health: /healthz
"""


def shop(system, instances=2, version="1"):
    system.source(version=version)
    system.write(WEB.format(instances=instances) + ORDERS)


def test_up_answers_isolates_and_leaves_nothing(system):
    shop(system)
    assert "is up" in system.run("up", "--detach").stdout
    status, text = system.get("/hello")
    assert status == 200
    assert json.loads(text)["name"].startswith("web-r1-")
    status, text = system.get("/call?http://orders/stock")
    answer = json.loads(text)
    assert (status, answer["name"][:7]) == (200, "orders-")
    assert answer["headers"]["x-atoll-caller"] == "web"
    status, text = system.get("/call?http://hidden/")
    assert status == 403
    assert "services.web.calls" in text
    status, text = system.get("/call?http://example.org/")
    assert status == 403
    assert "example.org" in text
    assert system.run("plan", ok=False).returncode == 0
    assert system.status()["converged"]
    system.run("down")
    assert system.left() == []


def test_a_killed_instance_costs_no_request_and_is_replaced(system):
    shop(system, instances=3)
    system.run("up", "--detach")
    with Load(system.port) as load:
        load.wait(100)
        victims = system.instances("web")
        os.kill(victims[0]["pid"], signal.SIGKILL)
        until(
            lambda: len({i["name"] for i in system.instances("web")} - {v["name"] for v in victims}) == 1,
            what="a replacement",
        )
        load.wait(100)
    assert load.failed == []
    events = system.run("events").stdout
    assert "it was killed by SIGKILL" in events


def test_deploys_under_load_lose_nothing(system):
    shop(system)
    system.run("up", "--detach")
    with Load(system.port) as load:
        for version in ("2", "3"):
            system.source(version=version)
            system.run("deploy", "web")
            status, text = system.get("/")
            assert (status, json.loads(text)["version"]) == (200, version)
        load.wait(50)
    assert load.failed == []
    assert [r["state"] for r in system.json("releases", "web")] == ["serving", "retired", "retired"]
    system.run("rollback", "web")
    assert json.loads(system.get("/")[1])["version"] == "2"
    # What was taken back stays so, whatever happens, until somebody asks for it by name.
    system.kill_control_plane()
    said = system.run("up", "--detach").stdout
    assert "web: what is here now was taken back as release 3" in said
    assert json.loads(system.get("/")[1])["version"] == "2"
    system.run("down")
    system.run("up", "--detach")
    assert json.loads(system.get("/")[1])["version"] == "2"
    system.run("deploy", "web")
    assert json.loads(system.get("/")[1])["version"] == "3"


def test_a_release_that_never_gets_ready_changes_nothing(system):
    shop(system)
    system.run("up", "--detach")
    before = {i["name"] for i in system.instances("web")}
    (system.directory / "app" / "main.py").write_text("raise SystemExit('no database')\n")
    with Load(system.port) as load:
        done = system.run("deploy", "web", ok=False)
    assert done.returncode == 1
    assert "no database" in done.stderr
    assert "exited with code 1" in done.stderr
    assert load.failed == []
    assert {i["name"] for i in system.instances("web")} == before


@pytest.mark.parametrize("runtime", ["sandbox", "process"])
def test_a_call_and_its_callee_are_there_until_the_release_that_has_them_is_gone(system, runtime):
    system.source("orders")
    main = system.source() / "main.py"
    calling = main.read_text().replace("to_thread(call, query)", "to_thread(call, os.environ['ORDERS_URL'])")
    main.write_text(calling)
    web = WEB.format(instances=2).replace("source: app", f"source: app\n    runtime: {runtime}")
    orders = ORDERS.replace("source: app", f"source: orders\n    runtime: {runtime}", 1).partition("  hidden:")[0]
    system.write(web + orders)
    system.run("up", "--detach")
    with Load(system.port, path="/call", pause=0.02) as load:
        load.wait(50)
        system.write(web.replace("    calls: [orders]\n", ""))
        main.write_text("import time; time.sleep(1); raise SystemExit('no database')\n")
        assert system.run("apply", "--yes", ok=False).returncode == 1
        assert len(system.instances("orders")) == 2
        assert "goes once nothing needs it (web release 1 may call it)" in system.run("status").stdout
        load.wait(50)
        main.write_text(calling.replace('if path == "/call":', 'if path == "/called":'))
        system.run("apply", "--yes")
        load.wait(50)
        until(lambda: [s["name"] for s in system.status()["services"]] == ["web"], what="orders has gone")
    assert load.failed == []


def test_another_name_and_a_new_callee_cost_no_request(system):
    """Who answers is there until its heir serves, and a release waits for the new service that it calls."""
    main = system.source() / "main.py"
    calling = 'if "API_URL" in os.environ and path != "/healthz":'
    main.write_text(
        main.read_text().replace('if path == "/call":', calling).replace("call, query", "call, os.environ['API_URL']")
    )
    late = system.source("late") / "main.py"
    late.write_text("import time; time.sleep(2)\n" + late.read_text())
    service = "  {name}:\n    source: {source}\n    health: {{path: /healthz, interval: 500ms}}\n"
    system.write(service.format(name="shop", source="app") + "    routes: [/]\n")
    system.run("up", "--detach")
    with Load(system.port, pause=0.02) as load:
        load.wait(50)
        system.write(service.format(name="store", source="late") + "    routes: [/]\n")
        system.run("apply", "--yes")
        until(lambda: [s["name"] for s in system.status()["services"]] == ["store"], what="shop has gone")
        load.wait(50)
        store = service.format(name="store", source="app") + "    routes: [/]\n    calls: [api]\n"
        system.write(store + service.format(name="api", source="late"))
        system.run("apply", "--yes")
        load.wait(50)
    assert load.failed == []


def test_the_control_plane_may_die(system):
    shop(system)
    system.run("up", "--detach")
    before = {i["name"]: i["pid"] for i in system.instances("web")}
    with Load(system.port) as load:
        system.kill_control_plane()
        load.wait(100)
        system.run("up", "--detach")
        assert {i["name"]: i["pid"] for i in system.instances("web")} == before
        load.wait(50)
    assert load.failed == []


def test_down_by_force_leaves_nothing_either(system):
    system.source()
    system.write(ORDERS)
    system.run("up", "--detach")
    bases = [path.read_text().strip() for path in system.places.run.glob("*.base-id")]
    memories = [Path(f"/dev/shm/envoy_shared_memory_{base}0") for base in bases]
    assert len(memories) == 2
    assert all(memory.exists() for memory in memories)
    system.run("down", "--force")
    assert system.left() == []
    assert not any(memory.exists() for memory in memories)


def test_up_says_so_once_everything_answers_also_what_the_change_is_not_about(system):
    """As after a reboot: nothing runs, and of the file only the gateway's port has changed."""
    main = system.source() / "main.py"
    main.write_text(f"import time\ntime.sleep(2)\n{main.read_text()}")
    system.write(WEB.format(instances=1) + ORDERS)
    system.run("up", "--detach")
    system.run("down", "--force")
    system.port = free_port()
    system.write(WEB.format(instances=1) + ORDERS)
    assert "is up" in system.run("up", "--detach").stdout
    assert system.get("/")[0] == 200
