"""Feature flags as people see them, and the part of them that a service is shown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from typing import Any

from atoll import wire
from atoll.kit.flags import Document, Due, Facts, due, is_killed, shares
from atoll.kit.flags.document import named
from atoll.kit.flags.faults import links, reached
from atoll.kit.flags.logic import references
from atoll.kit.flags.seen import RELEASING
from atoll.model.system import Service, System
from atoll.operations.views.progress import flag_progress
from atoll.plan.flag_release import FlagRelease


def whom(system: System | None, flag: str) -> tuple[str, ...]:
    """The services that may ask for a flag."""
    services = system.services if system is not None else {}
    return tuple(name for name, service in services.items() if service.may_ask_for(flag))


def flags_view(
    version: wire.FlagVersion,
    document: Document,
    system: System | None,
    releases: Iterable[FlagRelease],
    facts: Mapping[str, Facts],
    today: date,
) -> wire.FlagsView:
    """All flags, with what was seen of them (*facts*)."""
    report: dict[str, list[Due]] = {}
    for one in due(document, facts, today=today):
        report.setdefault(one.key, []).append(one)
    moving = {r.flag: r for r in releases}
    views = (
        _view(name, flag, whom(system, name), moving.get(name), report.get(name, ()))
        for name, flag in document["flags"].items()
    )
    return wire.FlagsView(version, tuple(views))


def _view(
    name: str, flag: Mapping[str, Any], services: tuple[str, ...], release: FlagRelease | None, report: Iterable[Due]
) -> wire.FlagView:
    metadata = flag.get("metadata") or {}
    return wire.FlagView(
        name=name,
        state=flag["state"],
        default=str(named(flag.get("defaultVariant")) or ""),
        shares=shares(flag),
        owner=str(metadata.get("owner", "")),
        kind=str(metadata.get("kind", "")),
        expires=str(metadata.get("expires", "")),
        killed=is_killed(flag),
        releasing=release.variant if release is not None else "",
        progress=flag_progress(release) if release is not None else None,
        services=services,
        due=tuple(f"{one.why} for {one.days} days: {one.mend}" for one in report),
    )


def cut(document: Document, service: Service, releases: Iterable[FlagRelease]) -> dict[str, Any]:
    """
    The document as far as *service* may know it: its flags, and of the shared targeting what those need.

    A flag that is being released says so in its metadata.
    """
    moving = {r.flag: r.variant for r in releases}
    flags = {
        name: _marked(flag, moving[name]) if name in moving else flag
        for name, flag in document["flags"].items()
        if service.may_ask_for(name)
    }
    evaluators = document.get("$evaluators") or {}
    used = reached(_references(flags.values()), links(evaluators))
    rest = {name: value for name, value in document.items() if name not in {"flags", "$evaluators"}}
    kept = {name: logic for name, logic in evaluators.items() if name in used}
    return {**rest, **({"$evaluators": kept} if kept else {}), "flags": flags}


def _references(flags: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for flag in flags:
        yield from references(flag.get("targeting"))


def _marked(flag: Mapping[str, Any], variant: str) -> dict[str, Any]:
    return {**flag, "metadata": {**(flag.get("metadata") or {}), RELEASING: variant}}
