"""A system on real parts to measure, in a directory of its own; nothing of it is left afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from e2e.harness import ATOLL, System, until  # noqa: E402 - the line above makes it importable

__all__ = ["ATOLL", "ROOT", "System", "consumed", "running", "until"]

TICKS = os.sysconf("SC_CLK_TCK")


@contextmanager
def running() -> Iterator[System]:
    """An empty system; what was started in it is ended, and that nothing is left is checked."""
    if os.geteuid() != 0:
        sys.exit("this benchmark needs root, for the network namespaces that it looks into")
    with tempfile.TemporaryDirectory(prefix="atoll-bench-") as directory:
        system = System(Path(directory))
        try:
            yield system
        finally:
            end(system)


def end(system: System) -> None:
    """Take it down, however it is, and wait until nothing is left."""
    if system.places.run.exists():
        command = [str(ATOLL), "down", "--force"]
        subprocess.run(command, cwd=system.directory, capture_output=True, timeout=120, check=False)
    until(lambda: not system.left(), seconds=15, what=f"nothing left of the system ({system.left()})")


def consumed(pid: int) -> float:
    """Seconds of processor time that a process has used, all its threads together."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS
