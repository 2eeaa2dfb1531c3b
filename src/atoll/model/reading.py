"""Reading a tree by the table of fields: every value once, every problem collected, every origin noted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import TypeVar

from atoll.model.fields import WORDS, Field, Shape, known
from atoll.model.problems import Place, Problem
from atoll.model.source import Entries, Items, Scalar, Tree
from atoll.model.system import Origin
from atoll.values import quantities
from atoll.values.nearest import nearest
from atoll.values.printable import printable

T = TypeVar("T", int, float, str, bool)
BIGGEST_COUNT = 1_000_000
LONGEST_MESSAGE = 400


@dataclass(slots=True)
class Notes:
    """What reading leaves behind besides the values."""

    problems: list[Problem] = field(default_factory=list)
    origins: dict[str, Origin] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)

    def problem(self, place: Place, message: str, hint: str = "") -> None:
        """Note one thing wrong and go on."""
        self.problems.append(Problem(place, _fit(message), hint))

    def set_at(self, path: str, place: Place) -> None:
        """Note where a value was written."""
        self.origins[path] = Origin(place.line, place.column)
        self.places[path] = place

    def default_of(self, path: str, found: Field) -> None:
        """Note that nothing was written for a field, and so for nothing inside it."""
        self.origins.setdefault(path, _default(found))
        if found.section and found.shape not in (Shape.LIST, Shape.NAMED):
            self.defaults_in(path, found.section)

    def defaults_in(self, path: str, section: str) -> None:
        """Note that nothing more was written in a section."""
        for inner in known(section).values():
            if not inner.later:
                self.default_of(f"{path}.{inner.key}", inner)


@cache
def _default(found: Field) -> Origin:
    return Origin(reason=found.reason or "nothing was written")


def _fit(message: str) -> str:
    """What is fit for a terminal: a hostile name can neither steer it nor flood it."""
    shown = printable(message[:LONGEST_MESSAGE])
    return shown if len(message) <= LONGEST_MESSAGE else f"{shown}…"


class Section:
    """One mapping of the file, read by one table. Unknown keys are noted when it is opened."""

    def __init__(self, notes: Notes, path: str, name: str, tree: Tree | None, place: Place) -> None:
        self.notes = notes
        self.path = path
        self.place = tree.place if tree is not None else place
        self.fields = known(name)
        self._readable = True
        self._written: set[str] = set()
        self._values: dict[str, Tree] = {}
        if isinstance(tree, Entries):
            for key, value in tree.entries:
                self._enter(key, value)
        elif tree is not None and not (isinstance(tree, Scalar) and tree.is_null):
            self._readable = False
            notes.problem(tree.place, f"{path or 'the file'} has to be a mapping", self._example())

    def _example(self) -> str:
        return "write keys under it: " + ", ".join(k for k, f in self.fields.items() if not f.later)

    def _enter(self, key: Scalar, value: Tree) -> None:
        if key.text.startswith("x-"):
            return
        found = self.fields.get(key.text)
        if found is None:
            close = self._meant(key.text)
            hint = f"did you mean {close}?" if close else self._example()
            where = f" in {self.path}" if self.path else ""
            self.notes.problem(key.place, f"unknown key {key.text!r}{where}", hint)
        elif found.later:
            self._written.add(key.text)
            self.notes.problem(
                key.place, f"{key.text!r} is not there yet", f"it is kept for: {found.later}; take it out for now"
            )
        elif not (isinstance(value, Scalar) and value.is_null):
            self._written.add(key.text)
            self._values[key.text] = value
            self.notes.set_at(self._at(key.text), key.place)

    def silent_on(self, *keys: str) -> bool:
        """Whether none of these was written, well or badly."""
        return self._readable and self._written.isdisjoint(keys)

    def _meant(self, word: str) -> str | None:
        by_other_name = (f.key for f in self.fields.values() if word in f.also)
        return next(by_other_name, None) or nearest(word, self.fields)

    def _at(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path else key

    def tree(self, key: str) -> Tree | None:
        """What was written under a key, None where nothing was; a missing required one is a problem."""
        value = self._values.get(key)
        if value is None:
            self.notes.default_of(self._at(key), self.fields[key])
            if self.fields[key].required and self._readable:
                example = self.fields[key].example
                self.notes.problem(self.place, f"{self._at(key)} is missing", f"add `{key}: {example}`".rstrip())
        return value

    def place_of(self, key: str) -> Place:
        """Where a key was written, or where the section is."""
        return self.notes.places.get(self._at(key), self.place)

    def section(self, key: str, name: str) -> Section | None:
        """A section inside this one, None where it was not written."""
        tree = self.tree(key)
        return Section(self.notes, self._at(key), name, tree, self.place) if tree is not None else None

    # --- leaves -------------------------------------------------------------------------------------------------

    def text(self, key: str) -> str | None:
        """Words."""
        return self._leaf(key, lambda leaf: leaf.text, "text")

    def flag(self, key: str) -> bool:
        """True or false; false where nothing was written."""
        return bool(self._leaf(key, lambda leaf: leaf.boolean, "true or false"))

    def choice(self, key: str) -> str:
        """One of the words that the table allows."""
        found = self.fields[key]
        value = self.text(key)
        if value is None or value in found.choices:
            return value or found.default
        close = nearest(value, found.choices)
        hint = f"did you mean {close}?" if close else f"write {' or '.join(found.choices)}"
        wrong = "is not there yet" if value in found.later_choices else "is not known"
        self.notes.problem(self.place_of(key), f"{self._at(key)}: {value!r} {wrong}", hint)
        return found.default

    def count(self, key: str, *, least: int = 0, most: int = BIGGEST_COUNT) -> int:
        """A whole number within bounds."""
        value = self._leaf(key, lambda leaf: leaf.integer, "a whole number")
        return self._within(key, value if value is not None else int(self.fields[key].default), least, most)

    def duration(self, key: str, *, least: float = 0.001, most: float = 86400.0) -> float:
        """Seconds within bounds."""
        return self._quantity(key, quantities.duration, quantities.show_duration, least, most) or 0.0

    def optional_duration(self, key: str, *, least: float = 0.001, most: float = 86400.0) -> float | None:
        """Seconds within bounds, None where nothing was written."""
        return self._quantity(key, quantities.duration, quantities.show_duration, least, most)

    def percent(self, key: str) -> float | None:
        """A share, None where nothing was written and there is no default."""
        return self._quantity(key, quantities.percent, quantities.show_percent, 0.001, 1.0)

    def size(self, key: str, *, least: int) -> int | None:
        """Bytes, None where nothing was written."""
        return self._quantity(key, quantities.size, quantities.show_size, least, 2**50)

    def cpu(self, key: str) -> int | None:
        """Thousandths of a core, None where nothing was written."""
        return self._quantity(key, quantities.cpu, quantities.show_cpu, 10, 1_000_000)

    def _quantity(self, key: str, read: Callable[[str], T], show: Callable[[T], str], least: T, most: T) -> T | None:
        found = self.fields[key]
        leaf = self._scalar(key, f"{WORDS[found.shape]}, for example {found.example or found.default}")
        if leaf is None:
            return read(found.default) if found.default else None
        try:
            value = read(leaf.text)
        except ValueError as error:
            self.notes.problem(leaf.place, f"{self._at(key)}: {error}")
            return None
        if not least <= value <= most:
            self.notes.problem(
                leaf.place, f"{self._at(key)} is {leaf.text}, but has to be between {show(least)} and {show(most)}"
            )
        return value

    def _leaf(self, key: str, read: Callable[[Scalar], T | None], what: str) -> T | None:
        leaf = self._scalar(key, what)
        if leaf is None:
            return None
        value = read(leaf)
        if value is None:
            hint = "take the quotes off" if leaf.quoted else ""
            self.notes.problem(leaf.place, f"{self._at(key)} has to be {what}, not {leaf.text!r}", hint)
        return value

    def _scalar(self, key: str, what: str) -> Scalar | None:
        tree = self.tree(key)
        if tree is None or isinstance(tree, Scalar):
            return tree
        self.notes.problem(tree.place, f"{self._at(key)} has to be {what}")
        return None

    def _within(self, key: str, value: int, least: int, most: int) -> int:
        if not least <= value <= most:
            self.notes.problem(
                self.place_of(key), f"{self._at(key)} is {value}, but has to be between {least} and {most}"
            )
        return value

    # --- lists --------------------------------------------------------------------------------------------------

    def items(self, key: str, what: str) -> Iterator[tuple[str, Tree]]:
        """The items of a list with their paths; a single value stands for a list of one."""
        tree = self.tree(key)
        if tree is None:
            return
        if isinstance(tree, Entries):
            self.notes.problem(tree.place, f"{self._at(key)} has to be a list, each item {what}")
            return
        for number, item in enumerate(tree.items if isinstance(tree, Items) else (tree,)):
            yield f"{self._at(key)}.{number}", item

    def pairs(self, key: str) -> Iterator[tuple[Scalar, Scalar]]:
        """The entries of a mapping of words to words."""
        tree = self.tree(key)
        if tree is None:
            return
        if not isinstance(tree, Entries):
            example = self.fields[key].example
            self.notes.problem(tree.place, f"{self._at(key)} has to be a mapping", f"write {key}: {example}")
            return
        for name, value in tree.entries:
            if isinstance(value, Scalar) and not value.is_null:
                yield name, value
            else:
                self.notes.problem(value.place, f"{self._at(key)}.{name.text} has to be text")

    def texts(self, key: str, what: str, hint: str = "") -> Iterator[Scalar]:
        """The items of a list of words."""
        for path, item in self.items(key, what):
            if isinstance(item, Scalar):
                yield item
            else:
                self.notes.problem(item.place, f"{path} has to be {what}", hint)
