from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from atoll.errors import Unavailable
from atoll.store import database as module
from atoll.store.database import connect
from atoll.store.flags import Author, content
from atoll.store.store import Store


def test_it_is_made_where_there_is_none_and_private(path):
    database = connect(path)
    assert database.execute("PRAGMA user_version").fetchone()[0] >= 1
    assert database.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert path.parent.stat().st_mode & 0o777 == 0o700
    database.close()


def modes(path):
    return {one.name: one.stat().st_mode & 0o777 for one in path.parent.iterdir()}


def test_nobody_else_may_read_it_or_what_lies_beside_it(path):
    database = connect(path)
    assert modes(path) == {"state.db": 0o600, "state.db-wal": 0o600, "state.db-shm": 0o600}
    database.close()


def test_one_that_others_could_read_is_closed_to_them(path):
    first = connect(path)
    for one in path.parent.iterdir():
        one.chmod(0o644)
    second = connect(path)
    assert modes(path) == {"state.db": 0o600, "state.db-wal": 0o600, "state.db-shm": 0o600}
    first.close()
    second.close()


def test_opening_it_again_changes_nothing(path):
    connect(path).close()
    before = path.read_bytes()
    connect(path).close()
    assert path.read_bytes() == before


def test_a_migration_is_whole_or_not_at_all(path):
    path.parent.mkdir()
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE events (number INTEGER)")  # the first migration will stumble over it, at its end
    database.close()
    with pytest.raises(Unavailable, match="already exists"):
        connect(path)
    database = sqlite3.connect(path)
    assert database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall() == [("events",)]
    assert database.execute("PRAGMA user_version").fetchone() == (0,)
    database.close()


@pytest.mark.parametrize(
    "content", [b"not a database at all, but long enough to look at " * 40, b"SQLite format 3\0" * 99]
)
def test_a_damaged_file_is_named_and_left_alone(path, content):
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(Unavailable, match=r"state\.db cannot be used") as error:
        connect(path)
    assert ".backup" in error.value.hint
    assert path.read_bytes() == content


def test_a_torn_page_is_found(path):
    database = connect(path)
    database.executemany(
        "INSERT INTO events (at, level, kind, service, subject, text) VALUES (1, 'info', 'k', 's', 'x', ?)",
        [("word " * 200,)] * 200,
    )
    database.close()
    torn = bytearray(path.read_bytes())
    page = int.from_bytes(torn[16:18], "big")
    torn[page * 20 : page * 30] = b"\xff" * (page * 10)
    path.write_bytes(bytes(torn))
    with pytest.raises(Unavailable, match=r"damaged|malformed"):
        connect(path)


def test_a_newer_schema_is_refused(path):
    database = connect(path)
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(Unavailable, match="written by a newer Atoll") as error:
        connect(path)
    assert error.value.hint == "use that version again"


def test_a_file_where_the_directory_should_be(path):
    path.parent.write_text("in the way")
    with pytest.raises(Unavailable, match=r"state directory .* cannot be written") as error:
        connect(path)
    assert "--state" in error.value.hint


def test_a_directory_where_the_file_should_be(path):
    path.mkdir(parents=True)
    with pytest.raises(Unavailable, match="unable to open") as error:
        connect(path)
    assert "--state" in error.value.hint


@pytest.mark.linux
def test_a_read_only_file_system(path):
    """In a mount namespace of its own, as permissions do not stop root."""
    connect(path).close()
    script = (
        "import sys; from pathlib import Path; from atoll.errors import Unavailable\n"
        "from atoll.store.database import connect\n"
        "try: connect(Path(sys.argv[1]))\n"
        "except Unavailable as error: print(error.message, error.hint)\n"
    )
    mount = f"mount --bind '{path.parent}' '{path.parent}' && mount -o remount,bind,ro '{path.parent}' || exit 77"
    command = ["unshare", "--mount", "sh", "-c", f'{mount}; exec "$0" -c "$1" "$2"', sys.executable, script, str(path)]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except FileNotFoundError:
        pytest.skip("unshare is not installed")
    if result.returncode == 77 or "unshare failed" in result.stderr or "Operation not permitted" in result.stderr:
        pytest.skip(f"no mount namespace here: {result.stderr.strip()}")
    assert "cannot be used" in result.stdout
    assert "writable" in result.stdout


def test_every_migration_has_its_number():
    names = sorted(p.name for p in Path(connect.__code__.co_filename).parent.joinpath("migrations").glob("*.sql"))
    assert names == [f"{n:04}.sql" for n in range(1, len(names) + 1)]


def delete(path, *endings):
    for ending in endings or ("", "-wal", "-shm"):
        path.with_name(path.name + ending).unlink()


