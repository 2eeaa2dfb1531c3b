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
from dataclasses import replace
from pathlib import Path

import msgspec

from atoll.drivers.builders import node, python
from atoll.drivers.builders.recipe import BASE_PATH, BuildRecipe, procfile, shell
from atoll.drivers.builders.tools import run as run_tool
from atoll.drivers.builders.tree import Entry, copy, entries, tree_digest
from atoll.errors import Failed, Refused
from atoll.ports import Artifact
from atoll.values.hashing import digest

DETECTORS = (python.detect, node.detect)
PLAIN = BuildRecipe(kind="plain", identity="plain-1", path=tuple(BASE_PATH.split(":")))


class LocalBuilder:
    """Builds on this machine into a content-addressed directory. Meets `ports.Builder`."""

    def __init__(self, artifacts: Path) -> None:
        self._artifacts = artifacts
        self._building: dict[str, asyncio.Lock] = {}
        self._known: dict[str, Artifact] = {}

    def digest(self, source: Path, run: str | None) -> str:
        """The digest the artifact would have; reads the source, builds nothing."""
        return self._look(source, run)[0]

    async def build(self, source: Path, run: str | None, *, progress: Callable[[str], None]) -> Artifact:
        """Build, or find what was built before from the same content."""
        try:
            name, recipe, files = await asyncio.to_thread(self._look, source, run)
            async with self._building.setdefault(name, asyncio.Lock()):
                found = self.find(name)
                if found is not None:
                    return replace(found, cached=True)
                return await self._build(source, name, recipe, files, progress)
        except OSError as error:
            raise Failed(f"{source} could not be built: {error}", hint=_disk_hint(error)) from error

    def find(self, digest: str) -> Artifact | None:
        """The artifact of that digest where it is still there."""
        if digest not in self._known:
            record = self._artifacts / digest / "artifact.json"
            try:
                self._known[digest] = msgspec.json.decode(record.read_bytes(), type=Artifact)
            except (OSError, msgspec.DecodeError):
                return None
        found = self._known[digest]
        return found if Path(found.path).is_dir() else None

    def sweep(self, keep: set[str]) -> None:
        """Delete artifacts that nobody needs, and what interrupted builds left behind."""
        for path in self._artifacts.iterdir() if self._artifacts.is_dir() else ():
            if path.name not in keep and path.name not in self._building:
                self._known.pop(path.name, None)
                _delete(path)

    def _look(self, source: Path, run: str | None) -> tuple[str, BuildRecipe, list[Entry]]:
        files = entries(source)
        recipe = _recipe(source, run)
        command = json.dumps(recipe.command)
        name = digest(tree_digest(source, files).encode(), recipe.identity.encode(), command.encode())
        return name, recipe, files

    async def _build(
        self,
        source: Path,
        name: str,
        recipe: BuildRecipe,
        files: list[Entry],
        progress: Callable[[str], None],
    ) -> Artifact:
        beside = self._artifacts / f".{name[:16]}.{os.getpid()}.{time.monotonic_ns()}"
        beside.mkdir(parents=True, mode=0o755)
        app, log = beside / "app", beside / "build.log"
        try:
            await asyncio.to_thread(copy, source, files, app)
            for step in recipe.steps:
                progress(" ".join((Path(step.command[0]).name, *step.command[1:2])))
                await run_tool(step.command, directory=app, env=dict(step.env), log=log, progress=progress)
            artifact = self._describe(name, recipe)
            (beside / "artifact.json").write_bytes(msgspec.json.encode(artifact))
            await asyncio.to_thread(_seal, beside)
            beside.rename(self._artifacts / name)
        except BaseException:
            _delete(beside)
            raise
        return artifact

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


def builder(artifacts: Path) -> LocalBuilder:
    """A builder that keeps its artifacts in that directory."""
    return LocalBuilder(artifacts)


def _recipe(source: Path, run: str | None) -> BuildRecipe:
    found = [r for r in (detect(source) for detect in DETECTORS) if r is not None]
    recipe = found[0] if found else PLAIN
    command = shell(run) if run is not None else procfile(source) or recipe.command
    if command is None:
        looked = ("Procfile", *(name for r in found for name in r.looked_for)) if found else (
            "Procfile", "pyproject.toml", "requirements.txt", "*.py", "package.json"
        )  # fmt: skip
        raise Refused(
            f"nothing in {source} says how to start it (looked for {', '.join(looked)})",
            hint="say it with `run:`, for example `run: python main.py`",
        )
    return replace(recipe, command=command)


def _seal(directory: Path) -> None:
    """Readable for every user, writable for none."""
    for root, directories, files in os.walk(directory):
        for name in (*files, *directories):
            path = Path(root, name)
            if not path.is_symlink():
                executable = path.is_dir() or path.stat().st_mode & stat.S_IXUSR
                path.chmod(0o555 if executable else 0o444)


def _delete(path: Path) -> None:
    for root, directories, _ in os.walk(path):
        for name in directories:
            with suppress(OSError):
                Path(root, name).chmod(0o755)
    shutil.rmtree(path, ignore_errors=True)


def _disk_hint(error: OSError) -> str:
    return "make room on the disk" if error.errno == errno.ENOSPC else ""
