"""Down: end everything, in order or by force."""

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
from atoll.cli.control import is_gone, start_for_the_end
from atoll.cli.follow import follow_change
from atoll.cli.places import ended_file, file_option, places, running
from atoll.cli.screen import complain, err, out
from atoll.client import Client, NoAnswer
from atoll.errors import Conflict, Unavailable
from atoll.server.lock import holder, moved
from atoll.server.settings import settings

PATIENCE = 30.0
ENDING = 1.0
"""Seconds that a control plane mostly needs for its end; who waits longer looks what it does."""
LOOK = 0.02
PAUSE = 0.5  # seconds between looks that take asking for the whole status


@click.command()
@file_option
@click.option("--force", is_flag=True, help="End everything without a control plane, also where the state is damaged.")
def down(file: Path | None, *, force: bool) -> None:
    """Drain and stop everything, the control plane last. What was built stays: `atoll up` applies the file again."""
    path = ended_file(file)
    if force:
        _end_by_force(path)
        return
    caller = running(path)
    if caller is None and not places(path).run.exists():
        out.print("nothing runs here")
        return
    # Where the control plane died and left its instances, it takes one to end them properly.
    caller = caller or start_for_the_end(path)
    receipt = caller.down()
    try:
        await_down(path, caller, receipt)
    except KeyboardInterrupt:
        err.print("everything is still being ended, the control plane last; `atoll down` waits for it", soft_wrap=True)
        raise


def await_down(path: Path, caller: Client, receipt: wire.Receipt) -> None:
    """
    Wait until nothing is left of what was told to go down.

    Raises `errors.Failed` with the reason where something does not end, `errors.Conflict` where somebody has applied
    something meanwhile, `errors.Unavailable` where the control plane does not end, or died before everything else.
    """
    if receipt.change is not None:
        follow_change(path, caller, receipt.change)
    begun = time.monotonic()
    while not is_gone(path):
        pid, waited = holder(places(path).lock), time.monotonic() - begun
        if pid is None and not is_gone(path):
            words = "the control plane died before everything else had ended"
            raise Unavailable(words, hint="`atoll down` once more ends the rest")
        if waited > PATIENCE:
            raise Unavailable(f"the control plane (process {pid}) does not end", hint="atoll down --force")
        if waited > ENDING:
            _insist_that_nothing_is_wanted(caller)
        time.sleep(LOOK if waited < ENDING else PAUSE)
    out.print("[green]down[/green]: nothing of it runs any more")


def _insist_that_nothing_is_wanted(caller: Client) -> None:
    with suppress(NoAnswer):
        view = caller.status()
        if any(service.wanted for service in view.services):
            raise Conflict(
                f"{view.system} was taken down and applied again by somebody meanwhile: it stays up",
                hint="`atoll status` shows what runs, `atoll down` takes that down too",
            )


def _end_by_force(path: Path) -> None:
    where = places(path)
    if (found := moved(where.lock)) is not None:
        where = settings(found[1])
    pid = found[0] if found is not None else holder(where.lock)  # not from the control plane itself: it may hang
    if pid is not None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    command = [sys.executable, "-m", "atoll.server", "--state", str(where.state), "--sweep"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        complain(Unavailable(done.stderr.strip() or "could not end everything"))
        sys.exit(1)
    shutil.rmtree(where.run, ignore_errors=True)
    out.print(done.stdout.strip() or "nothing ran here")
