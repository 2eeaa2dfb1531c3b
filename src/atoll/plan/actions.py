"""What has to be done: a closed union. Each action carries its reason and is safe to run twice."""

from __future__ import annotations

from dataclasses import dataclass

from atoll.plan.blueprint import Instance


@dataclass(frozen=True, slots=True)
class Create:
    """Make the place an instance will run in."""

    instance: Instance
    why: str


@dataclass(frozen=True, slots=True)
class Start:
    """Run an instance in its place."""

    instance: Instance
    why: str


@dataclass(frozen=True, slots=True)
class Publish:
    """Offer the blueprint to the proxies."""

    generation: int
    why: str


@dataclass(frozen=True, slots=True)
class Stop:
    """Ask an instance to end, and make it."""

    name: str
    service: str
    grace: float
    why: str


@dataclass(frozen=True, slots=True)
class Remove:
    """Forget an instance that has ended and that the proxies have let go."""

    name: str
    service: str
    why: str


Action = Create | Start | Publish | Stop | Remove


def key(action: Action) -> tuple[str, str]:
    """What an action is about: two actions with one key are never under way at the same time."""
    match action:
        case Create(instance) | Start(instance):
            return type(action).__name__, instance.name
        case Publish():
            return "Publish", ""
        case Stop() | Remove():
            return type(action).__name__, action.name
