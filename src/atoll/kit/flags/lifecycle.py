"""Which flags have had their time: overdue, not asked for any more, or the same for everybody."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

from atoll.kit.flags.document import Document
from atoll.kit.flags.lint import LASTING, day

Why = Literal["overdue", "unused", "settled"]


@dataclass(frozen=True, slots=True)
class Facts:
    """
    What was seen of a flag.

    Args:
        since: the day from which on it was watched.
        evaluated: the last day on which somebody asked for it; None if nobody has.
        only: the variant that everybody got lately; None if there were several.
        only_since: the first of the days on which everybody got that one.

    """

    since: date
    evaluated: date | None = None
    only: str | None = None
    only_since: date | None = None


@dataclass(frozen=True, slots=True)
class Due:
    """A flag to clean up: `why`, for how many `days`, whom to ask (`owner`), and what to do (`mend`)."""

    key: str
    owner: str
    why: Why
    days: int
    mend: str


def due(document: Document, facts: Mapping[str, Facts], *, today: date, quiet: int = 30) -> list[Due]:
    """
    The flags to clean up, those that waited longest first.

    Flags of the kinds ops and permission may be the same for everybody for ever.

    Args:
        document: the flags.
        facts: what was seen of them, by key; a flag without facts can only be overdue.
        today: the day of the report.
        quiet: after how many days without a question, or with one answer, a flag is dead.

    """
    found = [each for key, flag in document["flags"].items() for each in _of(key, flag, facts.get(key), today, quiet)]
    return sorted(found, key=lambda each: (-each.days, each.key))


def _of(key: str, flag: Mapping[str, Any], seen: Facts | None, today: date, quiet: int) -> Iterator[Due]:
    metadata = flag.get("metadata") or {}
    owner = str(metadata.get("owner", ""))
    expires = day(metadata.get("expires"))
    if expires is not None and expires < today:
        yield Due(key, owner, "overdue", (today - expires).days, "remove it from the code, or give it a later date")
    if seen is None:
        return
    idle = (today - (seen.evaluated or seen.since)).days
    if idle >= quiet:
        yield Due(key, owner, "unused", idle, "remove it: no running code asks for it")
    elif seen.only is not None and seen.only_since is not None and metadata.get("kind") not in LASTING:
        same = (today - seen.only_since).days
        if same >= quiet:
            yield Due(key, owner, "settled", same, f"write {seen.only} into the code and remove the flag")
