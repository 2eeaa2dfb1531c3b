"""`fractional`: everybody in a bucket of their own, the same each time, and the buckets dealt out by weight."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from atoll.kit.flags.hashing import CBOR, cbor, murmur3, starting_with, text
from atoll.kit.flags.node import Node, Run, Scope

MOST = 2**31 - 1  # of all weights together

_PAIR = 2


@dataclass(frozen=True, slots=True)
class Shares:
    """Who gets what: the first variant whose end is above the bucket."""

    ends: tuple[int, ...]
    variants: tuple[Any, ...]

    def of(self, hashed: int) -> Any:
        """The variant for a 32-bit hash."""
        return self.variants[bisect_right(self.ends, hashed * self.ends[-1] >> 32)]


def shares(given: Sequence[Any]) -> Shares | None:
    """The shares that `[variant, weight]` pairs make; None where they make none. A negative weight is 0."""
    weights = [_weight(each) for each in given]
    ends = tuple(accumulate(weight for weight in weights if weight is not None))
    if None in weights or not ends or not 0 < ends[-1] <= MOST:
        return None
    return Shares(ends, tuple(each[0] for each in given))


def _weight(share: Any) -> int | None:
    if not isinstance(share, list | tuple) or not 1 <= len(share) <= _PAIR:
        return None
    weight = share[1] if len(share) == _PAIR else 1
    return None if isinstance(weight, bool) or not isinstance(weight, int) else max(0, weight)


def compile_fractional(args: Sequence[Node], scope: Scope) -> Node:
    """The piece that deals out variants; weights that are known beforehand are added up beforehand."""
    first, rest = (args[0], args[1:]) if args else (None, ())
    if first is None:
        return Node(lambda _: None)
    if all(each.constant for each in rest) and not scope.inner:
        if first.constant and isinstance(first.value, list):
            fixed = shares([each.value for each in args])
            return Node(_by_targeting_key(scope, fixed)) if fixed else Node(lambda _: None)
        fixed = shares([each.value for each in rest])
        if fixed:
            return Node(_by_value(first.run, scope, fixed, _dealt(args, scope)))
    return Node(_dealt(args, scope))


def _by_targeting_key(scope: Scope, fixed: Shares) -> Run:
    hashed, of = _hash_of_key(scope.hash, scope.flag), fixed.of

    def run(context: Any) -> Any:
        key = context.get("targetingKey")
        if not key or not isinstance(key, str):
            return None
        try:
            return of(hashed(key))
        except UnicodeEncodeError:
            return None

    return run


def _by_value(first: Run, scope: Scope, fixed: Shares, otherwise: Run) -> Run:
    hashed, of = _hash_of_value(scope.hash), fixed.of

    def run(context: Any) -> Any:
        value = first(context)
        if not isinstance(value, str):
            return otherwise(context)
        try:
            return of(hashed(value))
        except UnicodeEncodeError:
            return None

    return run


def _dealt(args: Sequence[Node], scope: Scope) -> Run:
    """For whatever is only known when it is computed: weights, variants, what to go by."""
    runs = [each.run for each in args]

    def run(data: Any) -> Any:
        first, *rest = [each(data) for each in runs]
        by_key = isinstance(first, list | tuple) or (first is None and scope.hash != CBOR)
        given = [first, *rest] if isinstance(first, list | tuple) else rest
        try:
            hashed = _hash_by_key(data, scope) if by_key else _hash_any(first, scope.hash)
        except (TypeError, ValueError, OverflowError):  # nothing that can be written down as bytes
            return None
        dealt = shares(given)
        return None if hashed is None or dealt is None else dealt.of(hashed)

    return run


def _hash_by_key(data: Any, scope: Scope) -> int | None:
    key = data.get("targetingKey")
    if not key or not isinstance(key, str):
        return None
    return _hash_of_key(scope.hash, "" if scope.inner else scope.flag)(key)


def _hash_any(value: Any, pinned: str) -> int | None:
    if isinstance(value, str):
        return _hash_of_value(pinned)(value)
    return None if value is None or pinned != CBOR else murmur3(cbor(value))


def _hash_of_key(pinned: str, flag: str) -> Callable[[str], int]:
    if pinned == CBOR:
        murmur = starting_with(b"\x82" + text(flag))
        return lambda key: murmur(text(key))
    murmur = starting_with(flag.encode())
    return lambda key: murmur(key.encode())


def _hash_of_value(pinned: str) -> Callable[[str], int]:
    if pinned == CBOR:
        return lambda value: murmur3(text(value))
    return lambda value: murmur3(value.encode())
