"""The names from asyncio's side that generated functions use."""

from __future__ import annotations

from asyncio import get_running_loop as running_loop
from asyncio import sleep

from atoll.kit.aio.alarms import Alarms, Table, alarms_in, cancel_at, enclosing, no_task, rang, running_task, table_for
from atoll.kit.aio.racing import Racer, start_hedge
from atoll.kit.aio.waiting import enter

__all__ = [
    "Alarms",
    "Racer",
    "Table",
    "alarms_in",
    "cancel_at",
    "enclosing",
    "enter",
    "no_task",
    "rang",
    "running_loop",
    "running_task",
    "sleep",
    "start_hedge",
    "table_for",
]
