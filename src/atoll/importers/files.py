"""Reading small files of a stranger's directory."""

from __future__ import annotations

from pathlib import Path

from atoll.errors import Refused

BIGGEST = 1024 * 1024


def text_of(path: Path) -> str:
    """
    The text of a file.

    Raises `errors.Refused` where it cannot be read, is larger than `BIGGEST` bytes, or is not UTF-8, with the place.
    """
    try:
        with path.open("rb") as file:
            data = file.read(BIGGEST + 1)
    except OSError as error:
        raise Refused(f"{path} cannot be read: {error.strerror}") from error
    if len(data) > BIGGEST:
        raise Refused(f"{path} is larger than {BIGGEST // 1024} KiB", hint="write the atoll.yaml by hand")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise Refused(f"{path}:{line}: a byte that is not UTF-8", hint="save the file as UTF-8") from error


def text_or_nothing(path: Path) -> str:
    """The text of a file, empty where there is none or it cannot be read: for files that only help to guess."""
    try:
        return text_of(path) if path.is_file() else ""
    except (Refused, OSError):
        return ""
