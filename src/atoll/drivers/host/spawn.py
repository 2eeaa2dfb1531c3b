"""Start a process that outlives us: its own session, nothing inherited but what is named, marked, in its group."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from atoll.errors import Failed, Unavailable

# A process joins its control group before it executes the program, so that nothing it ever does escapes the limits.
_JOIN = 'while [ "$1" != -- ]; do echo $$ >"$1" || exit 125; shift; done; shift; exec "$@"'
# Writing more fails; the signal that would end whoever does it is ignored. `ulimit` counts in blocks of 512 bytes.
_BOUND = "trap '' XFSZ; ulimit -f {blocks} || exit 125; "
_BLOCK = 512


def spawn(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    log: int,
    entrances: Sequence[str] = (),
    directory: str = "/",
    descriptors: Iterable[int] = (),
    largest_file: int | None = None,
) -> int:
    """
    Start *command* and return its process number; who reaps it is the caller's business.

    *entrances* are the files of its control group, *log* is where its output goes, *descriptors* stay open in it. No
    file that it writes gets longer than *largest_file* bytes, its log neither.
    Raises `errors.Failed` or `errors.Unavailable` where no process can be made.
    """
    bound = "" if largest_file is None else _BOUND.format(blocks=largest_file // _BLOCK)
    joined = list(command)
    if bound or entrances:
        joined = ["/bin/sh", "-c", bound + _JOIN, "sh", *entrances, "--", *command]
    try:
        process = subprocess.Popen(
            joined,
            cwd=directory,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=tuple(descriptors),
        )
    except FileNotFoundError as error:
        missing = directory if not Path(directory).is_dir() else joined[0]
        raise Unavailable(f"there is no `{missing}` on this host", hint="see `atoll doctor`") from error
    except OSError as error:
        raise Failed(f"no process could be made for `{joined[0]}`: {error.strerror}") from error
    process.returncode = 0  # reaped by `watch`, or by the init process after us: nothing here waits for it
    return process.pid


def in_memory(name: str, content: bytes) -> int:
    """A descriptor to read *content* from; it is never on a disk or in an argument list."""
    descriptor = os.memfd_create(name)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]
        os.lseek(descriptor, 0, os.SEEK_SET)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
