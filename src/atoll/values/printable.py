"""Text of strangers made fit to be shown."""

from __future__ import annotations


def printable(text: str) -> str:
    """*text* with everything spelled out that would steer a terminal, or that has no encoding."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
