"""A document when it is written: everything that is wrong with it at once, each with the place and the mend."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

from atoll.kit.flags.document import Document, Finding, pointer
from atoll.kit.flags.faults import faults, links, reached, too_deep
from atoll.kit.flags.killing import MARK, given, is_killed, is_marked, safe
from atoll.kit.flags.logic import doubt, doubting, error, instead, logic_doubts, references
from atoll.kit.flags.seen import RELEASING

KINDS = ("experiment", "ops", "permission", "release")
LASTING = ("ops", "permission")  # need no date of expiry

_FIELDS = ("$schema", "$evaluators", "flags", "metadata")


def lint(document: Any, *, today: date) -> list[Finding]:
    """
    Everything wrong or doubtful in a document, in its order.

    Args:
        document: what was read; anything may be in it.
        today: what a date of expiry is compared with.

    """
    wrong = faults(document)
    if not isinstance(document, Mapping) or not isinstance(document.get("flags"), Mapping):
        return wrong
    care = [
        each
        for key, flag in document["flags"].items()
        if isinstance(flag, Mapping)
        for each in _care(flag, pointer("/flags", key), today)
    ]
    try:
        return [*wrong, *care, *(_doubts(document) if not wrong else ())]
    except RecursionError:
        return [too_deep(), *care]


def _care(flag: Mapping[str, Any], path: str, today: date) -> Iterator[Finding]:
    """What keeps a flag from being looked after."""
    given = flag.get("metadata")
    metadata = given if isinstance(given, Mapping) else {}
    path = pointer(path, "metadata")
    owner, kind = metadata.get("owner"), metadata.get("kind")
    if not isinstance(owner, str) or not owner:
        yield error(pointer(path, "owner"), "nobody owns this flag", 'write whom to ask, like "team-a"')
    if kind not in KINDS:
        reason = "the kind of flag is not said" if kind is None else f"there is no kind of flag {kind}"
        yield error(pointer(path, "kind"), reason, instead(kind, KINDS))
    yield from _expiry(metadata, pointer(path, "expires"), today)
    if is_marked(flag) and not is_killed(flag):
        reason = "this says that the flag is killed, and its targeting does not give everybody one variant"
        yield error(pointer(path, MARK), reason, "leave it out, then kill the flag if it is to be dead")
    if RELEASING in metadata:
        reason = "what is being released is not in the document: the control plane adds it to what services see"
        yield error(pointer(path, RELEASING), reason, "leave it out")


def _expiry(metadata: Mapping[str, Any], path: str, today: date) -> Iterator[Finding]:
    said = metadata.get("expires")
    if said is None:
        if metadata.get("kind") not in LASTING:
            yield error(
                path, "it is not said when this flag goes", 'write a date like "2027-01-31", or kind ops or permission'
            )
        return
    expires = day(said)
    if expires is None:
        yield error(path, f"{said!r} is not a date", 'write one like "2027-01-31"')
    elif expires < today:
        late = (today - expires).days
        yield doubt(
            path, f"it expired {late} day{'s' * (late > 1)} ago", "remove the flag from the code, then from here"
        )


def day(said: Any) -> date | None:
    """The date that a string like 2027-01-31 says; None where it says none."""
    try:
        return date.fromisoformat(said)
    except (TypeError, ValueError):
        return None


def _doubts(document: Document) -> Iterator[Finding]:
    """What can be evaluated and is probably not meant. Asks only about documents without faults."""
    evaluators = document.get("$evaluators") or {}
    scope = doubting(evaluators)
    for name in document:
        if name not in _FIELDS:
            yield doubt(pointer("", name), f"a document has no field {name}", instead(name, _FIELDS))
    for name, logic in evaluators.items():
        yield from logic_doubts(logic, pointer("/$evaluators", name), scope)
    for key, flag in document["flags"].items():
        path = pointer("/flags", key)
        if flag.get("defaultVariant") in (None, ""):
            reason = "without defaultVariant, who matches nothing gets what the code says, which nobody sees here"
            yield doubt(pointer(path, "defaultVariant"), reason, instead("off", flag["variants"]))
        if not is_killed(flag):
            yield from logic_doubts(flag.get("targeting"), pointer(path, "targeting"), scope)
        elif given(flag) != safe(flag):
            reason = f"it is killed with {given(flag)}, and its safe variant is {safe(flag) or 'not said'}"
            yield doubt(pointer(path, "targeting"), reason, "kill it again, or correct metadata.killVariant")
    asked = (name for flag in document["flags"].values() for name in references(flag.get("targeting")))
    for name in sorted(evaluators.keys() - reached(asked, links(evaluators))):
        yield doubt(pointer("/$evaluators", name), "no flag uses this", "leave it out")
