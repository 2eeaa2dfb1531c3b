"""Up: start the control plane, apply the file, and stay with it, or leave it running."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import click

from atoll.cli.control import await_start, launch, plain_processes, start, start_for_the_end
from atoll.cli.down import await_down
from atoll.cli.follow import follow_change, newest_event, wait_until_ready
from atoll.cli.places import file_option, places, request, running, system, system_file
from atoll.cli.screen import complain, err, event_line, out, show_plan
from atoll.client import Client
from atoll.errors import AtollError
from atoll.server.lock import holder

LOOK = 0.05
AGAIN = 2.0
"""Seconds until another attempt to start a control plane that could not start."""
TELLING = 10.0
"""Seconds in which a second Ctrl-C is taken for the first: until the system was told to go down, mostly far less."""


@click.command()
@file_option
@click.option("-d", "--detach", is_flag=True, help="Return when the system is ready, and leave it running.")
def up(file: Path | None, *, detach: bool) -> None:
    """Start the control plane, apply the file, follow events. Ctrl-C takes everything down again."""
    path = system_file(file)
    processes = plain_processes(system(path))
    joined = running(path)
    if joined is not None:
        pid = joined.identity().pid
        err.print(f"[dim]a control plane runs already (process {pid}); applying the file to it[/dim]", soft_wrap=True)
    if detach:
        _leave(path, joined, processes=processes)
    else:
        _Foreground(path, joined, processes=processes).run()


def _leave(path: Path, joined: Client | None, *, processes: bool) -> None:
    """Bring it up and return; what was begun goes on whatever happens to this command."""
    with _goes_on():
        caller = joined or start(path, processes=processes)[0]
        try:
            _bring_up(path, caller)
        except AtollError:
            if joined is None and holder(places(path).lock) is not None:
                err.print("[yellow]the control plane runs on; `atoll down` ends it[/yellow]", soft_wrap=True)
            raise


@contextmanager
def _goes_on() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        err.print(
            "what was begun goes on: `atoll status` shows how far it is, `atoll down` takes it down", soft_wrap=True
        )
        raise


def _bring_up(path: Path, caller: Client) -> None:
    """Apply the file, wait until everything is as wanted, and say where it is."""
    receipt = caller.apply(request(path))
    if receipt.plan is not None:
        show_plan(receipt.plan)
    if receipt.change is not None:
        follow_change(path, caller, receipt.change)
    wait_until_ready(caller)  # also what the change is not about, as after a reboot
    view = caller.status()
    out.print(f"[green]{view.system} is up[/green]")
    out.print(f"  gateway    {view.gateway}")
    out.print(f"  dashboard  {caller.identity().dashboard}", soft_wrap=True)
    for note in view.notes:
        out.print(f"  [yellow]![/yellow] {note}", soft_wrap=True)


class _Foreground:
    """
    A system that stays as long as this command does, from its first moment on.

    Ctrl-C and SIGTERM take it down, also before it is up, and also where its control plane ran already. A control
    plane that dies is started again, whatever the file says by then.
    """

    def __init__(self, path: Path, joined: Client | None, *, processes: bool) -> None:
        self._path = path
        self._joined = joined
        self._plain = processes if joined is None else not joined.identity().sandbox
        self._process: subprocess.Popen[bytes] | None = None
        self._seen: int | None = None
        """The newest event that was shown."""
        self._interrupted: float | None = None
        self._told = False
        """Whether the system was told to go down."""

    def run(self) -> None:
        """Return when the system was taken down, by whom ever."""
        signal.signal(signal.SIGTERM, self._interrupt)
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else this was started to ignore Ctrl-C
            signal.signal(signal.SIGINT, self._interrupt)
        try:
            caller: Client | None = self._begin()
            while caller is not None:
                self._follow(caller)
                caller = self._next()
        except KeyboardInterrupt:
            self._end()

    def _begin(self) -> Client:
        if self._joined is not None:
            caller = self._joined
        else:
            err.print("[dim]starting the control plane; Ctrl-C takes everything down[/dim]", soft_wrap=True)
            self._process = launch(self._path, processes=self._plain)
            caller = await_start(self._path, self._process)
        try:
            _bring_up(self._path, caller)
        except AtollError as error:
            if self._joined is not None:
                raise
            complain(error)
            err.print("[yellow]the system stays as it is; mend the file and run `atoll apply`[/yellow]", soft_wrap=True)
        out.print("[dim]Ctrl-C takes it down; `atoll up --detach` leaves it running[/dim]")
        return caller

    def _follow(self, caller: Client) -> None:
        """Show events until the control plane ends."""
        with suppress(AtollError):
            if self._seen is None:
                self._seen = newest_event(caller)
            for event in caller.follow(after=self._seen):
                self._seen = event.number
                err.print(event_line(event), soft_wrap=True)

    def _next(self) -> Client | None:
        """A client of the control plane that comes after one that died; None where the system was taken down."""
        said = ""
        while True:
            try:
                found = running(self._path)
                if found is None and self._gone():
                    if not places(self._path).run.exists():  # only a system that was taken down has none
                        return None
                    found = self._again()
                if found is not None:
                    return found
                time.sleep(LOOK)
            except AtollError as error:
                if error.message != said:
                    complain(error)
                    said = error.message
                time.sleep(AGAIN)

    def _gone(self) -> bool:
        """Whether nobody is on the way out any more: one that was told to end takes the rest away last."""
        return (self._process is None or self._process.poll() is not None) and holder(places(self._path).lock) is None

    def _again(self) -> Client:
        err.print("[yellow]the control plane has ended; the system goes on; starting it again[/yellow]", soft_wrap=True)
        self._process = launch(self._path, processes=self._plain)
        return await_start(self._path, self._process)

    def _interrupt(self, *_: object) -> None:
        """The first one takes the system down; a further one ends the wait for that, and not what leads to it."""
        now = time.monotonic()
        first, self._interrupted = self._interrupted is None, self._interrupted or now
        if first or self._told or now > self._interrupted + TELLING:
            raise KeyboardInterrupt

    def _end(self) -> None:
        err.print("taking it down", soft_wrap=True)
        try:
            caller = self._last()
            receipt = caller.down()
            self._told = True
            await_down(self._path, caller, receipt)
            for number in (signal.SIGINT, signal.SIGTERM):  # nothing is left to be ended, and this ends by itself
                signal.signal(number, signal.SIG_IGN)
        except KeyboardInterrupt:
            words = "it was told to go down, and this command does not wait for it: `atoll down` does"
            err.print(
                words if self._told else "it could not be told to go down yet; `atoll down` tells it", soft_wrap=True
            )
            raise

    def _last(self) -> Client:
        """Not the client of before: whoever ends this may do so while a control plane is starting, or has died."""
        if self._process is not None and self._process.poll() is None:
            return await_start(self._path, self._process)
        return start_for_the_end(self._path)
