"""The dashboard in a real browser: what it shows and announces, and that its policy refuses nothing of it."""

from __future__ import annotations

import base64
import itertools
import json
import math
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from websockets.sync.client import connect

from atoll import wire
from atoll.plan.blueprint import Stage
from atoll.plan.decisions import Pin
from atoll.plan.observed import Readiness
from atoll.server.dashboard.page import dashboard

TOKEN = "a-token-of-this-test"
PATIENCE = 30.0
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
]

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt-get install chromium"),
]

SYSTEM = """
system: shop
services:
  storefront: {source: a, instances: 2, routes: [/], calls: [catalog, orders, accounts]}
  catalog: {source: a, instances: 3, calls: [search]}
  orders: {source: a, instances: 3, calls: [catalog, payments, stock, accounts]}
  payments: {source: a, instances: 2, calls: [https://api.stripe.com]}
  stock: {source: a}
  accounts: {source: a, instances: 2, calls: [mailer]}
  search: {source: a, instances: 2}
  mailer: {source: a, calls: [https://smtp.example.org]}
"""


class Browser:
    """Chromium over its debugging protocol: as much of it as a look at a page needs."""

    def __init__(self, directory: Path) -> None:
        assert CHROMIUM is not None
        self._open = ExitStack()
        # What it leaves when it is killed goes with this; the test's own directory is too long for its sockets.
        temporary = self._open.enter_context(TemporaryDirectory(prefix="atoll-"))
        with (directory / "chromium.txt").open("wb") as log:
            self._process = subprocess.Popen(
                [CHROMIUM, *FLAGS, f"--user-data-dir={directory}", "about:blank"],
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, "TMPDIR": temporary},
            )
        self._numbers = itertools.count(1)
        self._session = ""
        self.told: list[dict[str, object]] = []
        try:
            self._attach(directory / "DevToolsActivePort")
        except BaseException:
            self.close()
            raise

    def _attach(self, announced: Path) -> None:
        until(lambda: announced.exists() and announced.read_text().count("\n") == 1, "chromium")
        port, path = announced.read_text().split("\n")
        self._socket = self._open.enter_context(connect(f"ws://127.0.0.1:{port}{path}", max_size=None))
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = str(self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"])
        for domain in ("Page", "Runtime", "Log"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **parameters: object) -> dict[str, object]:
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        self._socket.send(json.dumps(message | ({"sessionId": self._session} if self._session else {})))
        while True:
            heard = json.loads(self._socket.recv(PATIENCE))
            if heard.get("id") == number:
                assert "error" not in heard, heard
                return dict(heard["result"])
            if heard.get("method") in {"Log.entryAdded", "Runtime.exceptionThrown"}:
                self.told.append(heard["params"])

    def value(self, expression: str) -> object:
        found = self.ask("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")  # type: ignore[attr-defined]

    def open(self, url: str) -> None:
        self.ask("Page.navigate", url=url)

    def sees(self, expression: str) -> None:
        until(lambda: bool(self.value(expression)), expression)

    def screen(self, width: int, height: int, scheme: str = "light") -> None:
        mobile = width < 600
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)
        self.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def picture(self, path: Path) -> None:
        taken = self.ask("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(str(taken["data"])))

    def close(self) -> None:
        # The group is ours alone: start_new_session made it.
        os.killpg(self._process.pid, 9)
        self._process.wait()
        self._open.close()


def until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, f"did not happen: {what}"
        time.sleep(0.02)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    directory = tmp_path / "chromium"
    directory.mkdir()
    one = Browser(directory)
    yield one
    one.close()


@pytest.fixture
def shop(scene_of):
    """A shop in the middle of something: one release rolling out, one service that keeps dying."""
    one = scene_of(SYSTEM)
    one.steady()
    one.at = time.time()
    one.converged = False
    one.change = wire.ChangeView(12, "deploy", ("orders",), "rolling", "", one.at, {"orders": 5})
    one.pins["orders"] = Pin(one.recipe("orders", 4), one.recipe("orders", 5))
    one.run("orders", 9, release=5, stage=Stage.START)
    one.readiness["orders"] = {"orders-r5-9": Readiness(False, one.at, "GET /healthz: no answer on port 8080 yet")}
    dying = one.instances["payments"].pop()
    why = "it exited with code 1"
    one.instances["payments"].append(
        replace(dying, stage=Stage.START, crashes=4, not_before=one.at + 100_000, reason=why, served=0.0)
    )
    del one.seen["payments"][dying.name]
    one.building["mailer"] = "uv sync: 12 of 31 packages"
    del one.instances["mailer"]
    one.pins["mailer"] = Pin()
    one.notes = ("no cgroup can be written here: memory and cpu limits are not kept",)
    for name, runs in one.instances.items():
        for position, run in enumerate(runs):
            one.loads[run.name] = wire.Load(0.05 + 0.1 * position, (60 + 20 * position) << 20)
        one.rates[name] = wire.Rates(20.0 * len(runs), 4.0, 31.0, 0.02 if name == "payments" else 0.0)
    one.written = [
        wire.LogLine("orders", f"orders-r4-{1 + n % 3}", f"GET /api/orders/{n} 200 in {3 + n % 7} ms")
        for n in range(40)
    ]
    return one


def fill(scene) -> None:
    scene.store.append(
        wire.Event(0, scene.at - 60 + n, level, kind, service, subject, text)
        for n, (level, kind, service, subject, text) in enumerate(
            [
                ("info", "release", "orders", "orders", "release 5 begins"),
                ("info", "started", "orders", "orders-r5-9", "runs as process 4009"),
                ("error", "crashed", "payments", "payments-r1-2", "it exited with code 1\n    KeyError: 'STRIPE_KEY'"),
                ("warning", "drift", "catalog", "catalog-r1-2", "its process was stopped by somebody (SIGSTOP)"),
                ("info", "ready", "orders", "orders-r4-1", "passes its check <b>now</b>"),
            ]
        )
    )


def show(scene, served):
    """Serve the dashboard of *scene*, figures moving."""

    def make():
        surface = scene.open()
        fill(scene)
        return dashboard(replace(surface, snapshot=moving), TOKEN, period=0.1)

    beat = itertools.count()
    began = scene.at

    async def moving():
        n = next(beat)
        scene.at = began + n
        for name, rate in scene.rates.items():
            wave = 1 + 0.4 * math.sin(n / 9 + len(name)) + 0.1 * math.sin(n * 2.1 + len(name))
            scene.rates[name] = replace(rate, rps=wave * 40, p99=25 * wave)
        return scene.snapshot()

    return served(make)


def enter(browser: Browser, port: int) -> None:
    browser.open(f"http://127.0.0.1:{port}/?token={TOKEN}")
    browser.sees("document.querySelectorAll('#services tbody tr').length == 8")


def test_the_page_shows_the_system_and_follows_it(browser, shop, served, tmp_path):
    server = show(shop, served)
    browser.screen(1280, 900)
    enter(browser, server.port)
    assert "token" not in str(browser.value("location.href"))
    assert browser.value("document.getElementById('verdict').textContent") == "not as wanted yet"
    row = "document.querySelector('#services tr[data-key=payments]')"
    assert browser.value(f"{row}.querySelector('.ready').textContent") == "1/2"
    assert browser.value(f"{row}.querySelector('.pips').getAttribute('aria-label')") == "1 ready, 1 waiting"
    assert "4 in a row failed" in str(browser.value(f"{row}.querySelector('.why').textContent"))
    browser.sees("document.querySelectorAll('#graph .node').length == 11")
    browser.sees("document.querySelectorAll('#events li').length == 5")
    assert browser.value("document.querySelector('#events b + .text b') === null")
    browser.sees(f"{row}.querySelector('.rps path').getAttribute('d').length > 200")

    browser.value("document.querySelector('#services tr[data-key=orders] .name').click()")
    browser.sees("document.querySelectorAll('#log div').length == 40")
    browser.sees("document.querySelectorAll('#instances tbody tr').length == 4")

    shop.converged = True
    browser.sees("document.getElementById('verdict').textContent == 'as wanted'")
    assert browser.value("document.getElementById('news').textContent") == "shop is as wanted"
    crash = wire.Event(0, shop.at, "error", "crashed", "stock", "stock-r1-1", "it was killed by SIGKILL")
    server.call(lambda: shop.store.append([crash]))
    browser.sees("document.getElementById('news').textContent == 'error: stock-r1-1 it was killed by SIGKILL'")
    assert browser.told == []


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (375, "light"), (375, "dark")])
def test_nothing_is_wider_than_the_screen(browser, shop, served, tmp_path, width, scheme):
    server = show(shop, served)
    browser.screen(width, 900, scheme)
    enter(browser, server.port)
    browser.sees("document.querySelectorAll('#graph .node').length == 11")
    browser.sees("document.querySelector('#services .rps path').getAttribute('d').length > 400")
    assert browser.value("document.documentElement.scrollWidth <= innerWidth")
    kept = os.environ.get("ATOLL_SCREENSHOTS")
    if kept:
        browser.picture(Path(kept) / f"dashboard-{width}-{scheme}.png")
    assert browser.told == []


def test_the_page_says_when_the_control_plane_is_gone_and_goes_on_when_it_is_back(browser, shop, served):
    server = show(shop, served)
    enter(browser, server.port)
    browser.sees("document.body.dataset.link == 'live'")
    server.close()
    browser.sees("document.body.dataset.link == 'lost'")
    assert browser.value("document.querySelectorAll('#services tbody tr').length") == 8
