"""
Errors that nobody foresaw: what lives as long as the process outlives them, and says so.

They go where asyncio sends what nobody caught, to the exception handler of the loop. The control plane's writes the
traceback to its log and tells the journal.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from atoll.values.doubling import doubling
from atoll.values.printable import printable

FIRST, LONGEST = 1.0, 30.0
"""Seconds until the first further attempt, and until any."""
LONGEST_WORDS = 500


def report(what: str, error: Exception) -> None:
    """Hand the error that ended *what* to the exception handler of the running loop."""
    asyncio.get_running_loop().call_exception_handler({"message": what, "exception": error})


def described(error: BaseException) -> str:
    """What it is, in a line that may be shown."""
    first = leaf(error)
    return printable(f"{type(first).__name__}: {first}".removesuffix(": "))[:LONGEST_WORDS]


def leaf(error: BaseException) -> BaseException:
    """The error itself, or the first of a group."""
    return leaf(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


def back_off(failures: int) -> float:
    """Seconds to wait after so many failures in a row."""
    return doubling(failures, FIRST, LONGEST)


async def persist(what: str, body: Callable[[], Awaitable[None]]) -> None:
    """Run *body* until it returns or is cancelled: after an unforeseen error begin again, later each time in a row."""
    loop, failures = asyncio.get_running_loop(), 0
    while True:
        begun = loop.time()
        try:
            await body()
        except Exception as error:  # noqa: BLE001 - whatever it is: nobody else would begin again
            report(what, error)
        else:
            return
        failures = 1 if loop.time() - begun > LONGEST else failures + 1
        await asyncio.sleep(back_off(failures))
