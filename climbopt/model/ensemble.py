"""Ensemble: several models of the same languages as one, the loss of each target being the weighted mean of theirs.

    L_i(r) = sum over blocks b of w_b L_bi(r)

Models of one form are stacked: they are evaluated as one model, whose targets are those of each beside one another.
With z and L of every target of every stack in one vector each, the losses of the ensemble are a linear map of L.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import block_diag
from scipy.sparse import csc_array, csr_array, hstack, kron

from climbopt.foundations.errors import InputError, listed
from climbopt.foundations.frozen import ByFields, FrozenMap
from climbopt.foundations.view import View, Viewed
from climbopt.model.mixture import MixtureModel, Response
from climbopt.model.noise import LossNoise
from climbopt.model.symbols import Parameter
from climbopt.model.templates import Array
from climbopt.runs.pilot_range import PilotRange

LANGUAGES = ("sources", "targets")
"""What the blocks of an ensemble have in common."""
FORM = ("law", "interaction", "use", "token_unit", "params_unit")
"""What the models of one stack have in common, beside the languages."""


@dataclass(frozen=True, eq=False, repr=False)
class Stack(MixtureModel):
    """Models of one form as one model; target `en` of its k-th model is called ``en#k``.

    Build it by :meth:`of`.
    """

    @classmethod
    def of(cls, models: Sequence[MixtureModel]) -> Stack:
        """Return models of the same form, units and languages as one."""
        first, values = models[0], {}
        shape = len(first.targets), len(first.sources)
        for p in first.templates.parameters:
            arrays = [model.parameters[p.name] for model in models]
            if p.per == "source":
                # Sources are shared; where models differ in their parameters, these are one row per target.
                same = all(np.array_equal(array, arrays[0]) for array in arrays)
                # With equal values one copy serves all, so that u is computed once and not once per target.
                arrays = arrays[:1] if same else [np.broadcast_to(array, shape) for array in arrays]
            values[p.name] = np.concatenate(arrays)
        return cls(
            first.law,
            first.interaction,
            first.sources,
            tuple(f"{name}#{k}" for k in range(len(models)) for name in first.targets),
            values,
            first.token_unit,
            first.params_unit,
            pilots=first.pilots,
            use=first.use,
        )

    def _shapes(self, parameter: Parameter) -> list[tuple[int, ...]]:
        """Return (T, S) for a parameter of a source too: each model has its own."""
        return [self.shape(parameter), *([(len(self.targets), len(self.sources))] if parameter.per == "source" else [])]

    @property
    def languages(self) -> tuple[str, ...]:
        """The language that each target is."""
        return tuple(name.rpartition("#")[0] for name in self.targets)


def applied(matrix: csr_array, values: Array) -> Array:
    """Return matrix @ values along the last axis, (..., n) to (..., k); entries without a coefficient may be NaN."""
    # A sparse product does not read them. Leading axes are flattened, because sparse arrays multiply matrices only.
    flat = matrix @ values.reshape(-1, values.shape[-1]).T
    return np.asarray(flat.T.reshape(*values.shape[:-1], matrix.shape[0]))


@dataclass(frozen=True, eq=False)
class Responses:
    """An ensemble at one budget and size: z and L of every target of every part in one vector each.

    The methods are those of :class:`climbopt.model.mixture.Response`, with n_L targets in T's place; the losses of
    the ensemble's own targets are those of :meth:`predicted`.

    Parameters
    ----------
    model : Stacked
    parts : tuple of Response
    """

    model: Stacked
    parts: tuple[Response, ...]

    def _split(self, values: Array) -> Iterable[tuple[Response, Array]]:
        """Return each part with its share of the values of all targets, (..., n_L)."""
        ends = np.cumsum([len(part.model.targets) for part in self.parts[:-1]])
        return zip(self.parts, np.split(values, ends, axis=-1), strict=True)

    def z(self, ratios: Array) -> Array:
        """Return z of each target, shape (..., n_L)."""
        return np.concatenate([part.z(ratios) for part in self.parts], axis=-1)

    def z_and_jacobian(self, ratios: Array) -> tuple[Array, Array]:
        """Return z, shape (..., n_L), and dz/dr, shape (..., n_L, S)."""
        z, jacobian = zip(*(part.z_and_jacobian(ratios) for part in self.parts), strict=True)
        return np.concatenate(z, axis=-1), np.concatenate(jacobian, axis=-2)

    def hessian(self, ratios: Array, weights: Array) -> Array:
        """Return sum_i weights_i Hess z_i at one mixture, shape (S, S)."""
        return np.asarray(sum(part.hessian(ratios, of_part) for part, of_part in self._split(weights)))

    def losses(self, z: Array) -> Array:
        """Return the loss of each target at its z, shape (..., n_L); NaN where z leaves its law's domain."""
        return np.concatenate([part.losses(of_part) for part, of_part in self._split(z)], axis=-1)

    def losses_and_slopes(self, z: Array) -> tuple[Array, Array]:
        """Return the losses and dL/dz, each of shape (..., n_L)."""
        losses, slopes = zip(*(part.losses_and_slopes(of_part) for part, of_part in self._split(z)), strict=True)
        return np.concatenate(losses, axis=-1), np.concatenate(slopes, axis=-1)

    def loss_curvatures(self, z: Array) -> Array:
        """Return d2L/dz2, shape (..., n_L)."""
        return np.concatenate([part.loss_curvatures(of_part) for part, of_part in self._split(z)], axis=-1)

    def losses_alone(self, tokens: Array) -> Array:
        """Return the loss of each target's language alone on so many unrepeated tokens, (..., T); NaN where unknown."""
        # The target that each loss of a part belongs to: the row with a weight in its column of the map.
        target = csc_array(self.model.mean).indices
        each = [part.losses_alone(of_part) for part, of_part in self._split(tokens[..., target])]
        return self._mean(np.concatenate(each, axis=-1))

    def predicted(self, ratios: Array) -> Array:
        """Return the loss of each target of the ensemble, shape (..., T); NaN where a block has none."""
        return self._mean(self.losses(self.z(ratios)))

    def _mean(self, losses: Array) -> Array:
        """Return the losses of the ensemble's targets, (..., T), from those of all parts' targets, (..., n_L)."""
        return applied(self.model.mean, losses)


