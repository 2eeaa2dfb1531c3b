"""Whom the end of a session takes along."""

from __future__ import annotations

import os
import pwd

import pytest

from atoll.drivers.host import sessions

ME = pwd.getpwuid(os.getuid()).pw_name
MANAGER = f"0::/user.slice/user-{os.getuid()}.slice/user@{os.getuid()}.service"


@pytest.mark.parametrize(
    ("groups", "user"),
    [
        (f"{MANAGER}/app.slice/run-1.scope\n", ME),
        (f"{MANAGER}\n", ME),
        (f"4:memory:/user.slice\n1:name=systemd:{MANAGER[3:]}/app.slice\n0::/\n", ME),
        (MANAGER.replace(str(os.getuid()), "4123456789"), "4123456789"),
        ("0::/user.slice/user-1000.slice/session-5.scope\n", ""),
        ("0::/system.slice/shop.service\n", ""),
        ("0::/system.slice/user@home.service\n", ""),
        ("0::/\n", ""),
        ("", ""),
    ],
)
def test_only_what_a_users_own_systemd_holds_ends_with_the_last_session(tmp_path, groups, user):
    assert sessions.user_of(groups, tmp_path) == user


def test_who_lingers_may_log_out(tmp_path):
    (tmp_path / ME).touch()
    assert sessions.user_of(MANAGER, tmp_path) == ""
    assert sessions.user_of(MANAGER.replace(str(os.getuid()), "4123456789"), tmp_path) == "4123456789"


def test_the_note_says_who_and_what_to_do(monkeypatch):
    monkeypatch.setattr(sessions, "ending_with", lambda: "ann")
    assert sessions.notes() == ("all this ends when ann logs out (loginctl enable-linger)",)
    monkeypatch.setattr(sessions, "ending_with", lambda: "")
    assert sessions.notes() == ()
