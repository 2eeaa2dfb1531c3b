"""
How much targeting may do: short documents, and short contexts, can ask for more than any machine has.

Evaluators that refer twice to another one double at each level, and so does what `reduce` makes of itself; lists inside
lists multiply. So what is written is weighed before it is used, and what is computed is charged for.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

HEAVIEST = 100_000
"""Values and operations in a piece of targeting, with everything that it refers to written out at each place."""
MOST_WORK = 1_000_000
"""What operators over lists may evaluate for one answer, weighed in the same way."""
LONGEST = 100_000
"""Characters, or items, that an operator may put together."""
WIDEST = 4096
"""Bits of a product."""

_CHARACTERS = 100  # that are as much work as one operation


class TooMuch(Exception):
    """Targeting came to more than it may."""


class _Meter(threading.local):
    left = MOST_WORK


_meter = _Meter()


def begin() -> None:
    """One more answer is computed in this thread, or one more part of it beforehand."""
    _meter.left = MOST_WORK


def spend(work: int) -> None:
    """Charge for so many operations. Raises `TooMuch` where too many have been paid for."""
    _meter.left -= work
    if _meter.left < 0:
        raise TooMuch


def joined(parts: list[str]) -> str:
    """One string. Raises `TooMuch` for a long one."""
    size = sum(map(len, parts))
    if size > LONGEST:
        raise TooMuch
    spend(size // _CHARACTERS)
    return "".join(parts)


def charged(items: list[Any]) -> list[Any]:
    """A list, paid for by all that is in it. Raises `TooMuch`."""
    spend(_size(items))
    return items


def _size(value: Any) -> int:
    """The values in a value, each at every place where it is; those beyond the bound are not looked at."""
    size, todo = 0, [value]
    while todo and size <= MOST_WORK:
        each = todo.pop()
        size += 1
        if isinstance(each, list | dict):
            todo.extend(each.values() if isinstance(each, dict) else each)
    return size


class Weights:
    """What targeting weighs, `HEAVIEST + 1` at most. The evaluators that it may refer to go in no circles."""

    def __init__(self, evaluators: Mapping[str, Any]) -> None:
        self._evaluators = evaluators
        self._known: dict[str, int] = {}

    def of(self, logic: Any) -> int:
        """The weight of a piece of targeting."""
        weight, todo = 0, [logic]
        while todo and weight <= HEAVIEST:
            each = todo.pop()
            weight += 1
            if isinstance(each, list):
                todo.extend(each)
            elif isinstance(each, dict):
                todo.extend(each.values())
                if len(each) == 1 and "$ref" in each:
                    weight += self._of_reference(each["$ref"])
        return min(weight, HEAVIEST + 1)

    def _of_reference(self, said: Any) -> int:
        name = str(said[0] if isinstance(said, list) and said else said)
        if name not in self._known:
            self._known[name] = self.of(self._evaluators.get(name))
        return self._known[name]
