from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from atoll import wire
from atoll.errors import Conflict, Refused
from atoll.model.problems import InvalidSystem
from atoll.plan.preview import Kind


@pytest.fixture
def desk(scene):
    return scene.desk()


async def test_a_plan_names_what_it_would_do_and_asks_for_nothing(desk, scene):
    plan = await desk.plan(scene.request())
    assert [(d.kind, d.subject) for d in plan.differences] == [
        (Kind.ADD, "web"),
        (Kind.ADD, "orders"),
        (Kind.ADD, "payments"),
    ]
    assert scene.store.last_change() is None
    assert scene.pokes == 0


async def test_the_same_plan_has_the_same_index(desk, scene):
    assert (await desk.plan(scene.request())).index == (await desk.plan(scene.request())).index


async def test_applying_the_plan_that_was_seen_queues_it_and_wakes_the_engine(desk, scene):
    plan = await desk.plan(scene.request())
    receipt = await desk.apply(scene.request(index=plan.index))
    assert receipt.plan == plan
    assert receipt.change.services == ("web", "orders", "payments")
    (queued,) = scene.store.open_changes()
    assert queued.view() == receipt.change
    assert wire.decode(queued.request, wire.ApplyRequest) == scene.request(index=plan.index)
    assert scene.pokes == 1


async def test_a_source_that_changed_since_is_a_conflict(desk, scene):
    scene.digests = {"orders": "a" * 64}
    plan = await desk.plan(scene.request())
    scene.digests = {"orders": "b" * 64}
    with pytest.raises(Conflict) as refused:
        await desk.apply(scene.request(index=plan.index))
    assert refused.value.message == "the plan has changed since it was shown: a source changed"
    assert "atoll plan" in refused.value.hint
    assert scene.store.open_changes() == ()
    assert scene.pokes == 0


async def test_what_somebody_else_queued_since_is_a_conflict(desk, scene):
    plan = await desk.plan(scene.request())
    await desk.apply(scene.request())
    with pytest.raises(Conflict, match=r"shown: somebody asked for something else$"):
        await desk.apply(scene.request(index=plan.index))


async def test_what_somebody_queues_while_the_sources_are_read_is_a_conflict_too(desk, scene):
    plan = await desk.plan(scene.request())
    reading, read = asyncio.Event(), asyncio.Event()

    async def slowly(_):
        reading.set()
        await read.wait()
        return {}

    late = asyncio.create_task(replace(desk, digests=slowly).apply(scene.request(index=plan.index)))
    await reading.wait()
    await desk.apply(scene.request())
    read.set()
    with pytest.raises(Conflict, match=r"shown: somebody asked for something else$"):
        await late
    assert len(scene.store.open_changes()) == 1


async def test_another_text_is_a_conflict(desk, scene):
    plan = await desk.plan(scene.request())
    scene.digests = {"orders": "b" * 64}
    with pytest.raises(Conflict, match=r"shown: the file changed and a source changed$"):
        await desk.apply(scene.request(scene.text.replace("instances: 2", "instances: 3"), index=plan.index))


@pytest.mark.parametrize(("index", "words"), [("0-0000", "the index of no plan"), ("9-", "it was 9-")])
async def test_what_never_was_an_index_is_a_conflict(desk, scene, index, words):
    now = (await desk.plan(scene.request())).index
    with pytest.raises(Conflict, match=words):
        await desk.apply(scene.request(index=index if words[1] == "h" else index + now.partition("-")[2]))


async def test_a_source_that_cannot_be_used_is_refused_before_anything_is_asked_for(desk, scene):
    scene.serve_now()
    scene.unusable = "orders: the link x leads out"
    for ask in (desk.plan, desk.apply):
        with pytest.raises(Refused, match="orders: the link x leads out"):
            await ask(scene.request())
    assert scene.store.open_changes() == ()


async def test_applying_what_already_is_queues_nothing(desk, scene):
    scene.serve_now()
    receipt = await desk.apply(scene.request())
    assert receipt.change is None
    assert receipt.plan.differences == ()
    assert scene.store.open_changes() == ()
    assert scene.pokes == 0


async def test_what_is_not_touched_is_not_part_of_the_change(desk, scene):
    scene.serve_now()
    receipt = await desk.apply(scene.request(scene.text.replace("instances: 2", "instances: 3")))
    assert receipt.change.services == ("orders",)


async def test_a_change_of_the_gateway_alone_touches_no_service(desk, scene):
    scene.serve_now()
    receipt = await desk.apply(scene.request(scene.text + "gateway: {listen: 9090}\n"))
    assert [d.subject for d in receipt.plan.differences] == ["gateway"]
    assert receipt.change.services == ()


async def test_what_this_host_cannot_run_is_refused_whole(desk, scene):
    scene.refusals = ("port 8080 is taken", "there are no sandboxes here")
    with pytest.raises(Refused, match="port 8080 is taken\nthere are no sandboxes here"):
        await desk.apply(scene.request())
    assert scene.store.last_change() is None


async def test_a_plan_is_shown_also_where_this_host_could_not_run_it(desk, scene):
    scene.refusals = ("port 8080 is taken",)
    plan = await desk.plan(scene.request())
    assert plan.differences
    assert plan.held == ("it would be refused now: port 8080 is taken",)


async def test_a_wrong_file_is_refused_with_every_problem(desk, scene):
    text = "system: shop\nservices:\n  a: {source: a, calls: [b]}\n  c: {source: c, colour: red}\n"
    with pytest.raises(InvalidSystem) as refused:
        await desk.apply(scene.request(text))
    assert len(refused.value.problems) == 2
    assert scene.store.last_change() is None


