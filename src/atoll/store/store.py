"""The control plane's memory, as one object with a lifetime. Every method is one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from atoll import wire
from atoll.errors import Conflict, Unavailable
from atoll.model.system import Gateway, Rollout, System
from atoll.plan.blueprint import Blueprint, Recipe
from atoll.plan.decisions import Pin
from atoll.plan.past import Past
from atoll.plan.releasing import EXPOSED, OVER, TRANSITIONS, Progress, Signal, State, step
from atoll.store.comparisons import Comparisons
from atoll.store.database import Database, remedy
from atoll.store.flags import FlagStore
from atoll.store.packing import Packing
from atoll.store.transitions import Transition, record

EVENTS_KEPT = 20_000
TRIMMED_EVERY = 1_000
SYSTEMS_KEPT = 100
OPEN = ("queued", "building", "rolling")
PAST = 10
"""
Releases of each service that are looked back on, and whose artifacts are kept: so many each of those that have served,
that were taken back, and of the others, so that deploys that fail in a row do not close the way back.
"""
_AGED = """
SELECT *, row_number() OVER (PARTITION BY service,
    CASE WHEN state IN ('serving', 'retired') THEN 1 WHEN state = 'rolled-back' THEN 2 ELSE 3 END
    ORDER BY number DESC) AS age FROM releases
