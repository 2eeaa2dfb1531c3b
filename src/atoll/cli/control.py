"""Start the control plane as a process of its own, and wait until it answers."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from atoll.cli.places import places, running
from atoll.client import Client
from atoll.errors import Conflict, Unavailable
from atoll.model.system import RuntimeKind, System
from atoll.server.settings import Settings

PATIENCE = 30.0
STARTING = 120.0
"""Seconds for one that lives but does not answer: where Python compiles everything first, on a slow machine."""
LAST_LINES = 12


def start(file: Path, system: System) -> tuple[Client, subprocess.Popen[bytes]]:
    """
    Start a control plane for *file* and return a client once it answers.

    Raises `errors.Unavailable` with its own last words where it ends instead.
    """
    where = places(file)
    command = [sys.executable, "-m", "atoll.server", "--state", str(where.state)]
    if any(s.runtime is RuntimeKind.PROCESS for s in system.services.values()):
        command.append("--processes")
    log = _log(where)
    with log.open("ab") as output:
        # Its own session: Ctrl-C in this terminal, or its end, must not reach the control plane.
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, cwd="/"
        )
    deadline = time.monotonic() + STARTING
    while time.monotonic() < deadline:
        client = running(file)
        if client is not None:
            return client, process
        if process.poll() is not None:
            raise _ended(process.returncode, log)
        time.sleep(0.02)
    process.terminate()
    raise Unavailable(f"the control plane did not answer within {STARTING:g} s", hint=f"see {log}")


def await_control_plane(file: Path) -> Client:
    """
    A client of the control plane that runs, or is starting.

    Raises `errors.Unavailable` where none answers in time.
    """
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        client = running(file)
        if client is not None:
            return client
        time.sleep(0.05)
    raise Unavailable("no control plane answers here", hint="atoll down --force")


def _log(where: Settings) -> Path:
    log = where.logs / "control-plane.txt"
    try:
        where.logs.mkdir(parents=True, exist_ok=True, mode=0o700)
        log.write_bytes(b"")
    except OSError as error:
        raise Unavailable(
            f"the state directory {where.state} cannot be written: {error.strerror}", hint="make it writable for you"
        ) from error
    return log


def _ended(code: int, log: Path) -> Conflict | Unavailable:
    words = log.read_text(errors="replace").strip().splitlines()[-LAST_LINES:]
    text = "\n".join(words) or f"it said nothing and ended with {code}"
    if code == Conflict.exit_code:
        return Conflict(text)
    return Unavailable(f"the control plane could not start:\n{text}")
