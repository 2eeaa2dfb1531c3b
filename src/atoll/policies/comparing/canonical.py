"""
Answers made comparable, by a contract that says what of them counts.

A path names a field with the dots of JSON and no indexes: `items[*].price`; `$` is the whole body. A contract may name
more than one field with `*`, which stands for any part without a dot. `:status` and `header:etag` are of the head, and
no pattern of the body names them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from hashlib import sha256
from typing import Any

from atoll.model.system import Tolerance
from atoll.values.printable import printable

ROOT = "$"
HEADER = "header:"
"""Before the name of a header. What else is of no body, such as `:status`, begins with a colon, as in HTTP/2."""
LIST, SET = "list", "set"
DEEPEST = 64
"""Levels of JSON; what is nested more deeply is compared as a whole."""
LONGEST_PATH = 200
"""Characters; what is longer ends in a hash."""


@dataclass(frozen=True, slots=True)
class Contract:
    """
    What of an answer counts.

    `headers` are compared beside the status. Fields that are `masked` must be there with the same type, whatever their
    value and, if they are arrays, their length; `ignored` ones are not looked at. An array is a `list` unless `arrays`
    says `set`, or the name of the field that its elements are known by. `shown` values may stand in a report as they
    are.
    """

    status: bool = True
    headers: tuple[str, ...] = ("content-type",)
    masked: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    arrays: tuple[tuple[str, str], ...] = ()
    tolerances: tuple[tuple[str, Tolerance], ...] = ()
    shown: tuple[str, ...] = ()

    def array(self, path: str) -> str:
        """How the array at *path* is compared."""
        return next((how for pattern, how in self.arrays if matches(pattern, path)), LIST)

    def tolerance(self, path: str) -> Tolerance | None:
        """The tolerance for the number at *path*."""
        return next((found for pattern, found in self.tolerances if matches(pattern, path)), None)

    def is_masked(self, path: str) -> bool:
        """Whether the value at *path* does not count."""
        return any(matches(pattern, path) for pattern in self.masked)

    def is_ignored(self, path: str) -> bool:
        """Whether *path* does not count at all."""
        return any(matches(pattern, path) for pattern in self.ignored)

    def is_shown(self, path: str) -> bool:
        """Whether the value at *path* may be shown."""
        return any(matches(pattern, path) for pattern in self.shown)


@dataclass(frozen=True)  # no slots: its value is kept beside the fields
class Reply:
    """One answer as it came. `status` is in words where none came, or none that could be read to its end."""

    status: int | str
    headers: Mapping[str, str]
    body: bytes

    @cached_property
    def value(self) -> Any:
        """What JSON says, or the bytes where they are not JSON. Parsed once, and not before somebody looks."""
        try:
            value = json.loads(self.body)
        except (ValueError, RecursionError):
            return self.body
        return value if _within(value, DEEPEST) else self.body


@dataclass(frozen=True, slots=True)
class Canonical:
    """An answer as far as it counts; `body` is its value."""

    status: int | str
    headers: tuple[tuple[str, str], ...]
    body: Any


def matches(pattern: str, path: str) -> bool:
    """Whether *path* is what *pattern* names, or lies below it. A field of the body is never one of the head."""
    return is_of_head(pattern) is is_of_head(path) and _compiled(pattern).match(path) is not None


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    if pattern in {ROOT, "*"}:
        return re.compile("")
    parts = (r"[^.\[]*".join(map(re.escape, part.split("*"))) for part in pattern.split("[*]"))
    return re.compile(rf"{re.escape('[*]').join(parts)}(?=$|[.\[])")


def canonical(reply: Reply, contract: Contract) -> Canonical:
    """*reply* as far as *contract* says that it counts."""
    lower = {name.lower(): value for name, value in reply.headers.items()}
    headers = tuple((name.lower(), lower[name.lower()]) for name in contract.headers if name.lower() in lower)
    return Canonical(reply.status if contract.status else 0, headers, reply.value)


def _within(value: Any, levels: int) -> bool:
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return levels > 0 and all(_within(v, levels - 1) for v in inner)
    return True


def identity(value: Any) -> str:
    """Text that is the same for equal values: keys sorted, so that their order does not matter."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=repr)


def covers(contract: Contract, reply: Reply) -> bool:
    """Whether *contract* leaves anything to compare of this body: some value, or all there is."""
    if not contract.masked and not contract.ignored:
        return True
    fields = leaves(reply.value)
    return any(not contract.is_masked(path) and not contract.is_ignored(path) for path in fields)


def leaves(body: Any, path: str = "") -> Iterator[str]:
    """The paths of all values that are no objects and no arrays; indexes are not told apart."""
    if isinstance(body, dict):
        for name, value in body.items():
            yield from leaves(value, below(path, name))
    elif isinstance(body, list):
        yield from dict.fromkeys(found for value in body for found in leaves(value, f"{path}[*]"))
    else:
        yield path or ROOT


def below(path: str, name: str) -> str:
    """
    The path of a field of the object at *path*: printable, of bounded length, and never that of a part of the head.

    Whoever answers chooses the names, and they are told, written down and shown.
    """
    first = f"{ROOT}.{name}" if is_of_head(name) else name
    found = f"{path}.{name}" if path else first
    if len(found) <= LONGEST_PATH and found.isprintable():
        return found
    shown = printable(found[:LONGEST_PATH])
    if len(found) <= LONGEST_PATH and len(shown) <= LONGEST_PATH:
        return shown
    return f"{shown[:LONGEST_PATH]}~{sha256(found.encode(errors='surrogatepass')).hexdigest()[:8]}"


def is_of_head(path: str) -> bool:
    """Whether *path* is that of the status or of a header."""
    return path.startswith((":", HEADER))
