"""Kinks: a model whose slopes jump as a smooth model of more ratios.

Where a template is `below` up to r_j = kink_j and `beyond` from there on,

    template(r_j) = below(r_j) + gain(max(0, r_j - kink_j)),    gain(e) = (beyond - below)(kink_j + e)

and where the gain decreases with e and the loss decreases with z, max(0, r_j - kink_j) is the least e with e >= 0
and e >= r_j - kink_j. With e as a further ratio, `below` is taken at r_j and `gain` at e, and no slope jumps.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import sympy as sp

from climbopt.model.interactions import Interaction
from climbopt.model.mixture import Indices, MixtureModel, Response
from climbopt.model.symbols import D, N, Parameter, r_i, r_j
from climbopt.model.templates import Array, Template, Templates

_EXCESS = sp.Symbol("is_excess", nonnegative=True)
_ITSELF = sp.Symbol("of_itself", nonnegative=True)


@dataclass(frozen=True, eq=False)
class Split:
    """A model with some of its sources' excesses over a kink as further sources.

    Parameters
    ----------
    model : MixtureModel
        Its first sources are those of the original model, the others their excesses.
    kinks : ndarray, (K,)
        Cumulative ratios beyond which an excess counts.
    excess_of : ndarray of int, (K,)
        The index of the source of each excess.
    """

    model: MixtureModel
    kinks: Array
    excess_of: Indices


def split(model: MixtureModel, budget: float, params: float | None) -> Split | None:
    """Return a model without kinks equal to a model with them; None where no kink depends on one source alone.

    Sources that have their kink at a ratio of 1 or more are not split.
    """
    templates = model.templates
    kink = _kink(templates) if templates.kinked else None
    # One excess per source needs parameters that all targets share.
    if kink is None or any(
        p.per == "source" and model.parameters[p.name].ndim > 1 for p in model.interaction.parameters
    ):
        return None
    # A ratio is at most 1, so that a kink at 1 or beyond is never reached.
    kinks = _values(kink, model.at(budget, params))
    chosen = np.flatnonzero(kinks < 1.0)
    # 1 where an excess is of the target's own source: its gain is that of `own`, not of `pair`.
    itself = np.equal.outer(model.own_source, chosen).astype(float)
    values = {p.name: model.parameters[p.name] for p in model.law.parameters + model.interaction.parameters}
    for p in model.interaction.parameters:
        value = values[p.name]
        # An excess has its source's parameters.
        if p.per == "source":
            values[p.name] = np.append(value, value[chosen])
        elif p.per == "pair":  # own pairs have no value; any positive number serves, its term has factor 0
            values[p.name] = np.hstack([value, np.where(itself == 1, 1.0, value[:, chosen])])
    # Switches between the two forms of a pair: 0 for an original source, 1 for an excess.
    values[_EXCESS.name] = np.repeat([0.0, 1.0], [len(model.sources), chosen.size])
    values[_ITSELF.name] = np.hstack([np.zeros((len(model.targets), len(model.sources))), itself])
    smooth = replace(
        model,
        interaction=_smooth(model.interaction, templates),
        parameters=values,
        sources=(*model.sources, *(f"{model.sources[j]} beyond its kink" for j in chosen.tolist())),
    )
    return Split(smooth, kinks[chosen], chosen)


def _kink(templates: Templates) -> sp.Expr | None:
    """Return the ratio of source j at which both templates change their form; None where there is no such ratio."""
    if templates.used is not None:
        return None  # the templates are in u, and an excess of r is no excess of u
    kinks = set()
    for template in (templates.own, templates.pair):
        if not template.whole:
            # A gain that depends on the target's own ratio is no function of the excess alone.
            if template.pieces is None or _parts(template)[1].has(r_i):
                return None
            kinks.add(template.pieces.kink.subs(r_i, r_j))
    of_source = {p.symbol for p in templates.interaction.parameters if p.per == "source"}
    kink = kinks.pop()
    # Several kinks, or a kink that depends on the target, cannot be one excess per source.
    return None if kinks or kink.free_symbols - of_source - {D, N} else kink


def _parts(template: Template) -> tuple[sp.Expr, sp.Expr]:
    """Return the piece below the kink, and what the second piece adds at an excess of r_j."""
    pieces = template.pieces
    return (
        (template.expression, sp.S.Zero) if pieces is None else (pieces.below, pieces.gain.subs(pieces.variable, r_j))
    )


def _values(kink: sp.Expr, response: Response) -> Array:
    """Return the kink of each source, (S,)."""
    of_source = tuple(p for p in response.model.interaction.parameters if p.per == "source")
    arguments = (response.D, response.N, *(response.model.parameters[p.name] for p in of_source))
    (value,) = Template(kink, (), of_source).value(*arguments)
    return np.asarray(np.broadcast_to(value, len(response.model.sources)), dtype=float)


@lru_cache(maxsize=64)
def _smooth(interaction: Interaction, templates: Templates) -> Interaction:
    """Return an interaction whose own and pair are the pieces below, with the gains as pairs of the excesses."""
    (own, of_own), (pair, of_pair) = _parts(templates.own), _parts(templates.pair)
    return replace(
        interaction,
        own=own,
        # An ordinary source contributes the piece below, an excess its gain: that of own to the source's own target.
        pair=(1 - _EXCESS) * pair + _EXCESS * ((1 - _ITSELF) * of_pair + _ITSELF * of_own),
        parameters=(*interaction.parameters, Parameter(_EXCESS, "source"), Parameter(_ITSELF, "pair")),
        coordinates=None,
    )
