"""Who gets what of a flag, as far as its definition alone says it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from atoll.kit.flags.document import named
from atoll.kit.flags.killing import given

_WHOLE = 100.0


def shares(flag: Mapping[str, Any]) -> dict[str, float] | None:
    """
    The percentages by variant that a flag deals out, or its one variant with 100.

    None where it has no one answer: several rollouts, weights that are computed, or targeting without a rollout.
    """
    only = everybody(flag)
    if only is not None:
        return {only: _WHOLE}
    found = list(rollouts(flag.get("targeting")))
    return _percentages(found[0]) if len(found) == 1 else None


def everybody(flag: Mapping[str, Any]) -> str | None:
    """The variant that everybody gets; None where it depends on who asks, or the code's own default decides."""
    default = named(flag.get("defaultVariant"))
    if flag.get("state") == "DISABLED":
        return None
    targeting = flag.get("targeting")
    if not targeting:
        return str(default) if default else None
    always = given(flag)
    if always is not None:
        return always
    dealt = _percentages(targeting) if set(targeting) == {"fractional"} else None
    some = [name for name, percent in (dealt or {}).items() if percent]
    return some[0] if len(some) == 1 else None


def rollouts(logic: Any) -> Iterator[dict[str, Any]]:
    """Every `fractional` in some targeting."""
    if isinstance(logic, list):
        for each in logic:
            yield from rollouts(each)
    elif isinstance(logic, dict):
        if isinstance(logic.get("fractional"), list):
            yield logic
        for each in logic.values():
            yield from rollouts(each)


def _percentages(rollout: Mapping[str, Any]) -> dict[str, float] | None:
    """None where a weight or a variant is computed."""
    said = rollout["fractional"]
    if not isinstance(said, list):
        return None
    # It may begin with what people are dealt out by.
    dealt = [each for at, each in enumerate(said) if at or isinstance(each, list)]
    pairs = [(each[0], each[1] if len(each) > 1 else 1) for each in dealt if isinstance(each, list) and each]
    whole = sum(weight for _, weight in pairs if isinstance(weight, int))
    if len(pairs) < len(dealt) or not whole or not all(_plain(name, weight) for name, weight in pairs):
        return None
    found: dict[str, float] = {}
    for name, weight in pairs:
        key = str(named(name))
        found[key] = found.get(key, 0.0) + _WHOLE * weight / whole
    return found


def _plain(name: Any, weight: Any) -> bool:
    return isinstance(name, str | bool) and isinstance(weight, int)