@dataclass(frozen=True, eq=False, repr=False)
class OfBlocks(ByFields, Viewed):
    """A model of several models of the same sources, fitted to the same runs."""

    blocks: Sequence[MixtureModel]

    @property
    def sources(self) -> tuple[str, ...]:
        """Languages that are mixed."""
        return self.blocks[0].sources

    @property
    def pilots(self) -> PilotRange | None:
        """The budgets and sizes of the runs that the blocks were fitted to."""
        return self.blocks[0].pilots

    @property
    def uses_model_size(self) -> bool:
        """Whether losses depend on the model size."""
        return any(block.uses_model_size for block in self.blocks)

    @property
    def kinked(self) -> bool:
        """Whether slopes of z may jump."""
        return any(block.kinked for block in self.blocks)

    def vector(self, ratios: Mapping[str, float]) -> Array:
        """Return ratios by language as an array in the order of `sources`; every source is required."""
        return self.blocks[0].vector(ratios)

    def with_supply(self, supply: Mapping[str, float]) -> Self:
        """Return the same blocks with the supplies of the named sources replaced, in tokens."""
        return replace(self, blocks=tuple(block.with_supply(supply) for block in self.blocks))


@dataclass(frozen=True, eq=False, repr=False)
class Stacked(OfBlocks):
    """Stacks of several forms as one model: the loss of each target is a weighted sum of losses of the blocks' targets.

    Parameters
    ----------
    blocks : tuple of MixtureModel
        One for each form; of the same sources.
    targets : tuple of str
    mean : scipy.sparse.csr_array, (T, n_L)
        Weights of the losses of all blocks' targets, end to end.
    label : str
        What the model is, for reports.
    """

    targets: tuple[str, ...]
    mean: csr_array
    label: str = "ensemble"

    @classmethod
    def scenarios(cls, model: Model, draws: Sequence[Model]) -> Stacked:
        """Return a model and its draws side by side: the targets of the model, then those of each draw, as ``en#0``.

        Raises
        ------
        InputError
            Where there are no draws, or one has other forms, languages or units than the model.
        """
        model = without_draws(model)
        check_draws(model, draws)
        members = [blocks_of(member) for member in (model, *draws)]
        blocks = [block for blocks, _ in members for block in blocks]
        names = (*model.targets, *(f"{name}#{k}" for k in range(len(draws)) for name in model.targets))
        # Each member is a mean of its own blocks.
        return cls._of(blocks, block_diag(*(of_blocks for _, of_blocks in members)), names, model.label)

    @classmethod
    def _of(cls, blocks: Sequence[MixtureModel], weights: Array, names: tuple[str, ...], label: str) -> Stacked:
        """Return the model whose targets are weighted sums over blocks: weights (k, n_blocks), names of k T targets."""
        # Blocks of one form, units and languages are evaluated together, as one stack.
        groups: dict[object, list[int]] = {}
        for k, block in enumerate(blocks):
            groups.setdefault(tuple(getattr(block, key) for key in FORM), []).append(k)
        unit = csr_array(np.eye(len(blocks[0].targets)))
        # As csr, since the dense blocks that kron may choose hold zeros, by which NaN of other targets would enter.
        # Targets of the k-th block of a stack are columns k T to (k + 1) T of its place in the map.
        mean = hstack([kron(csr_array(weights[:, at]), unit, format="csr") for at in groups.values()])
        return cls(tuple(Stack.of([blocks[k] for k in at]) for at in groups.values()), names, csr_array(mean), label)

    def select(self, targets: Sequence[str]) -> Stacked:
        """Return the same model with a subset of its targets, and of its blocks' targets those that they depend on."""
        position = {name: i for i, name in enumerate(self.targets)}
        mean = self.mean[[position[name] for name in targets]]
        # Losses with a weight in these rows; the other targets of the blocks need no evaluation.
        used = np.isin(np.arange(mean.shape[1]), mean.indices)
        ends = np.cumsum([len(block.targets) for block in self.blocks])
        read = [np.flatnonzero(part).tolist() for part in np.split(used, ends[:-1])]
        blocks = [
            block.select([block.targets[k] for k in at]) for block, at in zip(self.blocks, read, strict=True) if at
        ]
        return replace(self, blocks=tuple(blocks), targets=tuple(targets), mean=mean[:, np.flatnonzero(used)])

    def at(self, budget: ArrayLike, params: ArrayLike | None = None, supply: Array | None = None) -> Responses:
        """Return the model at a budget, a model size and supplies, as :meth:`MixtureModel.at`."""
        return Responses(self, tuple(block.at(budget, params, supply) for block in self.blocks))

    def view(self) -> View:
        """Return what it is of."""
        title = f"model {self.label} of {sum(len(block.targets) for block in self.blocks)} losses"
        return View(title, [f"{len(self.sources)} sources: {listed(self.sources)}"])


