"""The function that is bounded from below: f + multipliers'(c - limit), and the terms that its z are made of."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import sympy as sp

from climbopt.bounds.terms import Term, terms
from climbopt.bounds.univariate import Univariate
from climbopt.errors import ClimboptError
from climbopt.intervals import Interval, UnsupportedFunctionError
from climbopt.model import Response
from climbopt.polytope import Polytope
from climbopt.standard_form import MixtureFunctions, StandardForm
from climbopt.symbols import r_i, r_j
from climbopt.templates import Array, Template

CAUTION = 1e-12
"""Relative amount that bounds computed in floating point are moved by to their safe side."""


class NoRelaxationError(ClimboptError):
    """A problem that cannot be relaxed; its text says what keeps it from that."""


@dataclass(frozen=True, eq=False)
class Box:
    """Bounds of x (n,): the polytope's, tightened."""

    lower: Array
    upper: Array

    @property
    def width(self) -> Array:
        """Upper less lower bounds, (n,)."""
        return self.upper - self.lower


@dataclass(frozen=True, eq=False)
class OwnPiece:
    """A function of each target's own ratio, (T,), times a number each."""

    coefficient: Array
    function: Univariate


@dataclass(frozen=True, eq=False)
class Piece:
    """A term of the pair template for every pair.

    Parameters
    ----------
    coefficient : ndarray, (T, S)
        0 for own pairs.
    gate, source : Univariate
        Of the target's own ratio, (T, S) or (T, 1), and of the source's, (T, S).
    gated, sourced : bool
        Whether they are more than 1.
    summed : bool
        Whether it is gate_i(r_i) sum_j coefficient_ij r_j, one product a target.
    """

    coefficient: Array
    gate: Univariate
    source: Univariate
    gated: bool
    sourced: bool
    summed: bool


