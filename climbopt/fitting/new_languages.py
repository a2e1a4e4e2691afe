"""Models with languages that no run has: parameters from what the other languages are like.

A new language is a new member of two groups (:class:`NewMember`): of the targets, with the law, the
terms of its own and what each source does for it; and of the sources, with what it does for each target. Every draw
takes the residuals of one known language as a target and of one as a source, with all their parameters together, so
that parameters that make up for one another stay together. Parameters are taken in the coordinates of the fit, those
with a bound in their logarithms, so that no draw leaves the form's domain.

Members of a group are exchangeable, or alike to a known degree:

    y_i = mean + g_i + e_i,   cov(g) = K v,   e_i independent of variance v

With K = 0 they are exchangeable, and a new one is predicted by the mean of the known ones. The prediction is the best
linear unbiased one, the same weights for every number of a member. Its distribution is that of the residuals of the
known members, stretched so that in each direction 90 % of new members lie between its quantiles as far as a Student-t
distribution says: the variance is learned from the n known members alone.

Source
------
Robinson, That BLUP is a good thing (1991), for prediction and its variance.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

from climbopt.fitting.coordinates import FitForm, fit_form
from climbopt.foundations.errors import InputError
from climbopt.model.ensemble import Ensemble
from climbopt.model.interactions import smallest_budget
from climbopt.model.mixture import MixtureModel
from climbopt.model.templates import Array
from climbopt.runs.features import Features

FEWEST = 3
"""Known members: of two the t distribution has one degree of freedom, and no mean."""
LEVEL = 0.95
"""Quantile at which stretched residuals are as far out as the t distribution."""
LEAST = 0.03
"""What a bounded coordinate counts as at the least, in spreads of its prior: its logarithm is taken."""
RIDGE = 4.0
"""Pairs that the prior of a feature's coefficient, about 0, counts as."""
AS_TARGET, AS_SOURCE = 0, 1

BaseModel = MixtureModel | Ensemble
Draw = tuple[int, int]
"""Seed and number of a draw."""


@dataclass(frozen=True, eq=False)
class NewMember:
    """The distribution of a new member given n known ones.

    Parameters
    ----------
    weights : ndarray, (n,)
        Of the known members in the prediction; they sum to 1.
    residuals : ndarray, (n, n)
        Maps the numbers of known members to their residuals.
    stretch : float
        By which residuals are multiplied.

    Examples
    --------
    >>> values = np.array([1.0, 2.0, 3.0, 4.0])
    >>> member = new_member(4)
    >>> round(float(member.predicted(values)), 12), [round(float(member.like(values, i)), 2) for i in range(4)]
    (2.5, [-0.27, 1.58, 3.42, 5.27])
    """

    weights: Array
    residuals: Array
    stretch: float

    def predicted(self, values: Array) -> Array:
        """Return the prediction for values of the known members, (n, ...)."""
        return np.asarray(self.weights @ values)

    def like(self, values: Array, i: int) -> Array:
        """Return the prediction with the stretched residual of known member i."""
        return np.asarray(self.predicted(values) + self.stretch * (self.residuals[i] @ values))


def new_member(n: int, kinship: Array | None = None) -> NewMember:
    """Return the distribution of a new member given n known ones.

    Parameters
    ----------
    n : int
    kinship : ndarray, (n + 1, n + 1), optional
        K, the new member last; 0 by default.

    Raises
    ------
    InputError
        For fewer than `FEWEST` known members.
    """
    if n < FEWEST:
        raise InputError(
            f"{n} known languages show nothing of how far languages differ; a new one needs {FEWEST} at the least"
        )
    alike = np.zeros((n + 1, n + 1)) if kinship is None else kinship
    among, new, own = alike[:n, :n], alike[:n, n], alike[n, n]
    precision = np.linalg.inv(among + np.eye(n))
    # Generalised least squares: the mean has weights V^-1 1 / (1' V^-1 1).
    by_one = precision.sum(axis=1)
    of_mean = by_one / by_one.sum()
    without_mean = precision - np.outer(by_one, of_mean)
    # The variance of the error, in units of that of e: of the new g and e, and of the mean's estimate.
    error = 1 + own - new @ precision @ new + (1 - new @ by_one) ** 2 / by_one.sum()
    # Residuals V^-1 (y - mean 1) have the covariance V^-1 - V^-1 1 1' V^-1 / (1' V^-1 1).
    left = np.trace(without_mean) / n
    wider = stdtrit(n - 1, LEVEL) / ndtri(LEVEL)
    return NewMember(
        of_mean + new @ without_mean, np.asarray(without_mean, dtype=np.float64), float(wider * np.sqrt(error / left))
    )


