"""Text of strangers made fit to be shown."""

from __future__ import annotations

import re

_STEERING = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)?|[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""Sequences that steer a terminal (ECMA-48: CSI, OSC, any other), and control characters; tabs and line ends stay."""


def plain(text: str) -> str:
    """*text* without what would steer a terminal."""
    return _STEERING.sub("", text)


def printable(text: str) -> str:
    """*text* with everything spelled out that would steer a terminal, or that has no encoding."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
