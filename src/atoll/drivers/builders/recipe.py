"""How one source is built and run: what a language's module proposes, before anything is done."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from atoll.errors import Refused

_SHELL = re.compile(r"[;&|<>(){}\n`]")
_INERT = re.compile(r"\$\{[^}]*\}|'[^']*'|\"(?:[^\"\\]|\\.)*\"|\\.")
_ASSIGNMENTS = re.compile(r"(?:[A-Za-z_]\w*=(?:'[^']*'|\"[^\"]*\"|[^\s'\"])*\s+)*")
BASE_PATH = "/usr/local/bin:/usr/bin:/bin"


@dataclass(frozen=True, slots=True)
class Step:
    """One command of the build, run in the copy of the source."""

    command: tuple[str, ...]
    env: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class BuildRecipe:
    """
    What will be done. `identity` is everything outside of the source that the result depends on.

    `command` is the start command where the source says one.
    """

    kind: str
    identity: str
    steps: tuple[Step, ...] = ()
    command: tuple[str, ...] | None = None
    path: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    mounts: tuple[str, ...] = ()
    looked_for: tuple[str, ...] = field(default=())


def shell(command: str) -> tuple[str, ...]:
    """
    A command line as arguments, by way of the shell, so that `$PORT` is put in.

    A plain command replaces the shell (`exec`), so that a signal arrives at the program itself; one with pipes,
    lists or redirections stays the shell's. Variables may be set in front of it.
    """
    text = command.strip()
    if _SHELL.search(_INERT.sub("", text)) or text.startswith("exec "):
        return ("/bin/sh", "-c", text)
    match = _ASSIGNMENTS.match(text)
    before = match.end() if match else 0
    return ("/bin/sh", "-c", f"{text[:before]}exec {text[before:]}")


def program(command: tuple[str, ...]) -> str:
    """The name of what a start command runs, whether by way of the shell or not."""
    if command[:2] != ("/bin/sh", "-c"):
        return command[0]
    text = command[2]
    match = _ASSIGNMENTS.match(text)
    words = text[match.end() if match else 0 :].split()
    return next((word for word in words if word != "exec"), "")


def procfile(source: Path) -> tuple[str, ...] | None:
    """
    The command of the Procfile: `web`, or the only one.

    Raises `errors.Refused` where there are several and none is `web`.
    """
    path = source / "Procfile"
    if not path.is_file():
        return None
    lines = (
        line.partition(":") for line in text(path).splitlines() if line.strip() and not line.lstrip().startswith("#")
    )
    processes = {name.strip(): command.strip() for name, _, command in lines if command.strip()}
    chosen = processes.get("web") or (next(iter(processes.values())) if len(processes) == 1 else None)
    if chosen is None:
        raise Refused(
            f"the Procfile in {source} has no `web` but {', '.join(processes) or 'nothing'}",
            hint="say which one with `run:`",
        )
    return shell(chosen)


def prefix_mount(prefix: str) -> tuple[str, ...]:
    """The installation that has to be mounted, nothing where it belongs to the base system."""
    return () if prefix == "/usr" or prefix.startswith("/usr/") else (prefix,)


def text(path: Path) -> str:
    """A text file of the source, without a byte order mark. Raises `errors.Refused` where it is not one."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"{path} cannot be read: {error}") from error


def toml(path: Path) -> dict[str, object]:
    """A TOML file of the source. Raises `errors.Refused` where it is not one."""
    try:
        return tomllib.loads(text(path))
    except tomllib.TOMLDecodeError as error:
        raise Refused(f"{path} is not TOML: {error}") from error


def json_object(path: Path) -> dict[str, object]:
    """A JSON file of the source. Raises `errors.Refused` where it is not an object."""
    try:
        value = json.loads(text(path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise Refused(f"{path} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise Refused(f"{path} is not a JSON object")
    return value


def platform() -> str:
    """What compiled parts of an artifact depend on."""
    return f"{sys.platform}-{sys.implementation.cache_tag}"
