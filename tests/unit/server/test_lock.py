from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from atoll.errors import Conflict, Unavailable
from atoll.server.lock import hold


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "lock"


def test_the_first_gets_it_and_the_second_hears_who_has_it(path):
    held = hold(path)
    try:
        with pytest.raises(Conflict) as refused:
            hold(path)
        assert f"process {os.getpid()}, user {os.getuid()}, since " in refused.value.message
        assert "atoll status" in refused.value.hint
    finally:
        os.close(held)


def test_a_refusal_leaves_nothing_open_and_the_holder_named(path):
    held = hold(path)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        with pytest.raises(Conflict):
            hold(path)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert path.read_text().startswith(f"process {os.getpid()},")
    os.close(held)


def test_it_is_free_when_its_holder_ends(path):
    os.close(hold(path))
    os.close(hold(path))


def test_a_shorter_name_leaves_nothing_of_a_longer_one(path):
    path.parent.mkdir()
    path.write_text("x" * 300)
    held = hold(path)
    assert "x" not in path.read_text()
    os.close(held)


def test_it_passes_through_exec(path):
    held = hold(path)
    assert os.get_inheritable(held)
    # What inherits the descriptor holds the lock on, also when the first process has let go.
    program = "import sys; sys.stdin.read()"
    heir = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, close_fds=False)
    try:
        os.close(held)
        with pytest.raises(Conflict):
            hold(path)
    finally:
        heir.communicate()
    os.close(hold(path))


def test_a_directory_that_cannot_be_written_says_so(tmp_path):
    (tmp_path / "state").write_text("a file where the directory should be")
    with pytest.raises(Unavailable, match="cannot be written") as refused:
        hold(tmp_path / "state" / "lock")
    assert refused.value.hint
