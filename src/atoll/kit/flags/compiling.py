"""Targeting to closures: what can be decided before anybody asks is decided here, once per document."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from atoll.kit import clock
from atoll.kit.flags.bounds import begin, charged, spend
from atoll.kit.flags.fractional import compile_fractional
from atoll.kit.flags.node import Node, Run, Scope, constant, test
from atoll.kit.flags.operators import METERED, OPERATORS, TESTS
from atoll.kit.flags.values import equals, lookup, number, truthy, walk

_SCALAR = (str, int, float, type(None))


def compile_targeting(logic: Any, scope: Scope) -> Node:
    """The closure of a piece of checked targeting. Sets `scope.whole` and `scope.metered` where they hold."""
    if isinstance(logic, list):
        return _list([compile_targeting(each, scope) for each in logic], scope)
    if not isinstance(logic, dict) or len(logic) != 1:
        return constant(logic)
    ((name, given),) = logic.items()
    args = given if isinstance(given, list) else [given]
    if name in _SPECIAL:
        return _SPECIAL[name](args, scope)
    nodes = [compile_targeting(each, scope) for each in args]
    if name in _ON_NODES:
        return _ON_NODES[name](nodes, scope)
    scope.metered = scope.metered or name in METERED
    return _folded(Node(_applied(OPERATORS[name], nodes), test=name in TESTS), nodes)


def _list(nodes: Sequence[Node], scope: Scope) -> Node:
    if all(each.constant for each in nodes):
        return constant([each.value for each in nodes])
    runs = [each.run for each in nodes]
    scope.metered = True  # what is in it twice, inside `map` or `reduce`, doubles each time
    return Node(lambda data: charged([run(data) for run in runs]))


def _applied(operator: Callable[..., Any], nodes: Sequence[Node]) -> Run:
    runs = [each.run for each in nodes]
    if len(runs) == 1:
        (one,) = runs
        return lambda data: operator(one(data))
    if len(runs) == 2:  # noqa: PLR2004 - most operators
        one, other = runs
        return lambda data: operator(one(data), other(data))
    return lambda data: operator(*[run(data) for run in runs])


def _folded(node: Node, args: Sequence[Node]) -> Node:
    """The result instead of the computation, where nothing in it depends on the data and it comes to an end."""
    if all(each.constant for each in args):
        try:
            begin()
            value = node.run(None)
        except Exception:  # noqa: BLE001 - it fails the same way when somebody asks, and only then it matters
            return node
        if isinstance(value, _SCALAR):
            return constant(value)
    return node


# Operators that look at the data, or not at all their arguments.


def _reference(args: Sequence[Any], scope: Scope) -> Node:
    at = (str(args[0]), scope.inner)
    if at not in scope.known:
        scope.known[at] = compile_targeting(scope.evaluators[at[0]], scope)
    return scope.known[at]


def _if(args: Sequence[Any], scope: Scope) -> Node:
    nodes = [compile_targeting(each, scope) for each in args]
    pairs: list[tuple[Node, Node]] = []
    last = nodes[-1] if len(nodes) % 2 else constant(None)
    for condition, result in zip(nodes[::2], nodes[1::2], strict=False):
        if not condition.constant:
            pairs.append((condition, result))
        elif truthy(condition.value):
            last = result
            break
    return _chain(pairs, last)


def _chain(pairs: Sequence[tuple[Node, Node]], last: Node) -> Node:
    plain = last.test and all(result.test for _, result in pairs)
    if not pairs:
        return last
    if len(pairs) > 1:
        return Node(_first([(test(condition), result.run) for condition, result in pairs], last.run), test=plain)
    holds, yes, no = test(pairs[0][0]), pairs[0][1].run, last.run
    return Node(lambda data: yes(data) if holds(data) else no(data), test=plain)


def _first(pairs: Sequence[tuple[Run, Run]], last: Run) -> Run:
    def run(data: Any) -> Any:
        for holds, result in pairs:
            if holds(data):
                return result(data)
        return last(data)

    return run


def _until(stop: bool) -> Callable[[Sequence[Node], Scope], Node]:
    """`and` stops at the first that does not hold, `or` at the first that does; both return what they stopped at."""

    def compiled(nodes: Sequence[Node], _scope: Scope) -> Node:
        if all(each.test for each in nodes):
            return Node(_plain([each.run for each in nodes], stop), test=True)
        runs = [each.run for each in nodes]

        def run(data: Any) -> Any:
            value = None
            for each in runs:
                value = each(data)
                if truthy(value) is stop:
                    break
            return value

        return Node(run)

    return compiled


def _plain(runs: Sequence[Run], stop: bool) -> Run:
    def either(data: Any) -> Any:
        value = None
        for run in runs:
            value = run(data)
            if value:
                break
        return value

    def every(data: Any) -> Any:
        value = None
        for run in runs:
            value = run(data)
            if not value:
                break
        return value

    return either if stop else every


def _var(nodes: Sequence[Node], scope: Scope) -> Node:
    key = nodes[0] if nodes else constant(None)
    default = nodes[1] if len(nodes) > 1 else constant(None)
    said = key.value if key.constant and isinstance(key.value, str) else ""
    if said == "$flagd.flagKey" and not scope.inner:
        return constant(scope.flag)
    if said == "$flagd.timestamp" and not scope.inner:
        return Node(lambda _: int(clock.wall()))
    if said and not said.startswith("$flagd"):
        return Node(_found(said, default, inner=scope.inner))
    scope.whole = scope.whole or not scope.inner
    runs = [each.run for each in nodes]
    return Node(lambda data: lookup(data, *[run(data) for run in runs]))


def _found(key: str, default: Node, *, inner: bool) -> Run:
    name, *path = key.split(".")
    otherwise = default.run
    if inner:
        whole = (name, *path)
        return lambda data: walk(data, whole, otherwise(data))
    if path:
        return lambda data: walk(data.get(name), path, otherwise(data))
    if default.constant and default.value is None:
        return lambda data: data.get(name)

    def run(data: Any) -> Any:
        value, instead = data.get(name), otherwise(data)
        return instead if value is None else value

    return run


def _missing(nodes: Sequence[Node], scope: Scope) -> Node:
    scope.whole = scope.whole or not scope.inner
    runs = [each.run for each in nodes]

    def run(data: Any) -> list[Any]:
        keys = [each(data) for each in runs]
        return _not_found(data, keys[0] if keys and isinstance(keys[0], list) else keys)

    return Node(run)


def _missing_some(nodes: Sequence[Node], scope: Scope) -> Node:
    scope.whole = scope.whole or not scope.inner
    runs = [each.run for each in nodes]

    def run(data: Any) -> list[Any]:
        needed: Any
        keys: Any
        needed, keys = (each(data) for each in runs)
        if not isinstance(keys, list):
            return []
        gone = _not_found(data, keys)
        return [] if len(keys) - len(gone) >= number(needed) else gone

    return Node(run)


def _not_found(data: Any, keys: Sequence[Any]) -> list[Any]:
    return [key for key in keys if lookup(data, key) in (None, "")]


def _equality(name: str) -> Callable[[Sequence[Node], Scope], Node]:
    """`==` and `!=`, quick where one side is a constant string, as in nearly all targeting."""
    wanted = name == "=="

    def compiled(nodes: Sequence[Node], _scope: Scope) -> Node:
        general = _folded(Node(_applied(OPERATORS[name], nodes), test=True), nodes)
        known = [each for each in nodes if each.constant and isinstance(each.value, str)]
        if len(nodes) != 2 or len(known) != 1 or general.constant:  # noqa: PLR2004 - a comparison of two
            return general
        said = known[0].value
        other = next(each for each in nodes if each is not known[0]).run

        def run(data: Any) -> bool:
            value = other(data)
            return (value == said if type(value) is str else equals(value, said)) is wanted

        return Node(run, test=True)

    return compiled


def _in(nodes: Sequence[Node], _scope: Scope) -> Node:
    """`in`, quick where it is looked for in a constant list of strings."""
    general = _folded(Node(_applied(OPERATORS["in"], nodes), test=True), nodes)
    where = nodes[1].value if len(nodes) > 1 and nodes[1].constant else None
    if general.constant or not isinstance(where, list) or not all(isinstance(each, str) for each in where):
        return general
    members, needle = frozenset(where), nodes[0].run

    def run(data: Any) -> bool:
        value = needle(data)
        return value in members if type(value) is str else value in where

    return Node(run, test=True)


# Operators over the items of a list: the data inside is one item.


def _inside(args: Sequence[Any], scope: Scope) -> tuple[Run, Node, int]:
    """The list of an operator over items, what it does with each, and how much work that is."""
    scope.metered = True
    over = compile_targeting(args[0], scope).run if args else constant(None).run
    inside = args[1] if len(args) > 1 else None
    return over, compile_targeting(inside, replace(scope, inner=True)), scope.weights.of(inside)


def _over(keep: Callable[[list[Any], Run], Any], otherwise: Any, *, tests: bool) -> Callable[..., Node]:
    """An operator that is `keep(items, function)`, and `otherwise` where there is no list."""

    def compiled(args: Sequence[Any], scope: Scope) -> Node:
        over, node, work = _inside(args, scope)
        each = test(node) if tests else node.run
        if tests and len(args) == 1:
            over = constant(None).run

        def run(data: Any) -> Any:
            items = over(data)
            if not isinstance(items, list):
                return _copied(otherwise)
            spend(work * len(items))
            return keep(items, each)

        return Node(run, test=isinstance(otherwise, bool))

    return compiled


def _copied(value: Any) -> Any:
    """A list of its own for everybody who gets one."""
    return list(value) if isinstance(value, list) else value


def _reduce(args: Sequence[Any], scope: Scope) -> Node:
    over, node, work = _inside(args, scope)
    each = node.run
    start = args[2] if len(args) > 2 else None  # noqa: PLR2004 - list, function, start

    def run(data: Any) -> Any:
        items = over(data)
        if not isinstance(items, list):
            return start
        spend(work * len(items))
        state = {"accumulator": start}
        for item in items:
            state["current"] = item
            state["accumulator"] = each(state)
        return state["accumulator"]

    return Node(run)


_SPECIAL: dict[str, Callable[[Sequence[Any], Scope], Node]] = {
    "$ref": _reference,
    "if": _if,
    "?:": _if,
    "map": _over(lambda items, each: [each(item) for item in items], [], tests=False),
    "filter": _over(lambda items, each: [item for item in items if each(item)], [], tests=True),
    "all": _over(lambda items, each: bool(items) and all(map(each, items)), otherwise=False, tests=True),
    "some": _over(lambda items, each: any(map(each, items)), otherwise=False, tests=True),
    "none": _over(lambda items, each: not any(map(each, items)), otherwise=True, tests=True),
    "reduce": _reduce,
}
_ON_NODES: dict[str, Callable[[Sequence[Node], Scope], Node]] = {
    "and": _until(stop=False),
    "or": _until(stop=True),
    "var": _var,
    "missing": _missing,
    "missing_some": _missing_some,
    "==": _equality("=="),
    "!=": _equality("!="),
    "in": _in,
    "fractional": compile_fractional,
}
NAMES = frozenset(_SPECIAL) | frozenset(_ON_NODES) | frozenset(OPERATORS)