async def test_what_was_taken_back_is_not_planned_and_the_plan_says_why(desk, scene):
    scene.serve_now(1, 2, service="orders")
    scene.digests = {name: f"{number:064x}" for name, number in {"web": 1, "orders": 2, "payments": 1}.items()}
    change = scene.store.request("rollback", ("orders",), b"{}", scene.at)
    scene.store.take_effect(change, scene.system, [scene.recipe("orders", 1)], (), scene.at)
    scene.store.promote("orders", 3)
    scene.store.move(change.number, "done")
    receipt = await desk.apply(scene.request())
    assert "orders" not in {d.subject for d in receipt.plan.differences}
    (note,) = receipt.plan.held
    assert note.startswith("orders: what is here now was taken back as release 2 (release 3 took its place again)")
    scene.digests["orders"] = "f" * 64
    plan = await desk.plan(scene.request())
    assert [d.kind for d in plan.differences if d.subject == "orders"] == [Kind.RELEASE]
    assert plan.held == ()


def test_deploy_queues_the_named_services_also_where_nothing_changed(desk, scene):
    scene.serve_now()
    receipt = desk.deploy(scene.request(services=("web", "orders")))
    assert (receipt.change.kind, receipt.change.services) == ("deploy", ("web", "orders"))
    assert scene.pokes == 1


def test_deploying_a_service_that_is_not_there_names_the_nearest(desk, scene):
    scene.serve_now()
    with pytest.raises(Refused, match="no service 'payment' in shop") as refused:
        desk.deploy(scene.request(services=("web", "payment")))
    assert refused.value.hint == "did you mean payments?"


def test_a_service_like_no_other_is_answered_with_all_there_are(desk, scene):
    scene.serve_now()
    with pytest.raises(Refused) as refused:
        desk.rollback("zzz")
    assert refused.value.hint == "services: web, orders, payments"


def test_deploying_before_anything_was_applied_says_what_comes_first(desk, scene):
    with pytest.raises(Refused, match="nothing runs here yet") as refused:
        desk.deploy(scene.request(services=("web",)))
    assert "atoll apply" in refused.value.hint


def test_deploying_what_only_the_file_knows_says_what_comes_first(desk, scene):
    scene.serve_now()
    with pytest.raises(Refused, match="mailer is not in what was applied last") as refused:
        desk.deploy(scene.request(scene.text + "  mailer: {source: mailer}\n", services=("web", "mailer")))
    assert "atoll apply" in refused.value.hint
    assert scene.store.open_changes() == ()


def test_deploying_alone_what_calls_a_service_that_is_only_in_the_file_is_refused(desk, scene):
    scene.serve_now()
    text = scene.text.replace("payments", "money")
    with pytest.raises(Refused, match="orders calls money, which is not in what was applied last") as refused:
        desk.deploy(scene.request(text, services=("orders",)))
    assert "atoll apply" in refused.value.hint
    assert scene.store.open_changes() == ()


def test_deploying_what_this_host_cannot_run_is_refused(desk, scene):
    scene.serve_now()
    scene.refusals = ("there are no sandboxes here",)
    with pytest.raises(Refused, match="no sandboxes"):
        desk.deploy(scene.request(services=("web",)))


def test_rollback_needs_a_release_that_has_served(desk, scene):
    scene.serve_now()
    with pytest.raises(Refused, match="orders has no earlier release that has served") as refused:
        desk.rollback("orders")
    assert refused.value.hint == "see them with `atoll releases orders`"
    assert scene.store.open_changes() == ()


def test_rollback_before_anything_was_applied(desk):
    with pytest.raises(Refused, match="nothing runs here yet") as refused:
        desk.rollback("orders")
    assert "atoll apply" in refused.value.hint


def test_rollback_is_queued_where_there_is_something_to_go_back_to(desk, scene):
    scene.serve_now(1, 2, service="orders")
    receipt = desk.rollback("orders")
    assert (receipt.change.kind, receipt.change.services) == ("rollback", ("orders",))
    assert scene.pokes == 1


def test_down_names_every_service(desk, scene):
    assert desk.down().change.services == ()
    scene.serve_now()
    assert desk.down().change.services == ("web", "orders", "payments")


def test_a_service_that_is_gone_is_still_recognised(desk, scene, scene_of):
    scene.serve_now()
    gone = scene_of(
        scene.text.replace("  payments:\n    source: payments\n", "").replace(
            "      payments: {timeout: 800ms, retries: 1}\n", ""
        )
    )
    change = scene.store.request("apply", ("payments",), b"{}", scene.at)
    scene.store.take_effect(change, gone.system, (), ("payments",), scene.at)
    desk.recognise("payments")
    with pytest.raises(Refused, match="no service 'paymnts'"):
        desk.recognise("paymnts")


def test_nothing_is_recognised_before_anything_was_applied(desk):
    with pytest.raises(Refused, match="nothing runs here yet"):
        desk.recognise("orders")


def test_a_change_that_waits_says_for_which_one(desk, scene):
    scene.serve_now()
    first = desk.deploy(scene.request(services=("web",))).change
    second = desk.deploy(scene.request(services=("orders",))).change
    scene.store.move(first.number, "building")
    assert desk.change(second.number).reason == f"waits for change {first.number} (deploy), which is building"
    assert desk.change(first.number).reason == ""
    scene.store.move(first.number, "done")
    assert desk.change(second.number) == second


def test_a_change_that_never_was_is_refused(desk):
    with pytest.raises(Refused, match="there is no change 7"):
        desk.change(7)
