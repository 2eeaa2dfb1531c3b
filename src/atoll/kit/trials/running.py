"""Where candidates run: sync ones in threads, async ones in the caller's event loop."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from atoll.kit import clock
from atoll.kit.deadlines import deadline
from atoll.kit.generate import runtime
from atoll.kit.noting import noted
from atoll.kit.scope import NONE, scope
from atoll.kit.trials.crew import Crew
from atoll.kit.trials.judging import Judge
from atoll.kit.trials.outcome import Observation, Trial
from atoll.kit.trials.tally import Tally


class Threads:
    """
    Candidates in threads of their own.

    Args:
        judge: of the outcomes.
        candidate: what to run.
        tally: counts.
        parallel: how many threads.

    """

    def __init__(self, judge: Judge, candidate: Callable[..., Any], tally: Tally, parallel: int) -> None:
        self._judge = judge
        self._candidate = candidate
        self._tally = tally
        self._label = f"experiment {judge.name}"
        self._crew = Crew(self._label, parallel)

    def start(self, trial: Trial) -> Any:
        """Has the candidate run; returns what `stop` needs."""
        self._crew.put(partial(self._rehearse, trial))

    def conclude(self, trial: Trial, control: Observation, candidate: Observation) -> None:
        """Has the outcomes judged, the control having come last."""
        self._crew.put(partial(self._judge.conclude, trial, control, candidate, self._tally))

    def stop(self, job: Any) -> None:
        """Nobody wants this candidate any more; a thread cannot be interrupted."""

    def sweep(self) -> None:
        """Gives up what can never run; threads do run."""

    def renew(self) -> None:
        """In a forked child."""
        self._crew.renew()

    def _rehearse(self, trial: Trial) -> None:
        if trial.over:
            self._tally.leave(trial.how)
            return
        _meet(trial, self._observe(trial), self._judge, self._tally)

    def _observe(self, trial: Trial) -> Observation:
        began = clock.now()
        try:
            value = trial.context.run(self._run, trial)
        except BaseException as error:  # noqa: BLE001 - whatever it was, it is the candidate's outcome
            return Observation(None, error, clock.now() - began)
        return Observation(value, None, clock.now() - began)

    def _run(self, trial: Trial) -> object:
        _set_apart()
        with deadline(self._judge.timeout, self._label):
            return self._candidate(*trial.args, **trial.kwargs)


class Loops:
    """
    Candidates as tasks of the event loop in which the control ran.

    Args:
        judge: of the outcomes.
        candidate: what to run.
        tally: counts.
        parallel: how many tasks in each loop.

    """

    def __init__(self, judge: Judge, candidate: Callable[..., Any], tally: Tally, parallel: int) -> None:
        self._judge = judge
        self._candidate = candidate
        self._tally = tally
        self._label = f"experiment {judge.name}"
        self._parallel = parallel
        self._lanes: dict[Any, Any] = {}

    def start(self, trial: Trial) -> Any:
        """Has the candidate run when the running task next waits; returns what `stop` needs."""
        module = runtime()
        loop = module.get_running_loop()
        lane = self._lanes.get(loop)
        if lane is None:
            self.sweep()
            lane = self._lanes[loop] = module.Lane(loop, self._parallel)
        job = module.Job(partial(self._rehearse, trial), partial(self._lost, trial), trial.context)
        lane.put(job)
        return job

    def conclude(self, trial: Trial, control: Observation, candidate: Observation) -> None:
        """Has the outcomes judged, the control having come last."""
        loop, conclude = runtime().get_running_loop(), self._judge.conclude
        loop.call_soon(conclude, trial, control, candidate, self._tally, context=trial.context)

    def stop(self, job: Any) -> None:
        """Nobody wants this candidate any more."""
        job.withdraw()

    def sweep(self) -> None:
        """Gives up what can never run, because its loop was closed."""
        for loop in [each for each in list(self._lanes) if each.is_closed()]:
            self._lanes.pop(loop).abandon()

    def renew(self) -> None:
        """In a forked child."""
        self._lanes = {}

    async def _rehearse(self, trial: Trial) -> None:
        _meet(trial, await self._observe(trial), self._judge, self._tally)

    async def _observe(self, trial: Trial) -> Observation:
        _set_apart()
        began = clock.now()
        try:
            async with deadline(self._judge.timeout, self._label):
                value = await self._candidate(*trial.args, **trial.kwargs)
        except (KeyboardInterrupt, GeneratorExit):  # somebody's hand, and the end of the loop
            raise
        except BaseException as error:
            module = runtime()
            if module.is_cancellation(error) and module.running_task().cancelling():
                raise
            return Observation(None, error, clock.now() - began)
        return Observation(value, None, clock.now() - began)

    def _lost(self, trial: Trial) -> None:
        self._tally.leave(trial.how if trial.over else "dropped")


def _set_apart() -> None:
    """The caller's deadline is not the candidate's, and what the candidate gets of flags is not in the answer."""
    scope.set(NONE)
    noted.set(None)


def _meet(trial: Trial, seen: Observation, judge: Judge, tally: Tally) -> None:
    # Not in the frame below which the candidate ran: an error would keep that alive, and itself by being in it.
    control = tally.candidate_done(trial, seen)
    if control is not None:
        judge.conclude(trial, control, seen, tally)
