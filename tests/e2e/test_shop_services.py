"""The services of the example shop, each as a plain process on loopback."""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from urllib.parse import urlencode

import pytest

from atoll.kit.flags import lint
from atoll.model.load import load
from ports import free_port

SHOP = Path(__file__).parents[2] / "examples" / "shop"
STARTS = {
    "storefront": [sys.executable, "main.py"],
    "catalog": [sys.executable, "catalog.py"],
    "recommendations": [sys.executable, "main.py"],
    "orders": [sys.executable, "main.py"],
    "payments": [shutil.which("node") or "", "server.js"],
}
PYTHON = [name for name in STARTS if name != "payments"]
KEY = "a-key-of-the-test"
DEADLINE = 20.0


def until(condition, what):
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.01)
    pytest.fail(f"{what} did not come true within {DEADLINE} s")


class Answer:
    def __init__(self, response):
        self.status, self.headers, self.body = response.status, response.headers, response.read()

    @property
    def text(self):
        return self.body.decode()

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def key(self):
        return re.search(r'name="key" value="([^"]+)"', self.text)[1]


class Running:
    """One service that was started."""

    def __init__(self, name, log, port=None, source=None, **env):
        if not STARTS[name][0]:
            pytest.skip("node is not installed")
        self.name, self.log, self.port = name, log, port or free_port()
        kept = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", "HOST": "127.0.0.1", "PORT": str(self.port)}
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                STARTS[name], cwd=source or SHOP / "services" / name, env=kept | env, stdout=out, stderr=out
            )

    def ready(self):
        def answers():
            assert self.process.poll() is None, self.log.read_text()
            try:
                return self.ask("/healthz").status == 200
            except OSError:
                return False

        until(answers, f"{self.name} ready")
        return self

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)

    def ask(self, path, body=None, method=None, **headers):
        connection = self.connect()
        try:
            sent = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method or ("GET" if body is None else "POST"), path, body, sent)
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def form(self, path, basket="", **fields):
        return self.ask(path, urlencode(fields), Cookie=f"basket={basket}")

    def order(self, key=KEY, name="Ann", card="card-ok", **items):
        body = json.dumps({"items": items or {"mug": 2}, "name": name, "card": card})
        return self.ask("/orders", body, Idempotency_Key=key)

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def ended(self):
        try:
            return self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            pytest.fail(f"{self.name} did not end: {self.log.read_text()[-2000:]}")

    def refuses(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE):
                return False
        except ConnectionResetError:
            return False  # it was closed in the middle of this: the next one tells
        except ConnectionRefusedError:
            return True

    def kill(self):
        self.process.kill()
        self.process.wait()


class Starter:
    """Starts services, knows where the others are, and ends them all."""

    def __init__(self, directory):
        self.directory, self.started, self.ports = directory, [], {name: free_port() for name in STARTS}

    def __call__(self, *names, source=(), **env):
        urls = {f"{name.upper()}_URL": f"http://127.0.0.1:{port}" for name, port in self.ports.items()}
        new = []
        for name in names:
            log = self.directory / f"{name}.log"
            new.append(Running(name, log, self.ports[name], dict(source).get(name), **(urls | env)))
            self.started.append(new[-1])
        for one in new:
            one.ready()
        return new[0] if len(new) == 1 else new

    def log(self, name):
        return (self.directory / f"{name}.log").read_text()

    def end(self):
        for one in self.started:
            one.kill()


@pytest.fixture
def start(tmp_path):
    starter = Starter(tmp_path)
    yield starter
    starter.end()


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """All five, for tests that change nothing but orders."""
    starter = Starter(tmp_path_factory.mktemp("shop"))
    try:
        starter(*STARTS, STEP_SECONDS="0.2", DELAY_MS="1")
        starter.storefront, starter.orders = starter.started[0], starter.started[3]
        yield starter
    finally:
        starter.end()


