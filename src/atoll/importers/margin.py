"""Reading a Compose file's tree: values with their variables put in, and what is left at the margin."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from atoll.importers.interpolation import fill
from atoll.model.problems import Place, Problem
from atoll.model.source import Entries, Items, Scalar, Tree


@dataclass(slots=True)
class Margin:
    """What is noted while reading: notes with places, `closing` ones without, and problems that make the file wrong."""

    file: str
    notes: list[tuple[Place, str]] = field(default_factory=list)
    closing: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    defaulted: dict[str, None] = field(default_factory=dict)

    def note(self, place: Place, what: str) -> None:
        """Note something with its place."""
        self.notes.append((place, f"{self.file}:{place.line}: {what}"))

    def lost(self, place: Place, what: str, why: str = "") -> None:
        """Note something that the proposal does not hold."""
        self.note(place, f"does not carry over: {what}" + (f" ({why})" if why else ""))

    def wrong(self, place: Place, what: str) -> None:
        """Note something that makes the file wrong."""
        self.problems.append(Problem(place, what))

    def sentences(self) -> tuple[str, ...]:
        """The notes in the order of the file."""
        return tuple(text for _, text in sorted(self.notes, key=lambda note: note[0]))

    def text(self, tree: Tree | None, what: str) -> str | None:
        """The text of a leaf; None where there is none, or where it needs a variable that only Compose knows."""
        if tree is None or (isinstance(tree, Scalar) and tree.is_null):
            return None
        if not isinstance(tree, Scalar):
            self.wrong(tree.place, f"{what} has to be text")
            return None
        try:
            filled = fill(tree.text)
        except ValueError as error:
            self.wrong(tree.place, f"{what}: {error}")
            return None
        self.defaulted |= dict.fromkeys(filled.defaulted)
        if filled.missing:
            self.lost(tree.place, what, f"it needs the variable {', '.join(dict.fromkeys(filled.missing))}")
            return None
        return filled.text

    def mapping(self, tree: Tree | None, what: str) -> dict[str, tuple[Scalar, Tree]]:
        """The entries of a mapping by key, without extensions (`x-…`)."""
        if tree is None or (isinstance(tree, Scalar) and tree.is_null):
            return {}
        if not isinstance(tree, Entries):
            self.wrong(tree.place, f"{what} has to be a mapping")
            return {}
        return {key.text: (key, value) for key, value in tree.entries if not key.text.startswith("x-")}

    def items(self, tree: Tree | None, what: str) -> Iterator[Tree]:
        """The items of a list; nothing where nothing was written."""
        if isinstance(tree, Items):
            yield from tree.items
        elif tree is not None and not (isinstance(tree, Scalar) and tree.is_null):
            self.wrong(tree.place, f"{what} has to be a list")


def inside(entries: dict[str, tuple[Scalar, Tree]], key: str) -> Tree | None:
    """What stands under a key, None where nothing does."""
    return entries[key][1] if key in entries else None
