"""Make it true: up, plan, apply, down."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import click

from atoll import wire
from atoll.cli.control import await_control_plane, start
from atoll.cli.follow import follow_change, report, wait_until_ready
from atoll.cli.places import client, file_option, json_option, places, request, running, system, system_file
from atoll.cli.screen import as_json, complain, err, event_line, out, reasons, show_plan
from atoll.client import Client
from atoll.errors import AtollError, Unavailable

CHANGES = 1


@click.command()
@file_option
@click.option("-d", "--detach", is_flag=True, help="Return when the system is ready, and leave it running.")
def up(file: Path | None, *, detach: bool) -> None:
    """Start the control plane, apply the file, and follow events; Ctrl-C takes everything down again."""
    path = system_file(file)
    wanted = system(path)
    caller, process = running(path), None
    if caller is None:
        caller, process = start(path, wanted)
    else:
        err.print(f"[dim]a control plane runs already (process {caller.identity().pid}); applying the file to it[/dim]")
    try:
        _apply(path, caller)
        _greet(caller)
    except AtollError:
        if detach or process is None:
            raise
        err.print("[yellow]the system stays as it is; mend the file and run `atoll apply`[/yellow]")
    if not detach:
        _stay(path, caller, process)


def _apply(path: Path, caller: Client) -> None:
    receipt = caller.apply(request(path))
    if receipt.plan is not None:
        show_plan(receipt.plan)
    if receipt.change is not None:
        follow_change(path, caller, receipt.change)
    else:
        wait_until_ready(caller)


def _greet(caller: Client) -> None:
    view = caller.status()
    out.print(f"[green]{view.system} is up[/green]")
    out.print(f"  gateway    {view.gateway}")
    out.print(f"  dashboard  {caller.identity().dashboard}", soft_wrap=True)
    for note in view.notes:
        out.print(f"  [yellow]![/yellow] {note}", soft_wrap=True)


def _stay(path: Path, caller: Client, process: subprocess.Popen[bytes] | None) -> None:
    """Follow events until Ctrl-C or SIGTERM, which take the system down; start a dead control plane again."""
    signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    out.print("[dim]Ctrl-C takes it down; `atoll up --detach` leaves it running[/dim]")
    newest = caller.events(limit=1)
    after = newest[-1].number if newest else 0
    try:
        while True:
            with suppress(AtollError):
                for event in caller.follow(after=after):
                    after = event.number
                    err.print(event_line(event), soft_wrap=True)
            if not _still_wanted(path):
                return
            err.print("[yellow]the control plane has ended; the system goes on; starting it again[/yellow]")
            if process is not None:
                process.wait()
            caller, process = start(path, system(path))
    except KeyboardInterrupt:
        err.print("taking it down")
        # Not the caller of before: Ctrl-C may have come while another control plane was starting.
        _down(path, await_control_plane(path))


def _still_wanted(path: Path) -> bool:
    """Whether the control plane died rather than being taken down: a taken down system has no run directory."""
    return places(path).run.exists()


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
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
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
    if not (yes or json_ or index or not sys.stdin.isatty()):
        click.confirm("Apply this?", abort=True)
    receipt = caller.apply(request(path, index=index or seen.index))
    if receipt.change is not None:
        report(follow_change(path, caller, receipt.change, quiet=json_), json_=json_)


@click.command()
@file_option
@click.option("--force", is_flag=True, help="End everything without a control plane, also where the state is damaged.")
def down(file: Path | None, *, force: bool) -> None:
    """Drain and stop everything, the control plane last. The state stays: `atoll up` brings it back."""
    path = system_file(file)
    if force:
        _end_by_force(path)
        return
    caller = running(path)
    if caller is None:
        if not places(path).run.exists():
            out.print("nothing runs here")
            return
        # The control plane died and left its instances: it takes one to end them properly.
        caller, _ = start(path, system(path))
    _down(path, caller)


def _down(path: Path, caller: Client) -> None:
    pid = caller.identity().pid
    receipt = caller.down()
    if receipt.change is not None:
        follow_change(path, caller, receipt.change)
    caller.end()
    deadline = time.monotonic() + 30
    while places(path).run.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    if places(path).run.exists():
        raise Unavailable(f"the control plane (process {pid}) does not end", hint="atoll down --force")
    out.print("[green]down[/green]: nothing of it runs any more")


def _end_by_force(path: Path) -> None:
    where = places(path)
    caller = running(path)
    if caller is not None:
        with suppress(ProcessLookupError):
            os.kill(caller.identity().pid, signal.SIGKILL)
    command = [sys.executable, "-m", "atoll.server", "--state", str(where.state), "--sweep"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        complain(Unavailable(done.stderr.strip() or "could not end everything"))
        sys.exit(1)
    shutil.rmtree(where.run, ignore_errors=True)
    out.print(done.stdout.strip() or "nothing ran here")
