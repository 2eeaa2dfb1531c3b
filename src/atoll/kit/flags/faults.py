"""What keeps a document from being evaluated as it is meant. `lint` adds what keeps it from being looked after."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from atoll.kit.flags.bounds import HEAVIEST, Weights
from atoll.kit.flags.document import Finding, named, pointer
from atoll.kit.flags.hashing import HASHES
from atoll.kit.flags.killing import is_killed, kept
from atoll.kit.flags.logic import Evaluators, error, instead, logic_faults, references, results

_FIELDS = ("state", "variants", "defaultVariant", "targeting", "metadata", "source", "selector")
_STATES = ("ENABLED", "DISABLED")
_KINDS: tuple[tuple[str, type | tuple[type, ...]], ...] = (
    ("boolean", bool),
    ("string", str),
    ("number", (int, float)),
    ("object", (dict, list)),
)


MOST_TOLD = 1000
MOST_EVALUATORS = 1000
"""Whether they go in circles is looked up for each: the time grows with the square of their number."""
Links = Mapping[str, frozenset[str]]


@dataclass(frozen=True, slots=True)
class Shared:
    """The evaluators of a document, and which refers to which."""

    evaluators: Evaluators
    links: Links
    weights: Weights


def faults(document: Any, sound: Collection[str] = ()) -> list[Finding]:
    """
    Every reason to refuse a document, in its order; the flags in `sound` are known to have none.

    After `MOST_TOLD` it is only said that there are more: to find what else was meant takes time for each.
    """
    try:
        found = _first(_document_faults(document, sound))
    except RecursionError:
        return [too_deep()]
    if len(found) <= MOST_TOLD:
        return found
    return [*found[:MOST_TOLD], error("", f"there are more than {MOST_TOLD:,} errors", "correct these first")]


def _first(found: Iterator[Finding]) -> list[Finding]:
    return list(islice(found, MOST_TOLD + 1))


def too_deep() -> Finding:
    """The refusal of what Python's stack cannot hold."""
    return error("/$evaluators", "the chains of $ref are too long", "refer to less, or write some of them out")


def _document_faults(document: Any, sound: Collection[str]) -> Iterator[Finding]:
    if not isinstance(document, Mapping) or not isinstance(document.get("flags"), Mapping):
        yield error("/flags", "there is no object of flags", 'write {"flags": {"name": {...}}}')
        return
    yield from _metadata_faults(document.get("metadata"), "/metadata")
    evaluators = document.get("$evaluators") or {}
    if not isinstance(evaluators, Mapping):
        yield error("/$evaluators", "this is not an object", 'write {"name": {...}}')
        return
    if len(evaluators) > MOST_EVALUATORS:
        few = f"there are {len(evaluators):,} evaluators, {MOST_EVALUATORS:,} are allowed"
        yield error("/$evaluators", few, "take out what no flag refers to")
        return
    known = Shared(evaluators, links(evaluators), Weights(evaluators))
    own = _first(_evaluator_faults(known)) or list(_heavy_evaluators(known))
    yield from own
    for key, flag in document["flags"].items():
        # Names of evaluators stay known, so that a fault in one is not also a fault of every flag that uses it.
        if key not in sound:
            yield from _flag_faults(key, flag, known, sound=not own)


def _evaluator_faults(known: Shared) -> Iterator[Finding]:
    for name, logic in known.evaluators.items():
        path = pointer("/$evaluators", name)
        yield from logic_faults(logic, path, known.evaluators)
        if name in reached(known.links[name], known.links):
            yield error(path, "this refers to itself in a circle", "write out one of the references")


def _heavy_evaluators(known: Shared) -> Iterator[Finding]:
    """The first in each chain that is too much: those that refer to it are so as well."""
    heavy = {name for name, logic in known.evaluators.items() if known.weights.of(logic) > HEAVIEST}
    for name in sorted(heavy):
        if not known.links[name] & heavy:
            yield too_heavy(pointer("/$evaluators", name))


def too_heavy(path: str) -> Finding:
    """The refusal of what would take too long to evaluate."""
    reason = f"with everything that it refers to written out, this has more than {HEAVIEST:,} parts"
    return error(path, reason, "refer to less, or not twice to the same")


def links(evaluators: Evaluators) -> Links:
    """The evaluators that each evaluator refers to itself."""
    return {name: frozenset(references(logic)) for name, logic in evaluators.items()}


def reached(names: Iterable[str], linked: Links) -> set[str]:
    """All evaluators that these evaluators lead to, themselves included."""
    found: set[str] = set()
    todo = list(names)
    while todo:
        name = todo.pop()
        if name not in found and name in linked:
            found.add(name)
            todo.extend(linked[name])
    return found


