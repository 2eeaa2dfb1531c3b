"""
What instances write: one file each, appended to by the instance itself, so that nothing is lost when nobody looks.

Rotation copies and truncates, because the writing processes keep the file open: renaming it would let them go on
writing into the old one. What is written meanwhile is copied, too; what comes in the moment between the last look and
the cut is lost, once in `LIMIT` bytes.
"""

from __future__ import annotations

import os
from collections.abc import Container
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from atoll.values.printable import plain

LIMIT = 10 * 1024 * 1024
KEPT = 3
"""Files per instance in all: the one that is written, `.1` and `.2`."""
ENDED = 20
"""Logs kept per service of instances that are no more."""
LAST_LINES = 20
_TAIL = 16 * 1024
_MEANWHILE = 1024 * 1024
_PASSES = 8
"""How often what was written meanwhile is copied after the rest: some write faster than that."""


def open_log(path: Path, owner: int | None = None) -> int:
    """
    A descriptor to append with. *owner* is the user who writes, who can then also open `/dev/stdout` by its name.

    Raises `OSError`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
    if owner is not None:
        os.fchown(descriptor, owner, -1)
    return descriptor


def is_full(path: Path, limit: int = LIMIT) -> bool:
    """Whether it is time to rotate it."""
    with suppress(OSError):
        return path.stat().st_size > limit
    return False


def rotate(path: Path) -> None:
    """
    Move what is there aside, as `.1` and `.2`: its newest `LIMIT` bytes, however much was written since the last look.

    A full disk costs the old lines, not the service.
    """
    with suppress(OSError):
        for number in range(KEPT - 1, 1, -1):
            younger = path.with_name(f"{path.name}.{number - 1}")
            if younger.exists():
                younger.replace(path.with_name(f"{path.name}.{number}"))
        with path.open("rb") as written, path.with_name(f"{path.name}.1").open("wb") as kept:
            _copy_newest(written, kept)
            os.truncate(path, 0)
            return
    with suppress(OSError):
        os.truncate(path, 0)


def _copy_newest(written: BinaryIO, kept: BinaryIO) -> None:
    """The last `LIMIT` bytes, from the beginning of a line on, and what is written while they are copied."""
    size = written.seek(0, os.SEEK_END)
    written.seek(max(0, size - LIMIT))
    if size > LIMIT:
        written.readline(LIMIT)
    kept.write(written.read(LIMIT))
    for _ in range(_PASSES):
        meanwhile = written.read(_MEANWHILE)
        if not meanwhile:
            return
        kept.write(meanwhile)


def last_lines(path: Path, count: int = LAST_LINES) -> tuple[str, ...]:
    """
    The last lines of a log, empty where there is none.

    They become parts of sentences that are shown in many places, so nothing in them may steer a terminal.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL))
            text = file.read().decode(errors="replace")
    except OSError:
        return ()
    return tuple(plain(line) for line in text.splitlines()[-count:])


def prune(directory: Path, service: str, recorded: Container[str], keep: int = ENDED) -> None:
    """
    Delete the logs of all but the last *keep* instances of *service* that are no more.

    Those of the *recorded* ones stay, however long they have been silent: who runs has the file open and would go on
    writing where nobody can read it, and its size would be bounded by nobody.
    """
    logs = [path for path in directory.glob(f"{service}-r*.log") if path.stem.rsplit("-r", 1)[0] == service]
    for path in sorted((path for path in logs if path.stem not in recorded), key=_age)[:-keep]:
        for one in (path, *(path.with_name(f"{path.name}.{number}") for number in range(1, KEPT))):
            one.unlink(missing_ok=True)


def _age(path: Path) -> float:
    with suppress(OSError):
        return path.stat().st_mtime
    return 0.0
