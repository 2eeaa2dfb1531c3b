"""Which endpoint a request was for: its method and its path, without what differs from call to call."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

MOST = 200
REST = "all other endpoints"
"""Paths may be data that nobody recognises; beyond so many they share one count."""
LONGEST = 120

_WORD = re.compile(r"(?![a-f]{8,}$)[a-z][a-z_-]{0,30}|v\d{1,3}|")
"""A short plain word, or a version. Anything else may be somebody's name or secret, and is neither kept nor shown."""


def endpoint(method: str, target: str, patterns: Sequence[str]) -> str:
    """
    The endpoint, such as `GET /orders/{id}`; *target* is a path, perhaps with a query, which does not count.

    The first of *patterns* (paths with `{name}` for one segment) that fits names it; else each segment that is not
    plainly a word is taken for `{id}`.
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
    return text if _WORD.fullmatch(text) else "{id}"


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile("[^/]+".join(re.escape(part) for part in re.split(r"\{[^}]*\}", pattern)))
