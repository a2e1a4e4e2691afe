"""One regularised least-squares problem: the losses of some targets against all parameters that touch them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

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
    supply : ndarray, (n, S), optional
        Tokens that were available of each source, in the model's units, where runs had supplies of their own.
    knee : ndarray, (n, T), optional
        Residual, in units of the scale, past which its cost grows as a logarithm and no longer as a square;
        infinite everywhere by default, which is plain least squares.
    """

    ratios: Array
    D: Array
    N: Array
    losses: Array
    scale: Array
    ceiling: NDArray[np.bool_]
    supply: Array | None = None
    knee: Array | None = None


@dataclass(frozen=True, eq=False)
class Block(ByFields):
    """The residuals and their Jacobian, over a flat vector of coordinates.

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
    prior_means : ndarray, optional
        Instead of the declared ones, over the flat vector of coordinates.
    held : mapping of str to ndarray
        Values of coordinates that are known, in their shapes; NaN where the fit moves them.
    """

    form: FitForm
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    rows: Observations
    smallest: float
    prior_means: Array | None = None
    held: Mapping[str, Array] = field(default_factory=dict)

    @cached_property
    def blank(self) -> MixtureModel:
        """A model in coordinates with every prior at its center, for its shapes and indices."""
        n_targets, n_sources = len(self.targets), len(self.sources)
        shapes = {"target": (n_targets,), "source": (n_sources,), "pair": (n_targets, n_sources)}
        values = {p.name: np.full(shapes[p.per], p.prior.center) for p in self.form.coordinates}
        values[smallest_budget.name] = np.full(n_targets, self.smallest)
        return MixtureModel(
            self.form.coordinate_law,
            self.form.coordinate_interaction,
            self.sources,
            self.targets,
            values,
            use=self.form.coordinate_use,
        )

    @cached_property
    def free(self) -> dict[str, NDArray[np.bool_]]:
        """Which entries of each coordinate are moved: not the known ones, nor a pair of a language with itself."""
        masks = {}
        for parameter in self.form.coordinates:
            mask = np.isnan(self.held.get(parameter.name, np.full(self.blank.shape(parameter), np.nan)))
            if parameter.per == "pair":
                # In no formula: the data say nothing of it.
                mask[self.blank.own_targets, self.blank.own_sources] = False
            masks[parameter.name] = mask
        return masks

    def _flat(self, value: dict[str, Array]) -> Array:
        """Return arrays by coordinate as one vector."""
        return np.concatenate([value[p.name][self.free[p.name]] for p in self.form.coordinates])

    @cached_property
    def center(self) -> Array:
        """Prior means; a declared one in nats, or in 1/nats, is scaled by its target's median loss."""
        if self.prior_means is not None:
            return self.prior_means
        nats = np.array([_median(self.rows, i) for i in range(len(self.targets))])
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
        return self._flat({p.name: np.full(self.free[p.name].shape, p.prior.spread) for p in self.form.coordinates})

    @cached_property
    def lower(self) -> Array:
        """Lower bounds of the coordinates."""
        return self._flat({p.name: np.full(self.free[p.name].shape, p.lower) for p in self.form.coordinates})

    @cached_property
    def labels(self) -> list[tuple[Parameter, tuple[str, ...]]]:
        """The coordinate, and the languages, that each entry of the flat vector stands for."""
        return list(self._labels())

    def _labels(self) -> Iterator[tuple[Parameter, tuple[str, ...]]]:
        for parameter in self.form.coordinates:
            for index in np.argwhere(self.free[parameter.name]):
                if parameter.per == "pair":
                    yield parameter, (self.targets[index[0]], self.sources[index[1]])
                else:
                    names = self.targets if parameter.per == "target" else self.sources
                    yield parameter, (names[index[0]],)

    @cached_property
    def places(self) -> dict[str, NDArray[np.intp]]:
        """Where each entry of each coordinate stands in the flat vector; one past its end for what is not moved."""
        count = sum(int(mask.sum()) for mask in self.free.values())
        places, start = {}, 0
        for name, mask in self.free.items():
            stop = start + int(mask.sum())
            places[name] = np.full(mask.shape, count, dtype=np.intp)
            places[name][mask] = np.arange(start, stop)
            start = stop
        return places

    def _values(self, x: Array) -> dict[str, Array]:
        """Return the coordinates at the flat vector x, each in its own shape; 0 for what is neither moved nor held."""
        # Places one past the end, of entries that are not moved, read this 0.
        padded = np.append(x, 0.0)
        values = {name: padded[places] for name, places in self.places.items()}
        for name, held in self.held.items():
            values[name] = np.where(self.free[name], values[name], np.nan_to_num(held))
        return values | {smallest_budget.name: self.blank.parameters[smallest_budget.name]}

    def model(self, x: Array) -> MixtureModel:
        """Return the model in coordinates at the flat vector x."""
        return replace(self.blank, parameters=self._values(x))

    def response(self, x: Array, D: Array, N: Array, supply: Array | None = None) -> Response:
        """Return that model at budgets, sizes and supplies (by default those of runs of each budget) in its units."""
        values, supply = self._values(x), self.supply_at(D) if supply is None else supply
        if supply is not None and LOG_SUPPLY in values:
            # (n, 1, S): supplies of the run in place of the parameter, for every target.
            values[LOG_SUPPLY] = np.log(supply)[:, None, :]
        return Response(self.blank, D, N, values)

    def supply_at(self, D: Array) -> Array | None:
        """Return the supplies that runs of some budgets had, (n, S); None where the runs do not state them."""
        if self.rows.supply is None:
            return None
        # By the nearest budget, since supplies that are cut down follow the budget.
        supply: Array = self.rows.supply[np.abs(np.subtract.outer(D, self.rows.D)).argmin(axis=1)]
        return supply

    def _at(self, x: Array) -> tuple[Response, Array, Array]:
        """Return the response at x, and z and losses of the rows; the last ones are kept for the Jacobian."""
        # Residuals and Jacobian are asked for at the same x, one after the other.
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
        """Which entries are losses that are used, (n, T), without ceilings."""
        return self._used & ~self.rows.ceiling[:, None]

    def scaled_errors(self, x: Array) -> Array:
        """Return u = (predicted - measured) / scale, (n, T); 0 below a ceiling and where a loss is not used."""
        errors = self._at(x)[2] - self.rows.losses
        # One-sided: a prediction below the ceiling costs nothing.
        errors = np.where(self.rows.ceiling[:, None], np.maximum(errors, 0.0), errors)
        return np.where(self._used, errors / self.rows.scale, 0.0)

    def residuals(self, x: Array) -> Array:
        """Return the robust errors of the used rows, then the prior's residuals."""
        return np.concatenate([self.robust_errors(x)[self._used], (x - self.center) / self.spread])

    def robust_errors(self, x: Array) -> Array:
        """Return t(u), (n, T), whose half square is the cost of a loss: Huber's inside the knee, Cauchy's outside.

        With k the knee, t(u) = u where abs(u) <= k, else sign(u) k sqrt(1 + 2 log(abs(u) / k)): the cost and its
        slope are continuous.
        """
        errors = self.scaled_errors(x)
        if self.rows.knee is None:
            return errors
        past = np.maximum(np.abs(errors) / self.rows.knee, 1.0)
        bent: Array = errors * (np.sqrt(1.0 + 2.0 * np.log(past)) / past)
        return bent

    def _slope(self, errors: Array) -> Array:
        """Return dt/du of :meth:`robust_errors`; exactly 1 inside the knee."""
        if self.rows.knee is None:
            return np.ones(errors.shape)
        past = np.maximum(np.abs(errors) / self.rows.knee, 1.0)
        slope: Array = 1.0 / (past * np.sqrt(1.0 + 2.0 * np.log(past)))
        return slope

    def cost(self, x: Array) -> float:
        """Return half the sum of squared residuals."""
        residuals = self.residuals(x)
        return float(residuals @ residuals) / 2

    def jacobian(self, x: Array) -> Array:
        """Return the derivatives of :meth:`residuals`, dense."""
        response, z, predicted = self._at(x)
        by_parameter = response.by_parameter(self.rows.ratios, z)
        active = ~self.rows.ceiling[:, None] | (predicted > self.rows.losses)
        weight = np.where(active, self._slope(self.scaled_errors(x)) / self.rows.scale, 0.0)
        # Dense over (n, T, p); the last column takes the derivatives of what is not moved.
        full = np.zeros((*weight.shape, x.size + 1))
        targets = np.arange(len(self.targets))
        for name, places in self.places.items():
            values = by_parameter[name]
            # Values of targets are (n, T), of sources and pairs (n, T, S); each goes to the column of its coordinate.
            full[:, targets if values.ndim == 2 else targets[:, None], places] = values
        full = full[..., :-1] * weight[:, :, None]
        # Rows of the priors: d((x - center) / spread) / dx.
        return np.vstack([full[self._used], np.diag(1.0 / self.spread)])


def _median(rows: Observations, target: int) -> float:
    """Return the median measured loss of a target over rows that are used and hold data of its own."""
    used = np.isfinite(rows.scale[:, target]) & ~rows.ceiling
    return float(np.median(rows.losses[used, target]))
