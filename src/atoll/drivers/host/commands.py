"""Run the small tools of the base system (ip, unshare, nsenter) and say in words why one failed."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from atoll.errors import Failed, Unavailable

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PATIENCE = 10.0
"""Seconds after which a tool hangs: all of them take milliseconds."""


def run(command: Sequence[str], *, what: str, given: str = "") -> str:
    """
    Run *command* with the text *given* and return what it printed.

    Raises `errors.Unavailable` where the tool is missing and `errors.Failed` where it refuses; *what* is the beginning
    of the sentence: `the namespace of orders-r3-12 could not be made`.
    """
    try:
        done = subprocess.run(
            command,
            input=given,
            env={"PATH": PATH, "LANG": "C.UTF-8"},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PATIENCE,
            check=False,
        )
    except FileNotFoundError as error:
        raise Unavailable(f"{what}: there is no `{command[0]}` on this host", hint="see `atoll doctor`") from error
    except subprocess.TimeoutExpired as error:
        raise Failed(f"{what}: `{command[0]}` did not end within {PATIENCE:g} s") from error
    if done.returncode != 0:
        words = (done.stderr or done.stdout).strip() or f"`{command[0]}` failed with code {done.returncode}"
        raise Failed(f"{what}: {words}", hint="see `atoll doctor`")
    return done.stdout
