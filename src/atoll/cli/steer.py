"""Steer a release that moves traffic in steps: release, promote, hold, resume, abort."""

from __future__ import annotations

import getpass
import time
from pathlib import Path

import click

from atoll import wire
from atoll.cli.places import client, file_option, json_option, system_file
from atoll.cli.screen import as_json, out
from atoll.client import Client
from atoll.plan.flag_release import flag_of
from atoll.plan.releasing import State

PATIENCE = 10.0
AFTER = {
    "release": "its first share of traffic follows once there is capacity for it",
    "promote": "all traffic follows once there is capacity for it; the old release stays warm while it bakes",
    "hold": "it keeps its share and is still judged; `atoll resume` or `atoll promote` goes on",
    "resume": "the judge goes on where it was",
    "abort": "it is sent nothing more; the old release never stopped serving",
}

AFTER_FLAG = {
    "release": "its first share of people follows",
    "promote": "everybody gets it; it can be taken back while it bakes",
    "hold": "who has it keeps it, and it is still judged; `atoll resume` or `atoll promote` goes on",
    "resume": "the judge goes on where it was",
    "abort": "everybody gets what they got before",
}
SERVING = "serving"
ROLLING = "rolling"
COMING = frozenset({"queued", "building", ROLLING})
"""What goes instance by instance, or has not taken effect yet."""
ALONE = "there was none before it, so nothing of it runs now; mend it, then `atoll apply`"
UNRELEASED = "nobody is sent to it; `atoll release` begins"
COMPARING = (
    "its answers to copies of requests are compared first, see `atoll compare`; users follow once they are alike"
)


def _command(signal: str, text: str) -> click.Command:
    @click.command(name=signal, help=text)
    @file_option
    @json_option
    @click.option("--reason", default="", help="Why; it is written down with your name.")
    @click.argument("service")
    def command(file: Path | None, service: str, reason: str, *, json_: bool) -> None:
        caller = client(system_file(file))
        asked = wire.SteerRequest(service, signal, getpass.getuser(), reason or f"asked for with atoll {signal}")
        before = caller.steer(asked)
        if before.state in COMING:
            _show_taken_back(caller, before, json_=json_)
            return
        after = _moved(caller, before)
        if json_:
            as_json(after)
            return
        state = f"{after.state} at {after.weight}%" if after is not None else "over"
        words = follows(service, signal, after.state if after is not None else _end(caller, before))
        out.print(f"{service} release {before.release}: {before.state} -> {state}; {words}")

    return command


def _show_taken_back(caller: Client, before: wire.ProgressView, *, json_: bool) -> None:
    """Say what an abort does to a release that has no share of traffic of its own."""
    if json_:
        as_json(before)
        return
    if not before.release:
        out.print(f"{before.service}: {before.reason} is cancelled; what ran before goes on")
        return
    deadline = time.monotonic() + PATIENCE
    while (state := _end(caller, before)) == ROLLING and time.monotonic() < deadline:
        time.sleep(0.02)
    words = ALONE if before.stable is None and state != SERVING else follows(before.service, "abort", state)
    words = "it is asked for; see `atoll status`" if state == ROLLING else words
    out.print(f"{before.service} release {before.release}: {before.state} -> {state}; {words}")


def _end(caller: Client, before: wire.ProgressView) -> str:
    """How a release of a service ended that is on its way no more; empty for a flag's."""
    if flag_of(before.service) is not None:
        return ""
    return next((r.state for r in caller.releases(before.service) if r.number == before.release), "")


def follows(service: str, signal: str, state: str) -> str:
    """What *signal* means for whom, where it has led to *state*."""
    if state == State.SHADOW:
        return COMPARING
    if (signal, state) == ("hold", State.DARK):
        return UNRELEASED
    if (signal, state) == ("abort", SERVING):
        return f"it was too late, everybody is sent to it; `atoll rollback {service}` goes back"
    return (AFTER if flag_of(service) is None else AFTER_FLAG)[signal]


def _moved(caller: Client, before: wire.ProgressView) -> wire.ProgressView | None:
    """Wait until the release is somewhere else; None when it is over."""
    deadline = time.monotonic() + PATIENCE
    while True:
        found = next((p for p in caller.progress() if (p.service, p.release) == (before.service, before.release)), None)
        if found is None or found.state != before.state or time.monotonic() > deadline:
            return found
        time.sleep(0.02)


_FLAG = "SERVICE may be flag:NAME, too."
release = _command("release", "Send users to the dark release of SERVICE, step by step.")
promote = _command("promote", f"Send everybody to the new release of SERVICE. The steps left are skipped. {_FLAG}")
hold = _command("hold", f"Keep the new release of SERVICE at its share. {_FLAG}")
resume = _command("resume", f"Let a release of SERVICE that is on hold go on. {_FLAG}")
abort = _command("abort", f"Take the new release of SERVICE away, or its build. Nobody is sent to it any more. {_FLAG}")
