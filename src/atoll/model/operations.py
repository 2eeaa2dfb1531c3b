"""Operations of a service: a method and a path, as one word of the file."""

from __future__ import annotations

import re

from atoll.model.reading import Section
from atoll.model.source import Scalar
from atoll.model.system import Operation

_METHOD = re.compile(r"[A-Z]{1,20}")
_PART = r"(?:[A-Za-z0-9._~!$&'()+,;=:@%-]+|\{[a-z][a-z0-9_-]*\})"
_PATH = re.compile(rf"/|(?:/{_PART})+")


def is_path(text: str) -> bool:
    """Whether *text* is a path, in which `{name}` stands for any one segment."""
    return _PATH.fullmatch(text) is not None


def read_operation(section: Section, key: str, item: Scalar, example: str) -> Operation | None:
    """The operation that was written under *key*; what is none is noted, with an *example*."""
    method, _, path = item.text.partition(" ")
    if _METHOD.fullmatch(method) and is_path(path):
        return Operation(method, path)
    hint = f"write its method and path, such as {example}"
    section.notes.problem(item.place, f"{section.path}.{key}: {item.text!r} is not an operation", hint)
    return None
