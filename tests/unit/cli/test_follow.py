"""A change followed: who makes what, and where."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from atoll import wire
from atoll.cli import follow
from atoll.client import NoAnswer
from atoll.errors import Unavailable


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
