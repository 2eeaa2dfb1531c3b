"""The last good document on disk, so that a service starts with it when its source is down."""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from atoll.kit import clock


class Kept(NamedTuple):
    """A document's text, its tag, and how many seconds ago it was known to be the current one."""

    text: str
    etag: str
    age: float


class Cache:
    """
    One file per source, readable by its owner only, replaced as a whole; its time of change says when it was current.

    Args:
        directory: made if it is missing; processes may share it.
        source: where the document comes from.

    """

    def __init__(self, directory: Path, source: str) -> None:
        self.path = directory / f"flags-{sha256(source.encode()).hexdigest()[:16]}.json"

    def load(self) -> Kept | None:
        """
        What was kept; None if there is nothing, or nothing of this user's.

        Raises:
            OSError: the file cannot be read.
            ValueError: the file is not what `store` writes.

        """
        try:
            with self.path.open(encoding="utf-8") as file:
                status = os.fstat(file.fileno())
                if hasattr(os, "geteuid") and status.st_uid != os.geteuid():
                    return None
                said = json.load(file)
        except FileNotFoundError:
            return None
        if not isinstance(said, dict) or not all(isinstance(said.get(name), str) for name in ("document", "etag")):
            raise ValueError(f"{self.path} holds something else")
        return Kept(said["document"], said["etag"], max(0.0, clock.wall() - status.st_mtime))

    def store(self, text: str, etag: str) -> None:
        """
        Keeps a document that is current now.

        Raises:
            OSError: it cannot be written.

        """
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")  # 0600
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump({"etag": etag, "document": text}, file)
            Path(name).replace(self.path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def confirm(self) -> None:
        """What is kept is current now."""
        with suppress(OSError):  # it is only older than it could be, then
            os.utime(self.path, (clock.wall(), clock.wall()))
