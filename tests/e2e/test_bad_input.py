"""Wrong files, wrong moments, wrong disks: each is said in words, and nothing that ran well is disturbed."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from e2e.conftest import a_system
from e2e.harness import until
from e2e.load import Load

pytestmark = [pytest.mark.e2e, pytest.mark.linux, pytest.mark.timeout(120)]

WEB = """
  web:
    source: app
    health: {path: /healthz, interval: 500ms}
    routes: [/]
    release: {drain: 0s, grace: 2s}
"""
SERVER = """
import os
from http.server import HTTPServer, SimpleHTTPRequestHandler
HTTPServer(("0.0.0.0", PORT), SimpleHTTPRequestHandler).serve_forever()
"""


@pytest.fixture(scope="module")
def running(shared):
    shared.source()
    shared.write(WEB)
    shared.run("up", "--detach")
    return shared


@pytest.fixture
def undisturbed(running):
    """The same instance serves without a failed request, whatever the test asks for."""
    before = [(i["name"], i["pid"]) for i in running.instances("web")]
    with Load(running.port, clients=2, pause=0.02) as load:
        yield running
        load.wait(10)
    assert load.failed == []
    running.write(WEB)
    if len(running.status()["services"]) > 1:
        running.run("apply", "--yes")
    assert [(i["name"], i["pid"]) for i in running.instances("web")] == before


def refused(system, services, *arguments):
    system.write(services)
    return system.run(*(arguments or ("apply", "--yes")), ok=False)


def app(system, name, text, **files):
    (system.directory / name).mkdir(exist_ok=True)
    (system.directory / name / "main.py").write_text(text)
    for file, content in files.items():
        (system.directory / name / file.replace("_txt", ".txt")).write_text(content)


def test_a_wrong_file_names_every_problem_with_its_place(undisturbed):
    done = refused(
        undisturbed,
        WEB
        + "    instnces: 2\n  orders:\n    source: app\n    runtime: docker\n    instances: many\n    calls: [wbe]\n",
    )
    assert done.returncode == 2
    assert "4 problems in the system file" in done.stderr
    for line, words in ((10, "instnces"), (13, "docker"), (14, "many"), (15, "wbe")):
        assert any(f"atoll.yaml:{line}:" in x and words in x for x in done.stderr.splitlines()), (line, done.stderr)
    assert "instances" in done.stderr
    assert "sandbox" in done.stderr
    assert "web" in done.stderr


@pytest.mark.parametrize(
    "services",
    [
        "  ../../etc: {source: app}\n",
        "  '$(reboot)': {source: app}\n",
        "  'a b': {source: app}\n",
        '  "a\\u0000b": {source: app}\n',
        f"  {'x' * 300}: {{source: app}}\n",
        "  web: {source: /etc}\n",
        "  web: {source: ../../../etc}\n",
        "  web: {source: app, routes: ['/a b']}\n",
        '  web: {source: app, routes: ["/a\\r\\nx-evil: 1"]}\n',
        "  web: {source: app, env: {'LD PRELOAD': x}}\n",
        "  web: {source: app, health: 'http://example.org/'}\n",
        "  web: {source: app, instances: 99999999999}\n",
    ],
)
def test_hostile_names_and_paths_never_get_further_than_the_file(undisturbed, services):
    done = refused(undisturbed, services)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "atoll.yaml:4:" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_taken_port_is_named(undisturbed):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        undisturbed.file.write_text(undisturbed.file.read_text().replace(str(undisturbed.port), str(port)))
        done = undisturbed.run("apply", "--yes", ok=False)
    assert done.returncode == 2
    who = f"Address already in use by process {os.getpid()} ("
    assert f"the gateway cannot listen on 127.0.0.1:{port}: {who}" in done.stderr
    assert "under gateway.listen, line 2, or end what holds it" in done.stderr


def test_a_taken_port_is_named_also_at_the_first_start(system):
    """The default port too, which an empty control plane does not hold."""
    system.source()
    with socket.create_server(("127.0.0.1", 8080)) if _free(8080) else pytest.skip("8080 is taken on this machine"):
        system.port = 8080
        system.write(WEB)
        done = system.run("up", "--detach", ok=False)
    assert done.returncode == 2
    assert "the gateway cannot listen on 127.0.0.1:8080: Address already in use" in done.stderr
    system.run("down")


def test_a_port_that_was_taken_while_the_system_was_gone_is_named_waited_for_and_shared_with_nobody(system, tmp_path):
    """As after a reboot. Another gateway could listen beside ours, and each would get half of the connections."""
    system.source()
    system.write(WEB)
    system.run("up", "--detach")
    system.run("down", "--force")
    (tmp_path / "other").mkdir()
    with a_system(tmp_path / "other") as other:
        other.port = system.port
        other.source(version="other")
        other.write(WEB)
        other.run("up", "--detach")
        words = f"cannot bind '127.0.0.1:{system.port}': Address already in use"
        done = system.run("up", "--detach", ok=False)
        assert (done.returncode, words in done.stderr) == (1, True), done.stderr
        view = system.status()
        assert (view["converged"], [words in problem for problem in view["problems"]]) == (False, [True])
        assert {json.loads(other.get("/")[1])["version"] for _ in range(20)} == {"other"}
        other.run("down")
    until(lambda: system.status()["converged"], what="the port is taken once it is free")
    assert json.loads(system.get("/")[1])["version"] == "1"
    assert system.status()["problems"] == []


def test_a_port_that_was_taken_meanwhile_keeps_nothing_from_being_taken_down(system):
    system.source()
    system.write(WEB)
    system.run("up", "--detach")
    system.run("down", "--force")
    with socket.create_server(("127.0.0.1", system.port)):
        assert system.run("up", "--detach", ok=False).returncode == 1
        system.run("down")
    assert system.left() == []


def _free(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_a_missing_source_is_named(undisturbed):
    done = refused(undisturbed, WEB + "  gone: {source: nowhere}\n")
    assert done.returncode in {1, 2}
    assert "nowhere" in done.stderr


def test_a_build_that_fails_shows_the_last_words_of_the_tool(undisturbed):
    app(undisturbed, "broken", "print('never runs')\n", requirements_txt="this is no requirement\n")
    done = refused(undisturbed, WEB + "  broken: {source: broken}\n")
    assert done.returncode == 1
    assert "broken:" in done.stderr
    assert "this is no requirement" in done.stderr


def test_what_listens_elsewhere_is_told_so(undisturbed):
    app(undisturbed, "deaf", SERVER.replace("PORT", "3000"))
    done = refused(undisturbed, WEB + "  deaf: {source: deaf, health: {path: /, startup: 2s}}\n")
    assert done.returncode == 1
    assert "nothing listens on port 8080; it listens on 3000: let it listen on $PORT" in done.stderr


def test_a_check_of_a_path_that_is_not_there_is_told_so(undisturbed):
    app(undisturbed, "lost", SERVER.replace("PORT", "int(os.environ['PORT'])"))
    done = refused(undisturbed, WEB + "  lost: {source: lost, health: {path: /helthz, startup: 2s}}\n")
    assert done.returncode == 1
    assert "GET /helthz on port 8080 answered 404: is the path right?" in done.stderr


def test_a_second_control_plane_is_refused_and_told_who_holds_it(undisturbed):
    command = [sys.executable, "-m", "atoll.server", "--state", str(undisturbed.places.state)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 3
    assert f"another control plane holds {undisturbed.places.state}" in done.stderr
    assert f"process {undisturbed.control_plane()}, user 0, since " in done.stderr


def test_a_second_control_plane_is_refused_also_where_the_file_that_names_the_first_was_deleted(undisturbed):
    pid = undisturbed.control_plane()
    undisturbed.places.lock.unlink()
    command = [sys.executable, "-m", "atoll.server", "--state", str(undisturbed.places.state)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, "another control plane holds" in done.stderr) == (3, True), done.stderr
    until(lambda: undisturbed.places.lock.exists() and undisturbed.control_plane() == pid, what="the file again")
    assert undisturbed.run("up", "--detach").returncode == 0
    assert undisturbed.control_plane() == pid


def test_an_outdated_plan_is_not_applied(undisturbed):
    undisturbed.write(WEB.replace("drain: 0s", "drain: 1s"))
    index = undisturbed.run("plan", ok=False).stdout.split()[-1]
    undisturbed.write(WEB.replace("drain: 0s", "drain: 2s"))
    done = undisturbed.run("apply", "--index", index, ok=False)
    assert done.returncode == 3
    assert "the plan has changed since it was shown" in done.stderr
    assert "atoll plan" in done.stderr


def test_names_that_are_nearly_right_are_guessed(undisturbed):
    for command in ("deploy", "rollback"):
        done = undisturbed.run(command, "wbe", ok=False)
        assert done.returncode == 2
        assert "there is no service 'wbe' in test" in done.stderr
        assert "did you mean web?" in done.stderr
    done = undisturbed.run("rollback", "web", ok=False)
    assert done.returncode == 2
    assert "web has no earlier release that has served" in done.stderr


def test_plan_tells_by_its_exit_code(undisturbed):
    assert undisturbed.run("plan", ok=False).returncode == 0
    undisturbed.write(WEB.replace("drain: 0s", "drain: 1s"))
    assert undisturbed.run("plan", ok=False).returncode == 1
    undisturbed.write("  web: {sauce: app}\n")
    assert undisturbed.run("plan", ok=False).returncode == 255


@contextmanager
def small_disk(path, size="8m"):
    """A file system of its own, and a small one."""
    path.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"this host allows no mount: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


@pytest.fixture
def on_a_small_disk(tmp_path):
    with small_disk(tmp_path / ".atoll"), a_system(tmp_path) as made:
        yield made


def _fill(path):
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"x" * 4096)


def test_a_full_disk_stops_changes_and_nothing_else(on_a_small_disk):
    system = on_a_small_disk
    system.source()
    system.write(WEB)
    system.run("up", "--detach")
    before = system.instances("web")[0]["pid"]
    filler = system.places.state / "filler"
    with Load(system.port, clients=2, pause=0.02) as load:
        _fill(filler)
        (system.directory / "app" / "more.txt").write_bytes(b"y" * 2**20)
        done = system.run("deploy", "web", ok=False, timeout=30)
        load.wait(20)
        assert done.returncode in {1, 4}, done.stdout + done.stderr
        assert "cannot be written down" in done.stderr or "No space left on device" in done.stderr
        assert "Traceback" not in done.stderr
        assert system.instances("web")[0]["pid"] == before
        filler.unlink()
        system.run("deploy", "web")
        load.wait(20)
    assert load.failed == []
    assert system.instances("web")[0]["pid"] != before


def test_a_state_directory_that_cannot_be_written_is_named(tmp_path):
    system_dir = tmp_path
    with small_disk(system_dir / ".atoll"), a_system(system_dir) as system:
        subprocess.run(["mount", "-o", "remount,ro", str(system_dir / ".atoll")], check=True)
        system.source()
        system.write(WEB)
        done = system.run("up", "--detach", ok=False)
        assert done.returncode == 4
        assert f"the state directory {system.places.state} cannot be written: Read-only file system" in done.stderr


@pytest.mark.parametrize("how", ["corrupt", "missing"])
def test_a_damaged_state_is_never_taken_for_a_new_one(system, how):
    system.source()
    system.write(WEB)
    system.run("up", "--detach")
    before = system.instances("web")[0]["pid"]
    copy = system.places.database.with_suffix(".db.backup")
    until(copy.exists, what="a copy of the state")
    with Load(system.port, clients=2, pause=0.02) as load:
        system.kill_control_plane()
        shutil.copy(copy, system.directory / "copy")
        for file in ("state.db-wal", "state.db-shm"):
            (system.places.state / file).unlink(missing_ok=True)
        system.places.database.unlink()
        if how == "corrupt":
            system.places.database.write_bytes(b"this is no database" * 1000)
        done = system.run("up", "--detach", ok=False)
        load.wait(20)
    assert done.returncode == 4
    assert str(system.places.database) in done.stderr
    assert "atoll down --force" in done.stderr
    assert ("cannot be used" if how == "corrupt" else "the file was lost") in done.stderr
    assert "Traceback" not in done.stderr
    assert load.failed == []
    assert Path(f"/proc/{before}").exists()
    for file in system.places.state.glob("state.db*"):  # what the message advises: put the copy back
        file.unlink()
    shutil.copy(system.directory / "copy", system.places.database)
    system.run("up", "--detach")
    assert system.instances("web")[0]["pid"] == before
    assert json.loads(system.get("/")[1])["version"] == "1"
    system.run("down", "--force")
    assert system.left() == []


def test_a_directory_that_is_moved_while_it_runs_is_told_so_moved_back_or_ended_by_force(system):
    system.source()
    system.write(WEB)
    system.run("up", "--detach")
    before, after = system.directory, system.directory.with_name(f"{system.directory.name}-moved")
    pid, served = system.control_plane(), [i["pid"] for i in system.instances("web")]
    before.rename(after)
    moved = replace(system, directory=after)
    words = f"{after} was {before} when its control plane (process {pid}) was started, and was moved"
    for command in (["status"], ["up", "--detach"], ["down"]):
        done = moved.run(*command, ok=False)
        assert (done.returncode, words in done.stderr) == (3, True), done.stderr
    time.sleep(2.5)  # so long that it has looked after its state, every second
    after.rename(before)  # as it says; fails where there is a directory again
    until(lambda: system.status()["converged"] and not system.status()["problems"], what="all is well again")
    assert [i["pid"] for i in system.instances("web")] == served
    system.run("deploy", "web")
    before.rename(after)
    assert "ended " in moved.run("down", "--force").stdout
    after.rename(before)
    assert system.left() == []
