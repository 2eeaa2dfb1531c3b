"""Deployment is not release: dark, in steps, judged, taken back; on real parts, under load."""

import json
import time

import pytest

from e2e.harness import until
from e2e.load import Load

pytestmark = [pytest.mark.e2e, pytest.mark.linux, pytest.mark.timeout(240)]

WEB = """
  web:
    source: app
    instances: 3
    health: {{path: /healthz, interval: 500ms}}
    routes: [/]
    release: {{strategy: {strategy}, {steps} bake: {bake}, drain: 1s, grace: 5s{more}}}
"""


STEPS = "steps: [{weight: 20%, for: 2s}], judge: {metrics: errors},"


def start(system, strategy="canary", steps=STEPS, more="", bake="2s"):
    system.source(version="1")
    system.write(WEB.format(strategy=strategy, steps=steps, more=more, bake=bake))
    system.run("up", "--detach")


def progress(system):
    return system.status("web")["why"]


def version(system, **headers):
    return json.loads(system.get("/hello", **headers)[1])["version"]


def break_it(system, share):
    """A release that answers a share of its requests with 500."""
    main = system.directory / "app" / "main.py"
    broken = main.read_text().replace(
        "async def answer(method, target, headers, body, reader, writer):\n",
        "async def answer(method, target, headers, body, reader, writer):\n"
        f"    import random\n    if target == '/hello' and random.random() < {share}:\n"
        "        writer.write(b'HTTP/1.1 500 No\\r\\ncontent-length: 0\\r\\n\\r\\n')\n        return True\n",
    )
    assert broken != main.read_text()
    main.write_text(broken)


def test_a_deployment_is_dark_until_it_is_released_and_then_judged_and_promoted(system):
    start(system)
    system.source(version="2")
    with Load(system.port, "/hello") as load:
        told = system.run("deploy", "web").stdout
        assert "x-atoll-release: web=2" in told
        assert {version(system) for _ in range(10)} == {"1"}
        assert version(system, **{"x-atoll-release": "web=2"}) == "2"
        assert "dark" in progress(system)
        system.run("release", "web", "--reason", "it looked well")
        until(lambda: "canary at 20%" in progress(system), what="its first share of the traffic")
        until(
            lambda: version(system, cookie=f"atoll-release={time.monotonic_ns()}") == "2", what="an answer of the new"
        )
        until(lambda: not system.status("web")["target"], seconds=120, what="the release")
        load.wait(50)
    assert {version(system) for _ in range(10)} == {"2"}
    assert load.failed == []
    assert system.status("web")["release"] == 2
    texts = [json.loads(line)["text"] for line in system.run("events", "web", "--json").stdout.splitlines()]
    order = [
        s for s in ("dark", "growing", "canary", "full", "baking", "released") if any(f"is {s}" in t for t in texts)
    ]
    assert order == ["dark", "growing", "canary", "full", "baking", "released"]
    assert any("it looked well" in t for t in texts)


def test_a_bad_release_is_taken_out_by_the_judge_and_harms_few(system):
    start(system)
    system.source(version="2")
    break_it(system, 0.2)
    system.run("deploy", "web")
    with Load(system.port, "/hello", clients=4, pause=0.04) as load:  # about 100 requests a second
        load.wait(300)
        system.run("release", "web")
        until(lambda: not system.status("web")["target"], seconds=150, what="the end of the release")
        load.wait(50)
    view = system.json("releases", "web")[0]
    assert (view["number"], view["state"]) == (2, "rolled-back")
    assert "canary" in view["note"]
    assert system.status("web")["release"] == 1
    assert len(load.failed) < 40
    assert all("500" in words for _, words in load.failed)


def test_what_fails_with_all_of_the_traffic_is_taken_back_while_it_bakes(system):
    start(system, "blue-green", steps="", bake="2m")
    system.source(version="2")
    break_it(system, 1.0)
    with Load(system.port, "/hello", clients=4, pause=0.04) as load:
        load.wait(100)
        system.run("apply", "--yes")
        until(lambda: not system.status("web")["target"], seconds=60, what="the end of the release")
        (view,) = [r for r in system.json("releases", "web") if r["number"] == 2]
        assert view["state"] == "rolled-back"
        assert "with all of the traffic" in view["note"]
        failed = len(load.failed)
        load.wait(50)
        assert len(load.failed) == failed
    assert json.loads(system.get("/hello")[1])["version"] == "1"


def test_a_person_may_hold_promote_and_abort_and_nothing_else_when_it_means_nothing(system):
    start(system, steps="steps: [{weight: 30%, for: 1h}],")
    nothing = system.run("abort", "web", ok=False)
    assert (nothing.returncode, "no release of web is on its way" in nothing.stderr) == (2, True)
    system.source(version="2")
    system.run("deploy", "web")
    wrong = system.run("promote", "web", ok=False)
    assert (wrong.returncode, "what can be done now: atoll release, atoll abort" in wrong.stderr) == (2, True)
    system.run("release", "web")
    until(lambda: "canary at 30%" in progress(system), what="its share")
    second = system.run("deploy", "web", ok=False)
    assert (second.returncode, "one at a time" in second.stderr) == (2, True)
    system.run("hold", "web")
    assert "holding at 30%" in progress(system)
    with Load(system.port, "/hello") as load:
        load.wait(100)
        system.run("abort", "web")
        until(lambda: {version(system) for _ in range(5)} == {"1"}, what="the old release alone")
        load.wait(50)
    assert load.failed == []


def test_a_dead_control_plane_goes_on_with_the_release_where_it_was(system):
    start(system, strategy="blue-green", steps="")
    system.source(version="2")
    with Load(system.port, "/hello") as load:
        system.run("deploy", "web")
        system.kill_control_plane()
        system.run("up", "--detach")
        assert "dark" in progress(system)
        system.run("release", "web")
        system.kill_control_plane()
        system.run("up", "--detach")
        until(lambda: not system.status("web")["target"], seconds=60, what="the release")
        assert {version(system) for _ in range(10)} == {"2"}
        load.wait(50)
    assert load.failed == []
