"""Where the command `atoll` begins: Ctrl-C while everything is still being imported ends it without a traceback."""

from __future__ import annotations

import signal


def main() -> None:
    """Import the command line and run it."""
    # Only where Python itself listens to Ctrl-C: what was started to ignore it goes on ignoring it.
    listens = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if listens:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from atoll.cli.main import main as run  # noqa: PLC0415 - this is what takes so long

    if listens:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    run()
