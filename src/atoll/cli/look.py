"""Look: status, logs, events, graph, dashboard."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path

import click
from rich.console import Group
from rich.live import Live
from rich.markup import escape
from rich.text import Text

from atoll import wire
from atoll.cli.control import await_next
from atoll.cli.places import client, file_option, json_option, system_file
from atoll.cli.screen import as_json, err, event_line, out, reasons, status_table
from atoll.client import Client
from atoll.values.printable import plain

LOOK = 1.0


@click.command()
@file_option
@json_option
@click.option("-w", "--watch", is_flag=True, help="Keep looking.")
def status(file: Path | None, *, json_: bool, watch: bool) -> None:
    """What is wanted, what is, and why they differ."""
    caller = client(system_file(file))
    show = as_json if json_ else _print
    if not watch:
        show(caller.status())
    elif out.is_terminal and not json_:
        _keep_drawn(caller)
    else:
        _show_changes(caller, show)


def _print(view: wire.StatusView) -> None:
    out.print(_screen(view))
    sys.stdout.flush()


def _keep_drawn(caller: Client) -> None:
    with Live(_screen(caller.status()), console=out, screen=True, refresh_per_second=4) as live:
        while True:
            time.sleep(LOOK)
            live.update(_screen(caller.status()))


def _show_changes(caller: Client, show: Callable[[wire.StatusView], None]) -> None:
    """Into a pipe: the view again whenever it tells something else, figures aside."""
    before: object = None
    while True:
        view = caller.status()
        told = _told(view)
        if told != before:
            show(view)
        before = told
        time.sleep(LOOK)


def _told(view: wire.StatusView) -> object:
    services = tuple((s.name, s.ready, s.wanted, s.release, s.target, s.restarts) for s in view.services)
    return view.converged, view.change, view.problems, view.notes, services


def _screen(view: wire.StatusView) -> Group:
    word = "[green]as wanted[/green]" if view.converged else "[yellow]not as wanted yet[/yellow]"
    if view.converged and view.change is not None and view.change.state == "failed":
        word = "[yellow]what served before goes on[/yellow]"  # routes, numbers and policies may be as was asked for
    if not view.services:
        word = "[dim]nothing is applied[/dim]"
    lines = [Text.from_markup(f"[bold]{view.system or '-'}[/bold]  {word}  [dim]gateway {view.gateway}[/dim]")]
    change = view.change
    if change is not None and change.state != "done":
        reason = f": {escape(change.reason)}" if change.reason else ""
        lines.append(Text.from_markup(f"change {change.number} ({change.kind}) {change.state}{reason}"))
    lines += [Text.from_markup(f"[red]{escape(problem)}[/red]") for problem in view.problems]
    lines += [Text.from_markup(f"[yellow]![/yellow] {escape(note)}") for note in view.notes]
    if not view.services:
        return Group(*lines)
    return Group(*lines, status_table(view), *(Text.from_markup(reason) for reason in reasons(view)))


@click.command()
@file_option
@json_option
@click.argument("service", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on as lines are written.")
@click.option("-n", "--tail", default=100, show_default=True, help="Lines of each instance to begin with.")
def logs(file: Path | None, service: str | None, tail: int, *, json_: bool, follow: bool) -> None:
    """What instances wrote."""
    path = system_file(file)
    caller = client(path)
    if not follow:
        _write(caller.logs(service, tail=tail), json_=json_)
        return
    caller.identity()  # a stream of nothing looks like one that hangs
    _write(caller.logs(service, tail=tail, follow=True), json_=json_)
    for other in _others(path, "lines written meanwhile are not shown"):
        _write(other.logs(service, tail=0, follow=True), json_=json_)


def _write(lines: Iterable[wire.LogLine], *, json_: bool) -> None:
    for line in lines:
        if json_:
            as_json(line)
        else:
            # Whoever wrote it must not steer the terminal; what goes into a file or a pipe stays as it was written.
            text = plain(line.text) if out.is_terminal else line.text
            out.print(f"[dim]{line.instance}[/dim] {escape(text)}", soft_wrap=True)


def _others(path: Path, left_out: str = "") -> Iterator[Client]:
    """
    One control plane after the other, each when the one before has ended; until the system is taken down.

    Raises `errors.Unavailable` where none comes.
    """
    while True:
        err.print("[yellow]the control plane has ended; waiting for another one[/yellow]")
        caller = await_next(path)
        if caller is None:
            err.print("[yellow]the system was taken down[/yellow]")
            return
        words = f"; {left_out}" if left_out else ""
        err.print(f"[yellow]there is one again, process {caller.identity().pid}{words}[/yellow]", soft_wrap=True)
        yield caller


@click.command()
@file_option
@json_option
@click.argument("service", required=False)
@click.option("--follow", is_flag=True, help="Go on as they happen.")
@click.option("-n", "--limit", default=50, show_default=True, help="How many to begin with.")
def events(file: Path | None, service: str | None, limit: int, *, json_: bool, follow: bool) -> None:
    """What happened, and why."""
    path = system_file(file)
    caller = client(path)
    last = 0
    for event in caller.events(limit=limit, service=service):
        last = event.number
        _show(event, json_=json_)
    for one in chain((caller,), _others(path)) if follow else ():
        for event in one.follow(after=last):
            last = event.number
            if service in {None, event.service}:
                _show(event, json_=json_)


def _show(event: wire.Event, *, json_: bool) -> None:
    if json_:
        as_json(event)
    else:
        out.print(event_line(event), soft_wrap=True)


@click.command()
@file_option
@json_option
def graph(file: Path | None, *, json_: bool) -> None:
    """Who may call whom."""
    view = client(system_file(file)).graph()
    if json_:
        as_json(view)
        return
    for node in view.nodes:
        for edge in view.edges:
            if edge.caller == node:
                out.print(f"{node} → {edge.callee}  [dim]within {edge.timeout:g} s, {edge.retries} retries[/dim]")


@click.command()
@file_option
def dashboard(file: Path | None) -> None:
    """Print the dashboard's address. It is for a browser on this machine."""
    out.print(client(system_file(file)).identity().dashboard, soft_wrap=True)
