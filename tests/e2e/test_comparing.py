"""A parallel run on real parts: what differs is caught before anybody is served, and a shadow writes nothing."""

import json

import pytest

from e2e.harness import until
from e2e.load import Load

pytestmark = [pytest.mark.e2e, pytest.mark.linux, pytest.mark.timeout(150)]

SERVICES = """
  web:
    source: web
    instances: 2
    health: {path: /healthz, interval: 500ms}
    routes: [/]
    calls: [pay]
    compare: {share: 100%, samples: 30, for: 1s, masked: [name, headers], shown: [currency]}
    release: {steps: [{weight: 20%, for: 1h}], drain: 1s, grace: 5s}
  pay: {source: pay, health: /healthz}
"""
BEFORE = "    status, text = 200, json.dumps({"
ANOTHER_CURRENCY = '    extra = {"currency": "USD" if path.startswith("/price") else "EUR"}\n'
SAME_CURRENCY = '    extra = {"currency": "EUR"}\n'
CHARGES = """
    if path.startswith("/price"):
        print("charge", await asyncio.to_thread(charge, "POST"), await asyncio.to_thread(charge, "GET"), flush=True)
"""
CHARGE = """
def charge(method):
    try:
        with urllib.request.urlopen(urllib.request.Request("http://pay/charge", method=method), timeout=5) as response:
            return response.status
    except urllib.error.HTTPError as error:
        return error.code


def call(url):"""


def version(system, extra, more=""):
    """The program with one field more in its answers, which does something else besides."""
    system.source("web")
    main = system.directory / "web" / "main.py"
    text = (system.directory / "pay" / "main.py").read_text().replace(BEFORE, f"{more}{extra}{BEFORE}**extra, ")
    main.write_text(text.replace("\ndef call(url):", CHARGE))


def state(system):
    return system.status("web")["why"]


def test_a_difference_is_caught_unseen_and_what_is_alike_goes_on_having_written_nothing(system):
    system.source("pay")
    version(system, SAME_CURRENCY)
    system.write(SERVICES)
    system.run("up", "--detach")
    with Load(system.port, "/price/7", clients=2, pause=0.05) as load:
        version(system, ANOTHER_CURRENCY)
        system.run("deploy", "web")
        assert "compared first" in system.run("release", "web").stdout
        seen = []
        until(lambda: seen.append(system.get("/price/8")[1]) or not system.status("web")["target"], seconds=60)
        assert not [body for body in seen if "web-r2-" in body]
        last = system.json("releases", "web")[0]
        assert (last["number"], last["state"]) == (2, "rolled-back")
        assert "currency in GET /price/{id}" in last["note"]
        found = system.json("compare", "web")
        assert [(f["endpoint"], f["path"]) for f in found["fields"] if f["kind"] == "different"] == [
            ("GET /price/{id}", "currency")
        ]
        assert found["fields"][0]["examples"][0] == {"primary": "'EUR'", "secondary": "'EUR'", "candidate": "'USD'"}

        version(system, SAME_CURRENCY, CHARGES)
        system.run("deploy", "web")
        system.run("release", "web")
        until(lambda: "canary at 20%" in state(system), seconds=60, what=f"its first users ({state(system)})")
    found = system.json("compare", "web")
    assert "calls that the new release wanted to make were blocked" in system.run("compare", "web").stdout
    assert (found["verdict"], found["running"], found["samples"] >= 30) == ("pass", False, True)
    assert found["blocked"] >= found["samples"]
    assert load.failed == []
    lines = [json.loads(line) for line in system.run("logs", "web", "-n", "2000", "--json").stdout.splitlines()]
    shadow = [line["text"] for line in lines if "web-r3-" in line["instance"]]
    assert "charge 409 200" in shadow  # a write is refused, a look is not
