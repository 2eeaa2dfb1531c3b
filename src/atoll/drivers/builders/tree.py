"""A source directory as a list of files: what belongs to it, its digest, and a faithful copy."""

from __future__ import annotations

import fnmatch
import hashlib
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from atoll.errors import Refused
from atoll.values.hashing import digest

IGNORED = (".git", ".hg", ".venv", "venv", "node_modules", "__pycache__", ".atoll", ".mypy_cache", ".pytest_cache",
           ".ruff_cache", ".DS_Store", "*.pyc")  # fmt: skip
IGNORE_FILE = ".atollignore"
MOST_FILES = 50_000


@dataclass(frozen=True, slots=True)
class Entry:
    """One file or symbolic link; `path` is relative with forward slashes, `target` is a link's."""

    path: str
    executable: bool
    target: str | None = None


def entries(source: Path) -> list[Entry]:
    """
    The files of *source* in a stable order, without what `IGNORED` and its `.atollignore` name.

    Raises `errors.Refused` for what cannot be part of a release: sockets, devices, links that lead out, unreadable
    files, names that cannot be encoded, or more than `MOST_FILES`.
    """
    if not source.is_dir():
        raise Refused(f"there is no source directory {source}")
    found: list[Entry] = []
    for entry in _walk(source, source, _patterns(source)):
        found.append(entry)
        if len(found) > MOST_FILES:
            raise Refused(
                f"{source} holds more than {MOST_FILES} files", hint=f"name what is not needed in {IGNORE_FILE}"
            )
    return found


def tree_digest(source: Path, files: Sequence[Entry]) -> str:
    """The digest of names, modes and contents."""
    parts: list[bytes] = []
    for entry in files:
        parts.append(entry.path.encode())
        if entry.target is not None:
            parts.append(b"link " + entry.target.encode())
        else:
            with (source / entry.path).open("rb") as file:
                content = hashlib.file_digest(file, "sha256").digest()
            parts.append((b"x " if entry.executable else b"- ") + content)
    return digest(*parts)


def copy(source: Path, files: Sequence[Entry], target: Path) -> None:
    """Copy the files, readable for every user: an instance runs under another one."""
    target.mkdir(mode=0o755)
    for entry in files:
        to = target / entry.path
        to.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        if entry.target is not None:
            to.symlink_to(entry.target)
        else:
            shutil.copyfile(source / entry.path, to, follow_symlinks=False)
            to.chmod(0o755 if entry.executable else 0o644)


def _patterns(source: Path) -> tuple[str, ...]:
    extra = source / IGNORE_FILE
    if not extra.is_file():
        return IGNORED
    lines = (line.strip().rstrip("/") for line in extra.read_text(encoding="utf-8").splitlines())
    return (*IGNORED, *(line for line in lines if line and not line.startswith("#")))


def _walk(root: Path, directory: Path, patterns: Sequence[str]) -> Iterator[Entry]:
    try:
        listing = sorted(os.scandir(directory), key=lambda e: e.name)
    except OSError as error:
        raise Refused(f"{directory} cannot be read: {error.strerror}") from error
    for item in listing:
        path = Path(item.path).relative_to(root).as_posix()
        if any(fnmatch.fnmatch(item.name, p) or fnmatch.fnmatch(path, p) for p in patterns):
            continue
        _check_name(path)
        if item.is_symlink():
            yield _link(root, Path(item.path), path)
        elif item.is_dir(follow_symlinks=False):
            yield from _walk(root, Path(item.path), patterns)
        else:
            yield _file(item, path)


def _check_name(path: str) -> None:
    if any(ord(c) < 0x20 for c in path) or not path.isprintable():  # noqa: PLR2004 - control characters
        raise Refused(f"the file name {path!r} cannot be part of a release", hint="rename it")


def _file(item: os.DirEntry[str], path: str) -> Entry:
    mode = item.stat(follow_symlinks=False).st_mode
    if not stat.S_ISREG(mode):
        raise Refused(f"{item.path} is not a regular file", hint=f"remove it, or name it in {IGNORE_FILE}")
    if not os.access(item.path, os.R_OK):
        raise Refused(f"{item.path} cannot be read", hint=f"make it readable, or name it in {IGNORE_FILE}")
    return Entry(path, bool(mode & 0o111))


def _link(root: Path, link: Path, path: str) -> Entry:
    target = str(link.readlink())
    whole = (link.parent / target).resolve()
    if Path(target).is_absolute() or not whole.is_relative_to(root.resolve()):
        raise Refused(f"the link {path} leads out of its source, to {target}", hint="copy the file in, or ignore it")
    return Entry(path, executable=False, target=target)
