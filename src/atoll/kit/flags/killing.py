"""
What a killed flag looks like.

Its targeting is `{"if": [true, VARIANT]}`, with what it was before as a third argument, and its metadata says `killed`.
Every reader of the format gives everybody the variant because of the targeting. The mark alone does nothing, so it is
never believed alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from atoll.kit.flags.document import named

MARK = "killed"

_LEAST, _MOST = 2, 3  # true, the variant, what it was before


def is_killed(flag: Mapping[str, Any]) -> bool:
    """Whether a flag is marked as killed and gives everybody one variant, as `killed` writes it."""
    return is_marked(flag) and given(flag) is not None


def is_marked(flag: Mapping[str, Any]) -> bool:
    """Whether a flag's metadata says that it is killed, be it so or not."""
    metadata = flag.get("metadata")
    return isinstance(metadata, Mapping) and metadata.get(MARK) is True


def given(flag: Mapping[str, Any]) -> str | None:
    """The variant that targeting of the killed form gives everybody; None where it is of another form."""
    parts = _parts(flag)
    return str(parts[1]) if parts else None


def kept(flag: Mapping[str, Any]) -> tuple[Any, ...]:
    """The targeting that a killed flag had before, where it had some."""
    return tuple(_parts(flag)[2:])


def safe(flag: Mapping[str, Any]) -> str | None:
    """The variant that everybody is to get once a flag is killed; None where there is none."""
    metadata = flag.get("metadata") or {}
    name = named(metadata.get("killVariant", flag.get("defaultVariant")))
    return name if isinstance(name, str) and name and name in flag["variants"] else None


def form(variant: str, before: Any) -> dict[str, Any]:
    """The targeting of a killed flag."""
    return {"if": [True, variant, before] if before else [True, variant]}


def _parts(flag: Mapping[str, Any]) -> list[Any]:
    targeting = flag.get("targeting")
    parts = targeting.get("if") if isinstance(targeting, Mapping) and len(targeting) == 1 else None
    if not isinstance(parts, list) or not _LEAST <= len(parts) <= _MOST or parts[0] is not True:
        return []
    return parts if isinstance(parts[1], str) and parts[1] in (flag.get("variants") or ()) else []
