import asyncio
import gc
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import threading
import time
from math import inf
from pathlib import Path

import pytest
from flagserver import PATIENCE, FlagServer, document, flag, until

from atoll.kit import clock, subscribe
from atoll.kit.flags import FlagClient, InvalidFlags, Notice, keeper
from atoll.kit.flags.client import RECONNECT
from atoll.kit.flags.keeper import _endless


def threads():
    return [each for each in threading.enumerate() if each.name == "atoll-flags"]


def test_a_change_is_there_within_a_second(server, client):
    flags = client(server.url)
    assert flags.ready(5)
    assert flags.boolean("f", True) is False
    until(lambda: server.streams == 1)
    for variant in ("on", "off", "on"):
        server.publish(document(variant))
        assert until(lambda wanted=variant == "on": flags.boolean("f", not wanted) is wanted) < 1.0
    assert flags.problem == ""


def test_many_clients_at_once_at_a_server_with_a_short_queue(client, tmp_path):
    server = FlagServer(tmp_path / "s.sock")
    server.backlog, server.beat = 1, 5
    server.start()
    clients = [client(server.url) for _ in range(20)]
    until(lambda: server.streams == 20)
    problems = []
    for each in clients:
        each.subscribe(lambda notice: problems.append(notice.message) if notice.kind == "problem" else None)
    server.publish(document("on"))
    assert until(lambda: all(each.boolean("f", False) for each in clients)) < 1.0
    assert problems == []
    server.stop()


def test_a_stream_that_ends_with_its_connection(tcp, client):
    tcp.chunked = False
    flags = client(tcp.url)
    until(lambda: tcp.streams == 1)
    tcp.publish(document("on"))
    assert until(lambda: flags.boolean("f", False)) < 1.0


