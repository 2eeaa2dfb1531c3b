"""From a source to an artifact: detect, digest, build beside, rename into place."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import shutil
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ParamSpec
from weakref import WeakValueDictionary

import msgspec

from atoll.drivers.builders import node, python
from atoll.drivers.builders.recipe import BASE_PATH, BuildRecipe, procfile, shell
from atoll.drivers.builders.tools import run as run_tool
from atoll.drivers.builders.tree import Entry, copy, entries, tree_digest
from atoll.errors import Failed, Refused
from atoll.ports import Artifact
from atoll.values.hashing import digest

DETECTORS = (python.detect_project, node.detect, python.detect_files)
"""The first one that knows a source decides: a Node.js package may hold a Python script."""
PLAIN = BuildRecipe(
    kind="plain",
    identity="plain-1",
    path=tuple(BASE_PATH.split(":")),
    looked_for=("pyproject.toml", "requirements.txt", "*.py", "package.json"),
)
FAILURES_KEPT = 20
P = ParamSpec("P")


@dataclass(frozen=True, slots=True)
class _Order:
    """What is to be built: the artifact's digest, how, the files and their own digest."""

    digest: str
    recipe: BuildRecipe
    files: list[Entry]
    tree: str


class LocalBuilder:
    """Builds on this machine into a content-addressed directory. Meets `ports.Builder`."""

    def __init__(self, artifacts: Path, logs: Path) -> None:
        self._artifacts = artifacts
        self._logs = logs
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._places = asyncio.Semaphore(os.cpu_count() or 1)
        self._building: set[str] = set()
        self._known: dict[str, Artifact] = {}

    def digest(self, source: Path, run: str | None) -> str:
        """The digest the artifact would have; reads the source, builds nothing."""
        try:
            return self._order(source, run).digest
        except OSError as error:
            raise Failed(f"{source} could not be read: {error}") from error

    async def build(self, source: Path, run: str | None, *, progress: Callable[[str], None]) -> Artifact:
        """Build, or find what was built before from the same content."""
        try:
            order = await asyncio.to_thread(self._order, source, run)
            lock = self._locks.setdefault(order.digest, asyncio.Lock())
            async with lock, self._places:
                found = self.find(order.digest)
                if found is not None:
                    return replace(found, cached=True)
                return await self._build(source, order, progress)
        except OSError as error:
            raise Failed(f"{source} could not be built: {error}", hint=_disk_hint(error)) from error

    def find(self, digest: str) -> Artifact | None:
        """The artifact of that digest where it is still there, with everything that it needs of this machine."""
        if digest not in self._known:
            record = self._artifacts / digest / "artifact.json"
            try:
                read = msgspec.json.decode(record.read_bytes(), type=Artifact)
            except (OSError, msgspec.DecodeError):
                return None
            # The directory of all artifacts may have been moved since.
            self._known[digest] = replace(read, path=str(self._artifacts / digest / "app"))
        found = self._known[digest]
        return found if Path(found.path).is_dir() and all(Path(p).exists() for p in found.mounts) else None

    async def sweep(self, keep: set[str]) -> None:
        """Delete artifacts that nobody needs, and what interrupted builds left behind."""
        await _in_thread(self._sweep, keep)  # the change that follows a cancelled one may build what is rubbish here

    def _sweep(self, keep: set[str]) -> None:
        for path in self._artifacts.iterdir() if self._artifacts.is_dir() else ():
            if path.name not in keep and path.name not in self._building:
                self._known.pop(path.name, None)
                _delete(path)

    def _order(self, source: Path, run: str | None) -> _Order:
        order = _order(source, run)
        for mount in order.recipe.mounts:
            if self._artifacts.resolve().is_relative_to(mount):
                raise Refused(
                    f"{source} needs {mount} in its sandbox, and the state of this system is in there"
                    f" ({self._artifacts.parent})",
                    hint="keep the system in another directory, or install the language in one of its own",
                )
        return order

    async def _build(self, source: Path, order: _Order, progress: Callable[[str], None]) -> Artifact:
        beside = self._artifacts / f".{order.digest[:16]}.{os.getpid()}.{time.monotonic_ns()}"
        mine = {beside.name, order.digest}
        self._building |= mine
        try:
            await _in_thread(_copy, source, order, beside)
            for step in order.recipe.steps:
                progress(" ".join((Path(step.command[0]).name, *step.command[1:2])))
                await run_tool(
                    step.command,
                    directory=beside / "app",
                    env=dict(step.env),
                    log=beside / "build.log",
                    progress=progress,
                )
            artifact = self._describe(order.digest, order.recipe)
            await _in_thread(_finish, beside, artifact, self._artifacts / order.digest)
        except BaseException as error:
            await _in_thread(self._give_up, order.digest, beside, error)
            raise
        finally:
            self._building -= mine
        return artifact

    def _give_up(self, name: str, beside: Path, error: BaseException) -> None:
        """Leave nothing of the build but, where a tool failed, everything that it said; the error names the file."""
        said, kept = beside / "build.log", self._logs / f"build-{name[:12]}.txt"
        if isinstance(error, Failed) and said.is_file():
            with suppress(OSError):  # what is shown of it is better than nothing
                self._logs.mkdir(parents=True, exist_ok=True, mode=0o700)
                shutil.move(said, kept)
                error.message += f"\nall that it said is in {kept}"
                _prune(self._logs)
        _delete(beside)

    def _describe(self, name: str, recipe: BuildRecipe) -> Artifact:
        assert recipe.command is not None  # noqa: S101 - _recipe refuses a source without one
        return Artifact(
            digest=name,
            path=str(self._artifacts / name / "app"),
            kind=recipe.kind,
            argv=recipe.command,
            env=(("PATH", ":".join(recipe.path)), *recipe.env),
            mounts=recipe.mounts,
        )


