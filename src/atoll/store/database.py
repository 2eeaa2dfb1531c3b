"""Open the state file, in WAL mode, at the schema this version knows; say what is wrong with it if it is not."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from importlib import resources
from pathlib import Path

from atoll.errors import Unavailable

_HINT = (
    "put back a copy of the file (the newest is beside it, with .backup at its end), or, to start anew, end what "
    "runs with `atoll down --force` and move the file away"
)


def connect(path: Path) -> sqlite3.Connection:
    """
    The database at *path*, created where there is none.

    Raises `errors.Unavailable` with the reason where the file is damaged, newer than this version, or cannot be
    written. A damaged file is never replaced.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        make_private(path)
        database = sqlite3.connect(path, isolation_level=None)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        verdict = database.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise Unavailable(f"the state in {path} is damaged: {verdict}", hint=_HINT)
        _migrate(database, path)
    except sqlite3.DatabaseError as error:
        raise Unavailable(f"the state in {path} cannot be used: {error}", hint=_advice(error)) from error
    except OSError as error:
        raise Unavailable(
            f"the state directory {path.parent} cannot be written: {error.strerror}",
            hint="make it writable, or name another with --state",
        ) from error
    return database


def make_private(path: Path) -> None:
    """
    Make the database file at *path*, or what is there of it, readable for its owner alone.

    It holds the environment of the services in clear. SQLite gives the files beside it, which it makes, its own mode.
    """
    files = (path, *(path.with_name(path.name + ending) for ending in ("-wal", "-shm")))
    with suppress(OSError):  # whoever opens it says why that cannot be done
        if not path.exists():
            path.touch(mode=0o600)
        for one in files:
            if one.is_file():
                one.chmod(0o600)


def _advice(error: sqlite3.DatabaseError) -> str:
    text = str(error)
    if "readonly" in text or "unable to open" in text:
        return "make the state directory writable for you, or name another with --state"
    if "full" in text:
        return "make room on the disk"
    return _HINT


def _migrate(database: sqlite3.Connection, path: Path) -> None:
    scripts = sorted(
        (f for f in resources.files("atoll.store").joinpath("migrations").iterdir() if f.name.endswith(".sql")),
        key=lambda f: f.name,
    )
    at = database.execute("PRAGMA user_version").fetchone()[0]
    if at > len(scripts):
        raise Unavailable(
            f"the state in {path} was written by a newer Atoll (schema {at}, this one knows {len(scripts)})",
            hint="use that version again",
        )
    for number, script in enumerate(scripts[at:], start=at + 1):
        database.executescript(f"BEGIN; {script.read_text()} PRAGMA user_version = {number}; COMMIT;")
