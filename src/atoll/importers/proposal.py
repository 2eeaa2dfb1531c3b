"""What an importer found, and how it is written: a small commented file that a person goes on with."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_PLAIN = re.compile(r"[A-Za-z0-9_./$](?:[A-Za-z0-9_./$=@%+,!?&()|*;<>~^{}\[\]\"'\\-]|:(?! |$)| (?!#| |$))*", re.ASCII)
_NULL = {"null", "Null", "NULL"}
_BOOLEAN_OR_NUMBER = re.compile(r"(?i:true|false|yes|no|on|off|y|n)|(?=[^0-9]*[0-9])[-+.0-9][-+.0-9a-fA-FxXoO_:]*")


@dataclass(frozen=True, slots=True)
class Proposal:
    """A system file as text, and what a person should know about it, one sentence each."""

    text: str
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Draft:
    """
    One service as found. Only what is written here gets into the file.

    `resources`, `health` and `release` are keys of these sections with their values as the file writes them;
    `remarks` become comments above the service.
    """

    name: str
    source: str
    run: str | None = None
    instances: int = 1
    resources: tuple[tuple[str, str], ...] = ()
    health: tuple[tuple[str, str], ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    routes: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()
    release: tuple[tuple[str, str], ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """Everything an importer found: the services, where from, and what it could not carry over."""

    system: str
    origin: str
    services: tuple[Draft, ...]
    listen: str | None = None
    notes: tuple[str, ...] = ()


def written(found: Found) -> Proposal:
    """The proposal for what was found."""
    return Proposal("\n".join(_lines(found)) + "\n", found.notes)


def scalar(text: str) -> str:
    """*text* as a YAML scalar on one line that reads back as the same string in YAML 1.1 and 1.2."""
    if _PLAIN.fullmatch(text) and text not in _NULL and not _BOOLEAN_OR_NUMBER.fullmatch(text):
        return text
    if text.isprintable():
        return "'" + text.replace("'", "''") + "'"
    escaped = "".join(_escaped(c) for c in text)
    return f'"{escaped}"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    if character.isprintable():
        return character
    return f"\\x{ord(character):02x}" if ord(character) < 0x100 else f"\\U{ord(character):08x}"  # noqa: PLR2004 - YAML


def _lines(found: Found) -> Iterator[str]:
    yield f"# Proposed by `atoll init` from {_comment(found.origin)}. Next: `atoll plan`, then `atoll up`."
    yield "# Every value has a default; `atoll explain SERVICE` shows each one and why it is so."
    yield f"system: {scalar(found.system)}"
    yield ""
    yield "gateway:"
    listen = found.listen or "8080"
    only_here = ":" not in listen
    yield f"  listen: {listen}" + ("  # reachable from this machine only; 0.0.0.0:PORT opens it" if only_here else "")
    yield ""
    yield "services:"
    for number, service in enumerate(found.services):
        if number:
            yield ""
        yield from (f"  {line}" if line else "" for line in _service(service))


def _service(service: Draft) -> Iterator[str]:
    yield from (f"# {_comment(remark)}" for remark in service.remarks)
    yield f"{service.name}:"
    yield f"  source: {scalar(service.source)}"
    if service.run is not None:
        yield f"  run: {scalar(service.run)}"
    if service.instances != 1:
        yield f"  instances: {service.instances}"
    yield from _section("resources", service.resources)
    if [key for key, _ in service.health] == ["path"]:
        yield f"  health: {scalar(service.health[0][1])}"
    else:
        yield from _section("health", service.health)
    if service.env:
        yield "  env:"
        yield from (f"    {name}: {scalar(value)}" for name, value in service.env)
    yield from _names("routes", service.routes)
    yield from _names("calls", service.calls)
    yield from _section("release", service.release)


def _section(key: str, values: Sequence[tuple[str, str]]) -> Iterator[str]:
    if values:
        yield f"  {key}: {{{', '.join(f'{name}: {_in_flow(value)}' for name, value in values)}}}"


def _names(key: str, names: Sequence[str]) -> Iterator[str]:
    if names:
        yield f"  {key}: [{', '.join(names)}]"


def _in_flow(value: str) -> str:
    """Quantities and numbers stay as they are; anything else that a flow mapping could misread is quoted."""
    return value if re.fullmatch(r"[A-Za-z0-9./_%-]+", value) else "'" + value.replace("'", "''") + "'"


def _comment(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)
