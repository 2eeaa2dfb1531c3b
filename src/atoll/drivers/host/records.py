"""
What is remembered of each instance, one JSON file each, written before the step that it announces.

A control plane that is killed between two steps leaves a record that says how far it had come at the least.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from atoll.drivers.host import proc
from atoll.drivers.host.files import write_atomically
from atoll.errors import Unavailable
from atoll.model.system import Resources
from atoll.plan.observed import Exit


@dataclass(frozen=True, slots=True)
class Process:
    """A process of ours: its number and when it began, in clock ticks since boot."""

    pid: int
    started: int


@dataclass(frozen=True, slots=True)
class Record:
    """
    One instance as its runtime knows it.

    `made` is set once its place is complete, `launching` (an instant) before its program is started. `main` is the
    program; `keeper` is the process whose end ends all others (the first one of a pid namespace), `watcher` the one
    that knows the exit code; a plain process has neither. `kill_at` is set once it was asked to end: then it is made
    to, whatever becomes of the clock on the wall (`proc.uptime`: records mean nothing after a reboot either).
    """

    kind: str
    name: str
    service: str
    generation: int
    ip: str
    port: int
    resources: Resources
    netns: str = ""
    network: int = 0
    made: bool = False
    launching: float = 0.0
    main: Process | None = None
    keeper: Process | None = None
    watcher: Process | None = None
    kill_at: float = 0.0
    exit: Exit | None = None


class Ledger:
    """The records of one kind of runtime, in a directory that all kinds share."""

    def __init__(self, directory: Path, kind: str) -> None:
        self.directory = directory
        self._kind = kind
        self.records: dict[str, Record] = {}

    def load(self) -> None:
        """
        Read what is there. Raises `OSError`.

        A file that cannot be understood is removed: what it spoke of is found by its marker. Those from before a reboot
        speak of processes that are no more.
        """
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        boot, now = self.directory / "boot", proc.boot()
        if boot.exists() and boot.read_text() != now:
            for path in self.directory.iterdir():
                path.unlink(missing_ok=True)
        write_atomically(boot, now.encode())
        for path in self.directory.glob("*.json"):
            try:
                record = msgspec.json.decode(path.read_bytes(), type=Record)
            except msgspec.MsgspecError:
                path.unlink(missing_ok=True)
                continue
            if record.kind == self._kind:
                self.records[record.name] = record

    def known(self) -> set[str]:
        """The instances of all runtimes that have a record."""
        return {path.stem for path in self.directory.glob("*.json")} | self.records.keys()

    def write(self, record: Record) -> Record:
        """Remember *record*. Raises `errors.Unavailable` where the disk does not take it."""
        try:
            write_atomically(self.directory / f"{record.name}.json", msgspec.json.encode(record))
        except OSError as error:
            raise Unavailable(
                f"the record of {record.name} cannot be written: {error.strerror}",
                hint=f"make room and allow writing in {self.directory}",
            ) from error
        self.records[record.name] = record
        return record

    def change(self, name: str, **changes: object) -> Record:
        """Remember the record of *name* with these fields changed."""
        return self.write(replace(self.records[name], **changes))  # type: ignore[arg-type]  # checked by the tests

    def keep(self, name: str, **changes: object) -> Record:
        """
        Like `change`, for what has happened already: it is known here from now on, even where the disk is full.

        What the file lacks then comes with the next change that can be written, or is found out again by whoever reads
        it next.
        """
        record = self.records[name] = replace(self.records[name], **changes)  # type: ignore[arg-type]  # as above
        with suppress(Unavailable):
            self.write(record)
        return record

    def forget(self, name: str) -> None:
        """Remove a record."""
        self.records.pop(name, None)
        (self.directory / f"{name}.json").unlink(missing_ok=True)
