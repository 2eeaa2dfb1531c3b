"""
Releases of flags: the percentage of people who get a variant follows where the release stands.

Level, not edge: every turn compares the flag in the document with what the release wants of it now, and writes what
differs. A control plane that dies in between finds the same difference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from atoll.engine.judging import WATCHED, Bakes, Flows, decider, heard, told
from atoll.engine.parts import Parts
from atoll.errors import AtollError, Conflict, Refused, Unavailable
from atoll.kit.flags import Document, InvalidFlags, is_killed, parse, with_flag, with_percent
from atoll.plan.flag_release import FlagRelease, flag_of, subject
from atoll.plan.happenings import Happening
from atoll.plan.releasing import ALL, JUDGED, WHOLE, Facts, Signal, State, due, judged, step
from atoll.policies.judge.counters import Reading, Snapshot
from atoll.policies.judge.evidence import Arm
from atoll.policies.judge.verdict import Verdict
from atoll.policies.judge.words import explain
from atoll.ports import FlagCalls
from atoll.store.flags import Author, as_text, content
from atoll.store.transitions import Transition
from atoll.values.judging import ERRORS, JudgePolicy

POLICY = JudgePolicy(metrics=(ERRORS,))
"""What is counted of each variant are requests and errors."""
FORESIGHT = 10.0
"""Seconds of counting after which it is said what the traffic can resolve: before a release there is no counting."""


@dataclass(frozen=True, slots=True)
class _Followed:
    """Whether the document is as the release wants it, and why it cannot be, where it cannot."""

    done: bool
    obstacle: str = ""


class FlagReleasing:
    """
    Moves releases of flags on.

    `judging` says whether one is judged now, `counting` whether the proxies are to count what answers say of flags.
    """

    def __init__(self, parts: Parts, record: Callable[[Happening], None], poke: Callable[[], None]) -> None:
        self._parts = parts
        self._flags = parts.store.flags
        self._record = record
        self._poke = poke
        self._calls: tuple[FlagCalls, ...] = ()
        self._seen_at = 0.0
        self._flows = Flows()
        self._bakes = Bakes()
        self._foreseen: set[tuple[str, int]] = set()
        self.judging = False
        self.counting = False

    async def look(self) -> None:
        """Ask the proxies what became of each variant, where a judge wants to know."""
        releases = self._flags.releases.on_their_way()
        watched = {r.flag for r in releases if r.progress.state in WATCHED}
        whole = {r.flag for r in releases if r.progress.state in WHOLE}
        self.judging = any(r.progress.state in JUDGED for r in releases)
        self.counting = bool(watched | whole)
        self._flows.keep(watched)
        self._bakes.keep(whole)
        self._calls = ()
        if not self.counting:
            return
        self._seen_at = self._parts.clock()
        with suppress(AtollError, OSError):  # no data: the judge holds when it lasts
            self._calls = await self._parts.mesh.flag_calls()

    def step(self) -> None:
        """One turn over all releases of flags."""
        for asked in self._parts.store.asked():
            flag = flag_of(asked.service)
            if flag is not None:
                self._answer(asked, flag)
        for release in self._flags.releases.on_their_way():
            self._turn(release)

    def _answer(self, asked: Transition, flag: str) -> None:
        """What a person wants, where it still means something."""
        release = self._flags.releases.find(flag)
        if release is None:
            self._parts.store.forget(asked.asked)
            return
        try:
            self._take(release, asked)
        except (Refused, Conflict) as error:
            self._parts.store.forget(asked.asked)
            self._say("warning", flag, f"{asked.signal} by {asked.actor} came too late: {error.message}")

    def _turn(self, release: FlagRelease) -> None:
        followed = self._follow(release, "atoll")
        snapshot = Snapshot(self._seen_at, tuple(self._readings(release)))
        after, verdict = self._judge(release, snapshot)
        if after.progress.shown != release.progress.shown:  # the judge's guard, for a moment
            self._follow(after, "judge")
        facts = self._facts(after, followed, verdict)
        if after.progress.state in WHOLE:
            facts = self._bakes.heard(after.flag, after.progress, snapshot, POLICY, facts)
        found = due(after.progress, release.rollout, facts)
        if found is None:
            if after != release:
                self._flags.releases.remember(after)
            return
        signal, reason = found
        actor = decider(reason, facts, "judge")
        if signal in {Signal.READY, Signal.RELEASE}:
            reason = release.progress.reason  # why it goes on, as nothing had to be waited for
        elif release.progress.state is State.FULL and signal is Signal.ACKNOWLEDGED:
            reason = "everybody gets it"
        self._take(after, Transition(subject(release.flag), signal, actor, reason))

    def _take(self, release: FlagRelease, change: Transition) -> None:
        now, before, flag = self._parts.clock(), release.progress, release.flag
        signal = Signal(change.signal)
        after = step(before, signal, release.rollout, 0, now, change.reason)
        if after.state is State.FULL:
            after = replace(after, usual=self._flows.usual(flag, before))
        release = self._flags.releases.transit(change, release, after, now)
        level, words = told(change, after, f"release {after.release} of {release.variant}")
        self._say(level, flag, words)
        self._follow(release, change.actor)  # at once: an abort waits for nothing
        self._poke()

    # --- the document follows -----------------------------------------------------------------------------------

    def _follow(self, release: FlagRelease, actor: str) -> _Followed:
        """Write the percentage that the release stands at, where the document says another."""
        current = self._flags.current()
        document = self._flags.document()
        now = document["flags"].get(release.flag)
        if now is None:
            return _Followed(done=False, obstacle="the flag was removed")
        if is_killed(now):
            return _Followed(done=False, obstacle="the flag was killed")
        try:
            wanted = _wanted(document, release)
        except InvalidFlags as error:
            return _Followed(done=False, obstacle=f"the flag cannot be changed any more: {error}")
        if as_text(wanted) != as_text(now):
            author = Author(self._parts.clock(), actor, _deed(release), release.progress.reason)
            flags = {**document["flags"], release.flag: wanted}
            try:
                self._flags.write(content({**document, "flags": flags}), author, before=current.etag)
            except Unavailable:
                return _Followed(done=False)  # the next turn tries again
        return _Followed(done=True)

    def _facts(self, release: FlagRelease, followed: _Followed, verdict: Verdict | None) -> Facts:
        return Facts(
            at=self._parts.clock(),
            ready=release.progress.size,
            acknowledged=followed.done or bool(followed.obstacle),  # nobody gets what is killed or gone
            failure=followed.obstacle,
            verdict=verdict.kind if verdict is not None else "",
            words=explain(verdict) if verdict is not None else "",
        )

    # --- the evidence -------------------------------------------------------------------------------------------

    def _judge(self, release: FlagRelease, snapshot: Snapshot) -> tuple[FlagRelease, Verdict | None]:
        """The judge's word on what was counted since the last look; none where nothing was looked at."""
        progress, flag = release.progress, release.flag
        if progress.state in WATCHED and snapshot.readings:
            self._flows.measure(flag, snapshot.at, snapshot.readings)
        if not judged(progress, release.rollout) or not snapshot.at:
            return release, None
        self._foresee(release, snapshot.readings)
        # A share of people is not one of requests: some ask more often, and targeting may decide before it.
        after, verdict = heard(progress, snapshot, POLICY)
        return replace(release, progress=after), verdict

    def _readings(self, release: FlagRelease) -> Iterator[Reading]:
        """Every address once for each variant: the unit of evidence is one instance's answers with one variant."""
        flag, variant = quote(release.flag, safe=""), quote(release.variant, safe="")
        for calls in self._calls:
            if calls.flag == flag:
                arm = Arm.CANARY if calls.variant == variant else Arm.STABLE
                unit = f"{calls.ip}:{calls.port}={calls.variant}"
                yield Reading(calls.proxy, unit, arm, calls.success, calls.error)

    def _foresee(self, release: FlagRelease, readings: tuple[Reading, ...]) -> None:
        """Say once for each release what the traffic can resolve."""
        name, progress = (release.flag, release.progress.release), release.progress
        if name in self._foreseen or progress.paused or self._flows.seconds(release.flag) < FORESIGHT:
            return
        self._foreseen.add(name)
        sides = tuple(len({r.instance for r in readings if r.arm is arm}) or 1 for arm in (Arm.CANARY, Arm.STABLE))
        sizes = (sides[0], sides[1])
        taken = progress.weight / ALL
        prospect = self._flows.prospect(release.flag, progress, POLICY, sizes, release.rollout.most, taken)
        self._say("info", release.flag, f"release {progress.release}: {prospect}")

    def _say(self, level: str, flag: str, text: str) -> None:
        self._record(Happening(level, "release", subject(flag), subject(flag), text))


def _wanted(document: Document, release: FlagRelease) -> Mapping[str, Any]:
    """The flag as it is to be: as it was before, but for the percentage that the release stands at."""
    flag, shown = release.flag, release.progress.shown
    shared = document.get("$evaluators") or {}
    alone = with_flag({"$evaluators": shared, "flags": {}}, flag, parse(release.before))  # the others do not matter
    if shown:
        alone = with_percent(alone, flag, release.variant, shown, rest=release.rest or None)
    wanted: Mapping[str, Any] = alone["flags"][flag]
    return wanted


def _deed(release: FlagRelease) -> str:
    shown = release.progress.shown
    return f"gives {release.variant} of {release.flag} to {shown}%" if shown else f"takes {release.flag} back"
