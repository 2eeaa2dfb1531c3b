"""Run a short system command; its words when it fails."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from atoll.errors import Failed, Unavailable

LIMIT = 10.0


async def run(command: Sequence[str], *, text: str = "") -> None:
    """Run *command* with *text* as its input. Raises `errors.Failed` with what it said."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
    except FileNotFoundError as error:
        raise Unavailable(f"{command[0]} is not installed", hint="see `atoll doctor`") from error
    try:
        async with asyncio.timeout(LIMIT):
            output, _ = await process.communicate(text.encode())
    except TimeoutError:
        process.kill()
        await process.wait()
        raise Failed(f"{' '.join(command[:3])} did not end within {LIMIT:g} s") from None
    if process.returncode:
        raise Failed(
            f"{' '.join(command)} failed with code {process.returncode}: {output.decode(errors='replace').strip()}"
        )
