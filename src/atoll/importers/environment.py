"""The environment of a Compose service: the variables that carry over, and the services that they lead to."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from atoll.importers.margin import Margin
from atoll.model.problems import Place
from atoll.model.source import Entries, Scalar, Tree
from atoll.values.names import is_variable


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable with a value, and its place."""

    name: str
    value: str
    place: Place


def variables(margin: Margin, service: str, tree: Tree | None) -> Iterator[Variable]:
    """The variables that the file may set, from a mapping or a list of `NAME=value`."""
    what = f"{service}.environment"
    for name, value, place in _pairs(margin, what, tree):
        if name == "PORT" or name.startswith("ATOLL_"):
            margin.note(place, f"{what}.{name} was left out: Atoll sets it; listen on $PORT")
        elif not is_variable(name):
            margin.lost(place, f"{what}.{name}", "it cannot be the name of a variable")
        elif value is None:
            margin.lost(place, f"{what}.{name}", "its value comes from where Compose is run")
        elif "\0" in value:
            margin.lost(place, f"{what}.{name}", "it holds a zero byte")
        else:
            yield Variable(name, value, place)


def readdressed(
    margin: Margin, service: str, found: list[Variable], kept: Mapping[str, str], dropped: set[str]
) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...]]:
    """
    The variables with `http://other:3000` written as `http://other`, and the services that they lead to.

    *kept* maps the names in Compose to those in the file. What leads to a *dropped* service is noted.
    """
    env: dict[str, str] = {}
    callees: dict[str, None] = {}
    for variable in found:
        value = variable.value
        for old, new in kept.items():
            value, times = re.subn(rf"(https?://){re.escape(old)}(?::\d+)?(?![\w.:-])", rf"\1{new}", value)
            if times and new != kept[service]:
                callees[new] = None
            elif not times and re.search(rf"(?<![\w.-]){re.escape(old)}:\d+", value):
                margin.note(variable.place, f"{service}.environment.{variable.name}: {old} is at http://{new}, port 80")
        if value != variable.value:
            margin.note(variable.place, f"{service}.environment.{variable.name} is {value} here")
        for name in sorted(dropped):
            if re.search(rf"(?<![\w.-]){re.escape(name)}(?=[:/]|$)", value):
                words = f"leads to {name}, which becomes no service of atoll.yaml"
                margin.note(variable.place, f"{service}.environment.{variable.name} {words}")
        env[variable.name] = value
    return tuple(env.items()), tuple(callees)


def _pairs(margin: Margin, what: str, tree: Tree | None) -> Iterator[tuple[str, str | None, Place]]:
    if isinstance(tree, Entries):
        for key, value in margin.mapping(tree, what).values():
            if isinstance(value, Scalar) and value.is_null:
                yield key.text, None, key.place
            else:
                text = margin.text(value, f"{what}.{key.text}")
                if text is not None:
                    yield key.text, text, key.place
        return
    for item in margin.items(tree, what):
        if isinstance(item, Scalar) and "=" not in item.text:
            yield item.text, None, item.place
            continue
        name = item.text.partition("=")[0] if isinstance(item, Scalar) else "?"
        text = margin.text(item, f"{what}.{name}")
        if text is not None:
            yield name, text.partition("=")[2], item.place
