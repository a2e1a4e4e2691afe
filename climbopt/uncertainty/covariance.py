"""The uncertainty of a fit: the covariance of its coordinates, the noise its residuals show, and models drawn from it.

With J the Jacobian of the residuals (losses over their assumed scale) and P the priors' precision, an estimate x is off
by A^-1 (J'e + P^1/2 u), A = J'J + P, where e are the losses' errors and u is how far the truth lies from the priors'
means. With the variances s^2 of e that the residuals show, its covariance is

    C = A^-1 (J' diag(s^2) J + P) A^-1

over the coordinates that are not at a bound; those that are count as known.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from climbopt.fitting.ceilings import Solved
from climbopt.fitting.estimate import AT_BOUND, NOISE, Fit, declared_parameters, label, noise_at
from climbopt.fitting.least_squares import Block
from climbopt.foundations.errors import InputError, listed
from climbopt.foundations.view import Columns, View, Viewed
from climbopt.model.mixture import Indices, MixtureModel
from climbopt.model.templates import Array

FEW = 5.0
"""A kind of losses with fewer degrees of freedom than this in a target shares the noise of all targets."""
FEW_OF_ALL = 10.0
"""Losses of languages by themselves with fewer than this in all targets together share the noise of mixed ones."""
KINDS = ("mixed", "alone", "without")
"""Losses of a language beside others, by itself, and with a ratio of 0: no form predicts all equally well."""


@dataclass(frozen=True, eq=False, repr=False)
class Spread(Viewed):
    """The covariance of one block's coordinates at its fit.

    Parameters
    ----------
    solved : Solved
    noise : ndarray, (T, 3)
        Standard deviation of a measured loss about the model, over its assumed scale: by target of the block and
        kind of loss.
    own : ndarray, (n, T)
        The targets' own ratios in the block's measured rows.
    """

    solved: Solved
    noise: Array
    own: Array

    @cached_property
    def covariance(self) -> Array:
        """C of the module, (p, p)."""
        block, data = self.solved.block, self.solved.of_losses
        inverse = _inverse(self.solved)
        weights = np.ones(block.rows.scale.shape)  # a ceiling's scale is its own
        weights[~block.rows.ceiling] = self.noise[np.arange(len(self.noise)), kinds_of(self.own)]
        # J' diag(s^2) J + P, with s the noise shown over the assumed scale; 1 for a ceiling.
        middle = data.T @ (data * weights[np.isfinite(block.rows.scale)][:, None] ** 2) + np.diag(block.spread**-2)
        return np.asarray(inverse @ middle @ inverse)

    @cached_property
    def root(self) -> Array:
        """A matrix R with R R' = C, (p, p)."""
        values, vectors = np.linalg.eigh(self.covariance)
        return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))

    def parameter_errors(self) -> dict[str, Array]:
        """Return the standard error of every declared parameter (delta method), shaped as in a model.

        NaN where all that a parameter depends on is at a bound.
        """
        block, x = self.solved.block, self.solved.x
        gradients: dict[str, Array] = {}
        for (declared, moved), slope in block.form.slopes(block.model(x)).items():
            # Delta method: gradients of each declared parameter by the flat vector of coordinates, one row per entry.
            places = block.places[moved.name]
            places = places[:, None] if declared.per == "pair" and moved.per == "target" else places
            by_x = gradients.setdefault(declared.name, np.zeros((*slope.shape, x.size + 1)))
            # Places one past the end, of entries that are not moved, fall into the last column, which is dropped below.
            np.put_along_axis(by_x, np.broadcast_to(places, slope.shape)[..., None], slope[..., None], axis=-1)
        variances = {
            name: np.einsum("...j,jk,...k->...", by_x[..., :-1], self.covariance, by_x[..., :-1])
            for name, by_x in gradients.items()
        }
        return {name: np.sqrt(np.where(value > 0, value, np.nan)) for name, value in variances.items()}

    def drawn(self, generator: np.random.Generator) -> Solved:
        """Return the block at coordinates drawn about its fit, cut off at their bounds."""
        x = self.solved.x + self.root @ generator.standard_normal(self.solved.x.size)
        return replace(self.solved, x=np.maximum(x, self.solved.block.lower))

    def view(self) -> View:
        """Return the size of the block."""
        return View(f"covariance of {self.solved.x.size} coordinates of {listed(self.solved.block.targets)}")


