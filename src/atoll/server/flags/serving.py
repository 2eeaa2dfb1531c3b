"""The current document, cut down to what each service may know, and the news of its changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import NoReturn

from atoll.kit.flags import Flags
from atoll.model.system import Service, System
from atoll.operations.views.flags import cut
from atoll.store.flags import FlagStore, as_text
from atoll.values.hashing import digest

QUIET = 10.0
"""Seconds after which a stream in which nothing happens shows that it lives."""


class Forbidden(Exception):
    """Who asks may not; the message says what to add to the file."""


@dataclass(frozen=True, slots=True)
class Cut:
    """One service's document. `etag` is in its quotes, and names this content, whatever else has changed."""

    text: str
    etag: str


class Serving:
    """
    Cuts are made once for each service and each change.

    Args:
        store: where the document is.
        system: what the file says now.

    """

    def __init__(self, store: FlagStore, system: Callable[[], System | None]) -> None:
        self._store = store
        self._system = system
        self._cuts: dict[str, tuple[object, Cut]] = {}
        self._compiled: dict[str, tuple[Cut, Flags]] = {}
        self._compiling = asyncio.Lock()
        self._news = asyncio.Event()
        store.listeners.append(self._tell)

    def cut(self, caller: str) -> Cut:
        """The document of a service. Raises `Forbidden` where it may not ask for flags."""
        service = self._service(caller)
        version, releases = self._store.current(), self._store.releases.on_their_way()
        basis = (version.etag, service.flags, tuple((r.flag, r.variant) for r in releases))
        known = self._cuts.get(caller)
        if known is not None and known[0] == basis:
            return known[1]
        text = as_text(cut(self._store.document(), service, releases))
        made = Cut(text, f'"{digest(text.encode())[:16]}"')
        self._cuts[caller] = (basis, made)
        return made

    async def flags(self, caller: str) -> Flags:
        """
        The same, ready to be asked.

        Raises `Forbidden` as `cut` does, `kit.flags.InvalidFlags` for a document that another version has let through.
        """
        wanted = self.cut(caller)
        async with self._compiling:
            known = self._compiled.get(caller)
            if known is None or known[0] != wanted:
                before = known[1] if known is not None else None
                # Thousands of flags take seconds: not in the loop that moves releases and tells the proxies.
                known = (wanted, await asyncio.to_thread(Flags.load, wanted.text, before))
                self._compiled[caller] = known
        return known[1]

    async def changes(self, caller: str) -> AsyncIterator[Cut | None]:
        """
        The document now and whenever it has changed; None now and then, after QUIET seconds at most.

        Raises `Forbidden` as soon as the service may not ask any more.
        """
        last: Cut | None = None
        while True:
            news = self._news
            now = self.cut(caller)
            yield now if now != last else None
            last = now
            with suppress(TimeoutError):  # what the file says changes without news
                async with asyncio.timeout(QUIET):
                    await news.wait()

    def check(self, caller: str, flag: str) -> None:
        """Raise `Forbidden` where a service may not ask for one flag."""
        if not self._service(caller).may_ask_for(flag):
            _forbid(
                f"{caller} may not ask for the flag {flag}: add `{flag}` under services.{caller}.flags in atoll.yaml"
            )

    def _service(self, caller: str) -> Service:
        system = self._system()
        service = system.services.get(caller) if system is not None else None
        if service is None:
            _forbid(f"there is no service {caller!r} that may ask for flags" if caller else "it is not said who asks")
        if not service.flags:
            _forbid(f"{caller} may not ask for flags: add `flags: [NAME]` under services.{caller} in atoll.yaml")
        return service

    def _tell(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()


def _forbid(words: str) -> NoReturn:
    raise Forbidden(words)
