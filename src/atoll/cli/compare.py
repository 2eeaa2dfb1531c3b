"""What a parallel run has found."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import click
from rich.markup import escape
from rich.table import Table

from atoll import wire
from atoll.cli.places import client, file_option, json_option, system_file
from atoll.cli.screen import as_json, out

COLOURS = {"different": "red", "intended": "cyan", "masked": "dim", "alike so far": ""}
SHOWN = 20


@click.command()
@file_option
@json_option
@click.argument("service")
def compare(file: Path | None, service: str, *, json_: bool) -> None:
    """
    How the answers of a new release differ from the old one's.

    The run that goes on, or the last one of the last seven days.
    """
    view = client(system_file(file)).comparison(service)
    if json_:
        as_json(view)
        return
    for line in _head(view):
        out.print(line)
    if view.fields:
        out.print(_fields(view))
    for line in _rest(view):
        out.print(line)


def _head(view: wire.ComparisonView) -> Iterator[str]:
    state = "goes on" if view.running else "is over"
    yield (
        f"[bold]{view.service}[/bold] release {view.release} beside {view.stable}: the comparison {state};"
        f" {_moment(view.since)} to {_moment(view.until)}"
    )
    yield f"{view.verdict or 'nothing is known yet'}: {escape(view.words)}" if view.words else "nothing is known yet"
    yield f"{view.samples:,} calls were compared: " + escape(
        ", ".join(f"{name} {count:,}" for name, count in _largest(view.endpoints))
    )
    yield (
        f"answers took p50 {_ms(view.stable_times.p50)} and p95 {_ms(view.stable_times.p95)} of the old release,"
        f" {_ms(view.candidate_times.p50)} and {_ms(view.candidate_times.p95)} of the new one"
    )


def _fields(view: wire.ComparisonView) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("field", "endpoint", "is", "odds", "new alone", "old alone", "all differ", "of", "last"):
        right = title in {"odds", "new alone", "old alone", "all differ", "of"}
        table.add_column(title, justify="right" if right else "left")
    for one in view.fields[:SHOWN]:
        colour = COLOURS.get(one.kind, "")
        kind = f"[{colour}]{one.kind}[/{colour}]" if colour else one.kind
        counts = (f"{count:,}" for count in (one.candidate, one.others, one.all_three, one.samples))
        table.add_row(escape(one.path), escape(one.endpoint), kind, one.odds, *counts, _moment(one.last))
    return table


def _rest(view: wire.ComparisonView) -> Iterator[str]:
    if len(view.fields) > SHOWN:
        yield f"and {len(view.fields) - SHOWN} more fields: see --json"
    for one in view.fields[:SHOWN]:
        for example in one.examples[:1] if one.kind == "different" else ():
            yield escape(f"{one.path}: {example.primary} | {example.secondary} | new: {example.candidate}")
    for word, fields in (("masked", view.masked), ("ignored", view.ignored)):
        if fields:
            yield escape(f"{word} by the contract: {', '.join(fields)}")
    for rule in view.intended:
        word = "[yellow]was intended until[/yellow]" if rule.expired else "is intended until"
        where = f" in {rule.endpoint}" if rule.endpoint else ""
        yield f"{escape(rule.field + where)} {word} {rule.expires} ({escape(f'{rule.owner}: {rule.reason}')})"
    if view.blocked:
        yield f"{view.blocked:,} calls that the new release wanted to make were blocked: what they do is not tested"
    if view.left_out:
        reasons = "; ".join(f"{count:,} because {reason}" for reason, count in _largest(view.left_out))
        yield f"copies left out: {escape(reasons)}"


def _largest(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda pair: -pair[1])[:SHOWN]


def _moment(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.1f} ms"
