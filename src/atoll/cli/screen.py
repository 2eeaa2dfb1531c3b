"""How things look in a terminal: one console, the tables, and errors."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from atoll import wire
from atoll.errors import AtollError
from atoll.plan.preview import Difference, FieldChange, Kind

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

NO_WIDTH = 10_000

_MARKS = {
    Kind.ADD: ("+", "green"),
    Kind.REMOVE: ("-", "red"),
    Kind.RELEASE: ("↻", "yellow"),
    Kind.SCALE: ("↕", "cyan"),
    Kind.CHANGE: ("~", "cyan"),
}
_COLOURS = {"info": "", "warning": "yellow", "error": "red"}


def fit() -> None:
    """Where the output is no terminal, let lines be as long as they are: a table in a pipe must not be cut."""
    if not out.is_terminal:
        out.width = NO_WIDTH


def complain(error: AtollError) -> None:
    """Print an error: what happened and why, then what to do."""
    err.print(f"[red]atoll:[/red] {escape(error.message)}", soft_wrap=True)
    if error.hint:
        err.print(f"  [bold]→[/bold] {escape(error.hint)}", soft_wrap=True)


def say_unanswered(pid: int | None) -> None:
    """Say that a question to the control plane waits for its answer: silence would look like work."""
    process = f" (process {pid})" if pid is not None else ""
    err.print(f"[yellow]the control plane{process} does not answer; waiting for it[/yellow]", soft_wrap=True)


def as_json(value: object) -> None:
    """Print a view as JSON, at once: whoever reads what follows would wait for a full buffer else."""
    sys.stdout.write(wire.encode(value).decode() + "\n")
    sys.stdout.flush()


def show_plan(plan: wire.PlanView) -> None:
    """Print what applying would do."""
    for warning in (*plan.warnings, *plan.held):
        out.print(f"[yellow]![/yellow] {escape(warning)}", soft_wrap=True)
    if not plan.differences:
        what = "what runs" if plan.index else "what was applied last"
        out.print("Nothing else to do." if plan.held else f"Nothing to do: {what} is what the file says.")
        return
    for difference in plan.differences:
        _show_difference(difference)
    if plan.index:
        out.print(f"[dim]plan {plan.index}[/dim]")


def _show_difference(difference: Difference) -> None:
    mark, colour = _MARKS[difference.kind]
    out.print(
        f"[{colour}]{mark}[/{colour}] [bold]{difference.subject}[/bold]: {escape(difference.effect)}"
        f" [dim]({escape(difference.why)})[/dim]",
        soft_wrap=True,
    )
    for change in difference.changes:
        out.print(f"    {change.path}: {escape(_field_change(change))}", soft_wrap=True)


def _field_change(change: FieldChange) -> str:
    if change.before == change.after:  # both are there, and neither is to be seen
        return "changed (no value of it is shown)"
    return f"{change.before or 'not set'} → {change.after or 'not set'}"


def event_line(event: wire.Event) -> str:
    """One event as a line of markup."""
    colour = _COLOURS.get(event.level, "")
    moment = time.strftime("%H:%M:%S", time.localtime(event.at))
    # What an instance does is a sentence about it; what is told of a service or of the platform is one of its own.
    gap = ": " if event.subject == event.service or not event.service else " "
    text = f"{event.subject}{gap}{escape(event.text)}"
    return f"[dim]{moment}[/dim] " + (f"[{colour}]{text}[/{colour}]" if colour else text)


def listing(*titles: str) -> Table:
    """A table whose last column holds sentences: it takes what room is left, and breaks."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in titles[:-1]:
        table.add_column(title, no_wrap=True)
    table.add_column(titles[-1])
    return table


def show_table(table: Table) -> None:
    """Print a table; in a pipe without the blanks that would make all lines as long as the longest sentence."""
    if out.is_terminal:
        out.print(table)
        return
    with out.capture() as printed:
        out.print(table)
    for line in printed.get().splitlines():
        out.print(Text(line.rstrip()), soft_wrap=True)


def on_a_line(text: str, *, whole: bool = False) -> Text:
    """A text for the last column of a listing: on one line, cut where a terminal ends unless it is to be *whole*."""
    return Text(" ".join(text.split()), no_wrap=not whole, overflow="fold" if whole else "ellipsis")


def status_table(view: wire.StatusView) -> Table:
    """The status screen."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("service", "ready", "release", "restarts", "cpu", "memory", "req/s", "p99 ms", "errors"):
        right = title in {"ready", "restarts", "cpu", "memory", "req/s", "p99 ms", "errors"}
        table.add_column(title, justify="right" if right else "left", no_wrap=True)
    for service in view.services:
        table.add_row(*_row(service))
    return table


def reasons(view: wire.StatusView) -> Iterator[str]:
    """Why services are not as wanted, a line of markup each: sentences do not fit into a column."""
    for service in view.services:
        if service.why:
            yield f"[yellow]{service.name}[/yellow]: {escape(service.why)}"


def _row(service: wire.ServiceView) -> Iterable[str]:
    good = service.ready == service.wanted and service.target is None
    colour = "green" if good else "yellow" if service.ready else "red"
    release = "-" if service.release is None else str(service.release)
    if service.target is not None:
        release += f"→{service.target}"
    return (
        f"[bold]{service.name}[/bold]",
        f"[{colour}]{service.ready}/{service.wanted}[/{colour}]",
        release,
        str(service.restarts),
        _figure(service.cpu, lambda v: f"{v:.0%}"),
        _figure(service.memory, lambda v: f"{v / 2**20:.0f}Mi"),
        _figure(service.rps, lambda v: f"{v:.1f}"),
        _figure(service.p99, lambda v: f"{v:.0f}"),
        _figure(service.errors, lambda v: f"{v:.1%}"),
    )


def _figure(value: float | None, form: Callable[[float], str]) -> str:
    return "-" if value is None else form(value)
