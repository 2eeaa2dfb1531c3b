from __future__ import annotations

import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest

from atoll.cli import control, down
from atoll.errors import Conflict, Unavailable
from atoll.server import settings


@pytest.fixture
def places(here):
    return settings.settings(here / ".atoll")


def test_down_where_nothing_runs(atoll):
    said = atoll("down")
    assert (said.code, said.out) == (0, "nothing runs here\n")


@pytest.mark.parametrize("sandboxes", [True, False])
def test_what_a_dead_control_plane_left_is_ended_by_one_of_its_kind_whatever_the_file_says(
    atoll, here, places, monkeypatch, sandboxes
):
    begun, ended = [], []
    caller = SimpleNamespace(down=lambda: "receipt")
    monkeypatch.setattr(control, "start", lambda _, *, processes: begun.append(processes) or (caller, None))
    monkeypatch.setattr(down, "await_down", lambda _, *given: ended.append(given))
    places.run.mkdir(parents=True)
    if sandboxes:
        (places.run / "anchor.json").touch()
    (here / "atoll.yaml").write_text("services: [what was being writ")
    assert atoll("down").code == 0
    assert begun == [not sandboxes]
    assert ended == [(caller, "receipt")]


@pytest.mark.parametrize("more", [[], ["--file", "atoll.yaml"]])
def test_a_system_whose_file_is_gone_is_taken_down_from_its_directory(atoll, here, places, monkeypatch, more):
    ended = []
    monkeypatch.setattr(down, "start_for_the_end", lambda _: SimpleNamespace(down=lambda: None))
    monkeypatch.setattr(down, "await_down", lambda path, *_: ended.append(path))
    places.run.mkdir(parents=True)
    places.state.mkdir()
    places.lock.touch()
    (here.parent / "atoll.yaml").write_text("system: another")
    (here / "atoll.yaml").unlink()
    assert atoll("down", *more).code == 0
    assert ended == [here / "atoll.yaml"]


def test_where_there_never_was_a_system_there_is_none_to_take_down(atoll, here):
    (here / "atoll.yaml").unlink()
    said = atoll("down")
    assert said.code == 2
    assert "there is no atoll.yaml in" in said.err


def test_ctrl_c_says_that_the_end_goes_on(atoll, control_plane, scene, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(down, "follow_change", interrupted)
    said = atoll("down")
    assert said.code == 130
    assert "everything is still being ended, the control plane last; `atoll down` waits for it" in said.err
    assert scene.ended == 1, "it was told so"


@pytest.fixture
def ending(places, monkeypatch):
    """Wait for a control plane that takes longer than usual: it lives or does not, and this is wanted by it."""

    def wait(pid, wanted):
        places.run.mkdir(parents=True)
        service = SimpleNamespace(wanted=wanted)
        caller = SimpleNamespace(status=lambda: SimpleNamespace(system="shop", services=[service]))
        monkeypatch.setattr(down, "holder", lambda _: pid)
        monkeypatch.setattr(down, "is_gone", lambda _: False)
        down.await_down(places.state / "atoll.yaml", caller, SimpleNamespace(change=None))

    monkeypatch.setattr(down, "ENDING", -1.0)
    monkeypatch.setattr(down, "PATIENCE", 0.1)
    return wait


def test_a_control_plane_that_dies_before_the_rest_is_said_to_have(ending):
    with pytest.raises(Unavailable, match="the control plane died before everything else had ended") as caught:
        ending(None, 0)
    assert "atoll down" in caught.value.hint


def test_what_somebody_applies_meanwhile_is_not_told_to_be_ended_by_force(ending):
    with pytest.raises(Conflict, match="applied again by somebody meanwhile: it stays up"):
        ending(4242, 1)


def test_a_control_plane_that_does_not_end_is_named(ending):
    with pytest.raises(Unavailable, match=r"the control plane \(process 4242\) does not end") as caught:
        ending(4242, 0)
    assert caught.value.hint == "atoll down --force"


def test_what_runs_under_the_path_of_before_is_named_and_ended_by_force(atoll, here, places, monkeypatch):
    before, swept = here.parent / "before" / ".atoll", []
    pid = 1 << 22  # beyond any
    monkeypatch.setattr("atoll.cli.places.moved", lambda lock: (pid, before) if lock == places.lock else None)
    for command in (["status"], ["up", "--detach"], ["apply", "--yes"], ["down"]):
        said = atoll(*command)
        assert said.code == 3
        words = f"{here} was {before.parent} when its control plane (process {pid}) was started, and was moved"
        assert words in said.err
        assert "atoll down --force" in said.err

    def run(command, **_):
        swept.append(command[-2])
        return subprocess.CompletedProcess(command, 0, "ended 3 processes\n", "")

    monkeypatch.setattr(down, "moved", lambda _: (pid, before))
    monkeypatch.setattr(down.subprocess, "run", run)
    said = atoll("down", "--force")
    assert (said.code, said.out, swept) == (0, "ended 3 processes\n", [str(before)])


def test_force_ends_a_control_plane_that_hangs_without_asking_it(atoll, places):
    places.state.mkdir()
    # As a control plane's command line looks; it does not answer.
    program = [sys.executable, "-c", "print(flush=True)\nwhile True: pass", "atoll.server.inside"]
    hanging = subprocess.Popen([*program, "--state", str(places.state)], stdout=subprocess.PIPE)
    try:
        hanging.stdout.readline()
        os.kill(hanging.pid, signal.SIGSTOP)
        places.lock.write_text(f"process {hanging.pid}, user 0, since 2026-11-27 12:00:00\n")
        assert atoll("down", "--force").code == 0
        assert hanging.wait(20) == -signal.SIGKILL
    finally:
        hanging.kill()
        hanging.wait()
