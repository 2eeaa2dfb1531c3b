"""From two outcomes to a result: counted, kept, published. Nothing that is asked on the way can do any harm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from reprlib import Repr
from typing import Any

from atoll.kit.trials.outcome import Example, Kind, Observation, Result, Trial
from atoll.kit.trials.tally import Place, Tally

_short = Repr()
_short.maxstring = _short.maxother = _short.maxlong = 200
_short.maxdict = _short.maxlist = _short.maxtuple = 10


class Faulty(Exception):
    """Something that the experiment's owner gave it failed."""

    def __init__(self, place: Place, cause: BaseException) -> None:
        super().__init__()
        self.place = place
        self.cause = cause


@dataclass(frozen=True, slots=True)
class Judge:
    """What the owner of an experiment said about comparing; see `experiment`."""

    name: str
    timeout: float
    compare: Callable[[Any, Any], bool]
    compare_errors: Callable[[Any, Any], bool]
    ignore: Callable[[Observation, Observation], bool] | None
    clean: Callable[[Any], Any] | None
    publish: Callable[[Result], object] | None

    def conclude(self, trial: Trial, control: Observation, candidate: Observation, tally: Tally) -> None:
        """Compares the outcomes of `trial`, counts, keeps an example of what differs, and publishes."""
        kind: Kind | None = None
        try:
            kind = self._kind(control, candidate)
            if kind != "timeout":
                tally.took(control.seconds, candidate.seconds)
            self._tell(Result(self.name, kind, control, candidate, trial.args, trial.kwargs), tally)
        except Faulty as fault:
            tally.fault(fault.place, fault.cause)
        finally:
            # Both come back to the trial: an error by the frames it has, the job by what it does.
            trial.control = trial.candidate = trial.job = None
            tally.leave(kind)

    def _kind(self, control: Observation, candidate: Observation) -> Kind:
        if candidate.seconds >= self.timeout:
            return "timeout"
        if self._alike(control, candidate):
            return "match"
        if self.ignore is not None and _holds("ignore", self.ignore, control, candidate):
            return "ignored"
        return "mismatch"

    def _alike(self, control: Observation, candidate: Observation) -> bool:
        if control.error is not None and candidate.error is not None:
            return _holds("compare_errors", self.compare_errors, control.error, candidate.error)
        if control.error is not None or candidate.error is not None:
            return False
        return _holds("compare", self.compare, control.value, candidate.value)

    def _tell(self, result: Result, tally: Tally) -> None:
        if self.publish is None and result.kind != "mismatch":
            return
        result = replace(result, control=self._cleaned(result.control), candidate=self._cleaned(result.candidate))
        if result.kind == "mismatch":
            tally.example = _ask("example", _example, result)
        if self.publish is not None:
            _ask("publish", self.publish, result)

    def _cleaned(self, seen: Observation) -> Observation:
        if self.clean is None or seen.error is not None:
            return seen
        return seen._replace(value=_ask("clean", self.clean, seen.value))


def _ask(place: Place, f: Callable[..., Any], *args: object) -> Any:
    """
    What `f` answers.

    Raises:
        Faulty: it raised, even SystemExit: here is nobody whom it could concern.

    """
    try:
        return f(*args)
    except KeyboardInterrupt:  # somebody's hand, in the main thread
        raise
    except BaseException as error:  # noqa: BLE001 - it goes on, as what it means here
        raise Faulty(place, error) from None


def _holds(place: Place, f: Callable[..., object], *args: object) -> bool:
    """Whether `f` says yes; what is neither true nor false, such as an array, is a fault."""
    return bool(_ask(place, lambda: bool(f(*args))))


def _example(result: Result) -> Example:
    arguments = [_short.repr(each) for each in result.args]
    arguments += [f"{name}={_short.repr(each)}" for name, each in result.kwargs.items()]
    return Example(result.kind, ", ".join(arguments), _said(result.control), _said(result.candidate))


def _said(seen: Observation) -> str:
    return _short.repr(seen.value) if seen.error is None else f"raised {_short.repr(seen.error)}"
