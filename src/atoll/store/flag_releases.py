"""Releases of flags: how each is to go, and where it stands. Every method that writes is one transaction."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace

from atoll import wire
from atoll.errors import Conflict
from atoll.plan.flag_release import FlagRelease, subject
from atoll.plan.releasing import OVER, Progress
from atoll.store.database import Database
from atoll.store.transitions import Transition, record

_UNDER_WAY = "rolling"


class FlagReleases:
    """A part of the `FlagStore`. `changed` is called when a release begins, moves on or ends."""

    def __init__(
        self,
        database: Database,
        transaction: Callable[[], AbstractContextManager[Database]],
        changed: Callable[[], None],
    ) -> None:
        self._db = database
        self._transaction = transaction
        self._changed = changed
        self._open = self._read()

    def on_their_way(self) -> tuple[FlagRelease, ...]:
        """The releases that are not over."""
        return tuple(self._open.values())

    def find(self, flag: str) -> FlagRelease | None:
        """The one of a flag, None where none is on its way."""
        return self._open.get(flag)

    def begin(self, release: FlagRelease, actor: str, reason: str, at: float) -> FlagRelease:
        """
        Write a new release down; its number is the next one of its flag.

        Raises `errors.Conflict` where another one of that flag is on its way.
        """
        flag = release.flag
        if flag in self._open:
            raise Conflict(f"a release of {flag} is on its way already")
        with self._transaction() as db:
            last = db.execute("SELECT coalesce(max(number), 0) FROM flag_releases WHERE flag = ?", (flag,)).fetchone()
            release = replace(release, progress=replace(release.progress, release=last[0] + 1))
            progress = release.progress
            record(db, Transition(subject(flag), "begin", actor, reason), progress, progress, at)
            db.execute(
                "INSERT INTO flag_releases (flag, number, at, release, state) VALUES (?, ?, ?, ?, ?)",
                (flag, progress.release, at, wire.encode(release), _UNDER_WAY),
            )
        self._refresh()
        return release

    def transit(self, step: Transition, release: FlagRelease, after: Progress, at: float) -> FlagRelease:
        """
        One transition, all or nothing, with the signal that asked for it where a person did.

        Raises `errors.Conflict` where the release is not where *release* says.
        """
        before, now = release.progress, self._open.get(release.flag)
        if now is None or now.progress.state is not before.state:
            raise Conflict(f"{step.service}: release {before.release} is not {before.state} any more")
        release = replace(release, progress=after)
        with self._transaction() as db:
            record(db, step, before, after, at)
            state = after.state if after.state in OVER else _UNDER_WAY
            db.execute(
                "UPDATE flag_releases SET release = ?, state = ?, note = ? WHERE flag = ? AND number = ?",
                (wire.encode(release), state, step.reason, release.flag, before.release),
            )
        self._refresh()
        return release

    def remember(self, release: FlagRelease) -> None:
        """What the judge has seen so far of a release that stays where it is."""
        self._db.execute(
            "UPDATE flag_releases SET release = ? WHERE flag = ? AND number = ?",
            (wire.encode(release), release.flag, release.progress.release),
        )
        self._open[release.flag] = release

    def views(self, name: str | None = None) -> tuple[wire.ReleaseView, ...]:
        """Releases newest first, as those of services are shown: of what is called `flag:NAME`, or all."""
        rows = self._db.execute("SELECT flag, number, at, state, note FROM flag_releases ORDER BY at DESC, number DESC")
        found = (wire.ReleaseView(subject(flag), number, at, "", state, note) for flag, number, at, state, note in rows)
        return tuple(view for view in found if name in {None, view.service})

    def _refresh(self) -> None:
        self._open = self._read()
        self._changed()

    def _read(self) -> dict[str, FlagRelease]:
        rows = self._db.execute("SELECT release FROM flag_releases WHERE state = ?", (_UNDER_WAY,))
        found = (wire.decode(row[0], FlagRelease) for row in rows)
        return {release.flag: release for release in found}
