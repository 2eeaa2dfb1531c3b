"""
YAML 1.2 text to a tree in which every node knows its place.

Only the core schema: `no`, `on` and `yes` are strings, anchors and merge keys work. What a hostile file could do
(recursion, alias bombs, duplicate keys, several documents) is a problem with a place, never a traceback.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError
from ruamel.yaml.scanner import RoundTripScanner

from atoll.model.problems import Place, Problem
from atoll.values.quantities import show_size

BIGGEST = 1024 * 1024
MOST_NODES = 200_000
DEEPEST = 50
_TOO_DEEP = f"nested more than {DEEPEST} levels deep"
_DECIMAL = re.compile(r"[-+]?[0-9]+")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_TAG = "tag:yaml.org,2002:"
_TAGS = {
    f"{_TAG}{name}" for name in ("str", "int", "float", "bool", "null", "seq", "map", "merge", "timestamp", "value")
}
_NULL = {"", "~", "null", "Null", "NULL"}
_BOOLEAN = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}


@dataclass(frozen=True, slots=True)
class Scalar:
    """A leaf. `quoted` ones are strings whatever they look like."""

    text: str
    quoted: bool
    place: Place

    @property
    def is_null(self) -> bool:
        """Nothing was written."""
        return not self.quoted and self.text in _NULL

    @property
    def boolean(self) -> bool | None:
        """True or false, None for anything else."""
        return None if self.quoted else _BOOLEAN.get(self.text)

    @property
    def integer(self) -> int | None:
        """A whole number as YAML 1.2 writes them (`12`, `0o14`, `0xC`), None for anything else."""
        if self.quoted or len(self.text) > 18:  # noqa: PLR2004 - fits 64 bits
            return None
        if _DECIMAL.fullmatch(self.text):
            return int(self.text)
        return int(self.text, 0) if _BASED.fullmatch(self.text) else None


@dataclass(frozen=True, slots=True)
class Items:
    """A sequence."""

    items: tuple[Tree, ...]
    place: Place


@dataclass(frozen=True, slots=True)
class Entries:
    """A mapping, in the order of the file, merge keys resolved."""

    entries: tuple[tuple[Scalar, Tree], ...]
    place: Place


Tree = Scalar | Items | Entries


class Unreadable(Exception):
    """The text is not one YAML document; carries the problems."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__(*problems)
        self.problems = problems


def read(text: str, file: str) -> tuple[Tree, tuple[Problem, ...]]:
    """
    The tree of *text*, and problems that do not hide the rest (duplicate keys).

    Raises `Unreadable` where there is no tree.
    """
    if len(text) > BIGGEST:
        raise Unreadable(too_big(file))
    reader = _Reader(file)
    try:
        yaml = YAML(pure=True)
        yaml.Scanner = _Scanner
        yaml.composer.warn_double_anchors = False  # an anchor may be set anew (YAML 1.2.2, section 3.2.2.2)
        documents = list(yaml.compose_all(text))
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        column = error.position - text.rfind("\n", 0, error.position)
        raise Unreadable(
            Problem(Place(file, line, column), "a character that YAML does not allow", "remove it")
        ) from error
    except MarkedYAMLError as error:
        raise Unreadable(_syntax(error, file)) from error
    except (YAMLError, ValueError, AttributeError, TypeError, IndexError, KeyError, AssertionError) as error:
        # ruamel has a few paths on which odd input ends in a bare Python error
        raise Unreadable(Problem(Place(file, 1, 1), f"not YAML: {error}")) from error
    except RecursionError as error:
        raise Unreadable(Problem(Place(file, 1, 1), "nested too deeply")) from error
    documents = [d for d in documents if d is not None]
    if not documents:
        raise Unreadable(Problem(Place(file, 1, 1), "the file is empty", "see a first one with `atoll init --print`"))
    if len(documents) > 1:
        place = reader.place(documents[1])
        raise Unreadable(Problem(place, "a second document begins here", "one file holds one system"))
    return reader.tree(documents[0], ()), tuple(reader.problems)


def too_big(file: str) -> Problem:
    """The file is larger than anybody writes."""
    limit = show_size(BIGGEST)
    return Problem(Place(file, 1, 1), f"the file is larger than {limit}", "split it into several systems")