@contextmanager
def callee(answer):
    """A service of the test's own: `answer(path, body)` gives status and value, bytes as they are."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            asked.append((self.path, dict(self.headers), body))
            status, value = answer(self.path, body)
            data = value if isinstance(value, bytes) else json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST  # noqa: N815 - the library's names

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


PRODUCTS = {"products": [{"sku": "mug", "name": "<b>Mug</b>", "price": 500, "about": "A & B"}]}


# --- the file -----------------------------------------------------------------------------------------------------


def test_the_file_is_right_and_gives_no_warning():
    system = load(SHOP / "atoll.yaml")
    assert set(system.services) == set(STARTS)
    assert not system.warnings


def test_copies_are_copies():
    for name, holders in (("server.py", PYTHON), ("calls.py", ["storefront", "orders"])):
        assert len({(SHOP / "services" / holder / name).read_bytes() for holder in holders}) == 1


# --- each service -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STARTS)
def test_a_connection_is_kept_through_good_and_bad_answers(start, name):
    service = start(name)
    connection = service.connect()
    connection.connect()
    own = connection.sock
    for method, path, body in (("GET", "/healthz", None), ("POST", "/nowhere", b"x=1"), ("GET", "/nowhere", None)):
        connection.request(method, path, body)
        answer = connection.getresponse()
        assert answer.version == 11
        assert (answer.status == 200) == (path == "/healthz")
        answer.read()
        assert connection.sock is own
    connection.close()


@pytest.mark.parametrize("name", STARTS)
def test_sigterm_closes_idle_connections_and_ends_cleanly(start, name):
    service = start(name)
    with socket.create_connection(("127.0.0.1", service.port), timeout=DEADLINE) as idle:
        idle.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200 OK" in idle.recv(4096)
        service.terminate()
        assert idle.recv(4096) == b""
    assert service.ended() == 0
    assert service.log.read_text().endswith("ended\n")


@pytest.mark.parametrize("name", PYTHON)
def test_many_at_once(start, name):
    service = start(name)
    with ThreadPoolExecutor(64) as pool:
        answers = list(pool.map(lambda _: service.ask("/healthz").status, range(256)))
    assert answers == [200] * 256


@pytest.mark.parametrize("name", PYTHON)
@pytest.mark.parametrize(
    "head",
    ["Content-Length: 100000", "Content-Length: -1", "Content-Length: x", "Transfer-Encoding: chunked"],
)
def test_bodies_without_a_sensible_length_are_refused(start, name, head):
    service = start(name)
    with socket.create_connection(("127.0.0.1", service.port), timeout=DEADLINE) as connection:
        connection.sendall(f"POST / HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n".encode())
        received = connection.makefile("rb").read()
    assert received.startswith(b"HTTP/1.1 400 ")
    assert service.ask("/healthz").status == 200


@pytest.mark.parametrize("name", PYTHON)
def test_a_caller_that_goes_away_leaves_no_trace(start, name):
    service = start(name)
    for sent in (b"", b"GET /hea", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc"):
        with socket.create_connection(("127.0.0.1", service.port)) as connection:
            connection.sendall(sent)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    assert service.ask("/healthz").status == 200
    service.terminate()
    assert service.ended() == 0
    assert "Traceback" not in service.log.read_text()


def test_head_has_no_body(shop):
    with socket.create_connection(("127.0.0.1", shop.storefront.port), timeout=DEADLINE) as connection:
        connection.sendall(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        received = connection.makefile("rb")
        head = [received.readline()]
        while head[-1] != b"\r\n":
            head.append(received.readline())
        assert any(re.fullmatch(rb"Content-Length: \d{4,}\r\n", line) for line in head)
        assert received.readline() == b"HTTP/1.1 200 OK\r\n"


def test_who_had_connected_before_sigterm_is_served(start):
    catalog = start("catalog")
    catalog.process.send_signal(signal.SIGSTOP)  # so that they wait in the queue of the listener
    with ExitStack() as stack:
        waiting = [stack.enter_context(socket.create_connection(("127.0.0.1", catalog.port), 20)) for _ in range(10)]
        for connection in waiting:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        catalog.terminate()
        catalog.process.send_signal(signal.SIGCONT)
        answers = [connection.makefile("rb").read() for connection in waiting]
    assert all(answer.startswith(b"HTTP/1.1 200 OK") for answer in answers)
    assert catalog.ended() == 0


# --- payments -----------------------------------------------------------------------------------------------------


CHARGE = json.dumps({"order": "1", "amount": 100, "currency": "EUR", "card": "card-ok"})


def test_every_instance_of_payments_gives_the_same_charge_for_a_key(tmp_path):
    with ExitStack() as stack:
        ids = []
        for number in range(2):
            one = Running("payments", tmp_path / f"{number}.log")
            stack.callback(one.kill)
            one.ready()
            ids += [one.ask("/charges", CHARGE, Idempotency_Key=key).json["id"] for key in (KEY, "another-key")]
    assert ids[:2] == ids[2:]
    assert ids[0] != ids[1]


@pytest.mark.parametrize(
    "body",
    [
        "",
        "[",
        "null",
        "7",
        "{}",
        '{"order":"1","amount":0,"currency":"EUR","card":"card-ok"}',
        '{"order":"1","amount":"9","currency":"EUR","card":"card-ok"}',
        '{"order":"1","amount":9,"currency":"USD","card":"card-ok"}',
        "x" * 70_000,
    ],
)
def test_payments_refuses_what_is_no_charge(shop, body):
    payments = shop.started[4]
    assert payments.ask("/charges", body, Idempotency_Key=KEY).status == 422


def test_payments_needs_a_key(shop):
    assert shop.started[4].ask("/charges", CHARGE).status == 400


def test_payments_finishes_what_it_began(start):
    payments = start("payments", DELAY_MS="300")
    with socket.create_connection(("127.0.0.1", payments.port), timeout=DEADLINE) as connection:
        head = f"POST /charges HTTP/1.1\r\nHost: x\r\nIdempotency-Key: {KEY}\r\nExpect: 100-continue\r\n"
        connection.sendall(f"{head}Content-Length: {len(CHARGE)}\r\n\r\n".encode())
        assert b"100 Continue" in connection.recv(4096)  # it is in: from here on it has to be answered
        payments.terminate()
        until(payments.refuses, "no new connection")
        connection.sendall(CHARGE.encode())
        received = connection.makefile("rb").read()
    assert b" 201 Created" in received
    assert b"Connection: close" in received
    assert payments.ended() == 0


# --- orders -------------------------------------------------------------------------------------------------------


def test_an_order_costs_what_the_catalog_says(shop):
    answer = shop.orders.order("priced-by-catalog", mug=2, kite=1)
    assert answer.status == 201
    assert answer.json["total"] == 2 * 1890 + 2700
    assert answer.json["charge"].startswith("ch_")
    assert shop.orders.ask(f"/orders/{answer.json['id']}").json["name"] == "Ann"


def test_a_quote_is_what_the_order_would_cost_with_shipping(shop):
    small, large = (shop.orders.ask(f"/api/quote?{basket}").json for basket in ("mug=1", "mug=1&lamp=2"))
    assert (small["total"], small["shipping"], large["total"], large["shipping"]) == (1890, 490, 14690, 0)
    for wrong in ("", "?", "?mug=0", "?mug=21", "?mug=x", "?mug=1&lamp=-1", "?anchor=1"):
        assert shop.orders.ask(f"/api/quote{wrong}").status == 422


@pytest.mark.parametrize("version", ["healthy", "failing", "failing-rarely", "slow", "refusing", "different"])
def test_versions_to_play_with_differ_as_they_say(start, tmp_path, monkeypatch, version):
    found = spec_from_file_location("play", SHOP / "play.py")
    play = module_from_spec(found)
    found.loader.exec_module(play)
    assert set(play.VERSIONS) == {"healthy", "failing", "failing-rarely", "slow", "refusing", "different"}
    copy = shutil.copytree(SHOP, tmp_path / "shop", ignore=shutil.ignore_patterns(".*", "node_modules"))
    for name, value in {"HERE": copy, "SOURCE": copy / ".play" / "orders", "FILE": copy / "play.yaml"}.items():
        monkeypatch.setattr(play, name, value)
    compared = version == play.WHAT_IT_ANSWERS
    play.prepare(version, play.COMPARED if compared else play.JUDGED)
    orders = load(play.FILE).services["orders"]
    assert (orders.instances, orders.rollout.strategy) == (3, "shadow-then-canary" if compared else "canary")
    assert compared or orders.rollout.judge.counts == ("quotes",)
    _, orders = start("catalog", "orders", source={"orders": play.SOURCE})
    questions = {"failing": 60, "refusing": 60, "failing-rarely": 600}.get(version, 5)
    answers = [orders.ask("/api/quote?mug=1") for _ in range(questions)]
    failed, refused = (sum(answer.status == status for answer in answers) for status in (500, 422))
    # A fifth, a fiftieth and a half, by chance: outside of these once in a hundred thousand times.
    least, most = {"failing": (1, 30), "failing-rarely": (1, 40)}.get(version, (0, 0))
    assert least <= failed <= most
    assert 10 <= refused <= 50 if version == "refusing" else not refused
    good = next(answer.json for answer in answers if answer.status == 200)
    assert good["shipping"] == (0 if version == "different" else 490)


def test_the_same_key_at_the_same_time_is_one_order_and_one_charge(start):
    arrived, go = threading.Semaphore(0), threading.Event()

    def pay(_path, _body):
        arrived.release()
        assert go.wait(DEADLINE)
        return 201, {"id": "ch_1"}

    with callee(pay) as (payments, charges), ThreadPoolExecutor(8) as pool:
        start("catalog")
        orders = start("orders", PAYMENTS_URL=payments)
        try:
            waiting = [pool.submit(orders.order) for _ in range(8)]
            assert arrived.acquire(timeout=DEADLINE)
            assert orders.ask("/healthz").status == 200
        finally:
            go.set()
        answers = [one.result() for one in waiting]
    assert sorted(a.status for a in answers) == [200] * 7 + [201]
    assert len({a.json["id"] for a in answers}) == 1
    assert len(charges) == 1


def test_a_key_is_for_one_order(shop):
    assert shop.orders.order("used-for-a-mug", mug=1).status == 201
    assert shop.orders.order("used-for-a-mug", mug=1).status == 200
    assert shop.orders.order("used-for-a-mug", mug=2).status == 422


def test_orders_needs_a_key(shop):
    for key in ("", "short", "with space in it", "x" * 81):
        assert shop.orders.order(key).status == 400


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {},
        {"items": {}, "name": "A", "card": "c"},
        {"items": {"mug": 0}, "name": "A", "card": "c"},
        {"items": {"mug": 21}, "name": "A", "card": "c"},
        {"items": {"mug": True}, "name": "A", "card": "c"},
        {"items": {"mug": "1"}, "name": "A", "card": "c"},
        {"items": ["mug"], "name": "A", "card": "c"},
        {"items": {"mug": 1}, "name": "  ", "card": "c"},
        {"items": {"mug": 1}, "name": "A" * 81, "card": "c"},
        {"items": {"mug": 1}, "name": "A", "card": 4},
        {"items": {"unicorn": 1}, "name": "A", "card": "c"},
    ],
)
def test_orders_refuses_what_is_no_order(shop, value):
    answer = shop.orders.ask("/orders", json.dumps(value), Idempotency_Key="wrong-order")
    assert answer.status == 422
    assert answer.json["error"]


def test_a_declined_card_is_no_order_and_the_key_stays_free(shop):
    assert shop.orders.order("declined-first", card="card-declined").status == 402
    assert shop.orders.order("declined-first").status == 201


def test_payments_down_is_no_order_until_it_is_back(start):
    start("catalog")
    orders = start("orders")
    assert orders.order().status == 503
    start("payments")
    assert orders.order().status == 201


def test_what_the_platform_says_to_a_call_that_it_refuses_is_in_the_log(start):
    """The third thing that `make demo` says to try."""
    refusal = "orders may not call payments: add `payments` under services.orders.calls in atoll.yaml"
    with callee(lambda *_: (403, f"{refusal}\n".encode())) as (url, _):
        orders, front, _ = start("orders", "storefront", "catalog", PAYMENTS_URL=url)
        assert orders.order().status == 503
        page = front.form("/checkout", "mug.1", key=KEY, name="Ann", card="card-ok")
    assert (page.status, "nothing was ordered" in page.text) == (503, True)
    assert f"order not placed: payments answered 403: {refusal} id=" in start.log("orders")


def test_orders_finishes_what_it_began(start):
    arrived, go = threading.Event(), threading.Event()

    def pay(_path, _body):
        arrived.set()
        assert go.wait(DEADLINE)
        return 201, {"id": "ch_1"}

    with callee(pay) as (payments, _), ThreadPoolExecutor(1) as pool:
        start("catalog")
        orders = start("orders", PAYMENTS_URL=payments)
        try:
            open_one = pool.submit(orders.order)
            assert arrived.wait(DEADLINE)
            orders.terminate()
            until(orders.refuses, "no new connection")
        finally:
            go.set()
        answer = open_one.result()
    assert answer.status == 201
    assert answer.headers["Connection"] == "close"
    assert orders.ended() == 0


def test_a_kept_connection_that_was_closed_meanwhile_costs_nothing(start):
    catalog, orders = start("catalog", "orders")
    start("payments")
    connection = orders.connect()
    for key in ("before-restart", "after-restart"):
        body = json.dumps({"items": {"mug": 1}, "name": "A", "card": "card-ok"})
        connection.request("POST", "/orders", body, {"Idempotency-Key": key})
        answer = Answer(connection.getresponse())
        assert answer.status == 201, answer.text
        catalog.terminate()
        assert catalog.ended() == 0
        catalog = start("catalog")
    connection.close()


# --- recommendations ----------------------------------------------------------------------------------------------


def test_recommendations_are_not_in_the_basket(shop):
    recommendations = shop.started[2]
    for basket in ("", "mug", "mug,lamp", "unicorn", "mug,notebook,hammock"):
        found = recommendations.ask(f"/recommendations?for={basket}").json["skus"]
        assert len(found) == len(set(found)) <= 3
        assert not set(found) & set(basket.split(","))
    assert recommendations.ask("/recommendations?for=mug,lamp").json["skus"][0] == "notebook"


# --- the storefront -----------------------------------------------------------------------------------------------


def test_from_the_shelf_to_the_door(shop):
    front = shop.storefront
    page = front.ask("/")
    assert page.status == 200
    assert page.text.count('class="card"') == 8
    assert "Often taken along" in page.text
    assert "Goes well with your basket" in front.ask("/basket", Cookie="basket=mug.1").text
    added = front.form("/basket", "lamp.1", sku="mug")
    assert (added.status, added.headers["Location"]) == (303, "/?added=mug")
    assert added.headers["Set-Cookie"].startswith("basket=lamp.1~mug.1;")
    assert "Lagoon mug is in your basket" in front.ask("/?added=mug", Cookie="basket=mug.1").text
    changed = front.form("/basket/change", "lamp.1~mug.1", sku="mug", count="3")
    assert changed.headers["Set-Cookie"].startswith("basket=lamp.1~mug.3;")
    removed = front.form("/basket/change", "lamp.1~mug.3", sku="lamp", count="3", remove="1")
    assert removed.headers["Set-Cookie"].startswith("basket=mug.3;")
    assert "€56.70" in front.ask("/basket", Cookie="basket=mug.3").text
    checkout = front.ask("/checkout", Cookie="basket=mug.3")
    paid = front.form("/checkout", "mug.3", key=checkout.key, name="Ann <i>", card="card-ok")
    assert paid.status == 303
    assert paid.headers["Set-Cookie"].startswith("basket=; ")
    order = front.ask(paid.headers["Location"])
    assert "Thank you, Ann &lt;i&gt;" in order.text
    assert "€56.70" in order.text
    again = front.form("/checkout", "mug.3", key=checkout.key, name="Ann <i>", card="card-ok")
    assert again.headers["Location"] == paid.headers["Location"]


def test_an_order_is_followed_to_the_door(shop):
    order = shop.orders.order("follow-this-order").json["id"]
    connection = shop.storefront.connect()
    connection.request("GET", f"/orders/{order}/events")
    stream = connection.getresponse()
    assert stream.headers["Content-Type"] == "text/event-stream"
    seen = []
    while "delivered" not in seen:
        line = stream.readline()
        assert line
        if line.startswith(b"data:"):
            seen.append(json.loads(line[5:])["status"])
    states = ["placed", "packed", "shipped", "delivered"]
    assert seen == [s for s in states if s in seen]
    connection.close()


def test_a_stream_ends_properly_with_its_instance(start):
    start("catalog", "payments")
    orders, front = start("orders", "storefront")
    order = orders.order().json["id"]
    connection = front.connect()
    connection.request("GET", f"/orders/{order}/events")
    stream = connection.getresponse()
    assert stream.readline() == b"retry: 500\n"
    front.terminate()
    stream.read()  # raises IncompleteRead where the last chunk is missing
    assert front.ended() == 0


def test_a_stream_outlives_orders_and_says_when_the_order_is_gone(start):
    start("catalog", "payments")
    orders, front = start("orders", "storefront")
    order = orders.order().json["id"]
    connection = front.connect()
    connection.request("GET", f"/orders/{order}/events")
    stream = connection.getresponse()
    while not stream.readline().startswith(b"data:"):
        pass
    orders.kill()
    until(lambda: "orders did not answer" in start.log("storefront"), "a look that failed")
    start("orders")
    rest = stream.read()
    connection.close()
    assert rest.endswith(b"event: gone\ndata: {}\n\n")
    assert front.ask(f"/orders/{order}").status == 404
    assert front.ask(f"/orders/{order}/events").status == 404


def test_without_recommendations_the_shop_sells(start):
    front, *_ = start("storefront", "catalog", "orders", "payments")
    page = front.ask("/", Cookie="basket=mug.1")
    assert page.status == 200
    assert page.text.count('class="card"') == 8
    assert "no-suggestions" in page.text
    assert "no-suggestions" in front.ask("/basket", Cookie="basket=mug.1").text
    assert front.form("/checkout", "mug.1", key=KEY, name="Ann", card="card-ok").status == 303


def asked_for_flags(start, **answer):
    """A basket page and an order, where the flag is answered so."""
    said = {"key": "quick-checkout", "variant": "on", "reason": "STATIC", "metadata": {}} | answer
    with callee(lambda *_: (said.pop("status", 200), said)) as (url, asked):
        storefront, *_ = start("storefront", "catalog", "recommendations", "orders", "payments", FLAGS_URL=url)
        page = storefront.ask("/basket", Cookie="basket=mug.1")
        order = storefront.form("/checkout", "mug.1", key=KEY, name="Ann", card="card-ok")
    return page, order, asked


def test_with_the_flag_one_pays_on_the_basket_page_and_stays_the_same_visitor(start):
    page, order, asked = asked_for_flags(start, value=True, metadata={"releasing": "on"})
    assert 'href="/checkout"' not in page.text
    assert "Pay €" in page.text
    assert page.key
    assert (page.headers["x-atoll-flag"], order.headers["x-atoll-flag"]) == ("quick-checkout=on",) * 2
    assert order.status == 303
    path, _, body = asked[0]
    assert path == "/ofrep/v1/evaluate/flags/quick-checkout"
    visitor = json.loads(body)["context"]["targetingKey"]
    assert f"visitor={visitor};" in page.headers["set-cookie"]


@pytest.mark.parametrize(
    "answer",
    [{"value": False, "variant": "off"}, {"reason": "DISABLED", "variant": ""}, {"status": 403}, {"status": 503}],
)
def test_without_the_flag_or_an_answer_the_shop_is_as_it_was(start, answer):
    page, order, _ = asked_for_flags(start, **answer)
    assert 'href="/checkout"' in page.text
    assert (page.status, order.status) == (200, 303)
    assert "x-atoll-flag" not in page.headers


def test_the_flags_of_the_example_are_right():
    document = json.loads((SHOP / "flags.json").read_text())
    assert lint(document, today=date(2026, 11, 25)) == []
    declared = load(SHOP / "atoll.yaml").services["storefront"].flags
    assert tuple(document["flags"]) == declared


def test_without_the_catalog_a_page_says_so_and_the_basket_stays(start):
    front, catalog = start("storefront", "catalog")
    catalog.terminate()
    assert catalog.ended() == 0
    page = front.ask("/", Cookie="basket=mug.2")
    assert (page.status, page.headers["Retry-After"]) == (503, "2")
    assert "Your basket is safe" in page.text
    assert ">2</span>" in page.text
    assert page.headers["Set-Cookie"] is None
    start("catalog")
    assert front.ask("/").status == 200


def test_when_the_till_is_closed_the_same_key_is_tried_again(start):
    front, _, orders = start("storefront", "catalog", "orders")
    failed = front.form("/checkout", "mug.1", key=KEY, name="Ann", card="card-ok")
    assert failed.status == 503
    assert "you pay only once" in failed.text
    assert failed.key == KEY
    assert 'value="Ann"' in failed.text
    orders.kill()
    assert front.form("/checkout", "mug.1", key=KEY, name="Ann", card="card-ok").key == KEY
    start("orders", "payments")
    assert front.form("/checkout", "mug.1", key=KEY, name="Ann", card="card-ok").status == 303


def test_a_declined_card_asks_for_another_with_a_new_key(shop):
    page = shop.storefront.form("/checkout", "mug.1", key="declined-key", name="Ann", card="card-declined")
    assert page.status == 402
    assert "The bank said no" in page.text
    assert page.key != "declined-key"


def test_hostile_words_are_only_words(start):
    with callee(lambda path, _: (200, PRODUCTS if "products" in path else {"skus": ["mug"]})) as (url, _):
        front = start("storefront", CATALOG_URL=url, RECOMMENDATIONS_URL=url)
        for path in ("/", "/basket", "/checkout", "/?added=mug"):
            page = front.ask(path, Cookie="basket=mug.1")
            assert page.status == 200
            assert "<b>" not in page.text
            assert "&lt;b&gt;Mug" in page.text
            assert "default-src 'none'" in page.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    "cookie", ["basket=", "basket=x", "basket=<.1", 'basket="', "basket=mug.0~mug.999", ";;;=", "="]
)
def test_a_basket_that_makes_no_sense_is_empty(shop, cookie):
    assert "Your basket is empty" in shop.storefront.ask("/basket", Cookie=cookie).text


@pytest.mark.parametrize(
    ("path", "fields"),
    [("/basket", {"sku": "unicorn"}), ("/basket", {}), ("/nowhere", {}), ("/orders/x/events", {})],
)
def test_what_is_not_there_is_not_found(shop, path, fields):
    assert shop.storefront.form(path, **fields).status == 404


@pytest.mark.parametrize(
    "path", ["/orders/nobody", "/orders/nobody/events", "/static/../main.py", "/static/%2e%2e/main.py"]
)
def test_what_is_not_there_cannot_be_read(shop, path):
    assert shop.storefront.ask(path).status == 404


@pytest.mark.parametrize("count", ["", "-1", "1.5", "٣", "9999", "x"])
def test_counts_that_are_none_change_nothing(shop, count):
    answer = shop.storefront.form("/basket/change", "mug.1", sku="mug", count=count)
    assert answer.status == 303
    assert answer.headers["Set-Cookie"] is None


def test_the_request_id_goes_all_the_way(shop):
    body = urlencode({"key": "followed-by-its-id", "name": "Ann", "card": "card-ok"})
    answer = shop.storefront.ask("/checkout", body, Cookie="basket=mug.1", X_Request_Id="id-of-this-test")
    assert answer.headers["X-Request-Id"] == "id-of-this-test"
    for name in ("storefront", "orders", "catalog", "payments"):
        until(lambda name=name: "id=id-of-this-test" in shop.log(name), f"the id in {name}'s log")


# --- load.py ------------------------------------------------------------------------------------------------------


def run_load(url, *options):
    command = [sys.executable, str(SHOP / "load.py"), "--url", url, *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_load_says_that_all_is_well(shop):
    done = run_load(shop.storefront.url, "--rate", "40", "--seconds", "1", "--clients", "4", "--stream", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"requests +40\nfailed +0\n", done.stdout)
    assert re.search(r"stream +[2-9]\d* events, opened again 0 times", done.stdout)


def test_load_counts_each_failure(start):
    numbers = iter(range(1000))
    with callee(lambda *_: (500 if next(numbers) % 4 == 0 else 200, {})) as (url, _):
        done = run_load(url, "--rate", "40", "--seconds", "1", "--clients", "1")
    assert done.returncode == 1
    assert re.search(r"failed +10\n +answered 500: 10\n", done.stdout)


def test_load_counts_cut_off_answers_and_silence():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(DEADLINE)
        port = listener.getsockname()[1]

        def cut_off():
            for _ in range(5):
                try:
                    connection, _ = listener.accept()
                except TimeoutError:
                    return
                with connection:
                    connection.recv(4096)
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")

        thread = threading.Thread(target=cut_off)
        thread.start()
        done = run_load(f"http://127.0.0.1:{port}", "--rate", "5", "--seconds", "1", "--clients", "1")
        thread.join()
    assert done.returncode == 1
    assert "the answer was cut off: 5\n" in done.stdout


def test_load_does_not_blame_a_kept_connection_that_ends(start):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(DEADLINE)
        port = listener.getsockname()[1]
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

        def one_each():
            for _ in range(5):
                try:
                    connection, _ = listener.accept()
                except TimeoutError:
                    return
                with connection:
                    connection.recv(4096)
                    connection.sendall(answer)

        thread = threading.Thread(target=one_each)
        thread.start()
        done = run_load(f"http://127.0.0.1:{port}", "--rate", "5", "--seconds", "1", "--clients", "1")
        thread.join()
    assert done.returncode == 0, done.stdout
    assert re.search(r"failed +0\n", done.stdout)


def test_load_says_when_nobody_is_there():
    done = run_load(f"http://127.0.0.1:{free_port()}", "--rate", "5", "--seconds", "1", "--stream")
    assert done.returncode == 1
    assert re.search(r"failed +5\n", done.stdout)
