"""What is in this directory? A first system file from what is found there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from atoll.errors import Refused
from atoll.importers import procfile, sources
from atoll.importers.proposal import Found, Proposal, written

COMPOSE_FILES = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")


def propose(directory: Path) -> Proposal:
    """
    A valid system file for *directory*, with notes on what does not carry over.

    Looks for a Procfile, then for a Compose file, then for sources that a builder knows.

    Raises `errors.Refused` where there is nothing to start from, or where what is there cannot be read (with the
    place).
    """
    return written(_found(directory))


def _found(directory: Path) -> Found:
    found = procfile.find(directory) if (directory / procfile.FILE).is_file() else None
    found = found or sources.find(directory)
    if found is None:
        raise Refused(
            f"there is nothing in {directory} to start from (looked for Procfile, compose.yaml, pyproject.toml,"
            " requirements.txt, *.py, package.json, also in subdirectories)",
            hint="name a directory with sources, or write one service by hand: services: {web: {source: web, run: …}}",
        )
    return replace(found, notes=tuple(dict.fromkeys(found.notes)))
