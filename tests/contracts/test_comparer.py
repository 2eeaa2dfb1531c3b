"""The comparer as a process: that it finds, comes back, ends with its master, and can do nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from atoll import wire
from atoll.drivers.comparer import ComparerProcess
from atoll.drivers.host.bubblewrap import reading
from atoll.policies.comparing.canonical import Contract
from atoll.policies.comparing.difference import Odd
from atoll.policies.comparing.messages import Findings, Orders, Task
from atoll.testing.grounds import why_no_sandboxes

ORDERS = Orders((Task("orders", "orders-r2", 5.0, 4, 2.0, Contract()),))
sandboxes = pytest.mark.skipif(bool(why_no_sandboxes()), reason=why_no_sandboxes() or "-")


@pytest.fixture
def directory():
    path = Path(tempfile.mkdtemp(prefix="atoll-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Both releases: the candidate has another total."""
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            body = b'{"total": 2}' if "orders@next" in head else b'{"total": 1}'
            writer.write(b"HTTP/1.1 200 OK\r\nx-atoll-shadow-from: 10.201.0.2:8080\r\n")
            writer.write(f"content-length: {len(body)}\r\n\r\n".encode() + body)
    writer.close()


@contextlib.asynccontextmanager
async def running(directory: Path, *, sandboxed: bool):
    """A comparer between two sockets, and what it says."""
    found: list[Findings] = []
    mesh = await asyncio.start_unix_server(answer, directory / "shadow.sock")
    comparer = ComparerProcess(directory, directory / "log.txt", sandboxed=sandboxed)
    comparer.listen(found.append)
    comparer.compare(ORDERS)
    try:
        yield comparer, found
    finally:
        await comparer.close()
        mesh.close()
        assert not programs(directory)


def programs(directory: Path) -> list[int]:
    """The processes that compare here."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (path / "cmdline").read_bytes().split(b"\0")
            if str(directory / "copies.sock").encode() in words and b"atoll.comparer" in words:
                found.append(int(path.name))
    return found


async def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait for a condition with a deadline."""
    async with asyncio.timeout(seconds):
        while True:
            if condition():
                return
            await asyncio.sleep(0.02)


async def sampled(directory: Path, found: list[Findings], seconds: float = 20.0) -> Findings:
    """Send copies until something is found."""
    before = len(found)
    transport = httpx.AsyncHTTPTransport(uds=str(directory / "copies.sock"))
    async with asyncio.timeout(seconds), httpx.AsyncClient(transport=transport) as client:
        while len(found) == before:
            with contextlib.suppress(httpx.HTTPError):
                reply = await client.get("http://shop.test/orders/7?x=1", headers={"x-atoll-compared": "orders"})
                assert reply.status_code == 202
            await asyncio.sleep(0.05)
    return found[-1]


async def test_it_finds_comes_back_when_it_is_killed_and_ends_when_there_is_nothing(directory):
    async with running(directory, sandboxed=not why_no_sandboxes()) as (comparer, found):
        one = await sampled(directory, found)
        assert (one.service, one.since, one.samples[0].endpoint) == ("orders", 5.0, "GET /orders/{id}")
        assert one.samples[0].odd["total"] is Odd.CANDIDATE
        for pid in programs(directory):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert (await sampled(directory, found)).samples[0].odd["total"] is Odd.CANDIDATE
        assert comparer.problem == ""
        comparer.compare(Orders())
        await until(lambda: not programs(directory))


async def test_it_goes_on_after_a_finding_of_which_nobody_foresaw_what_it_does(directory, caplog):
    async with running(directory, sandboxed=False) as (comparer, found):
        errors = [KeyError("orders")]

        def hear(findings):
            if errors:
                raise errors.pop()
            found.append(findings)

        comparer.listen(hear)
        assert (await sampled(directory, found)).service == "orders"
        assert errors == []
        assert "taking what the comparer found failed" in caplog.text
    caplog.clear()


async def test_it_ends_with_whoever_started_it(directory):
    script = (
        "import asyncio, pathlib, sys\n"
        "from contracts.test_comparer import ORDERS, ComparerProcess\n"
        "async def main():\n"
        "    directory = pathlib.Path(sys.argv[1])\n"
        "    ComparerProcess(directory, directory / 'log.txt', sandboxed=False).compare(ORDERS)\n"
        "    await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    tests = str(Path(__file__).parents[1])
    env = os.environ | {"PYTHONPATH": tests}
    starter = await asyncio.create_subprocess_exec(sys.executable, "-c", script, str(directory), env=env)
    try:
        await until((directory / "copies.sock").exists)
    finally:
        starter.kill()
        await starter.wait()
    await until(lambda: not programs(directory))


async def test_it_ends_when_it_can_tell_nobody_any_more(directory):
    mesh = await asyncio.start_unix_server(answer, directory / "shadow.sock")
    sockets = ("--copies", str(directory / "copies.sock"), "--calls", str(directory / "shadow.sock"))
    reading_end, writing_end = os.pipe()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "atoll.comparer", *sockets), stdin=subprocess.PIPE, stdout=writing_end, stderr=-1
    )
    os.close(writing_end)
    os.close(reading_end)
    try:
        process.stdin.write(wire.encode(ORDERS) + b"\n")
        transport = httpx.AsyncHTTPTransport(uds=str(directory / "copies.sock"))
        async with asyncio.timeout(20), httpx.AsyncClient(transport=transport) as client:
            while process.returncode is None:
                with contextlib.suppress(httpx.HTTPError):
                    await client.get("http://shop.test/orders/7", headers={"x-atoll-compared": "orders"})
                await asyncio.sleep(0.05)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        mesh.close()


@pytest.mark.linux
@sandboxes
def test_in_its_sandbox_there_is_no_network_no_file_of_others_and_no_right(directory):
    secret = directory.with_name(f"{directory.name}-secret")
    secret.write_text("secret")
    code = (
        "import os, pathlib, socket, sys\n"
        "print(len(socket.if_nameindex()), [p.exists() for p in map(pathlib.Path, sys.argv[1:])])\n"
        "print([line.split()[1] for line in open('/proc/self/status') if line.startswith('CapEff')])\n"
        "try:\n    pathlib.Path(sys.prefix, 'x').write_text('')\nexcept OSError as error:\n    print(error.errno)\n"
        "pathlib.Path(sys.argv[2], 'mine').write_text('')\n"
        "print(sorted(dict(os.environ).keys() - {'PWD', 'LC_CTYPE'}))\n"
    )
    try:
        command = [*reading((sys.prefix, sys.base_prefix), str(directory), {"GIVEN": "x"}), sys.executable, "-c", code]
        done = subprocess.run(
            [*command, str(secret), str(directory)], capture_output=True, text=True, check=False, timeout=30
        )
    finally:
        secret.unlink()
    assert done.stdout.splitlines() == ["1 [False, True]", "['0000000000000000']", "30", "['GIVEN']"], done.stderr
