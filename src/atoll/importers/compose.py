"""A Compose file: its services that have a source, with everything that the file has a word for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from atoll.errors import Refused
from atoll.importers.compose_service import Read, read
from atoll.importers.environment import readdressed
from atoll.importers.files import text_of
from atoll.importers.margin import Margin, inside
from atoll.importers.naming import name_for
from atoll.importers.proposal import Draft, Found
from atoll.importers.sources import entrance
from atoll.model import source as yaml
from atoll.model.problems import Place, Problem

FILES = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")
OVERRIDES = ("compose.override.yaml", "compose.override.yml", "docker-compose.override.yaml",
             "docker-compose.override.yml")  # fmt: skip
_READ = frozenset({"name", "version", "services"})


def find(directory: Path, file: str) -> Found:
    """
    The services of the Compose file that have a source; `services` may be empty, `notes` says why.

    Raises `errors.Refused` with every problem and its place where the file is not YAML or has another form.
    """
    margin = Margin(file)
    entries = margin.mapping(_tree(text_of(directory / file), file), "the file")
    for word, (key, _) in entries.items():
        if word not in _READ:
            margin.lost(key.place, word)
    services = margin.mapping(inside(entries, "services"), "services")
    found: dict[str, Read] = {}
    for name, (key, tree) in services.items():
        one = read(margin, directory, name, key, tree)
        if one is not None:
            found[name] = one
    system = margin.text(inside(entries, "name"), "name") or directory.name
    if margin.problems:
        raise _refused(file, margin.problems)
    drafts, listen = _together(
        margin, found, set(services) - set(found), {n: k.place for n, (k, _) in services.items()}
    )
    return Found(name_for(system), file, drafts, listen, (*margin.sentences(), *_closing(directory, margin)))


def _tree(text: str, file: str) -> yaml.Tree:
    try:
        tree, problems = yaml.read(text, file)
    except yaml.Unreadable as error:
        raise _refused(file, list(error.problems)) from error
    if problems:
        raise _refused(file, list(problems))
    return tree


def _refused(file: str, problems: list[Problem]) -> Refused:
    lines = "\n".join(f"{p.place}: {p.message}" for p in sorted(problems, key=lambda p: p.place))
    return Refused(
        f"{file} cannot be carried over\n{lines}", hint=f"mend {file} first, or write the atoll.yaml by hand"
    )


def _together(
    margin: Margin, found: Mapping[str, Read], dropped: set[str], places: Mapping[str, Place]
) -> tuple[tuple[Draft, ...], str | None]:
    """The services as one system: names, routes, calls."""
    names: dict[str, str] = {}
    for old in found:
        names[old] = name_for(old, names.values())
        if names[old] != old:
            margin.note(places[old], f"{old} is called {names[old]} here")
    open_ = [old for old, one in found.items() if one.published]
    by_name = {names[old]: old for old in open_}
    front = by_name[entrance(list(by_name))] if by_name else None
    drafts = []
    for old, one in found.items():
        if not one.listens:
            margin.note(places[old], f"{old} has to listen on $PORT: an instance counts as ready when it accepts there")
        env, by_address = readdressed(margin, old, list(one.variables), names, dropped)
        calls = _calls(margin, old, one, names, places[old])
        calls = tuple(dict.fromkeys((*calls, *by_address)))
        routes = ("/",) if old == front else (f"/{names[old]}",) if old in open_ else ()
        env = tuple(_without_urls(margin, old, env, calls, places[old]))
        drafts.append(replace(one.draft, name=names[old], env=env, calls=calls, routes=routes))
    margin.closing += _doors(open_, front, names)
    circle = _circle(found)
    if circle:
        margin.closing.append(f"depends_on goes in a circle: {' → '.join(circle)}; one slow service can stop them all")
    listen = next((p.listen for p in found[front].published if p.listen), None) if front else None
    return tuple(drafts), listen


def _calls(margin: Margin, old: str, one: Read, names: Mapping[str, str], place: Place) -> tuple[str, ...]:
    for callee in one.after:
        if callee == old:
            margin.note(place, f"{old} depends on itself: left out")
        elif callee not in names:
            margin.lost(place, f"{old} depends on {callee}", f"there is no {callee} here")
    return tuple(names[callee] for callee in one.after if callee in names and callee != old)


def _without_urls(
    margin: Margin, old: str, env: tuple[tuple[str, str], ...], calls: tuple[str, ...], place: Place
) -> Iterator[tuple[str, str]]:
    """Atoll sets NAME_URL for every callee itself."""
    own = {f"{callee.upper().replace('-', '_')}_URL" for callee in calls}
    for name, value in env:
        if name in own:
            margin.note(place, f"{old}.environment.{name} was left out: Atoll sets it, as {old} calls that service")
        else:
            yield name, value


def _doors(open_: list[str], front: str | None, names: Mapping[str, str]) -> tuple[str, ...]:
    others = ", ".join(f"{names[old]} at /{names[old]}" for old in open_ if old != front)
    if not others or front is None:
        return ()
    doors = f"{names[front]} at /, {others} (the path arrives whole)"
    return (f"each published port was a door of its own; here one gateway leads to {doors}",)


def _circle(found: Mapping[str, Read]) -> list[str]:
    done: set[str] = set()
    for start in found:
        path: list[str] = []
        stack = [(start, iter(found[start].after))]
        path.append(start)
        while stack:
            following = next(stack[-1][1], None)
            if following is None:
                done.add(path.pop())
                stack.pop()
            elif following in path[:-1]:
                return [*path[path.index(following) :], following]
            elif following in found and following not in done and following != path[-1]:
                path.append(following)
                stack.append((following, iter(found[following].after)))
    return []


def _closing(directory: Path, margin: Margin) -> Iterator[str]:
    yield from margin.closing
    if margin.defaulted:
        yield f"the defaults of these variables were written: {', '.join(margin.defaulted)}"
    for name in OVERRIDES:
        if (directory / name).is_file():
            yield f"{name} was not looked at"
