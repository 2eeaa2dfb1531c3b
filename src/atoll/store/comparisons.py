"""Parallel runs, and the noise that they have taught. Every method is one statement, or one that fails whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from atoll import wire
from atoll.policies.comparing.oddone import Profile
from atoll.policies.comparing.run import Row, Run, from_row, to_row
from atoll.store.database import Database

KEPT = 7 * 86400.0
"""Seconds that a run stays readable after the last that was heard of it."""
RUNS_KEPT = 20
"""Runs of one service."""


@dataclass(frozen=True, slots=True)
class _Noise:
    """A profile as it is written down: JSON has no keys of two parts."""

    samples: Mapping[str, int]
    odd: tuple[tuple[str, str, int], ...]


class Comparisons:
    """What the store keeps of parallel runs."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def keep(self, run: Run, at: float) -> None:
        """Write down what a run has come to, and let go of those long before it."""
        self._db.execute(
            "INSERT INTO comparisons VALUES (?1, ?2, ?3, ?4)"
            " ON CONFLICT (service, release) DO UPDATE SET at = ?3, run = ?4",
            (run.service, run.release, at, wire.encode(to_row(run))),
        )
        self._db.execute(
            "DELETE FROM comparisons WHERE service = ? AND release <= ?", (run.service, run.release - RUNS_KEPT)
        )

    def sweep(self, at: float) -> None:
        """Let go of what nobody may read any more."""
        self._db.execute("DELETE FROM comparisons WHERE at < ?", (at - KEPT,))

    def run(self, service: str, release: int | None = None) -> Run | None:
        """One run, the newest where no release is named; None also where another version has written it."""
        row = self._db.execute(
            "SELECT run FROM comparisons WHERE service = ?1 AND (?2 IS NULL OR release = ?2)"
            " ORDER BY release DESC LIMIT 1",
            (service, release),
        ).fetchone()
        try:
            return from_row(wire.decode(row[0], Row)) if row else None
        except msgspec.DecodeError:
            return None

    def learn(self, service: str, artifact: str, profile: Profile) -> None:
        """Write down the noise of what serves now; what was known of another program goes."""
        noise = _Noise(profile.samples, tuple((*of, count) for of, count in profile.odd.items()))
        self._db.execute(
            "INSERT INTO noise VALUES (?1, ?2, ?3) ON CONFLICT (service) DO UPDATE SET artifact = ?2, profile = ?3",
            (service, artifact, wire.encode(noise)),
        )

    def noise(self, service: str, artifact: str) -> Profile:
        """The noise of this program, as far as it is known."""
        row = self._db.execute(
            "SELECT profile FROM noise WHERE service = ? AND artifact = ?", (service, artifact)
        ).fetchone()
        try:
            noise = wire.decode(row[0], _Noise) if row else _Noise({}, ())
        except msgspec.DecodeError:
            return Profile()
        return Profile(samples=noise.samples, odd={(endpoint, path): count for endpoint, path, count in noise.odd})
