from __future__ import annotations

from pathlib import Path

import pytest

from atoll.drivers.host.bubblewrap import FEW_USERS, USERS, Box, _users, arguments, drop, etc, service_user


def box(**changes):
    usual = {"name": "orders-r1-1", "app": "/srv/artifacts/x/app", "mounts": ("/opt/python/3.11",), "user": 60700}
    usual |= {"files": {"/etc/hosts": ""}, "env": {"PORT": "8080"}, "rootless": False}
    return Box(**(usual | changes))


def options(**changes):
    return " ".join(arguments(box(**changes), {"/etc/hosts": 7}))


@pytest.fixture
def users(monkeypatch):
    """Answers as if this were a namespace with that map."""

    def mapped(text):
        monkeypatch.setattr(Path, "read_text", lambda _: text)
        _users.cache_clear()
        return _users()

    yield mapped
    monkeypatch.undo()
    _users.cache_clear()


def test_users_are_between_the_ranges_that_others_give_out(users):
    assert users("         0          0 4294967295\n") == USERS
    assert USERS.start >= 1879048192  # above systemd's containers
    assert USERS[-1] <= 2**31 - 1  # below what is signed
    for narrow in ("0 0 65536\n", "0 1000 1\n1 100000 65536\n", "", "what"):
        assert users(narrow) == FEW_USERS
    assert FEW_USERS.start >= 60578
    assert FEW_USERS[-1] < 61184


def test_no_two_of_a_thousand_services_are_one_user(users):
    users("0 0 4294967295\n")
    assert len({service_user(f"service-{number}") for number in range(1000)}) == 1000
    assert service_user("orders") == service_user("orders")


def test_nothing_is_bound_writable():
    words = options().split()
    assert not {"--bind", "--bind-try", "--dev-bind", "--dev-bind-try"} & set(words)
    binds = [(words[at + 1], words[at + 2]) for at, word in enumerate(words) if word == "--ro-bind"]
    assert ("/srv/artifacts/x/app", "/app") in binds
    assert ("/opt/python/3.11", "/opt/python/3.11") in binds
    assert not {source for source, _ in binds} & {"/", "/etc", "/home", "/root", "/var", "/run", "/tmp"}


def test_the_root_is_closed_after_all_is_placed():
    words = options().split()
    assert words.index("--remount-ro") > max(
        at for at, word in enumerate(words) if word in {"--file", "--ro-bind", "--dir"}
    )


def test_directories_above_a_mount_are_open_for_the_services_user():
    assert "--perms 0755 --dir /opt --perms 0755 --dir /opt/python" in options()


def test_root_keeps_what_it_needs_to_become_the_service_and_drops_it_then():
    assert options().count("--cap-add") == 3
    assert "--unshare-user" not in options()
    assert drop(box())[:3] == ("/usr/bin/setpriv", "--reuid=60700", "--regid=60700")
    assert {"--clear-groups", "--bounding-set=-all", "--no-new-privs"} <= set(drop(box()))


def test_without_root_there_is_a_user_namespace_and_no_further_one():
    assert "--cap-add" not in options(rootless=True)
    assert "--unshare-user --disable-userns --uid 60700 --gid 60700" in options(rootless=True)
    assert drop(box(rootless=True)) == ()


def test_all_service_names_lead_to_the_proxy():
    files = etc("orders-r1-1", "10.201.0.6", ("orders", "payments"), 60700)
    assert files["/etc/hosts"].splitlines() == [
        "127.0.0.1 localhost orders payments", "::1 localhost ip6-localhost", "10.201.0.6 orders-r1-1"
    ]  # fmt: skip
    assert "app:x:60700:60700:app:/tmp:/bin/sh" in files["/etc/passwd"]