def seen_by_another(path):
    """How many changes somebody finds who opens the file now."""
    with closing(sqlite3.connect(path)) as other:
        return other.execute("SELECT count(*) FROM changes").fetchone()[0]


def test_nothing_is_written_anew_while_the_file_is_there(store, path):
    before = path.stat().st_ino
    for _ in range(3):
        store.request("apply", (), b"", 1.0)
        assert store.keep() == 0
    assert path.stat().st_ino == before


@pytest.mark.parametrize("what", [("",), ("-wal",), ("", "-wal", "-shm"), ("", "-shm")])
def test_a_file_that_is_deleted_is_written_anew_with_everything_in_it(store, path, what):
    store.request("apply", (), b"", 1.0)
    delete(path, *what)
    assert store.keep() == 1
    assert path.stat().st_mode & 0o077 == 0, "it holds environments in clear"
    assert seen_by_another(path) == 1
    store.request("apply", (), b"", 1.0)
    assert store.keep() == 1
    assert seen_by_another(path) == 2
    assert len(store.open_changes()) == 2


def test_a_change_is_never_taken_by_a_file_that_is_gone(store, path):
    store.request("apply", (), b"", 1.0)
    delete(path)
    store.request("apply", (), b"", 1.0)
    assert seen_by_another(path) == 2


def test_what_was_handed_out_before_goes_on_with_the_new_file(store, path):
    flags = store.flags
    delete(path)
    store.keep()
    assert flags.history() == ()
    store.ask("orders", "abort", "ada", "why", 1.0)
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT count(*) FROM signals").fetchone() == (1,)


def test_the_whole_directory_may_be_gone(store, path):
    store.request("apply", (), b"", 1.0)
    shutil.rmtree(path.parent)
    store.keep()
    assert seen_by_another(path) == 1


def test_a_directory_that_was_moved_is_not_made_anew_where_it_was(store, path):
    store.request("apply", (), b"", 1.0)
    moved = path.parent.with_name("moved")
    path.parent.rename(moved)
    with pytest.raises(Unavailable, match=f"is in use and was moved to {moved}: move it back") as caught:
        store.request("apply", (), b"", 1.0)
    assert caught.value.hint == "", "to make room would not help"
    with pytest.raises(sqlite3.OperationalError, match="move it back"):
        store.keep()
    assert not path.parent.exists()
    moved.rename(path.parent)
    assert store.keep() == 0
    store.request("apply", (), b"", 1.0)
    assert seen_by_another(path) == 2


def test_another_file_in_its_place_is_not_touched(store, path):
    store.request("apply", (), b"", 1.0)
    path.rename(path.with_name("mine"))
    path.write_text("somebody's")
    with pytest.raises(Unavailable, match="another file is in the place of"):
        store.request("apply", (), b"", 1.0)
    with pytest.raises(Unavailable, match="another file is in the place of"):
        store.ask("orders", "abort", "ada", "why", 1.0)
    flags, before = content({"flags": {}, "metadata": {"a": "b"}}), store.flags.current().etag
    with pytest.raises(Unavailable, match="another file is in the place of"):
        store.flags.write(flags, Author(1.0, "ada", "wrote", "why"), before=before)
    assert path.read_text() == "somebody's"
    path.unlink()
    assert store.keep() == 1
    assert seen_by_another(path) == 1


def test_a_file_that_cannot_be_written_anew_is_tried_again(store, path, monkeypatch):
    store.request("apply", (), b"", 1.0)
    delete(path)

    def refuse(_):
        raise Unavailable("no room")

    monkeypatch.setattr(module, "connect", refuse)
    for _ in range(2):
        with pytest.raises(Unavailable, match="no room"):
            store.request("apply", (), b"", 1.0)
    monkeypatch.undo()
    store.request("apply", (), b"", 1.0)
    assert seen_by_another(path) == 2


def test_who_only_looks_finds_what_was_written_last_and_changes_nothing(store, path):
    store.request("apply", (), b"", 1.0)
    with closing(Store(path, look=True)) as looking:
        assert looking.last_change().number == 1
        with pytest.raises(Unavailable, match="readonly"):
            looking.request("apply", (), b"", 1.0)
    store.close()
    with closing(Store(path, look=True)) as looking:
        assert looking.last_change().number == 1


def test_who_only_looks_makes_nothing(path):
    path.parent.mkdir()
    with pytest.raises(Unavailable, match="cannot be read"):
        Store(path, look=True)
    assert list(path.parent.iterdir()) == []


def test_who_only_looks_does_not_take_another_version_for_this_one(store, path):
    store._db.execute("PRAGMA user_version = 99")
    with pytest.raises(Unavailable, match="is of another version"):
        Store(path, look=True)
