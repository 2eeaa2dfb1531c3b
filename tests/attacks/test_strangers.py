"""What another user of the host tries, who can work out the name of everything: as root, with a user of no rights."""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from atoll.drivers.host import fabric, proc
from atoll.errors import Unavailable
from atoll.server import ground
from atoll.server.settings import Settings, refuse_strangers

pytestmark = [pytest.mark.linux, pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user, too")]

STRANGER = 61001


@contextmanager
def running(*command, user=STRANGER, **env):
    """A program of another user; there once it is executed."""
    drop = ["setpriv", "--reuid", str(user), "--regid", str(user), "--clear-groups"] if user else []
    process = subprocess.Popen([*drop, *command], env={"PATH": os.environ["PATH"], **env})
    try:
        deadline = time.monotonic() + 20
        here = Path(f"/proc/{process.pid}")
        while (here / "comm").read_text() != "sleep\n" or not (here / "cmdline").read_text():
            assert time.monotonic() < deadline
        yield process
    finally:
        process.kill()
        process.wait()


def test_nobody_elses_process_is_taken_for_the_anchor(tmp_path):
    mark = {fabric.ANCHOR: str(tmp_path)}
    with running("sleep", "600", **mark):
        assert fabric._found(tmp_path, None) is None
        with running("sleep", "600", user=0, **mark) as ours:
            found = fabric._found(tmp_path, None)
            assert found is not None
            assert found[0] == ours.pid


def test_nor_is_one_that_has_made_itself_root_in_a_namespace_or_cannot_see_our_processes(tmp_path):
    mark = {fabric.ANCHOR: str(tmp_path)}
    for user, options in ((STRANGER, ["--user", "--map-root-user", "--kill-child"]), (0, ["--pid", "--kill-child"])):
        command = ["unshare", "--fork", *options, "sleep", "600"]
        drop = ["setpriv", "--reuid", str(user), "--regid", str(user), "--clear-groups"] if user else []
        process = subprocess.Popen([*drop, *command], env={"PATH": os.environ["PATH"], **mark})
        try:
            deadline = time.monotonic() + 20
            while not (inner := [p for p in proc.marked(fabric.ANCHOR) if p in proc.children(process.pid)]):
                if process.poll() is not None:
                    pytest.skip("no namespaces here")
                assert time.monotonic() < deadline
            assert not proc.owned(inner[0])
        finally:
            process.kill()
            process.wait()


def test_what_only_names_our_directory_survives_a_sweep_of_it(tmp_path):
    places = Settings(tmp_path / "state", tmp_path / "run")
    places.run.mkdir()
    with running("bash", "-c", f'exec -a "vim {places.run}/notes" sleep 600') as bystander:
        assert str(places.run) in Path(f"/proc/{bystander.pid}/cmdline").read_text()
        assert ground.sweep(places) == "ended 0 processes\n"
        assert bystander.poll() is None


@pytest.mark.parametrize("whose", ["parent", "run"])
def test_nobody_is_trusted_in_a_directory_of_somebody_else(tmp_path, whose):
    run = tmp_path / "atoll-0" / "0123456789"
    refuse_strangers(run)  # nothing is there yet
    run.mkdir(parents=True, mode=0o700)
    refuse_strangers(run)
    os.chown({"parent": run.parent, "run": run}[whose], STRANGER, STRANGER)
    with pytest.raises(Unavailable, match=f"belongs to user {STRANGER}: somebody else made it"):
        refuse_strangers(run)


def test_nor_in_one_that_others_may_write_in_or_that_is_a_link(tmp_path):
    run = tmp_path / "atoll-0" / "0123456789"
    run.mkdir(parents=True)
    run.parent.chmod(0o777)
    with pytest.raises(Unavailable, match="others may write in"):
        refuse_strangers(run)
    run.parent.chmod(0o700)
    other = tmp_path / "other"
    other.mkdir()
    linked = run.parent / "linked"
    linked.symlink_to(other)
    with pytest.raises(Unavailable):
        refuse_strangers(linked)
