"""What people may ask of feature flags: write, change, kill, go back. Each is done at once and whole, or refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import partial
from typing import TypeVar

from atoll import wire
from atoll.errors import Conflict, Refused
from atoll.kit.flags import Facts
from atoll.model.system import Rollout
from atoll.operations.flag_drafts import Draft, Edit, drafted, written
from atoll.operations.flag_edits import alive, changed, dead, to_release
from atoll.operations.views.flags import flags_view, whom
from atoll.plan.flag_release import FlagRelease, dark, subject
from atoll.plan.happenings import Happening
from atoll.plan.releasing import Signal
from atoll.store.flags import Age, Author, Version, as_text, content
from atoll.store.store import Store

NAMED = 8
"""Of so many flags the names are told; of more, how many there are."""
TRIES = 5
_COURSE = "each step lasts until the judge is content; atoll promote, hold, resume or abort {subject}"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FlagDesk:
    """
    Where requests about flags are handed in.

    `record` writes what happened into the journal; `clock` gives seconds since the epoch.
    """

    store: Store
    record: Callable[[Happening], None]
    clock: Callable[[], float]
    _one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock, init=False, repr=False)

    # --- looking ------------------------------------------------------------------------------------------------

    def view(self) -> wire.FlagsView:
        """All flags: who gets what, who may ask for them, and which have had their time."""
        version, today = self.store.flags.current(), self._today()
        document, (_, system) = self.store.flags.document(), self.store.system()
        ages = self.store.flags.ages()
        facts = {flag: _facts(age, today, asked_for=bool(whom(system, flag))) for flag, age in ages.items()}
        return flags_view(described(version), document, system, self.store.flags.releases.on_their_way(), facts, today)

    def document(self, number: int | None = None) -> wire.FlagDocument:
        """A version with its text, the current one by default. Raises `errors.Refused` where there is none."""
        found = self._version(number) if number is not None else self.store.flags.current()
        return wire.FlagDocument(described(found), found.text)

    def history(self, limit: int) -> tuple[wire.FlagVersion, ...]:
        """The newest versions, newest first."""
        return tuple(described(version) for version in self.store.flags.history(limit))

    # --- changing -----------------------------------------------------------------------------------------------

    async def write(self, request: wire.FlagWrite) -> wire.FlagReceipt:
        """
        Make a whole document what is served.

        Raises `errors.Refused` with everything that is wrong with it, or where it would revive a killed flag;
        `errors.Conflict` where it was made from another version than the current one.
        """
        async with self._one_at_a_time:
            draft = await self._drafted(written(request.text), whole=True)
            return self._put(draft, "sets", request.actor, request.reason, request.before)

    async def change(self, request: wire.FlagChange) -> wire.FlagReceipt:
        """Change one flag, as it is now. Raises `errors.Refused` with everything that is wrong with that."""
        match request.verb:
            case "set":
                edit: Edit = partial(changed, request=request)
            case "revive":
                edit = partial(alive, flag=request.flag)
            case "kill":
                return self._kill(request)  # waits for nobody
            case _:
                raise Refused(f"a flag knows no {request.verb!r}", hint="write set, kill or revive")
        async with self._one_at_a_time:
            draft = await self._drafted(edit, whole=False)
            return self._put(draft, "", request.actor, request.reason)

    async def rollback(self, request: wire.FlagRollback) -> wire.FlagReceipt:
        """
        Make an earlier version what is served.

        Raises `errors.Refused` where it is not there, or would revive a killed flag.
        """
        async with self._one_at_a_time:
            number, before = request.number, None
            if number is None:  # the one before this one, not before what comes meanwhile
                current = self.store.flags.current()
                number = next((v.number for v in self.store.flags.history(2) if v.number != current.number), 0)
                before = current.etag
            version = self._version(number)
            draft = await self._drafted(lambda _: (version.document(), ()), whole=True)
            return self._put(draft, f"goes back to version {number}:", request.actor, request.reason, before)

    async def release(self, request: wire.FlagReleaseRequest) -> wire.FlagReceipt:
        """
        Begin to give a variant to more and more people, as the judge allows.

        Raises `errors.Refused` with everything that keeps it from being, such as another release of the same flag.
        """

        def starting(current: Version) -> tuple[Version, Rollout, str]:
            document = current.document()
            return current, to_release(document, request), as_text(document["flags"][request.flag])

        async with self._one_at_a_time:
            return self._begin(request, *await self._apart(starting))

    def _begin(
        self, request: wire.FlagReleaseRequest, current: Version, rollout: Rollout, before: str
    ) -> wire.FlagReceipt:
        now, name = self.clock(), request.flag
        self._free((name,))
        start = dark(0, now, request.reason or f"asked for by {request.actor}")
        release = FlagRelease(name, request.variant, request.rest or "", rollout, before, start)
        number = self.store.flags.releases.begin(release, request.actor, request.reason, now).progress.release
        steps = ", ".join(f"{step.weight}%" for step in rollout.steps)
        words = f"release {number} of {name}: {request.variant} goes to {steps} of all people, then to everybody"
        self.record(Happening("info", "release", subject(name), subject(name), f"{request.actor} begins {words}"))
        asking = whom(self.store.system()[1], name)
        doubt = () if asking else (f"no service may ask for {name}: it will hold, as there is nothing to judge",)
        return wire.FlagReceipt(described(current), (words, _COURSE.format(subject=subject(name))), doubt)

    def _kill(self, request: wire.FlagChange) -> wire.FlagReceipt:
        """Skips every check but that there is something safe to give."""
        current = self.store.flags.current()
        document = self.store.flags.document()
        release = self.store.flags.releases.find(request.flag)
        if release is not None:  # what it comes back as is not a step on the way
            document = {**document, "flags": {**document["flags"], release.flag: json.loads(release.before)}}
        after, words = dead(document, request.flag)
        hit = whom(self.store.system()[1], request.flag)
        words += (f"it hits {', '.join(hit)}" if hit else "no service may ask for it",)
        new = content(after)
        if new.text == current.text:
            return wire.FlagReceipt(described(current), (f"{request.flag} is killed already",))
        author = Author(self.clock(), request.actor, words[0], request.reason)
        version = self.store.flags.write(new, author, before=current.etag)
        self._say(author, (request.flag,), level="warning")
        if release is not None:
            self.store.ask(subject(release.flag), Signal.ABORT, request.actor, request.reason, self.clock())
            words += (f"its release of {release.variant} is over",)
        return wire.FlagReceipt(described(version), words)

    async def _drafted(self, edit: Edit, *, whole: bool) -> Draft:
        return await self._apart(partial(drafted, edit=edit, today=self._today(), whole=whole))

    async def _apart(self, make: Callable[[Version], T]) -> T:
        """
        What *make* makes of the current version: not in the loop that moves releases and tells the proxies.

        Anew, where a kill or a step of a release came meanwhile. Raises `errors.Conflict` where that does not end.
        """
        for _ in range(TRIES):
            current = self.store.flags.current()
            made = await asyncio.to_thread(make, current)
            if self.store.flags.current() is current:
                return made
        raise Conflict("the flags change faster than they can be checked: nothing was changed", hint="ask again")

    def _put(self, draft: Draft, verb: str, actor: str, reason: str, before: str | None = None) -> wire.FlagReceipt:
        if draft.before.number and draft.content.text == draft.before.text:
            return wire.FlagReceipt(described(draft.before), ("nothing differs from what is served",), draft.warnings)
        self._free(draft.names)
        told = ", ".join(draft.names) if len(draft.names) <= NAMED else f"{len(draft.names)} flags"
        deed = "; ".join(draft.words) or f"{verb} {told or 'nothing but what is around the flags'}"
        author = Author(self.clock(), actor, deed, reason)
        version = self.store.flags.write(draft.content, author, before=draft.before.etag if before is None else before)
        self._say(author, draft.names)
        words = draft.words or (f"version {version.number} {author.deed}",)
        return wire.FlagReceipt(described(version), words, draft.warnings)

    def _free(self, names: Collection[str]) -> None:
        """Refuse to change what a release is changing."""
        moving = [r for r in self.store.flags.releases.on_their_way() if r.flag in names]
        if moving:
            told = (f"{r.flag} is being released ({r.progress.state} at {r.progress.shown}%)" for r in moving)
            mend = ", ".join(f"atoll abort {subject(r.flag)}" for r in moving)
            raise Refused("\n".join(told), hint=f"wait for it, or decide: {mend}; a kill works at any time")

    def _say(self, author: Author, names: tuple[str, ...], level: str = "info") -> None:
        why = f": {author.reason}" if author.reason else ""
        about = subject(names[0]) if len(names) == 1 else "flags"
        self.record(Happening(level, "flag", about, about, f"{author.deed} ({author.actor}){why}"))

    def _version(self, number: int) -> Version:
        found = self.store.flags.version(number)
        if found is None:
            raise Refused(f"there is no version {number} of the flags", hint="see `atoll flags history`")
        return found

    def _today(self) -> date:
        return _day(self.clock())


def described(version: Version) -> wire.FlagVersion:
    """A version without its text."""
    author = version.author
    return wire.FlagVersion(version.number, version.etag, author.at, author.actor, author.deed, author.reason)


def _facts(age: Age, today: date, *, asked_for: bool) -> Facts:
    """What the control plane knows of a flag: evaluated or not, services ask in their own processes."""
    return Facts(_day(age.since), today if asked_for else None, age.only, _day(age.only_since) if age.only else None)


def _day(at: float) -> date:
    return datetime.fromtimestamp(at, UTC).date()
