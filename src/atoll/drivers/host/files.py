"""Files that are whole or not there, and those of the kernel."""

from __future__ import annotations

import os
from pathlib import Path

_PAGE = 4096


def read_kernel(path: str | Path) -> str:
    """
    What the kernel says in a file of a page at most. Raises `OSError`.

    It is asked of every instance again and again, and this takes a quarter of the time of `Path.read_text`.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, _PAGE).decode(errors="replace")
    finally:
        os.close(descriptor)


def write_atomically(path: Path, content: bytes) -> None:
    """Replace *path* by *content*: a reader, or who comes after a crash, sees the old or the new one. For own files."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
