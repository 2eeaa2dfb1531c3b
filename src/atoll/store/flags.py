"""The system's feature flags: every version of their document, who wrote it and why, and how old each flag is."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any
from zlib import compress, decompress

from atoll.errors import Conflict, Unavailable
from atoll.kit.flags import Document, everybody
from atoll.store.database import Database, remedy
from atoll.store.flag_releases import FlagReleases
from atoll.values.hashing import digest

VERSIONS_KEPT = 1_000
BYTES_KEPT = 64 * 2**20
"""Of all versions but the current one, as they are kept: of large documents there are fewer."""
_FAST = 1  # a tenth of the size in 10 ms a megabyte; what takes longer saves little more


@dataclass(frozen=True, slots=True)
class Author:
    """Who writes a version, when (seconds since the epoch), what it does in a few words, and why."""

    at: float
    actor: str
    deed: str
    reason: str


@dataclass(frozen=True, slots=True)
class Version:
    """One version of the document. `etag` names exactly this one."""

    number: int
    author: Author
    text: str

    @property
    def etag(self) -> str:
        """Its number and digest, so that it names another document in another state file."""
        return f"{self.number}-{digest(self.text.encode())[:12]}"

    def document(self) -> dict[str, Any]:
        """The document, anew for everybody who asks, in any thread."""
        found: dict[str, Any] = json.loads(self.text)
        return found


@dataclass(frozen=True, slots=True)
class Age:
    """Since when a flag is there, and since when everybody gets its variant `only` (None: that depends)."""

    since: float
    only: str | None
    only_since: float


@dataclass(frozen=True, slots=True)
class Content:
    """A document as it is kept: its text, `packed` as well, and the variant `only` of each flag, as in an Age."""

    text: str
    packed: bytes
    only: Mapping[str, str | None]


def content(document: Mapping[str, Any]) -> Content:
    """What is kept of a document. Of a large one that takes a while, and may be done in any thread."""
    text = as_text(document)
    only = {flag: everybody(made) for flag, made in document["flags"].items()}
    return Content(text, compress(text.encode(), _FAST), only)


def as_text(document: Mapping[str, Any]) -> str:
    """A document, or a part of it, as it is kept: the same text for the same document."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


NOTHING = Version(0, Author(0.0, "", "", ""), '{"flags":{}}')


class FlagStore:
    """
    A part of the `Store`, over its connection. What is written has been checked.

    `listeners` are called after every change of what is served. `releases` are those of flags.
    """

    def __init__(self, database: Database, transaction: Callable[[], AbstractContextManager[Database]]) -> None:
        self._db = database
        self._transaction = transaction
        self.listeners: list[Callable[[], None]] = []
        self.releases = FlagReleases(database, transaction, self.announce)
        self._current = self._newest()
        self._read: tuple[Version, Document] | None = None

    def current(self) -> Version:
        """The version that is served; number 0, without a flag, before the first."""
        return self._current

    def document(self) -> Document:
        """What is in that version, read once for all who ask, as thousands of flags take long: not to be changed."""
        if self._read is None or self._read[0] is not self._current:
            self._read = (self._current, self._current.document())
        return self._read[1]

    def version(self, number: int) -> Version | None:
        """An earlier version, None where it is not there (any more)."""
        row = self._db.execute(f"{_SELECT} WHERE number = ?", (number,)).fetchone()
        return _version(row) if row else None

    def history(self, limit: int = 50) -> tuple[Version, ...]:
        """The newest versions, newest first."""
        return tuple(_version(row) for row in self._db.execute(f"{_SELECT} ORDER BY number DESC LIMIT ?", (limit,)))

    def ages(self) -> dict[str, Age]:
        """How old each flag is."""
        rows = self._db.execute("SELECT flag, since, only, only_since FROM flag_ages")
        return {flag: Age(*row) for flag, *row in rows}

    def write(self, new: Content, author: Author, *, before: str) -> Version:
        """
        Make *new* what is served, whole or not at all.

        Raises `errors.Conflict` where the version that it was made from, by its etag *before*, is not the current one.
        Raises `errors.Unavailable` where it cannot be written down.
        """
        if before != self._current.etag:
            raise Conflict(
                f"the flags have changed since they were read: {self._current.author.actor or 'nobody'} wrote version"
                f" {self._current.number}",
                hint="look again with `atoll flags show`, then change that",
            )
        try:
            with self._transaction() as db:
                row = db.execute(
                    "INSERT INTO flag_documents (at, actor, deed, reason, document) VALUES (?, ?, ?, ?, ?)"
                    " RETURNING number",
                    (author.at, author.actor, author.deed, author.reason, new.packed),
                ).fetchone()
                _shorten(db, row[0])
                self._grow(db, new.only, author.at)
        except sqlite3.OperationalError as error:
            raise Unavailable(
                f"the flags cannot be written down ({error}): nothing was changed",
                hint=remedy(error),
            ) from error
        self._current = Version(row[0], author, new.text)
        self.announce()
        return self._current

    def announce(self) -> None:
        """Tell everybody who serves flags that something has changed."""
        for listener in self.listeners:
            listener()

    def _grow(self, db: Database, flags: Mapping[str, str | None], at: float) -> None:
        before = self.ages()
        db.executemany("DELETE FROM flag_ages WHERE flag = ?", [(flag,) for flag in before if flag not in flags])
        for flag, only in flags.items():
            old = before.get(flag)
            if old is None or old.only != only:
                since = old.since if old is not None else at
                db.execute("INSERT OR REPLACE INTO flag_ages VALUES (?, ?, ?, ?)", (flag, since, only, at))

    def _newest(self) -> Version:
        found = self.history(limit=1)
        return found[0] if found else NOTHING


_SELECT = "SELECT number, at, actor, deed, reason, document FROM flag_documents"


def _shorten(db: Database, newest: int) -> None:
    """Let the oldest versions go, of more than so many, or of more bytes than are kept beside the newest."""
    older = "SELECT number, length(document) FROM flag_documents WHERE number < ? ORDER BY number DESC"
    kept = 0
    for place, (number, size) in enumerate(db.execute(older, (newest,)).fetchall(), start=1):
        kept += size
        if place >= VERSIONS_KEPT or kept > BYTES_KEPT:
            db.execute("DELETE FROM flag_documents WHERE number <= ?", (number,))
            return


def _version(row: tuple[int, float, str, str, str, str | bytes]) -> Version:
    number, at, actor, deed, reason, document = row
    text = document if isinstance(document, str) else decompress(document).decode()  # text was kept as it is before
    return Version(number, Author(at, actor, deed, reason), text)
