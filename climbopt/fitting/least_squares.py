"""One regularised least-squares problem: the losses of some targets against all parameters that touch them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from climbopt.fitting.coordinates import FitForm
from climbopt.foundations.frozen import ByFields
from climbopt.model.interactions import smallest_budget
from climbopt.model.mixture import MixtureModel, Response
from climbopt.model.symbols import Parameter
from climbopt.model.templates import Array
from climbopt.model.uses import SUPPLY

LOG_SUPPLY = f"log_{SUPPLY}"
"""The coordinate of a supply."""


@dataclass(frozen=True, eq=False)
class Observations:
    """What a block is fitted to: mixtures with measured losses, and mixtures with a ceiling.

    In a batch all arrays have a leading axis, with an entry per problem. Build those of runs by :meth:`of_runs`.

    Parameters
    ----------
    ratios : ndarray, (n, S)
    D, N : ndarray, (n,)
        In the model's units.
    losses : ndarray, (n, T)
        Measured, or the ceiling; NaN where missing.
    scale : ndarray, (n, T)
        Standard deviation of each entry; infinite where it is left out or missing.
    ceiling : ndarray of bool, (n,)
        Observations that only count where the predicted loss is above the stated one.
    supply : ndarray, (n, S)
        Tokens that were available of each source, in the model's units; NaN where runs had no supplies of their own.
    knee : ndarray, (n, T)
        Residual, in units of the scale, past which its cost grows as a logarithm and no longer as a square; infinite
        for plain least squares.
    """

    ratios: Array
    D: Array
    N: Array
    losses: Array
    scale: Array
    ceiling: NDArray[np.bool_]
    supply: Array
    knee: Array

    @classmethod
    def of_runs(
        cls, ratios: Array, D: Array, N: Array, losses: Array, scale: Array, supply: Array | None = None
    ) -> Observations:
        """Return those of measured runs: no ceilings, no knees."""
        supply = np.full(ratios.shape, np.nan) if supply is None else supply
        return cls(ratios, D, N, losses, scale, np.zeros(D.shape, dtype=bool), supply, np.full(losses.shape, np.inf))

    @classmethod
    def joined(cls, parts: Sequence[Observations], axis: int) -> Observations:
        """Return several ones, end to end along an axis: that of the problems, or that of the mixtures."""
        return cls(*(np.concatenate([getattr(part, one.name) for part in parts], axis) for one in fields(cls)))

    def each(self, change: Callable[[NDArray[Any]], NDArray[Any]]) -> Observations:
        """Return the same with every array changed."""
        return Observations(*(change(getattr(self, one.name)) for one in fields(self)))

    @property
    def runs(self) -> Observations:
        """Those that are measured, of one problem: mixtures, budgets and supplies are the same in all of a batch."""
        one = self if self.D.ndim == 1 else self.each(lambda array: array[0])
        return one.each(lambda array: array[~one.ceiling])


@dataclass(frozen=True, eq=False)
class Block(ByFields):
    """The residuals and their Jacobian, over a flat vector of coordinates.

    A batch is a block of several problems that differ in their observations and priors alone: observations, prior
    means and the coordinates x then have a leading axis, shown as "..." below.

    Parameters
    ----------
    form : FitForm
        Law and interaction in coordinates.
    sources, targets : tuple of str
        Of this block.
    rows : Observations
        The data.
    smallest : float
        Smallest pilot budget, in token units.
    prior_means, prior_spreads : ndarray, optional
        Instead of the declared ones, over the flat vector of coordinates; the spreads are those of a whole batch.
    held : mapping of str to ndarray
        Values of coordinates that are known, in their shapes; NaN where the fit moves them.
    """

    form: FitForm
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    rows: Observations
    smallest: float
    prior_means: Array | None = None
    prior_spreads: Array | None = None
    held: Mapping[str, Array] = field(default_factory=dict)

    @cached_property
    def blank(self) -> MixtureModel:
        """A model in coordinates with every prior at its center, for its shapes and indices."""
        n_targets, n_sources = len(self.targets), len(self.sources)
        values = {p.name: np.full(p.axes(n_targets, n_sources), p.prior.center) for p in self.form.coordinates}
        values[smallest_budget.name] = np.full(n_targets, self.smallest)
        law, interaction, use = self.form.moved
        return MixtureModel(law, interaction, self.sources, self.targets, values, use=use)

    @cached_property
    def free(self) -> dict[str, NDArray[np.bool_]]:
        """Which entries of each coordinate are moved: not the known ones, nor a pair of a language with itself."""
        masks = {
            p.name: np.isnan(self.held.get(p.name, np.full(self.blank.shape(p), np.nan))) for p in self.form.coordinates
        }
        for p in self.form.coordinates:
            if p.per == "pair":
                # In no formula: the data say nothing of it.
                masks[p.name][self.blank.own_targets, self.blank.own_sources] = False
        return masks

    def repeated(self, count: int) -> Block:
        """Return a batch of this problem, so many times."""
        rows = self.rows.each(lambda array: np.broadcast_to(array, (count, *array.shape)))
        return self.on(rows, np.broadcast_to(self.center, (count, self.center.size)))

    def take(self, which: NDArray[np.intp] | int) -> Block:
        """Return some problems of a batch as a batch, or one as a block."""
        return self.on(self.rows.each(lambda array: array[which]), self.center[which])

    def on(self, rows: Observations, prior_means: Array | None) -> Block:
        """Return the block with other observations and prior means, and what does not depend on them kept."""
        other = replace(self, rows=rows, prior_means=prior_means)
        other.__dict__.update({name: getattr(self, name) for name in _OF_COORDINATES})
        return other

    def _flat(self, value: dict[str, Array]) -> Array:
        """Return arrays by coordinate as one vector."""
        return np.concatenate([value[p.name][self.free[p.name]] for p in self.form.coordinates])

    @cached_property
    def center(self) -> Array:
        """Prior means; a declared one in nats, or in 1/nats, is scaled by its target's median loss."""
        if self.prior_means is not None:
            return self.prior_means
        nats = np.array([np.median(losses[of]) for losses, of in zip(self.rows.losses.T, self.measured.T, strict=True)])
        values = {}
        for p in self.form.coordinates:
            # Targets with higher losses have a larger E and B, and smaller coefficients in 1/nats.
            scale = nats ** {"nats": 1.0, "1/nats": -1.0}.get(p.unit, 0.0) if p.per != "source" else np.ones(1)
            scale = scale[:, None] if p.per == "pair" else scale
            # Scaling a parameter shifts its logarithm.
            center = p.prior.center + np.log(scale) if p.name.startswith("log_") else p.prior.center * scale
            values[p.name] = np.broadcast_to(center, self.free[p.name].shape)
        return self._flat(values)

    @cached_property
    def spread(self) -> Array:
        """Prior standard deviations."""
        if self.prior_spreads is not None:
            return self.prior_spreads
        return self._flat({p.name: np.full(self.free[p.name].shape, p.prior.spread) for p in self.form.coordinates})

    @cached_property
    def lower(self) -> Array:
        """Lower bounds of the coordinates."""
        return self._flat({p.name: np.full(self.free[p.name].shape, p.lower) for p in self.form.coordinates})

    @cached_property
    def labels(self) -> list[tuple[Parameter, tuple[str, ...]]]:
        """The coordinate, and the languages, that each entry of the flat vector stands for."""
        return [
            (p, tuple(axis[k] for axis, k in zip(p.axes(self.targets, self.sources), index, strict=True)))
            for p in self.form.coordinates
            for index in np.argwhere(self.free[p.name])
        ]

    @cached_property
    def places(self) -> dict[str, NDArray[np.intp]]:
        """Where each entry of each coordinate stands in the flat vector; one past its end for what is not moved."""
        ends = np.cumsum([mask.sum() for mask in self.free.values()])
        return {
            name: np.where(mask, end - mask.sum() + mask.cumsum().reshape(mask.shape) - 1, ends[-1])
            for (name, mask), end in zip(self.free.items(), ends, strict=True)
        }

    @cached_property
    def of_targets(self) -> NDArray[np.intp]:
        """Where the coordinates of each target and its pairs stand in the flat vector, (T, q), as in `places`."""
        count = len(self.targets)
        columns = [self.places[p.name].reshape(count, -1) for p in self.form.coordinates if p.per != "source"]
        return np.concatenate(columns, axis=1)

    @cached_property
    def of_sources(self) -> NDArray[np.intp]:
        """Where the coordinates of sources, which all targets share, stand in the flat vector, (s,)."""
        columns = [self.places[p.name] for p in self.form.coordinates if p.per == "source"]
        return np.concatenate([np.empty(0, dtype=np.intp), *columns])

    def values(self, x: Array) -> dict[str, Array]:
        """Return the coordinates at x, (..., p), each in its own shape; 0 for what is neither moved nor held."""
        # Places one past the end, of entries that are not moved, read this 0.
        padded = np.concatenate([x, np.zeros((*x.shape[:-1], 1))], axis=-1)
        values = {name: padded[..., places] for name, places in self.places.items()}
        held = {name: np.where(self.free[name], values[name], np.nan_to_num(of)) for name, of in self.held.items()}
        return values | held | {smallest_budget.name: self.blank.parameters[smallest_budget.name]}

    def model(self, x: Array) -> MixtureModel:
        """Return the model in coordinates at the flat vector x."""
        return replace(self.blank, parameters=self.values(x))

    def response(self, x: Array, D: Array, N: Array, supply: Array | None = None) -> Response:
        """Return that model at budgets, sizes and supplies (by default those of runs of each budget) in its units."""
        values = self.values(x)
        if x.ndim > 1:  # an axis for the mixtures of each problem, and for the targets where there is none
            values |= {
                p.name: values[p.name][..., None, None, :] if p.per == "source" else values[p.name][:, None]
                for p in self.form.coordinates
            }
        if LOG_SUPPLY in values:
            own = np.log(self.supply_at(D) if supply is None else supply)[..., None, :]
            values[LOG_SUPPLY] = np.where(np.isnan(own), values[LOG_SUPPLY], own)
        return Response(self.blank, D, N, values)

    def supply_at(self, D: Array) -> Array:
        """Return the supplies that runs of some budgets had, (..., n, S); NaN where the runs do not state them."""
        runs = self.rows.runs
        return np.asarray(runs.supply[np.abs(np.subtract.outer(D, runs.D)).argmin(axis=-1)])

    def _at(self, x: Array) -> tuple[Response, Array, Array]:
        """Return the response at x, and z and losses of the rows; the last ones are reused by the Jacobian."""
        key = x.tobytes()
        if key not in self._memory:
            response = self.response(x, self.rows.D, self.rows.N, self.rows.supply)
            z = response.z(self.rows.ratios)
            self._memory.clear()
            self._memory[key] = response, z, response.losses(z)
        return self._memory[key]

    @cached_property
    def _memory(self) -> dict[bytes, tuple[Response, Array, Array]]:
        return {}

    @cached_property
    def _used(self) -> NDArray[np.bool_]:
        return np.isfinite(self.rows.scale)

    @property
    def measured(self) -> NDArray[np.bool_]:
        """Which entries are losses that are used, (..., n, T), without ceilings."""
        return self._used & ~self.rows.ceiling[..., None]

    def scaled_errors(self, x: Array) -> Array:
        """Return u = (predicted - measured) / scale, (..., n, T); 0 below a ceiling and where a loss is not used."""
        errors = self._at(x)[2] - self.rows.losses
        # One-sided: a prediction below the ceiling costs nothing.
        errors = np.where(self.rows.ceiling[..., None], np.maximum(errors, 0.0), errors)
        return np.where(self._used, errors / self.rows.scale, 0.0)

    def robust_errors(self, x: Array) -> Array:
        """Return t(u), (..., n, T), whose half square is the cost of a loss: Huber's inside the knee, Cauchy's outside.

        With k the knee, t(u) = u where abs(u) <= k, else sign(u) k sqrt(1 + 2 log(abs(u) / k)): the cost and its
        slope are continuous.
        """
        errors = self.scaled_errors(x)
        past = np.maximum(np.abs(errors) / self.rows.knee, 1.0)
        return np.asarray(errors * (np.sqrt(1.0 + 2.0 * np.log(past)) / past))

    def _slope(self, errors: Array) -> Array:
        """Return dt/du of :meth:`robust_errors`; exactly 1 inside the knee."""
        past = np.maximum(np.abs(errors) / self.rows.knee, 1.0)
        return np.asarray(1.0 / (past * np.sqrt(1.0 + 2.0 * np.log(past))))

    def prior_errors(self, x: Array) -> Array:
        """Return the distances from the prior means in units of their spread, (..., p)."""
        return np.asarray((x - self.center) / self.spread)

    def cost(self, x: Array) -> Array:
        """Return half the sum of squares of all errors, (...,)."""
        of_losses, of_priors = np.square(self.robust_errors(x)), np.square(self.prior_errors(x))
        return np.asarray((of_losses.sum(axis=(-2, -1)) + of_priors.sum(axis=-1)) / 2)

    def derivatives(self, x: Array) -> tuple[Array, Array]:
        """Return those of :meth:`robust_errors`, by `of_targets`, (..., n, T, q), and by `of_sources`, (..., n, T, s).

        A target's errors depend on no other target's coordinates.
        """
        response, z, predicted = self._at(x)
        by_parameter = response.by_parameter(self.rows.ratios, z)
        active = ~self.rows.ceiling[..., None] | (predicted > self.rows.losses)
        weight = np.where(active, self._slope(self.scaled_errors(x)) / self.rows.scale, 0.0)[..., None]
        columns = {
            p: by_parameter[p.name][..., None] if p.per == "target" else by_parameter[p.name]
            for p in self.form.coordinates
        }
        own = [values for p, values in columns.items() if p.per != "source"]
        shared = [np.empty((*predicted.shape, 0)), *(values for p, values in columns.items() if p.per == "source")]
        used = self._used[..., None]  # an entry that is not used may have no derivative
        by_own, by_shared = (np.where(used, np.concatenate(one, axis=-1) * weight, 0.0) for one in (own, shared))
        return by_own, by_shared

    def residuals(self, x: Array) -> Array:
        """Return the robust errors of the used rows, then the prior's, of one problem."""
        return np.concatenate([self.robust_errors(x)[self._used], self.prior_errors(x)])

    def jacobian(self, x: Array) -> Array:
        """Return the derivatives of :meth:`residuals`, dense."""
        own, shared = self.derivatives(x)
        # Dense over (n, T, p); the last column takes the derivatives of what is not moved.
        full = np.zeros((*own.shape[:2], x.size + 1))
        full[:, np.arange(len(self.targets))[:, None], self.of_targets] = own
        full[..., self.of_sources] = shared
        # Rows of the priors: d((x - center) / spread) / dx.
        return np.vstack([full[..., :-1][self._used], np.diag(1.0 / self.spread)])

    def gradients(self, x: Array, ratios: Array, D: Array, N: Array) -> Array:
        """Return the derivatives of the losses of mixtures by the coordinates, (n, T, p); D and N in model units."""
        shape = (len(ratios), len(self.targets))
        rows = Observations.of_runs(ratios, D, N, np.zeros(shape), np.ones(shape))
        # Below the rows of the losses are those of the priors.
        return replace(self, rows=rows).jacobian(x)[: shape[0] * shape[1]].reshape(*shape, x.size)


