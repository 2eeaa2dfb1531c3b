"""Open the state file, in WAL mode, at the schema this version knows; say what is wrong with it if it is not."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing, suppress
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from urllib.parse import quote

from atoll.errors import Unavailable

_HINT = (
    "put back a copy of the file (the newest is beside it, with .backup at its end), or, to start anew, end what "
    "runs with `atoll down --force` and move the file away"
)


class Displaced(sqlite3.OperationalError):
    """The state file is not where it belongs, and a person has to say what is right: the message says how."""


def remedy(error: sqlite3.OperationalError) -> str:
    """What to do where the state cannot be written; empty where the message says it."""
    return "" if isinstance(error, Displaced) else "make room and allow writing in the state directory, then ask again"


class Database:
    """
    The state file, open. Everything in the store works on it, and it outlives the file: see `keep`.

    With *look* it is only read. `restored` counts how often the file had to be written anew.
    """

    def __init__(self, path: Path, *, look: bool = False) -> None:
        self._path = path
        self._connection = connect_to_look(path) if look else connect(path)
        self._identity = {} if look else self._identify()
        self.restored = 0

    def execute(self, statement: str, values: Sequence[object] = ()) -> sqlite3.Cursor:
        """Run one statement."""
        return self._connection.execute(statement, values)

    def executemany(self, statement: str, rows: Iterable[Sequence[object]]) -> sqlite3.Cursor:
        """Run one statement for each row."""
        return self._connection.executemany(statement, rows)

    def copy(self, to: Path) -> None:
        """
        Write all that is in it to another file, replaced in one step, and the log back into this one.

        For a thread of its own: it takes as long as the disk does, and has a connection that nobody else waits for.
        SQLite writes the log back by itself at a thousand pages, and that is in the middle of some change. It keeps its
        size and is written from its beginning again, which is quicker than to let it grow.

        Raises `sqlite3.Error` or `OSError`, as where the file is not the one that was opened.
        """
        with closing(sqlite3.connect(_uri(self._path, "rw"), uri=True, isolation_level=None)) as own:
            if _identity(self._path) != self._identity[self._path]:
                raise Displaced(f"another file is in the place of {self._path}")
            _copy(own, to)
            own.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def close(self) -> None:
        """Write everything and let go of the file."""
        self._connection.close()

    def keep(self) -> None:
        """
        Have the file where it belongs: SQLite goes on with one that somebody has deleted, and all of it ends with us.

        What is open is whole, so a file that is gone is written anew from it. Raises `sqlite3.OperationalError` where
        that cannot be done, or where another file has taken the place: which of the two is right a person has to say;
        and where the whole directory was moved, as the file is where that is now.
        """
        there = {path: _identity(path) for path in self._identity}
        if there == self._identity and all(there.values()):
            return
        if there[self._path] not in {None, self._identity[self._path]}:
            raise Displaced(
                f"another file is in the place of {self._path}, and what this control plane knows is in none; move that"
                " one away and it is written there again, or end the control plane to go on with that one"
            )
        if not self._path.parent.exists() and (now := _moved_to(self._identity[self._path])) is not None:
            raise Displaced(f"{self._path.parent} is in use and was moved to {now.parent}: move it back")
        try:
            self._restore()
        except (OSError, Unavailable) as error:
            raise sqlite3.OperationalError(f"{self._path} was deleted and cannot be written anew: {error}") from error

    def _restore(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        whole = self._path.with_suffix(".db.restored")
        _copy(self._connection, whole)
        for path in _companions(self._path):
            path.unlink(missing_ok=True)  # or it would be played back into the new file
        whole.replace(self._path)
        # Ours, also where it cannot be opened; then all of this is done again, out of the connection that still is.
        self._identity = dict.fromkeys(self._identity) | {self._path: _identity(self._path)}
        before, self._connection = self._connection, connect(self._path)
        before.close()
        self._identity = self._identify()
        self.restored += 1

    def _identify(self) -> dict[Path, tuple[int, int] | None]:
        """The files that are open: what was committed last may still be in the second one alone."""
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.execute("COMMIT")
        return {path: _identity(path) for path in (self._path, _companions(self._path)[0])}


def _copy(source: sqlite3.Connection, to: Path) -> None:
    beside = to.with_name(f"{to.name}.new")
    beside.unlink(missing_ok=True)
    beside.touch(mode=0o600)
    with closing(sqlite3.connect(beside)) as target:
        source.backup(target)
    beside.replace(to)


def _uri(path: Path, mode: str) -> str:
    return f"file:{quote(str(path))}?mode={mode}"


def _companions(path: Path) -> tuple[Path, Path]:
    return path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _moved_to(identity: tuple[int, int] | None) -> Path | None:
    """Where a file of ours is now that is still somewhere; None where it was deleted, or nobody can know."""
    with suppress(OSError):
        for link in Path("/proc/self/fd").iterdir():
            with suppress(OSError):
                if identity is not None and _identity(link) == identity:
                    now = link.readlink()
                    return now if _identity(now) == identity else None
    return None


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
    with suppress(OSError):  # whoever opens it says why that cannot be done
        if not path.exists():
            path.touch(mode=0o600)
        for one in (path, *_companions(path)):
            if one.is_file():
                one.chmod(0o600)


def connect_to_look(path: Path) -> sqlite3.Connection:
    """
    The database at *path*, to be read and never written; for those who ask while no control plane runs.

    Raises `errors.Unavailable` where there is none, or where another version wrote it.
    """
    try:
        database = sqlite3.connect(_uri(path, "ro"), uri=True, isolation_level=None)
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
