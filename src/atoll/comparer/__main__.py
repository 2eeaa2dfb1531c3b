"""`python -m atoll.comparer --copies SOCKET --calls SOCKET`: orders come in by a pipe, findings go out by another."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import resource
import sys
from pathlib import Path
from random import SystemRandom

import msgspec
import uvloop

from atoll.comparer.asking import Asker
from atoll.comparer.taking import taking
from atoll.comparer.working import Worker
from atoll.policies.comparing.messages import Orders

TELL = 0.25
MEMORY = 1024 * 1024 * 1024
FILES = 4096
NICE = 10
FIRST_TO_DIE = "900"
LONGEST_ORDERS = 4 * 1024 * 1024


async def compare(copies: str, calls: str) -> None:
    """Run until standard input ends, or until nothing can be told any more: whoever started this starts it again."""
    asker = Asker(calls, SystemRandom())
    worker = Worker(asker)
    talking = [asyncio.ensure_future(_listen(worker)), asyncio.ensure_future(_tell(worker))]
    try:
        async with taking(copies, worker.offer):
            over, _ = await asyncio.wait(talking, return_when=asyncio.FIRST_COMPLETED)
            for one in over:
                one.result()
    finally:
        for one in talking:
            one.cancel()
        await worker.close()
        await asyncio.gather(*talking, return_exceptions=True)
        await asker.close()


async def _listen(worker: Worker) -> None:
    reader = asyncio.StreamReader(limit=LONGEST_ORDERS)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        worker.told(msgspec.json.decode(line, type=Orders))


async def _tell(worker: Worker) -> None:
    """Say what was found, from time to time; how late that is says how busy this program is."""
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, sys.stdout)
    writer = asyncio.StreamWriter(transport, protocol, None, loop)
    while True:
        due = loop.time() + TELL
        await asyncio.sleep(TELL)
        worker.late = loop.time() - due
        for findings in worker.findings():
            writer.write(msgspec.json.encode(findings) + b"\n")
        await writer.drain()


def bound() -> None:
    """Whatever happens here, others go first: processor time, memory, and life where memory runs out."""
    os.nice(NICE)
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(FILES, most), most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(FIRST_TO_DIE)


def main() -> None:
    """Compare until there is nobody left to tell."""
    parser = argparse.ArgumentParser(prog="atoll.comparer")
    parser.add_argument("--copies", required=True)
    parser.add_argument("--calls", required=True)
    arguments = parser.parse_args()
    bound()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(compare(arguments.copies, arguments.calls))


if __name__ == "__main__":
    main()
