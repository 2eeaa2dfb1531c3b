"""
Two ways to do one thing, compared on real calls: `experiment`. After GitHub's Scientist and Python's laboratory.

What may live here: running the other way where nobody waits for it, judging the two outcomes, counting. Whatever goes
wrong in here stays in here. Loaded with the first experiment only, so that a service without one does not pay for it.
"""

from __future__ import annotations

from atoll.kit.trials.around import Experiment, Mode, experiments
from atoll.kit.trials.making import experiment
from atoll.kit.trials.outcome import Example, Kind, Observation, Result

__all__ = ["Example", "Experiment", "Kind", "Mode", "Observation", "Result", "experiment", "experiments"]
