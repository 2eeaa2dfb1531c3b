"""Where a command finds the system file, its state and its control plane."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from atoll.cli.screen import say_unanswered
from atoll.client import Client, NoAnswer, Unresponsive
from atoll.errors import Conflict, Refused, Unavailable
from atoll.model.load import load
from atoll.model.system import System
from atoll.server.lock import moved
from atoll.server.settings import Settings, settings
from atoll.wire import ApplyRequest

FILE = "atoll.yaml"


def file_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--file`: which system."""
    return click.option(
        "--file",
        type=click.Path(path_type=Path),
        default=None,
        help=f"The system file; {FILE} here or above by default.",
    )(command)


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--json`: the same for programs."""
    return click.option("--json", "json_", is_flag=True, help="Print JSON.")(command)


def system_file(file: Path | None) -> Path:
    """The system file: the one named, or the nearest one from here upwards. Raises `errors.Refused` without one."""
    if file is not None:
        if file.is_dir():
            raise Refused(f"{file} is a directory", hint=f"name the file in it: --file {file / FILE}")
        if not file.is_file():
            raise Refused(f"there is no file {file}", hint="name another with --file, or write one with `atoll init`")
        return file.resolve()
    here = Path.cwd()
    for directory in (here, *here.parents):
        if (directory / FILE).is_file():
            return directory / FILE
    raise Refused(f"there is no {FILE} in {here} or above it", hint="write one with `atoll init`")


def ended_file(file: Path | None) -> Path:
    """
    The system file, as `system_file` finds it, for who only ends the system: also one that is gone, by its state.

    It is the nearest of both: a system further up is another one.
    """
    here = Path.cwd()
    for one in (file.absolute(),) if file is not None else (d / FILE for d in (here, *here.parents)):
        if not one.exists() and places(one).lock.exists():
            return one
        if one.is_file():
            break
    return system_file(file)


def places(file: Path) -> Settings:
    """Where the system of *file* keeps its state: `.atoll` beside the file."""
    return settings(file.parent / ".atoll")


def system(file: Path) -> System:
    """The checked system."""
    return load(file)


def request(file: Path, *, index: str | None = None, services: tuple[str, ...] = ()) -> ApplyRequest:
    """The file as a request, checked here first, so that a wrong one never leaves."""
    load(file)
    return ApplyRequest(file.read_text(encoding="utf-8"), file.name, str(file.parent), index, services)


def client(file: Path) -> Client:
    """
    A client of the control plane that runs this system.

    Raises `client.NoAnswer` where none does, `errors.Conflict` where it runs under another path.
    """
    where = places(file)
    if not where.socket.exists():
        _insist_on_its_place(where)
        raise NoAnswer(f"no control plane runs for {file}", hint="start it with `atoll up`")
    return Client(where.socket, unanswered=say_unanswered)


def running(file: Path) -> Client | None:
    """
    A client where a control plane answers, else None.

    Raises `errors.Unresponsive` where one is there and does not answer, `errors.Conflict` where it runs under another
    path: to start another one would not help.
    """
    where = places(file)
    if not where.socket.exists():
        _insist_on_its_place(where)
        return None
    found = Client(where.socket, unanswered=say_unanswered)
    try:
        found.identity()
    except Unresponsive:
        raise
    except Unavailable:
        return None
    return found


def _insist_on_its_place(where: Settings) -> None:
    """Its sockets and everything it has started go by the path that it was started with."""
    if (found := moved(where.lock)) is not None:
        pid, before = found
        raise Conflict(
            f"{where.state.parent} was {before.parent} when its control plane (process {pid}) was started, and was"
            " moved while that runs",
            hint="move it back, or end what runs from here with `atoll down --force`",
        )
