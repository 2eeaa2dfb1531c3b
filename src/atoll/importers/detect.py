"""What is in this directory? A first system file from what is found there."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from atoll.errors import Refused
from atoll.importers import compose, procfile, sources
from atoll.importers.proposal import Draft, Found, Proposal, written

_SECRET = re.compile(r"SECRET|PASSW|TOKEN|CREDENTIAL|(?:API|ACCESS|PRIVATE|SIGNING|ENCRYPTION)_?KEY", re.IGNORECASE)
_PASSWORD = re.compile(r"://[^/\s:@]*:[^/\s@]+@|-----BEGIN [A-Z ]*PRIVATE KEY")


def propose(directory: Path) -> Proposal:
    """
    A valid system file for *directory*, with notes on what does not carry over.

    Looks for a Procfile, then for a Compose file, then for sources that a builder knows.

    Raises `errors.Refused` where there is nothing to start from, or where what is there cannot be read (with the
    place).
    """
    try:
        return written(_found(directory))
    except OSError as error:
        raise Refused(f"{directory} cannot be looked into: {error.strerror}") from error


def _found(directory: Path) -> Found:
    file = next((name for name in compose.FILES if (directory / name).is_file()), None)
    found = procfile.find(directory) if (directory / procfile.FILE).is_file() else None
    if found is not None:
        return _with(found, (f"{file} was not looked at, as there is a Procfile",) if file else ())
    composed = compose.find(directory, file) if file else None
    if composed is not None and composed.services:
        return _with(composed, ())
    found = sources.find(directory)
    notes = composed.notes if composed is not None else ()
    if found is None:
        raise _nothing(directory, notes)
    return _with(found, notes)


def _with(found: Found, notes: tuple[str, ...]) -> Found:
    found = replace(found, services=tuple(_with_secrets(service) for service in found.services))
    remarks = tuple(f"{service.name}: {remark}" for service in found.services for remark in service.remarks)
    return replace(found, notes=tuple(dict.fromkeys((*notes, *found.notes, *remarks))))


def _with_secrets(service: Draft) -> Draft:
    """There is no place for secrets yet, so that they are written where everybody who has the file reads them."""
    names = [name for name, value in service.env if value and (_SECRET.search(name) or _PASSWORD.search(value))]
    remarks = tuple(f"{name} looks like a secret, and stands in this file in clear" for name in names)
    return replace(service, remarks=(*service.remarks, *remarks))


def _nothing(directory: Path, notes: tuple[str, ...]) -> Refused:
    looked = "Procfile, compose.yaml, pyproject.toml, requirements.txt, *.py, package.json, also in subdirectories"
    return Refused(
        "\n".join((f"there is nothing in {directory} to start from (looked for {looked})", *notes)),
        hint="name a directory with sources, or write one by hand: {system: shop, services: {web: {source: web}}}",
    )
