"""Mixture functions written out in another modelling system: by scalar templates for each language and each pair."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache, reduce
from itertools import compress, product
from operator import add
from typing import Any

import numpy as np
import sympy as sp

from climbopt.model.mixture import MixtureModel, Response
from climbopt.model.templates import Array, Template
from climbopt.model.translation import translate
from climbopt.problem.table import Placed, Table
from climbopt.program.standard_form import System

Scalar = Any
"""An expression of the other system, or a number."""
Part = tuple[Sequence[str], Response]
"""A response, and names of its targets that no other part has."""


def written_out(
    table: Table, parts: Sequence[Part], x: Sequence[Scalar], cumulative: Sequence[Scalar], system: System
) -> list[Scalar]:
    """Return the functions of a table of another system's scalars x, at cumulative ratios."""

    def defined(kind: str, names: Sequence[str], values: Iterable[Scalar]) -> list[Scalar]:
        return [system.define(value, f"{kind}[{name}]") for name, value in zip(names, values, strict=True)]

    y = [*x]
    losses: list[Scalar] = []
    for names, response in parts:
        z = defined("z", names, effective(response, cumulative, system))
        y += z
        # Laws are written only where a function reads a loss: outside their domain they have no value.
        losses += defined("L", names, _losses(response, z, system)) if table.reads_losses else [None] * len(names)
    y += losses

    def entries(placed: Placed) -> list[Scalar]:
        if placed.mean is None:
            return [y[i] for i in placed.positions.tolist()]
        # Entries that are means over the blocks of an ensemble: sum_b w_b L_b, written term by term.
        rows = (placed.mean[[k]] for k in range(len(placed.positions)))
        return [reduce(add, (float(w) * y[i] for w, i in zip(row.data, row.indices, strict=True))) for row in rows]

    def function(k: int) -> Scalar:
        row = table.dense[k]
        # Only entries with a coefficient: the others may be None.
        terms = [float(row[i]) * y[i] for i in np.flatnonzero(row).tolist()]
        if k in table.curved:
            placed = table.curved[k]
            terms.append(placed.outer.build(entries(placed), system.functions))
        return reduce(add, terms, float(table.constant[k]))

    return [function(k) for k in range(len(table))]


def _losses(response: Response, z: Sequence[Scalar], system: System) -> list[Scalar]:
    """Return the loss of each target for another system's z."""
    law, each = _function(response.model.templates.loss, system), _each(response.loss_arguments, len(z))
    return [law(one, *values) for one, values in zip(z, each.tolist(), strict=True)]


def effective(response: Response, cumulative: Sequence[Scalar], system: System) -> list[Scalar]:
    """Return z of each target for another system's ratios; pairs without transfer are left out."""
    model = response.model
    own, pair = _function(model.templates.own, system), _function(model.templates.pair, system)
    counted = transferring(model)
    used = _used(response, cumulative, system)
    of_own, of_pairs = _each(response.own_arguments, len(counted)), _each(response.pair_arguments, *counted.shape)
    result = []
    for i, j in enumerate(model.own_source.tolist()):
        ratio = used(i, j) if j >= 0 else 0.0
        pairs = (pair(ratio, used(i, k), *of_pairs[i, k].tolist()) for k in np.flatnonzero(counted[i]).tolist())
        result.append(reduce(add, pairs, own(ratio, *of_own[i].tolist())))
    return result


def _used(response: Response, cumulative: Sequence[Scalar], system: System) -> Callable[[int, int], Scalar]:
    """Return u of a source as a function of target and source; written once where all targets share it."""
    template = response.model.templates.used
    if template is None:
        return lambda i, j: cumulative[j]
    use, arguments = _function(template, system), response.use_arguments
    each = _each(arguments, len(response.model.targets), len(cumulative))
    if any(argument.ndim > 1 and argument.shape[-2] > 1 for argument in arguments):
        return lambda i, j: use(cumulative[j], *each[i, j].tolist())
    # u_j is the same for every target, so that it enters the system once per source.
    shared = [use(ratio, *values) for ratio, values in zip(cumulative, each[0].tolist(), strict=True)]
    return lambda i, j: shared[j]


def transferring(model: MixtureModel) -> Any:
    """Return which pairs transfer: not a language to itself, nor pairs whose pair template is 0 whatever the ratios.

    The template is simplified once for each pattern of pair parameters that are 0; (T, S).
    """
    pairs = [p for p in model.interaction.parameters if p.per == "pair"]
    zero = [model.parameters[p.name] == 0 for p in pairs]
    result = np.ones((len(model.targets), len(model.sources)), dtype=bool)
    # 2^k patterns of the k pair parameters, in place of T S simplifications.
    for pattern in product((False, True), repeat=len(pairs)):
        if _vanishes(model.templates.pair.expression, frozenset(compress((p.symbol for p in pairs), pattern))):
            # the pairs whose parameters are 0 in this pattern
            matches = [is_zero == expected for is_zero, expected in zip(zero, pattern, strict=True)]
            result[np.logical_and.reduce(matches, axis=0)] = False
    result[model.own_targets, model.own_sources] = False
    return result


@lru_cache(maxsize=256)
def _vanishes(pair: sp.Expr, zeros: frozenset[sp.Symbol]) -> bool:
    """Return whether a pair template is 0 where the parameters in `zeros` are 0."""
    return bool(sp.simplify(pair.subs(dict.fromkeys(zeros, 0))) == 0)


def _function(template: Template, system: System) -> Callable[..., Scalar]:
    """Return a scalar template as a function of another system's objects."""
    return lambda *values: translate(
        template.written, dict(zip(template.arguments, values, strict=True)), system.functions
    )


def _each(arguments: Sequence[Any], *shape: int) -> Array:
    """Return the arguments of each target, or of each target and source; the last axis counts the arguments."""
    return np.stack([np.broadcast_to(argument, shape) for argument in arguments], axis=-1)
