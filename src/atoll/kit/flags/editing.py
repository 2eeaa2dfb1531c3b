"""
Changes to a document: each returns another one and leaves the given one as it was.

What is returned has no error in the flag that was changed.

A killed flag keeps its targeting, inside `{"if": [true, safe variant, targeting]}`: every reader of the format,
flagd included, gives everybody the safe variant, and `revived` takes the wrapping off again.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from atoll.kit.flags.document import Document, Finding, InvalidFlags, named, pointer, refused
from atoll.kit.flags.exposure import rollouts
from atoll.kit.flags.killing import MARK, form, given, is_killed, kept, safe
from atoll.kit.flags.lint import lint
from atoll.kit.flags.logic import instead

_WHOLE = 100
_FINE = 1000  # parts of one per cent


def with_flag(document: Document, key: str, flag: Mapping[str, Any]) -> dict[str, Any]:
    """
    The document with a flag added, or put in the place of the one with that name.

    Raises:
        InvalidFlags: as for every change here: the flag has an error, or there is no such flag to change.

    """
    return _checked({**document, "flags": {**document.get("flags", {}), key: dict(flag)}}, key)


def without_flag(document: Document, key: str) -> dict[str, Any]:
    """The document without a flag."""
    _flag(document, key)
    return {**document, "flags": {name: flag for name, flag in document["flags"].items() if name != key}}


def with_default(document: Document, key: str, variant: str) -> dict[str, Any]:
    """The document in which everybody whom targeting leaves alone gets `variant`."""
    flag = _living(document, key)
    return with_flag(document, key, {**flag, "defaultVariant": variant})


def with_targeting(document: Document, key: str, targeting: Mapping[str, Any] | None) -> dict[str, Any]:
    """The document with other targeting in a flag, or none."""
    flag = {name: value for name, value in _living(document, key).items() if name != "targeting"}
    return with_flag(document, key, flag if targeting is None else {**flag, "targeting": dict(targeting)})


def with_percent(
    document: Document, key: str, variant: str, percent: float, *, rest: str | None = None
) -> dict[str, Any]:
    """
    The document in which `percent` of all people get `variant`, to the thousandth of one per cent.

    Whoever has the variant at some percentage has it at every larger one. Targeting around an existing rollout
    between the two variants stays.

    Args:
        document: the document.
        key: the flag's.
        variant: what is rolled out.
        percent: 0 to 100.
        rest: what the others get; the default variant unless given.

    """
    flag = _living(document, key)
    if not 0 <= percent <= _WHOLE:
        raise refused(pointer("/flags", key), f"{percent} is not a percentage", "give 0 to 100")
    other = rest or _other(flag, variant, key)
    if other == variant:
        raise refused(
            pointer("/flags", key), f"{variant} cannot be rolled out against itself", "name another for the rest"
        )
    dealt = _dealt(percent)
    weights = {variant: dealt, other: (_WHOLE if dealt == percent else _WHOLE * _FINE) - dealt}
    targeting = flag.get("targeting")
    if not targeting:
        return with_targeting(document, key, {"fractional": [[name, weight] for name, weight in weights.items()]})
    found = [each for each in rollouts(targeting) if _dealt_to(each) == sorted(weights)]
    if len(found) != 1:
        reason = f"targeting has {len(found)} rollouts between {variant} and {other}, so it is unclear what to change"
        raise refused(pointer("/flags", key, "targeting"), reason, "set the targeting itself")
    shares = [[each[0], weights[each[0]]] if isinstance(each, list) else each for each in found[0]["fractional"]]
    return with_targeting(document, key, _replaced(targeting, found[0], {"fractional": shares}))


def killed(document: Document, key: str) -> dict[str, Any]:
    """
    The document in which everybody gets a flag's safe variant: `metadata.killVariant`, or else the default one.

    Works on a document with errors elsewhere, too: a kill must not wait for a mend.
    """
    flag = _flag(document, key)
    name = safe(flag)
    if name is None:
        path = pointer("/flags", key, "metadata", "killVariant")
        raise refused(path, "there is neither a killVariant nor a defaultVariant", instead("off", flag["variants"]))
    before = flag.get("targeting")
    if is_killed(flag):  # perhaps with what was the safe variant then
        if given(flag) == name:
            return dict(document)
        before = next(iter(kept(flag)), None)
    dead = {**flag, "targeting": form(name, before), "metadata": {**(flag.get("metadata") or {}), MARK: True}}
    return {**document, "flags": {**document["flags"], key: dead}}


def revived(document: Document, key: str) -> dict[str, Any]:
    """The document as it was before `killed`."""
    flag = _flag(document, key)
    if not is_killed(flag):
        return dict(document)
    before = kept(flag)
    alive = {name: value for name, value in flag.items() if name not in ("targeting", "metadata")}
    left = {name: value for name, value in flag["metadata"].items() if name != MARK}
    alive |= {"targeting": before[0]} if before else {}
    alive |= {"metadata": left} if left else {}
    return {**document, "flags": {**document["flags"], key: alive}}


def _flag(document: Document, key: str) -> dict[str, Any]:
    flags = document.get("flags") or {}
    if key not in flags:
        raise refused(pointer("/flags", key), f"there is no flag {key}", instead(key, flags))
    flag: dict[str, Any] = flags[key]
    return flag


def _living(document: Document, key: str) -> dict[str, Any]:
    flag = _flag(document, key)
    if is_killed(flag):
        raise refused(pointer("/flags", key), f"the flag {key} is killed", "revive it first")
    return flag


def _checked(document: dict[str, Any], key: str) -> dict[str, Any]:
    path, alone = pointer("/flags", key), {**document, "flags": {key: document["flags"][key]}}
    errors: list[Finding] = [
        each
        for each in lint(alone, today=date.min)  # a date that has passed is no error
        if each.level == "error" and (each.path == path or each.path.startswith(f"{path}/"))
    ]
    if errors:
        raise InvalidFlags(errors)
    return document


def _other(flag: Mapping[str, Any], variant: str, key: str) -> str:
    name = named(flag.get("defaultVariant"))
    others = [each for each in flag["variants"] if each != variant]
    if name in others:
        return str(name)
    if len(others) == 1:
        return str(others[0])
    raise refused(
        pointer("/flags", key), f"it is not clear who gets what is not {variant}", "say which variant the rest gets"
    )


def _dealt(percent: float) -> int:
    return int(percent) if float(percent).is_integer() else round(percent * _FINE)


def _dealt_to(rollout: Mapping[str, Any]) -> list[str]:
    """Whom a rollout deals variants to, as far as that is written down."""
    return sorted(str(each[0]) for each in rollout["fractional"] if isinstance(each, list) and each)


def _replaced(logic: Any, old: object, new: Any) -> Any:
    if logic is old:
        return new
    if isinstance(logic, list):
        return [_replaced(each, old, new) for each in logic]
    if isinstance(logic, dict):
        return {name: _replaced(each, old, new) for name, each in logic.items()}
    return logic
