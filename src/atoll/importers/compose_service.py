"""One service of a Compose file, as far as Atoll has a word for what it says."""

from __future__ import annotations

import posixpath
import shlex
from dataclasses import dataclass
from pathlib import Path

from atoll.importers import environment, limits, ports
from atoll.importers.dockerfile import Start, command_line, start_of
from atoll.importers.files import text_or_nothing
from atoll.importers.margin import Margin, inside
from atoll.importers.proposal import Draft
from atoll.importers.sources import source_at
from atoll.model.problems import Place
from atoll.model.source import Entries, Items, Scalar, Tree
from atoll.values.quantities import show_duration

HANDLED = frozenset(
    {"build", "command", "entrypoint", "ports", "expose", "environment", "depends_on", "links", "healthcheck",
     "deploy", "scale", "cpus", "mem_limit", "pids_limit", "stop_grace_period", "profiles", "image"}
)  # fmt: skip
SAME_HERE = frozenset(
    {"container_name", "hostname", "restart", "init", "stdin_open", "tty", "pull_policy", "develop",
     "security_opt", "cap_drop", "read_only", "platform", "attach"}
)  # fmt: skip
"""What every instance has anyway, or what only means something for containers."""
REASONS = {
    "volumes": "files do not outlive an instance yet",
    "networks": "every instance is isolated; `calls:` says who may reach whom",
    "env_file": "copy what is no secret to `env:`",
    "secrets": "secrets are not there yet",
    "configs": "put the file into the source",
    "user": "every service has a user of its own already",
    "privileged": "an instance never has rights of the host",
    "cap_add": "an instance never has rights of the host",
    "network_mode": "every instance has a network of its own",
    "extends": "write out what the other service says",
    "logging": "what an instance writes is kept in files of bounded size; `atoll logs` shows it",
}


@dataclass(frozen=True, slots=True)
class Read:
    """One service that has a source, before services know each other. `after` are the ones that it depends on."""

    draft: Draft
    published: tuple[ports.Published, ...]
    after: tuple[str, ...]
    variables: tuple[environment.Variable, ...]
    listens: bool


def read(margin: Margin, directory: Path, name: str, key: Scalar, tree: Tree) -> Read | None:
    """The service *name*, None where it has no source here or would not be started by `docker compose up`."""
    service = margin.mapping(tree, f"services.{name}")
    if "profiles" in service and _has_items(service["profiles"][1]):
        margin.lost(key.place, name, "it is in a profile, not started by default")
        return None
    source = _source(margin, name, key.place, service)
    if source is None:
        return None
    for word, (place, _) in service.items():
        if word not in HANDLED | SAME_HERE:
            margin.lost(place.place, f"{name}.{word}", REASONS.get(word, ""))
    return _kept(margin, directory, name, source, service)


def _kept(margin: Margin, directory: Path, name: str, source: str, service: limits.Entries) -> Read:
    deploy = margin.mapping(inside(service, "deploy"), f"{name}.deploy")
    for word, (place, _) in deploy.items():
        if word not in {"replicas", "resources", "restart_policy"}:
            margin.lost(place.place, f"{name}.deploy.{word}")
    asked = margin.mapping(inside(deploy, "resources"), f"{name}.deploy.resources")
    if "reservations" in asked:
        margin.lost(asked["reservations"][0].place, f"{name}.deploy.resources.reservations")
    most = margin.mapping(inside(asked, "limits"), f"{name}.deploy.resources.limits")
    published = tuple(ports.published(margin, name, inside(service, "ports")))
    exposed = ports.exposed(margin, name, inside(service, "expose"))
    image = _image(margin, directory / source, name, service)
    literal = tuple(dict.fromkeys((*(p.target for p in published), *exposed, *image.ports)))
    grace = limits.duration(margin, inside(service, "stop_grace_period"), f"{name}.stop_grace_period", least=0)
    run, remarks = _run(margin, directory / source, name, service, image, literal)
    replicas = inside(deploy, "replicas") or inside(service, "scale")
    draft = Draft(
        name=name,
        source=source,
        run=run,
        instances=limits.count(margin, replicas, f"{name}.replicas"),
        resources=tuple(limits.resources(margin, name, service, most)),
        health=tuple(limits.health(margin, name, inside(service, "healthcheck"))),
        release=() if grace is None else (("grace", show_duration(grace)),),
        remarks=(*remarks, *image.remarks),
    )
    return Read(
        draft=draft,
        published=published,
        after=tuple(_after(margin, name, service)),
        variables=tuple(environment.variables(margin, name, inside(service, "environment"))),
        listens=bool(literal) or "$PORT" in (run or ""),
    )


