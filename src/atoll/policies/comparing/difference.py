"""Where two answers differ, and which of three is the odd one, field by field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from math import isfinite, isnan
from typing import Any

from atoll.model.system import Tolerance
from atoll.policies.comparing.canonical import (
    HEADER,
    LIST,
    ROOT,
    SET,
    Canonical,
    Contract,
    Reply,
    below,
    canonical,
    identity,
)

STATUS = ":status"
HARMLESS = frozenset({STATUS, f"{HEADER}content-type"})
"""What a report always shows."""
LONGEST_SHOWN = 80
_NOTHING = object()


class How(StrEnum):
    """In which way a field differs."""

    MISSING = "missing"
    EXTRA = "extra"
    TYPE = "type"
    VALUE = "value"
    LENGTH = "length"


class Odd(StrEnum):
    """Which of three answers differs from the other two, which agree."""

    PRIMARY = "primary"
    SECONDARY = "secondary"
    CANDIDATE = "candidate"
    ALL = "all"
    """No two agree: an id or a time, or noise."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One field that differs, and both values."""

    path: str
    how: How
    one: Any = None
    other: Any = None


@dataclass(frozen=True, slots=True)
class Triple:
    """The answers of two instances of stable and of the candidate to the same request."""

    primary: Reply
    secondary: Reply
    candidate: Reply


def odd_ones(triple: Triple, contract: Contract) -> dict[str, Odd]:
    """Which answer is the odd one, for each field in which they differ. Answers equal byte by byte are not parsed."""
    one, two, three = triple.primary, triple.secondary, triple.candidate
    if _same(one, two) and _same(one, three):
        return {}
    primary, secondary, candidate = (canonical(reply, contract) for reply in (one, two, three))
    pairs = ((primary, secondary), (primary, candidate), (secondary, candidate))
    noise, raw, other = ({d.path for d in differences(*pair, contract)} for pair in pairs)
    found = ((path, _odd(path in noise, path in raw, path in other)) for path in sorted(noise | raw | other))
    return {path: odd for path, odd in found if odd is not None}


def _same(one: Reply, two: Reply) -> bool:
    return one.status == two.status and one.body == two.body and one.headers == two.headers


def _odd(noise: bool, raw: bool, other: bool) -> Odd | None:
    """None where a tolerance lets two pairs agree but not the third: nobody is the odd one."""
    if noise and raw and other:
        return Odd.ALL
    if raw and other:
        return Odd.CANDIDATE
    if noise and other:
        return Odd.SECONDARY
    return Odd.PRIMARY if noise and raw else None


def differences(one: Canonical, other: Canonical, contract: Contract) -> Iterator[Difference]:
    """All fields in which *one* and *other* differ. Indexes of arrays are not told apart."""
    if one.status != other.status:
        yield Difference(STATUS, How.VALUE, one.status, other.status)
    headers, others = dict(one.headers), dict(other.headers)
    for name in sorted(headers.keys() | others.keys()):
        value, found = headers.get(name, _NOTHING), others.get(name, _NOTHING)
        if value != found:
            yield _between(HEADER + name, value, found)
    yield from _values("", one.body, other.body, contract)


def _between(path: str, one: Any, other: Any) -> Difference:
    if one is _NOTHING:
        return Difference(path, How.EXTRA, None, other)
    if other is _NOTHING:
        return Difference(path, How.MISSING, one)
    return Difference(path, How.VALUE if _kind(one) is _kind(other) else How.TYPE, one, other)


def _kind(value: Any) -> type:
    """JSON knows one kind of number, and it is not a truth value."""
    return float if isinstance(value, int | float) and not isinstance(value, bool) else type(value)


def _values(path: str, one: Any, other: Any, contract: Contract) -> Iterator[Difference]:
    if contract.is_ignored(path or ROOT):
        return
    if one is _NOTHING or other is _NOTHING or _kind(one) is not _kind(other):
        yield _between(path or ROOT, one, other)
    elif isinstance(one, dict):
        for name in sorted(one.keys() | other.keys()):
            yield from _values(below(path, name), one.get(name, _NOTHING), other.get(name, _NOTHING), contract)
    elif isinstance(one, list):
        if not contract.is_masked(path or ROOT):
            yield from _arrays(path, one, other, contract)
    elif (
        not _equal(one, other)
        and not contract.is_masked(path or ROOT)
        and not _close(one, other, contract.tolerance(path or ROOT))
    ):
        yield Difference(path or ROOT, How.VALUE, one, other)


def _equal(one: Any, other: Any) -> bool:
    """Not-a-number, which some write into JSON, is equal to itself: else it would hide a difference from a number."""
    return bool(one == other) or (_is_nan(one) and _is_nan(other))


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and isnan(value)


def _close(one: Any, other: Any, tolerance: Tolerance | None) -> bool:
    if tolerance is None or _kind(one) is not float:
        return False
    try:
        near = abs(one - other) <= max(tolerance.absolute, tolerance.relative * max(abs(one), abs(other)))
        return bool(near) and isfinite(one) and isfinite(other)
    except OverflowError:  # integers have no bound in JSON
        return False


def _arrays(path: str, one: list[Any], other: list[Any], contract: Contract) -> Iterator[Difference]:
    how = contract.array(path or ROOT)
    if how == SET:
        yield from _sets(path, one, other, contract)
    elif how == LIST:
        if len(one) != len(other):
            yield Difference(path or ROOT, How.LENGTH, len(one), len(other))
        for value, found in zip(one, other, strict=False):
            yield from _values(f"{path}[*]", value, found, contract)
    else:
        mine, others = _keyed(one, how), _keyed(other, how)
        for key in sorted(mine.keys() | others.keys()):
            yield from _values(f"{path}[*]", mine.get(key, _NOTHING), others.get(key, _NOTHING), contract)


def _sets(path: str, one: list[Any], other: list[Any], contract: Contract) -> Iterator[Difference]:
    """Compare in the order of what the elements are."""
    if len(one) != len(other):
        yield Difference(path or ROOT, How.LENGTH, len(one), len(other))
        return
    for value, found in zip(sorted(one, key=identity), sorted(other, key=identity), strict=True):
        yield from _values(f"{path}[*]", value, found, contract)


def _keyed(array: list[Any], field: str) -> dict[str, Any]:
    """Elements by one of their fields; one that has it not, or shares it, by its place."""
    found: dict[str, Any] = {}
    for place, value in enumerate(array):
        key = identity(value[field]) if isinstance(value, Mapping) and field in value else f"#{place}"
        found[key if key not in found else f"{key}#{place}"] = value
    return found


def redacted(difference: Difference, contract: Contract, salt: bytes) -> tuple[str, str, str]:
    """The path and both values as a report may show them."""
    shown = contract.is_shown(difference.path) or difference.path in HARMLESS
    one, other = (repr(v)[:LONGEST_SHOWN] if shown else redact(v, salt) for v in (difference.one, difference.other))
    return difference.path, one, other


def redact(value: Any, salt: bytes) -> str:
    """
    What may be said of a value that nobody allowed to be shown: its type, its length, and a hash to know it again.

    The salt is the run's own secret, as a hash of a short value without one is soon found out.
    """
    if value is None or isinstance(value, bool):
        return f"{type(value).__name__}"
    text = value if isinstance(value, bytes) else identity(value).encode(errors="surrogatepass")
    length = len(value) if isinstance(value, str | list | dict | bytes) else len(text)
    return f"{_kind(value).__name__} of length {length}, hash {sha256(salt + text).hexdigest()[:8]}"
