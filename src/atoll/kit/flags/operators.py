"""The operators that need nothing but their arguments, by name; those that look at the data are in `compiling`."""

from __future__ import annotations

import operator
from collections.abc import Callable
from math import isnan, nan
from typing import Any

from atoll.kit.flags.bounds import LONGEST, WIDEST, TooMuch, charged, joined
from atoll.kit.flags.values import equals, number, text, truthy
from atoll.kit.flags.versions import sem_ver

Operator = Callable[..., Any]


def _ordered(compare: Callable[[Any, Any], bool]) -> Operator:
    def two(a: Any, b: Any) -> bool:
        if isinstance(a, int | float) or isinstance(b, int | float):
            return compare(number(a), number(b))
        if isinstance(a, str) or isinstance(b, str):
            return compare(text(a), text(b))
        return compare(number(a), number(b))

    def ordered(a: Any = None, b: Any = None, c: Any = None, *_: Any) -> bool:
        return two(a, b) and (c is None or two(b, c))

    return ordered


def _equal(a: Any = None, b: Any = None, *_: Any) -> bool:
    return equals(a, b)


def _strictly_equal(a: Any = None, b: Any = None, *_: Any) -> bool:
    return bool(a == b)


def _true(a: Any = None, *_: Any) -> bool:
    return truthy(a)


def _minus(a: Any = None, b: Any = None, *_: Any) -> float:
    return -number(a) if b is None else number(a) - number(b)


def _divided(a: Any = None, b: Any = None, *_: Any) -> float:
    return number(a) / number(b)


def _modulo(a: Any = None, b: Any = None, *_: Any) -> float:
    return number(a) % number(b)


def _sum(*args: Any) -> float:
    value: float = 0
    for each in args:  # not sum(), which since Python 3.12 rounds differently from everybody else
        value += number(each)
    return value


def _product(*args: Any) -> float:
    value: float = 1
    for each in args:
        value *= number(each)
        if isinstance(value, int) and value.bit_length() > WIDEST:
            raise TooMuch
    return value


def _within(needle: Any = None, haystack: Any = None, *_: Any) -> bool:
    if isinstance(haystack, list):
        return needle in haystack
    return isinstance(haystack, str) and text(needle) in haystack


def _joined(*args: Any) -> str:
    return joined([text(each) for each in args])


def _part(said: Any = None, start: Any = None, length: Any = None, *_: Any) -> str:
    whole = text(said)
    begin, size = _begin(number(start), len(whole)), len(whole)
    if length is None:
        return whole[begin:]
    count = number(length)
    if isnan(count):
        return ""
    end = begin + int(count) if int(count) >= 0 else size + int(count)
    return whole[begin : max(begin, end)]


def _begin(start: float, size: int) -> int:
    if isnan(start):
        return 0
    if start < 0:
        return 0 if -start >= size else size - int(-start)
    return min(int(start), size)


def _merged(*args: Any) -> list[Any]:
    size = sum(len(each) if isinstance(each, list) else 1 for each in args)
    if size > LONGEST:
        raise TooMuch
    return charged([item for each in args for item in (each if isinstance(each, list) else [each])])


def _on_strings(test: Callable[[str, str], bool]) -> Operator:
    def on_strings(*args: Any) -> bool | None:
        both = len(args) == len(("text", "part")) and all(isinstance(each, str) for each in args)
        return test(*args) if both else None

    return on_strings


def _same(a: Any = None, *_: Any) -> Any:
    return a


# What these return is true exactly when Python says so, which saves asking `truthy`.
TESTS: dict[str, Operator] = {
    "==": _equal,
    "!=": lambda *args: not _equal(*args),
    "===": _strictly_equal,
    "!==": lambda *args: not _strictly_equal(*args),
    "<": _ordered(operator.lt),
    "<=": _ordered(operator.le),
    ">": _ordered(operator.gt),
    ">=": _ordered(operator.ge),
    "!": lambda *args: not _true(*args),
    "!!": _true,
    "in": _within,
    "starts_with": _on_strings(str.startswith),
    "ends_with": _on_strings(str.endswith),
    "sem_ver": sem_ver,
}
# What these make may be much larger than what it is made of.
METERED = frozenset({"cat", "merge"})
OPERATORS: dict[str, Operator] = TESTS | {
    "+": _sum,
    "-": _minus,
    "*": _product,
    "/": _divided,
    "%": _modulo,
    "min": lambda *args: min(map(number, args), default=nan),
    "max": lambda *args: max(map(number, args), default=nan),
    "cat": _joined,
    "substr": _part,
    "merge": _merged,
    "log": _same,  # what it would write into a service's output is nobody's business here
}
