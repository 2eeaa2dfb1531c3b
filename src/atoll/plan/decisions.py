"""What has been decided since the file was applied: which release of each service is wanted."""

from __future__ import annotations

from dataclasses import dataclass

from atoll.plan.blueprint import Recipe
from atoll.plan.releasing import Progress


@dataclass(frozen=True, slots=True)
class Pin:
    """
    The releases one service is on. `stable` serves; `target`, where there is one, is replacing it.

    Only `stable`: nothing is going on. Only `target`: the first release. With `progress` the two stand side by side and
    traffic moves in steps; without, instance replaces instance.
    """

    stable: Recipe | None = None
    target: Recipe | None = None
    progress: Progress | None = None

    @property
    def newest(self) -> Recipe | None:
        """What the service is on its way to, or on."""
        return self.target or self.stable
