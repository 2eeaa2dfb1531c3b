"""How a process ended: before its parent has asked, and afterwards."""

from __future__ import annotations

import os
import select
import subprocess
from pathlib import Path

import pytest

from atoll.mesh import endings
from atoll.mesh.endings import ending

TELLS_AFTERWARDS = tuple(int(part) for part in os.uname().release.split(".")[:2]) >= (6, 15)


@pytest.fixture(params=[("kill -SEGV $$", "it was killed by SIGSEGV"), ("exit 3", "it exited with code 3")])
def ended(request):
    """A process that has ended and was not asked how, its pidfd, and how."""
    script, how = request.param
    child = subprocess.Popen(["/bin/sh", "-c", f"read -r _; {script}"], stdin=subprocess.PIPE)
    descriptor = os.pidfd_open(child.pid)
    child.stdin.close()
    assert select.select([descriptor], [], [], 20)[0]
    yield child, descriptor, how
    child.wait()
    os.close(descriptor)


def test_of_one_whose_parent_has_not_asked_yet(ended):
    child, descriptor, how = ended
    assert ending(descriptor, child.pid) == how


def test_of_one_whose_parent_has_asked_where_the_kernel_tells(ended):
    child, descriptor, how = ended
    child.wait()
    assert ending(descriptor, child.pid) == (how if TELLS_AFTERWARDS else "")


def test_nothing_where_nobody_can_know(ended, monkeypatch):
    child, descriptor, _ = ended
    child.wait()
    monkeypatch.setattr(endings, "_GET_INFO", 0xC040FFFF)
    assert ending(descriptor, child.pid) == ""
    with Path("/dev/null").open() as other:
        assert ending(other.fileno(), child.pid) == ""
