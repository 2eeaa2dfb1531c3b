"""The control plane itself, inside the anchor's namespaces: executed by `atoll.server`, never by a person."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

import uvloop

from atoll.errors import AtollError
from atoll.server.build import control_plane
from atoll.server.ground import Fabric, leave_fabric
from atoll.server.lock import hold_directory, keep
from atoll.server.settings import settings


def main() -> int:
    """Run until told to end; the exit code says how it ended."""
    arguments = _arguments()
    if arguments.lock is not None:
        keep(arguments.lock)
    fabric = Fabric(arguments.fabric, rootless=arguments.rootless) if arguments.fabric else None
    try:
        places = settings(arguments.state)
        hold_directory(places.run)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            over = runner.run(control_plane(places, fabric, arguments.lock))
    except AtollError as error:
        sys.stderr.write(f"{error.message}\n" + (f"{error.hint}\n" if error.hint else ""))
        return error.exit_code
    if over:
        leave_fabric(places, fabric)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="atoll.server.inside")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--lock", type=int, help="the descriptor of the lock that is held")
    parser.add_argument("--fabric")
    parser.add_argument("--rootless", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
