"""What the request at hand got of the flags that are being released, so that what becomes of it can be counted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import quote

from atoll.kit.noting import noted

HEADER = "x-atoll-flag"
RELEASING = "releasing"
"""The field of a flag's metadata that is there while one of its variants is being released."""


@contextmanager
def watching(seen: dict[str, str]) -> Iterator[None]:
    """Has `see` write into `seen` what is evaluated in here, also in threads and tasks that take the context along."""
    token = noted.set(seen)
    try:
        yield
    finally:
        noted.reset(token)


def see(flag: str, variant: str) -> None:
    """Notes what somebody gets of a flag that is being released."""
    seen = noted.get()
    if seen is not None:
        seen[flag] = variant


def header(seen: Mapping[str, str]) -> str:
    """The value of the header: `NAME=VARIANT`, percent-encoded where it has to be, several separated by commas."""
    return ", ".join(f"{quote(flag, safe='')}={quote(variant, safe='')}" for flag, variant in sorted(seen.items()))
