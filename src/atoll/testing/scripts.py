"""
Trouble as text: one step a line, played over a simulation, told as a transcript.

    want orders=3:v1 catalog=1:v1     the file now says this; a service that is not named is removed
    overtake orders=3:v2              the same, without waiting for what is rolling
    anew orders | back orders         a new release of the same artifact; the release before
    limits drain=3 grace=2 startup=5 surge=1
    behave v2 boot=never dies=0.2 flaps=1 ends=5 requests=9 startable=0
    kill|halt|deaden|vanish orders 0  the oldest process of a service
    crash 0.5 | mortal 7              the control plane dies, now or seven steps on; back after half a second
    silence runtime|mesh 2            no answer for two seconds
    proxies down|up|refuse|accept|slow
    wait 3 | calm | converge 300      time passes; every fault ends; time passes until nothing is left to do
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace

from atoll.model.system import Gateway, Health, Rollout, Service, System
from atoll.plan.observed import Phase
from atoll.testing.simulator import Request, Simulation
from atoll.testing.world import START_OF_TIME, Behaviour, Being, Broken

QUICK = 0.05
SLOW = 0.6


@dataclass(slots=True)
class Player:
    """A simulation and what a script has said about it so far."""

    lines: list[str] = field(default_factory=list)
    simulation: Simulation = field(init=False)
    rollout: Rollout = field(default_factory=lambda: Rollout(drain=3.0, grace=2.0))
    startup: float = 5.0

    def __post_init__(self) -> None:
        self.simulation = Simulation(self._tell)

    def play(self, script: str) -> str:
        """Every step in turn. The transcript; raises `Broken` where an invariant is, `ValueError` for a wrong step."""
        for line in script.splitlines():
            step = line.partition("#")[0].split()
            if step:
                self.lines.append(f"> {' '.join(step)}")
                self._step(step[0], step[1:])
        return "".join(f"{line}\n" for line in self.lines)

    def _tell(self, at: float, line: str) -> None:
        self.lines.append(f"{at - START_OF_TIME:9.3f}  {line}")

    def _step(self, verb: str, words: list[str]) -> None:
        match verb:
            case "want" | "overtake":
                self.simulation.request(self._request(words), overtake=verb == "overtake")
            case "anew":
                self._anew(words[0])
            case "back":
                self.simulation.roll_back(words[0])
            case "limits":
                self._limits(words)
            case "behave":
                self.simulation.world.behaviours[words[0]] = _behaviour(words[1:])
            case "kill" | "halt" | "deaden" | "vanish":
                self._strike(verb, words[0], int(words[1]))
            case "wait":
                self.simulation.run(float(words[0]))
            case "converge":
                self._converge(float(words[0]))
            case _:
                self._trouble(verb, words)

    def _trouble(self, verb: str, words: list[str]) -> None:
        simulation = self.simulation
        match verb:
            case "crash":
                simulation.crash(float(words[0]))
            case "mortal":
                simulation.die_after = int(words[0])
            case "silence":
                simulation.silence(words[0], float(words[1]))
            case "proxies":
                self._proxies(words[0])
            case "calm":
                self._calm()
            case _:
                raise ValueError(f"there is no step {verb!r}")

    # --- what is wanted ---------------------------------------------------------------------------------------------

    def _request(self, words: list[str], anew: frozenset[str] = frozenset()) -> Request:
        services: dict[str, Service] = {}
        artifacts: dict[str, str] = {}
        for word in words:
            name, _, what = word.partition("=")
            count, _, artifacts[name] = what.partition(":")
            health = Health(startup=self.startup)
            services[name] = Service(name, source=name, instances=int(count), health=health, rollout=self.rollout)
        return Request(System("sim", Gateway(), services, ""), artifacts, anew)

    def _anew(self, service: str) -> None:
        memory = self.simulation.memory
        if service in memory.system.services:
            artifacts = {n: past[-1].artifact for n, past in memory.releases.items()}
            self.simulation.request(Request(memory.system, artifacts, frozenset({service})))

    def _limits(self, words: list[str]) -> None:
        for word in words:
            name, value = word.split("=")
            match name:
                case "startup":
                    self.startup = float(value)
                case "surge":
                    self.rollout = replace(self.rollout, surge=int(value))
                case "drain":
                    self.rollout = replace(self.rollout, drain=float(value))
                case "grace":
                    self.rollout = replace(self.rollout, grace=float(value))
                case _:
                    raise ValueError(f"there is no limit {name!r}")

    # --- what goes wrong --------------------------------------------------------------------------------------------

    def _strike(self, verb: str, service: str, number: int) -> None:
        world, beings = self.simulation.world, self.simulation.beings(service)
        how: dict[str, Callable[[Being], None]] = {
            "kill": world.kill,
            "halt": world.halt,
            "deaden": world.deaden,
            "vanish": world.vanish,
        }
        if beings:
            being = beings[number % len(beings)]
            self._tell(world.now, f"{verb} {being.instance.name}")
            how[verb](being)

    def _proxies(self, word: str) -> None:
        world = self.simulation.world
        match word:
            case "down" | "up":
                world.proxies_up(up=word == "up")
            case "refuse" | "accept":
                world.proxies.refusal = "" if word == "accept" else "no cluster match"
                world.poke()
            case "slow":
                world.proxies.ack = SLOW
            case _:
                raise ValueError(f"proxies do not {word}")

    def _calm(self) -> None:
        world = self.simulation.world
        world.silent.clear()
        world.behaviours.clear()
        world.proxies.ack, world.proxies.refusal = QUICK, ""
        world.proxies_up(up=True)
        self.simulation.die_after = None
        for being in list(world.beings.values()):
            if being.phase is Phase.RUNNING and being.live:
                world.become(being, ready=True)

    def _converge(self, seconds: float) -> None:
        begin = self.simulation.world.now
        while (left := self.simulation.converged()) and self.simulation.world.now < begin + seconds:
            self.simulation.run(1.0)
        if left:
            raise Broken(f"after {seconds:g} s without faults: {left}")
        self.lines.append(f"           converged, {self.simulation.born} instances ever")


def _behaviour(words: list[str]) -> Behaviour:
    values = {name: None if value == "never" else float(value) for name, value in (w.split("=") for w in words)}
    usual = Behaviour()
    unknown = values.keys() - {f.name for f in fields(Behaviour)}
    if unknown:
        raise ValueError(f"a program has no {sorted(unknown)}")
    return Behaviour(
        boot=values.get("boot", usual.boot),
        dies=values.get("dies"),
        flaps=values.get("flaps"),
        ends=values.get("ends") or usual.ends,
        requests=usual.requests if (requests := values.get("requests")) is None else requests,
        startable=values.get("startable") != 0,
    )
