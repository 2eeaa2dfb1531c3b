from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from atoll.errors import Conflict, Unavailable
from atoll.server.lock import hold, hold_directory, holder, keep, keep_there, moved


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


def opened(directory):
    """How often this process has what is at and under *directory* open; what other tests left open ends meanwhile."""
    found = 0
    for one in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            found += one.readlink().is_relative_to(directory)
    return found


def test_a_refusal_leaves_nothing_open_and_the_holder_named(path):
    held = hold(path)
    before = opened(path.parent)
    for _ in range(3):
        with pytest.raises(Conflict):
            hold(path)
    assert opened(path.parent) == before
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


def test_whoever_looks_while_it_is_taken_over_finds_a_whole_line(path, monkeypatch):
    path.parent.mkdir()
    path.write_text(f"process 1, user 0, since 2026-11-27 12:00:00, {'x' * 300}\n")
    found = []

    def watched(call):
        def then_look(*arguments):
            call(*arguments)
            found.append(path.read_text().partition("\n"))

        return then_look

    for name in ("pwrite", "ftruncate"):
        monkeypatch.setattr(os, name, watched(getattr(os, name)))
    os.close(hold(path))
    assert found
    assert all(line.startswith("process ") and end for line, end, _ in found)


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


def test_what_is_started_after_exec_does_not_hold_it(path):
    held = hold(path)
    keep(held)
    orphan = subprocess.Popen(["sleep", "60"], close_fds=False)
    try:
        os.close(held)
        os.close(hold(path))
    finally:
        orphan.kill()
        orphan.wait()


def test_its_holder_is_who_wrote_it_as_far_as_that_still_runs_for_it(path):
    assert holder(path) is None
    path.parent.mkdir()
    # As a control plane's command line looks; what the program does is of no matter.
    program = [sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()", "atoll.server.inside"]
    with subprocess.Popen([*program, "--state", str(path.parent)], stdin=-1, stdout=-1) as one:
        path.write_text(f"process {one.pid}, user 0, since 2026-11-27 12:00:00\n")
        one.stdout.readline()
        assert holder(path) == one.pid
        one.communicate()
    assert holder(path) is None


@pytest.mark.parametrize("words", ["", "process", "process nobody, user 0", "process {us}, user 0"])
def test_a_number_that_belongs_to_somebody_else_by_now_holds_nothing(path, words):
    path.parent.mkdir()
    path.write_text(words.format(us=os.getpid()))
    assert holder(path) is None


HOLDER = """
import sys
from contextlib import suppress
from pathlib import Path
from atoll.server.lock import hold
hold(Path(sys.argv[-1]) / "lock")
print(flush=True)
sys.stdin.read()
"""


def test_a_directory_that_was_moved_while_it_is_held_is_told_from_a_copy(path):
    before, after, copy = path.parent, path.parent.with_name("moved"), path.parent.with_name("copy")
    assert moved(path) is None
    command = [sys.executable, "-c", HOLDER, "atoll.server.inside", "--state", str(before)]
    with subprocess.Popen(command, stdin=-1, stdout=-1) as one:
        one.stdout.readline()
        assert moved(path) is None
        shutil.copytree(before, copy)
        assert moved(copy / "lock") is None
        before.rename(after)
        assert moved(after / "lock") == (one.pid, before)
        assert holder(after / "lock") is None
        one.communicate()
    assert moved(after / "lock") is None


def test_a_lock_whose_file_was_deleted_is_held_anew_where_others_look(path):
    held = hold(path)
    assert keep_there(path, held) == held
    path.unlink()
    again = keep_there(path, held)
    assert keep_there(path, again) == again
    assert not os.get_inheritable(again)
    assert path.read_text().startswith(f"process {os.getpid()},")
    with pytest.raises(Conflict):
        hold(path)
    path.unlink()
    somebody = hold(path)
    assert keep_there(path, again) == again, "it is theirs"
    os.close(somebody)
    again = keep_there(path, again)
    with pytest.raises(Conflict):
        hold(path)
    shutil.rmtree(path.parent)
    assert keep_there(path, again) == again, "it comes back with the state"
    assert not path.parent.exists()
    os.close(again)


def test_the_run_directory_has_one_control_plane_whatever_becomes_of_the_file(tmp_path):
    held = hold_directory(tmp_path)
    with pytest.raises(Conflict, match="another control plane holds"):
        hold_directory(tmp_path)
    os.close(held)
    os.close(hold_directory(tmp_path))
