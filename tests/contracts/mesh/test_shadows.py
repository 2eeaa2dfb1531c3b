"""A release that is compared, in real proxies: what is copied, what a shadow may do, and that no user notices."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace

from atoll.model.system import Call, Egress, Operation, Route
from atoll.plan.blueprint import Shadow, Split


@contextlib.asynccontextmanager
async def comparer(world, *, answers: bool = True) -> AsyncIterator[list[str]]:
    """Takes copies as the real one does and writes down their heads; one that does not answer hangs for ever."""
    heads: list[str] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                length = [line.split(": ")[1] for line in head.split("\r\n") if line.startswith("content-length")]
                await reader.readexactly(int((length or ["0"])[0]))
                heads.append(head)
                if answers:
                    writer.write(b"HTTP/1.1 202 Taken\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_unix_server(take, world.root / "compare" / "copies.sock")
    try:
        yield heads
    finally:
        server.close()


def shadowed(world, share: float = 1.0) -> None:
    """`web` with a release that is compared; it calls `payments`, and `orders` calls it."""
    world.service("payments")
    calls, out = (Call("payments"),), (Egress("http", "out.test", 80), Egress("https", "out.test", 443))
    world.service("web", routes=(Route("/"),), calls=calls, egress=out)
    world.service("orders", calls=(Call("web"),))
    world.add("web", release=2)
    world.split("web", Split(stable=1, next=2, weight=0))
    world.shadow("web", Shadow(2, share, copies=4))
    for service, path in (("web", "/search/{kind}"), ("payments", "/quote")):
        world.workloads[service] = replace(world.workloads[service], safe=(Operation("POST", path),))


def lines(heads: list[str]) -> set[str]:
    return {head.partition(" http/")[0] for head in heads}


async def test_what_changes_nothing_is_copied_from_everybody_and_nothing_else_is(world):
    shadowed(world)
    async with comparer(world) as heads:
        await world.publish()
        orders = world.instances("orders")[0]
        await world.outside("/a?b=1", headers=("Host: shop.test",))
        forged = await world.outside("/f", headers=("X-Atoll-Shadow-Run: forged",))
        await world.call(orders, "web", "/b")
        await world.outside("/c", method="POST")
        await world.outside("/search/all?q=1", method="POST")
        await world.outside("/search/all/of", method="POST")
        await world.outside("/d", headers=("Accept: text/event-stream",))
        named = await world.outside("/e", headers=("X-Atoll-Release: web=2",))
        await world.until(lambda: settled(heads, 5), "copies")
    assert "web-r1-" in named.body  # nobody gets to it, by whatever name
    assert lines(heads) == {"get /a?b=1", "get /f", "get /b", "post /search/all?q=1", "get /e"}
    assert all("x-atoll-compared: web" in head for head in heads)
    assert "host: shop.test\r\n" in next(head for head in heads if "/a?b=1" in head)
    assert "x-atoll-caller: orders" in next(head for head in heads if "get /b" in head)
    assert not any("forged" in said for said in (forged.body, *heads))  # nor does anybody keep out of it


async def settled(heads: list[str], count: int) -> bool:
    await asyncio.sleep(0.05)
    return len(heads) >= count


async def test_a_comparer_that_hangs_takes_nothing_from_the_user(world):
    shadowed(world)
    async with comparer(world, answers=False) as heads:
        await world.publish()
        answers = await asyncio.gather(*(world.outside(f"/{n}") for n in range(20)))
        assert {(a.status, "web-r1-" in a.body, "x-atoll-compared" in a.body) for a in answers} == {(200, True, False)}
        assert 1 <= len(heads) <= 4  # as many as may be under way
    world.shadow("web", None)
    await world.publish()
    assert "web-r1-" in (await world.outside("/")).body


async def test_a_part_is_copied_and_nothing_once_it_is_over(world):
    shadowed(world, share=0.2)
    async with comparer(world) as heads:
        await world.publish()
        async with world.load(None, "shop.test") as result:
            await world.until(lambda: settled(heads, 40), "copies")
        assert 0.1 < len(heads) / sum(result["answers"].values()) < 0.3
        world.shadow("web", None)
        await world.publish()
        seen = len(heads)
        await asyncio.gather(*(world.outside("/") for _ in range(10)))
        assert len(heads) == seen


async def test_the_comparer_asks_either_release_by_name_and_knows_who_answered(world):
    shadowed(world)
    await world.publish()
    await world.until(lambda: asked(world, "web@next"), "a way to the release")
    answers = {target: await ask(world, target) for target in ("web", "web@next", "orders")}
    first, second = world.instances("web")
    assert answers["web"].startswith("HTTP/1.1 200")
    assert f"x-atoll-shadow-from: {first.address.ip}:{first.address.port}" in answers["web"]
    assert (first.name in answers["web"], second.name in answers["web@next"]) == (True, True)
    assert "x-atoll-shadow-to" not in answers["web"]
    assert "x-atoll-shadow-run: web-r2" in answers["web@next"]
    assert answers["orders"].startswith("HTTP/1.1 404")
    assert "x-atoll-shadow-from" not in answers["orders"]
    assert (await ask(world, "web", "POST /x")).startswith("HTTP/1.1 404")  # whatever becomes of the comparer
    assert (await ask(world, "web", "POST /search/all?q=1")).startswith("HTTP/1.1 200")
    counted = {(c.ip, c.success + c.error) for c in await world.mesh.calls(frozenset({"web"}))}
    assert counted == {(first.address.ip, 0), (second.address.ip, 0)}  # no call that anybody judges by


async def asked(world, target: str) -> bool:
    return (await ask(world, target)).startswith("HTTP/1.1 200")


async def ask(world, target: str, what: str = "GET /x") -> str:
    reader, writer = await asyncio.open_unix_connection(world.root / "compare" / "shadow.sock")
    head = f"{what} HTTP/1.1\r\nhost: shop.test\r\nx-atoll-shadow-to: {target}\r\nx-atoll-shadow-run: web-r2\r\n"
    writer.write(f"{head}connection: close\r\n\r\n".encode())
    answer = (await reader.read()).decode()
    writer.close()
    return answer


async def test_what_only_answers_copies_may_read_of_others_and_change_nothing(world):
    shadowed(world)
    await world.publish()
    stable, shadow = world.instances("web")
    assert (await world.call(shadow, "payments")).status == 200
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        refused = await world.call(shadow, "payments", method=method)
        assert (refused.status, refused.body.split(":")[0]) == (409, "shadow_blocked")
        assert (await world.call(stable, "payments", method=method)).status == 200
    assert (await world.call(shadow, "payments", "/quote?a=1", method="POST")).status == 200  # payments says it is safe
    upgrade = ("Host: payments", "Connection: Upgrade", "Upgrade: websocket")
    assert (await world.ask("http://127.0.0.1/", caller=shadow, headers=upgrade)).status == 409
    out = await world.ask("http://127.0.0.1/", caller=shadow, method="POST", headers=("Host: out.test",))
    assert (out.status, out.body.split(":")[0]) == (409, "shadow_blocked")
    assert await tunnel(world, shadow) == "409"
    assert (await world.mesh.refused(shadow.name), await world.mesh.refused(stable.name)) == (7, 0)
    world.shadow("web", None, guarded=(2,))  # it was rejected, and is ending
    await world.publish()
    assert (await world.call(shadow, "payments", method="POST")).status == 409
    world.shadow("web", None)
    await world.publish()
    assert (await world.call(shadow, "payments", method="POST")).status == 200


async def test_what_a_shadow_got_of_a_flag_is_no_users_answer(world):
    shadowed(world)
    await world.publish()
    stable, shadow = world.instances("web")
    for caller, times in ((shadow, 3), (stable, 2)):
        for _ in range(times):
            assert (await world.call(caller, "payments", "/flag")).headers["x-atoll-flag"] == "new=on"

    async def counted():
        found = [(c.flag, c.variant, c.success) for c in await world.mesh.flag_calls()]
        return found if found and found[0][2] >= 2 else None

    await world.until(counted, "the proxies have counted what answers say")
    assert await counted() == [("new", "on", 2)]


async def test_no_trick_gets_a_write_past_the_proxy(world):
    shadowed(world)
    await world.publish()
    shadow = world.instances("web")[1]
    url, host = "http://127.0.0.1/", ("Host: payments",)
    tricks = [
        await world.ask(url, caller=shadow, method=method, headers=host) for method in ("post", "get", "GETX", "TRACE")
    ]
    tricks += [
        await world.ask(url, caller=shadow, method="POST", headers=headers)
        for headers in (
            ("Host: payments:80",),
            ("Host: PAYMENTS",),
            (*host, "X-Atoll-Shadow-Run: web-r2", "X-Atoll-Shadow-To: payments"),
            (*host, "X-Atoll-Release: payments=1", "X-Atoll-Caller: orders"),
            (*host, "X-HTTP-Method-Override: GET", ":method: GET", ":path: /quote"),
        )
    ]
    tricks.append(await world.ask(url, caller=shadow, method="POST", headers=host, http2_prior_knowledge=""))
    tricks.append(await world.ask(url, caller=shadow, method="POST", headers=("Host: undeclared.test",)))
    assert {answer.status for answer in tricks} <= {400, 403, 409}
    assert not [answer for answer in tricks if "payments-r1-" in answer.body]
    assert (await world.call(shadow, "payments", data="a=1")).status == 200  # a GET that carries something is a GET
    plain = await world.ask(url, caller=shadow, headers=(*host, "Connection: Upgrade", "Upgrade: h2c"))
    assert (plain.status, "upgrade" in plain.body.lower()) == (200, False)  # no other protocol, so a GET as well


async def tunnel(world, caller) -> str:
    """The status that a CONNECT gets."""
    process = await asyncio.create_subprocess_exec(
        *("nsenter", f"--net={caller.outlets[0].netns}", "--", "curl", "-s", "-x", "http://127.0.0.1:80"),
        *("-o", "/dev/null", "-w", "%{http_connect}", "--max-time", "5", "https://out.test/"),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    return out.decode()
