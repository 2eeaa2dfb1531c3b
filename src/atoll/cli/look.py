"""Look: status, logs, events, graph, dashboard."""

from __future__ import annotations

import time
from pathlib import Path

import click
from rich.console import Group
from rich.live import Live
from rich.markup import escape
from rich.text import Text

from atoll import wire
from atoll.cli.places import client, file_option, json_option, system_file
from atoll.cli.screen import as_json, event_line, out, reasons, status_table


@click.command()
@file_option
@json_option
@click.option("-w", "--watch", is_flag=True, help="Keep looking.")
def status(file: Path | None, *, json_: bool, watch: bool) -> None:
    """What is wanted, what is, and why they differ."""
    caller = client(system_file(file))
    if json_:
        as_json(caller.status())
        return
    if not watch:
        out.print(_screen(caller.status()))
        return
    with Live(_screen(caller.status()), console=out, screen=out.is_terminal, refresh_per_second=4) as live:
        while True:
            time.sleep(1)
            live.update(_screen(caller.status()))


def _screen(view: wire.StatusView) -> Group:
    word = "[green]as wanted[/green]" if view.converged else "[yellow]not as wanted yet[/yellow]"
    if not view.services:
        word = "[dim]nothing is applied[/dim]"
    lines = [Text.from_markup(f"[bold]{view.system or '-'}[/bold]  {word}  [dim]gateway {view.gateway}[/dim]")]
    change = view.change
    if change is not None and change.state != "done":
        reason = f": {escape(change.reason)}" if change.reason else ""
        lines.append(Text.from_markup(f"change {change.number} ({change.kind}) is {change.state}{reason}"))
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
    for line in client(system_file(file)).logs(service, tail=tail, follow=follow):
        if json_:
            as_json(line)
        else:
            out.print(f"[dim]{line.instance}[/dim] {escape(line.text)}", soft_wrap=True)


@click.command()
@file_option
@json_option
@click.argument("service", required=False)
@click.option("--follow", is_flag=True, help="Go on as they happen.")
@click.option("-n", "--limit", default=50, show_default=True, help="How many to begin with.")
def events(file: Path | None, service: str | None, limit: int, *, json_: bool, follow: bool) -> None:
    """What happened, and why."""
    caller = client(system_file(file))
    last = 0
    for event in caller.events(limit=limit, service=service):
        last = event.number
        _show(event, json_=json_)
    if follow:
        for event in caller.follow(after=last):
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
    """Print the dashboard's address; it is for a browser on this machine."""
    out.print(client(system_file(file)).identity().dashboard, soft_wrap=True)
