"""What a runtime remembers about each instance: one small file, written before anything is started."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec


@dataclass(frozen=True, slots=True)
class Record:
    """One instance. `pid` is 0 until it runs; `memory` and `pids` are its limits, to see when somebody alters them."""

    name: str
    service: str
    generation: int
    netns: str = ""
    pid: int = 0
    start_time: int = 0
    port: int = 0
    stop_sent: float = 0.0
    kill_at: float = 0.0


class Records:
    """A directory of records."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)

    def __iter__(self) -> Iterator[Record]:
        for path in sorted(self._directory.glob("*.json")):
            with suppress(OSError, msgspec.DecodeError):
                yield msgspec.json.decode(path.read_bytes(), type=Record)

    def write(self, record: Record) -> None:
        """Write it whole or not at all."""
        beside = self._directory / f".{record.name}.{os.getpid()}"
        beside.write_bytes(msgspec.json.encode(record))
        beside.replace(self._path(record.name))

    def delete(self, name: str) -> None:
        """Forget it."""
        self._path(name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self._directory / f"{name}.json"
