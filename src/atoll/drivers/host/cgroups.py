"""
One control group per instance: it bounds and counts cpu, memory and processes, and ends all members at once.

Works on cgroup v2 (pure, or the part that was delegated to us), v1, and hosts that have both. Where nothing can be
written, the callers fall back on rlimits and say so. See cgroups(7) and Documentation/admin-guide/cgroup-v2.rst.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from atoll.drivers.host.files import read_kernel
from atoll.errors import Failed
from atoll.model.system import Resources
from atoll.ports import Usage

TREE = "atoll"
PERIOD = 100_000  # microseconds, the kernel's default for cpu bandwidth
SHORTEST = 1000
"""Microseconds per period that the kernel accepts at least."""
_MILLI = 1000
_NEEDED = ("cpu", "memory", "pids")
_V1 = ("cpu", "cpuacct", "memory", "pids", "freezer")
_PASSES = 50


@dataclass(frozen=True, slots=True)
class Tree:
    """Where groups can be made: the directory per controller (v2: the same one for all). Empty: nowhere."""

    version: int
    directories: Mapping[str, Path]

    def missing(self) -> tuple[str, ...]:
        """The controllers that cannot be used."""
        return tuple(name for name in _NEEDED if name not in self.directories)


@dataclass(frozen=True, slots=True)
class Group:
    """The control group of one instance."""

    version: int
    directories: Mapping[str, Path]

    @property
    def entrances(self) -> tuple[str, ...]:
        """The files a process writes its number into to become a member; before it executes the program."""
        return tuple(dict.fromkeys(str(path / "cgroup.procs") for path in self.directories.values()))

    def members(self) -> tuple[int, ...]:
        """The processes in it."""
        for path in self.directories.values():
            with suppress(OSError):
                return tuple(int(line) for line in (path / "cgroup.procs").read_text().split())
        return ()

    def kill(self) -> None:
        """End all members, also those that are being forked meanwhile. Groups with no member are left as they are."""
        if not self.directories:
            return
        if self.version == 2:  # noqa: PLR2004 - see below
            with suppress(OSError):  # before Linux 5.14 there is none
                (_any(self.directories) / "cgroup.kill").write_text("1")
                return
        self._freeze("FROZEN")
        for _ in range(_PASSES):
            members = self.members()
            if not members:
                break
            for pid in members:
                with suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            self._freeze("THAWED")
        self._freeze("THAWED")

    def usage(self) -> Usage:
        """What the members use and used; memory without the file cache that the kernel would give back."""
        if self.version == 2:  # noqa: PLR2004 - the kernel's own name for it
            cpu = self._number("cpu", "cpu.stat", "usage_usec", 1e-6)
            memory = self._memory("memory.current", "inactive_file")
        else:
            cpu = self._number("cpuacct", "cpuacct.usage", None, 1e-9)
            memory = self._memory("memory.usage_in_bytes", "total_inactive_file")
        pids = self._number("pids", "pids.current", None)
        return Usage(cpu, memory, int(pids) if pids is not None else None)

    def oom_kills(self) -> int:
        """How many of its processes the kernel has killed for want of memory."""
        events = "memory.events" if self.version == 2 else "memory.oom_control"  # noqa: PLR2004 - see above
        return int(self._number("memory", events, "oom_kill") or 0)

    def drifted(self, resources: Resources) -> str:
        """Which limit is not what it should be, in words; empty where all are."""
        for controller, file, wanted in _limits(self.version, resources):
            path = self.directories.get(controller)
            if path is None:
                continue
            try:
                found = read_kernel(path / file).strip()
            except OSError:
                return f"its control group {path} is gone"
            if not _same(controller, found, wanted):
                return f"its limit {file} was changed to {found} (it should be {wanted})"
        return ""

    def remove(self) -> None:
        """Remove the group. Raises `errors.Failed` while something still runs in it."""
        for path in set(self.directories.values()):
            try:
                path.rmdir()
            except FileNotFoundError:
                continue
            except OSError as error:
                raise Failed(f"the control group {path} cannot be removed: {error.strerror}") from error

    def _number(self, controller: str, file: str, key: str | None, unit: float = 1) -> float | None:
        path = self.directories.get(controller)
        if path is None:
            return None
        try:
            text = read_kernel(path / file)
        except OSError:
            return None
        if key is None:
            return int(text) * unit
        return next((int(value) * unit for name, value in _pairs(text) if name == key), None)

    def _memory(self, file: str, cache: str) -> int | None:
        used = self._number("memory", file, None)
        reclaimable = self._number("memory", "memory.stat", cache)
        return max(0, int(used - (reclaimable or 0))) if used is not None else None

    def _freeze(self, state: str) -> None:
        path = self.directories.get("freezer")
        if path is not None:
            with suppress(OSError):
                (path / "freezer.state").write_text(state)


def tree(mounts: str, own: str, *, writable: Callable[[Path], bool]) -> Tree:
    """
    Where groups can be made, from the texts of `/proc/self/mountinfo` and `/proc/self/cgroup`.

    Prefers v1 controllers where the host has them mounted (a controller is in one hierarchy only), else v2. A directory
    counts when *writable* says so: tried are the top of the hierarchy, then downwards to where this process is, so
    that a subtree delegated by systemd is found.
    """
    found = list(_mounts(mounts))
    paths = dict(_own(own))
    v1 = {
        controller: base
        for options, root, point in found
        if options is not None
        for controller in _V1
        if controller in options
        and (base := _base(point, root, paths.get(controller, "/"), writable=writable)) is not None
    }
    if any(name in v1 for name in _NEEDED):
        return Tree(1, v1)
    for options, root, point in found:
        if options is None:
            base = _base(point, root, paths.get("", "/"), writable=writable)
            if base is not None:
                return Tree(2, {name: base for name in _controllers(base) if name in _NEEDED})
    return Tree(2, {})


def host_tree() -> Tree:
    """`tree` of the host this runs on."""
    mounts, own = Path("/proc/self/mountinfo"), Path("/proc/self/cgroup")
    if not (mounts.exists() and own.exists()):
        return Tree(2, {})
    return granted(tree(mounts.read_text(), own.read_text(), writable=lambda path: os.access(path, os.W_OK)))


def granted(found: Tree) -> Tree:
    """
    What is left of a v2 tree after its controllers were asked for: they are granted level by level.

    The kernel refuses where processes live in the very directory that would pass them on (a container's own group).
    """
    if found.version == 1:
        return found
    left = {}
    for controller, base in found.directories.items():
        with suppress(OSError):
            _pass_on(base, (controller,))
            left[controller] = base
    return Tree(found.version, left)


def group(where: Tree, system: str, name: str) -> Group:
    """The control group of an instance, whether it exists or not."""
    return Group(where.version, {k: path / TREE / system / name for k, path in where.directories.items()})


def create(where: Tree, system: str, name: str, resources: Resources) -> Group:
    """
    Make the control group of an instance with its limits; one that is there is brought up to date.

    Raises `errors.Failed` where the host refuses.
    """
    made = group(where, system, name)
    try:
        for controller, path in made.directories.items():
            if where.version == 2:  # noqa: PLR2004 - see above
                _delegate(where.directories[controller], path, where.directories)
            path.mkdir(parents=True, exist_ok=True)
        for controller, file, value in _limits(where.version, resources):
            if controller in made.directories:
                (made.directories[controller] / file).write_text(value)
        _extras(made, resources)
    except OSError as error:
        raise Failed(f"the control group of {name} could not be made: {error}", hint="see `atoll doctor`") from error
    return made


def names(where: Tree, system: str) -> set[str]:
    """The instances of *system* that have a control group."""
    return {
        entry.name
        for path in set(where.directories.values())
        if (path / TREE / system).is_dir()
        for entry in (path / TREE / system).iterdir()
        if entry.is_dir()
    }


def clear(where: Tree, system: str) -> None:
    """Remove the group that held the groups of *system*, if it is empty."""
    for path in set(where.directories.values()):
        with suppress(OSError):
            (path / TREE / system).rmdir()
            (path / TREE).rmdir()


def _limits(version: int, resources: Resources) -> Iterator[tuple[str, str, str]]:
    """What is written where; no limit is said as well, so that a changed one is noticed and set back."""
    cpu = max(SHORTEST, resources.cpu * PERIOD // _MILLI) if resources.cpu is not None else None
    if version == 2:  # noqa: PLR2004 - see above
        yield "cpu", "cpu.max", f"{cpu if cpu is not None else 'max'} {PERIOD}"
        yield "memory", "memory.max", str(resources.memory) if resources.memory is not None else "max"
    else:
        yield "cpu", "cpu.cfs_quota_us", str(cpu if cpu is not None else -1)
        yield "memory", "memory.limit_in_bytes", str(resources.memory if resources.memory is not None else -1)
    yield "pids", "pids.max", str(resources.pids)


def _extras(made: Group, resources: Resources) -> None:
    """No swap beyond the limit, and all processes end when one has to for want of memory. Not every kernel has them."""
    memory = made.directories.get("memory")
    if memory is None or resources.memory is None:
        return
    extras = {1: {"memory.memsw.limit_in_bytes": str(resources.memory)}}
    extras[2] = {"memory.swap.max": "0", "memory.oom.group": "1"}
    for file, value in extras[made.version].items():
        with suppress(OSError):
            if (memory / file).exists():
                (memory / file).write_text(value)


def _same(controller: str, found: str, wanted: str) -> bool:
    """The kernel rounds bytes to pages, and shows v1's `no limit` as a number near 2^63."""
    if found == wanted:
        return True
    if controller != "memory" or not (found.isdecimal() and wanted.lstrip("-").isdecimal()):
        return False
    page = os.sysconf("SC_PAGE_SIZE")
    no_limit = wanted == "-1" and int(found) >= 2**63 - page
    return no_limit or int(found) // page == int(wanted) // page > 0


def _delegate(base: Path, path: Path, controllers: Iterable[str]) -> None:
    """Let the groups from *base* down to *path* use the controllers (v2 grants them level by level)."""
    level = base
    for part in (None, *path.parent.relative_to(base).parts):
        level = level / part if part is not None else level
        level.mkdir(exist_ok=True)
        _pass_on(level, controllers)


def _pass_on(level: Path, controllers: Iterable[str]) -> None:
    control = level / "cgroup.subtree_control"
    missing = set(controllers) - set(control.read_text().split())
    if missing:
        control.write_text(" ".join(f"+{name}" for name in sorted(missing)))


def _controllers(base: Path) -> list[str]:
    with suppress(OSError):
        return (base / "cgroup.controllers").read_text().split()
    return []


def _base(point: Path, root: str, own: str, *, writable: Callable[[Path], bool]) -> Path | None:
    """The uppermost directory we may write to, between the mount point and the group this process is in."""
    below = own.removeprefix(root.rstrip("/")).strip("/") if own.startswith(root) else ""
    candidate = point
    for part in (None, *Path(below).parts):
        candidate = candidate / part if part is not None else candidate
        if candidate.is_dir() and writable(candidate) and writable(candidate / "cgroup.procs"):
            return candidate
    return None


def _mounts(mountinfo: str) -> Iterator[tuple[set[str] | None, str, Path]]:
    """Each cgroup mount: its v1 controllers (None: v2), the group that is its root, and where it is mounted."""
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if kind[:1] == ["cgroup"]:
            yield set(kind[2].split(",")), fields[3], Path(fields[4])
        elif kind[:1] == ["cgroup2"]:
            yield None, fields[3], Path(fields[4])


def _own(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            yield controller, path


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        yield name, value


def _any(directories: Mapping[str, Path]) -> Path:
    return next(iter(directories.values()))
