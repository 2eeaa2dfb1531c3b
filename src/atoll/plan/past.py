"""What became of the releases of a service, and what follows: where to go back to, and what not to release again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from atoll.model.system import System
from atoll.plan.blueprint import Recipe
from atoll.plan.decisions import Pin
from atoll.plan.recipes import recipe, same_content
from atoll.plan.releasing import State

REMOVED = "removed"
"""The state of a release that was on its way when its service was taken away."""
SERVED = frozenset({"serving", "retired"})
"""States of a release that does its work, or did until another one replaced it."""


@dataclass(frozen=True, slots=True)
class Past:
    """One release, the state it is in or ended in, and why."""

    recipe: Recipe
    state: str
    note: str


def earlier(past: Iterable[Past], than: Recipe) -> Recipe | None:
    """
    The newest release that has served and is another one than *than*, of those before it where it has a number.

    Not one that was taken back since, as the same or as another release: who goes back twice goes further back.
    *past* begins with the newest.
    """
    known = tuple(past)
    found = (one.recipe for one in known if one.state in SERVED and not same_content(one.recipe, than))
    before = (one for one in found if not than.release or one.release < than.release)
    return next((one for one in before if taken_back(known, one) is None), None)


def taken_back(past: Iterable[Past], wanted: Recipe) -> Past | None:
    """
    The release by which *wanted* was there before and was taken back, by a person, a judge or a rollback.

    None where it was not, or has served since. One that failed says nothing: it may have been for want of something.
    """
    said = (one for one in past if one.state in SERVED | {State.ROLLED_BACK} and same_content(one.recipe, wanted))
    last = next(said, None)
    return last if last is not None and last.state == State.ROLLED_BACK else None


def unfinished(past: Iterable[Past], wanted: Recipe) -> Past | None:
    """The release by which *wanted* was on its way when the service was taken away; None where that was not its end."""
    last = next((one for one in past if same_content(one.recipe, wanted)), None)
    return last if last is not None and last.state == REMOVED else None


@dataclass(frozen=True, slots=True)
class Choice:
    """What is to be released, if anything; `back` is the release as which what was asked for was taken back."""

    recipe: Recipe | None = None
    back: Past | None = None


def choose(
    on: Recipe | None, wanted: Recipe, past: Callable[[str], Iterable[Past]], *, in_steps: bool = False
) -> Choice:
    """
    What an applied file that asks for *wanted* brings, where *on* is there or on its way.

    Nothing where that is the same, or was taken back; where nothing is there then, what served last. What nothing
    else has ever served beside is released all the same. *in_steps* says that nothing new gets all of the traffic at
    once: what was on its way when the service was taken away does not get it by being started alone.
    """
    if on is not None and same_content(on, wanted):
        return Choice()
    known = tuple(past(wanted.service))
    back = taken_back(known, wanted) or (unfinished(known, wanted) if in_steps and on is None else None)
    if back is None:
        return Choice(wanted)
    if on is not None:
        return Choice(None, back)
    before = earlier(known, wanted)
    return Choice(before, back) if before is not None else Choice(wanted)


def held(
    system: System, pins: Mapping[str, Pin], digests: Mapping[str, str], past: Callable[[str], Iterable[Past]]
) -> dict[str, Past]:
    """
    What applying *system* does not release, by service, as it was taken back: the release that it was.

    *digests* are the artifacts that the sources give now. A service of which nothing else has ever served is none.
    """
    found: dict[str, Past] = {}
    for name, service in system.services.items():
        wanted = recipe(system, service, artifact=digests.get(name, ""), argv=())
        back = choose(pins.get(name, Pin()).newest, wanted, past, in_steps=service.rollout.in_steps).back
        if back is not None:
            found[name] = back
    return found


def told(back: Mapping[str, Past]) -> tuple[str, ...]:
    """What is `held`, a sentence each."""
    return tuple(f"{name}: {holding(one)}" for name, one in back.items())


def holding(back: Past) -> str:
    """Why a service is not released, and what can be done, in words."""
    why = f" ({back.note})" if back.note else ""
    how = "was not through" if back.state == REMOVED else "was taken back"
    return (
        f"what is here now {how} as release {back.recipe.release}{why}: it is not released again until it"
        f" changes, or is asked for by name (atoll deploy {back.recipe.service})"
    )
