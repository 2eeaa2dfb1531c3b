from __future__ import annotations

import os
from pathlib import Path

import pytest

from atoll.server import settings as module
from atoll.server.settings import settings


def test_everybody_who_names_the_same_directory_finds_the_same_places(tmp_path, monkeypatch):
    (tmp_path / ".atoll").mkdir()
    (tmp_path / "link").symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert settings(Path(".atoll")) == settings(tmp_path / ".atoll") == settings(tmp_path / "link" / ".atoll")


def test_another_directory_is_another_system(tmp_path):
    one, other = settings(tmp_path / "a"), settings(tmp_path / "b")
    assert one.run != other.run
    assert one.identity != other.identity


def test_what_must_survive_a_reboot_is_beside_the_file_and_what_must_not_is_not(tmp_path):
    places = settings(tmp_path)
    for kept in (places.database, places.artifacts, places.logs, places.lock):
        assert kept.is_relative_to(tmp_path)
    for passing in (places.socket, places.token):
        assert passing.is_relative_to(places.run)
        assert not passing.is_relative_to(tmp_path)


def test_the_socket_fits_into_its_address_however_deep_the_directory(tmp_path):
    deep = tmp_path.joinpath(*["a-rather-long-name"] * 20)
    assert len(os.fsencode(settings(deep).socket)) < 108


@pytest.mark.parametrize(
    ("euid", "mapped", "runtime", "root"),
    [
        (0, 0, "/run/user/0", "/run/atoll"),
        (1000, 1000, "/run/user/1000", "/run/user/1000/atoll"),
        (1000, 1000, None, "/tmp/atoll-1000"),
        (0, 1000, None, "/tmp/atoll-1000"),  # root only inside a user namespace: the user's own places
        (0, 1000, "/run/user/1000", "/run/user/1000/atoll"),
    ],
)
def test_where_sockets_are_depends_on_who_one_really_is(tmp_path, monkeypatch, euid, mapped, runtime, root):
    monkeypatch.setattr(os, "geteuid", lambda: euid)
    monkeypatch.setattr(module, "_real_uid", lambda: mapped)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    if runtime is not None:
        monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
    assert settings(tmp_path).run.parent == Path(root)


@pytest.mark.parametrize(
    ("uid_map", "uid", "real"),
    [
        ("         0       1000          1\n         1     100000      65536\n", 0, 1000),
        ("         0       1000          1\n         1     100000      65536\n", 5, 100004),
        ("         0          0 4294967295\n", 1001, 1001),  # outside of any namespace: not everybody is root
        ("         0          0 4294967295\n", 0, 0),
        ("", 1001, 1001),
    ],
)
def test_the_real_user_is_read_from_the_namespaces_map(monkeypatch, uid_map, uid, real):
    monkeypatch.setattr(Path, "exists", lambda _: True)
    monkeypatch.setattr(Path, "read_text", lambda _: uid_map)
    monkeypatch.setattr(os, "getuid", lambda: uid)
    assert module._real_uid() == real
