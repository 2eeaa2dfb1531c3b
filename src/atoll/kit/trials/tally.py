"""What an experiment has counted, and how many of its candidates are on their way."""

from __future__ import annotations

from threading import Condition, RLock
from typing import Literal

from atoll.kit.trials.outcome import Example, Kind, Observation, Trial
from atoll.kit.weave import State

Place = Literal["run_if", "snapshot", "start", "compare", "compare_errors", "ignore", "clean", "example", "publish"]

_COUNTS = ("calls", "skipped", "dropped", "cancelled", "match", "mismatch", "ignored", "timeout", "faults")


class Tally:
    """
    The counters of one experiment; every thread may use them.

    Args:
        room: how many candidates may wait or run at once.

    """

    def __init__(self, room: int) -> None:
        self._room = room
        self._lock: RLock
        self._changed: Condition
        self.outstanding: int
        self._counts = dict.fromkeys(_COUNTS, 0)
        self._control = 0.0  # seconds, of what was compared
        self._candidate = 0.0
        self.problem = ""
        self.example: Example | None = None
        self.renew()

    def enter(self) -> bool:
        """Counts a call, and whether there is room for its candidate."""
        with self._lock:
            self._counts["calls"] += 1
            if self.outstanding >= self._room:
                self._counts["dropped"] += 1
                return False
            self.outstanding += 1
            return True

    def leave(self, how: Kind | Literal["dropped", "cancelled"] | None) -> None:
        """A candidate that was let in came to its end; None where a fault is the reason, which is counted by itself."""
        with self._lock:
            if how is not None:
                self._counts[how] += 1
            self.outstanding = max(0, self.outstanding - 1)  # it may have been let in before a fork
            self._changed.notify_all()

    def skip(self) -> None:
        """Counts a call for which the experiment was switched off."""
        with self._lock:
            self._counts["calls"] += 1
            self._counts["skipped"] += 1

    def fault(self, place: Place, error: BaseException) -> None:
        """Counts a fault of the experiment itself, and keeps it as `problem`."""
        with self._lock:
            self._counts["faults"] += 1
            self.problem = f"{place}: {type(error).__name__}: {error}"

    def took(self, control: float, candidate: float) -> None:
        """Adds the seconds of two calls that were compared."""
        with self._lock:
            self._control += control
            self._candidate += candidate

    def control_done(self, trial: Trial, seen: Observation) -> Observation | None:
        """Notes the control's outcome; returns the candidate's if it is there already."""
        with self._lock:
            trial.control = seen
            return trial.candidate

    def candidate_done(self, trial: Trial, seen: Observation) -> Observation | None:
        """Notes the candidate's outcome; returns the control's if it is there already. Ends a trial that is over."""
        with self._lock:
            if trial.over:
                self.leave(trial.how)
                return None
            trial.candidate = seen
            return trial.control

    def give_up(self, trial: Trial, how: Literal["cancelled"] | None) -> bool:
        """There is nothing to compare with: whether the candidate is on its way. Where it is not, the trial ends."""
        with self._lock:
            trial.over, trial.how = True, how
            flying = trial.started and trial.candidate is None
            if not flying:
                self.leave(how)
            return flying

    def wait(self, timeout: float) -> bool:
        """Waits until no candidate is on its way; false where that takes longer than `timeout` seconds."""
        with self._lock:
            return self._changed.wait_for(lambda: not self.outstanding, timeout)

    def state(self) -> State:
        """The counters, the seconds of both sides, how many candidates are on their way, and the last problem."""
        with self._lock:
            return {
                **self._counts,
                "outstanding": self.outstanding,
                "control_seconds": self._control,
                "candidate_seconds": self._candidate,
                "problem": self.problem,
            }

    def renew(self) -> None:
        """In a forked child: the candidates on their way are the parent's."""
        self._lock = RLock()  # again: an object that dies while it is held may have a call under this experiment
        self._changed = Condition(self._lock)
        self.outstanding = 0
