"""Paths as they arrive: the gateway normalises each before it looks for a route."""

from __future__ import annotations

import re

NEVER = re.compile(r"%(00|2[Ff]|5[Cc])")
"""What the gateway refuses in a path: a zero byte, and slashes that only some programs take for slashes."""

_UNRESERVED = re.compile(r"%(2[DdEe]|3[0-9]|4[1-9A-Fa-f]|5[0-9AaFf]|6[1-9A-Fa-f]|7[0-9AaEe])")
"""RFC 3986, 6.2.2.2: letters, digits, `-`, `.`, `_` and `~` mean the same with and without their encoding."""
_PARAMETER = re.compile(r"(\.{1,2});.*")
"""Dots that have a parameter count as dots (`/a/..;x/b`): what some programs see, the gateway sees first."""


def normal(path: str) -> str:
    """What the gateway makes of *path*: nothing encoded that need not be, no empty segments, no `.` and `..`."""
    while (shorter := _once(path)) != path:
        path = shorter
    return path


def _once(path: str) -> str:
    kept: list[str] = []
    segments = [_plain(segment) for segment in path.split("/")]
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment not in {"", "."}:
            kept.append(segment)
    directory = bool(kept) and segments[-1] in {"", ".", ".."}
    return "/" + "/".join(kept) + "/" * directory


def _plain(segment: str) -> str:
    without = _PARAMETER.sub(r"\1", segment)
    return _UNRESERVED.sub(lambda found: chr(int(found[1], 16)), without)
