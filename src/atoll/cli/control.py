"""Start the control plane as a process of its own, and wait until it answers."""

from __future__ import annotations

import errno
import shutil
import subprocess
import sys
import time
from pathlib import Path

from atoll.cli.places import places, running
from atoll.client import Client, Unresponsive
from atoll.errors import AtollError, Conflict, Unavailable
from atoll.model.system import RuntimeKind, System
from atoll.server.lock import holder
from atoll.server.settings import Settings

PATIENCE = 30.0
STARTING = 120.0
"""Seconds for one that lives but does not answer: where Python compiles everything first, on a slow machine."""
LAST_LINES = 12
ROOM = 1024 * 1024
"""Bytes: with less on its disk a control plane can keep neither a state nor its last words."""


def start(file: Path, *, processes: bool) -> tuple[Client, subprocess.Popen[bytes]]:
    """Start a control plane and wait for it: `launch`, then `await_start`."""
    process = launch(file, processes=processes)
    return await_start(file, process), process


def launch(file: Path, *, processes: bool) -> subprocess.Popen[bytes]:
    """Start the process of a control plane for *file*; with *processes* one that needs no sandboxes."""
    where = places(file)
    command = [sys.executable, "-m", "atoll.server", "--state", str(where.state)]
    if processes:
        command.append("--processes")
    with _log(where).open("ab") as output:
        # Its own session: Ctrl-C in this terminal, or its end, must not reach the control plane.
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, cwd="/"
        )


def await_start(file: Path, process: subprocess.Popen[bytes]) -> Client:
    """
    A client of the control plane that was started as *process*, once it answers.

    Where somebody else was quicker, it is a client of theirs. Raises `errors.Unavailable` with its own last words
    where it ends instead.
    """
    log = _log_file(places(file))
    deadline = time.monotonic() + STARTING
    while time.monotonic() < deadline:
        client = _answering(file)
        if client is not None:
            return client
        if process.poll() is not None:
            return _after_its_end(file, process, log)
        time.sleep(0.02)
    process.terminate()
    raise Unavailable(f"the control plane did not answer within {STARTING:g} s", hint=f"see {log}")


def start_for_the_end(file: Path) -> Client:
    """
    A client of a control plane that can end what another one left, also of one that runs or is starting already.

    It is of the kind of that other one. The file is not asked: it may be broken by now.
    """
    from atoll.server.ground import has_fabric  # noqa: PLC0415 - imports that no other command needs

    where = places(file)
    if holder(where.lock) is not None:
        return await_control_plane(file)
    client, _ = start(file, processes=not has_fabric(where))
    return client


def await_control_plane(file: Path) -> Client:
    """
    A client of the control plane that runs, or is starting.

    Raises `errors.Unavailable` where none answers in time.
    """
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        client = _answering(file)
        if client is not None:
            return client
        time.sleep(0.05)
    raise Unavailable("no control plane answers here", hint="atoll down --force")


def await_next(file: Path) -> Client | None:
    """
    After the end of a control plane: a client of the one that comes next, or None where the system was taken down.

    Raises `errors.Unavailable` where none comes in time.
    """
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        client = running(file)
        if client is not None:
            return client
        if is_gone(file):
            return None
        time.sleep(0.05)
    raise Unavailable("no control plane is there any more; what runs goes on", hint="start it with `atoll up --detach`")


def is_gone(file: Path) -> bool:
    """Whether the system was taken down: the run directory, which goes last, and the control plane itself are gone."""
    where = places(file)
    return not where.run.exists() and holder(where.lock) is None


def plain_processes(system: System) -> bool:
    """Whether *system* runs as plain processes, so that its control plane is started without sandboxes."""
    return any(service.runtime is RuntimeKind.PROCESS for service in system.services.values())


def _answering(file: Path) -> Client | None:
    """A client where one answers; one that is still busy with its start answers later."""
    try:
        return running(file)
    except Unresponsive:
        return None


def _after_its_end(file: Path, process: subprocess.Popen[bytes], log: Path) -> Client:
    """Of two that start at once the second one finds the lock held: then the first is what is wanted."""
    error = _ended(process.returncode, log)
    deadline = time.monotonic() + STARTING
    while isinstance(error, Conflict) and holder(places(file).lock) is not None and time.monotonic() < deadline:
        client = running(file)
        if client is not None:
            return client
        time.sleep(0.05)
    raise error


def _log_file(where: Settings) -> Path:
    return where.logs / "control-plane.txt"


def _log(where: Settings) -> Path:
    log = _log_file(where)
    try:
        # One by one: parents that mkdir makes on the way would be open to everybody.
        for directory in (where.state, where.logs):
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        log.write_bytes(b"")
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise _full(where.state) from error
        raise Unavailable(
            f"the state directory {where.state} cannot be written: {error.strerror}", hint="make it writable for you"
        ) from error
    return log


def _ended(code: int, log: Path) -> AtollError:
    words = "\n".join(log.read_text(errors="replace").strip().splitlines()[-LAST_LINES:])
    if code == Conflict.exit_code:
        return Conflict(words)
    if _room(log.parent) < ROOM:
        # What it said, if anything, went to that disk too: it may be cut anywhere.
        return _full(log.parent, words)
    return Unavailable(f"the control plane could not start:\n{words or f'it said nothing and ended with {code}'}")


def _room(directory: Path) -> int:
    """Bytes that are free where *directory* is; plenty where that cannot be told."""
    try:
        return shutil.disk_usage(directory).free
    except OSError:
        return sys.maxsize


def _full(directory: Path, words: str = "") -> Unavailable:
    room = f"{_room(directory) // 1024} KiB are free"
    said = f"\n{words}" if words else ""
    return Unavailable(
        f"the control plane could not start: the disk that holds {directory} is full ({room}){said}",
        hint="make room on the disk",
    )
