"""Bounds per process, for hosts where no control group can be written."""

from __future__ import annotations

from atoll.drivers.host.cgroups import Group, Tree
from atoll.model.system import Resources


def bounded(resources: Resources, group: Group, *, alone: bool) -> tuple[str, ...]:
    """
    The command in front of the program that sets what *group* cannot: prlimit(1); nothing where it can all.

    Memory by RLIMIT_DATA and not RLIMIT_AS, as Go, Node and the JVM reserve far more address space than they use. The
    number of processes only where the program's user runs nothing else (*alone*), as RLIMIT_NPROC counts all of a
    user's processes.
    """
    wanted = []
    if resources.memory is not None and "memory" not in group.directories:
        wanted.append(f"--data={resources.memory}")
    if alone and "pids" not in group.directories:
        wanted.append(f"--nproc={resources.pids}")
    return ("/usr/bin/prlimit", *wanted, "--") if wanted else ()


def notes(tree: Tree, *, alone: bool) -> tuple[str, ...]:
    """What is said about it, one sentence; nothing where control groups can do all."""
    missing = tree.missing()
    if not missing:
        return ()
    instead = {"memory": "memory is bounded per process only", "cpu": "cpu is not bounded"}
    instead["pids"] = "processes are bounded per user" if alone else "the number of processes is not bounded"
    weaker = ", ".join(instead[name] for name in missing)
    mend = "run as root, or under `systemd-run --user --scope -p Delegate=yes`"
    return (f"no control group for {', '.join(missing)} can be written here: {weaker} ({mend})",)
