"""The variables of a Compose file: `$NAME`, `${NAME:-default}` and their kin, with nothing set."""

from __future__ import annotations

import re
from dataclasses import dataclass

_START = re.compile(r"\$(?:(\$)|([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)(\}|:?[-?+]))")
DEEPEST = 20


@dataclass(frozen=True, slots=True)
class Filled:
    """The text with defaults put in; the variables that had one, and those that have none."""

    text: str
    defaulted: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


def fill(text: str) -> Filled:
    """
    Put in what Compose would where no variable is set (Compose specification, Interpolation).

    Raises `ValueError` where the text is not understood.
    """
    filled, end = _fill(text, 0, 0)
    if end != len(text):
        raise ValueError(f"a brace too many in {text!r}")
    return filled


def _fill(text: str, at: int, depth: int) -> tuple[Filled, int]:
    """Up to the end of the text or, inside of a default, to its closing brace."""
    if depth > DEEPEST:
        raise ValueError("defaults nested too deeply")
    parts: list[str] = []
    defaulted: list[str] = []
    missing: list[str] = []
    while at < len(text) and not (depth and text[at] == "}"):
        if text[at] != "$":
            parts.append(text[at])
            at += 1
            continue
        match = _START.match(text, at)
        if match is None:
            raise ValueError(f"{text!r} is not a variable: write $$ for a dollar sign")
        at = match.end()
        if match[1]:
            parts.append("$")
        elif match[2] or match[4] == "}":
            missing.append(match[2] or match[3])
        else:
            inner, at = _fill(text, at, depth + 1)
            if at >= len(text):
                raise ValueError(f"a closing brace is missing in {text!r}")
            at += 1
            if match[4].endswith("-"):
                parts.append(inner.text)
                defaulted += [match[3], *inner.defaulted]
                missing += inner.missing
            elif match[4].endswith("?"):
                missing.append(match[3])
    return Filled("".join(parts), tuple(defaulted), tuple(missing)), at
