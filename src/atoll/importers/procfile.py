"""A Procfile at the root: every process is a service of the same source."""

from __future__ import annotations

import re
from pathlib import Path

from atoll.importers.files import text_of
from atoll.importers.naming import name_for
from atoll.importers.proposal import Draft, Found

FILE = "Procfile"
_PROCESS = re.compile(r"([A-Za-z0-9_-]+)\s*:\s*(\S.*)")
_LISTENS = re.compile(r"\$\{?PORT\b|gunicorn|puma|uvicorn|rails s")


def find(directory: Path) -> Found | None:
    """
    The services of the Procfile, None where it names no process.

    Raises `errors.Refused` where it cannot be read.
    """
    drafts: list[Draft] = []
    notes: list[str] = []
    for number, line in enumerate(text_of(directory / FILE).splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _PROCESS.fullmatch(line.strip())
        if match is None:
            notes.append(f"{FILE}:{number}: not understood, left out: write NAME: COMMAND")
        elif match[1] == "release":
            notes.append(f"{FILE}:{number}: does not carry over: `release` (a command run before each release)")
        else:
            drafts.append(_draft(match[1], match[2].strip(), tuple(d.name for d in drafts)))
            notes += _about(drafts[-1], match[1], number)
    if not drafts:
        return None
    return Found(name_for(directory.name), FILE, tuple(drafts), notes=tuple(notes))


def _draft(process: str, command: str, taken: tuple[str, ...]) -> Draft:
    routes = ("/",) if process == "web" and "web" not in taken else ()
    return Draft(name_for(process, taken), ".", run=command, routes=routes)


def _about(draft: Draft, process: str, number: int) -> list[str]:
    notes = [] if draft.name == process else [f"{FILE}:{number}: {process} is called {draft.name} here"]
    if not draft.routes and not _LISTENS.search(draft.run or ""):
        notes.append(
            f"{FILE}:{number}: {draft.name} has to listen on $PORT: an instance counts as ready when it accepts there"
        )
    return notes