@dataclass(frozen=True, eq=False)
class Lagrangian:
    """x_part'x + z_part'z + loss_part'L + constant over a polytope, in terms that can be relaxed.

    No feasible point of the problem has a larger Lagrangian than objective, so that a lower bound of the one is a
    lower bound of the other.

    Parameters
    ----------
    functions : MixtureFunctions
    x_part, z_part, loss_part : ndarray, (n,), (T,), (T,)
    constant : float
    polytope : Polytope
        Of the whole problem, its unbounded variables (on which nothing here depends) fixed at 0.
    centered : bool
        Whether sums over sources are taken around their middle, where the ratios' total is known.
    """

    functions: MixtureFunctions
    x_part: Array
    z_part: Array
    loss_part: Array
    constant: float
    polytope: Polytope
    centered: bool = True

    @property
    def response(self) -> Response:
        """The model at the cumulative budget."""
        return self.functions.response

    @cached_property
    def falls(self) -> Array:
        """1 for targets whose loss falls with z, so that z is wanted from above; -1 where it rises; (T,)."""
        proofs = self.functions.proofs(self.polytope)
        on = self.loss_part != 0
        if not on.any():
            return np.where(self.z_part > 0, -1.0, 1.0)
        if (self.loss_part < 0).any():
            raise NoRelaxationError("a loss has a negative weight, and what bounds it from above does not bound that")
        law = self.response.model.law.name
        if not proofs.loss_convex:
            raise NoRelaxationError(f"law '{law}' is not proved convex in z")
        if not (proofs.loss_decreasing or proofs.loss_increasing):
            raise NoRelaxationError(f"law '{law}' is not proved monotone in z")
        falls = np.where(on, 1.0 if proofs.loss_decreasing else -1.0, np.where(self.z_part > 0, -1.0, 1.0))
        if (on & (falls * self.z_part > 0)).any():
            raise NoRelaxationError("a z is wanted larger by its loss and smaller by a constraint that is active")
        return falls

    @cached_property
    def root(self) -> Box:
        """The bounds of the polytope; no ratio exceeds 1."""
        upper = self.polytope.x_upper.copy()
        n = self.functions.offset.size
        upper[:n] = np.minimum(upper[:n], 1.0)
        return Box(self.polytope.x_lower.copy(), upper)

    @cached_property
    def total_of_ratios(self) -> float:
        """What the ratios sum to, where a row says so; NaN elsewhere."""
        row = np.zeros(self.x_part.size)
        row[: self.functions.offset.size] = 1.0
        found = np.flatnonzero((self.polytope.dense == row).all(axis=1) & self.polytope.equation)
        return float(self.polytope.a_lower[found[0]]) if found.size else np.nan

    @cached_property
    def _terms(self) -> tuple[tuple[OwnPiece, ...], tuple[Piece, ...]]:
        """The terms of z; raises NoRelaxationError where the pair template has no such form."""
        model = self.response.model
        name, found = model.interaction.name, terms(model.templates)
        if model.templates.kinked:
            raise NoRelaxationError(f"slopes of interaction '{name}' jump, and signs of second derivatives say nothing "
                                    "of its curvature there")
        if found is None:
            raise NoRelaxationError(f"the pair template of '{name}' is no sum of products of a function of r_i and "
                                    "one of r_j; declare it so, or use backend scip")
        try:
            own = [self._own_piece(np.ones(len(model.targets)), model.templates.own)]
            pairs = []
            for term in found:
                piece, center = self._piece(term)
                pairs.append(piece)
                if center.any():
                    own.append(self._own_piece(center, _with_rest(term.gate, self.total_of_cumulative)))
        except UnsupportedFunctionError as error:
            raise NoRelaxationError(f"interaction '{name}' has a function without interval form: {error}") from None
        return tuple(own), tuple(pairs)

    @property
    def own_pieces(self) -> tuple[OwnPiece, ...]:
        """The functions of targets' own ratios in z."""
        return self._terms[0]

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """The terms of pairs in z."""
        return self._terms[1]

    def _own_piece(self, coefficient: Array, template: Template) -> OwnPiece:
        low, high = (self.own(self.cumulative(x)) for x in (self.root.lower, self.root.upper))
        return OwnPiece(coefficient, Univariate.of(template, self.response.own_arguments, low, high, low.shape))

    def _piece(self, term: Term) -> tuple[Piece, Array]:
        """Return a term for every pair, and what was taken from its coefficients, (T,).

        Where the ratios sum to a total, sum_j c_ij r_j = center_i (total - r_i) + sum_j (c_ij - center_i) r_j, whose
        last sum varies less.
        """
        model, arguments = self.response.model, self.response.pair_arguments
        shape, own, other = (len(model.targets), len(model.sources)), model.own_targets, model.own_sources
        low, high = self.cumulative(self.root.lower), self.cumulative(self.root.upper)
        c = np.array(np.broadcast_to(term.compiled_coefficient()(*arguments), shape), dtype=float)
        c[own, other] = 0.0
        of_pairs = {p.symbol for p in model.interaction.parameters if p.per != "target"}
        summed = (term.gated and term.source.expression == r_j
                  and not term.gate.expression.free_symbols & of_pairs)
        center = np.zeros(shape[0])
        if self.centered and summed and not np.isnan(self.total_of_cumulative) and shape[1] > 1:
            masked = np.ones(shape, dtype=bool)
            masked[own, other] = False
            center = 0.5 * (np.where(masked, c, -np.inf).max(axis=1) + np.where(masked, c, np.inf).min(axis=1))
            c = np.where(masked, c - center[:, None], 0.0)
        gate = Univariate.of(term.gate, arguments, self.own(low)[:, None], self.own(high)[:, None],
                             (shape[0], 1) if summed else shape)
        source = Univariate.of(term.source, arguments, low[None, :], high[None, :], shape)
        return Piece(c, gate, source, term.gated, term.sourced, summed), center

    def sums(self, piece: Piece, box: Box) -> Interval:
        """Return enclosures of sum_j coefficient_ij r_j on a box, (T,)."""
        n, functions = self.functions.offset.size, self.functions
        low, high, rows = box.lower[:n], box.upper[:n], functions.scale * piece.coefficient
        fixed = piece.coefficient @ functions.offset
        slack = CAUTION * (np.abs(piece.coefficient).sum(axis=1) + np.abs(fixed))
        return Interval(fixed - largest_sums(-rows, low, high, self.total_of_ratios) - slack,
                        fixed + largest_sums(rows, low, high, self.total_of_ratios) + slack)

    @cached_property
    def total_of_cumulative(self) -> float:
        """What the cumulative ratios sum to; NaN where no row says so."""
        return float(self.functions.offset.sum() + self.functions.scale * self.total_of_ratios)

    def cumulative(self, x: Array) -> Array:
        """Return the ratios of history and run for x."""
        return self.functions.cumulative(x)

    def own(self, ratios: Array) -> Array:
        """Return each target's own ratio; 0 where it is no source."""
        own = self.response.model.own_source
        return np.asarray(np.where(own >= 0, ratios[own], 0.0))

    def curvatures(self, z: Interval) -> Interval:
        """Return enclosures of d2L/dz2 on intervals of z, (T,)."""
        law = self.response.model.templates.loss
        return Interval.enclosing(law.curvatures(z, *self.response.loss_arguments)[0]).broadcast_to(z.lower.shape)


