"""What dies, hangs, grows, spams and crashes in a running system, and what it changes into; all of it under load."""

import json
import os
import random
import shutil
import signal
import subprocess
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from atoll.client import Client
from e2e.harness import ATOLL, until
from e2e.load import Load
from ports import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.linux, pytest.mark.timeout(180)]

WEB = """
  web:
    source: app
    instances: {instances}
    health: {{path: /healthz, interval: 500ms, timeout: 500ms}}
    routes: [/]
    release: {{drain: 500ms, grace: 1s}}
"""
HOT = """
  hot:
    source: app
    health: /healthz
    routes: [/hot]
    resources: {memory: 64Mi}
"""
STUBBORN = """
import http.server, os, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
from http.server import SimpleHTTPRequestHandler as Handler
http.server.ThreadingHTTPServer(("0.0.0.0", int(os.environ["PORT"])), Handler).serve_forever()
"""
FORKS = """
import http.server, os, threading, time
made = 0
while True:
    try:
        pid = os.fork()
    except OSError as error:
        print(f"no more after {made}: {error.strerror}", flush=True)
        break
    if not pid:
        time.sleep(3600)
    made += 1
http.server.HTTPServer(("0.0.0.0", int(os.environ["PORT"])), http.server.SimpleHTTPRequestHandler).serve_forever()
"""
SPAM = """
import http.server, os
class Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/spam/more":
            for number in range(4000):
                os.write(1, b"x" * 4095 + b"\\n")
            print("that was all", flush=True)
        self.send_response(200); self.send_header("content-length", "0"); self.end_headers()
http.server.ThreadingHTTPServer(("0.0.0.0", int(os.environ["PORT"])), Handler).serve_forever()
"""
CRASHES = "import sys\nprint('cannot reach the moon', flush=True)\nsys.exit(7)\n"


@pytest.fixture(scope="module")
def running(shared):
    shared.source()
    shared.write(WEB.format(instances=3))
    shared.run("up", "--detach")
    return shared


@pytest.fixture
def steady(running):
    """The same three instances at the beginning of each test."""
    running.write(WEB.format(instances=3))
    running.run("apply", "--yes")
    until(lambda: running.status()["converged"], what="a steady system")
    return running


def light(system):
    """Load that leaves the processors to what is under test."""
    return Load(system.port, clients=4, pause=0.02)


def program(system, name, text):
    """A service of one file."""
    (system.directory / name).mkdir(exist_ok=True)
    (system.directory / name / "main.py").write_text(text)


def processes(system):
    return {i["name"]: i["pid"] for s in system.status()["services"] for i in s["instances"] if i["state"] == "ready"}


def events(system):
    return [json.loads(line) for line in system.run("events", "--json").stdout.splitlines()]


def told(system, kind, word):
    """The newest event of *kind* that says *word*."""
    found = [e for e in events(system) if e["kind"] == kind and word in e["text"]]
    return found[-1] if found else None


def test_a_stopped_process_is_noticed_told_and_replaced(steady):
    before = processes(steady)
    name, pid = next(iter(before.items()))
    with light(steady) as load:
        load.wait(50)
        os.kill(pid, signal.SIGSTOP)
        until(lambda: name not in processes(steady) and len(processes(steady)) == 3, what="a replacement")
        load.wait(50)
    assert load.failed == []
    event = told(steady, "drift", "SIGSTOP")
    assert event["subject"] == name
    until(lambda: not Path(f"/proc/{pid}").exists(), what="the end of the stopped process")
    assert {k: v for k, v in before.items() if k != name}.items() <= processes(steady).items()


@pytest.mark.parametrize("proxy", ["gateway", "mesh"])
def test_a_killed_proxy_is_back_and_no_instance_notices(steady, proxy):
    before = processes(steady)
    record = steady.places.run / f"{proxy}.envoy.json"
    pid = json.loads(record.read_text())[0]["pid"]
    os.kill(pid, signal.SIGKILL)
    until(lambda: json.loads(record.read_text())[0]["pid"] != pid, what="another proxy")
    until(lambda: steady.status()["converged"] and _answers(steady), what="an answer")
    with light(steady) as load:
        load.wait(50)
    assert load.failed == []
    assert processes(steady) == before


