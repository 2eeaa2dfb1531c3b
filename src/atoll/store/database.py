"""Open the state file, in WAL mode, at the schema this version knows; say what is wrong with it if it is not."""

from __future__ import annotations

import sqlite3
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from urllib.parse import quote

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


def connect_to_look(path: Path) -> sqlite3.Connection:
    """
    The database at *path*, to be read and never written; for those who ask while no control plane runs.

    Raises `errors.Unavailable` where there is none, or where another version wrote it.
    """
    try:
        database = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, isolation_level=None)
        at, known = database.execute("PRAGMA user_version").fetchone()[0], len(_scripts())
    except sqlite3.DatabaseError as error:
        raise Unavailable(f"the state in {path} cannot be read: {error}", hint=_advice(error)) from error
    if at != known:
        database.close()
        raise Unavailable(f"the state in {path} is of another version (schema {at}, this one knows {known})")
    return database


def _advice(error: sqlite3.DatabaseError) -> str:
    text = str(error)
    if "readonly" in text or "unable to open" in text:
        return "make the state directory writable for you, or name another with --state"
    if "full" in text:
        return "make room on the disk"
    return _HINT


def _scripts() -> list[Traversable]:
    migrations = resources.files("atoll.store").joinpath("migrations")
    return sorted((f for f in migrations.iterdir() if f.name.endswith(".sql")), key=lambda f: f.name)


def _migrate(database: sqlite3.Connection, path: Path) -> None:
    scripts = _scripts()
    at = database.execute("PRAGMA user_version").fetchone()[0]
    if at > len(scripts):
        raise Unavailable(
            f"the state in {path} was written by a newer Atoll (schema {at}, this one knows {len(scripts)})",
            hint="use that version again",
        )
    for number, script in enumerate(scripts[at:], start=at + 1):
        database.executescript(f"BEGIN; {script.read_text()} PRAGMA user_version = {number}; COMMIT;")
