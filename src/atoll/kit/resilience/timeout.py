"""
Time-outs: of one attempt, and of the whole call (its budget).

Both shorten the ambient deadline for everything inside. An async call is cancelled when time is up; a sync
call cannot be interrupted, so it is refused when no time is left, and what it calls can ask `remaining()`.
"""

from __future__ import annotations

from atoll.kit.scope import Scope, exceeded
from atoll.kit.weave import Inner, Site, State, block

_ASYNC = """\
{alarms} = {table}.get(thread())
{task} = None if {alarms} is None else {alarms}.task()
if {task} is None: {alarms}, {task} = find_alarms({table})
{outer} = scope.get()
{now}{at} = now + {seconds}
if {outer}[0] > {at}:
    {entries} = {alarms}.entries
    {inside} = ({at}, {label}, {seconds}, {outer}, {task})
    scope.set({inside})
    {entries}[{task}] = {at}
    if {alarms}.handle is None: {alarms}.start({at})
else:
    {inside} = {outer}
    {entries} = enclosing({outer}, {task}, {policy})
{pending} = {task}.cancelling()
try:
{inner}
except BaseException as error:
    scope.set({outer})
    if {entries}.pop({task}, None) is None: rang(error, {task}, {pending}, {inside}, {policy}, attempt={attempt})
    raise
scope.set({outer})
if {entries}.pop({task}, None) is None: {task}.uncancel()
"""

_SYNC = """\
{outer} = scope.get()
{now}{at} = now + {seconds}
if {outer}[0] > {at}: scope.set(({at}, {label}, {seconds}, {outer}, None))
elif {outer}[0] <= now: refuse({outer}, {policy})
try:
{inner}
finally:
    scope.set({outer})
"""


def refuse(outer: Scope, policy: str) -> None:
    """Raises `DeadlineExceeded`: there is no time left to start in."""
    raise exceeded(outer, policy=policy)


class TimeLimit:
    """
    A limit of `seconds` on what is inside it.

    Args:
        policy: the policy's name, for errors.
        seconds: how long.
        kind: "timeout" for one attempt, "budget" for the whole call.

    """

    concurrent = False

    def __init__(self, policy: str, seconds: float, kind: str) -> None:
        self.kind = kind
        self.seconds = seconds
        self._policy = policy
        self._label = f"{policy} attempt" if kind == "timeout" else policy

    def weave(self, site: Site, inner: Inner) -> str:
        """See `Part`."""
        words = {each: site.local(each) for each in ("task", "outer", "at", "alarms", "entries", "inside", "pending")}
        words |= {"seconds": repr(float(self.seconds)), "label": site.bind("label", self._label)}
        words |= {"policy": site.bind("policy", self._policy)}
        words |= {
            "now": site.now(),
            "attempt": f"{words['inside']} is not {words['outer']}" if self.kind == "timeout" else "False",
        }
        if not site.asynchronous:
            site.names["refuse"] = refuse
            return _SYNC.format(**words, inner=block(inner()))
        runtime = site.runtime
        for name in ("thread", "find_alarms", "enclosing", "rang"):
            site.names[name] = getattr(runtime, name)
        words["table"] = site.bind("table", runtime.table_for(self.seconds))
        return _ASYNC.format(**words, inner=block(inner()))

    def state(self) -> State:
        """See `Part`."""
        return {}
