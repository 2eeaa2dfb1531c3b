from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from atoll.drivers.builders import tree
from atoll.drivers.builders.tree import copy, entries, tree_digest
from atoll.errors import Refused


def paths(source: Path) -> list[str]:
    return [entry.path for entry in entries(source)]


def write(source: Path, *names: str) -> None:
    for name in names:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(name)


def test_what_belongs_to_a_source(tmp_path: Path) -> None:
    write(
        tmp_path, "b.py", "a/c", "a-b", ".env", ".git/x", "a/node_modules/y", "z.pyc", "atoll.yaml", "conf/atoll.yaml"
    )
    assert paths(tmp_path) == [".env", "a/c", "a-b", "b.py", "conf/atoll.yaml"]


def test_an_ignore_file_names_more(tmp_path: Path) -> None:
    write(tmp_path, "a/data.csv", "data.csv", "big/x", "kept/big", "docs/a/b")
    (tmp_path / ".atollignore").write_text("# comment\n\n*.csv\n/big/\ndocs/*\n")
    assert paths(tmp_path) == [".atollignore", "kept/big"]


@pytest.mark.parametrize("content", [b"\xff", b"!kept"])
def test_an_ignore_file_that_cannot_be_followed_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / ".atollignore").write_bytes(content)
    with pytest.raises(Refused, match=r"\.atollignore"):
        entries(tmp_path)


def test_the_digest_is_of_names_modes_and_contents(tmp_path: Path) -> None:
    source = tmp_path / "source"
    write(source, "a", "d/b")
    (source / "link").symlink_to("a")
    seen = {tree_digest(source, entries(source))}
    for change in (
        lambda: (source / "a").write_text("other"),
        lambda: (source / "a").chmod(0o755),
        lambda: (source / "d/b").rename(source / "d/c"),
        lambda: ((source / "link").unlink(), (source / "link").symlink_to("d/c")),
    ):
        change()
        now = tree_digest(source, entries(source))
        assert now not in seen
        seen.add(now)
    os.utime(source / "a", (0, 0))
    assert tree_digest(source, entries(source)) in seen


def test_a_copy_has_the_same_digest(tmp_path: Path) -> None:
    source = tmp_path / "source"
    write(source, "a", "d/b")
    (source / "d/link").symlink_to("../a")
    (source / "a").chmod(0o700)
    copy(source, entries(source), tmp_path / "copy")
    assert tree_digest(tmp_path / "copy", entries(tmp_path / "copy")) == tree_digest(source, entries(source))
    assert (tmp_path / "copy/a").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "copy/d/b").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("target", ["/etc/passwd", "../outside", "d/../../outside", "../source/a", "loop", "a\nb"])
def test_a_link_that_leads_out_is_refused(tmp_path: Path, target: str) -> None:
    source = tmp_path / "source"
    write(source, "a", "d/b")
    write(tmp_path, "outside")
    (source / "loop").symlink_to(target)
    with pytest.raises(Refused, match=r"link|file name"):
        entries(source)


def test_a_link_through_another_link_is_judged_by_where_it_ends(tmp_path: Path) -> None:
    source = tmp_path / "source"
    write(source, "a/b/c")
    write(tmp_path, "outside")
    (source / "a/b/up").symlink_to("../..")
    (source / "far").symlink_to("a/b/up/../outside")
    with pytest.raises(Refused, match="leads out"):
        entries(source)


@pytest.mark.parametrize("name", ["a\nb", "a\tb", "\x1b[31m", os.fsdecode(b"\xff"), "\u202etxt"])
def test_a_hostile_name_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("")
    with pytest.raises(Refused, match="cannot be part of a release") as caught:
        entries(tmp_path)
    assert caught.value.message.isprintable()


@pytest.mark.parametrize("name", ["é", "日本", "a b", "-rf", "$(x)", "'\""])
def test_an_odd_name_is_fine(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("")
    assert paths(tmp_path) == [name]


def test_a_fifo_and_a_socket_are_refused(tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    os.mkfifo(tmp_path / "f/fifo")
    with pytest.raises(Refused, match="fifo is not a regular file"):
        entries(tmp_path)
    (tmp_path / "f/fifo").unlink()
    with socket.socket(socket.AF_UNIX) as opened:
        here = Path.cwd()
        os.chdir(tmp_path)
        try:
            opened.bind("s")
        finally:
            os.chdir(here)
        with pytest.raises(Refused, match="s is not a regular file"):
            entries(tmp_path)


def test_an_unreadable_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "secret")
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may read everything
    with pytest.raises(Refused, match="secret cannot be read"):
        entries(tmp_path)


def test_too_many_files_and_too_deep_a_tree_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "MOST_FILES", 3)
    write(tmp_path, "a", "b", "c")
    assert len(entries(tmp_path)) == 3
    write(tmp_path, "d")
    with pytest.raises(Refused, match="more than 3 files"):
        entries(tmp_path)
    deep = tmp_path / "other"
    write(deep, "/".join("x" * 150))
    with pytest.raises(Refused, match="levels deep"):
        entries(deep)


def test_a_missing_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="no source directory"):
        entries(tmp_path / "none")


def test_a_file_that_became_a_fifo_does_not_hold_the_digest(tmp_path: Path) -> None:
    write(tmp_path, "a")
    found = entries(tmp_path)
    (tmp_path / "a").unlink()
    os.mkfifo(tmp_path / "a")
    assert tree_digest(tmp_path, found) != ""
