"""What a policy says: where it stands, why, and when to be asked again."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """Where a rollout stands."""

    GOING = "going"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Verdict:
    """An outcome and, unless it is DONE, the sentence that explains it."""

    outcome: Outcome
    reason: str = ""
