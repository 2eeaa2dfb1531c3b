"""The reference of the command line as a page of documentation, from the commands themselves."""

from __future__ import annotations

from collections.abc import Iterator

import click


def reference(group: click.Group) -> str:
    """The page, in Markdown."""
    return "\n".join(_page(group)) + "\n"


def _page(group: click.Group) -> Iterator[str]:
    yield "# Commands"
    yield ""
    yield "Generated from the commands themselves; do not edit. Every command returns when the thing is done or says"
    yield "what it waits for; its exit code tells; an error says what happened, why, and what mends it."
    yield ""
    yield "| exit code | means |"
    yield "|---|---|"
    yield "| 0 | done, or nothing to do |"
    yield "| 1 | it was tried and did not work; what ran before still runs (`plan`: there are changes) |"
    yield "| 2 | the request or the file is wrong; nothing was changed |"
    yield "| 3 | somebody else holds or has changed it |"
    yield "| 4 | a part that is needed does not answer or is missing |"
    yield "| 130 | you said no, or Ctrl-C; what had begun by then goes on |"
    yield "| 255 | `plan` could not make one |"
    above = click.Context(group, info_name="atoll", help_option_names=["-h", "--help"])
    yield from _commands(group, above)


def _commands(group: click.Group, above: click.Context) -> Iterator[str]:
    for name, command in group.commands.items():
        context = click.Context(command, info_name=name, parent=above, terminal_width=100)
        yield ""
        yield f"## {context.command_path}"
        yield ""
        yield "```text"
        yield command.get_help(context).rstrip()
        yield "```"
        if isinstance(command, click.Group):
            yield from _commands(command, context)