def _inverse(solved: Solved) -> Array:
    """Return (J'J)^-1 over the coordinates that are not at a bound, 0 elsewhere."""
    # The Jacobian has the priors' rows too, so that J'J here is the A = J'J + P of the module.
    free = solved.x - solved.block.lower >= AT_BOUND * solved.block.spread
    # With J = QR, (J'J)^-1 = R^-1 R^-T: J'J itself, with its squared condition number, is never formed.
    root = np.linalg.inv(np.linalg.qr(solved.jacobian[:, free], mode="r"))
    result = np.zeros((free.size, free.size))
    result[np.ix_(free, free)] = root @ root.T
    return result


@dataclass(frozen=True, eq=False, repr=False)
class Covariance(Viewed):
    """The covariance of a fit, block by block.

    Parameters
    ----------
    fitted : Fit
    spreads : tuple of Spread
        In the order of the fit's blocks.
    """

    fitted: Fit
    spreads: tuple[Spread, ...]

    @property
    def noise(self) -> Array:
        """Standard deviation of a measured loss about the model in nats, (T, 3), by kind; NaN where there was none.

        Of mixed losses at a ratio of `SMALL` or more; :func:`noise_of_losses` has it at any ratio.
        """
        return np.concatenate([spread.noise * _assumed(spread.solved.block, spread.own) for spread in self.spreads])

    def standard_errors(self) -> dict[str, float]:
        """Return the standard error of every coordinate of the fit, by name."""
        return {
            label(spread.solved.block, k): float(np.sqrt(spread.covariance[k, k]))
            for spread in self.spreads
            for k in range(spread.solved.x.size)
        }

    def parameter_errors(self) -> dict[str, Array]:
        """Return the standard error of every declared parameter, shaped as in the model; NaN for what is at a bound."""
        parts = [spread.parameter_errors() for spread in self.spreads]
        return {
            p.name: parts[0][p.name] if p.per == "source" else np.concatenate([part[p.name] for part in parts])
            for p in self.fitted.model.templates.parameters
        }

    def draws(self, n: int, seed: int = 0) -> tuple[MixtureModel, ...]:
        """Return models drawn from the normal distribution of the coordinates, cut off at their bounds.

        Parameters
        ----------
        n : int
        seed : int
            Each draw has a generator of its own, (seed, draw).
        """
        generators = [np.random.default_rng([seed, k]) for k in range(n)]
        moved = [[spread.drawn(generator) for spread in self.spreads] for generator in generators]
        return tuple(replace(self.fitted.model, parameters=declared_parameters(of_draw)) for of_draw in moved)

    def gradients(self, ratios: Array, tokens: ArrayLike, params: ArrayLike | None = None) -> list[Array]:
        """Return the derivatives of the losses of mixtures by the coordinates of each block, (n, T, p) each."""
        at, n = self.fitted.model.at(tokens, params), len(ratios)
        D, N = np.broadcast_to(at.D, n), np.broadcast_to(at.N, n)
        return [spread.solved.block.gradients(spread.solved.x, ratios, D, N) for spread in self.spreads]

    def view(self) -> View:
        """Return what it belongs to; the table has the standard error of each coordinate of the fit."""
        errors, model = self.standard_errors(), self.fitted.model
        title = f"covariance of {len(errors)} coordinates of {model.law.name} + {model.interaction.name}"
        columns: Columns = {"coordinate": list(errors), "standard_error": list(errors.values())}
        return View(title, [f"{len(self.spreads)} blocks"], lambda: columns)


