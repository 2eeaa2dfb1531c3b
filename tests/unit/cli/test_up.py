"""Up, without real parts: what it says and does as its control plane comes, fails and goes."""

from __future__ import annotations

import signal
from types import SimpleNamespace

import pytest

from atoll import wire
from atoll.cli import up
from atoll.client import Client
from atoll.server import settings
from atoll.server.api.app import app


@pytest.fixture(autouse=True)
def handlers():
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    # Ignored where the suite runs in the background of a script.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def taken_down(monkeypatch):
    """What was taken down, instead of doing it."""
    found = []
    monkeypatch.setattr(up, "await_down", lambda path, *_: found.append(path))
    return found


@pytest.fixture
def starts(here, scene, served, monkeypatch):
    """Control planes that start at once, with changes that end as `scene.outcome` says; each start is noted."""
    scene.outcome = ("done", "")
    places = settings.settings(here / ".atoll")
    begun = []

    def launch(_, *, processes):
        places.run.mkdir(parents=True, exist_ok=True)
        served(lambda: app(scene.open()), uds=places.socket)
        begun.append(processes)
        return SimpleNamespace(poll=lambda: None, returncode=None)

    monkeypatch.setattr(up, "launch", launch)
    return begun


def interrupted_once_it_follows(monkeypatch):
    def follow(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(up._Foreground, "_follow", follow)


def test_in_the_foreground_a_first_apply_that_fails_says_why(atoll, starts, taken_down, scene, monkeypatch):
    interrupted_once_it_follows(monkeypatch)
    scene.outcome = ("failed", "orders: no [such] tool")
    said = atoll("up")
    assert "atoll: change 1 (apply) failed:\norders: no [such] tool\n" in said.err
    assert "the system stays as it is; mend the file and run `atoll apply`" in said.err
    assert said.code == 0
    assert len(taken_down) == 1


def test_ctrl_c_while_the_control_plane_starts_takes_it_down(atoll, starts, taken_down, monkeypatch, here):
    await_start, calls = up.await_start, []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return await_start(*arguments)

    monkeypatch.setattr(up, "await_start", interrupted)
    said = atoll("up")
    assert said.err.splitlines() == ["starting the control plane; Ctrl-C takes everything down", "taking it down"]
    assert taken_down == [here / "atoll.yaml"]


def test_ctrl_c_again_says_what_is_left_to_do(atoll, starts, monkeypatch):
    interrupted_once_it_follows(monkeypatch)

    def interrupted(*_):
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(up, "await_down", interrupted)
    monkeypatch.setattr(up, "_bring_up", lambda *_: None)
    said = atoll("up")
    assert said.code == 130
    assert "this command does not wait for it: `atoll down` does" in said.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_again_at_once_keeps_nothing_from_being_taken_down(atoll, starts, taken_down, monkeypatch, number):
    def twice(*_):
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
        signal.raise_signal(number)  # as the first one is dealt with
        raise KeyboardInterrupt

    monkeypatch.setattr(up._Foreground, "_follow", twice)
    monkeypatch.setattr(up, "_bring_up", lambda *_: None)
    monkeypatch.setattr(Client, "down", lambda _: signal.raise_signal(number))
    said = atoll("up")
    assert (said.code, len(taken_down)) == (0, 1)


def test_ctrl_c_ends_an_up_that_cannot_tell_its_system_to_go_down(atoll, starts, taken_down, monkeypatch):
    def first(*_):
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(up, "TELLING", -1.0)
    monkeypatch.setattr(up._Foreground, "_follow", first)
    monkeypatch.setattr(up, "_bring_up", lambda *_: None)
    monkeypatch.setattr(Client, "down", lambda _: signal.raise_signal(signal.SIGINT))
    said = atoll("up")
    assert (said.code, taken_down) == (130, [])
    assert "it could not be told to go down yet; `atoll down` tells it" in said.err


def test_a_control_plane_that_ran_already_is_taken_down_too(atoll, control_plane, taken_down, monkeypatch):
    interrupted_once_it_follows(monkeypatch)
    monkeypatch.setattr(up, "_bring_up", lambda *_: None)
    monkeypatch.setattr(up, "start_for_the_end", lambda path: Client(settings.settings(path.parent / ".atoll").socket))
    said = atoll("up")
    assert "a control plane runs already (process 4242); applying the file to it" in said.err
    assert len(taken_down) == 1


@pytest.mark.parametrize("alive", [True, False])
def test_a_failed_first_apply_with_detach_says_that_the_control_plane_runs_on(atoll, starts, scene, monkeypatch, alive):
    monkeypatch.setattr(up, "holder", lambda _: 4242 if alive else None)
    monkeypatch.setattr(up, "start", lambda path, **kinds: (up.await_start(path, up.launch(path, **kinds)), None))
    scene.outcome = ("failed", "orders: no such tool")
    said = atoll("up", "--detach")
    assert said.code == 1
    assert ("the control plane runs on; `atoll down` ends it" in said.err) == alive
    assert "orders: no such tool" in said.err


def test_a_dead_control_plane_is_started_again_though_the_file_is_broken(atoll, starts, taken_down, here, monkeypatch):
    follows = []

    def follow(self, _):
        follows.append(self)
        if len(follows) == 2:
            raise KeyboardInterrupt
        (here / "atoll.yaml").write_text("services: [what was being writ")
        self._process = SimpleNamespace(poll=lambda: -9)
        monkeypatch.setattr(up, "running", lambda _: None)

    monkeypatch.setattr(up._Foreground, "_follow", follow)
    monkeypatch.setattr(up, "_bring_up", lambda *_: None)
    said = atoll("up")
    assert starts == [False, False]
    assert "the control plane has ended; the system goes on; starting it again" in said.err
    assert "problem" not in said.err
    assert len(taken_down) == 1


def test_events_are_shown_from_where_it_came_up(atoll, starts, taken_down, scene, monkeypatch):
    def event(number, text):
        return wire.Event(number, 0.0, "info", "ready", "orders", "orders", text)

    scene.happening = [event(7, "is ready")]
    monkeypatch.setattr(up, "_bring_up", lambda *_: None)

    def over(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(up._Foreground, "_next", over)
    assert "orders: is ready" in atoll("up").err