def stacks(batches: Sequence[Block]) -> Iterator[tuple[list[int], Block]]:
    """Give the positions of batches that are alike, and all their problems as one batch, in that order.

    Batches of a target each, which is a source in all or in none, are alike where the target's own source is the
    first: the coordinates of pairs stand in the same order then. Batches have the same number of problems.
    """
    groups: dict[object, list[int]] = {}
    for i, block in enumerate(batches):
        alike = len(block.targets) == 1 and not block.held and not block.of_sources.size
        groups.setdefault((block.targets[0] in block.sources) if alike else i + 2, []).append(i)
    for which in groups.values():
        if len(which) == 1:
            yield which, batches[which[0]]
            continue
        length = max(batches[i].rows.D.shape[1] for i in which)
        turned = [_own_first(batches[i]) for i in which]
        rows = Observations.joined([_padded(block.rows, length) for block in turned], 0)
        yield which, turned[0].on(rows, np.concatenate([block.center for block in turned]))


def _order(block: Block) -> list[int]:
    """Return the positions of the sources with the target's own first."""
    return sorted(range(len(block.sources)), key=lambda j: block.sources[j] != block.targets[0])


def _own_first(block: Block) -> Block:
    """Return a batch of one target with its own source first."""
    order = _order(block)
    return replace(block, sources=tuple(block.sources[j] for j in order), rows=_turned(block.rows, order))


def unstacked(problem: Block, of: Block) -> Block:
    """Return a problem of a stack as one of the batch that it is from, without the ceilings that count nothing."""
    rows = _turned(problem.rows, np.argsort(_order(of)).tolist())
    live = ~rows.ceiling | np.isfinite(rows.scale).any(axis=1)
    return of.on(rows.each(lambda array: array[live]), problem.prior_means)


def _turned(rows: Observations, order: Sequence[int]) -> Observations:
    """Return observations with the sources in another order."""
    return replace(rows, ratios=rows.ratios[..., order], supply=rows.supply[..., order])


def _padded(rows: Observations, length: int) -> Observations:
    """Return the observations of a batch with ceilings that count nothing, up to so many rows."""
    last = rows.each(lambda array: np.repeat(array[:, -1:], length - array.shape[1], axis=1))
    ceilings = replace(last, scale=np.full_like(last.scale, np.inf), ceiling=np.ones_like(last.ceiling))
    return Observations.joined([rows, ceilings], 1)


_OF_COORDINATES = ("blank", "free", "spread", "lower", "places", "of_targets", "of_sources")
"""Cached properties of a block that do not depend on its observations."""
