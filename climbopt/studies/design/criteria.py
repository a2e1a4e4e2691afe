"""Information: the Fisher information of planned runs on a fit's parameters.

With G the derivatives of a run's losses with respect to the coordinates of the fit, each divided by its noise, and P
the precision of the priors, a design's information is M = P + sum over runs of G'G; M^-1 is the covariance that `fit`
would report.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import sympy as sp

from climbopt.fitting.coordinates import FitForm, fit_form
from climbopt.fitting.estimate import INTERIOR, assumed_noise
from climbopt.fitting.least_squares import Block, Observations
from climbopt.model.interactions import smallest_budget
from climbopt.model.mixture import MixtureModel
from climbopt.model.templates import Array, Form

POINTS = 24
"""Targets times points of the prior over which a design is averaged, without a model; at least one point."""
BELIEVED = 2.0
"""Largest first-order spread of a loss under the priors that is accepted, as a share of its median."""


@dataclass(frozen=True, eq=False)
class Runs:
    """Runs of known mixture and budget, without losses.

    Parameters
    ----------
    ratios : ndarray, (n, S)
    tokens : ndarray, (n,)
    params : float, optional
        Model size, for laws that depend on it.
    """

    ratios: Array
    tokens: Array
    params: float | None = None

    def __len__(self) -> int:
        """Return the number of runs."""
        return len(self.tokens)


@dataclass(frozen=True, eq=False)
class Knowledge:
    """Where the derivatives are taken: a block of parameters per group of targets and point of the prior.

    Parameters
    ----------
    blocks : tuple of (Block, ndarray)
        Without rows, each with its coordinates.
    token_unit, params_unit : float
    """

    blocks: tuple[tuple[Block, Array], ...]
    token_unit: float
    params_unit: float

    @classmethod
    def of_prior(
        cls,
        form: Form,
        languages: tuple[str, ...],
        smallest: float,
        token_unit: float,
        rng: np.random.Generator,
    ) -> Knowledge:
        """Return the knowledge before any run: points drawn from the priors, inside their bounds."""
        blocks = _blank(fit_form(*form), languages, languages, smallest / token_unit)
        n_points = max(1, POINTS // len(languages))
        chosen = []
        for block in blocks:
            # The first point is the center of the priors, moved inside the bounds as the fit's start is.
            inside = np.where(
                np.isfinite(block.lower), np.maximum(block.center, block.lower + INTERIOR * block.spread), block.center
            )
            chosen.append((block, inside))
            for _ in range(n_points - 1):
                drawn = block.center + block.spread * rng.standard_normal(inside.size)
                bounded = np.isfinite(block.lower)
                # reflected at the lower bound
                drawn[bounded] = block.lower[bounded] + np.abs(drawn - block.lower)[bounded]
                chosen.append((block, drawn))
        return cls(tuple(chosen), token_unit, 1.0)

    @classmethod
    def of_model(cls, model: MixtureModel, smallest: float) -> Knowledge:
        """Return the knowledge from a fitted model: its parameters, in the coordinates of the fit."""
        form = fit_form(*model.form)
        values = _coordinates(form, model, smallest / model.token_unit)
        blocks = _blank(form, model.sources, model.targets, smallest / model.token_unit)
        # Noise is a share of the median loss, for which the law at z = 1 / S and ten times the smallest budget stands.
        medians = model.at(10 * smallest, model.params_unit).losses(
            np.full(len(model.targets), 1.0 / len(model.sources))
        )
        chosen = []
        for block in blocks:
            rows = [model.targets.index(name) for name in block.targets]
            block = replace(
                block, rows=_rows(block, np.ones((1, len(model.sources))), np.ones(1), np.ones(1), medians[rows])
            )
            x = np.concatenate(
                [
                    values[p.name][rows if p.per != "source" else slice(None)][block.free[p.name]]
                    for p in block.form.coordinates
                ]
            )
            chosen.append((block, np.maximum(x, block.lower)))
        return cls(tuple(chosen), model.token_unit, model.params_unit)

    @cached_property
    def width(self) -> int:
        """Largest number of coordinates of a block."""
        return max(x.size for _, x in self.blocks)

    @cached_property
    def prior(self) -> Array:
        """Precision of the priors, (B, p, p); 1 where a block has fewer coordinates than the largest."""
        # Blocks of different sizes in one array: unused coordinates have unit precision and no derivatives.
        result = np.tile(np.eye(self.width), (len(self.blocks), 1, 1))
        for b, (block, x) in enumerate(self.blocks):
            result[b, range(x.size), range(x.size)] = block.spread**-2.0
        return result

    def derivatives(self, runs: Runs, *, noise: bool = True) -> Array:
        """Return the derivatives of the losses by the coordinates, (B, n, T, p).

        Each divided by its noise, or (`noise` False) by the target's median loss; 0 where a loss is not used, or lies
        outside the law's domain. Where a loss varies under the priors by more than `BELIEVED`, to first order, its
        derivatives are scaled down to it: they diverge as z goes to 0, and no design should rely on them.
        """
        n_targets = len(self.blocks[0][0].targets)
        result = np.zeros((len(self.blocks), len(runs), n_targets, self.width))
        D = runs.tokens / self.token_unit
        N = np.full(len(runs), np.nan if runs.params is None else runs.params / self.params_unit)
        for b, (block, x) in enumerate(self.blocks):
            medians = block.rows.losses[0]
            at_runs = replace(block, rows=_rows(block, runs.ratios, D, N, medians))
            used = np.isfinite(at_runs.rows.scale)
            rows = np.nan_to_num(at_runs.jacobian(x)[: int(used.sum())], posinf=0.0, neginf=0.0)
            share = (at_runs.rows.scale / medians)[used]  # a row's unit (its noise) over the median loss
            # Standard deviation of the loss under the priors, to first order, over its median.
            spread = share * np.sqrt(np.square(rows) @ np.square(block.spread))
            rows = rows * (BELIEVED / np.maximum(spread, BELIEVED) * (1.0 if noise else share))[:, None]
            result[b][used, : x.size] = rows
        return result


def _blank(form: FitForm, sources: tuple[str, ...], targets: tuple[str, ...], smallest: float) -> list[Block]:
    """Return one block per target, or a single block where sources have parameters; median losses of 1."""
    together = any(p.per == "source" for p in form.coordinates)
    groups = [targets] if together else [(target,) for target in targets]
    nothing = np.zeros((0, 0))
    empty = Observations.of_runs(nothing, np.zeros(0), np.zeros(0), nothing, nothing)
    blocks = [Block(form, sources, group, empty, smallest) for group in groups]
    return [
        replace(
            block, rows=_rows(block, np.ones((1, len(sources))), np.ones(1), np.ones(1), np.ones(len(block.targets)))
        )
        for block in blocks
    ]


def _rows(block: Block, ratios: Array, D: Array, N: Array, medians: Array) -> Observations:
    """Return rows with the noise that `fit` assumes, and median losses in place of measured ones."""
    own = np.column_stack(
        [ratios[:, block.sources.index(name)] if name in block.sources else np.zeros(len(D)) for name in block.targets]
    )
    scale = assumed_noise(ratios, block.sources, block.targets) * medians
    if block.form.interaction.vanishes_without_own_data and block.form.law.needs_positive_z:
        # z = 0 there, outside the law's domain: the loss carries no information
        scale[own == 0] = np.inf
    return Observations.of_runs(ratios, D, N, np.tile(medians, (len(D), 1)), scale)


def _coordinates(form: FitForm, model: MixtureModel, smallest: float) -> dict[str, Array]:
    """Return a model's parameters in the coordinates of the fit, by name: solved from the declared values."""
    symbols = {p.name: p.symbol for p in form.coordinates}
    declared = model.form.parameters
    declared_values = {p.symbol: sp.Dummy(p.name, positive=bool(p.symbol.is_positive), real=True) for p in declared}
    coordinates: dict[sp.Symbol, sp.Expr] = {}
    # Coordinates that stand in the place of several declared parameters.
    replacing = form.interaction.coordinates.parameters if form.interaction.coordinates is not None else ()
    others = {p.symbol for p in replacing}
    direct = [p for p in declared if not form.values[p.symbol].free_symbols & others]
    for p in direct:
        name = f"log_{p.name}" if p.symbol.is_positive else p.name
        coordinates[symbols[name]] = (
            sp.log(declared_values[p.symbol]) if p.symbol.is_positive else declared_values[p.symbol]
        )
    # They follow from their equations.
    rest = [symbol for symbol in symbols.values() if symbol not in coordinates]
    equations = [
        form.values[p.symbol].subs(coordinates) - declared_values[p.symbol] for p in declared if p not in direct
    ]
    if rest:
        coordinates |= sp.solve(equations, rest, dict=True)[0]
    arguments = [*declared_values.values(), smallest_budget]
    values = [model.parameters[p.name] for p in declared]
    results = {}
    for p in form.coordinates:
        columns = [
            value[:, None] if p.per == "pair" and parameter.per == "target" else value
            for parameter, value in zip(declared, values, strict=True)
        ]
        with np.errstate(divide="ignore"):
            value = sp.lambdify(arguments, coordinates[p.symbol], modules="numpy")(*columns, smallest)
        results[p.name] = np.array(np.broadcast_to(value, model.shape(p)), dtype=float)
    return results
