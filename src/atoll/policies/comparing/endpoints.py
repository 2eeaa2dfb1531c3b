"""Which endpoint a request was for: its method and its path, without what differs from call to call."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

MOST = 200
REST = "all other endpoints"
"""Paths may be data that nobody recognises; beyond so many they share one count."""
LONGEST = 120

_NUMBER = re.compile(r"\d+")
_ID = re.compile(r"(?=.*\d)[0-9A-Za-z_-]{16,}|[0-9a-fA-F]{8,}(?:-[0-9a-fA-F]{4,})*")
"""A long word with a digit in it, or hexadecimal digits: ULID, UUID, digest, object id."""


def endpoint(method: str, target: str, patterns: Sequence[str]) -> str:
    """
    The endpoint, such as `GET /orders/{id}`; *target* is a path, perhaps with a query, which does not count.

    The first of *patterns* (paths with `{name}` for one segment) that fits names it; else numbers and long identifiers
    are taken for `{id}`.
    """
    path = target.partition("?")[0]
    for pattern in patterns:
        if _compiled(pattern).fullmatch(path):
            return f"{method} {pattern}"
    return f"{method} {'/'.join(map(_segment, path.split('/')))}"[:LONGEST]


def is_path(pattern: str, target: str) -> bool:
    """Whether *target*, perhaps with a query, is a path that *pattern* names."""
    return _compiled(pattern).fullmatch(target.partition("?")[0]) is not None


def _segment(text: str) -> str:
    return "{id}" if _NUMBER.fullmatch(text) or _ID.fullmatch(text) else text


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile("[^/]+".join(re.escape(part) for part in re.split(r"\{[^}]*\}", pattern)))
