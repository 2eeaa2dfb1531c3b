"""
Bounded logs.

An instance writes straight into a file that is opened for appending, so that it goes on when the control plane is
dead: a pipe would fill and stop it. The price is rotation by copy and truncate, which can lose the lines written in
the moment between the two.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

LIMIT = 10 * 2**20
KEPT = 3
FILES_KEPT = 12


def rotate(log: Path) -> None:
    """Cut a log that has grown over the limit; older parts move to .1, .2 and .3."""
    try:
        if log.stat().st_size <= LIMIT:
            return
    except OSError:
        return
    for number in range(KEPT - 1, 0, -1):
        older = _older(log, number)
        if older.exists():
            older.replace(_older(log, number + 1))
    with log.open("rb") as source, _older(log, 1).open("wb") as target:
        source.seek(max(0, source.seek(0, 2) - LIMIT))
        shutil.copyfileobj(source, target)
    with log.open("r+b") as file:
        file.truncate(0)


def last_lines(log: Path, count: int = 20) -> tuple[str, ...]:
    """The end of a log."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - 16384))
            text = file.read().decode(errors="replace")
    except OSError:
        return ()
    return tuple(line[:500] for line in text.splitlines()[-count:])


def forget_old(directory: Path, service: str, alive: set[str]) -> None:
    """Keep the logs of the newest ended instances of a service, delete older ones."""
    ended = [
        p for p in directory.glob(f"{service}-r*.log") if p.stem not in alive and p.stem.rsplit("-r", 1)[0] == service
    ]
    for log in sorted(ended, key=_age, reverse=True)[FILES_KEPT:]:
        for path in (log, *(_older(log, n) for n in range(1, KEPT + 1))):
            path.unlink(missing_ok=True)


def _age(path: Path) -> float:
    with suppress(OSError):
        return path.stat().st_mtime
    return 0.0


def _older(log: Path, number: int) -> Path:
    return log.with_name(f"{log.name}.{number}")
