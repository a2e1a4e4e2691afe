"""Upper bounds of losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from climbopt.foundations.errors import InputError
from climbopt.foundations.frozen import Converted, optional
from climbopt.foundations.quantities import NUMBER, RATIO, Amount, OptionalByName, OptionalNumber
from climbopt.model.expressions import L
from climbopt.problem.constraints.constraint import (
    ExpressionRow,
    Reference,
    Setting,
    mapping_or_keywords,
    optional_reference,
)


@dataclass(frozen=True, init=False)
class LossCeiling:
    """L_i <= losses_i, or L_i <= (1 + excess) times the loss of i after a run with a reference mixture.

    Parameters
    ----------
    losses : mapping of str to float, optional
        Nats per token, by target.
    excess : float, optional
        Instead of `losses`; at least -1.
    reference : str or mapping of str to float, optional
        With `excess`: "uniform", "natural" (by supply), or ratios by source that sum to 1; at the same budget.
    targets : sequence of str, optional
        With `excess`: the targets that have a ceiling; every target by default.
    name : str
        Name in reports.
    **languages : float or str
        Losses by target: ``LossCeiling(de=2.1)``.

    Examples
    --------
    >>> setting = Setting(("en", "sw"), 1e9, {}, {}, ("en", "sw"))
    >>> LossCeiling({"sw": 2.5}).rows(setting)[0].upper
    2.5
    """

    losses: OptionalByName = Converted(optional(NUMBER.by_name), None)
    excess: OptionalNumber = Converted(optional(RATIO.read), None)
    reference: Converted[str | Mapping[str, Amount] | None, Reference | None] = Converted(optional_reference, None)
    targets: Sequence[str] | None = None
    name: str = "loss_ceiling"
    kind: ClassVar[str] = "loss_ceiling"

    def __init__(
        self,
        losses: Mapping[str, Amount] | None = None,
        excess: Amount | None = None,
        reference: str | Mapping[str, Amount] | None = None,
        targets: Sequence[str] | None = None,
        name: str = "loss_ceiling",
        **languages: Amount,
    ) -> None:
        for field, value in (
            ("losses", mapping_or_keywords(losses, languages, self.kind) if languages else losses),
            ("excess", excess),
            ("reference", reference),
            ("targets", (targets,) if isinstance(targets, str) else targets),
            ("name", name),
        ):
            object.__setattr__(self, field, value)
        absolute = self.losses is not None
        # Exactly one of the two ways, and a reference with the second only.
        if absolute == (self.excess is not None) or (self.excess is None) != (self.reference is None):
            raise InputError(f"{self.name} has either 'losses' by target, or 'excess' with a 'reference' mixture")
        if absolute and self.targets is not None:
            raise InputError(f"{self.name} names its targets in 'losses'; leave 'targets' out")
        for target, value in (self.losses or {}).items():
            if not value > 0:
                raise InputError(f"{self.name} of '{target}' is {value:g}; it is a loss above 0, in nats per token")
        if self.excess is not None and not self.excess > -1:
            raise InputError(f"the excess of {self.name} is {self.excess:g}; 0.02 allows 2 % above the reference")

    def rows(self, setting: Setting) -> list[ExpressionRow]:
        """Return one row per target."""
        if self.losses is not None:
            setting.check_targets(self.losses, self.name)
            return [
                ExpressionRow(f"{self.name}[{target}]", L[target], upper=float(value), unit="nat")
                for target, value in self.losses.items()
            ]
        chosen = setting.targets if self.targets is None else self.targets
        setting.check_targets(chosen, self.name)
        assert self.excess is not None and self.reference is not None  # checked in __init__
        references = dict(
            zip(setting.targets, setting.reference_losses(self.reference, self.name).tolist(), strict=True)
        )
        return [
            ExpressionRow(
                f"{self.name}[{target}]",
                L[target],
                upper=(1 + self.excess) * references[target],
                # d upper / d excess = reference; at an excess of 0 the bound is the reference itself.
                per_unit=references[target],
                unit="unit of excess",
                at_zero=references[target],
            )
            for target in chosen
        ]