@dataclass(frozen=True, eq=False)
class Role:
    """Languages in one role, as targets or as sources: those of a model, and new ones.

    Parameters
    ----------
    names : tuple of str
        Of the model without the new ones.
    known : tuple of str
        Those of them that new ones are like.
    new : mapping of str to NewMember
        By new language.
    number : int
        `AS_TARGET` or `AS_SOURCE`.
    """

    names: tuple[str, ...]
    known: tuple[str, ...]
    new: Mapping[str, NewMember]
    number: int

    @classmethod
    def of(
        cls, names: tuple[str, ...], known: Collection[str], new: Sequence[str], features: Features | None, number: int
    ) -> Role:
        """Return the role with the distribution of each new language given the known ones among some names."""
        known = tuple(name for name in names if name in known)
        # Features of pairs do not say how alike two languages are.
        alike = None if features is None or features.of_pairs else features.kinship
        members = {name: new_member(len(known), alike and alike([*known, name])) for name in new}
        return cls(names, known, members, number)

    @property
    def all(self) -> tuple[str, ...]:
        """The languages of the model with the new ones."""
        return (*self.names, *self.new)

    def extended(self, values: Array, draw: Draw | None) -> Array:
        """Return numbers of the languages, (n, ...), and of the new ones: predicted, or those of a draw."""
        of_known = values[[self.names.index(name) for name in self.known]]
        new = [self._like(name, of_known, draw) for name in self.new]
        return np.concatenate([values, np.reshape(new, (-1, *values.shape[1:]))])

    def _like(self, name: str, values: Array, draw: Draw | None) -> Array:
        """Return the numbers of a new language: predicted, or with the residuals of the known one whose turn it is.

        Every known language has its turn once in as many draws as there are, in an order of the seed, the new language
        and its role, whatever the order of the languages.
        """
        if draw is None:
            return self.new[name].predicted(values)
        (seed, k), n = draw, len(self.known)
        turns, place = divmod(k, n)
        rng = np.random.default_rng([seed, turns, self.number, zlib.crc32(name.encode())])
        return self.new[name].like(values, int(np.argsort(self.known)[rng.permutation(n)[place]]))


@dataclass(frozen=True, eq=False)
class KnownLanguages:
    """The known languages of a model, and the distribution of each new one given them.

    Parameters
    ----------
    targets, sources : Role
        New languages are like the sources that runs have, and those of them that are targets. Without such targets,
        they are sources alone.
    of_pairs : ndarray, (T + t, S + s, k)
        Features of pairs, the new languages last; k is 0 without features.
    smallest : float
        Smallest budget of the model's runs, in tokens.
    """

    targets: Role
    sources: Role
    of_pairs: Array
    smallest: float

    @classmethod
    def of(cls, model: BaseModel, new: tuple[str, ...], features: Features | None = None) -> KnownLanguages:
        """Return the group of the languages of a model that states its pilots.

        Raises
        ------
        InputError
            For too few known languages, or one without features.
        """
        assert model.pilots is not None
        known = with_runs(model)
        new_targets = new if any(name in model.targets for name in known) else ()
        shape = (len(model.targets) + len(new_targets), len(model.sources) + len(new), 0)
        of_pairs = np.zeros(shape)
        if features is not None:
            of_pairs = features.design((*model.targets, *new_targets), (*model.sources, *new))
        return cls(
            Role.of(model.targets, known, new_targets, features, AS_TARGET),
            Role.of(model.sources, known, new, features, AS_SOURCE),
            of_pairs,
            model.pilots.tokens[0],
        )

    def with_pairs(self, values: Array, own: NDArray[np.bool_], draw: Draw | None) -> Array:
        """Return numbers of known pairs, (T, S), and those of new ones; `own` is true at a language with itself."""
        n_targets, n_sources = values.shape
        values = _filled(values, ~own)
        explained = self.of_pairs @ _coefficients(values, self.of_pairs[:n_targets, :n_sources])
        rest = values - explained[:n_targets, :n_sources]
        result = np.full(explained.shape, np.nan)
        result[:, :n_sources] = self.targets.extended(rest, draw)
        result[:n_targets] = self.sources.extended(rest.T, draw).T
        # Pairs of two new languages: those of the target and the source, added.
        return _filled(result, np.isfinite(result)) + explained


