"""A change followed: who makes what, and where."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

from atoll import wire
from atoll.cli import follow


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


def test_what_a_change_waits_for_is_said_once(monkeypatch, capsys):
    monkeypatch.setattr(follow, "client", lambda _: Caller())
    waits = wire.ChangeView(2, "apply", (), "queued", "waits for change 1 (apply), which is rolling", 0.0, {})
    follow.follow_change(Path("atoll.yaml"), Caller(waits, waits, replace(waits, state="done", reason="")), waits)
    assert capsys.readouterr().err == "change 2 (apply) waits for change 1 (apply), which is rolling\n"
