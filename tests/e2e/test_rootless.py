"""The whole platform as an ordinary user, who may make user namespaces and nothing else."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

import pytest

from atoll.drivers.host.proc import INSTANCE, marked
from atoll.server.settings import settings
from e2e.harness import ECHO, until
from e2e.load import Load
from ports import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.linux, pytest.mark.timeout(180)]

NOBODY = 65534
FILE = """
system: test
gateway: {{listen: {port}}}
services:
  web:
    source: app
    instances: 2
    health: {{path: /healthz, interval: 500ms}}
    routes: [/]
    calls: [orders]
    flags: all
    release: {{drain: 500ms, grace: 2s}}
  orders: {{source: app, health: /healthz}}
"""


class Ordinary:
    """Atoll run by nobody, in a directory of its own."""

    def __init__(self, directory):
        self.directory, self.port = directory, free_port()
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(directory),
            "XDG_RUNTIME_DIR": str(directory / "runtime"),
            "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        become = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--bounding-set=-all")
        works = "import subprocess, sys, msgspec, uvloop, grpc, atoll; subprocess.run([sys.executable, '-c', ''])"
        candidates = [(*become, python) for python in (sys.executable, "/usr/bin/python3")]
        self.python = next((c for c in candidates if self._do((*c, "-c", works)).returncode == 0), ())

    def _do(self, command):
        return subprocess.run(
            command, cwd=self.directory, env=self.env, capture_output=True, text=True, timeout=90, check=False
        )

    def run(self, *arguments):
        return self._do((*self.python, "-c", "from atoll.cli.main import main; main()", *arguments))

    def right(self, *arguments):
        done = self.run(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def get(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=20) as response:
            return json.loads(response.read())

    def status(self):
        return json.loads(self.right("status", "--json"))

    def ready(self):
        web = next(s for s in self.status()["services"] if s["name"] == "web")
        return {i["name"]: i["pid"] for i in web["instances"] if i["state"] == "ready"}

    def version(self, version):
        text = (ECHO / "main.py").read_text().replace('VERSION = "1"', f'VERSION = "{version}"')
        (self.directory / "app" / "main.py").write_text(text)


@pytest.fixture(scope="module")
def ordinary():
    if os.geteuid() != 0:
        pytest.skip("this run is an ordinary user already: the other tests say what works")
    probe = ["setpriv", f"--reuid={NOBODY}", "--clear-groups", "unshare", "--user", "--map-root-user", "--net", "true"]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("an ordinary user may not make namespaces on this host")
    directory = Path(tempfile.mkdtemp(prefix="atoll-e2e-"))
    try:
        shutil.copytree(ECHO, directory / "app")
        (directory / "runtime").mkdir()
        for path in (directory, *directory.iterdir()):
            os.chown(path, NOBODY, NOBODY)
        found = Ordinary(directory)
        if not found.python:
            pytest.skip("an ordinary user can read no Python with our packages on this machine")
        (directory / "atoll.yaml").write_text(FILE.format(port=found.port))
        try:
            found.right("up", "--detach")
            yield found
        finally:
            found.run("down", "--force")
            until(lambda: not left(directory), what="the end of every process")
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def left(directory):
    """The processes of the system in this directory."""
    name = settings(directory / ".atoll").identity
    return [pid for pid, value in marked(INSTANCE).items() if value.startswith(f"{name}/")]


def test_it_answers_and_calls_others_by_name(ordinary):
    assert ordinary.get("/")["name"].startswith("web-r1-")
    answer = ordinary.get("/call?http://orders/stock")
    assert (answer["name"][:7], answer["headers"]["x-atoll-caller"]) == ("orders-", "web")
    assert ordinary.get("/call?http://flags/flags") == {"flags": {}}


def test_instances_belong_to_the_ordinary_user_and_have_a_network_of_their_own(ordinary):
    for pid in ordinary.ready().values():
        assert Path(f"/proc/{pid}").stat().st_uid == NOBODY
        for kind in ("net", "user", "mnt", "pid"):
            assert Path(f"/proc/{pid}/ns/{kind}").readlink() != Path(f"/proc/self/ns/{kind}").readlink()


def test_a_killed_instance_costs_no_request(ordinary):
    before = ordinary.ready()
    with Load(ordinary.port, clients=4, pause=0.02) as load:
        load.wait(50)
        os.kill(next(iter(before.values())), signal.SIGKILL)
        until(lambda: len(ordinary.ready().keys() - before.keys()) == 1, what="a replacement")
        load.wait(50)
    assert load.failed == []


def test_a_deploy_costs_no_request(ordinary):
    with Load(ordinary.port, clients=4, pause=0.02) as load:
        ordinary.version("2")
        ordinary.right("deploy", "web")
        assert ordinary.get("/")["version"] == "2"
        load.wait(50)
    assert load.failed == []


def test_the_control_plane_may_die(ordinary):
    before = ordinary.ready()
    lock = (ordinary.directory / ".atoll" / "lock").read_text()
    with Load(ordinary.port, clients=4, pause=0.02) as load:
        os.kill(int(lock.split()[1].rstrip(",")), signal.SIGKILL)
        load.wait(50)
        ordinary.right("up", "--detach")
        load.wait(50)
    assert load.failed == []
    assert ordinary.ready() == before


def test_down_leaves_nothing(ordinary):
    assert left(ordinary.directory)
    ordinary.right("down")
    assert left(ordinary.directory) == []
    assert list((ordinary.directory / "runtime" / "atoll").iterdir()) == []
