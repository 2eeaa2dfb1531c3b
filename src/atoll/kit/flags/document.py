"""A document of flags in flagd's format, version 0: read from text, and what is said about a bad one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, Literal

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Finding:
    """
    What is wrong with a document, or doubtful, at one place.

    Args:
        level: an error is refused, a warning is not.
        path: the place, as a JSON pointer.
        reason: what is wrong.
        mend: what to write instead.

    """

    level: Literal["error", "warning"]
    path: str
    reason: str
    mend: str

    def __str__(self) -> str:
        return f"{self.path or '/'}: {self.reason}: {self.mend}"


class InvalidFlags(ValueError):
    """A document or a change to it that is refused. `findings` has every problem."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        self.findings = tuple(findings)
        super().__init__("\n".join(map(str, self.findings)))


def refused(path: str, reason: str, mend: str) -> InvalidFlags:
    """The refusal for one reason."""
    return InvalidFlags([Finding("error", path, reason, mend)])


def named(variant: Any) -> Any:
    """The name of a variant that JSON says as true or false."""
    return str(variant).lower() if isinstance(variant, bool) else variant


def pointer(path: str, *names: object) -> str:
    """The JSON pointer to what is under `names` in `path` (RFC 6901)."""
    for name in names:
        said = str(name)
        if "~" in said or "/" in said:
            said = said.replace("~", "~0").replace("/", "~1")
        path = f"{path}/{said}"
    return path


def unchanged(before: Document, after: Document) -> frozenset[str]:
    """The keys of the flags that are the same in both documents, with all that they depend on."""
    one, other = before.get("flags"), after.get("flags")
    shared = all(_same(before.get(name), after.get(name)) for name in ("$evaluators", "metadata"))
    if not shared or not isinstance(one, Mapping) or not isinstance(other, Mapping):
        return frozenset()
    return frozenset(key for key in one.keys() & other.keys() if _same(one[key], other[key]))


def _same(one: object, other: object) -> bool:
    return one == other and repr(one) == repr(other)  # to Python, true is 1 and 1 is 1.0


def parse(text: str | bytes) -> dict[str, Any]:
    """
    The document in some JSON.

    Raises:
        InvalidFlags: it is no JSON, has a name twice in one object, or is no object.

    """
    try:
        document = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_number, parse_float=_finite)
    except InvalidFlags:
        raise
    except RecursionError:
        raise refused("", "the JSON is nested too deeply", "move parts of the targeting into $evaluators") from None
    except ValueError as error:
        raise refused("", f"this is not JSON: {error}", "correct it there") from None
    if not isinstance(document, dict):
        raise refused("", "the document is not an object", 'write {"flags": {...}}')
    return document


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise refused("", f"{json.dumps(twice)} is twice in one object", "keep one: readers disagree which one counts")
    return found


def _finite(said: str) -> float:
    value = float(said)
    return value if isfinite(value) else _no_number(said)  # what is written back would be no JSON any more


def _no_number(name: str) -> float:
    raise refused("", f"{name} is not a number that JSON readers agree on", "write a smaller one")
