from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from atoll.cli import control, down
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
    monkeypatch.setattr(control, "start", lambda _, *, processes: begun.append(processes) or ("caller", None))
    monkeypatch.setattr(down, "take_down", lambda _, caller: ended.append(caller))
    places.run.mkdir(parents=True)
    if sandboxes:
        (places.run / "anchor.json").touch()
    (here / "atoll.yaml").write_text("services: [what was being writ")
    assert atoll("down").code == 0
    assert begun == [not sandboxes]
    assert ended == ["caller"]


def test_ctrl_c_says_that_the_end_goes_on(atoll, control_plane, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(down, "follow_change", interrupted)
    said = atoll("down")
    assert said.code == 130
    assert "everything is still being ended; `atoll down` waits for it" in said.err


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
