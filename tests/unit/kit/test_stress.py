"""The short run of benchmarks/kit/stress.py: threads and event loops on one policy, with exact books beside it."""

import importlib.util
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "kit" / "stress.py"


def test_eight_threads_on_one_policy_keep_the_books_right(monkeypatch, capsys):
    spec = importlib.util.spec_from_file_location("kit_stress", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, script)
    spec.loader.exec_module(script)
    assert script.stress(1.0, 8) == []
    assert capsys.readouterr().out.count("| nothing |") == 4
