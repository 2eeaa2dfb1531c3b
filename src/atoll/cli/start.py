"""Start here: init, doctor, schema, explain."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click
from rich.markup import escape
from rich.table import Table

from atoll.cli.places import FILE, file_option, json_option, places, system, system_file
from atoll.cli.screen import as_json, out, show_table
from atoll.errors import Refused
from atoll.importers.detect import propose
from atoll.model.explain import explain as explain_system
from atoll.model.schema import schema as file_schema
from atoll.server.doors import why_closed
from atoll.server.examination import Finding, examine
from atoll.server.lock import holder


@click.command()
@click.argument("directory", type=click.Path(path_type=Path, exists=True, file_okay=False), default=Path())
@click.option("--print", "print_", is_flag=True, help="Print it, write nothing.")
def init(directory: Path, *, print_: bool) -> None:
    """Write a first atoll.yaml. It is made from the Procfile, the compose.yaml, or the sources in DIRECTORY."""
    target = directory / FILE
    if not print_ and _says_something(target):
        raise Refused(f"there is {target} already", hint="look at it, or see what would be written with --print")
    proposal = propose(directory.resolve())
    if print_:
        sys.stdout.write(proposal.text)
    else:
        _write(target, proposal.text)
        out.print(f"[green]wrote[/green] {target}")
    for note in proposal.notes:
        click.echo(f"! {note}", err=True)
    if not print_:
        out.print("next: `atoll plan` shows what it would do, `atoll up` does it")


def _says_something(target: Path) -> bool:
    """Whether there is a file that must not be lost: what reads an empty one sends people here."""
    try:
        return bool(target.read_bytes().strip())
    except FileNotFoundError:
        return False
    except OSError:
        return True


def _write(target: Path, text: str) -> None:
    try:
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Refused(
            f"{target} cannot be written: {error.strerror}",
            hint="make its directory writable for you, or see what would be written with --print",
        ) from error


@click.command()
@json_option
def doctor(*, json_: bool) -> None:
    """
    Say whether this machine can keep every promise.

    One fact a line; each that fails with the command that mends it.
    """
    findings = (*examine(), *_gateway())
    if json_:
        as_json(findings)
    for finding in () if json_ else findings:
        mark = "[green]✓[/green]" if finding.ok else "[red]✗[/red]"
        out.print(f"{mark} {finding.name}: {escape(finding.fact)}", soft_wrap=True)
        if not finding.ok and finding.mend:
            out.print(f"    → {escape(finding.mend)}", soft_wrap=True)
    sys.exit(0 if all(f.ok for f in findings) else 1)


def _gateway() -> tuple[Finding, ...]:
    """Whether the port of the file that is here is free; nothing to say without a file, or where its system runs."""
    try:
        path = system_file(None)
        gateway = system(path).gateway
    except Refused:
        return ()
    if holder(places(path).lock) is not None:
        return ()
    name, where = "gateway.listen", f"{gateway.host}:{gateway.listen}"
    if why := why_closed(gateway):
        mend = f"choose another port in {path.name}, or end what holds it"
        return (Finding(name, ok=False, fact=f"{where} cannot be listened on: {why}", mend=mend),)
    return (Finding(name, ok=True, fact=f"{where} is free"),)


@click.command()
def schema() -> None:
    """Print the JSON Schema of the file, for editors."""
    sys.stdout.write(json.dumps(file_schema(), indent=2) + "\n")


@click.command()
@file_option
@json_option
@click.argument("subject", metavar="SERVICE[.FIELD]")
def explain(file: Path | None, subject: str, *, json_: bool) -> None:
    """Show values, where they came from, and what they mean. It is a line of the file, or a default and its reason."""
    path = system_file(file)
    found = explain_system(system(path), subject, file=path.name)
    if json_:
        as_json(found)
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("field", "value", "from", "meaning"):
        table.add_column(title, overflow="fold")
    for one in found:
        table.add_row(one.path.removeprefix("services."), escape(one.value), escape(one.origin), escape(one.meaning))
    show_table(table)
