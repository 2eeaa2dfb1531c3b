"""What is wrong or doubtful in a piece of targeting, wherever it stands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from itertools import chain
from typing import Any

from atoll.kit.flags.compiling import NAMES, compile_targeting
from atoll.kit.flags.document import Finding, pointer
from atoll.kit.flags.fractional import MOST
from atoll.kit.flags.hashing import CBOR
from atoll.kit.flags.node import Scope
from atoll.kit.flags.operators import TESTS
from atoll.kit.flags.values import truthy
from atoll.kit.flags.versions import COMPARISONS, parse

DEEPEST = 50

Evaluators = Mapping[str, Any]

_MANY = 100  # names
_LONG = 100  # characters of one
_PAIR = 2
_TRIPLE = 3
_ANY = 10**9
# How many arguments an operator takes; any number where it is not listed.
_ARITY: dict[str, tuple[int, int]] = {
    "var": (0, 2), "!": (1, 1), "!!": (1, 1), "==": (2, 2), "!=": (2, 2), "===": (2, 2), "!==": (2, 2),
    "<": (2, 3), "<=": (2, 3), ">": (2, 3), ">=": (2, 3), "-": (1, 2), "/": (2, 2), "%": (2, 2), "in": (2, 2),
    "substr": (2, 3), "log": (1, 1), "starts_with": (2, 2), "ends_with": (2, 2), "sem_ver": (3, 3),
    "missing_some": (2, 2), "map": (2, 2), "filter": (2, 2), "all": (2, 2), "some": (2, 2), "none": (2, 2),
    "reduce": (2, 3), "if": (1, _ANY), "?:": (1, _ANY), "and": (1, _ANY), "or": (1, _ANY), "min": (1, _ANY),
    "max": (1, _ANY), "fractional": (1, _ANY), "$ref": (1, 1),
}  # fmt: skip


def error(path: str, reason: str, mend: str) -> Finding:
    """Something that is refused."""
    return Finding("error", path, reason, mend)


def doubt(path: str, reason: str, mend: str) -> Finding:
    """Something that is allowed and probably not meant."""
    return Finding("warning", path, reason, mend)


def instead(said: object, known: Any) -> str:
    """What to write instead of a word nobody knows."""
    options = sorted(map(str, known))
    if not options:
        return "define it, or leave it out"
    if len(options) == 1:
        return f"write {options[0]}"
    # To compare takes long where names are long, or many.
    sizes = (len(options) <= _MANY, len(str(said)) <= _LONG, all(len(each) <= _LONG for each in options))
    near = get_close_matches(str(said), options, 1) if all(sizes) else []
    more = ", ..." if len(options) > _MANY else ""
    return f"write {near[0]}" if near else f"use one of {', '.join(options[:_MANY])}{more}"


def logic_faults(logic: Any, path: str, evaluators: Evaluators, depth: int = 0) -> Iterator[Finding]:
    """What keeps a piece of targeting from being evaluated as it is meant."""
    if depth > DEEPEST:
        yield error(path, f"this is nested deeper than {DEEPEST} levels", "move parts of it into $evaluators")
    elif isinstance(logic, list):
        for at, each in enumerate(logic):
            yield from logic_faults(each, pointer(path, at), evaluators, depth + 1)
    elif isinstance(logic, dict) and len(logic) != 1:
        names = ", ".join(map(str, logic)) or "none"
        yield error(path, f"an operation has one name, this has {len(logic)} ({names})", "nest one in the other")
    elif isinstance(logic, dict):
        yield from _operation_faults(logic, path, evaluators, depth)


def _operation_faults(logic: Mapping[str, Any], path: str, evaluators: Evaluators, depth: int) -> Iterator[Finding]:
    ((name, given),) = logic.items()
    here = pointer(path, name)
    if name not in NAMES:
        yield error(here, f"there is no operator {name}", instead(name, NAMES))
        return
    args = given if isinstance(given, list) else [given]
    least, most = _ARITY.get(name, (0, _ANY))
    if not least <= len(args) <= most:
        wanted = f"{least}" if least == most else f"at least {least}" if most == _ANY else f"{least} to {most}"
        yield error(here, f"{name} takes {wanted} arguments, this has {len(args)}", "write a list of that many")
        return
    if name == "$ref":
        yield from _reference_faults(args[0], here, evaluators)
        return
    for at, each in enumerate(args):
        inside = pointer(here, at) if isinstance(given, list) else here
        yield from logic_faults(each, inside, evaluators, depth + 1)
    if name == "fractional":
        yield from _fractional_faults(args, here)
    if name == "sem_ver":
        yield from _version_faults(args, here)


def _reference_faults(name: Any, path: str, evaluators: Evaluators) -> Iterator[Finding]:
    if not isinstance(name, str) or name not in evaluators:
        yield error(path, f"$evaluators has no {name}", instead(name, evaluators))


def _version_faults(args: list[Any], path: str) -> Iterator[Finding]:
    for at in (0, 2):
        if isinstance(args[at], str | int | float) and parse(str(args[at])) is None:
            yield error(pointer(path, at), f"{args[at]} is not a version", 'write one like "1.2.3" (semver.org)')
    if not isinstance(args[1], dict) and str(args[1]) not in COMPARISONS:
        yield error(pointer(path, 1), f"{args[1]} compares no versions", f"use one of {', '.join(COMPARISONS)}")


def _fractional_faults(args: list[Any], path: str) -> Iterator[Finding]:
    first = 0 if isinstance(args[0], list) else 1
    shares = list(enumerate(args))[first:]
    if not shares:
        yield error(path, "nothing is left to deal out", 'add shares like ["on", 10]')
    known = 0
    for at, share in shares:
        here = pointer(path, at)
        if isinstance(share, dict):
            known = _ANY
        elif not isinstance(share, list) or not 1 <= len(share) <= _PAIR:
            yield error(here, "a share is a variant and its weight", 'write it like ["on", 10]')
            return
        elif len(share) == _PAIR and isinstance(share[1], dict):
            known = _ANY
        else:
            weight = share[1] if len(share) == _PAIR else 1
            yield from _weight_faults(weight, pointer(here, 1))
            known += weight if isinstance(weight, int) else 0
    if shares and known == 0:
        yield error(path, "all weights are 0, so nobody gets anything", "give one variant a weight above 0")


def _weight_faults(weight: Any, path: str) -> Iterator[Finding]:
    if isinstance(weight, bool) or not isinstance(weight, int):
        yield error(path, f"the weight {weight!r} is not an integer", "write a whole number; only their ratio counts")
    elif not 0 <= weight <= MOST:
        yield error(path, f"the weight {weight} is not between 0 and {MOST}", "write a smaller one, at least 0")


def references(logic: Any) -> Iterator[str]:
    """The names of all evaluators that a piece of targeting refers to."""
    todo = [logic]
    while todo:
        each = todo.pop()
        if isinstance(each, dict):
            if len(each) == 1 and "$ref" in each:
                said = each["$ref"]
                yield str(said[0] if isinstance(said, list) and said else said)
            todo.extend(each.values())
        elif isinstance(each, list):
            todo.extend(each)


def results(logic: Any, path: str, evaluators: Evaluators, seen: set[str]) -> Iterator[tuple[str, Any]]:
    """Every value that a piece of targeting may come to, as far as it is written down, and where it stands."""
    if not isinstance(logic, dict) or len(logic) != 1:
        yield path, logic
        return
    ((name, given),) = logic.items()
    args = given if isinstance(given, list) else [given]
    here = pointer(path, name)
    if name in ("if", "?:"):
        ends = [at for at in range(len(args)) if at % 2 or at == len(args) - 1]
        yield from chain.from_iterable(results(args[at], pointer(here, at), evaluators, seen) for at in ends)
    elif name == "fractional":
        shares = [(at, each) for at, each in enumerate(args) if isinstance(each, list) and each]
        yield from chain.from_iterable(results(each[0], pointer(here, at, 0), evaluators, seen) for at, each in shares)
    elif name == "$ref" and args[0] not in seen:
        seen.add(args[0])
        yield from results(evaluators[args[0]], pointer("/$evaluators", args[0]), evaluators, seen)
    elif name in TESTS or name in ("all", "some", "none"):
        yield from ((here, True), (here, False))


def doubting(evaluators: Evaluators) -> Scope:
    """Where `logic_doubts` asks what is constant: evaluators are compiled once for all of a document."""
    return Scope("", CBOR, evaluators)


def logic_doubts(logic: Any, path: str, scope: Scope) -> Iterator[Finding]:
    """What is never reached in a piece of targeting that has no faults."""
    if isinstance(logic, list):
        for at, each in enumerate(logic):
            yield from logic_doubts(each, pointer(path, at), scope)
    elif isinstance(logic, dict):
        for name, given in logic.items():
            here = pointer(path, name)
            if name in ("if", "?:") and isinstance(given, list):
                yield from _unreachable(given, here, scope)
            if name == "log":
                yield doubt(here, "log writes nothing here", "leave it out")
            yield from logic_doubts(given, here, scope)


def _unreachable(args: list[Any], path: str, scope: Scope) -> Iterator[Finding]:
    asked: set[str] = set()
    for at in range(0, len(args) - 1, 2):
        condition = compile_targeting(args[at], scope)
        if condition.constant and truthy(condition.value):
            if at + _PAIR < len(args):
                below = pointer(path, at + _PAIR)
                yield doubt(
                    below, "this is never reached: the condition above always holds", "mend it, or leave this out"
                )
            return
        if condition.constant:
            yield doubt(pointer(path, at + 1), "this is never reached: its condition never holds", "mend the condition")
        elif repr(args[at]) in asked:
            yield doubt(pointer(path, at + 1), "this is never reached: the same condition is above", "leave it out")
        asked.add(repr(args[at]))
