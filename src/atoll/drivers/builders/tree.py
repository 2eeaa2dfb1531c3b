"""A source directory as a list of files: what belongs to it, its digest, and a faithful copy."""

from __future__ import annotations

import fnmatch
import hashlib
import os
import posixpath
import re
import shutil
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from atoll.errors import Refused
from atoll.values.hashing import digest

IGNORED = (".git", ".hg", ".venv", "venv", "node_modules", "__pycache__", ".atoll", ".mypy_cache", ".pytest_cache",
           ".ruff_cache", ".DS_Store", "*.pyc", "/atoll.yaml")  # fmt: skip
"""What is made anew, belongs to tools, or is about the release rather than in it."""
IGNORE_FILE = ".atollignore"
MOST_FILES = 50_000
DEEPEST = 100


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
    files, names that cannot be encoded, more than `MOST_FILES`, or more than `DEEPEST` levels.
    """
    if not source.is_dir():
        raise Refused(f"there is no source directory {source}")
    found: list[Entry] = []
    for entry in _walk(source, "", _ignored(source), 0):
        found.append(entry)
        if len(found) > MOST_FILES:
            raise Refused(
                f"{source} holds more than {MOST_FILES} files", hint=f"name what is not needed in {IGNORE_FILE}"
            )
    return found


def tree_digest(source: Path, files: Sequence[Entry]) -> str:
    """The digest of names, modes and contents. Raises `OSError` where a file cannot be read any more."""
    parts: list[bytes] = []
    root = os.fspath(source)
    for entry in files:
        parts.append(entry.path.encode())
        if entry.target is not None:
            parts.append(b"link " + entry.target.encode())
        else:
            parts.append((b"x " if entry.executable else b"- ") + _content(f"{root}/{entry.path}"))
    return digest(*parts)


def _content(path: str) -> bytes:
    # O_NONBLOCK: a fifo that has taken the file's place must not hold us.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").digest()


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
            to.chmod(0o755 if entry.executable else 0o644, follow_symlinks=not to.is_symlink())


def _ignored(source: Path) -> re.Pattern[str]:
    """One expression over `/path/of/the/file`; a pattern with a slash in front counts from the top only."""
    return re.compile("|".join(_expression(pattern) for pattern in (*IGNORED, *_own_patterns(source / IGNORE_FILE))))


def _expression(pattern: str) -> str:
    anywhere = "" if pattern.startswith("/") else "(?:.*/)?"
    return f"/{anywhere}(?:{fnmatch.translate(pattern.removeprefix('/'))})"


def _own_patterns(file: Path) -> list[str]:
    if not file.is_file():
        return []
    try:
        lines = [line.strip().rstrip("/") for line in file.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"{file} cannot be read: {error}") from error
    patterns = [line for line in lines if line and not line.startswith("#")]
    negated = next((p for p in patterns if p.startswith("!")), None)
    if negated is not None:
        raise Refused(f"{file} takes something back with {negated!r}", hint="name only what is ignored")
    return patterns


def _walk(source: Path, below: str, ignored: re.Pattern[str], depth: int) -> Iterator[Entry]:
    directory = source / below
    if depth > DEEPEST:
        raise Refused(f"{source} is more than {DEEPEST} levels deep", hint=f"name what is not needed in {IGNORE_FILE}")
    try:
        with os.scandir(directory) as scanned:
            listing = sorted(scanned, key=lambda item: item.name)
    except OSError as error:
        raise Refused(f"{directory} cannot be read: {error.strerror}") from error
    for item in listing:
        path = f"{below}{item.name}"
        if ignored.fullmatch(f"/{path}"):
            continue
        _check_name(path)
        if item.is_symlink():
            yield _link(source, Path(item.path), path)
        elif item.is_dir(follow_symlinks=False):
            yield from _walk(source, f"{path}/", ignored, depth + 1)
        else:
            yield _file(item, path)


def _check_name(path: str) -> None:
    if not path.isprintable():
        raise Refused(f"the file name {path!r} cannot be part of a release", hint="rename it")


def _file(item: os.DirEntry[str], path: str) -> Entry:
    try:
        mode = item.stat(follow_symlinks=False).st_mode
    except OSError as error:
        raise Refused(f"{item.path} cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(mode):
        raise Refused(f"{item.path} is not a regular file", hint=f"remove it, or name it in {IGNORE_FILE}")
    if not os.access(item.path, os.R_OK):
        raise Refused(f"{item.path} cannot be read", hint=f"make it readable, or name it in {IGNORE_FILE}")
    return Entry(path, bool(mode & 0o111))


def _link(root: Path, link: Path, path: str) -> Entry:
    try:
        target = str(link.readlink())
        whole = (link.parent / target).resolve()
    except (OSError, RuntimeError) as error:
        raise Refused(f"the link {path} cannot be followed: {error}", hint=f"name it in {IGNORE_FILE}") from error
    _check_name(target)
    # By its words as well: `../web/x` inside of `web` comes back here, but not in the copy.
    words = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
    if words.startswith(("/", "..")) or not whole.is_relative_to(root.resolve()):
        raise Refused(f"the link {path} leads out of its source, to {target}", hint="copy the file in, or ignore it")
    return Entry(path, executable=False, target=target)
