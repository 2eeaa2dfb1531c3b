"""
Limits and accounting by control groups, on version 1, version 2 and hybrid hosts.

One group per instance under `atoll/<system>`. A process puts itself into its group before it becomes the program
(`enter`), so nothing it does is ever outside.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from atoll.model.system import Resources

ROOT = Path("/sys/fs/cgroup")
CONTROLLERS = ("cpu", "memory", "pids")
PERIOD = 100_000


@dataclass(frozen=True, slots=True)
class Groups:
    """
    Where groups can be made: per controller, the directory of the system's groups.

    On version 2 it is one directory for all; a controller that is missing cannot limit here.
    """

    unified: bool
    directories: dict[str, Path]

    def notes(self) -> tuple[str, ...]:
        """What cannot be limited on this host, in sentences."""
        missing = [c for c in CONTROLLERS if c not in self.directories]
        if not missing:
            return ()
        return (f"no control group for {', '.join(missing)} can be written here: those limits are weak or missing",)

    def create(self, name: str, resources: Resources) -> tuple[Path, ...]:
        """Make the group of one instance with its limits and return the files that a process writes itself into."""
        groups = self._groups(name)
        for group in groups:
            group.mkdir(parents=True, exist_ok=True)
        for controller, directory in self.directories.items():
            for file, value in _limits(controller, resources, unified=self.unified):
                with suppress(FileNotFoundError):
                    (directory / name / file).write_text(value)
        return tuple(group / "cgroup.procs" for group in groups)

    def members(self, name: str) -> tuple[int, ...]:
        """Every process of one instance."""
        found: set[int] = set()
        for group in self._groups(name):
            with suppress(OSError):
                found |= {int(line) for line in (group / "cgroup.procs").read_text().split()}
        return tuple(sorted(found))

    def out_of_memory(self, name: str) -> bool:
        """Whether the kernel killed something of this instance for its memory limit."""
        directory = self.directories.get("memory")
        if directory is None:
            return False
        file = directory / name / ("memory.events" if self.unified else "memory.oom_control")
        return any(v > 0 for k, v in _table(file).items() if k == "oom_kill")

    def cpu(self, name: str) -> float | None:
        """Seconds of cpu used."""
        directory = self.directories.get("cpu" if self.unified else "cpuacct")
        if directory is None:
            return None
        if self.unified:
            used = _table(directory / name / "cpu.stat").get("usage_usec")
            return used / 1e6 if used is not None else None
        used = _number(directory / name / "cpuacct.usage")
        return used / 1e9 if used is not None else None

    def memory(self, name: str) -> int | None:
        """Bytes in use, without what the kernel could take back at once."""
        directory = self.directories.get("memory")
        if directory is None:
            return None
        used = _number(directory / name / ("memory.current" if self.unified else "memory.usage_in_bytes"))
        cache = _table(directory / name / "memory.stat").get(
            "inactive_file" if self.unified else "total_inactive_file", 0
        )
        return max(0, used - cache) if used is not None else None

    def altered(self, name: str, resources: Resources) -> str:
        """What somebody changed about the limits behind our back, in words."""
        directory = self.directories.get("memory")
        if directory is None or resources.memory is None:
            return ""
        now = _number(directory / name / ("memory.max" if self.unified else "memory.limit_in_bytes"))
        return "" if now is None or now == _pages(resources.memory) else "somebody changed its memory limit"

    def kill(self, name: str) -> None:
        """End every process of one instance, those it forked away included."""
        if self.unified:
            for group in self._groups(name):
                with suppress(OSError):
                    (group / "cgroup.kill").write_text("1")
        for pid in self.members(name):
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, 9)

    def remove(self, name: str) -> None:
        """Take the group away. One that still has processes stays."""
        for group in self._groups(name):
            with suppress(OSError):
                group.rmdir()

    def close(self) -> None:
        """Take away the system's own directories where nothing is in them any more."""
        for directory in set(self.directories.values()):
            with suppress(OSError):
                directory.rmdir()
                directory.parent.rmdir()

    def _groups(self, name: str) -> tuple[Path, ...]:
        return tuple(dict.fromkeys(directory / name for directory in self.directories.values()))


def find(system: str, root: Path = ROOT) -> Groups:
    """The groups that can be made here; an empty set of directories where none can."""
    if (root / "cgroup.controllers").is_file():
        return _unified(root, system)
    directories: dict[str, Path] = {}
    for controller in ("cpu", "cpuacct", "memory", "pids"):
        directory = root / controller / "atoll" / system
        with suppress(OSError):
            directory.mkdir(parents=True, exist_ok=True)
            directories[controller] = directory
    return Groups(unified=False, directories=directories)


def _unified(root: Path, system: str) -> Groups:
    """Version 2: below our own group where that is delegated to us (a systemd user session), at the root as root."""
    for base in (root, _own_group(root)):
        top = base / "atoll"
        with suppress(OSError):
            (top / system).mkdir(parents=True, exist_ok=True)
            for directory in (base, top, top / system):
                for controller in CONTROLLERS:
                    with suppress(OSError):
                        (directory / "cgroup.subtree_control").write_text(f"+{controller}")
            enabled = (top / system / "cgroup.subtree_control").read_text().split()
            return Groups(unified=True, directories={c: top / system for c in CONTROLLERS if c in enabled})
    return Groups(unified=True, directories={})


def _own_group(root: Path) -> Path:
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        if line.startswith("0::"):
            return (root / line[3:].lstrip("/")).parent
    return root


def _limits(controller: str, resources: Resources, *, unified: bool) -> list[tuple[str, str]]:
    match controller:
        case "pids":
            return [("pids.max", str(resources.pids))]
        case "memory" if resources.memory is not None:
            limit = str(_pages(resources.memory))
            if unified:
                return [("memory.max", limit), ("memory.swap.max", "0"), ("memory.oom.group", "1")]
            return [("memory.limit_in_bytes", limit), ("memory.memsw.limit_in_bytes", limit)]
        case "cpu" if resources.cpu is not None:
            quota = str(resources.cpu * PERIOD // 1000)
            return (
                [("cpu.max", f"{quota} {PERIOD}")]
                if unified
                else [
                    ("cpu.cfs_period_us", str(PERIOD)),
                    ("cpu.cfs_quota_us", quota),
                ]
            )
    return []


def _pages(count: int) -> int:
    """The kernel counts whole pages."""
    page = os.sysconf("SC_PAGE_SIZE")
    return count // page * page


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None


def _table(file: Path) -> dict[str, int]:
    try:
        rows = [line.split() for line in file.read_text().splitlines()]
    except OSError:
        return {}
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()}  # noqa: PLR2004 - key and value
