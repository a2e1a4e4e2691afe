"""AllocationProblem: model, budget, objective and constraints, independent of any solver."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import sympy as sp

from climbopt.foundations.errors import InputError, listed, refuse_unknown, shown
from climbopt.foundations.frozen import ByFields, Converted, FrozenMap, optional
from climbopt.foundations.names import check_name
from climbopt.foundations.quantities import NUMBER, PARAMS, TOKENS, ByName, Number, OptionalNumber
from climbopt.foundations.view import Columns, View, Viewed
from climbopt.model.ensemble import Ensemble, Model, Responses, Stacked
from climbopt.model.mixture import MixtureModel, Response
from climbopt.model.templates import Array
from climbopt.problem.constraints import Constraint, ConstraintLike, Row, Setting, constraints_of
from climbopt.problem.constraints.ratio_bounds import NamedBounds, check_bounds, tightest
from climbopt.problem.objectives import Goal, Objective, Weighted, objective_of

RESERVED_NAMES = ("simplex", "nonnegative", "share", "domain", "largest")
"""Names of limits that climbopt sets itself, which no constraint may have."""

OTHERS = "default"
"""Key of the weight of the targets that are not named."""


def _groups(groups: Mapping[str, Sequence[str]], of: str) -> FrozenMap[tuple[str, ...]]:
    if not isinstance(groups, Mapping):
        raise InputError(f"{of} is {groups!r}; give a mapping from the name of a group to its languages")
    for name, members in groups.items():
        if isinstance(members, str) or not isinstance(members, Iterable):
            raise InputError(f"group '{name}' is {members!r}; list its languages, such as ['en']")
    return FrozenMap({name: tuple(members) for name, members in groups.items()})


def check_weights(weights: Mapping[str, float], targets: Sequence[str]) -> None:
    """Refuse weights that leave the weight of any target ambiguous."""
    if weights and OTHERS in targets:
        raise InputError(
            f"a target is called '{OTHERS}', which in [weights] stands for the targets that are not named; "
            "rename it in the model"
        )
    unnamed = [name for name in targets if name not in weights]
    if not weights or not unnamed or OTHERS in weights:
        return
    total = sum(weights.values())
    # What the named targets would weigh together if each of the others had weight 1.
    share = f"{100 * total / (total + len(unnamed)):.3g}"
    raise InputError(
        f"[weights] names {listed(list(weights), most=4)} and not {listed(unnamed, most=4)}; add "
        f"{OTHERS} = 0 if only the named targets count, or {OTHERS} = 1 if each of the others has weight 1 "
        f"(the named ones then have {share} % of the weight together)"
    )


@dataclass(frozen=True, eq=False, repr=False)
class AllocationProblem(ByFields, Viewed):
    """Which ratios minimise an objective of a model's losses at a budget, under constraints.

    Parameters
    ----------
    model : MixtureModel or Ensemble
        How losses depend on ratios and budget.
    budget : float or str
        Tokens of the planned run: a number, or text such as "1T" or "2.5 M".
    params : float or str, optional
        Model size, for laws that depend on it: 7e9 or "7B".
    weights : mapping of str to float
        By target, 0 or more, normalised to sum 1; ``default`` stands for the targets that are not named. Every
        target counts alike where there are none.
    supply : mapping of str to float or str
        Available tokens, by source; a form with a use counts repetition by these, in place of the fit's supplies.
    history : mapping of str to float or str
        Tokens already trained, by source.
    groups : mapping of str to sequence of str
        Named lists of sources.
    constraints : sequence of Constraint, SymPy relation or str
        All hold at once: ``[climbopt.Floor(pt=0.15), climbopt.L["de"] <= 2.1, "r[en] <= 0.5"]``.
    objective : Objective, SymPy expression or str
        What is minimised: an object, its name, or an expression; the weighted sum of losses by default.
    name : str
        For reports.

    Raises
    ------
    InputError
        For values out of range, unknown languages, and bounds that contradict each other.
    """

    model: Model
    budget: Number = Converted(TOKENS.positive)
    params: OptionalNumber = Converted(optional(PARAMS.positive), None)
    weights: ByName = Converted(NUMBER.by_name, FrozenMap({}))
    supply: ByName = Converted(TOKENS.by_name, FrozenMap({}))
    history: ByName = Converted(TOKENS.by_name, FrozenMap({}))
    groups: Converted[Mapping[str, Sequence[str]], FrozenMap[tuple[str, ...]]] = Converted(_groups, FrozenMap({}))
    constraints: Converted[Sequence[ConstraintLike], tuple[Constraint, ...]] = Converted(constraints_of, ())
    objective: Converted[Objective | sp.Basic | str, Objective] = Converted(objective_of, Weighted())
    name: str = "problem"

    def __post_init__(self) -> None:
        if not isinstance(self.model, MixtureModel | Ensemble | Stacked):
            raise InputError(
                f"model is a {type(self.model).__name__}; give a MixtureModel or an Ensemble: the model of a fit, or "
                "climbopt.load_model(path)"
            )
        if self.model.uses_model_size and self.params is None:
            raise InputError(f"{self.model.label} depends on the model size; give params")
        self._check_languages()
        # Known supplies are those of the planned run, whatever the pilots had.
        object.__setattr__(self, "model", self.model.with_supply(self.supply))
        object.__setattr__(self, "name", shown(str(self.name)))
        for group in self.groups:
            check_name(group, "the name of a group")
        names = [constraint.name for constraint in self.constraints]
        for name in names:
            check_name(name, "the name of a constraint")
            if names.count(name) > 1:
                raise InputError(f"two constraints are called '{name}'; give each a 'name' of its own")
            if name in RESERVED_NAMES or "[" in name:
                raise InputError(
                    f"a constraint is called '{name}'; choose a name without brackets that is none of "
                    f"{', '.join(RESERVED_NAMES)}"
                )
        # Evaluated here, so that a faulty constraint or objective is refused when the problem is built.
        check_bounds(self.bounds, self.rows)
        _ = self.goal  # raises InputError for an objective that does not fit the model

    def _check_languages(self) -> None:
        """Refuse unknown languages, and numbers that are not 0 or more."""
        for key, known in (
            ("weights", (*self.model.targets, OTHERS)),
            ("supply", self.model.sources),
            ("history", self.model.sources),
        ):
            refuse_unknown(f"language in [{key}]", getattr(self, key), known)
            for language, value in getattr(self, key).items():
                if value < 0:
                    raise InputError(f"[{key}] of '{language}' is {value:g}; it must be 0 or more")
        for group, members in self.groups.items():
            if not members:
                raise InputError(f"group '{group}' is empty; list one or more sources")
            refuse_unknown(f"language of group '{group}'", members, self.model.sources)
        check_weights(self.weights, self.model.targets)
        if not self.weight_vector.sum() > 0:
            raise InputError("every target has weight 0; give at least one a positive weight")

    @property
    def setting(self) -> Setting:
        """The part of the problem that constraints read."""
        return Setting(
            self.model.sources,
            self.budget,
            self.supply,
            self.groups,
            self.model.targets,
            self.losses,
            # Forms average in their losses; the mean of their z has no meaning.
            has_z=isinstance(self.model, MixtureModel),
        )

    @cached_property
    def goal(self) -> Goal:
        """The objective as a function of ratios and losses."""
        return self.objective.goal(self.setting, self.weight_vector)

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """Every row of every constraint, in order."""
        return tuple(row for constraint in self.constraints for row in constraint.rows(self.setting))

    @cached_property
    def bounds(self) -> NamedBounds:
        """The tightest bounds of each ratio, by source."""
        return tightest(self.model.sources, self.rows)

    @cached_property
    def weight_vector(self) -> Array:
        """Weights in the order of the model's targets, summing to 1."""
        # Without any weights the default of 1 makes every target count alike.
        values = np.array([self.weights.get(name, self.weights.get(OTHERS, 1.0)) for name in self.model.targets])
        total = values.sum()
        return values / total if total > 0 else values

    @property
    def trained_tokens(self) -> float:
        """Tokens of the history, summed over languages."""
        return float(sum(self.history.values()))

    @property
    def total_budget(self) -> float:
        """Tokens of history and run together, at which the laws are evaluated."""
        return self.trained_tokens + self.budget

    @property
    def run_share(self) -> float:
        """Tokens of the run as a share of all, D / (D0 + D)."""
        return self.budget / self.total_budget

    def cumulative(self, ratios: Array) -> Array:
        """Return the ratios of history and run together: (D0 r0 + D r) / (D0 + D); shape (..., S)."""
        tokens = np.array([float(self.history.get(name, 0.0)) for name in self.model.sources])
        # The laws are of whole runs: the history counts as if its tokens were part of this one.
        return np.asarray(tokens / self.total_budget + self.run_share * ratios)

    @property
    def response(self) -> Response | Responses:
        """The model at the tokens of history and run together."""
        return self.model.at(self.total_budget, self.params)

    def losses(self, ratios: Array) -> Array:
        """Return each target's loss after the run, in nats per token; (..., S) to (..., T); NaN outside the domain."""
        return self.response.predicted(self.cumulative(ratios))

    def value(self, ratios: Array, model: Model | None = None) -> Array:
        """Return the objective, in the unit of its goal; (..., S) to (...): under its own model, or another model."""
        return np.asarray(self.goal.table.values(self.read_by_goal(ratios, model)).max(axis=-1))

    def read_by_goal(self, ratios: Array, model: Model | None = None) -> Array:
        """Return y = (r, z, L) over the targets that the objective depends on, (..., S + 2 k)."""
        z, losses = self.effective_and_losses(ratios, model)
        # The goal's table is over the targets that it depends on alone, in its own order.
        counted = [self.model.targets.index(name) for name in self.goal.targets]
        return np.concatenate([ratios, z[..., counted], losses[..., counted]], axis=-1)

    def effective_and_losses(self, ratios: Array, model: Model | None = None) -> tuple[Array, Array]:
        """Return z and loss of each target after the run, (..., T); z of an ensemble is NaN, as it has none."""
        # A draw or another form is judged under the supplies of this problem too.
        other = self.model if model is None else model.with_supply(self.supply)
        response = other.at(self.total_budget, self.params)
        cumulative = self.cumulative(ratios)
        if isinstance(response, Responses):
            losses = response.predicted(cumulative)
            return np.full(losses.shape, np.nan), losses
        z = response.z(cumulative)
        return z, response.losses(z)

    def view(self) -> View:
        """Return objective, model and constraints; the table has a row for each language."""
        model = self.model
        facts = [
            f"model: {model.label}, {len(model.sources)} sources: {listed(model.sources)}",
            f"constraints: {listed([constraint.name for constraint in self.constraints]) or 'none'}",
        ]
        facts += [] if self.params is None else [f"params: {self.params:.4g}"]
        facts += [f"history: {self.trained_tokens:.4g} tokens"] if self.history else []
        return View(f"problem {self.name}: least {self.goal.label} at {self.budget:.4g} tokens", facts, self._columns)

    def _columns(self) -> Columns:
        """Return one row per language."""
        # Sources first, then targets that are no source, each once.
        languages = tuple(dict.fromkeys(self.model.sources + self.model.targets))
        by_language: dict[str, Mapping[str, float]] = {
            "weight": dict(zip(self.model.targets, self.weight_vector.tolist(), strict=True)),
            "supply": self.supply,
            "history": self.history,
        }
        return {"language": list(languages)} | {
            head: [values.get(name) for name in languages] for head, values in by_language.items() if values
        }
