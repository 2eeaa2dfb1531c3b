"""`sem_ver`: versions compared as semver.org 2.0 orders them; parts that are left out are 0."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

_IDENTIFIER = r"(?:0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)"
_VERSION = re.compile(
    r"(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)"
    rf"(?:-({_IDENTIFIER}(?:\.{_IDENTIFIER})*))?"
    r"(?:\+[0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*)?"
)
_DOTS = 2
_LONG = 100  # characters


class Version(NamedTuple):
    """In the order of precedence: a release is above its pre-releases, numbers are below words."""

    major: int
    minor: int
    patch: int
    release: bool
    pre: tuple[tuple[int, int, str], ...]


def parse(said: str) -> Version | None:
    """The version that a string names, with or without a v in front; None where it names none."""
    return _remembered(said) if len(said) <= _LONG else _read(said)  # what anybody sends does not fill the memory


@lru_cache(maxsize=4096)
def _remembered(said: str) -> Version | None:
    return _read(said)


def _read(said: str) -> Version | None:
    plain = said[1:] if said.startswith(("v", "V")) else said
    numbers = plain.split("-")[0].split("+")[0]
    padded = numbers + ".0" * (_DOTS - numbers.count(".")) + plain[len(numbers) :]
    found = _VERSION.fullmatch(padded)
    if found is None:
        return None
    major, minor, patch, pre = found.groups()
    try:
        return Version(int(major), int(minor), int(patch), pre is None, tuple(map(_identifier, (pre or "").split("."))))
    except ValueError:  # more digits than Python reads
        return None


def _identifier(word: str) -> tuple[int, int, str]:
    return (0, int(word), "") if word.isdigit() else (1, 0, word)


COMPARISONS: dict[str, Callable[[Version, Version], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "^": lambda one, other: one.major == other.major,
    "~": lambda one, other: one[:2] == other[:2],
}


def sem_ver(*args: Any) -> bool | None:
    """Whether version, comparison, version holds; None where one of them is not understood."""
    if len(args) != len(("version", "comparison", "version")):
        return None
    one, other = parse(str(args[0])), parse(str(args[2]))
    compare = COMPARISONS.get(args[1]) if isinstance(args[1], str) else None
    return None if one is None or other is None or compare is None else compare(one, other)
