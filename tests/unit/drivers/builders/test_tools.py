from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from atoll.drivers.builders import tools
from atoll.errors import Failed


async def run(directory: Path, script: str, **env: str) -> list[str]:
    lines: list[str] = []
    await tools.run(
        ("/bin/sh", "-c", script), directory=directory, env=env, log=directory / "log", progress=lines.append
    )
    return lines


async def test_every_line_goes_to_progress_and_log(tmp_path: Path) -> None:
    assert await run(tmp_path, r"printf 'a\n\n  b\rc\033[31md\033[0m\007'; printf 'e\n' >&2") == ["a", "b", "cde"]
    assert b"\x1b[31m" in (tmp_path / "log").read_bytes()


async def test_a_line_is_told_whole_whatever_pieces_it_comes_in(tmp_path: Path) -> None:
    long = "x" * 1500
    assert await run(tmp_path, f"for i in 1 2 3 4 5 6 7 8 9 10; do echo {long}; done") == [long] * 10


async def test_an_endless_line_is_cut(tmp_path: Path) -> None:
    assert [len(line) for line in await run(tmp_path, "head -c 300000 /dev/zero | tr '\\0' x")] == [tools.LONGEST_LINE]


async def test_a_failing_tool_shows_its_first_and_its_last_lines(tmp_path: Path) -> None:
    with pytest.raises(Failed) as caught:
        await run(tmp_path, "for i in $(seq 100); do echo line $i; done; exit 7")
    assert "sh -c" in caught.value.message
    assert "code 7" in caught.value.message
    assert "line 100" in caught.value.message
    shown = caught.value.message.splitlines()[1:]
    kept = [f"line {n}" for n in (*range(1, 16), *range(81, 101))]
    assert shown == [*kept[:15], "... 65 lines ...", *kept[15:]]


@pytest.mark.parametrize("lines", [1, 15, 16, 35])
async def test_what_is_short_is_shown_whole(tmp_path: Path, lines: int) -> None:
    with pytest.raises(Failed) as caught:
        await run(tmp_path, f"for i in $(seq {lines}); do echo line $i; done; exit 7")
    assert caught.value.message.splitlines()[1:] == [f"line {n}" for n in range(1, lines + 1)]


async def test_a_tool_that_is_missing_fails(tmp_path: Path) -> None:
    with pytest.raises(Failed):
        await tools.run(("/no/such/tool",), directory=tmp_path, env={}, log=tmp_path / "log", progress=print)


async def test_a_tool_that_takes_too_long_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "LIMIT", 0.2)
    with pytest.raises(Failed, match="took longer than"):
        await run(tmp_path, "echo begun; exec sleep 60")


async def test_a_tool_gets_only_what_it_needs_of_our_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRIPE_KEY", "secret")
    monkeypatch.setenv("UV_INDEX_URL", "kept")
    lines = await run(tmp_path, "env", OWN="mine")
    assert "UV_INDEX_URL=kept" in lines
    assert "OWN=mine" in lines
    assert not any("secret" in line for line in lines)


async def test_a_cancelled_tool_ends_with_its_children(tmp_path: Path) -> None:
    begun = asyncio.Event()
    pids: list[int] = []

    def progress(line: str) -> None:
        pids.extend(int(word) for word in line.split())
        begun.set()

    command = ("/bin/sh", "-c", "sleep 600 & echo $$ $!; wait")
    task = asyncio.create_task(tools.run(command, directory=tmp_path, env={}, log=tmp_path / "log", progress=progress))
    await asyncio.wait_for(begun.wait(), 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(pids) == 2
    for pid in pids:
        await ended(pid)


@pytest.mark.parametrize("leaves", ["sleep 600", "yes"])
async def test_a_tool_that_has_ended_is_over_whoever_holds_its_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, leaves: str
) -> None:
    monkeypatch.setattr(tools, "LIMIT", 20.0)
    lines = await run(tmp_path, f"echo built; {leaves} & echo $! > left; printf 'the end'")
    await ended(int((tmp_path / "left").read_text()))
    assert lines[0] == "built"
    assert "the end" in "".join(lines)
    assert b"the end" in (tmp_path / "log").read_bytes()


async def test_a_failure_is_told_with_all_that_was_said_whoever_holds_the_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tools, "LIMIT", 20.0)
    with pytest.raises(Failed, match="code 3") as caught:
        await run(tmp_path, "sleep 600 & echo the reason; exit 3")
    assert "the reason" in caught.value.message


async def test_a_daemon_in_a_session_of_its_own_does_not_hold_a_build_up_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tools, "LIMIT", 20.0)
    daemon = "setsid sh -c 'echo $$ > left; exec sleep 600' &"
    try:
        lines = await run(tmp_path, f"{daemon} until [ -s left ]; do sleep 0.01; done; echo built")
    finally:
        os.kill(int((tmp_path / "left").read_text()), signal.SIGKILL)
    assert lines == ["built"]


async def ended(pid: int) -> None:
    async with asyncio.timeout(20):
        while alive(pid):  # noqa: ASYNC110 - the end of another process is no event here
            await asyncio.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
