"""
How JsonLogic sees values: what is true, equal, a number, a string, and what `var` finds.

The same as in openfeature-flagd-core 2.0, odd corners included, so that every client of a flag sees one variant.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from email.utils import formatdate
from math import nan
from time import mktime
from typing import Any

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DIGITS = 18  # no list is longer
_INFINITE = frozenset({"inf", "+inf", "-inf"})  # a number to Python only


def truthy(value: object) -> bool:
    """Whether a condition holds. An empty object does, NaN and an empty list do not."""
    if value is None or value != value:  # noqa: PLR0124 - NaN
        return False
    return bool(value) if isinstance(value, str | int | float | list) else True


def number(value: Any) -> float:
    """A value as a number; NaN where it is none."""
    if isinstance(value, int | float):
        return value
    if value is None:
        return 0
    if isinstance(value, list):
        return nan if len(value) > 1 else number(value[0]) if value else 0
    if isinstance(value, datetime):
        return (value - _EPOCH).total_seconds() * 1000
    return nan if isinstance(value, dict) else _read(value)


def _read(value: Any) -> float:
    if isinstance(value, str) and value.strip().lower() in _INFINITE:
        return nan
    try:
        return float(value)
    except ValueError:
        return nan


def text(value: Any) -> str:
    """A value as a string."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:.15g}"
    if isinstance(value, list):
        return ",".join(map(text, value))
    if isinstance(value, date):
        return formatdate(mktime(value.timetuple()), usegmt=True)
    return "null" if value is None else "[object Object]" if isinstance(value, dict) else str(value)


def equals(a: Any, b: Any) -> bool:
    """
    The loose equality of `==`.

    Raises:
        TypeError: one of them is of a type that JSON does not have.

    """
    kind = type(a)
    if kind is type(b):
        return a is b if kind in (list, dict) else bool(a == b)
    if isinstance(a, int | float):
        return a == number(b)
    if isinstance(b, int | float):
        return number(a) == b
    if a is None or b is None:
        return False
    if not isinstance(a, str | list | dict) or not isinstance(b, str | list | dict):
        raise TypeError(f"cannot compare {kind.__name__} with {type(b).__name__}")
    return (isinstance(a, str) or isinstance(b, str)) and text(a) == text(b)


def lookup(data: Any, key: Any = None, default: Any = None) -> Any:
    """What `var` finds under a key or a dotted path: in objects by name, in lists and strings by position."""
    if key is None or key == "":
        return data
    if isinstance(key, int | float):
        if isinstance(data, list | str):
            at = int(key)
            return data[at] if at == key and 0 <= at < len(data) else default
        data = data.get(key) if isinstance(data, dict) else None
        if data is None:
            return default
    return walk(data, text(key).split("."), default)


def walk(data: Any, path: Sequence[str], default: Any) -> Any:
    """What is at the end of a path."""
    for name in path:
        if isinstance(data, dict):
            data = data.get(name)
        elif not isinstance(data, list | str):
            return default
        elif name == "length":
            return len(data)
        elif _is_position(name) and int(name) < len(data):
            data = data[int(name)]
        else:
            return default
    return default if data is None else data


def _is_position(name: str) -> bool:
    return name.isascii() and name.isdigit() and (name[0] != "0" or name == "0") and len(name) <= _DIGITS
