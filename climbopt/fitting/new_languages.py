"""Models with languages that no run has: parameters from what the other languages are like.

A new language is a new member of two groups (:mod:`climbopt.fitting.exchangeable`): of the targets, with the law, the
terms of its own and what each source does for it; and of the sources, with what it does for each target. Every draw
takes the residuals of one known language as a target and of one as a source, with all their parameters together, so
that parameters that make up for one another stay together. Parameters are taken in the coordinates of the fit, those
with a bound in their logarithms, so that no draw leaves the form's domain.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from climbopt.fitting.coordinates import FitForm, fit_form
from climbopt.fitting.exchangeable import NewMember, new_member
from climbopt.model.ensemble import Ensemble
from climbopt.model.interactions import smallest_budget
from climbopt.model.mixture import Indices, MixtureModel
from climbopt.model.templates import Array
from climbopt.runs.features import Features

LEAST = 0.03
"""What a bounded coordinate counts as at the least, in spreads of its prior: its logarithm is taken."""
RIDGE = 4.0
"""Pairs that the prior of a feature's coefficient, about 0, counts as."""
AS_TARGET, AS_SOURCE = 0, 1

BaseModel = MixtureModel | Ensemble
Draw = tuple[int, int]
"""Seed and number of a draw."""


@dataclass(frozen=True, eq=False)
class KnownLanguages:
    """The known languages of a model, and the distribution of each new one given them.

    Parameters
    ----------
    new : tuple of str
    sources, targets : tuple of str
        Of the model without them.
    rows, columns : ndarray of int
        Of the targets, and of the sources, that new ones are like: sources that runs have, and those of them that are
        targets. Without such targets, new languages are sources alone.
    as_target, as_source : mapping of str to NewMember
        By new language.
    of_pairs : ndarray, (T + t, S + s, k)
        Features of pairs, the new languages last; k is 0 without features.
    """

    new: tuple[str, ...]
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    rows: Indices
    columns: Indices
    as_target: Mapping[str, NewMember]
    as_source: Mapping[str, NewMember]
    of_pairs: Array

    @classmethod
    def of(cls, model: BaseModel, new: tuple[str, ...], features: Features | None = None) -> KnownLanguages:
        """Return the group of a model's languages.

        Raises
        ------
        InputError
            For too few known languages, or one without features.
        """
        sources, targets, known = model.sources, model.targets, with_runs(model)
        new_targets = new if any(name in targets for name in known) else ()
        shape = (len(targets) + len(new_targets), len(sources) + len(new), 0)
        of_pairs = np.zeros(shape)
        if features is not None:
            of_pairs = features.design((*targets, *new_targets), (*sources, *new))
        return cls(
            new,
            sources,
            targets,
            np.array([i for i, name in enumerate(targets) if name in known], dtype=np.intp),
            np.array([j for j, name in enumerate(sources) if name in known], dtype=np.intp),
            {name: _member([i for i in targets if i in known], name, features) for name in new_targets},
            {name: _member(known, name, features) for name in new},
            of_pairs,
        )

    @property
    def known(self) -> tuple[str, ...]:
        """The languages that new ones are like."""
        return tuple(self.sources[j] for j in self.columns)

    @property
    def all_targets(self) -> tuple[str, ...]:
        """The targets of the model with the new languages."""
        return (*self.targets, *self.as_target)

    def with_targets(self, values: Array, draw: Draw | None) -> Array:
        """Return numbers of the known targets, (T, ...), and of the new ones: predicted, or those of a draw."""
        known, of_known = [self.targets[i] for i in self.rows], values[self.rows]
        new = [_like(member, of_known, known, name, AS_TARGET, draw) for name, member in self.as_target.items()]
        return np.concatenate([values, np.reshape(new, (-1, *values.shape[1:]))])

    def with_sources(self, values: Array, draw: Draw | None) -> Array:
        """Return numbers of the known sources, (S, ...), and of the new ones."""
        known, of_known = self.known, values[self.columns]
        new = [_like(member, of_known, known, name, AS_SOURCE, draw) for name, member in self.as_source.items()]
        return np.concatenate([values, np.reshape(new, (-1, *values.shape[1:]))])

    def with_pairs(self, values: Array, own: NDArray[np.bool_], draw: Draw | None) -> Array:
        """Return numbers of known pairs, (T, S), and those of new ones; `own` is true at a language with itself."""
        n_targets, n_sources = values.shape
        values = _filled(values, ~own)
        explained = self.of_pairs @ _coefficients(values, self.of_pairs[:n_targets, :n_sources])
        rest = values - explained[:n_targets, :n_sources]
        result = np.full(explained.shape, np.nan)
        result[:, :n_sources] = self.with_targets(rest, draw)
        result[:n_targets] = self.with_sources(rest.T, draw).T
        # Pairs of two new languages: those of the target and the source, added.
        return _filled(result, np.isfinite(result)) + explained


