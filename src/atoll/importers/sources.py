"""Directories that hold something to build and start, told by the files that the builders go by."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from atoll.importers.dockerfile import command_line, start_of
from atoll.importers.files import text_or_nothing
from atoll.importers.naming import name_for
from atoll.importers.proposal import Draft, Found
from atoll.importers.references import calls_of

DEEPEST = 3
SKIPPED = frozenset(
    {"node_modules", "venv", "vendor", "dist", "build", "target", "test", "tests", "docs", "doc", "examples", "static",
     "public", "assets", "templates", "migrations", "scripts", "site-packages", "__pycache__"}
)  # fmt: skip
PYTHON, NODE = "Python", "Node.js"
PYTHON_ENTRIES = ("main.py", "app.py", "server.py")
NODE_ENTRIES = ("server.js", "index.js", "main.js", "app.js")
ENTRANCES = ("web", "www", "frontend", "storefront", "ui", "site", "portal", "app", "bff", "edge", "api")
"""Names that the service behind the gateway usually has, the likeliest first."""


@dataclass(frozen=True, slots=True)
class Source:
    """
    A directory that a builder recognises; `starts` says whether it also says how to start, `run` what to add.

    `remarks` are what does not carry over of its Dockerfile.
    """

    path: Path
    language: str
    starts: bool
    run: str | None = None
    remarks: tuple[str, ...] = ()


def source_at(directory: Path) -> Source | None:
    """What a builder would make of *directory*, None where no builder would know it."""
    language = _language(directory)
    procfile = (directory / "Procfile").is_file()
    if language is None and not procfile:
        return None
    starts = procfile or (_node_starts(directory) if language == NODE else _python_starts(directory))
    image = start_of(text_or_nothing(directory / "Dockerfile"))
    run = None if starts else command_line(image.arguments, image.ports) or None
    return Source(directory, language or "a Procfile", starts or run is not None, run, image.remarks)


def _language(directory: Path) -> str | None:
    """As the builders decide: what says that it is Python, then Node.js, then Python files."""
    if any((directory / name).is_file() for name in ("pyproject.toml", "requirements.txt")):
        return PYTHON
    if (directory / "package.json").is_file():
        return NODE
    return PYTHON if any(path.is_file() for path in directory.glob("*.py")) else None


def find(directory: Path) -> Found | None:
    """The services in *directory*: one where it is one itself, else its subdirectories; None where there are none."""
    root = source_at(directory)
    below = list(_below(directory, directory, 1))
    started = [s for s in below if s.starts]
    if root is not None and (root.starts or not started):
        return _single(directory, root, started)
    return _several(directory, started, [s for s in below if not s.starts]) if started else None


def entrance(names: list[str]) -> str:
    """The service that most likely stands behind the gateway."""
    return min(names, key=lambda n: (ENTRANCES.index(n) if n in ENTRANCES else len(ENTRANCES), names.index(n)))


def _single(directory: Path, root: Source, below: list[Source]) -> Found:
    name = name_for(directory.name)
    notes: list[str] = []
    if below:
        others = ", ".join(_relative(directory, s.path) for s in below)
        notes.append(f"the directory itself was taken as the one service; these could be services, too: {others}")
    remarks = () if root.starts else ("nothing in its source says how to start it: add `run:`",)
    draft = Draft(name, ".", run=root.run, routes=("/",), remarks=(*remarks, *root.remarks))
    return Found(name, f"the sources ({root.language})", (draft,), notes=tuple(notes))


def _several(directory: Path, started: list[Source], others: list[Source]) -> Found:
    named: dict[str, Source] = {}
    for source in started:
        named[name_for(source.path.name, named)] = source
    calls = {name: calls_of(source.path, name, tuple(named)) for name, source in named.items()}
    called = {callee for callees in calls.values() for callee in callees}
    front = entrance([name for name in named if name not in called] or list(named))
    drafts = tuple(
        Draft(
            name,
            _relative(directory, source.path),
            run=source.run,
            routes=("/",) if name == front else (),
            calls=calls[name],
            remarks=source.remarks,
        )
        for name, source in named.items()
    )
    notes = list(_left_out(directory, others))
    if len(drafts) > 1:
        judged = "judged by who calls whom, and by its name"
        notes.append(f"the gateway leads to {front} only, {judged}: add `routes:` where that is wrong")
        notes.append("`calls:` holds what the sources mention (http://NAME or NAME_URL): anything else will be refused")
    return Found(name_for(directory.name), "the sources", drafts, notes=tuple(notes))


def _left_out(directory: Path, sources: list[Source]) -> Iterator[str]:
    for source in sources:
        path = _relative(directory, source.path)
        yield f"{path} was left out: it is {source.language}, but nothing in it says how to start it"


def _relative(directory: Path, path: Path) -> str:
    return path.relative_to(directory).as_posix()


def _below(root: Path, directory: Path, depth: int) -> Iterator[Source]:
    try:
        inside = sorted(e.name for e in os.scandir(directory) if e.is_dir(follow_symlinks=False))
    except OSError:
        return
    for name in inside:
        if name.startswith((".", "_")) or name in SKIPPED or not name.isprintable():
            continue
        try:
            found = source_at(directory / name)
        except OSError:  # a directory that may not be looked into holds no source of ours
            continue
        if found is not None:
            yield found
        elif depth < DEEPEST:
            yield from _below(root, directory / name, depth + 1)


def _python_starts(directory: Path) -> bool:
    try:
        whole = tomllib.loads(text_or_nothing(directory / "pyproject.toml"))
    except (tomllib.TOMLDecodeError, RecursionError):
        whole = {}
    project = whole.get("project")
    scripts = project.get("scripts") if isinstance(project, dict) else None
    if isinstance(scripts, dict) and len(scripts) == 1 and "build-system" in whole:
        return True
    return any((directory / name).is_file() for name in PYTHON_ENTRIES)


def _node_starts(directory: Path) -> bool:
    try:
        package = json.loads(text_or_nothing(directory / "package.json"))
    except (json.JSONDecodeError, RecursionError):
        return False
    if not isinstance(package, dict):
        return False
    scripts, main = package.get("scripts"), package.get("main")
    if isinstance(scripts, dict) and isinstance(scripts.get("start"), str):
        return True
    names = (main, *NODE_ENTRIES) if isinstance(main, str) and "\0" not in main else NODE_ENTRIES
    return any((directory / name).is_file() for name in names)
