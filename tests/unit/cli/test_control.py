from __future__ import annotations

import errno
from pathlib import Path
from types import SimpleNamespace

import pytest

from atoll.cli import control
from atoll.errors import Conflict, Unavailable
from atoll.server import settings
from atoll.server.api.app import app


@pytest.fixture
def file(here):
    return here / "atoll.yaml"


@pytest.fixture
def places(here):
    return settings.settings(here / ".atoll")


def ends(monkeypatch, code: int, words: str):
    """What is started says *words* and ends."""

    def popen(_, *, stdout, **__):
        stdout.write(words.encode())
        return SimpleNamespace(poll=lambda: code, returncode=code)

    monkeypatch.setattr(control.subprocess, "Popen", popen)


def disk(monkeypatch, free: int):
    monkeypatch.setattr(control.shutil, "disk_usage", lambda _: SimpleNamespace(free=free))


def test_one_that_cannot_start_is_quoted(file, monkeypatch):
    ends(monkeypatch, 1, "there is no bwrap\n")
    with pytest.raises(Unavailable, match="the control plane could not start:\nthere is no bwrap"):
        control.start(file, processes=False)


def test_one_that_ends_on_a_full_disk_cannot_say_why_so_the_disk_is_named(file, places, monkeypatch):
    disk(monkeypatch, 4096)
    ends(monkeypatch, 1, "")
    with pytest.raises(Unavailable) as raised:
        control.start(file, processes=False)
    assert raised.value.message == (
        f"the control plane could not start: the disk that holds {places.logs} is full (4 KiB are free)"
    )
    assert raised.value.hint == "make room on the disk"


def test_what_it_said_on_a_full_disk_is_quoted_as_far_as_it_came(file, monkeypatch):
    disk(monkeypatch, 0)
    ends(monkeypatch, 1, "Traceb")
    with pytest.raises(Unavailable, match=r"is full \(0 KiB are free\)\nTraceb"):
        control.start(file, processes=False)


def test_a_disk_that_is_too_full_for_a_log_is_named(file, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(Unavailable, match=r"the disk that holds .* is full"):
        control.start(file, processes=False)


def test_nobody_else_may_look_into_what_it_makes(file, places, monkeypatch):
    ends(monkeypatch, 1, "")
    with pytest.raises(Unavailable):
        control.start(file, processes=False)
    assert [one.stat().st_mode & 0o777 for one in (places.state, places.logs)] == [0o700, 0o700]


def test_of_two_that_start_at_once_the_second_joins_the_first(file, places, scene, served, monkeypatch):
    ends(monkeypatch, Conflict.exit_code, "another control plane holds it")
    looks = []

    def holder(_):
        looks.append(1)
        if len(looks) == 2:  # the first one is still starting at the first look
            places.run.mkdir(parents=True)
            served(lambda: app(scene.open()), uds=places.socket)
        return 4242

    monkeypatch.setattr(control, "holder", holder)
    client, _ = control.start(file, processes=False)
    assert client.identity().pid == 4242


def test_where_the_first_of_two_ends_the_second_says_who_was_in_the_way(file, monkeypatch):
    ends(monkeypatch, Conflict.exit_code, "another control plane holds it")
    monkeypatch.setattr(control, "holder", lambda _: None)
    with pytest.raises(Conflict, match="another control plane holds it"):
        control.start(file, processes=False)


def test_after_its_end_nobody_is_waited_for_where_the_system_was_taken_down(file):
    assert control.await_next(file) is None


def test_a_next_one_is_waited_for_while_its_run_directory_is_there(file, places, monkeypatch):
    monkeypatch.setattr(control, "PATIENCE", 0.1)
    places.run.mkdir(parents=True)
    with pytest.raises(Unavailable, match="no control plane is there any more") as raised:
        control.await_next(file)
    assert raised.value.hint == "start it with `atoll up --detach`"
