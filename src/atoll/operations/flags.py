"""What people may ask of feature flags: write, change, kill, go back. Each is done at once and whole, or refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from atoll import wire
from atoll.errors import Refused
from atoll.kit.flags import Document, Facts, InvalidFlags, lint, parse
from atoll.kit.flags.document import unchanged
from atoll.operations.flag_edits import Changed, alive, changed, dead, dealt, refusal, revived_by, to_release
from atoll.operations.views.flags import flags_view, whom
from atoll.plan.flag_release import FlagRelease, dark, subject
from atoll.plan.happenings import Happening
from atoll.plan.releasing import Signal
from atoll.store.flags import Age, Author, Version, as_text
from atoll.store.store import Store

NAMED = 8
"""Of so many flags the names are told; of more, how many there are."""
_COURSE = "each step lasts until the judge is content; atoll promote, hold, resume or abort {subject}"


@dataclass(frozen=True, slots=True)
class FlagDesk:
    """
    Where requests about flags are handed in.

    `record` writes what happened into the journal; `clock` gives seconds since the epoch.
    """

    store: Store
    record: Callable[[Happening], None]
    clock: Callable[[], float]

    # --- looking ------------------------------------------------------------------------------------------------

    def view(self) -> wire.FlagsView:
        """All flags: who gets what, who may ask for them, and which have had their time."""
        version, today = self.store.flags.current(), self._today()
        document, (_, system) = version.document(), self.store.system()
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

    def write(self, request: wire.FlagWrite) -> wire.FlagReceipt:
        """
        Make a whole document what is served.

        Raises `errors.Refused` with everything that is wrong with it, or where it would revive a killed flag;
        `errors.Conflict` where it was made from another version than the current one.
        """
        try:
            document = parse(request.text)
            as_text(document).encode()
        except InvalidFlags as error:
            raise refusal(error.findings) from error
        except UnicodeEncodeError as error:
            half = error.object[error.start : error.end]
            raise Refused(f"{half!r} is half a character", hint="write the whole one, or leave it out") from error
        return self._put(document, "sets", request.actor, request.reason, before=request.before)

    def change(self, request: wire.FlagChange) -> wire.FlagReceipt:
        """Change one flag, as it is now. Raises `errors.Refused` with everything that is wrong with that."""
        document = self.store.flags.current().document()
        match request.verb:
            case "set":
                made: Changed = changed(document, request)
            case "revive":
                made = alive(document, request.flag)
            case "kill":
                return self._kill(document, request)
            case _:
                raise Refused(f"a flag knows no {request.verb!r}", hint="write set, kill or revive")
        return self._put(made[0], "", request.actor, request.reason, words=made[1])

    def rollback(self, request: wire.FlagRollback) -> wire.FlagReceipt:
        """
        Make an earlier version what is served.

        Raises `errors.Refused` where it is not there, or would revive a killed flag.
        """
        current, number = self.store.flags.current(), request.number
        if number is None:
            number = next((v.number for v in self.store.flags.history(2) if v.number != current.number), 0)
        document = self._version(number).document()
        return self._put(document, f"goes back to version {number}:", request.actor, request.reason)

    def release(self, request: wire.FlagReleaseRequest) -> wire.FlagReceipt:
        """
        Begin to give a variant to more and more people, as the judge allows.

        Raises `errors.Refused` with everything that keeps it from being, such as another release of the same flag.
        """
        current, now, name = self.store.flags.current(), self.clock(), request.flag
        document = current.document()
        rollout = to_release(document, request)
        self._free((name,))
        before = as_text(document["flags"][name])
        start = dark(0, now, request.reason or f"asked for by {request.actor}")
        release = FlagRelease(name, request.variant, request.rest or "", rollout, before, start)
        number = self.store.flags.releases.begin(release, request.actor, request.reason, now).progress.release
        steps = ", ".join(f"{step.weight}%" for step in rollout.steps)
        words = f"release {number} of {name}: {request.variant} goes to {steps} of all people, then to everybody"
        self.record(Happening("info", "release", subject(name), subject(name), f"{request.actor} begins {words}"))
        asking = whom(self.store.system()[1], name)
        doubt = () if asking else (f"no service may ask for {name}: it will hold, as there is nothing to judge",)
        return wire.FlagReceipt(described(current), (words, _COURSE.format(subject=subject(name))), doubt)

    def _kill(self, document: Document, request: wire.FlagChange) -> wire.FlagReceipt:
        """Skips every check but that there is something safe to give."""
        release = self.store.flags.releases.find(request.flag)
        if release is not None:  # what it comes back as is not a step on the way
            document = {**document, "flags": {**document["flags"], release.flag: json.loads(release.before)}}
        after, words = dead(document, request.flag)
        hit = whom(self.store.system()[1], request.flag)
        words += (f"it hits {', '.join(hit)}" if hit else "no service may ask for it",)
        current = self.store.flags.current()
        if as_text(after) == current.text:
            return wire.FlagReceipt(described(current), (f"{request.flag} is killed already",))
        author = Author(self.clock(), request.actor, words[0], request.reason)
        version = self.store.flags.write(after, author, before=current.etag)
        self._say(author, (request.flag,), level="warning")
        if release is not None:
            self.store.ask(subject(release.flag), Signal.ABORT, request.actor, request.reason, self.clock())
            words += (f"its release of {release.variant} is over",)
        return wire.FlagReceipt(described(version), words)

    def _put(
        self,
        document: Mapping[str, Any],
        verb: str,
        actor: str,
        reason: str,
        *,
        before: str | None = None,
        words: tuple[str, ...] = (),
    ) -> wire.FlagReceipt:
        current = self.store.flags.current()
        findings = lint(document, today=self._today())
        errors = [each for each in findings if each.level == "error"]
        if errors:
            raise refusal(errors)
        if verb:  # a whole document; one flag is changed as it is now
            self._keep_dead(current.document(), document)
        warnings = tuple(str(each) for each in findings)
        if current.number and as_text(document) == current.text:
            return wire.FlagReceipt(described(current), ("nothing differs from what is served",), warnings)
        names = _differing(current.document(), document)
        self._free(names)
        told = ", ".join(names) if len(names) <= NAMED else f"{len(names)} flags"
        deed = "; ".join(words) or f"{verb} {told or 'nothing but what is around the flags'}"
        author = Author(self.clock(), actor, deed, reason)
        version = self.store.flags.write(document, author, before=current.etag if before is None else before)
        self._say(author, names)
        return wire.FlagReceipt(described(version), words or (f"version {version.number} {author.deed}",), warnings)

    def _free(self, names: Collection[str]) -> None:
        """Refuse to change what a release is changing."""
        moving = [r for r in self.store.flags.releases.on_their_way() if r.flag in names]
        if moving:
            told = (f"{r.flag} is being released ({r.progress.state} at {r.progress.shown}%)" for r in moving)
            mend = ", ".join(f"atoll abort {subject(r.flag)}" for r in moving)
            raise Refused("\n".join(told), hint=f"wait for it, or decide: {mend}; a kill works at any time")

    def _keep_dead(self, before: Document, after: Document) -> None:
        """Refuse to revive flags by the way: a document may be older than their kill."""
        risen = revived_by(before, after)
        if risen:
            told = (f"{name} is killed, and this would revive it: {dealt(after['flags'][name])}" for name in risen)
            mend = ", ".join(f"atoll flags revive {name}" for name in risen)
            raise Refused("\n".join(told), hint=f"leave it as `atoll flags show` has it, or first: {mend}")

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


def _differing(before: Document, after: Document) -> tuple[str, ...]:
    return tuple(sorted({*before["flags"], *after["flags"]} - unchanged(before, after)))


def _facts(age: Age, today: date, *, asked_for: bool) -> Facts:
    """What the control plane knows of a flag: evaluated or not, services ask in their own processes."""
    return Facts(_day(age.since), today if asked_for else None, age.only, _day(age.only_since) if age.only else None)


def _day(at: float) -> date:
    return datetime.fromtimestamp(at, UTC).date()