class _Scanner(RoundTripScanner):  # type: ignore[misc]  # its module has no types
    """Gives up where brackets are nested too deeply: the time it takes grows with the square of the depth."""

    def fetch_flow_collection_start(self, TokenClass: Any, to_push: str) -> None:  # noqa: N803 - its name
        if len(self.flow_context) >= DEEPEST:
            raise MarkedYAMLError(problem_mark=self.reader.get_mark(), problem=_TOO_DEEP)
        super().fetch_flow_collection_start(TokenClass, to_push)


class _Reader:
    def __init__(self, file: str) -> None:
        self._file = file
        self._count = 0
        self.problems: list[Problem] = []

    def place(self, node: Node) -> Place:
        return Place(self._file, node.start_mark.line + 1, node.start_mark.column + 1)

    def tree(self, node: Node, above: tuple[int, ...]) -> Tree:
        """*above* are the nodes that this one is in: meeting one of them again is a cycle."""
        place = self.place(node)
        self._count += 1
        if id(node) in above:
            raise Unreadable(Problem(place, "this alias contains itself", "write the inner part out"))
        if self._count > MOST_NODES:
            raise Unreadable(Problem(place, f"the aliases unfold to more than {MOST_NODES} values", "use fewer"))
        if len(above) > DEEPEST:
            raise Unreadable(Problem(place, _TOO_DEEP))
        if node.tag not in _TAGS:
            self.problems.append(Problem(place, f"the tag {_tag(node)} has no meaning here", "take it out"))
        inside = (*above, id(node))
        if isinstance(node, ScalarNode):
            return Scalar(str(node.value), node.style is not None, place)
        if isinstance(node, SequenceNode):
            return Items(tuple(self.tree(item, inside) for item in node.value), place)
        if isinstance(node, MappingNode):
            return Entries(tuple(self._entries(node, inside)), place)
        raise Unreadable(Problem(place, "not understood"))

    def _entries(self, node: MappingNode, inside: tuple[int, ...]) -> Iterator[tuple[Scalar, Tree]]:
        own: dict[str, tuple[Scalar, Tree]] = {}
        merged: dict[str, tuple[Scalar, Tree]] = {}
        for key_node, value_node in node.value:
            key = self.tree(key_node, inside)
            if not isinstance(key, Scalar):
                self.problems.append(Problem(key.place, "a key has to be a word"))
            elif key.text == "<<" and not key.quoted:
                for word, entry in self._merge(self.tree(value_node, inside)):
                    merged.setdefault(word, entry)
            elif key.text in own:
                first = own[key.text][0].place.line
                hint = f"it was given in line {first} already; keep one of them"
                self.problems.append(Problem(key.place, f"the key {key.text} is given twice", hint))
            else:
                own[key.text] = (key, self.tree(value_node, inside))
        yield from own.values()
        yield from (entry for word, entry in merged.items() if word not in own)

    def _merge(self, value: Tree) -> Iterator[tuple[str, tuple[Scalar, Tree]]]:
        for part in value.items if isinstance(value, Items) else (value,):
            if isinstance(part, Entries):
                yield from ((key.text, (key, item)) for key, item in part.entries)
            else:
                self.problems.append(Problem(part.place, "<< merges mappings", "give it an alias of a mapping"))


def _tag(node: Node) -> str:
    return str(node.tag).replace(_TAG, "!!")


def _syntax(error: MarkedYAMLError, file: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    place = Place(file, mark.line + 1, mark.column + 1) if mark is not None else Place(file, 1, 1)
    what = str(error.problem or error.context or "not YAML").strip()
    if what == _TOO_DEEP:
        return Problem(place, what)
    return Problem(place, f"not YAML: {what}", _syntax_hint(error, what))


def _syntax_hint(error: MarkedYAMLError, what: str) -> str:
    if "\\t" in what or "tab" in what:
        return "indent with spaces, YAML does not allow tabs"
    if error.context is None or error.context_mark is None:
        return ""
    return f"{error.context} that begins in line {error.context_mark.line + 1}"
