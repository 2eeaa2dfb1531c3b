"""Follow a change until it is over, with its progress."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from pathlib import Path

from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from atoll import wire
from atoll.cli.places import client, places
from atoll.cli.screen import as_json, err, event_line, out
from atoll.client import Client, NoAnswer
from atoll.errors import AtollError, Failed

READY = 120.0
"""Seconds that a system has to become as wanted."""
GIVEN_UP = 10.0
"""Seconds of them that it has where all that is left was given up before; a machine that has just started is slow."""
SILENCE = 2.0  # seconds until it is said what is waited for
LOOK = 0.05
REDRAW = 0.2  # seconds between looks at the whole status, which takes long where there are many services
PAUSE = 0.5  # seconds between looks that take asking for every release


def finish(file: Path, caller: Client, change: wire.ChangeView, *, json_: bool) -> None:
    """
    Follow *change* to its end and print how it ended, with *json_* as the whole change and nothing else.

    Raises `errors.Failed` with the reason where it failed; with *json_* the change is printed before that, too.
    """
    try:
        last = _last(file, caller, change, quiet=json_)
    except KeyboardInterrupt:
        words = f"change {change.number} ({change.kind}) goes on without this command"
        err.print(f"{words}: `atoll status` shows how far it is, `atoll events --follow` what happens", soft_wrap=True)
        raise
    if json_ and last.state == "failed":
        as_json(last)
    _insist(last)
    report(last, json_=json_)


def follow_change(file: Path, caller: Client, change: wire.ChangeView, *, quiet: bool = False) -> wire.ChangeView:
    """
    Show what happens until *change* is over, and return it.

    Raises `errors.Failed` with the reason where it failed: also where it was cancelled, and the control plane that did
    so has ended with the system before anybody could ask it. Raises `client.NoAnswer` where the control plane ended
    before the change: that is written down, so the next one goes on with it.
    """
    last = _last(file, caller, change, quiet=quiet)
    _insist(last)
    return last


def _last(file: Path, caller: Client, change: wire.ChangeView, *, quiet: bool) -> wire.ChangeView:
    """The change when it is over; until then what happens is shown."""
    stop = threading.Event()
    try:
        if not quiet:
            after = newest_event(caller)
            # Made here and not in the thread: what is over at once ends the process, and a thread that is then inside
            # of the TLS library, to make a client, takes it down with a segmentation fault.
            threading.Thread(target=_tell, args=(client(file), change.number, after, stop), daemon=True).start()
        return _drawn(caller, change, quiet=quiet)
    except NoAnswer as error:
        ended = _recorded(file, change.number)
        if ended is None:
            raise _left(change) from error
        return ended
    finally:
        stop.set()


def _drawn(caller: Client, change: wire.ChangeView, *, quiet: bool) -> wire.ChangeView:
    """The change when it is over; until then, in a terminal, bars."""
    last, due = change, 0.0
    drawing = err.is_terminal and not quiet
    with _progress(hidden=not drawing) as progress:
        bars: dict[str, TaskID] = {}
        told = ""
        for last in caller.wait(change.number):
            if not quiet and last.state == "queued" and last.reason != told:
                told = last.reason
                err.print(f"[dim]change {last.number} ({last.kind}) {escape(told)}[/dim]", soft_wrap=True)
            if drawing and time.monotonic() >= due:
                _draw(progress, bars, caller.status(), last)
                due = time.monotonic() + REDRAW
        if drawing:
            _draw(progress, bars, caller.status(), last)
    return last


def _insist(change: wire.ChangeView) -> None:
    if change.state == "failed":
        raise Failed(f"change {change.number} ({change.kind}) failed:\n{change.reason}")


def _left(change: wire.ChangeView) -> NoAnswer:
    again = "atoll down" if change.kind == "down" else "atoll up"
    return NoAnswer(
        f"the control plane ended before change {change.number} ({change.kind}) was over; what runs goes on. The change"
        " was accepted and is kept: what is left of it is done as soon as a control plane runs again",
        hint=f"start it with `{again}`",
    )


def _recorded(file: Path, number: int) -> wire.ChangeView | None:
    from atoll.server import unasked  # noqa: PLC0415 - 60 ms that no other command needs

    return unasked.how_it_ended(places(file), number)


def newest_event(caller: Client) -> int:
    """The number of the last event, 0 where there is none: what comes after it is news."""
    newest = caller.events(limit=1)
    return newest[-1].number if newest else 0


def wait_until_ready(caller: Client) -> None:
    """
    Wait until the system is as wanted, where nothing has to be changed for that, and say for what.

    Raises `errors.Failed` with the reasons where it does not get there: sooner where all that is left was given up.
    """
    begun = time.monotonic()
    told: set[str] = set()
    while not (view := caller.status()).converged:
        waited = time.monotonic() - begun
        late = [s for s in view.services if s.ready < s.wanted]
        reasons = {problem: problem for problem in view.problems} | {s.name: f"{s.name}: {s.why}" for s in late}
        if waited > READY or (waited > GIVEN_UP and reasons and _are_given_up(caller, late)):
            why = "".join(f"\n{reason}" for reason in reasons.values())
            raise Failed(f"it is not as wanted after {waited:.0f} s{why}", hint="see `atoll status` and `atoll logs`")
        for subject, reason in reasons.items() if waited > SILENCE else ():
            if subject not in told:
                err.print(f"[dim]waiting; {escape(reason)}[/dim]", soft_wrap=True)
                told.add(subject)
        time.sleep(LOOK if waited < GIVEN_UP else PAUSE)


def _are_given_up(caller: Client, services: list[wire.ServiceView]) -> bool:
    """Whether nothing is to be expected of these any more; of none, nothing."""
    failing = {(release.service, release.number) for release in caller.releases() if release.state == "failing"}
    return all((s.name, s.release) in failing for s in services)


def report(change: wire.ChangeView, *, json_: bool) -> None:
    """Print how a change ended."""
    if json_:
        as_json(change)
        return
    releases = ", ".join(f"{name} release {number}" for name, number in change.releases.items())
    out.print(f"[green]done[/green]: {change.kind}" + (f", {releases}" if releases else ""))


def _progress(*, hidden: bool) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[words]}"),
        TimeElapsedColumn(),
        console=err,
        transient=True,
        disable=hidden,
    )


def _draw(progress: Progress, bars: dict[str, TaskID], status: wire.StatusView, change: wire.ChangeView) -> None:
    for service in status.services:
        if service.name not in change.services:
            continue
        if service.name not in bars:
            bars[service.name] = progress.add_task(service.name, total=max(1, service.wanted), words="")
        release = service.target if service.target is not None else service.release
        there = sum(i.state == "ready" and i.release == release for i in service.instances)
        words = change.reason if change.state == "queued" else service.why
        progress.update(bars[service.name], completed=there, total=max(1, service.wanted), words=words[:70])


def _tell(caller: Client, change: int, after: int, stop: threading.Event) -> None:
    with suppress(AtollError), caller:
        for event in caller.follow(after=after):
            if stop.is_set():
                return
            # That the change itself failed is told by the error that ends the command: its reason may be long.
            if not (event.kind == "change" and event.level == "error" and event.text.startswith(f"change {change} ")):
                err.print(event_line(event), soft_wrap=True)