def lagrangian(form: StandardForm, multipliers: Array, *, centered: bool = True) -> Lagrangian:
    """Return f + multipliers'(c - limit), each limit the one on the side that its multiplier's sign names.

    Raises
    ------
    NoRelaxationError
        Where it is not affine in x, z and L, or an unbounded variable stands in it.
    """
    functions = form.functions
    if not isinstance(functions, MixtureFunctions):
        raise NoRelaxationError("only functions made of ratios, z and losses are relaxed; use backend scip")
    if functions.curved(1.0, multipliers):
        raise NoRelaxationError("an expression that is not affine in ratios, z and losses stands in it; use backend "
                                "scip")
    f, c = functions.objective, functions.constraints
    limit = np.where(multipliers > 0, form.c_upper, np.where(multipliers < 0, form.c_lower, 0.0))
    if not np.isfinite(limit).all():
        raise NoRelaxationError("a multiplier names a side of a row that has no limit")
    x_part = f.x_part + c.x_part.T @ multipliers
    polytope = form.polytope
    free = ~(np.isfinite(polytope.x_lower) & (np.isfinite(polytope.x_upper) | (np.arange(form.n) < form.n_ratios)))
    if (np.abs(x_part[free]) > 1e-9).any() or polytope.dense[:, free].any():
        raise NoRelaxationError("an unbounded variable stands in the Lagrangian")
    x_part[free] = 0.0
    fixed = Polytope(np.where(free, 0.0, polytope.x_lower), np.where(free, 0.0, polytope.x_upper), polytope.A,
                     polytope.a_lower, polytope.a_upper)
    return Lagrangian(functions, x_part, f.z_part + c.z_part.T @ multipliers,
                      f.loss_part + c.loss_part.T @ multipliers,
                      f.constant + float(multipliers @ (c.constant - limit)), fixed, centered)


@lru_cache(maxsize=64)
def _with_rest(gate: Template, total: float) -> Template:
    """Return gate(r_i) (total - r_i)."""
    return Template(gate.expression * (sp.Float(total, 17) - r_i), (r_i,), gate.parameters)


def largest_sums(rows: Array, lower: Array, upper: Array, total: float) -> Array:
    """Return max of each row'x over lower <= x <= upper with sum x = total (left out where NaN), (k,)."""
    if np.isnan(total):
        return np.asarray(np.where(rows > 0, rows * upper, rows * lower).sum(axis=1))
    order = np.argsort(-rows, axis=1, kind="stable")
    room = np.take_along_axis(np.broadcast_to(upper - lower, rows.shape), order, axis=1)
    before = np.cumsum(room, axis=1) - room
    filled = np.clip(max(total - float(lower.sum()), 0.0) - before, 0.0, room)
    return np.asarray(rows @ lower + (np.take_along_axis(rows, order, axis=1) * filled).sum(axis=1))