@pytest.fixture
def tls(tmp_path):
    """A server with a certificate for an address, signed by itself; `trusted` is the file that says to believe it."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl to make a certificate with")
    made = []

    def make(address):
        key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
        asked = ("-nodes", "-days", "2", "-subj", "/CN=flags", "-addext", f"subjectAltName=IP:{address}")
        new = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")
        subprocess.run([openssl, *new, *asked, "-keyout", key, "-out", certificate], check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        made.append(FlagServer(tls=context).start())
        made[-1].trusted = str(certificate)
        return made[-1]

    yield make
    for each in made:
        each.stop()


def test_over_tls(tls, client, monkeypatch):
    server = tls("127.0.0.1")
    monkeypatch.setenv("SSL_CERT_FILE", server.trusted)
    flags = client(server.url)
    assert flags.ready(PATIENCE)
    server.publish(document("on"))
    until(lambda: flags.boolean("f", False))


@pytest.mark.parametrize(("address", "trusted"), [("127.0.0.1", False), ("127.0.0.2", True)])
def test_over_tls_only_who_is_believed(tls, client, monkeypatch, address, trusted):
    server = tls(address)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", server.trusted)
    flags = client(server.url)
    until(lambda: "certificate verify failed" in flags.problem)
    assert (flags.flags, server.asked) == (None, [])


def test_what_is_asked_for(tcp, client):
    flags = client(tcp.url + "/", headers={"Authorization": "Bearer x"})
    until(lambda: tcp.streams == 1)
    tcp.publish(document("on"))
    until(lambda: flags.boolean("f", False))
    (first, stream, second, *_) = tcp.asked
    assert [first[0], stream[0], second[0]] == ["/flags", "/flags/changes", "/flags"]
    assert "If-None-Match" not in first[1]
    assert second[1]["If-None-Match"] == '"1"'
    assert all(headers["Authorization"] == "Bearer x" for _, headers in tcp.asked)


def test_before_there_is_a_document():
    server = FlagServer().start()
    server.stop()
    with FlagClient(server.url) as flags:
        assert not flags.ready(0)
        assert flags.boolean("f", True) is True
        assert flags.details("f", 1).error_code == "PROVIDER_NOT_READY"
        assert (flags.flags, flags.age, flags.stale) == (None, inf, True)
        assert flags.counts() == {}
        until(lambda: "ConnectionRefusedError" in flags.problem)


def test_it_starts_from_disk_without_a_server(server, client, tmp_path):
    server.publish(document("on"))
    first = client(server.url, cache_dir=tmp_path / "cache")
    until(lambda: list((tmp_path / "cache").glob("flags-*.json")))
    first.close()
    server.stop()
    (kept,) = (tmp_path / "cache").iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600
    assert kept.parent.stat().st_mode & 0o777 == 0o700
    second = client(server.url, cache_dir=tmp_path / "cache")
    assert second.ready(0)  # at once, without the thread
    assert second.boolean("f", False) is True
    assert second.age < 60
    assert not second.stale


def test_what_is_on_disk_is_as_old_as_it_is(client, tmp_path):
    server = FlagServer().start()
    first = client(server.url, cache_dir=tmp_path)
    until(lambda: list(tmp_path.glob("flags-*.json")))
    first.close()
    server.stop()
    (kept,) = tmp_path.iterdir()
    os.utime(kept, (time.time() - 500, time.time() - 500))
    second = client(server.url, cache_dir=tmp_path, max_age=400)
    assert 499 < second.age < 510
    assert second.details("f", True).reason == "STALE"


def test_on_disk_and_unchanged_is_fresh(tcp, client, tmp_path):
    first = client(tcp.url, cache_dir=tmp_path)
    until(lambda: list(tmp_path.glob("flags-*.json")))
    first.close()
    (kept,) = tmp_path.iterdir()
    os.utime(kept, (time.time() - 500, time.time() - 500))
    tcp.asked.clear()
    second = client(tcp.url, cache_dir=tmp_path)
    until(lambda: second.age < 100)
    assert [headers["If-None-Match"] for path, headers in tcp.asked if path == "/flags"] == ['"1"']
    until(lambda: time.time() - kept.stat().st_mtime < 100)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"etag": "x"}', json.dumps({"etag": "x", "document": '{"flags": 1}'})]
)
def test_what_is_broken_on_disk_is_passed_over(tcp, client, tmp_path, text):
    first = client(tcp.url, cache_dir=tmp_path)
    until(lambda: list(tmp_path.glob("flags-*.json")))
    first.close()
    tcp.stop()
    (kept,) = tmp_path.iterdir()
    kept.write_text(text)
    second = client(tcp.url, cache_dir=tmp_path)
    assert not second.ready(0)
    tcp.start()
    assert second.ready(5)
    until(lambda: "defaultVariant" in kept.read_text())


def test_a_directory_that_cannot_be_written_is_a_problem_and_no_more(tcp, client, tmp_path):
    (tmp_path / "file").write_text("")
    flags = client(tcp.url, cache_dir=tmp_path / "file")
    assert flags.ready(5)
    heard = []
    flags.subscribe(heard.append)
    tcp.publish(document("on"))
    until(lambda: any("could not be kept on disk" in each.message for each in heard))
    until(lambda: flags.boolean("f", False))


def test_somebody_elses_file_is_not_read(tcp, client, tmp_path, monkeypatch):
    first = client(tcp.url, cache_dir=tmp_path)
    until(lambda: list(tmp_path.glob("flags-*.json")))
    first.close()
    tcp.stop()
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert not client(tcp.url, cache_dir=tmp_path).ready(0)


def test_stale_and_fresh_again(tcp, client):
    flags = client(tcp.url, max_age=0.3)
    heard = []
    assert flags.ready(5)
    flags.subscribe(lambda notice: heard.append(notice.kind))
    until(lambda: tcp.streams == 1)
    assert flags.details("f", True).reason == "STATIC"
    tcp.stop()
    until(lambda: "stale" in heard)
    found = flags.details("f", True)
    assert (found.value, found.variant, found.reason) == (False, "off", "STALE")
    assert flags.stale
    assert flags.age > 0.3
    assert flags.problem
    assert flags.details("g", True).reason == "ERROR"
    tcp.start()
    until(lambda: "ready" in heard[heard.index("stale") :])
    assert flags.details("f", True).reason == "STATIC"
    assert flags.problem == ""
    assert heard.count("stale") == 1


def test_heartbeats_keep_it_fresh(tcp, client, monkeypatch):
    flags = client(tcp.url)
    until(lambda: tcp.streams == 1)
    confirmed = flags._keeper.confirmed
    until(lambda: flags._keeper.confirmed > confirmed)
    assert [path for path, _ in tcp.asked].count("/flags") == 1


def test_a_server_that_says_nothing_is_asked_again(tcp, client):
    tcp.beat = 60
    client(tcp.url, max_age=0.2)
    until(lambda: [path for path, _ in tcp.asked].count("/flags") >= 3)


def test_a_server_that_dies_and_returns(server, client):
    flags = client(server.url)
    for variant in ("on", "off", "on"):
        until(lambda: server.streams == 1)
        server.stop()
        until(lambda: flags.problem)
        assert flags.boolean("f", True) in (True, False)
        server.publish(document(variant))
        server.start()
        until(lambda wanted=variant == "on": flags.boolean("f", not wanted) is wanted)


def test_a_server_without_a_stream_is_asked_now_and_then(tcp, client):
    tcp.stream = False
    flags = client(tcp.url)
    assert flags.ready(5)
    tcp.publish(document("on"))
    until(lambda: flags.boolean("f", False))


BROKEN = [
    b"{",
    b"\xff",
    b"[]",
    json.dumps({"flags": {"f": flag("onn")}}).encode(),
    json.dumps({"flags": {"f": flag("on", targeting={"iff": []})}}).encode(),
]


@pytest.mark.parametrize("body", BROKEN)
def test_a_broken_document_never_replaces_a_good_one(tcp, client, tmp_path, body):
    flags = client(tcp.url, cache_dir=tmp_path, max_age=0.4)
    until(lambda: tcp.streams == 1)
    good = flags.flags
    tcp.publish(body)
    until(lambda: flags.problem)
    assert flags.flags is good
    until(lambda: flags.stale)  # what the server has now, is not this
    assert flags.boolean("f", True) is False
    (kept,) = tmp_path.iterdir()
    assert json.loads(json.loads(kept.read_text())["document"]) == document()
    tcp.publish(document("on"))
    until(lambda: flags.boolean("f", False))
    until(lambda: flags.problem == "")


def test_a_broken_document_is_not_fetched_again_and_again(tcp, client):
    flags = client(tcp.url)
    until(lambda: tcp.streams == 1)
    tcp.publish(BROKEN[3])
    until(lambda: "a document was refused: /flags/f/defaultVariant" in flags.problem)
    asked = len(tcp.asked)
    confirmed = flags._keeper.confirmed
    waiter = threading.Event()
    flags.subscribe(lambda _: waiter.set())
    assert not waiter.wait(0.3)  # several heartbeats
    assert (len(tcp.asked), flags._keeper.confirmed) == (asked, confirmed)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"status": 500}, "the server answered 500"),
        ({"status": 404}, "the server answered 404"),
        ({"kind": "text/html"}, "the server sent text/html, not application/json"),
    ],
)
def test_answers_that_are_none(tcp, client, wrong, said):
    for name, value in wrong.items():
        setattr(tcp, name, value)
    flags = client(tcp.url)
    until(lambda: said in flags.problem)
    tcp.status, tcp.kind = 200, "application/json"
    assert flags.ready(5)


def test_a_document_that_is_too_large(tcp, client, monkeypatch):
    monkeypatch.setattr("atoll.kit.flags.source.LARGEST", 10)
    flags = client(tcp.url)
    until(lambda: "larger than 10 bytes" in flags.problem)


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("flood", ["x" * 5000, "data: " + "x" * 5000 + "\n"], ids=["line", "event"])
def test_a_stream_that_sends_what_never_ends_is_broken(tcp, client, tmp_path, flood, chunked):
    tcp.chunked = chunked
    flags = client(tcp.url, cache_dir=tmp_path)
    heard = []
    flags.subscribe(heard.append)
    until(lambda: tcp.streams == 1)
    tcp.flood = flood
    problem = Notice("problem", message="ConnectionError: the stream of changes has an event of more than 65536 bytes")
    until(lambda: heard.count(problem) >= 3)  # it tries again
    assert flags.boolean("f", True) is False
    tcp.flood = ""
    tcp.publish(document("on"))
    assert until(lambda: flags.boolean("f", False)) < 1.0
    until(lambda: flags.problem == "")


def test_a_server_that_asks_for_patience_gets_it(tcp, client):
    tcp.status, tcp.headers = 503, {"Retry-After": "30"}
    flags = client(tcp.url)
    until(lambda: "503" in flags.problem)
    asked = len(tcp.asked)
    assert not flags.ready(0.3)
    assert len(tcp.asked) == asked


def test_a_file(client, tmp_path):
    path = tmp_path / "flags.json"
    path.write_text(json.dumps(document()))
    flags = client(str(path))
    assert flags.ready(5)
    assert flags.boolean("f", True) is False
    path.write_text(json.dumps(document("on", extra=flag())))
    assert until(lambda: flags.boolean("f", False)) < 1.0
    path.write_text("{")
    until(lambda: "refused" in flags.problem)
    assert flags.boolean("f", False) is True
    path.unlink()
    until(lambda: "FileNotFoundError" in flags.problem)
    (tmp_path / "new").write_text(json.dumps(document("off")))
    (tmp_path / "new").rename(path)
    until(lambda: not flags.boolean("f", True))
    assert client(path).ready(5)


@pytest.mark.parametrize("url", ["ftp://x", "file:///x"])
def test_a_source_nobody_knows(url):
    with pytest.raises(ValueError, match="neither http://, https:// nor unix:///: give one of them, or a path"):
        FlagClient(url)


KINDS = {
    "b": (True, {"on": True}), "s": ("x", {"on": "x"}), "i": (7, {"on": 7}), "n": (7.5, {"on": 7.5}),
    "o": ({"a": [1]}, {"on": {"a": [1]}}),
}  # fmt: skip


@pytest.fixture
def kinds(client, tmp_path):
    made = {
        key: {"state": "ENABLED", "variants": variants, "defaultVariant": "on"} for key, (_, variants) in KINDS.items()
    }
    made["disabled"] = flag("on") | {"state": "DISABLED"}
    path = tmp_path / "kinds.json"
    path.write_text(json.dumps({"flags": made}))
    flags = client(path)
    assert flags.ready(5)
    return flags


DEFAULTS = {"boolean": False, "string": "d", "integer": -1, "float": -1.5, "object": {"d": 1}}
FITS = {"boolean": {"b"}, "string": {"s"}, "integer": {"i"}, "float": {"i", "n"}, "object": {"o"}}


@pytest.mark.parametrize("kind", DEFAULTS)
@pytest.mark.parametrize("key", KINDS)
def test_kinds(kinds, kind, key):
    default, (value, _) = DEFAULTS[kind], KINDS[key]
    got = getattr(kinds, kind)(key, default)
    found = kinds.details(key, default)
    assert kinds.details(key, default, kind=kind) == found
    if key in FITS[kind]:
        assert got == found.value == value
        assert type(got) is type(found.value) is (float if kind == "float" else type(value))
        assert found.reason == "STATIC"
    else:
        assert got == found.value == default
        assert (found.variant, found.reason, found.error_code) == (None, "ERROR", "TYPE_MISMATCH")
        assert found.message.endswith(f"not a {kind}")


def test_the_kind_counts_and_not_the_default(kinds):
    assert kinds.details("n", 1, kind="float").value == 7.5
    assert kinds.details("i", None).value == 7
    assert kinds.details("i", (), kind="object").error_code == "TYPE_MISMATCH"


def test_an_object_is_the_callers_own(kinds):
    kinds.object("o", {})["a"].append(2)
    assert kinds.object("o", {}) == {"a": [1]}
    assert kinds.object("nothing", [1]) == [1]


def test_counts(kinds):
    for _ in range(3):
        kinds.boolean("b", False)
    kinds.details("b", False)
    kinds.boolean("disabled", False)
    kinds.boolean("no such flag", False)
    assert kinds.counts() == {"b": {"on": 4}, "disabled": {"": 1}}


def test_what_is_told(tcp, client):
    flags = client(tcp.url)
    heard = []

    def listen(notice):
        heard.append(notice)

    until(lambda: tcp.streams == 1)
    end = flags.subscribe(listen)
    tcp.publish(document("on", g=flag()))
    until(lambda: heard)
    assert heard == [Notice("changed", ("f", "g"))]
    end()
    tcp.publish(document("on"))
    until(lambda: "g" not in flags.flags)
    assert len(heard) == 1


def test_a_listener_that_fails_harms_nobody(tcp, client):
    flags = client(tcp.url)
    until(lambda: tcp.streams == 1)
    heard = []

    def fail(_):
        raise RuntimeError("mine")

    flags.subscribe(fail)
    flags.subscribe(heard.append)
    tcp.publish(document("on"))
    until(lambda: heard)
    assert flags.boolean("f", False) is True
    tcp.publish(document("off"))
    until(lambda: not flags.boolean("f", True))


def test_closing_ends_the_thread_and_not_the_flags(server, client, monkeypatch):
    monkeypatch.setattr(keeper, "_JOIN", PATIENCE)
    server.beat = 60  # a read is woken up, not waited for
    before = len(threads())
    flags = client(server.url)
    until(lambda: server.streams == 1)
    flags.close()
    assert len(threads()) == before
    assert flags.boolean("f", True) is False
    flags.close()


def test_a_client_that_is_let_go_is_closed(tcp):
    before = len(threads())
    flags = FlagClient(tcp.url)
    until(lambda: tcp.streams == 1)
    del flags
    gc.collect()
    until(lambda: len(threads()) == before)


def test_the_waits_grow_and_are_told_as_events_of_the_kit(tcp, client):
    tcp.stop()
    heard = []
    end = subscribe(heard.append)
    flags = client(tcp.url)
    until(lambda: len(heard) > 3)
    end()
    flags.close()
    assert [(each.policy, each.kind, each.reason) for each in heard[:3]] == [
        ("flags", "retry", "try 2"), ("flags", "retry", "try 3"), ("flags", "retry", "try 4")
    ]  # fmt: skip


def test_it_is_not_in_the_way_of_an_event_loop(server, client):
    async def ask():
        flags = client(server.url)
        assert await asyncio.to_thread(flags.ready, 5)
        server.publish(document("on"))
        async with asyncio.timeout(5):
            while not flags.boolean("f", False):  # noqa: ASYNC110 - that asking does not block the loop is the point
                await asyncio.sleep(0)

    asyncio.run(ask())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_follows_by_itself_and_leaves_the_parents_stream_alone(tcp, client):
    flags = client(tcp.url)
    until(lambda: tcp.streams == 1)
    flags.boolean("f", True)
    (stream,) = [each.fileno() for each in flags._keeper._source._open]
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        ok = flags.counts() == {} and not Path(f"/proc/self/fd/{stream}").exists()
        ok = ok and flags.boolean("f", True) is False
        try:
            until(lambda: flags.boolean("f", False))
        except AssertionError:
            ok = False
        flags.close()
        os._exit(0 if ok else 1)
    until(lambda: tcp.streams == 2)  # the child's own, begun with its first question
    tcp.publish(document("on"))
    assert until(lambda: flags.boolean("f", False)) < 1.0
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert len([path for path, _ in tcp.asked if path == "/flags/changes"]) == 2
    tcp.publish(document("off"))
    until(lambda: not flags.boolean("f", True))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize("closed", [True, False])
def test_a_child_that_never_asks_starts_nothing(tcp, client, closed):
    flags = client(tcp.url)
    until(lambda: tcp.streams == 1)
    if closed:
        flags.close()
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        if closed:
            flags.boolean("f", True)
        os._exit(len(threads()))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_child_of_a_client_that_was_never_ready_may_close_it_and_ask(client):
    flags = client("http://127.0.0.1:1")
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        ok = not flags.ready(0)
        flags.close()
        ok = ok and flags.boolean("f", True) is True and threads() == []
        os._exit(0 if ok else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


PROGRAM = """
from atoll.kit.flags import FlagClient
flags = FlagClient({url!r}, cache_dir={cache!r})
assert flags.ready(10)
print(flags.boolean("f", True))
"""


def test_a_program_ends_when_it_ends(server, tmp_path):
    program = PROGRAM.format(url=server.url, cache=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "False\n", "")


def test_importing_the_kit_does_not_import_flags():
    program = "import sys, atoll.kit; print([each for each in sys.modules if each.startswith('atoll.kit.flags')])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == "[]\n"


def test_the_waits_have_jitter_and_an_end(monkeypatch):
    retrying = _endless(RECONNECT)
    monkeypatch.setattr(clock, "chance", lambda: 1.0)
    delays = [retrying.delay(OSError(), tries) for tries in (0, 1, 2, 10, 10**6)]
    assert delays == [0.1, 0.2, 0.4, 2.0, 2.0]
    monkeypatch.setattr(clock, "chance", lambda: 0.5)
    assert retrying.delay(InvalidFlags([]), 3) == 0.4
