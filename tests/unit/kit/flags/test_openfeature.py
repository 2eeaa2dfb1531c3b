"""The provider, with the real openfeature-sdk."""

import asyncio
import json
from types import SimpleNamespace

import pytest
from flagserver import document, flag, until
from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEvent
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import Reason
from openfeature.provider import ProviderStatus

from atoll.kit.integrations.openfeature import FlagProvider

FLAGS = {
    "b": flag("off", targeting={"if": [{"==": [{"var": "country"}, "DE"]}, "on"]}, metadata={"owner": "team-a"}),
    "s": flag("on") | {"variants": {"on": "x"}},
    "i": flag("on") | {"variants": {"on": 7}},
    "n": flag("on") | {"variants": {"on": 7.5}},
    "o": flag("on") | {"variants": {"on": {"a": [1]}}},
    "bucket": flag("off", targeting={"fractional": [["on", 1], ["off", 1]]}),
    "key": flag("on", targeting={"var": "targetingKey"}) | {"variants": {"on": "-", "user-1": "me"}},
}
DEFAULTS = {"boolean": True, "string": "d", "integer": -1, "float": -1.5, "object": {"d": 1}}
EVENTS = {
    ProviderEvent.PROVIDER_READY: "ready",
    ProviderEvent.PROVIDER_STALE: "stale",
    ProviderEvent.PROVIDER_CONFIGURATION_CHANGED: "changed",
    ProviderEvent.PROVIDER_ERROR: "error",
}


@pytest.fixture(autouse=True)
def clean():
    yield
    api.shutdown()
    api.clear_providers()


@pytest.fixture
def asking(client, tmp_path):
    """An SDK client over all kinds of flags in a file."""
    path = tmp_path / "flags.json"
    path.write_text(json.dumps({"flags": FLAGS}))
    native = client(path)
    api.set_provider_and_wait(FlagProvider(native), domain="kinds")
    return SimpleNamespace(sdk=api.get_client(domain="kinds"), native=native)


@pytest.mark.parametrize("kind", DEFAULTS)
@pytest.mark.parametrize("asynchronous", [False, True])
def test_every_kind(asking, kind, asynchronous):
    def details(key):
        default = DEFAULTS[kind]
        if asynchronous:
            return asyncio.run(getattr(asking.sdk, f"get_{kind}_details_async")(key, default))
        return getattr(asking.sdk, f"get_{kind}_details")(key, default)

    key = {"boolean": "b", "string": "s", "integer": "i", "float": "n", "object": "o"}[kind]
    found = details(key)
    assert (found.value, found.error_code) == (FLAGS[key]["variants"][found.variant], None)
    wrong = details("s" if kind != "string" else "b")
    assert (wrong.value, wrong.error_code, wrong.reason) == (DEFAULTS[kind], ErrorCode.TYPE_MISMATCH, Reason.ERROR)
    missing = details("no such flag")
    assert (missing.value, missing.error_code) == (DEFAULTS[kind], ErrorCode.FLAG_NOT_FOUND)


def test_an_integer_is_a_float_to_who_asks_for_one(asking):
    found = asking.sdk.get_float_value("i", 1.5)
    assert (found, type(found)) == (7.0, float)


def test_the_context(asking):
    abroad, home = (EvaluationContext("user-1", {"country": country}) for country in ("FR", "DE"))
    assert asking.sdk.get_boolean_value("b", True, abroad) is False
    found = asking.sdk.get_boolean_details("b", False, home)
    assert (found.value, found.variant, found.reason) == (True, "on", Reason.TARGETING_MATCH)
    assert found.flag_metadata == {"owner": "team-a"}
    assert asking.sdk.get_string_value("key", "", home) == "me"
    ours = {key: asking.native.boolean("bucket", False, {"targetingKey": key}) for key in map(str, range(50))}
    assert ours == {key: asking.sdk.get_boolean_value("bucket", False, EvaluationContext(key)) for key in ours}
    assert set(ours.values()) == {True, False}


def test_its_name(asking):
    assert asking.sdk.provider.get_metadata().name == "atoll"


def heard_by(sdk):
    heard = []
    for event, word in EVENTS.items():
        sdk.add_handler(event, lambda details, word=word: heard.append((word, tuple(details.flags_changed or ()))))
    return heard


def test_events(tcp, client):
    native = client(tcp.url, max_age=0.3)
    api.set_provider(FlagProvider(native), domain="events")
    sdk = api.get_client(domain="events")
    heard = heard_by(sdk)
    until(lambda: ("ready", ()) in heard)
    assert sdk.get_provider_status() == ProviderStatus.READY
    until(lambda: tcp.streams == 1)
    tcp.publish(document("on", g=flag()))
    until(lambda: ("changed", ("f", "g")) in heard)
    assert sdk.get_boolean_details("f", False).reason == Reason.STATIC
    tcp.stop()
    until(lambda: ("stale", ()) in heard)
    until(lambda: sdk.get_provider_status() == ProviderStatus.STALE)
    found = sdk.get_boolean_details("f", False)
    assert (found.value, found.reason) == (True, Reason.STALE)
    heard.clear()
    tcp.start()
    until(lambda: ("ready", ()) in heard)
    until(lambda: sdk.get_provider_status() == ProviderStatus.READY)


def test_a_document_that_comes_late(tcp, client):
    tcp.status = 500
    native = client(tcp.url)
    api.set_provider(FlagProvider(native, wait=0.05), domain="late")
    sdk = api.get_client(domain="late")
    until(lambda: sdk.get_provider_status() == ProviderStatus.ERROR)
    assert sdk.get_boolean_value("f", True) is True
    tcp.status = 200
    until(lambda: sdk.get_provider_status() == ProviderStatus.READY)
    assert sdk.get_boolean_value("f", True) is False


def test_after_its_end_it_says_nothing_and_the_client_goes_on(tcp, client):
    native = client(tcp.url)
    provider = FlagProvider(native)
    api.set_provider_and_wait(provider, domain="end")
    until(lambda: tcp.streams == 1)
    heard = heard_by(api.get_client(domain="end"))
    provider.shutdown()
    assert native._keeper.listeners == ()
    tcp.publish(document("on"))
    until(lambda: native.boolean("f", False))
    assert not any(word == "changed" for word, _ in heard)
