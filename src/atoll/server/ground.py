"""
What a control plane stands on: the fabric that it enters, and what it leaves behind when everything is over.

The process that finds or makes the fabric imports this and little else, as it is replaced a moment later.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from atoll.drivers.host import cgroups
from atoll.drivers.host.fabric import RECORD, ensure_anchor, enter, release
from atoll.drivers.host.proc import INSTANCE, marked, owned, pids
from atoll.mesh.process import forget_memory
from atoll.server.settings import Settings

SWEEP = 5.0
"""Seconds that killed processes have to be gone."""


@dataclass(frozen=True, slots=True)
class Fabric:
    """Where sandboxes meet: the fabric's namespace file, and whether this is root only inside a user namespace."""

    netns: str
    rootless: bool


def has_fabric(places: Settings) -> bool:
    """Whether what runs there runs in sandboxes, as far as an anchor has left word of itself."""
    return (places.run / RECORD).exists()


def enter_fabric(places: Settings) -> tuple[list[str], Fabric]:
    """
    Find or start the anchor; returns the command that enters its namespaces, and the fabric.

    Raises `errors.Unavailable` where this host does not let us make namespaces.
    """
    rootless = os.geteuid() != 0
    anchor = ensure_anchor(places.run, rootless=rootless)
    return enter(anchor, rootless=rootless), Fabric(anchor.netns, rootless)


def leave_fabric(places: Settings, fabric: Fabric | None) -> None:
    """End the anchor and take the run directory away: nothing of this system is left on the machine."""
    if fabric is not None:
        release(places.run)
        # This process is the last one in the anchor's mount namespace; its mounts would keep the directory.
        mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
        for mount in [m for m in reversed(mounts) if m.startswith(f"{places.run}/")]:
            subprocess.run(["umount", "--lazy", mount], check=False, capture_output=True)  # noqa: S607
    shutil.rmtree(places.run, ignore_errors=True)


def sweep(places: Settings) -> str:
    """End whatever carries this system's marker, and take the run directory away; says how many processes."""
    ended: set[int] = set()
    deadline = time.monotonic() + SWEEP
    while (found := _left(places)) and time.monotonic() < deadline:  # a control plane may replace what ends before it
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        ended |= found
        time.sleep(0.01)
    release(places.run)
    _sweep_groups(places)
    for base in places.run.glob("*.base-id"):
        forget_memory(base)
    shutil.rmtree(places.run, ignore_errors=True)
    return f"ended {len(ended)} processes\n"


def _left(places: Settings) -> set[int]:
    """Instances, by their marker, and what has the run directory in its command line, if it is our user's."""
    ours = {pid for pid, value in marked(INSTANCE).items() if value.partition("/")[0] == places.identity}
    others = {pid for pid in pids() if str(places.run) in _command_line(pid) and owned(pid)}
    return ours | (others - {os.getpid(), os.getppid()})


def _sweep_groups(places: Settings) -> None:
    tree = cgroups.host_tree()
    deadline = time.monotonic() + SWEEP
    for name in cgroups.names(tree, places.identity):
        group = cgroups.group(tree, places.identity, name)
        group.kill()
        while group.members() and time.monotonic() < deadline:
            time.sleep(0.01)
        group.remove()
    cgroups.clear(tree, places.identity)


def _command_line(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""
