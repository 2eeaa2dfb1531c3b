"""What reality looked like a moment ago. It may be out of date and it may be incomplete, and says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from signal import Signals


class Phase(StrEnum):
    """Where an instance is in its life, as its runtime sees it."""

    CREATED = "created"  # its place exists, no process yet
    RUNNING = "running"
    STOPPING = "stopping"  # SIGTERM was sent
    EXITED = "exited"  # no process left; its namespace and log may still be there


@dataclass(frozen=True, slots=True)
class Exit:
    """How an instance ended. `code` and `signal` are None where nobody could know (it ended unwatched)."""

    at: float
    code: int | None = None
    signal: int | None = None
    oom: bool = False
    log: tuple[str, ...] = ()


_SHELL = {126: " (a shell's word for: it cannot be executed)", 127: " (a shell's word for: it was not found)"}
"""POSIX, Shell Command Language, 2.8.2."""


def describe(exit_: Exit) -> str:
    """How it ended, as the middle of a sentence: `it exited with code 1`."""
    if exit_.oom:
        return "it ran out of memory and was killed (raise resources.memory, or use less)"
    if exit_.signal is not None:
        return f"it was killed by {_signal_name(exit_.signal)}"
    if exit_.code is not None:
        return f"it exited with code {exit_.code}{_SHELL.get(exit_.code, '')}"
    return "it ended while nobody was watching"


def describe_failure(exit_: Exit) -> str:
    """How what should run on has ended, as `describe`, with the way out where that is not plain to see."""
    quiet = exit_.code == 0 and not exit_.oom
    return describe(exit_) + (" (a service has to run on: its command stays in the foreground)" if quiet else "")


def _signal_name(number: int) -> str:
    try:
        return Signals(number).name
    except ValueError:
        return f"signal {number}"


@dataclass(frozen=True, slots=True)
class Seen:
    """
    One instance as its runtime reports it. `altered` says in words what somebody changed behind our back.

    `killed` is how many of its processes were killed for want of memory, while it runs on without them.
    """

    name: str
    service: str
    phase: Phase
    pid: int
    started_at: float
    exit: Exit | None = None
    altered: str = ""
    killed: int = 0


def describe_killed(count: int) -> str:
    """What the kernel has taken from an instance that runs on, as a sentence; empty where it has taken nothing."""
    if not count:
        return ""
    what = (
        "a process in it ran out of memory and was"
        if count == 1
        else f"{count} processes in it ran out of memory and were"
    )
    return f"{what} killed (raise resources.memory, or use less)"


@dataclass(frozen=True, slots=True)
class Readiness:
    """The latest word of the health checks on one instance. `reason` is a sentence when it is not ready."""

    ready: bool
    since: float
    reason: str = ""
    live: bool = True


@dataclass(frozen=True, slots=True)
class MeshSeen:
    """
    What the proxies have accepted.

    `accepted` maps an instance's name to the stage the proxies know it in;
    `outlets` holds instances whose outlet is open; `active` counts the open requests of draining instances.
    """

    generation: int = 0
    accepted: Mapping[str, str] = field(default_factory=dict)
    outlets: frozenset[str] = frozenset()
    active: Mapping[str, int] = field(default_factory=dict)
    rejected: str = ""


@dataclass(frozen=True, slots=True)
class Observed:
    """
    One immutable snapshot.

    `answered` names the sources that answered ("runtime", "probes", "mesh"): what a silent
    source does not show may still be there, so nothing may be stopped because of it. `away` says which proxy does not
    answer, where that is known; `ends` how each proxy's last process ended that did so by itself.
    """

    at: float
    instances: Mapping[str, Mapping[str, Seen]] = field(default_factory=dict)  # by service, by name
    readiness: Mapping[str, Mapping[str, Readiness]] = field(default_factory=dict)  # by service, by name
    mesh: MeshSeen = MeshSeen()
    busy_ports: frozenset[int] = frozenset()
    failed: Mapping[str, str] = field(default_factory=dict)  # instances that could not be created or started, and why
    answered: frozenset[str] = frozenset()
    away: str = ""
    ends: Mapping[str, str] = field(default_factory=dict)
