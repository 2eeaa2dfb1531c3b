"""Releases: deploy, releases, rollback."""

from __future__ import annotations

import time
from pathlib import Path

import click
from rich.markup import escape

from atoll import wire
from atoll.cli.follow import finish
from atoll.cli.places import client, file_option, json_option, request, system_file
from atoll.cli.screen import as_json, listing, on_a_line, out, show_table
from atoll.cli.watch import watch
from atoll.plan.releasing import State


@click.command()
@file_option
@json_option
@click.argument("services", nargs=-1, required=True)
def deploy(file: Path | None, services: tuple[str, ...], *, json_: bool) -> None:
    """
    Build SERVICES and replace what runs, without a gap.

    Returns when the new release serves and the old one has stopped; fails when the new one did not become ready, in
    which case the old one never stopped serving.
    """
    path = system_file(file)
    caller = client(path)
    receipt = caller.deploy(request(path, services=services))
    if receipt.change is not None:
        finish(path, caller, receipt.change, json_=json_)
    for one in caller.progress() if not json_ else ():
        if one.service in services and one.state == State.DARK:
            out.print(
                f"release {one.release} of {one.service} is dark: nobody is sent to it yet. Look at it with the"
                f" header [bold]x-atoll-release: {one.service}={one.release}[/bold], then atoll release {one.service}"
            )


@click.command()
@file_option
@json_option
@click.option("--history", is_flag=True, help="Each step that releases took: who moved it on, and why.")
@click.option("-w", "--watch", "keep", is_flag=True, help="Follow what is on its way until it is over.")
@click.argument("service", required=False)
def releases(file: Path | None, service: str | None, *, history: bool, keep: bool, json_: bool) -> None:
    """
    The releases of SERVICE, or of all, newest first. SERVICE may be flag:NAME, too.

    Of all, a note is cut where the line ends; of SERVICE, and with --json, it is whole.

    With --watch it returns when the releases that are on their way are over, and fails where one was taken back.
    """
    caller = client(system_file(file))
    if keep:
        watch(caller, service, json_=json_)
        return
    if history:
        _show_history(caller.transitions(service), json_=json_)
        return
    found = caller.releases(service)
    if json_:
        as_json(found)
        return
    table = listing("service", "release", "state", "at", "artifact", "note")
    for one in found:
        note = on_a_line(one.note, whole=service is not None)
        table.add_row(one.service, str(one.number), one.state, _moment(one.at), one.artifact[:12], note)
    show_table(table)


def _show_history(found: tuple[wire.TransitionView, ...], *, json_: bool) -> None:
    if json_:
        as_json(found)
        return
    table = listing("at", "service", "release", "from", "to", "signal", "by", "why")
    for one in found:
        moved = (_moment(one.at), one.service, str(one.release), one.source, one.target, one.signal, escape(one.actor))
        table.add_row(*moved, on_a_line(one.reason, whole=True))
    show_table(table)


def _moment(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


@click.command()
@file_option
@json_option
@click.argument("service")
def rollback(file: Path | None, service: str, *, json_: bool) -> None:
    """Go back to the release of SERVICE that served before."""
    path = system_file(file)
    caller = client(path)
    receipt = caller.rollback(service)
    if receipt.change is not None:
        finish(path, caller, receipt.change, json_=json_)