def test_an_artifact_that_was_deleted_is_told_of_before_it_is_missed(steady):
    aside = steady.places.state / "aside"
    steady.places.artifacts.rename(aside)
    words = "is gone: an instance of it that ends cannot be started again (build it again: atoll deploy web)"
    assert any(words in note for note in steady.status()["notes"])
    aside.rename(steady.places.artifacts)
    assert not any(words in note for note in steady.status()["notes"])


@pytest.mark.parametrize("proxy", ["gateway", "mesh"])
def test_a_proxy_that_hangs_is_named_and_replaced_and_no_instance_notices(steady, proxy):
    before = processes(steady)
    record = steady.places.run / f"{proxy}.envoy.json"
    pid = json.loads(record.read_text())[0]["pid"]
    hangs = f"the {proxy} proxy (process {pid}) hangs (stopped by SIGSTOP)"
    with Client(steady.places.socket) as client:  # a command takes so long to start that it could come too late
        os.kill(pid, signal.SIGSTOP)
        until(lambda: client.status().problems == (hangs,), what="who hangs")
    until(lambda: json.loads(record.read_text())[0]["pid"] != pid, what="another proxy")
    until(lambda: steady.status()["converged"] and _answers(steady), what="an answer")
    assert steady.status()["problems"] == []
    until(lambda: not Path(f"/proc/{pid}").exists(), what="the end of the stopped process")
    assert told(steady, "mesh", hangs)
    assert told(steady, "mesh", f"(process {pid}) has ended: it hung (stopped by SIGSTOP) and was killed; another one")
    with light(steady) as load:
        load.wait(50)
    assert load.failed == []
    assert processes(steady) == before


def _answers(system):
    try:
        return system.get("/")[0] == 200
    except OSError:
        return False


def test_a_hot_instance_is_named_as_out_of_memory(steady):
    steady.write(WEB.format(instances=3) + HOT)
    steady.run("apply", "--yes")
    if any("memory" in note for note in steady.status()["notes"]):
        pytest.skip("this host cannot limit memory")
    before = processes(steady)
    with light(steady) as load:
        steady.write(WEB.format(instances=3) + HOT + "    run: python -c 'x = bytearray(500*2**20)'\n")
        done = steady.run("deploy", "hot", ok=False)
        load.wait(20)
    assert load.failed == []
    assert done.returncode == 1
    assert "it ran out of memory and was killed (raise resources.memory, or use less)" in done.stderr
    assert processes(steady) == before


def test_a_fork_bomb_ends_at_the_limit(steady):
    program(steady, "bomb", FORKS)
    bomb = "  bomb:\n    source: bomb\n    resources: {pids: 32}\n    release: {drain: 0s, grace: 1s}\n"
    steady.write(WEB.format(instances=3) + bomb)
    with light(steady) as load:
        steady.run("apply", "--yes")
        load.wait(20)
    assert load.failed == []
    words = steady.run("logs", "bomb").stdout
    made = int(words.partition("no more after ")[2].split(":")[0])
    assert 0 < made < 32
    steady.write(WEB.format(instances=3))
    steady.run("apply", "--yes")
    assert all(s["name"] != "bomb" for s in steady.status()["services"])


def test_who_ignores_sigterm_is_killed_after_the_grace(steady):
    program(steady, "deaf", STUBBORN)
    steady.write(WEB.format(instances=3) + "  deaf:\n    source: deaf\n    release: {drain: 0s, grace: 1s}\n")
    steady.run("apply", "--yes")
    pid = steady.instances("deaf")[0]["pid"]
    steady.write(WEB.format(instances=3))
    with light(steady) as load:
        steady.run("apply", "--yes")
        load.wait(20)
    assert load.failed == []
    assert not Path(f"/proc/{pid}").exists()
    assert "SIGKILL" in told(steady, "stopped", "SIGKILL")["text"]


