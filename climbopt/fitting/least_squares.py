"""One regularised least-squares problem: the losses of some targets against all parameters that touch them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import OptimizeResult, least_squares

from climbopt.fitting.coordinates import FitForm
from climbopt.frozen import ByFields
from climbopt.interactions import smallest_budget
from climbopt.model import MixtureModel, Response
from climbopt.symbols import Parameter
from climbopt.templates import Array

MAX_EVALUATIONS = 300
TOLERANCE = 1e-10


@dataclass(frozen=True, eq=False)
class Rows:
    """What a block is fitted to: mixtures with measured losses, and mixtures with a ceiling.

    Parameters
    ----------
    ratios : ndarray, (n, S)
    D, N : ndarray, (n,)
        In the model's units.
    losses : ndarray, (n, T)
        Measured, or the ceiling.
    scale : ndarray, (n, T)
        Standard deviation of each entry; infinite where it is left out.
    ceiling : ndarray of bool, (n,)
        Rows that only count where the predicted loss is above the given one.
    """

    ratios: Array
    D: Array
    N: Array
    losses: Array
    scale: Array
    ceiling: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Block(ByFields):
    """The residuals and their Jacobian, over a flat vector of coordinates.

    Parameters
    ----------
    form : FitForm
        Law and interaction in coordinates.
    sources, targets : tuple of str
        Of this block.
    rows : Rows
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
    rows: Rows
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
        return MixtureModel(self.form.coordinate_law, self.form.coordinate_interaction, self.sources, self.targets,
                            values)

    @cached_property
    def free(self) -> dict[str, NDArray[np.bool_]]:
        """Which entries of each coordinate are moved: not the known ones, nor a pair of a language with itself."""
        masks = {}
        for parameter in self.form.coordinates:
            mask = np.isnan(self.held.get(parameter.name, np.full(self.blank.shape(parameter), np.nan)))
            if parameter.per == "pair":
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
            scale = nats ** {"nats": 1.0, "1/nats": -1.0}.get(p.unit, 0.0) if p.per != "source" else np.ones(1)
            scale = scale[:, None] if p.per == "pair" else scale
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

    def model(self, x: Array) -> MixtureModel:
        """Return the model in coordinates at the flat vector x."""
        values = {smallest_budget.name: np.full(len(self.targets), self.smallest)}
        start = 0
        for parameter in self.form.coordinates:
            mask = self.free[parameter.name]
            stop = start + int(mask.sum())
            values[parameter.name] = np.nan_to_num(self.held.get(parameter.name, np.zeros(mask.shape)))
            values[parameter.name][mask] = x[start:stop]
            start = stop
        return MixtureModel(self.blank.law, self.blank.interaction, self.sources, self.targets, values)

    def _at(self, x: Array) -> tuple[Response, Array]:
        """Return the response at x and its predictions of the rows; the last ones are kept, as scipy asks twice."""
        key = x.tobytes()
        if key not in self._memory:
            response = Response(self.model(x), self.rows.D, self.rows.N)
            self._memory.clear()
            self._memory[key] = (response, response.losses(response.z(self.rows.ratios)))
        return self._memory[key]

    @cached_property
    def _memory(self) -> dict[bytes, tuple[Response, Array]]:
        return {}

    @cached_property
    def _used(self) -> NDArray[np.bool_]:
        return np.isfinite(self.rows.scale)

    def residuals(self, x: Array) -> Array:
        """Return (predicted - measured) / scale over the used rows, then the prior's residuals."""
        errors = self._at(x)[1] - self.rows.losses
        errors = np.where(self.rows.ceiling[:, None], np.maximum(errors, 0.0), errors)
        return np.concatenate([(errors / self.rows.scale)[self._used], (x - self.center) / self.spread])

    def jacobian(self, x: Array) -> Array:
        """Return the derivatives of :meth:`residuals`, dense."""
        response, predicted = self._at(x)
        by_parameter = response.by_parameter(self.rows.ratios)
        active = ~self.rows.ceiling[:, None] | (predicted > self.rows.losses)
        weight = np.where(active, 1.0 / self.rows.scale, 0.0)
        full = np.zeros((*weight.shape, x.size))
        start = 0
        for parameter in self.form.coordinates:
            mask, values = self.free[parameter.name], by_parameter[parameter.name]
            positions = np.full(mask.shape, -1)
            positions[mask] = np.arange(start, start + int(mask.sum()))
            start += int(mask.sum())
            for i in range(len(self.targets)):
                if parameter.per == "target":
                    full[:, i, positions[i]] = values[:, i]
                else:
                    columns, chosen = (positions, mask) if parameter.per == "source" else (positions[i], mask[i])
                    full[:, i, columns[chosen]] = values[:, i, chosen]
        full *= weight[:, :, None]
        return np.vstack([full[self._used], np.diag(1.0 / self.spread)])

    def solve(self, start: Array) -> OptimizeResult:
        """Return scipy's result from one start (a vector inside the bounds)."""
        return least_squares(self.residuals, start, self.jacobian, bounds=(self.lower, np.inf), x_scale=self.spread,
                             max_nfev=MAX_EVALUATIONS, ftol=TOLERANCE, xtol=TOLERANCE, gtol=TOLERANCE)

    def vertices(self) -> tuple[Array, Array, Array]:
        """Return all of the budget in one source, for each source and pilot budget: ratios, D, N."""
        return self._at_budgets(np.eye(len(self.sources)))

    def _at_budgets(self, mixtures: Array) -> tuple[Array, Array, Array]:
        """Return each mixture at each budget and size of the measured rows: ratios, D, N."""
        measured = ~self.rows.ceiling
        sizes = np.nan_to_num(self.rows.N[measured])  # NaN, where no size is stated, would equal no other
        scales = np.unique(np.column_stack([self.rows.D[measured], sizes]), axis=0)
        ratios = np.repeat(mixtures, len(scales), axis=0)
        D, N = np.tile(scales, (len(mixtures), 1)).T
        return ratios, D, N

    def above_ceiling(self, x: Array, factor: float) -> tuple[tuple[Array, Array, Array], dict[str, float]]:
        """Return the mixtures predicted furthest above `factor` times a target's worst loss, and each such target.

        A target comes with the multiple of its worst loss. Looks along every edge of the simplex: for a fixed own
        ratio the least z of a form that is linear or concave in the other ratios is where one source has all the
        rest.
        """
        own = np.concatenate([[0.0], np.logspace(-4, -0.3, 25)])
        n = len(self.sources)
        mixtures = np.concatenate([share * np.eye(n)[:, None] + (1 - share) * np.eye(n)[None] for share in own])
        ratios, D, N = self._at_budgets(mixtures.reshape(-1, n))
        response = Response(self.model(x), D, N)
        multiples = response.losses(response.z(ratios)) / self._worst_losses()
        highest = dict(zip(self.targets, multiples.max(axis=0).tolist(), strict=True))
        largest = multiples.max(axis=1)
        above = np.flatnonzero(largest > factor)
        keep = above[np.argsort(-largest[above])][: n]
        return ((ratios[keep], D[keep], N[keep]),
                {name: multiple for name, multiple in highest.items() if multiple > factor})

    def _worst_losses(self) -> Array:
        """Return each target's largest measured loss, (T,)."""
        worst: Array = self.rows.losses[~self.rows.ceiling].max(axis=0)
        return worst

    def with_ceilings(self, mixtures: tuple[Array, Array, Array], factor: float, spread: float) -> Block:
        """Return the block with a ceiling of `factor` times each target's worst loss on more mixtures."""
        ratios, D, N = mixtures
        worst, rows = self._worst_losses(), self.rows
        added = np.ones((len(ratios), 1))
        return replace(self, rows=Rows(
            np.vstack([rows.ratios, ratios]), np.append(rows.D, D), np.append(rows.N, N),
            np.vstack([rows.losses, factor * worst * added]), np.vstack([rows.scale, spread * worst * added]),
            np.append(rows.ceiling, np.ones(len(ratios), dtype=bool)),
        ))


def _median(rows: Rows, target: int) -> float:
    """Return the median measured loss of a target over rows that are used and hold data of its own."""
    used = np.isfinite(rows.scale[:, target]) & ~rows.ceiling
    return float(np.median(rows.losses[used, target]))