def builder(artifacts: Path, logs: Path) -> LocalBuilder:
    """A builder that keeps its artifacts in one directory, and in the other what failed builds have said."""
    return LocalBuilder(artifacts, logs)


def _order(source: Path, run: str | None) -> _Order:
    files = entries(source)
    recipe = _recipe(source, run)
    tree = tree_digest(source, files)
    name = digest(tree.encode(), recipe.identity.encode(), json.dumps(recipe.command).encode())
    return _Order(name, recipe, files, tree)


def _recipe(source: Path, run: str | None) -> BuildRecipe:
    found = next((r for r in (detect(source) for detect in DETECTORS) if r is not None), PLAIN)
    command = shell(run) if run is not None else procfile(source) or found.command
    if command is None:
        looked = ", ".join(("Procfile", *found.looked_for))
        example = "node server.js" if found.kind == "node" else "python main.py"
        raise Refused(
            f"nothing in {source} says how to start it (looked for {looked})",
            hint=f"say it with `run:`, for example `run: {example}`",
        )
    if found is PLAIN:  # the files may be in a directory of it
        found = python.detect_command(source, command) or PLAIN
    return replace(found, command=command)


async def _in_thread(work: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
    """Do *work* in a thread. Cancelling waits for it: it must not go on writing behind our back."""
    task = asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs))
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait((task,))
        raise


def _copy(source: Path, order: _Order, beside: Path) -> None:
    beside.mkdir(parents=True, mode=0o755)
    copy(source, order.files, beside / "app")
    if tree_digest(beside / "app", order.files) != order.tree:
        raise Failed(f"{source} changed while it was being copied", hint="try again")


def _finish(beside: Path, artifact: Artifact, target: Path) -> None:
    """The last step puts the whole artifact in its place at once."""
    (beside / "artifact.json").write_bytes(msgspec.json.encode(artifact))
    _seal(beside)
    if target.exists():
        _delete(target)
    beside.rename(target)


def _seal(directory: Path) -> None:
    """Readable for every user, writable for none."""
    for root, directories, files in os.walk(directory):
        for name in (*files, *directories):
            path = Path(root, name)
            mode = path.lstat().st_mode
            if not stat.S_ISLNK(mode):
                path.chmod(0o555 if stat.S_ISDIR(mode) or mode & stat.S_IXUSR else 0o444)
    directory.chmod(0o755)


def _prune(logs: Path) -> None:
    for old in sorted(logs.glob("build-*.txt"), key=lambda path: path.stat().st_mtime_ns)[:-FAILURES_KEPT]:
        old.unlink(missing_ok=True)


def _delete(path: Path) -> None:
    for root, directories, _ in os.walk(path):
        for name in directories:
            with suppress(OSError):
                Path(root, name).chmod(0o755)
    shutil.rmtree(path, ignore_errors=True)


def _disk_hint(error: OSError) -> str:
    return "make room on the disk" if error.errno == errno.ENOSPC else ""
