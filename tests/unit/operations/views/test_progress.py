from __future__ import annotations

from atoll import wire
from atoll.operations.views.progress import staged


def release(service: str, number: int, state: str) -> wire.ReleaseView:
    return wire.ReleaseView(service, number, 0.0, "", state, "")


def test_a_release_that_goes_in_steps_stands_where_it_is_and_not_as_rolling():
    going = wire.ProgressView("web", 3, 2, "canary", 5, 1, 4, 0.0, "", ())
    found = staged(
        (release("web", 3, "rolling"), release("web", 2, "serving"), release("stock", 3, "rolling")), (going,)
    )
    assert [one.state for one in found] == ["canary", "serving", "rolling"]
