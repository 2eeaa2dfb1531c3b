"""The names from asyncio's side that generated functions use."""

from __future__ import annotations

from asyncio import sleep
from contextvars import copy_context
from threading import get_ident as thread

from atoll.kit.aio.alarms import Table, cancel_at, enclosing, find_alarms, rang, running_task, table_for
from atoll.kit.aio.racing import Racer, start_hedge
from atoll.kit.aio.waiting import enter

__all__ = [
    "Racer",
    "Table",
    "cancel_at",
    "copy_context",
    "enclosing",
    "enter",
    "find_alarms",
    "rang",
    "running_task",
    "sleep",
    "start_hedge",
    "table_for",
    "thread",
]
