"""What people may ask of feature flags: write, change, kill, go back. Each is done at once and whole, or refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from atoll import wire
from atoll.errors import Refused
from atoll.kit.flags import Document, Facts, InvalidFlags, lint, parse
from atoll.kit.flags.document import unchanged
from atoll.operations.flag_edits import Changed, alive, changed, dead, refusal
from atoll.operations.views.flags import flags_view, whom
from atoll.plan.flag_release import subject
from atoll.plan.happenings import Happening
from atoll.store.flags import Age, Author, Version, as_text
from atoll.store.store import Store

NAMED = 8
"""Of so many flags the names are told; of more, how many there are."""


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

        Raises `errors.Refused` with everything that is wrong with it, `errors.Conflict` where it was made from another
        version than the current one.
        """
        try:
            document = parse(request.text)
        except InvalidFlags as error:
            raise refusal(error.findings) from error
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
        return self._put(made[0], request.verb + "s", request.actor, request.reason, words=made[1])

    def rollback(self, request: wire.FlagRollback) -> wire.FlagReceipt:
        """Make an earlier version what is served. Raises `errors.Refused` where it is not there."""
        current, number = self.store.flags.current(), request.number
        if number is None:
            number = next((v.number for v in self.store.flags.history(2) if v.number != current.number), 0)
        earlier = self._version(number)
        return self._put(earlier.document(), f"goes back to version {number}:", request.actor, request.reason)

    def _kill(self, document: Document, request: wire.FlagChange) -> wire.FlagReceipt:
        """Skips every check but that there is something safe to give."""
        after, words = dead(document, request.flag)
        hit = whom(self.store.system()[1], request.flag)
        words += (f"it hits {', '.join(hit)}" if hit else "no service may ask for it",)
        author = Author(self.clock(), request.actor, f"kills {request.flag}", request.reason)
        version = self.store.flags.write(after, author, before=self.store.flags.current().etag)
        self._say(author, (request.flag,), level="warning")
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
        warnings = tuple(str(each) for each in findings)
        if current.number and as_text(document) == current.text:
            return wire.FlagReceipt(described(current), ("nothing differs from what is served",), warnings)
        names = _differing(current.document(), document)
        told = ", ".join(names) if len(names) <= NAMED else f"{len(names)} flags"
        author = Author(self.clock(), actor, f"{verb} {told or 'nothing but what is around the flags'}", reason)
        version = self.store.flags.write(document, author, before=current.etag if before is None else before)
        self._say(author, names)
        return wire.FlagReceipt(described(version), words or (f"version {version.number} {author.deed}",), warnings)

    def _say(self, author: Author, names: tuple[str, ...], level: str = "info") -> None:
        why = f": {author.reason}" if author.reason else ""
        about = subject(names[0]) if len(names) == 1 else "flags"
        self.record(Happening(level, "flag", about, about, f"{author.actor} {author.deed}{why}"))

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
