from __future__ import annotations

import asyncio

import pytest

from atoll.engine.internal_errors import ADVICE, InternalErrors
from atoll.unforeseen import report


@pytest.fixture
async def journal():
    """What is recorded of what nobody caught."""
    happenings = []
    asyncio.get_running_loop().set_exception_handler(InternalErrors(happenings.append).handle)
    return happenings


def logged(caplog):
    return [record.message for record in caplog.records if record.exc_info]


def provoke(what, deep=0):
    """Report an error that comes from this line, through one frame or through many."""
    try:
        fail(deep)
    except (KeyError, RecursionError) as error:
        report(what, error)


def fail(deep):
    if deep:
        fail(deep - 1)
    raise KeyError("orders" * (deep + 1))


async def test_an_error_is_told_with_its_kind_and_what_to_do_and_logged_with_its_traceback(journal, caplog):
    provoke("a turn")
    (one,) = journal
    assert (one.level, one.kind, one.subject) == ("error", "internal", "control plane")
    assert one.text == f"a turn: KeyError: 'orders' ({ADVICE})"
    assert logged(caplog) == ["a turn"]
    assert "in fail" in caplog.text


async def test_one_that_comes_again_and_again_is_told_once(journal, caplog):
    for number in range(5):
        provoke(f"turn {number}")
    assert len(journal) == len(logged(caplog)) == 1


async def test_one_that_comes_from_another_line_is_another(journal, caplog):
    provoke("a turn", deep=1)
    try:
        fail(0)
    except KeyError as error:
        report("a turn", error)
    assert len(journal) == len(logged(caplog)) == 2


async def test_however_deep_a_recursion_was_it_is_the_same(journal):
    for deep in (3, 7, 50):
        provoke("a turn", deep)
    assert len(journal) == 1


async def test_what_a_callback_and_a_task_raise_is_told_too(journal, caplog):
    loop = asyncio.get_running_loop()
    loop.call_soon(fail, 0)
    await asyncio.sleep(0)
    (one,) = journal
    assert "KeyError: 'orders'" in one.text
    assert len(logged(caplog)) == 1


async def test_what_is_no_error_goes_to_the_log_only(journal, caplog):
    asyncio.get_running_loop().call_exception_handler({"message": "a task was lost"})
    assert journal == []
    assert "a task was lost" in caplog.text