def test_a_log_that_is_flooded_stays_bounded_and_readable(steady):
    program(steady, "spam", SPAM)
    steady.write(WEB.format(instances=3) + "  spam:\n    source: spam\n    routes: [/spam]\n")
    with light(steady) as load:
        steady.run("apply", "--yes")
        for _ in range(3):
            assert steady.get("/spam/more")[0] == 200
            until(lambda: max(log_sizes(steady, "spam")) <= 10 * 2**20, what="a rotation")
        load.wait(20)
    assert load.failed == []
    assert len(log_sizes(steady, "spam")) == 3
    assert "that was all" in "".join(p.read_text() for p in steady.places.logs.glob("spam-r*"))
    assert steady.status("spam")["ready"] == 1


def log_sizes(system, service):
    return [path.stat().st_size for path in system.places.logs.glob(f"{service}-r*")]


def test_a_crash_loop_waits_longer_and_says_why(steady):
    program(steady, "crash", CRASHES)
    steady.write(WEB.format(instances=3) + "  crash:\n    source: crash\n")
    with light(steady) as load:
        done = steady.run("apply", "--yes", ok=False)
        load.wait(20)
    assert load.failed == []
    assert done.returncode == 1
    assert "exited with code 7" in done.stderr
    assert "cannot reach the moon" in done.stderr
    event = until(lambda: told(steady, "back-off", "4 in a row"), what="the fourth crash")
    assert "exited with code 7" in event["text"]
    assert "cannot reach the moon" in told(steady, "crashed", "code 7")["text"]
    waiting = until(lambda: steady.instances("crash", "waiting"), what="the wait")
    assert "in a row failed: it exited with code 7" in waiting[0]["reason"]
    assert len(processes(steady)) == 3


def test_scaling_keeps_who_can_stay(steady):
    before = processes(steady)
    with light(steady) as load:
        for instances in (5, 1, 3):
            steady.write(WEB.format(instances=instances))
            steady.run("apply", "--yes")
            assert steady.status("web")["ready"] == instances
        load.wait(50)
    assert load.failed == []
    assert len(before.items() & processes(steady).items()) == 1


def test_services_come_and_go_without_touching_others(steady):
    before = processes(steady)
    more = (
        "  more:\n    source: app\n    health: /healthz\n    routes: [/more]\n    release: {drain: 500ms, grace: 1s}\n"
    )
    with light(steady) as load:
        steady.write(WEB.format(instances=3) + more)
        steady.run("apply", "--yes")
        assert json.loads(steady.get("/more/x")[1])["name"].startswith("more-r")
        pid = steady.instances("more")[0]["pid"]
        steady.write(WEB.format(instances=3))
        steady.run("apply", "--yes")
        assert json.loads(steady.get("/more/x")[1])["name"].startswith("web-r")
        load.wait(20)
    assert load.failed == []
    assert not Path(f"/proc/{pid}").exists()
    assert processes(steady) == before


def test_the_gateway_moves_to_another_port(steady):
    before, old = processes(steady), steady.port
    try:
        steady.port = free_port()
        steady.write(WEB.format(instances=3))
        steady.run("apply", "--yes")
        assert steady.get("/")[0] == 200
        assert processes(steady) == before
    finally:
        steady.port = old
        steady.write(WEB.format(instances=3))
        steady.run("apply", "--yes")
    assert steady.get("/")[0] == 200


