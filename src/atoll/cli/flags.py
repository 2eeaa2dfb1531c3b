"""Feature flags: the group of commands, and looking at them."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.markup import escape
from rich.table import Table

from atoll import wire
from atoll.cli import flag_changes
from atoll.cli.flag_changes import document_text
from atoll.cli.places import client, file_option, json_option, system_file
from atoll.cli.screen import as_json, err, listing, on_a_line, out, show_table
from atoll.errors import Refused
from atoll.kit.flags import Finding, InvalidFlags, lint, parse


@click.group()
def flags() -> None:
    """Feature flags: what services ask for, and who gets what."""


@flags.command(name="list")
@file_option
@json_option
def list_(file: Path | None, *, json_: bool) -> None:
    """
    Each flag: who gets what, and who may ask for it.

    Also whom to ask about it, and whether it has had its time.
    """
    view = client(system_file(file)).flags()
    if json_:
        as_json(view)
        return
    if not view.flags:
        out.print("There are no flags yet: write them with `atoll flags set FILE`.")
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("flag", "gets", "owner", "kind", "expires", "asked for by"):
        table.add_column(title)
    for one in view.flags:
        services = ", ".join(one.services) or "[yellow]nobody[/yellow]"
        name, owner = f"[bold]{escape(one.name)}[/bold]", escape(one.owner)
        table.add_row(name, _gets(one), owner, one.kind, one.expires, services)
    out.print(table)
    for one in view.flags:
        for words in one.due:
            out.print(f"[yellow]{escape(one.name)}[/yellow]: {escape(words)}", soft_wrap=True)


def _gets(one: wire.FlagView) -> str:
    if one.state == "DISABLED":
        return "[dim]disabled[/dim]"
    if one.shares is None:
        words = f"targeting, else {one.default or 'what the code says'}"
    else:
        words = ", ".join(f"{share:.4g}% {variant}" for variant, share in one.shares.items() if share)
    words = escape(words)
    if one.killed:
        return f"[red]killed[/red]: {words}"
    if one.progress is not None:
        words += f" [cyan](release of {escape(one.releasing)}: {one.progress.state} at {one.progress.weight}%)[/cyan]"
    return words


@flags.command()
@file_option
@click.option("--version", type=int, default=None, help="An earlier one; see `atoll flags history`.")
def show(file: Path | None, version: int | None) -> None:
    """Print the document, as JSON in flagd's format."""
    found = client(system_file(file)).flag_document(version)
    err.print(f"[dim]version {found.version.number}, for set --based-on: {found.version.etag}[/dim]")
    click.echo(json.dumps(json.loads(found.text), indent=2, ensure_ascii=False))


@flags.command()
@file_option
@json_option
@click.option("-n", "--limit", default=20, show_default=True, help="How many.")
def history(file: Path | None, limit: int, *, json_: bool) -> None:
    """Who changed what, when and why, newest first."""
    found = client(system_file(file)).flag_history(limit=limit)
    if json_:
        as_json(found)
        return
    table = listing("version", "at", "who", "what", "why")
    for one in found:
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(one.at))
        table.add_row(str(one.number), moment, escape(one.actor), escape(one.deed), on_a_line(one.reason, whole=True))
    show_table(table)


@flags.command(name="lint")
@json_option
@click.argument("file", type=click.Path(path_type=Path))
def lint_(file: Path, *, json_: bool) -> None:
    """Check the document in FILE (- for standard input). Needs no control plane. Fails where it would be refused."""
    findings = _findings(document_text(file))
    errors = [str(each) for each in findings if each.level == "error"]
    if json_:
        as_json(findings)
        raise SystemExit(Refused.exit_code if errors else 0)
    for each in findings:
        if each.level == "warning":
            out.print(f"[yellow]![/yellow] {escape(str(each))}", soft_wrap=True)
    if errors:
        raise Refused("\n".join(errors), hint=f"correct all of it in {file}")
    out.print("[green]no errors[/green]")


def _findings(text: str) -> list[Finding]:
    try:
        return lint(parse(text), today=datetime.now(UTC).date())
    except InvalidFlags as error:
        return list(error.findings)


for command in (
    flag_changes.set_,
    flag_changes.release,
    flag_changes.kill,
    flag_changes.revive,
    flag_changes.rollback,
):
    flags.add_command(command)
