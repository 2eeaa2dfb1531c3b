"""Names as other systems allow them, made into names that the file allows."""

from __future__ import annotations

import re
from collections.abc import Iterable

from atoll.values.names import LONGEST, RESERVED

_LIKE_A_RELEASE = re.compile(r"-r(?=\d)")
"""Also where more follows: shortening could take it away."""


def name_for(text: str, taken: Iterable[str] = ()) -> str:
    """
    The nearest valid name to *text* that is not *taken*.

    `Order_Service` is `order-service`; a name that Atoll keeps for itself (`gateway`), that begins with a digit, or
    that the file would skip (`x-…`) gets a word in front or behind.
    """
    name = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "app"
    if not name[0].isalpha() or name == "x" or name.startswith("x-"):
        name = f"app-{name}"
    if name in RESERVED:
        name = f"{name}-service"
    name = _LIKE_A_RELEASE.sub("-rev", name)
    return _free(name, set(taken))


def _free(name: str, taken: set[str]) -> str:
    free, number = _short(name), 1
    while free in taken:
        number += 1
        free = f"{_short(name, LONGEST - len(str(number)) - 1)}-{number}"
    return free


def _short(name: str, longest: int = LONGEST) -> str:
    return name[:longest].strip("-")
