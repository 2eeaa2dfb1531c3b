"""What a sweep ends, with programs that only have the run directory among their arguments."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from atoll.server import ground
from atoll.server.settings import Settings


def test_what_is_started_while_others_are_ended_is_ended_too(tmp_path, monkeypatch):
    """A control plane that is still there for a moment replaces a proxy."""
    places = Settings(tmp_path / "state", tmp_path / "run")
    places.run.mkdir()
    command = [sys.executable, "-c", "input('up\\n')", str(places.run)]
    children = []

    def start():
        children.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        children[-1].stdout.readline()

    def kill(pid, number):
        os_kill(pid, number)
        if len(children) == 1:
            start()

    os_kill = os.kill
    monkeypatch.setattr(ground.os, "kill", kill)
    try:
        start()
        assert ground.sweep(places) == "ended 2 processes\n"
        assert [child.wait(20) for child in children] == [-signal.SIGKILL] * 2
    finally:
        for child in children:
            child.kill()
            child.wait()
            child.stdin.close()
            child.stdout.close()
    assert not places.run.exists()
