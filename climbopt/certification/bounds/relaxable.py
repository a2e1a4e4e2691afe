"""A problem whose functions can be relaxed: affine in x, z and L, with z in terms of one ratio each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import sympy as sp

from climbopt.certification.bounds.terms import Term, terms
from climbopt.certification.bounds.univariate import Univariate
from climbopt.foundations.errors import ClimboptError
from climbopt.model.mixture import Response
from climbopt.model.symbols import r_i, r_j
from climbopt.model.templates import Array, Template
from climbopt.numerics.intervals import Interval, UnsupportedFunctionError
from climbopt.numerics.polytope import Mask, Polytope
from climbopt.program import MixtureFunctions, StandardForm

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
    center : ndarray, (T,)
        What was taken from its coefficients: center_i gate_i(r_i) (total - r_i) is an own piece.
    """

    coefficient: Array
    gate: Univariate
    source: Univariate
    gated: bool
    sourced: bool
    summed: bool
    center: Array


@dataclass(frozen=True, eq=False)
class Relaxable:
    """A standard form of ratios, z and losses.

    Parameters
    ----------
    form : StandardForm
    functions : MixtureFunctions
        Its functions.
    centered : bool
        Whether sums over sources are taken around their middle, where the ratios' total is known.
    """

    form: StandardForm
    functions: MixtureFunctions
    centered: bool = True

    @property
    def polytope(self) -> Polytope:
        """The bounds and linear rows of the problem."""
        return self.form.polytope

    @property
    def response(self) -> Response:
        """The model at the cumulative budget."""
        return self.functions.response

    @cached_property
    def straight(self) -> Mask:
        """Which nonlinear rows are affine in x, z and L, (k,)."""
        straight = np.ones(self.functions.n_rows, dtype=bool)
        straight[[k - 1 for k in self.functions.table.curved if k]] = False
        return straight

    @cached_property
    def loses(self) -> Mask:
        """Which targets' losses stand in the objective or a row that is affine in them, (T,)."""
        affine = np.append(True, self.straight)
        return np.asarray((self.functions.table.parts.loss[affine] != 0).any(axis=0))

    @cached_property
    def falls(self) -> Array:
        """1 for targets whose z is bounded from above, -1 where from below, (T,): where its loss, or it, is wanted."""
        parts = self.functions.table.parts
        if (parts.loss[0] < 0).any():
            raise NoRelaxationError("a loss has a negative weight, and what bounds it from above does not bound that")
        wanted = np.where(np.isfinite(self.form.nonlinear.upper), 1.0, -1.0)  # by a row, to be smaller or larger
        by_rows = parts.z[1:].T @ np.where(self.straight, wanted, 0.0)
        falls = np.where(np.where(parts.z[0] != 0, parts.z[0], by_rows) > 0, -1.0, 1.0)
        if self.loses.any():
            falls = np.where(self.loses, self._falls_of_law(), falls)
        if (falls * parts.z[0] > 0).any():
            raise NoRelaxationError("a z is wanted larger by its loss and smaller by the objective")
        return np.asarray(falls)

    def _falls_of_law(self) -> float:
        """Return 1 for a convex law that falls with z, and -1 for one that rises; raises NoRelaxationError."""
        proofs, law = self.functions.proofs(self.polytope), self.response.model.law.name
        if not proofs.loss_convex:
            raise NoRelaxationError(f"law '{law}' is not proved convex in z")
        if not (proofs.loss_decreasing or proofs.loss_increasing):
            raise NoRelaxationError(f"law '{law}' is not proved monotone in z")
        return 1.0 if proofs.loss_decreasing else -1.0

    @cached_property
    def root(self) -> Box:
        """The bounds of the polytope; no ratio exceeds 1."""
        upper = self.polytope.bounds.upper.copy()
        n = self.functions.offset.size
        upper[:n] = np.minimum(upper[:n], 1.0)
        return Box(self.polytope.bounds.lower.copy(), upper)

    @cached_property
    def total_of_ratios(self) -> float:
        """What the ratios sum to, where a row says so; NaN elsewhere."""
        row = np.zeros(self.form.n)
        row[: self.functions.offset.size] = 1.0
        found = np.flatnonzero((self.polytope.dense == row).all(axis=1) & self.polytope.equation)
        return float(self.polytope.rows.lower[found[0]]) if found.size else np.nan

    @cached_property
    def _terms(self) -> tuple[tuple[OwnPiece, ...], tuple[Piece, ...]]:
        """The terms of z; raises NoRelaxationError where the pair template has no such form."""
        model = self.response.model
        name, found = model.interaction.name, terms(model.templates)
        if model.templates.used is not None:
            raise NoRelaxationError(
                f"the relaxation does not hold functions of a use, here '{model.use.name}'; use backend scip"
            )
        if model.templates.kinked:
            raise NoRelaxationError(
                f"slopes of interaction '{name}' jump, and signs of second derivatives say nothing "
                "of its curvature there"
            )
        if found is None:
            raise NoRelaxationError(
                f"the pair template of '{name}' is no sum of products of a function of r_i and "
                "one of r_j; declare it so, or use backend scip"
            )
        try:
            own = [self._own_piece(np.ones(len(model.targets)), model.templates.own)]
            pairs = []
            for term in found:
                piece = self._piece(term)
                pairs.append(piece)
                if piece.center.any():
                    own.append(self._own_piece(piece.center, _with_rest(term.gate, self.total_of_cumulative)))
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

    @cached_property
    def others(self) -> Array:
        """1 for pairs of a target with another source, 0 for own ones; (T, S)."""
        model = self.response.model
        others = np.ones((len(model.targets), len(model.sources)))
        others[model.own_targets, model.own_sources] = 0.0
        return others

    def _piece(self, term: Term) -> Piece:
        """Return a term for every pair, around the middle of its coefficients.

        Where the ratios sum to a total, sum_j c_ij r_j = center_i (total - r_i) + sum_j (c_ij - center_i) r_j, whose
        last sum varies less.
        """
        model, arguments = self.response.model, self.response.pair_arguments
        shape, others = self.others.shape, self.others > 0
        low, high = self.cumulative(self.root.lower), self.cumulative(self.root.upper)
        c = np.where(others, np.broadcast_to(term.compiled_coefficient()(*arguments), shape), 0.0)
        of_pairs = {p.symbol for p in model.interaction.parameters if p.per != "target"}
        summed = term.gated and term.source.expression == r_j and not term.gate.expression.free_symbols & of_pairs
        center = np.zeros(shape[0])
        if self.centered and summed and not np.isnan(self.total_of_cumulative) and shape[1] > 1:
            center = 0.5 * (np.where(others, c, -np.inf).max(axis=1) + np.where(others, c, np.inf).min(axis=1))
            c = np.where(others, c - center[:, None], 0.0)
        gate = Univariate.of(
            term.gate, arguments, self.own(low)[:, None], self.own(high)[:, None], (shape[0], 1) if summed else shape
        )
        source = Univariate.of(term.source, arguments, low[None, :], high[None, :], shape)
        return Piece(c, gate, source, term.gated, term.sourced, summed, center)

    def sums(self, piece: Piece, box: Box) -> Interval:
        """Return enclosures of sum_j coefficient_ij r_j on a box, (T,)."""
        n, functions = self.functions.offset.size, self.functions
        low, high, rows = box.lower[:n], box.upper[:n], functions.scale * piece.coefficient
        fixed = piece.coefficient @ functions.offset
        slack = CAUTION * (np.abs(piece.coefficient).sum(axis=1) + np.abs(fixed))
        return Interval(
            fixed - largest_sums(-rows, low, high, self.total_of_ratios) - slack,
            fixed + largest_sums(rows, low, high, self.total_of_ratios) + slack,
        )

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


def relaxable(form: StandardForm, *, centered: bool = True) -> Relaxable:
    """Return a problem as one that can be relaxed.

    Raises
    ------
    NoRelaxationError
        Where its objective is not affine in x, z and L.
    """
    functions = form.functions
    if not isinstance(functions, MixtureFunctions):
        raise NoRelaxationError("only functions made of ratios, z and losses are relaxed; use backend scip")
    if len(functions.responses.parts) > 1:
        raise NoRelaxationError("the model is an ensemble of several forms, and relaxations are those of one form")
    if 0 in functions.table.curved:
        raise NoRelaxationError(
            "an expression that is not affine in ratios, z and losses stands in the objective; use backend scip"
        )
    return Relaxable(form, functions, centered)


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
