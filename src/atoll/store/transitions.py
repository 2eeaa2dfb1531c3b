"""What moved a release on, who asked for it and why: one row for each transition, of services and of flags."""

from __future__ import annotations

from dataclasses import dataclass

from atoll.plan.releasing import Progress
from atoll.store.database import Database


@dataclass(frozen=True, slots=True)
class Transition:
    """Why a release moves on. `asked` is the number of the request for it, 0 where nobody asked."""

    service: str
    signal: str
    actor: str
    reason: str
    asked: int = 0


def record(db: Database, step: Transition, before: Progress, after: Progress, at: float) -> None:
    """Write a transition down, within the caller's transaction; what asked for it is taken out."""
    if step.asked:
        db.execute("DELETE FROM signals WHERE number = ?", (step.asked,))
    db.execute(
        "INSERT INTO transitions (at, service, release, source, target, signal, actor, reason)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (at, step.service, before.release, before.state, after.state, step.signal, step.actor, step.reason),
    )
