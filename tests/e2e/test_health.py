"""Another health check is another release: it is tried on new instances, and what serves goes on until they pass."""

from __future__ import annotations

import json
import threading

import pytest

from e2e.harness import until
from e2e.load import Load

pytestmark = [pytest.mark.e2e, pytest.mark.linux, pytest.mark.timeout(180)]

WEB = """
  web:
    source: app
    instances: 2
    health: {{path: {path}, interval: 500ms, startup: 3s}}
    routes: [{{path: /, timeout: 30s}}]
    release: {{drain: 20s}}
"""


def begin(system):
    system.source()
    system.write(WEB.format(path="/healthz"))
    system.run("up", "--detach")
    return system.instances("web")


def names(instances):
    return {i["name"] for i in instances}


def test_a_check_that_does_not_pass_changes_nothing(system):
    before = begin(system)
    system.write(WEB.format(path="/fail"))
    assert "web: new release: replaces 2 instances without a gap" in system.run("plan", ok=False).stdout
    with Load(system.port) as load:
        done = system.run("apply", "--yes", ok=False)
        load.wait(50)
    assert done.returncode == 1
    assert "GET /fail on port 8080 answered 500" in done.stderr
    assert load.failed == []
    assert names(system.instances("web")) == names(before)


def test_another_check_replaces_what_runs_and_what_is_open_ends_well(system):
    before = begin(system)
    answers = []
    slow = threading.Thread(target=lambda: answers.append(system.get("/slow?6")))
    slow.start()
    with Load(system.port) as load:
        system.write(WEB.format(path="/"))
        system.run("apply", "--yes")
        load.wait(50)
    slow.join()
    assert load.failed == []
    (status, text), *_ = answers
    assert (status, json.loads(text)["path"]) == (200, "/slow?6")
    after = until(lambda: len(system.instances("web")) == 2 and system.instances("web"), what="two new ones")
    assert not names(after) & names(before)
    system.run("rollback", "web")
    assert system.run("plan", ok=False).returncode == 0