def with_runs(model: BaseModel) -> tuple[str, ...]:
    """Return the sources of a model that a run has: what others are like is known from them alone."""
    ratios = (model.pilots and model.pilots.ratios) or {}
    return tuple(name for name in model.sources if name not in ratios or ratios[name][1] > 0)


def _member(known: Sequence[str], name: str, features: Features | None) -> NewMember:
    """Return the distribution of a new language given known ones; features of pairs do not say how alike they are."""
    if features is None or features.of_pairs:
        return new_member(len(known))
    return new_member(len(known), features.kinship([*known, name]))


def _like(member: NewMember, values: Array, known: Sequence[str], name: str, role: int, draw: Draw | None) -> Array:
    """Return the numbers of a new member: predicted, or with the residuals of the known one whose turn it is.

    Every known language has its turn once in as many draws as there are, in an order of the seed, the new language and
    its role, whatever the order of the languages.
    """
    if draw is None:
        return member.predicted(values)
    seed, k = draw
    turns, place = divmod(k, len(known))
    rng = np.random.default_rng([seed, turns, role, zlib.crc32(name.encode())])
    return member.like(values, int(np.argsort(known)[rng.permutation(len(known))[place]]))


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


def with_new(model: MixtureModel, group: KnownLanguages, smallest: float, draw: Draw | None = None) -> MixtureModel:
    """Return a model of one form with the new languages of a group: predicted, or those of a draw.

    Parameters
    ----------
    model : MixtureModel
    group : KnownLanguages
    smallest : float
        Smallest budget of the runs that it was fitted to, in tokens.
    draw : (int, int), optional
        Seed and number.
    """
    form, sources, targets = fit_form(*model.form), (*group.sources, *group.new), group.all_targets
    shapes = {"target": (len(targets),), "source": (len(sources),), "pair": (len(targets), len(sources))}
    ones = {p.name: np.ones(shapes[p.per]) for p in model.form.parameters}
    pilots = model.pilots
    if pilots is not None:
        pilots = replace(pilots, ratios={**(pilots.ratios or {}), **dict.fromkeys(group.new, (0.0, 0.0))})
    blank = replace(model, sources=sources, targets=targets, parameters=ones, pilots=pilots)
    values = form.declared(_coordinates(form, model, group, smallest / model.token_unit, draw), blank)
    for name, known in model.parameters.items():
        # Those of known languages stay as they are, to the last digit.
        values[name][tuple(slice(size) for size in known.shape)] = known
    return replace(blank, parameters=values)


def _coordinates(
    form: FitForm, model: MixtureModel, group: KnownLanguages, smallest: float, draw: Draw | None
) -> dict[str, Array]:
    """Return the coordinates of a model with new languages, and its smallest budget, in token units."""
    own = np.zeros((len(model.targets), len(model.sources)), dtype=bool)
    own[model.own_targets, model.own_sources] = True
    of_known = form.coordinates_of(model, smallest)
    extended = {smallest_budget.name: np.full(len(group.all_targets), smallest)}
    for p in form.coordinates:
        values, bounded = of_known[p.name], p.lower == 0
        if p.per == "pair":
            values = np.where(own, 0.0, values)
        if bounded:
            values = np.log(np.maximum(values, LEAST * p.prior.spread))
        if p.per == "pair":
            values = group.with_pairs(values, own, draw)
        else:
            values = (group.with_targets if p.per == "target" else group.with_sources)(values, draw)
        extended[p.name] = np.exp(values) if bounded else values
    return extended