def _flag_faults(key: Any, flag: Any, known: Shared, *, sound: bool) -> Iterator[Finding]:
    """What is wrong with one flag. Results are followed into the evaluators where those are *sound*."""
    path = pointer("/flags", key)
    if not isinstance(key, str) or not key or not key.isprintable():
        yield error(path, "a flag needs a printable name", "give it one")
    if not isinstance(flag, Mapping):
        yield error(path, "this is not an object", 'write {"state": "ENABLED", "variants": {...}}')
        return
    for name in flag:
        if name not in _FIELDS:
            yield error(pointer(path, name), f"a flag has no field {name}", instead(name, _FIELDS))
    if flag.get("state") not in _STATES:
        yield error(pointer(path, "state"), f"the state is {flag.get('state')!r}", "write ENABLED or DISABLED")
    yield from _metadata_faults(flag.get("metadata"), pointer(path, "metadata"))
    yield from _pin_faults(flag, pointer(path, "metadata"))
    variants = flag.get("variants")
    if not isinstance(variants, Mapping) or not variants:
        yield error(pointer(path, "variants"), "there are no variants", 'write {"on": true, "off": false}')
        return
    yield from _variant_faults(variants, pointer(path, "variants"))
    yield from _choice_faults(flag.get("defaultVariant"), variants, pointer(path, "defaultVariant"))
    yield from _targeting_faults(flag, path, known, sound=sound)


def _metadata_faults(metadata: Any, path: str) -> Iterator[Finding]:
    if metadata is None:
        return
    if not isinstance(metadata, Mapping):
        yield error(path, "metadata is not an object", 'write {"owner": "team-a"}')
        return
    for name, value in metadata.items():
        if not name or not isinstance(value, str | int | float):
            yield error(pointer(path, name), "this is neither text, a number nor a boolean", "write one of them")


def _pin_faults(flag: Mapping[str, Any], path: str) -> Iterator[Finding]:
    metadata = flag.get("metadata")
    if not isinstance(metadata, Mapping):
        return
    if "hash" in metadata and metadata["hash"] not in HASHES:
        yield error(pointer(path, "hash"), f"there is no hash {metadata['hash']}", instead(metadata["hash"], HASHES))
    variants = flag.get("variants")
    if "killVariant" in metadata and isinstance(variants, Mapping):
        yield from _choice_faults(metadata["killVariant"], variants, pointer(path, "killVariant"))


def _variant_faults(variants: Mapping[str, Any], path: str) -> Iterator[Finding]:
    kinds: dict[str, str] = {}
    for name, value in variants.items():
        kind = next((word for word, types in _KINDS if isinstance(value, types)), None)
        if not name:
            yield error(pointer(path, name), "a variant has no name", "give it one")
        elif kind is None:
            yield error(pointer(path, name), f"the variant {name} has no value", "give it one, or leave it out")
        else:
            kinds.setdefault(kind, name)
    if len(kinds) > 1:
        mixed = ", ".join(f"{name} is a {kind}" for kind, name in kinds.items())
        yield error(path, f"variants are of mixed types: {mixed}", "make all of them one type")


def _choice_faults(name: Any, variants: Mapping[str, Any], path: str) -> Iterator[Finding]:
    said = named(name)
    if said in (None, ""):
        return
    if not isinstance(said, str) or said not in variants:
        yield error(path, f"{said!r} is not among the variants", instead(said, variants))


def _targeting_faults(flag: Mapping[str, Any], path: str, known: Shared, *, sound: bool) -> Iterator[Finding]:
    targeting = flag.get("targeting")
    path = pointer(path, "targeting")
    if targeting is None or targeting == {}:
        return
    if not isinstance(targeting, dict):
        yield error(path, "targeting is not an object", 'write an operation like {"if": [...]}, or leave it out')
        return
    # What a killed flag kept is as deep as it was before: a kill never makes a flag that is refused.
    parts = [(each, pointer(path, "if", 2)) for each in kept(flag)] if is_killed(flag) else [(targeting, path)]
    wrong = _first(fault for part, at in parts for fault in logic_faults(part, at, known.evaluators))
    yield from wrong
    if not wrong and sound and known.weights.of(targeting) > HEAVIEST:
        yield too_heavy(path)
        return
    if wrong or (not sound and reached(references(targeting), known.links)):
        return
    for place, value in results(targeting, path, known.evaluators, set()):
        if value is not None:
            yield from _result_faults(value, place, flag["variants"])


def _result_faults(value: Any, path: str, variants: Mapping[str, Any]) -> Iterator[Finding]:
    if isinstance(value, bool):
        if str(value).lower() not in variants:
            mend = f'wrap it in an if, or name a variant "{str(value).lower()}"'
            yield error(path, f"this comes to {str(value).lower()}, which is not a variant", mend)
    elif not isinstance(value, str | int | float) or str(value) not in variants:
        yield error(path, f"{value!r:.60} is not among the variants", instead(value, variants))
