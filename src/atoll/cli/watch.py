"""Watch releases on their way to users, until they are there or taken back."""

from __future__ import annotations

import time
from collections.abc import Iterator

from rich.console import Group
from rich.live import Live
from rich.markup import escape
from rich.text import Text

from atoll import wire
from atoll.cli.screen import as_json, out
from atoll.client import Client
from atoll.errors import Failed, Refused
from atoll.plan.flag_release import flag_of

LOOK = 0.5
GOOD = ("serving", "retired", "released")

Key = tuple[str, int]


def watch(caller: Client, service: str | None, *, json_: bool) -> None:
    """
    Show the releases on their way, of *service* or of all, until the last of them is over.

    In a terminal the screen is kept up to date; elsewhere there is a line, or with *json_* a view, for each change.
    Raises `errors.Refused` where none is on its way, and `errors.Failed` where one did not reach its users.
    """
    views = _found(caller, service)
    if not views:
        of = f" of {service}" if service else ""
        flag = flag_of(service) if service else None
        begin = "`atoll deploy`, then `atoll release`" if flag is None else f"`atoll flags release {flag} --to VARIANT`"
        raise Refused(f"no release{of} is on its way", hint=f"begin one with {begin}")
    watched: dict[Key, wire.ProgressView] = {}
    if out.is_terminal and not json_:
        _keep_drawn(caller, service, watched)
    else:
        _tell(caller, service, watched, json_=json_)
    _say_ends(caller, watched, json_=json_)


def _found(caller: Client, service: str | None) -> tuple[wire.ProgressView, ...]:
    return tuple(view for view in caller.progress() if service in {None, view.service})


def _looks(
    caller: Client, service: str | None, watched: dict[Key, wire.ProgressView]
) -> Iterator[tuple[wire.ProgressView, ...]]:
    """One look after the other while there is something to see; *watched* collects what was seen."""
    while views := _found(caller, service):
        yield views
        watched.update({(view.service, view.release): view for view in views})
        time.sleep(LOOK)


def _keep_drawn(caller: Client, service: str | None, watched: dict[Key, wire.ProgressView]) -> None:
    with Live(console=out, refresh_per_second=4, transient=True) as live:
        for views in _looks(caller, service, watched):
            live.update(Group(*(Text.from_markup(line) for view in views for line in _picture(view))))


def _tell(caller: Client, service: str | None, watched: dict[Key, wire.ProgressView], *, json_: bool) -> None:
    for views in _looks(caller, service, watched):
        for view in views:
            before = watched.get((view.service, view.release))
            if before is not None and (before.state, before.weight) == (view.state, view.weight):
                continue
            if json_:
                as_json(view)
            else:
                out.print(_headline(view), soft_wrap=True)


def _say_ends(caller: Client, watched: dict[Key, wire.ProgressView], *, json_: bool) -> None:
    ends = [r for name in sorted({name for name, _ in watched}) for r in caller.releases(name)]
    ends = [release for release in ends if (release.service, release.number) in watched]
    for release in ends:
        if json_:
            as_json(release)
        else:
            colour = "green" if release.state in GOOD else "red"
            out.print(
                f"[bold]{release.service}[/bold] release {release.number} is [{colour}]{release.state}[/{colour}]"
                + (f": {escape(release.note)}" if release.note else ""),
                soft_wrap=True,
            )
    bad = [f"{r.service} release {r.number} is {r.state}" for r in ends if r.state not in GOOD]
    if bad:
        raise Failed("; ".join(bad), hint="what was there before serves; see `atoll events` for how it came")


def _headline(view: wire.ProgressView) -> str:
    step = f", step {view.step} of {view.steps}" if view.step else ""
    share = f"at {view.weight}%" if view.weight or view.state != "canary" else "out of traffic for a moment"
    beside = f" beside {view.stable}" if view.stable is not None else ""
    return (
        f"[bold]{view.service}[/bold] release {view.release}{beside} is [cyan]{view.state}[/cyan]"
        f" {share}{step}: {escape(view.evidence or view.reason)}"
    )


def _picture(view: wire.ProgressView) -> Iterator[str]:
    yield _headline(view)
    full = round(view.weight / 2.5)
    yield f"  [cyan]{'█' * full}[/cyan][dim]{'░' * (40 - full)}[/dim] {max(0.0, time.time() - view.since):.0f} s"
    if view.evidence:
        yield f"  judge: {escape(view.evidence)}"
    if view.allowed:
        yield f"  [dim]what can be done now: {', '.join(f'atoll {word}' for word in view.allowed)}[/dim]"
