"""A change followed: who makes what, and where."""

from __future__ import annotations

import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path

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
