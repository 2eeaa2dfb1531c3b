"""The file to a checked System. `load` is the one function of this package that touches the disk."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from atoll.errors import Refused
from atoll.model.check import check
from atoll.model.parse import parse
from atoll.model.problems import InvalidSystem, Place, Problem
from atoll.model.reading import Notes
from atoll.model.source import BIGGEST, Unreadable, read, too_big
from atoll.model.system import System


def load(path: Path) -> System:
    """
    The system that the file at *path* describes; its sources have to be there.

    Raises `model.problems.InvalidSystem` with every problem at once, `errors.Refused` where there is no such file.
    """
    try:
        with path.open("rb") as opened:
            data = opened.read(BIGGEST + 1)
    except OSError as error:
        raise Refused(f"{path} cannot be read: {error.strerror}", hint="write one with `atoll init`") from error
    if len(data) > BIGGEST:
        raise InvalidSystem((too_big(path.name),))
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - (data.rfind(b"\n", 0, error.start) + 1) + 1
        problem = Problem(Place(path.name, line, column), "a byte that is not UTF-8", "save the file as UTF-8")
        raise InvalidSystem((problem,)) from error
    system, notes = _read(text, file=path.name, directory=str(path.resolve().parent))
    for service in system.services.values():
        _check_source(path.resolve().parent, service.name, service.source, notes)
    return _whole(system, notes)


# Planned, applied and carried out it is the same text, and nothing takes longer than to parse it.
@lru_cache(maxsize=2)
def loads(text: str, *, file: str, directory: str) -> System:
    """The same from text; *directory* is what sources are relative to, and is not looked at."""
    return _whole(*_read(text, file=file, directory=directory))


def _read(text: str, *, file: str, directory: str) -> tuple[System, Notes]:
    try:
        tree, problems = read(text, file)
    except Unreadable as error:
        raise InvalidSystem(error.problems) from error
    notes = Notes(problems=list(problems))
    system = parse(tree, notes, file=file, directory=directory)
    warnings = check(system, notes)
    return replace(system, warnings=warnings), notes


def _whole(system: System, notes: Notes) -> System:
    if notes.problems:
        raise InvalidSystem(tuple(dict.fromkeys(notes.problems)))
    return system


def _check_source(directory: Path, name: str, source: str | None, notes: Notes) -> None:
    if source is None:
        return
    place = notes.places.get(f"services.{name}.source", Place("", 1, 1))
    whole = directory / source
    try:
        inside = whole.resolve().is_relative_to(directory)
        if not whole.exists():
            notes.problem(place, f"the source of {name} is missing: there is no directory {source}")
        elif not whole.is_dir():
            notes.problem(place, f"the source of {name} is a file: {source}", "name the directory it is in")
        elif not inside:
            notes.problem(place, f"the source of {name} leads out of {directory}", "keep sources below the file")
    except (OSError, ValueError, RuntimeError) as error:
        notes.problem(place, f"the source of {name} cannot be looked at: {error}")
