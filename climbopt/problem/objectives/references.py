"""Reference losses, by which losses are divided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from climbopt.foundations.errors import InputError
from climbopt.foundations.frozen import Converted, optional
from climbopt.foundations.quantities import NUMBER, Amount, OptionalByName
from climbopt.model.templates import Array
from climbopt.problem.constraints import Reference, Setting, optional_reference
from climbopt.problem.objectives.objective import by_target


@dataclass(frozen=True)
class References:
    """Reference losses, stated by target or computed from a reference mixture.

    Parameters
    ----------
    losses : mapping of str to float, optional
        Nats per token, for every target with a weight.
    reference : str or mapping of str to float, optional
        Instead: "uniform" (the default), "natural" (by supply), or ratios by source that sum to 1.
    """

    losses: OptionalByName = Converted(optional(NUMBER.by_name), None)
    reference: Converted[str | Mapping[str, Amount] | None, Reference | None] = Converted(optional_reference, None)

    def __post_init__(self) -> None:
        if self.losses is not None and self.reference is not None:
            raise InputError("an objective has either 'losses' by target or a 'reference' mixture, not both")

    def references(self, setting: Setting, weights: Array) -> Array:
        """Return the reference losses, (T,); infinite for targets of weight 0."""
        if self.losses is not None:
            return by_target(self.losses, setting, weights, "the objective's losses")
        losses = setting.reference_losses(self.reference or "uniform", "the objective")
        return np.asarray(np.where(weights > 0, losses, np.inf))
