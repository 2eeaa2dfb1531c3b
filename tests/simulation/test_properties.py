"""Any sequence of wishes and troubles keeps every invariant, and ends as declared once the trouble is over."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from atoll.testing.scripts import Player

EXAMPLES = int(os.environ.get("ATOLL_SIMULATIONS", "120"))

services = st.sampled_from(["a", "b"])
artifacts = st.sampled_from(["v1", "v2", "v3"])
seconds = st.sampled_from([0, 0.01, 0.06, 0.1, 0.3, 0.5, 1, 2, 4, 8, 30])


def systems(verb: str) -> st.SearchStrategy[str]:
    counts = st.integers(0, 4)
    wishes = st.dictionaries(services, st.tuples(counts, artifacts), max_size=2)
    return wishes.map(lambda w: " ".join([verb, *(f"{n}={count}:{artifact}" for n, (count, artifact) in w.items())]))


behaviours = st.sampled_from([
    "boot=0.05", "boot=2", "boot=never", "boot=4.9", "dies=0.1", "dies=1", "dies=7", "flaps=0.2", "flaps=3",
    "ends=0.5", "ends=9", "requests=0", "requests=2", "requests=60", "startable=0",
])  # fmt: skip

steps = st.one_of(
    systems("want"),
    systems("overtake"),
    services.map("anew {}".format),
    services.map("back {}".format),
    st.builds("behave {} {}".format, artifacts, st.lists(behaviours, max_size=2).map(" ".join)),
    st.builds("{} {} {}".format, st.sampled_from(["kill", "halt", "deaden", "vanish"]), services, st.integers(0, 5)),
    st.builds("crash {}".format, st.sampled_from([0.01, 0.5, 8])),
    st.builds("mortal {}".format, st.integers(0, 12)),
    st.builds("silence {} {}".format, st.sampled_from(["runtime", "mesh"]), st.sampled_from([0.1, 2, 9])),
    st.builds("proxies {}".format, st.sampled_from(["down", "up", "refuse", "accept", "slow"])),
    st.sampled_from(["limits surge=1", "limits surge=3", "limits drain=0.5 grace=0.2", "limits startup=1"]),
    st.builds("wait {}".format, seconds),
    st.builds("wait {}".format, seconds),
)


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="ATOLL_SIMULATIONS" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(st.lists(steps, max_size=25))
def test_every_invariant_holds_and_trouble_ends(script: list[str]) -> None:
    Player().play("\n".join(["want a=3:v1 b=1:v1", "wait 2", *script, "calm", "converge 600"]))