def kinds_of(own: Array) -> Indices:
    """Return the kind of each loss as a position in `KINDS`, from each target's own ratio."""
    return np.where(own == 0, 2, np.where(own == 1, 1, 0))


def noise_of_losses(noise: Array, own: Array) -> Array:
    """Return the noise of losses at own ratios, (n, T), from that by kind, (T, 3): it grows where a ratio is small."""
    return np.asarray(noise[np.arange(len(noise)), kinds_of(own)] * _growth(own))


def _growth(own: Array) -> Array:
    """Return the assumed noise at own ratios over that of its kind at ratios that are not small."""
    return np.where(own > 0, noise_at(own) / NOISE, 1.0)


def _assumed(block: Block, own: Array) -> Array:
    """Return the assumed scale of a loss in nats, (T, 3); that of mixed losses for lone ones, which share it."""
    kinds = kinds_of(own)
    scale = np.where(np.isfinite(block.rows.scale), block.rows.scale, -np.inf)[~block.rows.ceiling] / _growth(own)
    # The largest assumed scale stands for the kind; -inf marks kinds without any loss.
    with_data = np.where(kinds < 2, scale, -np.inf).max(axis=0)
    columns = np.column_stack([with_data, with_data, np.where(kinds == 2, scale, -np.inf).max(axis=0)])
    return np.where(np.isfinite(columns), columns, np.nan)


def covariance(fitted: Fit) -> Covariance:
    """Return the covariance of a fit, with the noise that its own residuals show.

    The noise of a target's losses is the root of their squared residuals over the degrees of freedom that the fit
    left them; where these are few (`FEW`, `FEW_OF_ALL`), that of all targets' losses of the kind.

    Parameters
    ----------
    fitted : Fit
        Of one form.

    Raises
    ------
    InputError
        For the fit of an ensemble, whose forms have a covariance each.
    """
    if not isinstance(fitted, Fit):
        raise InputError(
            f"a covariance is that of a fit of one form, not of {type(fitted).__name__}; name a law, take one "
            "of the ensemble's fits, or use bootstrap"
        )
    own = [fitted.pilots.ratios_of(solved.block.targets) for solved in fitted.solved]
    parts = [_residual_parts(solved, kinds_of(ratios)) for solved, ratios in zip(fitted.solved, own, strict=True)]
    total, left = np.concatenate(parts, axis=1).sum(axis=1)
    if left[1] < FEW_OF_ALL:  # too few languages by themselves to have a noise of their own
        total[:2], left[:2] = total[:2].sum(), left[:2].sum()
    # Variance of the kind over all targets, which few degrees of freedom of a target's own fall back to.
    pooled = total / np.maximum(left, 1.0)
    noise = [np.sqrt(np.where(dof >= FEW, square / np.maximum(dof, FEW), pooled)) for square, dof in parts]
    return Covariance(fitted, tuple(map(Spread, fitted.solved, noise, own)))


def _residual_parts(solved: Solved, kinds: Indices) -> Array:
    """Return the squared residuals, and the degrees of freedom left, summed by target and kind, (2, T, 3)."""
    rows, data = solved.block.rows, solved.of_losses
    used = np.isfinite(rows.scale)
    # Leverages h_i = J_i (J'J)^-1 J_i': a loss leaves 1 - h_i degrees of freedom.
    taken = np.einsum("ij,jk,ik->i", data, _inverse(solved), data)
    # A loss that is not used counts 0 in both.
    both = np.zeros((2, *used.shape))
    both[:, used] = solved.block.residuals(solved.x)[: taken.size] ** 2, 1.0 - taken
    measured = both[:, ~rows.ceiling]
    return np.stack([np.where(kinds == k, measured, 0.0).sum(axis=1) for k in range(len(KINDS))], axis=-1)