def test_a_control_plane_that_dies_at_any_moment_of_a_rollout_costs_nothing(system):
    """Deaths at seeded random moments between the order to deploy and its end; each rollout is finished afterwards."""
    chance = random.Random(2026)
    system.source()
    system.write(WEB.format(instances=2))
    system.run("up", "--detach")
    with light(system) as load:
        for turn in range(6):
            system.source(version=f"turn {turn}")
            goal = load.count + chance.randrange(100, 800)
            deploy = subprocess.Popen(
                [str(ATOLL), "deploy", "web"],
                cwd=system.directory,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            try:
                until(lambda g=goal: load.count >= g, what="the moment")
                system.kill_control_plane()
            finally:
                deploy.wait(30)
            before = processes_without_us(system)
            system.run("up", "--detach")
            assert system.status()["converged"]
            assert processes_without_us(system) >= {pid for pid in before if Path(f"/proc/{pid}").exists()}
            states = [r["state"] for r in system.json("releases", "web")]
            assert states.count("serving") == 1
            assert "rolling" not in states
            versions = {json.loads(system.get("/")[1])["version"] for _ in range(8)}
            assert len(versions) == 1
        load.wait(50)
    assert load.failed == []
    assert [e for e in events(system) if e["kind"] == "crashed"] == []
    system.run("down")
    assert system.left() == []


def processes_without_us(system):
    return {
        json.loads(p.read_text()).get("main", {}).get("pid")
        for p in (system.places.run / "instances").glob("*.json")
        if json.loads(p.read_text()).get("main")
    }


def test_two_things_at_once_end_well(steady):
    """Kill an instance, a proxy and the control plane in one moment."""
    victim = next(iter(processes(steady).values()))
    proxy = json.loads((steady.places.run / "mesh.envoy.json").read_text())[0]["pid"]
    killer = threading.Thread(target=steady.kill_control_plane)
    killer.start()
    os.kill(proxy, signal.SIGKILL)
    os.kill(victim, signal.SIGKILL)
    killer.join(10)
    steady.run("up", "--detach")
    assert steady.status("web")["ready"] == 3
    with light(steady) as load:
        load.wait(50)
    assert load.failed == []


POISON = """
import sys
if "atoll.server.inside" in sys.orig_argv:
    from atoll.mesh import ir, snapshot
    made = snapshot.MESSAGES[ir.Cluster]
    def poisoned(item):
        cluster = made(item)
        if "->poison" in item.name:
            cluster.connect_timeout.FromSeconds(-1)
        return cluster
    snapshot.MESSAGES[ir.Cluster] = poisoned
"""


def test_what_a_proxy_rejects_fails_the_apply_in_its_words_and_changes_nothing(system, tmp_path, monkeypatch):
    """Nothing that the file can say is known to be rejected, so the translation is made wrong for one service."""
    (tmp_path / "fault").mkdir()
    (tmp_path / "fault" / "sitecustomize.py").write_text(POISON)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "fault"))
    system.source()
    system.write(WEB.format(instances=2))
    system.run("up", "--detach")
    with Load(system.port, "/hello") as load:
        system.write(WEB.format(instances=2) + HOT.replace("hot", "poison"))
        failed = system.run("apply", "--yes", ok=False)
        assert failed.returncode == 1
        assert "the one before is back: gateway: cluster @gateway->poison: Invalid duration" in failed.stderr
        assert system.get("/poison/hello")[0] == 200  # the route is not there: it is the other service's
        assert [s["name"] for s in system.status()["services"]] == ["web"]
        system.write(WEB.format(instances=3))
        system.run("apply", "--yes")
        load.wait(50)
    assert len(system.instances("web")) == 3
    assert load.failed == []


@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")
def test_a_control_plane_that_is_killed_while_it_builds_is_started_again_beside_what_it_left(system):
    building = system.directory / "building"
    app = system.directory / "app"
    app.mkdir()
    (app / "server.js").write_text("require('http').createServer((_, a) => a.end()).listen(process.env.PORT)")
    manifest = {"name": "app", "main": "server.js", "scripts": {"build": f"echo $$ > {building}; exec sleep 600"}}
    (app / "package.json").write_text(json.dumps(manifest))
    system.write("  web:\n    source: app\n    routes: [/]\n    release: {drain: 0s, grace: 1s}\n")
    up = subprocess.Popen(
        [str(ATOLL), "up", "--detach"], cwd=system.directory, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        orphan = int(until(lambda: building.exists() and building.read_text(), seconds=60, what="the build"))
        system.kill_control_plane()
        up.wait(30)
        assert Path(f"/proc/{orphan}").exists()
        assert not [fd for fd in Path(f"/proc/{orphan}/fd").iterdir() if fd.readlink() == system.places.lock]
        manifest["scripts"] = {}
        (app / "package.json").write_text(json.dumps(manifest))
        # The change on its way is taken up again, and builds what the source is now.
        system.run("up", "--detach")
        assert system.get("/")[0] == 200
    finally:
        with suppress(ProcessLookupError, UnboundLocalError):
            os.kill(orphan, signal.SIGKILL)
        up.kill()
        up.wait()
    system.run("down")
