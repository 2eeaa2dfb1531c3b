"""Make it true: plan, apply."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from atoll import wire
from atoll.cli.follow import finish
from atoll.cli.places import client, file_option, json_option, places, request, running, system, system_file
from atoll.cli.screen import as_json, err, out, reasons, show_plan
from atoll.client import Client
from atoll.errors import Refused

CHANGES = 1


@click.command()
@file_option
@json_option
def plan(file: Path | None, *, json_: bool) -> None:
    """Show what applying the file would do. Exits 0 when nothing, 1 when something, 255 on errors."""
    path = system_file(file)
    caller = running(path)
    view = caller.plan(request(path)) if caller is not None else _unasked(path)
    if json_:
        as_json(view)
    else:
        show_plan(view)
        _show_unready(view, caller)
    sys.exit(CHANGES if view.differences else 0)


def _show_unready(view: wire.PlanView, caller: Client | None) -> None:
    """Where there is nothing to apply, say what is not as it should be all the same."""
    if not view.differences and caller is not None:
        for reason in reasons(caller.status()):
            out.print(f"[yellow]![/yellow] not as wanted yet: {reason}", soft_wrap=True)


def _unasked(path: Path) -> wire.PlanView:
    from atoll.server import unasked  # noqa: PLC0415 - 60 ms that no other command needs

    return unasked.plan(places(path), system(path))


@click.command()
@file_option
@json_option
@click.option("--index", help="Apply only if the plan is still this one (see `atoll plan`).")
@click.option(
    "-y", "--yes", is_flag=True, help="Do not ask. Without a terminal, or with --json, this or --index is needed."
)
def apply(file: Path | None, index: str | None, *, json_: bool, yes: bool) -> None:
    """Apply the file: exactly the plan that you saw, or nothing."""
    path = system_file(file)
    caller = client(path)
    seen = caller.plan(request(path))
    if not json_:
        show_plan(seen)
        _show_unready(seen, caller)
    if not seen.differences:
        if json_:
            as_json(seen)
        return
    if not (yes or index):
        _ask(json_=json_)
    receipt = caller.apply(request(path, index=index or seen.index))
    if receipt.change is not None:
        finish(path, caller, receipt.change, json_=json_)


def _ask(*, json_: bool) -> None:
    """Without a person who could answer nothing is applied: that nobody said no is no yes."""
    if json_ or not sys.stdin.isatty():
        raise Refused(
            "there is nobody to ask whether this should be applied: nothing was changed",
            hint="say --yes, or --index INDEX to apply exactly the plan that you saw",
        )
    if not click.confirm("Apply this?"):
        err.print("nothing was changed")
        raise click.Abort