@dataclass(frozen=True, eq=False, repr=False)
class Ensemble(OfBlocks):
    """Models of the same languages as one, the loss of each target being the weighted mean of theirs.

    Parameters
    ----------
    blocks : sequence of MixtureModel
        Of the same sources and targets.
    weights : sequence of float, optional
        Positive, normalised to sum 1; equal by default.
    provenance : mapping of str to str
        Where the parameters came from.
    noise : LossNoise, optional
        How far measured losses lie from its predictions.
    n_draws : int
        How many draws of the first blocks the others are, by :meth:`with_draws`.

    Raises
    ------
    InputError
        Where there is no block, languages differ, or weights are not one positive number for each block.

    Examples
    --------
    >>> import climbopt
    >>> model = climbopt.load_problem("equal_beta").model
    >>> both = Ensemble((model, model), (3, 1))
    >>> both.weights, both.label
    ((0.75, 0.25), 'ensemble of power + saturating')
    """

    weights: Sequence[float] = ()
    provenance: Mapping[str, str] = field(default_factory=dict)
    noise: LossNoise | None = None
    n_draws: int = 0

    def __post_init__(self) -> None:
        blocks, weights = tuple(self.blocks), np.array(self.weights or [1.0] * len(self.blocks), dtype=float)
        if not blocks:
            raise InputError("an ensemble has no block; give it one model or more")
        if any(not isinstance(block, MixtureModel) for block in blocks):
            raise InputError("a block of an ensemble is a MixtureModel; give the blocks of an ensemble, not itself")
        for key in LANGUAGES:
            for k, block in enumerate(blocks):
                if getattr(block, key) != getattr(blocks[0], key):
                    raise InputError(f"block {k} of the ensemble has other {key} than block 0; all must be the same")
        if weights.shape != (len(blocks),) or not (np.isfinite(weights).all() and (weights > 0).all()):
            raise InputError(
                f"the weights of an ensemble are {weights.tolist()}; give one positive number for each of its "
                f"{len(blocks)} blocks"
            )
        if self.noise is not None and len(self.noise.deviations) != len(blocks[0].targets):
            raise InputError("the noise of an ensemble is that of other targets; give one row for each target")
        object.__setattr__(self, "blocks", blocks)
        object.__setattr__(self, "weights", tuple((weights / weights.sum()).tolist()))
        object.__setattr__(self, "provenance", FrozenMap(self.provenance))

    @property
    def targets(self) -> tuple[str, ...]:
        """Languages whose loss is modelled."""
        return self.blocks[0].targets

    @property
    def params_unit(self) -> float:
        """Number of model parameters that count as 1 in the first block."""
        return self.blocks[0].params_unit

    @property
    def label(self) -> str:
        """The forms, as reports write them, and how many draws of them."""
        return f"ensemble of {', '.join(self.forms)}" + (f", with {self.n_draws} draws" if self.n_draws else "")

    @property
    def forms(self) -> Mapping[str, float]:
        """The weight of each form, by its name, summed over its blocks."""
        total: dict[str, float] = {}
        for block, weight in zip(self.blocks, self.weights, strict=True):
            total[block.label] = total.get(block.label, 0.0) + weight
        return total

    @cached_property
    def stacked(self) -> Stacked:
        """The blocks as stacks, which are evaluated."""
        return Stacked._of(self.blocks, np.array([self.weights]), self.targets, self.label)

    @property
    def mean(self) -> csr_array:
        """The map from the losses of all blocks' targets to those of the ensemble, (T, n_L)."""
        return self.stacked.mean

    def spread(
        self, ratios: Array, budget: ArrayLike, params: ArrayLike | None = None, supply: Array | None = None
    ) -> Array:
        """Return the standard deviation of each target's loss over the blocks, shape (..., T)."""
        # Between the blocks alone; what a measurement adds to it is the noise.
        # Weighted standard deviation about the weighted mean: sqrt(sum_b w_b (L_b - L)^2).
        each = np.array([block.at(budget, params, supply).predicted(ratios) for block in self.blocks])
        weights, mean = np.array(self.weights), self.at(budget, params, supply).predicted(ratios)
        return np.asarray(np.sqrt(np.einsum("b,b...->...", weights, (each - mean) ** 2)))

    def with_draws(self, draws: Sequence[Model]) -> Ensemble:
        """Return the ensemble of this one and its draws, each with the same weight.

        Raises
        ------
        InputError
            Where a draw has other forms, languages or units.
        """
        check_draws(self, draws)
        return replace(mean_of((self, *draws), self.provenance, self.noise), n_draws=len(draws))

    @property
    def base(self) -> Ensemble:
        """The ensemble without the draws."""
        if not self.n_draws:
            return self
        # `with_draws` puts the model's own blocks first, then as many for each draw.
        n = len(self.blocks) // (self.n_draws + 1)
        return replace(self, blocks=self.blocks[:n], weights=self.weights[:n], n_draws=0)

    def select(self, targets: Sequence[str]) -> Stacked:
        """Return the same model with a subset of its targets, in the order of `targets`."""
        return self.stacked.select(targets)

    def at(self, budget: ArrayLike, params: ArrayLike | None = None, supply: Array | None = None) -> Responses:
        """Return the model at a budget, a model size and supplies, as :meth:`MixtureModel.at`."""
        return self.stacked.at(budget, params, supply)

    def view(self) -> View:
        """Return the languages; the table has one row per form."""
        return View(
            f"ensemble of {len(self.forms)} forms, {len(self.blocks)} models",
            [f"{len(self.sources)} sources: {listed(self.sources)}"],
            lambda: {"form": list(self.forms), "weight": list(self.forms.values())},
        )


