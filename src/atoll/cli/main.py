"""The command `atoll`: its verbs, and the one place that prints errors."""

from __future__ import annotations

import errno
import os
import sys
from importlib.metadata import version
from pathlib import Path

import click

from atoll.cli import compare, down, flags, look, make, releases, start, steer, up
from atoll.cli.screen import complain, fit
from atoll.errors import AtollError, Refused, Unavailable


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(version("atoll"), prog_name="atoll")
def atoll() -> None:
    """One file describes a system of microservices; one command makes it true."""


for command in (
    start.init,
    start.doctor,
    start.schema,
    start.explain,
    up.up,
    make.plan,
    make.apply,
    down.down,
    look.status,
    look.logs,
    look.events,
    look.graph,
    look.dashboard,
    releases.deploy,
    releases.releases,
    releases.rollback,
    compare.compare,
    steer.release,
    steer.promote,
    steer.hold,
    steer.resume,
    steer.abort,
    flags.flags,
):
    atoll.add_command(command)


def main() -> None:
    """Run the command line; every error that is ours is printed as a sentence with its mend."""
    if sys.stdout is None:  # closed by whoever started us
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - it stays open to the end
    fit()
    try:
        _here()
        atoll.main(standalone_mode=False)
        sys.stdout.flush()
    except AtollError as error:
        complain(error)
        sys.exit(_code(error))
    except click.ClickException as error:
        error.show()
        sys.exit(_code(Refused))
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(0)
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT} or error.filename is not None:
            raise
        complain(Unavailable("there is no room where the output goes", hint="make room on that disk"))
        os._exit(_code(Unavailable))  # an ordinary exit would try to write the rest once more


def _here() -> None:
    try:
        Path.cwd()
    except FileNotFoundError as error:
        raise Unavailable("the directory that you are in was deleted", hint="go to one that is there") from error


def _code(error: AtollError | type[AtollError]) -> int:
    """With `plan`, 1 is no error: see its help."""
    return 255 if "plan" in sys.argv[1:2] else error.exit_code
