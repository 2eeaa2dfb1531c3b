"""The interceptors of gRPC, against its real servers: streams, calls with one answer, and what a status says."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager

import pytest

from atoll.kit import Breaker, Bulkhead, BulkheadFull, CircuitOpen, DeadlineExceeded, Policy, Retry, deadline, remaining

grpc = pytest.importorskip("grpc")

from atoll.kit.integrations import grpc as ours  # noqa: E402 - only where it is installed

WAIT = 20
ROUNDED = WAIT + 0.1
"""What gRPC makes of it at most: on the wire it rounds a time-out up, to a tenth of a second from ten on."""


class Service:
    """
    A method of each kind that streams. `failures` are the codes to fail with first; `lefts` what deadlines it saw.

    `answers` says its request three times, `sum` counts its requests, `echo` sends each back.
    """

    def __init__(self):
        self.failures, self.lefts, self.metadata, self.begun = [], [], [], 0
        self.fail_after = 0

    def begin(self, context):
        self.begun += 1
        self.lefts.append(remaining())
        self.metadata.append(dict(context.invocation_metadata()))
        return self.failures.pop(0) if self.failures else None

    def answers(self, request, context):
        code = self.begin(context)
        for number in range(3 if request else 0):
            if code is not None and number == self.fail_after:
                context.abort(code, "told to")
            self.lefts.append(remaining())
            yield request

    def sum(self, requests, context):
        code = self.begin(context)
        if code is not None:
            context.abort(code, "told to")
        return str(sum(1 for _ in requests)).encode()

    def echo(self, requests, context):
        code = self.begin(context)
        if code is not None:
            context.abort(code, "told to")
        yield from requests

    async def answers_async(self, request, context):
        code = self.begin(context)
        for number in range(3 if request else 0):
            if code is not None and number == self.fail_after:
                await context.abort(code, "told to")
            self.lefts.append(remaining())
            yield request

    async def written(self, request, context):
        self.begin(context)
        for _ in range(3):
            await context.write(request)

    async def sum_async(self, requests, context):
        code = self.begin(context)
        if code is not None:
            await context.abort(code, "told to")
        return str(len([each async for each in requests])).encode()

    async def echo_async(self, requests, context):
        code = self.begin(context)
        if code is not None:
            await context.abort(code, "told to")
        async for each in requests:
            yield each


@contextmanager
def serving(service):
    pool = ThreadPoolExecutor(4)
    server = grpc.server(pool, interceptors=[ours.Server()])
    methods = {
        "answers": grpc.unary_stream_rpc_method_handler(service.answers),
        "sum": grpc.stream_unary_rpc_method_handler(service.sum),
        "echo": grpc.stream_stream_rpc_method_handler(service.echo),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("s", methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait(10)
        pool.shutdown()


@asynccontextmanager
async def serving_async(service):
    server = grpc.aio.server(interceptors=[ours.AsyncServer()])
    methods = {
        "answers": grpc.unary_stream_rpc_method_handler(service.answers_async),
        "written": grpc.unary_stream_rpc_method_handler(service.written),
        "sum": grpc.stream_unary_rpc_method_handler(service.sum_async),
        "echo": grpc.stream_stream_rpc_method_handler(service.echo_async),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("s", methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


def methods(channel):
    return channel.unary_stream("/s/answers"), channel.stream_unary("/s/sum"), channel.stream_stream("/s/echo")


def policy(**more):
    return Policy("p", retry=Retry(2, base=0, cap=0), bulkhead=Bulkhead(1, queue=0), classify=ours.classify, **more)


def test_streams_of_a_sync_channel():
    service, mine = Service(), policy(breaker=Breaker(consecutive=2, open=1000))
    unavailable = grpc.StatusCode.UNAVAILABLE
    with serving(service) as target, grpc.insecure_channel(target) as plain:
        channel = grpc.intercept_channel(plain, ours.Client(mine))
        answers, total, echo = (
            channel.unary_stream("/s/answers"),
            channel.stream_unary("/s/sum"),
            channel.stream_stream("/s/echo"),
        )

        service.failures = [unavailable]  # nothing was seen of it: it is tried again
        with deadline(WAIT, "test"):
            assert list(answers(b"x")) == [b"x"] * 3
        assert service.begun == 2
        assert all(0 < each <= ROUNDED for each in service.lefts), service.lefts
        assert service.metadata[-1]["x-envoy-max-retries"] == "0"
        assert total(iter([b"a", b"b"])) == b"2"
        assert list(echo(iter([b"a", b"b"]))) == [b"a", b"b"]

        stream = answers(b"y")
        with pytest.raises(AttributeError, match="has not begun"):
            stream.code()
        assert next(stream) == b"y"
        assert mine.state()["bulkhead"]["in_flight"] == 1  # for as long as it lasts
        with pytest.raises(BulkheadFull):
            total(iter([b"a"]))
        assert [*stream] == [b"y"] * 2
        assert stream.code() is grpc.StatusCode.OK
        assert mine.state()["bulkhead"]["in_flight"] == 0

        left = answers(b"z")
        next(left)
        del left
        assert mine.state()["bulkhead"]["in_flight"] == 0

        before = service.begun
        for call in (lambda: total(iter([b"a"])), lambda: list(echo(iter([b"a"])))):
            service.failures = [unavailable]
            with pytest.raises(grpc.RpcError):
                call()
        assert service.begun == before + 2  # once each: their requests are gone
        assert mine.breaker.phase == "open"
        for call in (lambda: total(iter([b"a"])), lambda: list(echo(iter([b"a"]))), lambda: list(answers(b"x"))):
            with pytest.raises(CircuitOpen):
                call()
        assert service.begun == before + 2


def test_a_sync_stream_that_fails_after_an_answer_is_not_tried_again():
    service, mine = Service(), policy()
    service.failures, service.fail_after = [grpc.StatusCode.UNAVAILABLE], 1
    with serving(service) as target, grpc.insecure_channel(target) as plain:
        stream = grpc.intercept_channel(plain, ours.Client(mine)).unary_stream("/s/answers")(b"x")
        assert next(stream) == b"x"
        with pytest.raises(grpc.RpcError):
            next(stream)
        assert service.begun == 1


def test_a_sync_channel_without_a_policy_only_keeps_the_deadline():
    service = Service()
    with serving(service) as target, grpc.insecure_channel(target) as plain:
        channel = grpc.intercept_channel(plain, ours.Client())
        with deadline(WAIT, "test"):
            assert list(channel.unary_stream("/s/answers")(b"x")) == [b"x"] * 3
            assert channel.stream_unary("/s/sum")(iter([b"a"])) == b"1"
            assert list(channel.stream_stream("/s/echo")(iter([b"a"]))) == [b"a"]
        assert all(0 < each <= ROUNDED for each in service.lefts), service.lefts
        assert list(channel.unary_stream("/s/answers")(b"x")) == [b"x"] * 3
        assert service.lefts[-1] == float("inf")
        with deadline(0, "gone"), pytest.raises(DeadlineExceeded):
            list(grpc.intercept_channel(plain, ours.Client(policy())).unary_stream("/s/answers")(b"x"))


async def requests(*all_of_them):
    for each in all_of_them:
        yield each


async def settled(mine):
    """Waits until the policy let everything go."""
    async with asyncio.timeout(WAIT):
        while mine.state()["bulkhead"]["in_flight"]:  # noqa: ASYNC110 - a policy has no event for that
            await asyncio.sleep(0.001)


def test_streams_of_an_asyncio_channel():
    service, mine = Service(), policy(breaker=Breaker(consecutive=2, open=1000))
    unavailable = grpc.StatusCode.UNAVAILABLE

    async def scenario(channel):
        answers, total, echo = (
            channel.unary_stream("/s/answers"),
            channel.stream_unary("/s/sum"),
            channel.stream_stream("/s/echo"),
        )
        service.failures = [unavailable]
        async with deadline(WAIT, "test"):
            assert [each async for each in answers(b"x")] == [b"x"] * 3
        assert service.begun == 2
        assert all(0 < each <= ROUNDED for each in service.lefts), service.lefts
        assert service.metadata[-1]["x-envoy-max-retries"] == "0"
        assert await total(requests(b"a", b"b")) == b"2"
        await settled(mine)
        assert [each async for each in echo(requests(b"a", b"b"))] == [b"a", b"b"]
        await settled(mine)
        assert [each async for each in channel.unary_stream("/s/written")(b"w")] == [b"w"] * 3

        written = echo()  # requests one by one
        await written.write(b"a")
        assert await written.read() == b"a"
        assert mine.state()["bulkhead"]["in_flight"] == 1
        with pytest.raises(BulkheadFull):
            await total(requests(b"a"))
        await written.done_writing()
        assert await written.read() is grpc.aio.EOF
        await settled(mine)

        stream = answers(b"y")
        assert [await stream.read() for _ in range(4)] == [b"y", b"y", b"y", grpc.aio.EOF]
        assert await stream.code() is grpc.StatusCode.OK

        before = service.begun
        for make in (lambda: total(requests(b"a")), lambda: echo(requests(b"a"))):
            await settled(mine)
            service.failures = [unavailable]
            call = make()
            with pytest.raises(grpc.RpcError):
                await (call if hasattr(call, "__await__") else call.read())
        await settled(mine)
        assert service.begun == before + 2
        assert mine.breaker.phase == "open"
        for call in (total(requests(b"a")), echo(requests(b"a")), answers(b"x")):
            with pytest.raises(CircuitOpen):
                await (call if hasattr(call, "__await__") else call.read())
        assert service.begun == before + 2

    async def main():
        async with (
            serving_async(service) as target,
            grpc.aio.insecure_channel(target, interceptors=ours.async_clients(mine)) as channel,
        ):
            await scenario(channel)

    asyncio.run(main())


def test_an_asyncio_channel_without_a_policy_only_keeps_the_deadline():
    service = Service()

    async def main():
        async with (
            serving_async(service) as target,
            grpc.aio.insecure_channel(target, interceptors=ours.async_clients()) as channel,
        ):
            async with deadline(WAIT, "test"):
                assert [each async for each in channel.unary_stream("/s/answers")(b"x")] == [b"x"] * 3
                assert await channel.stream_unary("/s/sum")(requests(b"a")) == b"1"
                assert [each async for each in channel.stream_stream("/s/echo")(requests(b"a"))] == [b"a"]
            assert all(0 < each <= ROUNDED for each in service.lefts), service.lefts
            with pytest.raises(grpc.RpcError):
                await channel.stream_unary("/s/none")(requests(b"a"))

    asyncio.run(main())


def test_a_cancelled_asyncio_stream_lets_its_permit_go():
    service, mine = Service(), policy(breaker=Breaker(consecutive=1))

    async def main():
        async with (
            serving_async(service) as target,
            grpc.aio.insecure_channel(target, interceptors=ours.async_clients(mine)) as channel,
        ):
            call = channel.stream_stream("/s/echo")()
            await call.write(b"a")
            assert await call.read() == b"a"
            call.cancel()
            await settled(mine)
            assert await channel.stream_unary("/s/sum")(requests(b"a")) == b"1"
            await settled(mine)
            early = channel.stream_unary("/s/sum")(requests(b"a"))
            await asyncio.sleep(0)
            early.cancel()
            with pytest.raises(asyncio.CancelledError):
                await early
            await settled(mine)
            assert mine.breaker.phase == "closed"
            assert [each async for each in channel.unary_stream("/s/answers")(b"")] == []

    asyncio.run(main())


def test_calls_with_one_answer():  # noqa: PLR0915 - a scenario in one piece
    answers, lefts, metadata = [], [], []

    def handle(request, context):
        lefts.append(remaining())
        metadata.append(dict(context.invocation_metadata()))
        if answers:
            context.abort(answers.pop(0), "told to")
        return request

    async def handle_async(request, context):
        lefts.append(remaining())
        metadata.append(dict(context.invocation_metadata()))
        if answers:
            await context.abort(answers.pop(0), "told to")
        return request

    def handlers(f):
        return grpc.method_handlers_generic_handler("s", {"m": grpc.unary_unary_rpc_method_handler(f)})

    mine = Policy("p", retry=Retry(2, base=0, cap=0), classify=ours.classify)
    pool = ThreadPoolExecutor(2)
    running = grpc.server(pool, interceptors=[ours.Server()])
    running.add_generic_rpc_handlers((handlers(handle),))
    port = running.add_insecure_port("127.0.0.1:0")
    running.start()
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as plain:
            call = grpc.intercept_channel(plain, ours.Client(mine)).unary_unary("/s/m")
            answers.append(grpc.StatusCode.UNAVAILABLE)
            with deadline(WAIT, "test"):
                assert call(b"x") == b"x"
            assert len(lefts) == 2
            assert all(0 < each <= ROUNDED for each in lefts), lefts
            assert metadata[-1]["x-envoy-max-retries"] == "0"
            answers.append(grpc.StatusCode.NOT_FOUND)
            with pytest.raises(grpc.RpcError):
                call(b"x")
            assert not answers
            with deadline(0, "gone"), pytest.raises(DeadlineExceeded):
                call(b"x")
            assert grpc.intercept_channel(plain, ours.Client()).unary_unary("/s/m")(b"y") == b"y"
            with pytest.raises(grpc.RpcError):
                plain.unary_unary("/s/none")(b"y")
    finally:
        running.stop(None).wait(10)
        pool.shutdown()

    async def main():
        server = grpc.aio.server(interceptors=[ours.AsyncServer()])
        server.add_generic_rpc_handlers((handlers(handle_async),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        lefts.clear()
        try:
            target = f"127.0.0.1:{port}"
            async with grpc.aio.insecure_channel(target, interceptors=[ours.AsyncClient(mine)]) as channel:
                answers.append(grpc.StatusCode.UNAVAILABLE)
                async with deadline(WAIT, "test"):
                    assert await channel.unary_unary("/s/m")(b"x") == b"x"
                assert len(lefts) == 2
                assert all(0 < each <= ROUNDED for each in lefts), lefts
                with pytest.raises(grpc.RpcError):
                    await channel.unary_unary("/s/none")(b"x")
            async with grpc.aio.insecure_channel(target, interceptors=[ours.AsyncClient()]) as channel:
                assert await channel.unary_unary("/s/m")(b"x") == b"x"
        finally:
            await server.stop(None)

    asyncio.run(main())


def test_what_a_grpc_status_says():
    class Error(grpc.RpcError):
        def __init__(self, name):
            self.name = name

        def code(self):
            return grpc.StatusCode[self.name]

    said = {
        name: ours.classify(Error(name)).kind
        for name in ("UNAVAILABLE", "RESOURCE_EXHAUSTED", "CANCELLED", "NOT_FOUND", "INTERNAL")
    }
    assert list(said.values()) == ["retry", "throttled", "ignore", "ok", "fail"]
    assert ours.classify(OSError()).kind == "retry"
