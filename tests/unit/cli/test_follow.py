"""A change followed: who makes what, and where."""

from __future__ import annotations

import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from atoll import wire
from atoll.cli import follow
from atoll.client import NoAnswer
from atoll.errors import Failed, Unavailable
from atoll.server import settings
from atoll.store.store import Store


class Caller:
    """A client of a control plane in which nothing happens."""

    def __init__(self, *seen: wire.ChangeView) -> None:
        self._seen = seen

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def events(self, **_):
        return []

    def follow(self, **_):
        return iter(())

    def wait(self, _):
        return iter(self._seen)


def test_the_client_of_the_thread_is_made_before_it(monkeypatch):
    """The TLS library, in a thread that is still at work when the process ends, ends it with a segmentation fault."""
    makers = []

    def made(_):
        makers.append(threading.current_thread())
        return Caller()

    monkeypatch.setattr(follow, "client", made)
    begun = wire.ChangeView(1, "apply", (), "rolling", "", 0.0, {})
    over = replace(begun, state="done")
    assert follow.follow_change(Path("atoll.yaml"), Caller(begun, over), begun) == over
    assert makers == [threading.current_thread()]


@pytest.mark.parametrize(("kind", "again"), [("deploy", "atoll up"), ("down", "atoll down")])
def test_a_change_that_outlives_its_control_plane_is_said_to_be_kept(kind, again):
    class Dies(Caller):
        def wait(self, _):
            yield wire.ChangeView(7, kind, (), "rolling", "", 0.0, {})
            raise NoAnswer("no control plane answers here")

    with pytest.raises(Unavailable) as raised:
        follow.follow_change(
            Path("atoll.yaml"), Dies(), wire.ChangeView(7, kind, (), "queued", "", 0.0, {}), quiet=True
        )
    assert raised.value.message.startswith(f"the control plane ended before change 7 ({kind}) was over")
    assert "was accepted and is kept" in raised.value.message
    assert raised.value.hint == f"start it with `{again}`"
    assert raised.value.exit_code == 4


def test_a_control_plane_that_answers_with_an_error_has_not_ended():
    class Unwell(Caller):
        def wait(self, _):
            raise Unavailable("the state cannot be read")

    begun = wire.ChangeView(7, "apply", (), "queued", "", 0.0, {})
    with pytest.raises(Unavailable, match="the state cannot be read"):
        follow.follow_change(Path("atoll.yaml"), Unwell(), begun, quiet=True)


def test_what_a_change_waits_for_is_said_once(monkeypatch, capsys):
    monkeypatch.setattr(follow, "client", lambda _: Caller())
    waits = wire.ChangeView(2, "apply", (), "queued", "waits for change 1 (apply), which is rolling", 0.0, {})
    follow.follow_change(Path("atoll.yaml"), Caller(waits, waits, replace(waits, state="done", reason="")), waits)
    assert capsys.readouterr().err == "change 2 (apply) waits for change 1 (apply), which is rolling\n"


def ended_early(monkeypatch, tmp_path, state, reason):
    """Follow a change whose control plane ends before it is asked again, having written down how that one ended."""
    monkeypatch.setattr(follow, "client", lambda _: Caller())
    monkeypatch.setattr(settings, "_run_root", lambda: tmp_path / "run")
    with closing(Store(follow.places(tmp_path / "atoll.yaml").database)) as store:
        change = store.request("deploy", ("orders",), b"{}", 1.0).view()
        store.move(change.number, state, reason)

    class Ending(Caller):
        def wait(self, _):
            yield change
            raise NoAnswer("no control plane answers here")

    return follow.follow_change(tmp_path / "atoll.yaml", Ending(), change)


def test_a_change_that_was_cancelled_says_so_though_the_control_plane_has_ended_since(monkeypatch, tmp_path):
    with pytest.raises(Failed, match="change 1 \\(deploy\\) failed:\ncancelled: the system was taken down"):
        ended_early(monkeypatch, tmp_path, "failed", "cancelled: the system was taken down (change 2)")
    assert ended_early(monkeypatch, tmp_path / "other", "done", "").state == "done"


def test_a_change_that_was_not_over_when_the_control_plane_ended_is_not_known_to_be(monkeypatch, tmp_path):
    with pytest.raises(Unavailable, match="was accepted and is kept"):
        ended_early(monkeypatch, tmp_path, "rolling", "")


class Waits(Caller):
    """A client of a control plane whose services get ready after so many looks, a second each; None: never."""

    def __init__(self, looks, state="serving"):
        super().__init__()
        self.looks, self.state = looks, state

    def status(self):
        figures = dict.fromkeys(("cpu", "memory", "rps", "p50", "p99", "errors"))
        self.looks = None if self.looks is None else self.looks - 1
        ready = 2 if self.looks is not None and self.looks < 0 else 0
        web = wire.ServiceView("web", 2, ready, 3, None, 0, "is [not] there yet", instances=(), **figures)
        ready_one = replace(web, name="orders", ready=2, why="")
        return wire.StatusView("shop", 0.0, 1, bool(ready), "", (web, ready_one), None, (), ())

    def releases(self):
        return [wire.ReleaseView("web", 3, 0.0, "", self.state, "")]


@pytest.fixture
def clock(monkeypatch):
    """Of that module alone: by everybody's clock a server of another test, in its thread, would sleep for hours."""
    now = [100.0]
    ticking = SimpleNamespace(monotonic=lambda: now[0], sleep=lambda _: now.__setitem__(0, now[0] + 1))
    monkeypatch.setattr(follow, "time", ticking)
    return now


def test_what_is_waited_for_is_said_once(clock, capsys):
    follow.wait_until_ready(Waits(1))
    assert capsys.readouterr().err == ""
    follow.wait_until_ready(Waits(9))
    assert capsys.readouterr().err == "waiting; web: is [not] there yet\n"


@pytest.mark.parametrize(("state", "seconds"), [("serving", 121), ("failing", 11)])
def test_nobody_waits_long_for_what_was_given_up(clock, state, seconds):
    with pytest.raises(Failed) as caught:
        follow.wait_until_ready(Waits(None, state))
    assert caught.value.message == f"it is not as wanted after {seconds} s\nweb: is [not] there yet"


def test_nobody_waits_long_for_a_port_that_is_taken(clock, monkeypatch):
    view = replace(Waits(0).status(), converged=False, problems=("cannot bind",))
    monkeypatch.setattr(Waits, "status", lambda _: view)
    with pytest.raises(Failed) as caught:
        follow.wait_until_ready(Waits(0))
    assert caught.value.message == "it is not as wanted after 11 s\ncannot bind"
