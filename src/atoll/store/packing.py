"""
Recipes and workloads as rows.

Every recipe names every service of its system, and every instance has a recipe: written out, a system of a thousand
services would be a million names, five times over. A row holds the names once, and what is read shares them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from atoll import wire
from atoll.plan.blueprint import Recipe, Workload

SHARED = 64
"""How many different lists of names are remembered: as many as there have lately been sets of services."""


@dataclass(frozen=True, slots=True)
class _RecipeRow:
    recipe: Recipe
    hosts: str


@dataclass(frozen=True, slots=True)
class _WorkloadRow:
    """`hosts` holds the names of each release; the recipes in `workload` are without them."""

    workload: Workload
    hosts: dict[int, str]


@dataclass(slots=True)
class Packing:
    """Writes rows and reads them; equal lists of names that it has read are one object."""

    _names: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def recipe_row(self, recipe: Recipe) -> bytes:
        """A recipe as a row."""
        return wire.encode(_RecipeRow(replace(recipe, hosts=()), " ".join(recipe.hosts)))

    def recipe(self, row: bytes) -> Recipe:
        """The recipe again."""
        read = wire.decode(row, _RecipeRow)
        return replace(read.recipe, hosts=self._shared(read.hosts))

    def workload_row(self, workload: Workload) -> bytes:
        """A workload as a row; its basis belongs to the running control plane and is left out."""
        recipes = {i.recipe.release: i.recipe for i in workload.instances}
        bare = {release: replace(recipe, hosts=()) for release, recipe in recipes.items()}
        instances = tuple(replace(i, recipe=bare[i.recipe.release]) for i in workload.instances)
        hosts = {release: " ".join(recipe.hosts) for release, recipe in recipes.items()}
        return wire.encode(_WorkloadRow(replace(workload, instances=instances, basis=None), hosts))

    def workload(self, row: bytes) -> Workload:
        """The workload again; instances of one release share its recipe."""
        read = wire.decode(row, _WorkloadRow)
        recipes: dict[int, Recipe] = {}
        for instance in read.workload.instances:
            release = instance.recipe.release
            if release not in recipes:
                recipes[release] = replace(instance.recipe, hosts=self._shared(read.hosts[release]))
        instances = tuple(replace(i, recipe=recipes[i.recipe.release]) for i in read.workload.instances)
        return replace(read.workload, instances=instances)

    def _shared(self, joined: str) -> tuple[str, ...]:
        if joined not in self._names:
            if len(self._names) >= SHARED:
                self._names.clear()
            self._names[joined] = tuple(joined.split())
        return self._names[joined]