def with_runs(model: BaseModel) -> tuple[str, ...]:
    """Return the sources of a model that a run has: what others are like is known from them alone."""
    ratios = (model.pilots and model.pilots.ratios) or {}
    return tuple(name for name in model.sources if name not in ratios or ratios[name][1] > 0)


def _filled(values: Array, known: NDArray[np.bool_]) -> Array:
    """Return values, (T, S), with those that are not known the sum of effects of row and column, by least squares."""
    counts, known_values = known.astype(float), np.where(known, values, 0.0)
    normal = np.block([[np.diag(counts.sum(axis=1)), counts], [counts.T, np.diag(counts.sum(axis=0))]])
    sums = np.concatenate([known_values.sum(axis=1), known_values.sum(axis=0)])
    # Singular: what is added to all rows may be taken from all columns.
    effects = np.linalg.lstsq(normal, sums)[0]
    return np.where(known, values, effects[: len(values), None] + effects[len(values) :])


def _coefficients(values: Array, features: Array) -> Array:
    """Return the coefficients of features of pairs, (k,), beside effects of rows and columns, by ridge regression."""

    def centered(array: Array) -> Array:
        means = array.mean(axis=1, keepdims=True) + array.mean(axis=0, keepdims=True)
        return np.asarray(array - means + array.mean(axis=(0, 1), keepdims=True))

    design = centered(features).reshape(values.size, features.shape[2])
    normal = design.T @ design + RIDGE * np.eye(design.shape[1])
    return np.asarray(np.linalg.solve(normal, design.T @ centered(values).ravel()))


def with_new(model: MixtureModel, group: KnownLanguages, draw: Draw | None = None) -> MixtureModel:
    """Return a model of one form with the new languages of a group: predicted, or those of a draw.

    Parameters
    ----------
    model : MixtureModel
    group : KnownLanguages
    draw : (int, int), optional
        Seed and number.
    """
    form, sources, targets = fit_form(*model.form), group.sources.all, group.targets.all
    ones = {p.name: np.ones(p.axes(len(targets), len(sources))) for p in model.form.parameters}
    pilots = model.pilots
    if pilots is not None:
        pilots = replace(pilots, ratios={**(pilots.ratios or {}), **dict.fromkeys(group.sources.new, (0.0, 0.0))})
    blank = replace(model, sources=sources, targets=targets, parameters=ones, pilots=pilots)
    values = form.declared(_coordinates(form, model, group, draw), blank)
    for name, known in model.parameters.items():
        # Those of known languages stay as they are, to the last digit.
        values[name][tuple(slice(size) for size in known.shape)] = known
    return replace(blank, parameters=values)


def _coordinates(form: FitForm, model: MixtureModel, group: KnownLanguages, draw: Draw | None) -> dict[str, Array]:
    """Return the coordinates of a model with new languages, and its smallest budget, in token units."""
    smallest = group.smallest / model.token_unit
    own = np.zeros((len(model.targets), len(model.sources)), dtype=bool)
    own[model.own_targets, model.own_sources] = True
    of_known = form.coordinates_of(model, smallest)
    extended = {smallest_budget.name: np.full(len(group.targets.all), smallest)}
    for p in form.coordinates:
        values, bounded = of_known[p.name], p.lower == 0
        if p.per == "pair":
            values = np.where(own, 0.0, values)
        if bounded:
            values = np.log(np.maximum(values, LEAST * p.prior.spread))
        if p.per == "pair":
            values = group.with_pairs(values, own, draw)
        else:
            values = (group.targets if p.per == "target" else group.sources).extended(values, draw)
        extended[p.name] = np.exp(values) if bounded else values
    return extended
