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
from atoll.client import Client
from atoll.errors import AtollError, Failed, Unavailable


def follow_change(file: Path, caller: Client, change: wire.ChangeView, *, quiet: bool = False) -> wire.ChangeView:
    """
    Show what happens until *change* is over, and return it.

    Raises `errors.Failed` with the reason where it failed: also where it was cancelled, and the control plane that did
    so has ended with the system before anybody could ask it.
    """
    stop = threading.Event()
    if not quiet:
        newest = caller.events(limit=1)
        after = newest[-1].number if newest else 0
        # Made here and not in the thread: what is over at once ends the process, and a thread that is then inside of
        # the TLS library, to make a client, takes it down with a segmentation fault.
        threading.Thread(target=_tell, args=(client(file), after, stop), daemon=True).start()
    last = change
    with _progress(hidden=quiet or not err.is_terminal) as progress:
        bars: dict[str, TaskID] = {}
        told = ""
        try:
            for last in caller.wait(change.number):
                if not quiet and last.state == "queued" and last.reason != told:
                    told = last.reason
                    err.print(f"[dim]change {last.number} ({last.kind}) {escape(told)}[/dim]", soft_wrap=True)
                if not quiet and err.is_terminal:
                    _draw(progress, bars, caller.status(), last)
        except Unavailable:
            ended = _recorded(file, change.number)
            if ended is None:
                raise
            last = ended
    stop.set()
    if last.state == "failed":
        raise Failed(f"change {last.number} ({last.kind}) failed:\n{last.reason}")
    return last


def _recorded(file: Path, number: int) -> wire.ChangeView | None:
    from atoll.server import unasked  # noqa: PLC0415 - 60 ms that no other command needs

    return unasked.how_it_ended(places(file), number)


def wait_until_ready(caller: Client, *, seconds: float = 120.0) -> None:
    """
    Wait until the system is as wanted, where nothing has to be changed for that.

    Raises `errors.Failed` with the reasons where it does not get there.
    """
    deadline = time.monotonic() + seconds
    view = caller.status()
    while not view.converged:
        if time.monotonic() > deadline:
            why = "\n".join(f"{s.name}: {s.why}" for s in view.services if s.why)
            raise Failed(f"it is not as wanted after {seconds:g} s\n{why}", hint="see `atoll status` and `atoll logs`")
        time.sleep(0.05)
        view = caller.status()


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


def _tell(caller: Client, after: int, stop: threading.Event) -> None:
    with suppress(AtollError), caller:
        for event in caller.follow(after=after):
            if stop.is_set():
                return
            err.print(event_line(event), soft_wrap=True)
