"""Change feature flags: set, release, kill, revive, rollback."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path

import click
from rich.markup import escape

from atoll import wire
from atoll.cli.places import client, file_option, json_option, system_file
from atoll.cli.screen import as_json, err, out
from atoll.errors import Refused
from atoll.values.quantities import duration

ATTRIBUTES = {"state": "state", "owner": "owner", "kind": "kind", "expires": "expires", "kill_variant": "killVariant"}

STDIN = Path("-")

reason_option = click.option("--reason", default="", help="Why; it is written down with your name.")


@click.command(name="set")
@file_option
@json_option
@reason_option
@click.option("--based-on", default=None, help="Of a whole document: refuse where this is not the current version.")
@click.option("--percent", type=float, default=None, help="So many people get VARIANT, the same ones as it grows.")
@click.option(
    "--state",
    type=click.Choice(("ENABLED", "DISABLED"), case_sensitive=False),
    default=None,
    help="DISABLED: the code's own default counts.",
)
@click.option("--owner", default=None, help="Whom to ask.")
@click.option("--kind", default=None, help="release, experiment, ops or permission.")
@click.option("--expires", default=None, help="The day by which it is gone, such as 2027-01-31.")
@click.option("--kill-variant", default=None, help="What everybody gets when it is killed.")
@click.argument("name")
@click.argument("variant", required=False)
def set_(
    file: Path | None,
    reason: str,
    based_on: str | None,
    percent: float | None,
    name: str,
    variant: str | None,
    *,
    json_: bool,
    **attributes: str | None,
) -> None:
    """
    Set the flag NAME, or all flags from the file NAME.

    A file may be -, standard input.

    VARIANT is what those get whom targeting leaves alone, or with --percent what so many of all people get.
    """
    caller = client(system_file(file))
    given = {ATTRIBUTES[key]: value for key, value in attributes.items() if value is not None}
    if variant is None and percent is None and not given and _names_a_file(name):
        _tell(caller.write_flags(wire.FlagWrite(document_text(Path(name)), _me(), reason, based_on)), json_=json_)
        return
    if based_on is not None:
        raise Refused("--based-on is for a whole document", hint="one flag is changed as it is now: leave it out")
    _tell(caller.change_flag(wire.FlagChange(name, "set", _me(), reason, variant, percent, given)), json_=json_)


def _names_a_file(name: str) -> bool:
    return name.endswith(".json") or Path(name).is_file() or Path(name) == STDIN


@click.command()
@file_option
@json_option
@reason_option
@click.option("--to", "variant", required=True, help="The variant that people are to get.")
@click.option("--rest", default=None, help="What the others get meanwhile, where there are more than two variants.")
@click.option("--steps", default="", help="Such as 5%,25%:10m,50%.  [default: 5%,25%,50%]")
@click.option("--for", "least", default="1m", show_default=True, help="Shortest time for a step.")
@click.option("--most", default="10m", show_default=True, help="Longest time for a step; then it holds.")
@click.option("--bake", default="5m", show_default=True, help="How long it may be taken back once everybody has it.")
@click.argument("name")
def release(
    file: Path | None,
    reason: str,
    variant: str,
    rest: str | None,
    steps: str,
    least: str,
    most: str,
    bake: str,
    name: str,
    *,
    json_: bool,
) -> None:
    """
    Give a variant of the flag NAME to more and more people.

    It goes step by step, as the judge allows. Steer it with atoll promote, hold, resume and abort, as flag:NAME.
    """
    caller = client(system_file(file))
    request = wire.FlagReleaseRequest(
        name,
        variant,
        _me(),
        reason,
        rest,
        tuple(_step(each.strip(), least) for each in steps.split(",") if each.strip()),
        _seconds("--most", most),
        _seconds("--bake", bake),
    )
    _tell(caller.release_flag(request), json_=json_)


def _step(text: str, least: str) -> wire.FlagStep:
    """A step as it is written: `25%` or `25%:10m`."""
    weight, _, written = text.partition(":")
    number = weight.removesuffix("%")
    if not number.isdecimal() or len(number) > len("100"):
        raise Refused(f"--steps: {weight!r} is not a whole percentage", hint="write such as 5%,25%:10m,50%")
    return wire.FlagStep(int(number), _seconds("--steps", written or least))


def _seconds(option: str, text: str) -> float:
    try:
        return duration(text)
    except ValueError as error:
        raise Refused(f"{option}: {error}", hint="write a time such as 30s, 10m or 1h") from error


@click.command()
@file_option
@json_option
@reason_option
@click.argument("name")
def kill(file: Path | None, reason: str, name: str, *, json_: bool) -> None:
    """Give everybody the safe variant of NAME at once. Neither targeting nor what else is going on matters."""
    caller = client(system_file(file))
    _tell(caller.change_flag(wire.FlagChange(name, "kill", _me(), reason)), json_=json_)
    if not json_:
        out.print(f"[dim]to take it back: atoll flags revive {escape(name)}[/dim]")


@click.command()
@file_option
@json_option
@reason_option
@click.argument("name")
def revive(file: Path | None, reason: str, name: str, *, json_: bool) -> None:
    """Make the killed flag NAME what it was before."""
    _tell(client(system_file(file)).change_flag(wire.FlagChange(name, "revive", _me(), reason)), json_=json_)


@click.command()
@file_option
@json_option
@reason_option
@click.argument("version", type=int, required=False)
def rollback(file: Path | None, reason: str, version: int | None, *, json_: bool) -> None:
    """Go back to VERSION of all flags, the one before by default."""
    _tell(client(system_file(file)).roll_back_flags(wire.FlagRollback(version, _me(), reason)), json_=json_)


def document_text(file: Path) -> str:
    """What is in a file of flags, `-` for standard input. Raises `errors.Refused` where that cannot be read."""
    try:
        return sys.stdin.buffer.read().decode() if file == STDIN else file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise Refused(f"{file} cannot be read: {why}", hint="name a file with the flags as JSON") from error


def _tell(receipt: wire.FlagReceipt, *, json_: bool) -> None:
    if json_:
        as_json(receipt)
        return
    for warning in receipt.warnings:
        err.print(f"[yellow]![/yellow] {escape(warning)}", soft_wrap=True)
    for words in receipt.words:
        out.print(escape(words), soft_wrap=True)


def _me() -> str:
    return getpass.getuser()
