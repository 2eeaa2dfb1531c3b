"""
The control plane's process: `python -m atoll.server --state DIR [--processes]`.

With sandboxes it first finds or makes the anchor, the process that holds the system's namespaces, and then executes
`atoll.server.inside` inside the anchor's mount (and user) namespace. The lock is taken before and passes through.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from atoll.errors import AtollError, Unavailable
from atoll.server.ground import enter_fabric, sweep
from atoll.server.lock import hold
from atoll.server.settings import Settings, refuse_strangers, settings


def main() -> int:  # noqa: RET503 - it ends in exec
    """Run the control plane; the exit code says how it ended."""
    arguments = _arguments()
    try:
        places = settings(arguments.state)
        if arguments.sweep:
            sys.stdout.write(sweep(places))
            return 0
        lock = hold(places.lock)
        _directories(places)
        command, fabric = ([], None) if arguments.processes else enter_fabric(places)
    except AtollError as error:
        sys.stderr.write(f"{error.message}\n" + (f"{error.hint}\n" if error.hint else ""))
        return error.exit_code
    inside = [sys.executable, "-m", "atoll.server.inside", "--state", str(places.state), "--lock", str(lock)]
    if fabric is not None:
        inside += ["--fabric", fabric.netns, *(["--rootless"] if fabric.rootless else [])]
    command = [*command, *inside]
    # gRPC's own fork handlers crash the children of a process with threads; ours execute at once and need none.
    os.execvpe(command[0], command, os.environ | {"GRPC_ENABLE_FORK_SUPPORT": "false"})  # noqa: S606 - no shell


def _directories(places: Settings) -> None:
    try:
        for directory in (places.state, places.logs, places.artifacts, places.run):
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        _close(places.state)
    except OSError as error:
        raise Unavailable(
            f"{error.filename} cannot be made: {error.strerror}", hint="make it possible for you"
        ) from error
    refuse_strangers(places.run)


def _close(directory: Path) -> None:
    """It holds environments in clear: closed to everybody else, also where an earlier version left it open."""
    found = directory.stat()
    if found.st_uid == os.geteuid() and found.st_mode & 0o077:
        directory.chmod(0o700)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="atoll.server", description="the control plane (started by `atoll up`)")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--processes", action="store_true", help="no sandboxes: plain processes only")
    parser.add_argument("--sweep", action="store_true", help="end everything that was left, without a state")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
