"""A compiled piece of targeting."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from atoll.kit.flags.bounds import Weights
from atoll.kit.flags.values import truthy

Run = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Node:
    """
    A function of the data, and what is known of it beforehand.

    `constant` says that it always returns the like of `value`; `test` that Python and JsonLogic agree on whether
    what it returns is true.
    """

    run: Run
    constant: bool = False
    value: Any = None
    test: bool = False


@dataclass(slots=True)
class Scope:
    """
    Where a piece of targeting stands.

    The data of a flag's own targeting is the context as it was given, unless `whole` was set while compiling:
    then it is a copy with `$flagd` in it. Inside `map` and its like (`inner`) it is one item. `metered` is set where
    what is computed has to be charged for.
    """

    flag: str
    hash: str
    evaluators: Mapping[str, Any]
    inner: bool = False
    whole: bool = False
    metered: bool = False
    known: dict[tuple[str, bool], Node] = field(default_factory=dict)
    weights: Weights = field(init=False)

    def __post_init__(self) -> None:
        self.weights = Weights(self.evaluators)


def constant(value: Any) -> Node:
    """A piece that is the same for everybody. A list is a new one each time, as if it were computed."""
    if isinstance(value, list):
        return Node(lambda _: list(value), constant=True, value=value)
    return Node(lambda _: value, constant=True, value=value, test=isinstance(value, bool))


def test(node: Node) -> Run:
    """The condition that a piece is: what it returns is true or false to Python as it is to JsonLogic."""
    if node.constant:
        holds = truthy(node.value)
        return lambda _: holds
    run = node.run
    return run if node.test else lambda data: truthy(run(data))
