"""What is measured while two releases are compared, and how it is switched on."""

from __future__ import annotations

from envoy.extensions.access_loggers.stats.v3.stats_pb2 import Config

from atoll.mesh import ir
from atoll.mesh.xds.measuring import MOST, measured, runtime


def test_what_is_on_is_on_for_every_call():
    made = runtime(ir.Switches("atoll", (ir.MEASURED,)))
    assert dict(made.layer) == {ir.MEASURED: 100}
    assert dict(runtime(ir.Switches("atoll")).layer) == {}


def test_nothing_is_counted_unless_it_is_switched_on():
    found = measured().filter.runtime_filter
    assert (found.runtime_key, found.percent_sampled.numerator) == (ir.MEASURED, 0)


def test_what_is_counted_is_bounded_and_named():
    """The scope survives although the generated class does not know it."""
    packed = measured().typed_config.value
    found = Config.FromString(packed)
    (times,), (answers,) = found.histograms, found.counters
    assert times.stat.tags[0].value_format == answers.stat.tags[0].value_format == "%UPSTREAM_HOST%"
    assert [tag.name for tag in answers.stat.tags] == ["host", "said", "counted", "code"]
    scope = packed.split(answers.SerializeToString())[1]
    assert scope[:1] == bytes((6 << 3 | 2,))
    assert scope.count(b"measured") == 2
    assert bytes((0x08, MOST & 0x7F | 0x80, MOST >> 7)) in scope