Model = MixtureModel | Ensemble | Stacked
"""What a problem takes: losses of targets as functions of the ratios of sources."""


def mean_of(
    models: Sequence[Model], provenance: Mapping[str, str] | None = None, noise: LossNoise | None = None
) -> Ensemble:
    """Return the mean of models, each with the same weight, as one ensemble of all their blocks."""
    parts = [blocks_of(model) for model in models]
    blocks = [block for blocks, _ in parts for block in blocks]
    # Every model has the same total weight, however many blocks it has.
    weights = [weight / len(models) for _, of_model in parts for weight in of_model]
    return Ensemble(blocks, weights, provenance or {}, noise)


def check_draws(model: Model, draws: Sequence[Model]) -> None:
    """Refuse an empty list, and a draw whose forms, languages, units or weights differ from those of the model."""
    if not draws:
        raise InputError("there are no draws; climbopt fit --bootstrap makes them")
    blocks, weights = blocks_of(without_draws(model))
    for k, draw in enumerate(draws):
        others, other_weights = blocks_of(draw)
        if len(others) != len(blocks) or not np.allclose(weights, other_weights):
            raise InputError(f"draw {k} has other forms than the model; use the draws of its own fit")
        for block, other in zip(blocks, others, strict=True):
            for key in (*FORM, *LANGUAGES):
                if getattr(other, key) != getattr(block, key):
                    raise InputError(f"draw {k} has another {key} than the model; use the draws of its own fit")


def without_draws(model: Model) -> Model:
    """Return a model without its draws: of an ensemble with draws, the ensemble alone."""
    return model.base if isinstance(model, Ensemble) else model


def one_form(model: Model, what: str) -> MixtureModel:
    """Return a model of one form; raises InputError for an ensemble, naming what takes none."""
    if not isinstance(model, MixtureModel):
        raise InputError(
            f"{what} takes a model of one form, and this is an {model.label}; fit one form, as climbopt fit PILOTS "
            "--law power --interaction gated does"
        )
    return model


def blocks_of(model: Model) -> tuple[Sequence[MixtureModel], Sequence[float]]:
    """Return the blocks of a model and their weights."""
    if isinstance(model, Stacked):
        raise InputError("scenarios are no model whose draws can be taken; give the model itself")
    return (model.blocks, model.weights) if isinstance(model, Ensemble) else ((model,), (1.0,))
