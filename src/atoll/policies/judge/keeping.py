"""The state as JSON and back; floats come back as they were, so a judge that was killed goes on as if never killed."""

from __future__ import annotations

import json
from dataclasses import fields, is_dataclass
from enum import StrEnum
from functools import cache
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from atoll.policies.judge.state import State

VERSION = 4


def to_json(state: State) -> str:
    """*state* as text."""
    return json.dumps([VERSION, _plain(state)], separators=(",", ":"))


def from_json(text: str) -> State:
    """The state again. Raises `ValueError` for text that another version has written."""
    read = json.loads(text)
    if not isinstance(read, list) or read[0] != VERSION:
        raise ValueError("this is not the judge's state, or another version has written it")
    state: State = _typed(State, read[1])
    return state


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return [_plain(getattr(value, f.name)) for f in fields(value)]
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    return value


def _typed(kind: Any, value: Any) -> Any:
    """*value* as *kind*: a dataclass is a list of its fields."""
    if value is None:
        return None
    if isinstance(kind, UnionType):
        (kind,) = (k for k in get_args(kind) if k is not NoneType)
    if isinstance(kind, type) and is_dataclass(kind):
        return kind(*(_typed(k, v) for k, v in zip(_kinds(kind), value, strict=True)))
    if get_origin(kind) is tuple:
        return _tuple(get_args(kind), value)
    return kind(value) if isinstance(kind, type) and issubclass(kind, StrEnum) else value


def _tuple(kinds: tuple[Any, ...], value: list[Any]) -> tuple[Any, ...]:
    if kinds[-1] is ...:
        return tuple(_typed(kinds[0], v) for v in value)
    return tuple(_typed(k, v) for k, v in zip(kinds, value, strict=True))


@cache
def _kinds(kind: type) -> tuple[Any, ...]:
    hints = get_type_hints(kind)
    return tuple(hints[name] for name in hints if name in getattr(kind, "__match_args__", ()))
