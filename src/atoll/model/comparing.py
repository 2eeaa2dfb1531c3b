"""The parallel run that the file asks for: what is copied, what of an answer counts, and how much is enough."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from datetime import date

from atoll.model.operations import is_path, read_operation
from atoll.model.problems import Place
from atoll.model.reading import Section
from atoll.model.source import Entries
from atoll.model.system import Compare, Intended, Operation, Tolerance
from atoll.values import quantities

_EVERYTHING = re.compile(r"[\s$*.:\[\]]*")
"""Patterns of nothing but wildcards name whatever there is."""
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_NUMBER = re.compile(r"\d{1,18}(\.\d{1,18})?")
_NEVER_SAFE = frozenset({"CONNECT", "TRACE", "GET", "HEAD", "OPTIONS"})
LONGEST_FIELD = 200


def read_compare(section: Section | None) -> Compare | None:
    """What stands under `compare:`; None where nothing does."""
    if section is None:
        return None
    share, sets = section.percent("share"), tuple(_fields(section, "sets"))
    return Compare(
        share=share if share is not None else Compare().share,
        concurrency=section.count("concurrency", least=1, most=256),
        timeout=section.duration("timeout", least=0.01, most=60),
        samples=section.count("samples", least=10),
        least=section.duration("for", least=1, most=86400),
        headers=tuple(_headers(section)),
        masked=tuple(_left_out(section, "masked")),
        ignored=tuple(_left_out(section, "ignored")),
        sets=sets,
        keyed=tuple(_keyed(section, sets)),
        tolerances=tuple(_tolerances(section)),
        shown=tuple(_fields(section, "shown")),
        endpoints=tuple(_endpoints(section)),
        safe=tuple(_operations(section)),
        intended=tuple(_intended(section)),
    )


def _headers(section: Section) -> Iterator[str]:
    if section.silent_on("headers"):
        section.tree("headers")
        yield from Compare().headers
    for item in section.texts("headers", "the name of a header"):
        if not _HEADER.fullmatch(item.text):
            section.notes.problem(item.place, f"{item.text!r} is not the name of a header", "write content-type")
        yield item.text.lower()


def _fields(section: Section, key: str) -> Iterator[str]:
    for item in section.texts(key, "a field"):
        if _is_field(section, item.place, key, item.text):
            yield item.text


def _is_field(section: Section, place: Place, key: str, text: str) -> bool:
    fine = bool(text.strip()) and text.isprintable() and len(text) <= LONGEST_FIELD
    if not fine:
        hint = "write its path in the answer, such as id or items[*].price"
        section.notes.problem(place, f"{section.path}.{key}: {text!r} is not a field", hint)
    return fine


def _left_out(section: Section, key: str) -> Iterator[str]:
    """Fields that do not count. All of them cannot: no two answers would ever differ."""
    for text in section.texts(key, "a field"):
        if _EVERYTHING.fullmatch(text.text):
            hint = "name the fields that differ for good reasons, such as id or items[*].created"
            words = f"{section.path}.{key}: {text.text!r} leaves out every field: nothing would be compared"
            section.notes.problem(text.place, words, hint)
        elif _is_field(section, text.place, key, text.text):
            yield text.text


def _keyed(section: Section, sets: Collection[str]) -> Iterator[tuple[str, str]]:
    for name, key in section.pairs("keyed"):
        if name.text in sets:
            hint = "keep it under sets or under keyed"
            section.notes.problem(name.place, f"{section.path}: {name.text} is both a set and keyed", hint)
        if _is_field(section, name.place, "keyed", name.text) and _is_field(section, key.place, "keyed", key.text):
            yield name.text, key.text


def _tolerances(section: Section) -> Iterator[tuple[str, Tolerance]]:
    for name, value in section.pairs("tolerance"):
        found = _tolerance(value.text)
        if found is None:
            hint = "write a number (0.01) or a percentage (1%), more than nothing"
            words = f"{section.path}.tolerance.{name.text}: {value.text!r} is no tolerance"
            section.notes.problem(value.place, words, hint)
        elif _is_field(section, name.place, "tolerance", name.text):
            yield name.text, found


def _tolerance(text: str) -> Tolerance | None:
    if _NUMBER.fullmatch(text):
        return Tolerance(absolute=float(text)) if float(text) > 0 else None
    try:
        share = quantities.percent(text)
    except ValueError:
        return None
    return Tolerance(relative=share) if 0 < share < 1 else None


def _endpoints(section: Section) -> Iterator[str]:
    for item in section.texts("endpoints", "a path"):
        if is_path(item.text):
            yield item.text
        else:
            hint = "write one such as /users/{name}/cart"
            section.notes.problem(item.place, f"{section.path}.endpoints: {item.text!r} is not a path", hint)


def _operations(section: Section) -> Iterator[Operation]:
    for item in section.texts("safe", "a method and a path"):
        found = read_operation(section, "safe", item, "POST /search")
        if found is not None and found.method in _NEVER_SAFE:
            words = f"{section.path}.safe: {found.method} cannot be declared safe: it always is, or never"
            section.notes.problem(item.place, words, "GET, HEAD and OPTIONS are compared anyway; take it out")
        elif found is not None:
            yield found


def _intended(section: Section) -> Iterator[Intended]:
    for path, item in section.items("intended", "a mapping"):
        section.notes.set_at(path, item.place)
        if not isinstance(item, Entries):
            hint = "- {field: total, owner: ann, reason: cents are rounded now, expires: 2027-01-31}"
            section.notes.problem(item.place, f"{path} has to be a mapping", hint)
            continue
        one = Section(section.notes, path, "intended", item, item.place)
        words = {key: one.text(key) or "" for key in ("field", "owner", "reason", "expires")}
        endpoint = one.text("endpoint") or ""
        if words["field"] and _EVERYTHING.fullmatch(words["field"]):
            hint = "name the field that is to differ"
            one.notes.problem(one.place_of("field"), f"{path}.field: {words['field']!r} would excuse everything", hint)
        if words["expires"] and not _is_day(words["expires"]):
            what = f"{path}.expires: {words['expires']!r} is not a day"
            one.notes.problem(one.place_of("expires"), what, "write 2027-01-31")
        yield Intended(**words, endpoint=endpoint)


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False
