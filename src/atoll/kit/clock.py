"""
Time and chance, in one place, so that `atoll.kit.testing` can replace them.

Everything in the kit calls these as `clock.now()` and so on, looked up at each call. They are process-wide.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

now: Callable[[], float] = time.monotonic  # seconds; the clock that asyncio's loops use
wall: Callable[[], float] = time.time  # seconds since 1970; only for deadlines that wait in a broker
pause: Callable[[float], None] = time.sleep
chance: Callable[[], float] = random.Random().random  # noqa: S311 - jitter is no secret
