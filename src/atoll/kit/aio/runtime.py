"""The names from asyncio's side that generated functions use."""

from __future__ import annotations

from asyncio import get_running_loop, sleep
from contextvars import copy_context
from threading import get_ident as thread

from atoll.kit.aio.alarms import (
    Table,
    cancel_at,
    enclosing,
    find_alarms,
    is_cancellation,
    rang,
    running_task,
    table_for,
)
from atoll.kit.aio.lanes import Job, Lane
from atoll.kit.aio.racing import Racer, start_hedge
from atoll.kit.aio.waiting import enter

__all__ = [
    "Job",
    "Lane",
    "Racer",
    "Table",
    "cancel_at",
    "copy_context",
    "enclosing",
    "enter",
    "find_alarms",
    "get_running_loop",
    "is_cancellation",
    "rang",
    "running_task",
    "sleep",
    "start_hedge",
    "table_for",
    "thread",
]