"""


@dataclass(frozen=True, slots=True)
class Change:
    """One requested change. `before` is the intent that was current when it took effect."""

    number: int
    at: float
    kind: str
    services: tuple[str, ...]
    request: bytes
    state: str
    reason: str
    before: int
    releases: Mapping[str, int]

    def view(self) -> wire.ChangeView:
        """The change as the API shows it."""
        return wire.ChangeView(self.number, self.kind, self.services, self.state, self.reason, self.at, self.releases)


def may_be_cancelled(change: Change, service: str) -> bool:
    """Whether a change has not taken effect yet, and would give *service* another release."""
    return change.state in {"queued", "building"} and change.kind != "down" and service in change.services


@dataclass(frozen=True, slots=True)
class _Head:
    system: str
    generation: int
    gateway: Gateway
    cursor: int
    counting: bool = False


class Store:
    """
    One SQLite file. Not safe for several processes: the control plane holds a lock on the state directory.

    `flags` is the part of it that keeps feature flags, `comparisons` are the parallel runs. With *look* it is for
    reading what was written down last, while no control plane runs.
    """

    def __init__(self, path: Path, *, look: bool = False) -> None:
        self._path = path
        self._db = Database(path, look=look)
        self._packing = Packing()
        self.flags = FlagStore(self._db, self._transaction)
        self.comparisons = Comparisons(self._db)

    def close(self) -> None:
        """Write everything and let go of the file."""
        self._db.close()

    def backup(self) -> None:
        """Keep a whole copy beside the file, replaced in one step; for a thread of its own, see `Database.copy`."""
        self._db.copy(self._path.with_suffix(".db.backup"))

    def keep(self) -> int:
        """
        Have the file where it belongs; how often it was deleted, and written anew from what is open here.

        Raises `sqlite3.OperationalError` where it cannot be.
        """
        self._db.keep()
        return self._db.restored

    @contextmanager
    def _transaction(self) -> Iterator[Database]:
        self.keep()
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield self._db
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    # --- intent -------------------------------------------------------------------------------------------------

    def system(self) -> tuple[int, System | None]:
        """The system that is wanted, and its number; 0 and None before the first."""
        row = self._db.execute("SELECT number, system FROM intents ORDER BY number DESC LIMIT 1").fetchone()
        return (row[0], wire.decode(row[1], System)) if row else (0, None)

    # --- changes ------------------------------------------------------------------------------------------------

    def request(self, kind: str, services: Iterable[str], request: bytes, at: float) -> Change:
        """Queue a change. Raises `errors.Unavailable` where it cannot be written down, for somebody waits for it."""
        with self._request() as db:
            row = db.execute(
                "INSERT INTO changes (at, kind, services, request, state) VALUES (?, ?, ?, ?, 'queued') RETURNING *",
                (at, kind, wire.encode(tuple(services)), request),
            ).fetchone()
        return _change(row)

    @contextmanager
    def _request(self) -> Iterator[Database]:
        """The transaction of what a person asks for, who is told where it cannot be written down."""
        try:
            with self._transaction() as db:
                yield db
        except sqlite3.OperationalError as error:
            raise Unavailable(
                f"what was asked for cannot be written down ({error}): nothing was changed",
                hint=remedy(error),
            ) from error

    def change(self, number: int) -> Change | None:
        """One change."""
        row = self._db.execute("SELECT * FROM changes WHERE number = ?", (number,)).fetchone()
        return _change(row) if row else None

    def open_changes(self) -> tuple[Change, ...]:
        """Changes that are not over, oldest first."""
        rows = self._db.execute("SELECT * FROM changes WHERE state IN (?, ?, ?) ORDER BY number", OPEN)
        return tuple(_change(row) for row in rows)

    def last_change(self) -> Change | None:
        """The newest change, over or not."""
        row = self._db.execute("SELECT * FROM changes ORDER BY number DESC LIMIT 1").fetchone()
        return _change(row) if row else None

    def move(self, number: int, state: str, reason: str = "") -> None:
        """A change goes on to another state."""
        self._db.execute("UPDATE changes SET state = ?, reason = ? WHERE number = ?", (state, reason, number))

    def cancel(self, changes: Iterable[Change], reason: str) -> None:
        """These changes have failed for this reason, all or none; what one had failed of already stays in front."""
        ends = [("\n".join(filter(None, (one.reason, reason))), one.number) for one in changes]
        with self._transaction() as db:
            db.executemany("UPDATE changes SET state = 'failed', reason = ? WHERE number = ?", ends)

    def _blame(self, db: Database, service: str, release: int, words: str) -> None:
        for change in self.open_changes() if words else ():
            if change.releases.get(service) == release:
                joined = "\n".join(filter(None, (change.reason, words)))
                db.execute("UPDATE changes SET reason = ? WHERE number = ?", (joined, change.number))

    def take_effect(
        self,
        change: Change,
        system: System,
        recipes: Iterable[Recipe],
        removed: Iterable[str],
        at: float,
        begin: Callable[[Pin], Progress | None] = lambda _: None,
    ) -> dict[str, Pin]:
        """
        Make *system* the wanted one and *recipes* new releases of their services, all or nothing.

        *begin* says how the release of a pin reaches users where that is not instance by instance. Returns the pins of
        the services that got a release. Raises `errors.Conflict` where the change is over: somebody has cancelled it.
        """
        pins: dict[str, Pin] = {}
        with self._transaction() as db:
            if db.execute("SELECT state FROM changes WHERE number = ?", (change.number,)).fetchone()[0] not in OPEN:
                raise Conflict(f"change {change.number} is over: it takes no effect")
            before = self._want(db, system, change.number, at)
            numbers: dict[str, int] = {}
            for recipe in recipes:
                pin = self._release(db, recipe, at)
                pins[recipe.service] = pin = replace(pin, progress=begin(pin))
                self._keep_progress(db, recipe.service, pin.progress)
                target = pin.target
                numbers[recipe.service] = target.release if target is not None else 0
            self._remove(db, removed)
            db.execute(
                "UPDATE changes SET state = 'rolling', before = ?, releases = ? WHERE number = ?",
                (before, wire.encode(numbers), change.number),
            )
        return pins

    def let_go(self, system: System, names: Iterable[str], at: float) -> None:
        """Make *system* the wanted one, which lacks the services *names* that were kept for their callers."""
        with self._transaction() as db:
            change = db.execute("SELECT coalesce(max(change), 0) FROM intents").fetchone()[0]
            self._want(db, system, change, at)
            self._remove(db, names)

    def _want(self, db: Database, system: System, change: int, at: float) -> int:
        """Write down what is wanted from now on; returns the number of what was wanted until then."""
        before: int = db.execute("SELECT coalesce(max(number), 0) FROM intents").fetchone()[0]
        db.execute("INSERT INTO intents (at, change, system) VALUES (?, ?, ?)", (at, change, wire.encode(system)))
        db.execute("DELETE FROM intents WHERE number <= ?", (before + 1 - SYSTEMS_KEPT,))
        return before

    def _remove(self, db: Database, services: Iterable[str]) -> None:
        gone = [(name,) for name in services]
        db.executemany("DELETE FROM pins WHERE service = ?", gone)
        db.executemany(
            "UPDATE releases SET state = 'removed', note = 'the service was taken away before it was through'"
            " WHERE service = ? AND state = 'rolling'",
            gone,
        )

    def reject(self, change: Change, note: str, reason: str, at: float) -> None:
        """
        Undo a change that took effect, all or nothing: its system, its releases, and the services it removed.

        *note* goes to its releases and *reason* to the change, which has then failed. A release that users see already
        is aborted: nothing ends before the proxies know that it gets nothing more.
        """
        with self._transaction() as db:
            before = db.execute("SELECT system FROM intents WHERE number = ?", (change.before,)).fetchone()
            if before is not None:
                system = wire.decode(before[0], System)
                self._want(db, system, change.number, at)
                names = [(name,) for name in system.services]
                db.executemany(
                    "INSERT OR IGNORE INTO pins (service, stable) SELECT service, max(number) FROM releases"
                    " WHERE service = ? AND state IN ('serving', 'failing') GROUP BY service",
                    names,
                )
            for service, release in change.releases.items():
                if self._taken_back(db, service, release, note, at):
                    continue
                db.execute(
                    "UPDATE pins SET target = NULL, progress = NULL WHERE service = ? AND target = ?",
                    (service, release),
                )
                db.execute(
                    "UPDATE releases SET state = 'failed', note = ? WHERE service = ? AND number = ?"
                    " AND state = 'rolling'",
                    (note, service, release),
                )
            db.execute("UPDATE changes SET state = 'failed', reason = ? WHERE number = ?", (reason, change.number))

    # --- releases and pins --------------------------------------------------------------------------------------

    def _taken_back(self, db: Database, service: str, release: int, note: str, at: float) -> bool:
        progress = self.pin(service).progress
        if progress is None or progress.release != release or progress.state not in EXPOSED:
            return False
        if progress.state is not State.ABORTING:
            after = step(progress, Signal.ABORT, Rollout(), 0, at, note)
            record(db, Transition(service, Signal.ABORT, "atoll", note), progress, after, at)
            self._keep_progress(db, service, after)
        return True

    def _release(self, db: Database, recipe: Recipe, at: float) -> Pin:
        service = recipe.service
        last = db.execute("SELECT coalesce(max(number), 0) FROM releases WHERE service = ?", (service,)).fetchone()[0]
        numbered = replace(recipe, release=last + 1)
        db.execute(
            "INSERT INTO releases (service, number, at, recipe, state) VALUES (?, ?, ?, ?, 'rolling')",
            (service, numbered.release, at, self._packing.recipe_row(numbered)),
        )
        # A rollout that a newer one overtakes is over; what it has started is replaced like anything else.
        progress = self.pin(service).progress
        after = TRANSITIONS.get((progress.state, Signal.OVERTAKE)) if progress is not None else None
        if progress is not None and after is not None:
            overtaken = Transition(service, Signal.OVERTAKE, "atoll", f"release {numbered.release} replaces it")
            record(db, overtaken, progress, replace(progress, state=after), at)
        db.execute(
            "UPDATE releases SET state = 'superseded' WHERE service = ? AND state = 'rolling' AND number < ?",
            (service, numbered.release),
        )
        db.execute(
            "INSERT INTO pins (service, target) VALUES (?, ?) ON CONFLICT (service) DO UPDATE SET target = ?",
            (service, numbered.release, numbered.release),
        )
        stable = db.execute("SELECT stable FROM pins WHERE service = ?", (service,)).fetchone()[0]
        return Pin(self.recipe(service, stable), numbered)

    def pins(self) -> dict[str, Pin]:
        """Every service's pin."""
        rows = self._db.execute("SELECT service, stable, target, progress FROM pins").fetchall()
        return {row[0]: self._pin(*row) for row in rows}

    def pin(self, service: str) -> Pin:
        """One service's pin, an empty one where it has none."""
        row = self._db.execute(
            "SELECT service, stable, target, progress FROM pins WHERE service = ?", (service,)
        ).fetchone()
        return self._pin(*row) if row else Pin()

    def _pin(self, service: str, stable: int | None, target: int | None, progress: bytes | None) -> Pin:
        decoded = wire.decode(progress, Progress) if progress else None
        return Pin(self.recipe(service, stable), self.recipe(service, target), decoded)

    def _keep_progress(self, db: Database, service: str, progress: Progress | None) -> None:
        packed = wire.encode(progress) if progress is not None else None
        db.execute("UPDATE pins SET progress = ? WHERE service = ?", (packed, service))

    def remember(self, service: str, progress: Progress) -> None:
        """What the judge has seen so far of a release that stays where it is."""
        self._keep_progress(self._db, service, progress)

    def transit(self, step: Transition, before: Progress, after: Progress, at: float, words: str = "") -> Pin:
        """
        One transition of one release, all or nothing, with the signal that asked for it where a person did.

        *words*, if any, say why the changes that asked for the release have failed. Raises `errors.Conflict` where it
        is not where *before* says.
        """
        service, release = step.service, before.release
        with self._transaction() as db:
            row = db.execute("SELECT progress FROM pins WHERE service = ?", (service,)).fetchone()
            if row is None or row[0] is None or wire.decode(row[0], Progress).state is not before.state:
                raise Conflict(f"{service}: release {release} is not {before.state} any more")
            record(db, step, before, after, at)
            self._keep_progress(db, service, after)
            if after.state is State.RELEASED:
                self._promote(db, service, release, step.reason)
            elif after.state in OVER:
                self._abort(db, service, release, step.reason, str(after.state))
            self._blame(db, service, release, words)
        return self.pin(service)

    def transitions(self, service: str | None = None, limit: int = 100) -> tuple[wire.TransitionView, ...]:
        """What moved releases on, newest first."""
        rows = self._db.execute(
            "SELECT at, service, release, source, target, signal, actor, reason FROM transitions"
            " WHERE ?1 IS NULL OR service = ?1 ORDER BY number DESC LIMIT ?2",
            (service, limit),
        )
        return tuple(wire.TransitionView(*row) for row in rows)

    def ask(self, service: str, signal: str, actor: str, reason: str, at: float) -> None:
        """Write down what a person asks of a release. Raises `errors.Unavailable` where that cannot be."""
        with self._request() as db:
            db.execute(
                "INSERT INTO signals (at, service, signal, actor, reason) VALUES (?, ?, ?, ?, ?)",
                (at, service, signal, actor, reason),
            )

    def asked(self) -> tuple[Transition, ...]:
        """What was asked and not yet taken up, oldest first."""
        rows = self._db.execute("SELECT service, signal, actor, reason, number FROM signals ORDER BY number")
        return tuple(Transition(*row) for row in rows)

    def forget(self, number: int) -> None:
        """What was asked means nothing any more."""
        self._db.execute("DELETE FROM signals WHERE number = ?", (number,))

    def recipe(self, service: str, release: int | None) -> Recipe | None:
        """The recipe of one release."""
        row = self._db.execute(
            "SELECT recipe FROM releases WHERE service = ? AND number = ?", (service, release)
        ).fetchone()
        return self._packing.recipe(row[0]) if row else None

    def promote(self, service: str, release: int, note: str = "") -> Pin:
        """The target has become what serves."""
        with self._transaction() as db:
            self._promote(db, service, release, note)
        return Pin(self.recipe(service, release), None)

    def _promote(self, db: Database, service: str, release: int, note: str, state: str = "serving") -> None:
        db.execute("UPDATE pins SET stable = ?, target = NULL, progress = NULL WHERE service = ?", (release, service))
        db.execute("UPDATE releases SET state = 'failed' WHERE service = ? AND state = 'failing'", (service,))
        back = any(one.kind == "rollback" and one.releases.get(service) == release for one in self.open_changes())
        end = ("rolled-back", f"release {release} took its place again") if back else ("retired", "")
        db.execute("UPDATE releases SET state = ?, note = ? WHERE service = ? AND state = 'serving'", (*end, service))
        db.execute(
            "UPDATE releases SET state = ?, note = ? WHERE service = ? AND number = ?", (state, note, service, release)
        )

    def persist(self, service: str, release: int, note: str, words: str) -> Pin:
        """
        The target, a first release, is given up and kept on, as there is nothing older: it is tried again and again.

        *words* say why the changes that asked for it have failed. See `failing` and `recover`.
        """
        with self._transaction() as db:
            self._promote(db, service, release, note, "failing")
            self._blame(db, service, release, words)
        return Pin(self.recipe(service, release), None)

    def failing(self) -> dict[str, int]:
        """First releases that were given up and have never served, by service."""
        return dict(self._db.execute("SELECT service, number FROM releases WHERE state = 'failing'").fetchall())

    def recover(self, service: str, release: int) -> None:
        """A release that was failing serves after all."""
        self._db.execute(
            "UPDATE releases SET state = 'serving', note = '' WHERE service = ? AND number = ? AND state = 'failing'",
            (service, release),
        )

    def abort(self, service: str, release: int, note: str, words: str = "", asked: int = 0) -> Pin:
        """
        The target is given up; what was stable stays, where there was anything.

        *words*, if any, say why the changes that asked for it have failed; *asked* is the request that this answers.
        """
        with self._transaction() as db:
            self._abort(db, service, release, note, "rolled-back" if asked else "failed")
            self._blame(db, service, release, words)
            db.execute("DELETE FROM signals WHERE number = ?", (asked,))
        return self.pin(service)

    def _abort(self, db: Database, service: str, release: int, note: str, state: str) -> None:
        db.execute("UPDATE pins SET target = NULL, progress = NULL WHERE service = ?", (service,))
        db.execute(
            "UPDATE releases SET state = ?, note = ? WHERE service = ? AND number = ?", (state, note, service, release)
        )

    def releases(self, service: str | None = None) -> tuple[wire.ReleaseView, ...]:
        """Releases, newest first; `stopped` is what served a service until that was taken away, also by a `down`."""
        rows = self._db.execute(
            "SELECT service, number, at, recipe, CASE WHEN state IN ('serving', 'failing') AND service NOT IN"
            " (SELECT service FROM pins) THEN 'stopped' ELSE state END, note FROM releases"
            " WHERE ?1 IS NULL OR service = ?1 ORDER BY at DESC, number DESC",
            (service,),
        )
        return tuple(
            wire.ReleaseView(name, number, at, self._packing.recipe(recipe).artifact, state, note)
            for name, number, at, recipe, state, note in rows
        )

    def past(self, service: str) -> tuple[Past, ...]:
        """The last releases of a service, newest first: `PAST` of each kind."""
        rows = self._db.execute(
            f"SELECT recipe, state, note FROM ({_AGED} WHERE service = ?) WHERE age <= ? ORDER BY number DESC",  # noqa: S608 - a constant
            (service, PAST),
        )
        return tuple(Past(self._packing.recipe(recipe), state, note) for recipe, state, note in rows)

    def artifacts(self) -> set[str]:
        """Digests that a release may still need: all that serve, and those of each service that are looked back on."""
        rows = self._db.execute(
            f"SELECT recipe FROM ({_AGED}) WHERE age <= ? OR state IN ('serving', 'failing', 'rolling')",  # noqa: S608 - a constant
            (PAST,),
        )
        return {self._packing.recipe(row[0]).artifact for row in rows}

    # --- blueprint ----------------------------------------------------------------------------------------------

    def blueprint(self) -> Blueprint | None:
        """The last target."""
        row = self._db.execute("SELECT head FROM blueprint").fetchone()
        if row is None:
            return None
        head = wire.decode(row[0], _Head)
        rows = self._db.execute("SELECT service, workload FROM workloads")
        workloads = {name: self._packing.workload(data) for name, data in rows}
        return Blueprint(head.system, head.generation, head.gateway, workloads, head.cursor, head.counting)

    def save(self, blueprint: Blueprint, parent: Blueprint) -> None:
        """Make *blueprint* the target; only workloads that differ from *parent*'s are written."""
        head = _Head(blueprint.system, blueprint.generation, blueprint.gateway, blueprint.cursor, blueprint.counting)
        with self._transaction() as db:
            db.execute(
                "INSERT INTO blueprint (id, head) VALUES (1, ?1) ON CONFLICT (id) DO UPDATE SET head = ?1",
                (wire.encode(head),),
            )
            for name, workload in blueprint.workloads.items():
                if parent.workloads.get(name) is not workload:
                    db.execute(
                        "INSERT INTO workloads VALUES (?1, ?2) ON CONFLICT (service) DO UPDATE SET workload = ?2",
                        (name, self._packing.workload_row(workload)),
                    )
            gone = [(name,) for name in parent.workloads if name not in blueprint.workloads]
            db.executemany("DELETE FROM workloads WHERE service = ?", gone)

    # --- journal ------------------------------------------------------------------------------------------------

    def append(self, events: Iterable[wire.Event]) -> tuple[wire.Event, ...]:
        """Add to the journal and give the events their numbers."""
        with self._transaction() as db:
            numbered = tuple(
                replace(
                    e,
                    number=db.execute(
                        "INSERT INTO events (at, level, kind, service, subject, text) VALUES (?, ?, ?, ?, ?, ?)"
                        " RETURNING number",
                        (e.at, e.level, e.kind, e.service, e.subject, e.text),
                    ).fetchone()[0],
                )
                for e in events
            )
            if numbered and numbered[-1].number // TRIMMED_EVERY > (numbered[0].number - 1) // TRIMMED_EVERY:
                db.execute("DELETE FROM events WHERE number <= ?", (numbered[-1].number - EVENTS_KEPT,))
        return numbered

    def events(self, after: int = 0, limit: int = 1000, service: str | None = None) -> tuple[wire.Event, ...]:
        """Events with a higher number than *after*, oldest first; the newest *limit* where *after* is 0."""
        query = "SELECT number, at, level, kind, service, subject, text FROM events WHERE number > ?1"
        query += " AND (?3 IS NULL OR service = ?3) ORDER BY number"
        if after == 0:
            query = f"SELECT * FROM ({query} DESC LIMIT ?2) ORDER BY number"  # noqa: S608 - no value is put in
        else:
            query += " LIMIT ?2"
        return tuple(wire.Event(*row) for row in self._db.execute(query, (after, limit, service)))


def _change(row: tuple[int, float, str, bytes, bytes, str, str, int, bytes]) -> Change:
    number, at, kind, services, request, state, reason, before, releases = row
    return Change(
        number,
        at,
        kind,
        wire.decode(services, tuple[str, ...]),
        request,
        state,
        reason,
        before,
        wire.decode(releases, dict[str, int]),
    )
