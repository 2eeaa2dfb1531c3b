"""
What is to be served next, worked out apart from the store: thousands of flags take a second to read, edit and check.

All of it is a function of the version that it begins with, so that it may happen in a thread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any

from atoll.errors import Refused
from atoll.kit.flags import Document, InvalidFlags, lint, parse
from atoll.kit.flags.document import unchanged
from atoll.operations.flag_edits import Changed, dealt, refusal, revived_by
from atoll.store.flags import Content, Version, as_text, content

Edit = Callable[[Document], Changed]


@dataclass(frozen=True, slots=True)
class Draft:
    """
    A document without errors that may be served in the place of the version `before`.

    `words` say what was changed where that is one flag, and `names` has the flags that differ.
    """

    before: Version
    content: Content
    words: tuple[str, ...]
    warnings: tuple[str, ...]
    names: tuple[str, ...]


def drafted(before: Version, edit: Edit, today: date, *, whole: bool) -> Draft:
    """
    What *edit* makes of a version.

    Raises `errors.Refused` with everything that is wrong with it, or where a *whole* document would revive a killed
    flag.
    """
    current = before.document()
    document, words = edit(current)
    findings = lint(document, today=today)
    errors = [each for each in findings if each.level == "error"]
    if errors:
        raise refusal(errors)
    if whole:  # one flag is changed as it is now
        _keep_dead(current, document)
    warnings = tuple(map(str, findings))
    return Draft(before, content(document), words, warnings, _differing(current, document))


def written(text: str) -> Edit:
    """The edit that puts a whole document in the place of the one before. It refuses what is no document."""
    return lambda _: (_read(text), ())


def _read(text: str) -> dict[str, Any]:
    try:
        document = parse(text)
        as_text(document).encode()
    except InvalidFlags as error:
        raise refusal(error.findings) from error
    except UnicodeEncodeError as error:
        half = error.object[error.start : error.end]
        raise Refused(f"{half!r} is half a character", hint="write the whole one, or leave it out") from error
    return document


def _keep_dead(before: Document, after: Document) -> None:
    """Refuse to revive flags by the way: a document may be older than their kill."""
    risen = revived_by(before, after)
    if risen:
        told = (f"{name} is killed, and this would revive it: {dealt(after['flags'][name])}" for name in risen)
        mend = ", ".join(f"atoll flags revive {name}" for name in risen)
        raise Refused("\n".join(told), hint=f"leave it as `atoll flags show` has it, or first: {mend}")


def _differing(before: Document, after: Document) -> tuple[str, ...]:
    return tuple(sorted({*before["flags"], *after["flags"]} - unchanged(before, after)))