def _has_items(tree: Tree) -> bool:
    return not isinstance(tree, Items) or bool(tree.items)


def _source(margin: Margin, name: str, place: Place, service: limits.Entries) -> str | None:
    """The build context below the Compose file's directory, None (and a note) where there is none."""
    build = inside(service, "build")
    if build is None:
        image = margin.text(inside(service, "image"), f"{name}.image")
        margin.lost(place, name, f"it is the image {image}, nothing to build" if image else "nothing to build")
        return None
    if isinstance(build, Entries):
        entries = margin.mapping(build, f"{name}.build")
        for word in entries.keys() - {"context", "dockerfile", "target", "tags", "pull", "no_cache"}:
            margin.lost(entries[word][0].place, f"{name}.build.{word}")
        text = "." if "context" not in entries else margin.text(inside(entries, "context"), f"{name}.build.context")
    else:
        text = margin.text(build, f"{name}.build")
    if text is None:
        return None
    context = posixpath.normpath(text)
    if ":" in text or not text.isprintable() or "\\" in text or context.startswith(("/", "~", "..")):
        margin.lost(build.place, name, f"its source {text} is not below this directory")
        return None
    return context


def _image(margin: Margin, source: Path, name: str, service: limits.Entries) -> Start:
    """What the image would start, by its Dockerfile."""
    build = inside(service, "build")
    entries = margin.mapping(build, f"{name}.build") if isinstance(build, Entries) else {}
    file = margin.text(inside(entries, "dockerfile"), f"{name}.build.dockerfile") or "Dockerfile"
    target = margin.text(inside(entries, "target"), f"{name}.build.target")
    return start_of(text_or_nothing(source / file), target) if "\0" not in file else Start()


def _run(
    margin: Margin, source: Path, name: str, service: limits.Entries, image: Start, literal: tuple[str, ...]
) -> tuple[str | None, tuple[str, ...]]:
    """The command: what Compose says, else what the Dockerfile says, else what the source itself says."""
    entrypoint = _arguments(margin, name, "entrypoint", service)
    command = _arguments(margin, name, "command", service)
    if entrypoint is not None:
        image = Start(entrypoint, ())
    if command is not None:
        image = Start(image.entrypoint, command)
    run = command_line(image.arguments, literal) or None
    found = source_at(source)
    if not source.is_dir():
        return run, ("its source directory is missing",)
    if found is None and not run:
        return run, ("there is nothing that Atoll can build (Python, Node.js) or start: add `run:`",)
    if run is None and found is not None and not found.starts:
        return run, ("nothing in its source says how to start it: add `run:`",)
    if run is not None and literal and "$PORT" not in run:
        return run, (f"it has to listen on $PORT, not on {literal[0]}",)
    return run, ()


def _arguments(margin: Margin, name: str, key: str, service: limits.Entries) -> tuple[str, ...] | None:
    """A command as Compose takes it: a list, or words split as a shell would, but without one."""
    tree = inside(service, key)
    if isinstance(tree, Items):
        return tuple(margin.text(item, f"{name}.{key}") or "" for item in tree.items)
    text = margin.text(tree, f"{name}.{key}")
    if text is None or tree is None:
        return None
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        margin.wrong(tree.place, f"{name}.{key}: {error}")
        return None


def _after(margin: Margin, name: str, service: limits.Entries) -> list[str]:
    """The services that it depends on, from `depends_on` (list or mapping) and `links`."""
    depends, found = inside(service, "depends_on"), list[str]()
    if isinstance(depends, Entries):
        for key, value in margin.mapping(depends, f"{name}.depends_on").values():
            condition = margin.text(
                inside(margin.mapping(value, f"{name}.depends_on.{key.text}"), "condition"), f"{name}.depends_on"
            )
            if condition == "service_completed_successfully":
                margin.lost(key.place, f"{name} waits for {key.text} to finish", "there are no jobs yet")
            else:
                found.append(key.text)
    else:
        found += [
            t for t in (margin.text(i, f"{name}.depends_on") for i in margin.items(depends, f"{name}.depends_on")) if t
        ]
    links = (margin.text(item, f"{name}.links") for item in margin.items(inside(service, "links"), f"{name}.links"))
    return [*found, *(link.partition(":")[0] for link in links if link)]
