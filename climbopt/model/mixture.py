"""MixtureModel: a form, the languages' names and their parameters; and its Response at a budget.

The arrays of derivatives are assembled from the scalar templates (J is the Jacobian of z by u, shape (T, S);
[i = j] means that source j is target i):

    J_ij = [i = j] (own'_i + sum_k pair_t,ik) + [i != j] pair_s,ij

and by the chain rule, for u_j = use(r_j): J_r = J diag(u'), Hess_r z_i = diag(u') Hess_u z_i diag(u') + diag(J_i u'').
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from climbopt.foundations.errors import InputError, listed, refuse_unknown
from climbopt.foundations.frozen import ByFields, FrozenMap
from climbopt.foundations.names import check_name
from climbopt.foundations.view import Columns, View, Viewed
from climbopt.model.interactions import Interaction
from climbopt.model.laws import Law
from climbopt.model.symbols import Parameter, r_i
from climbopt.model.templates import Array, Compiled, Form, Templates, derive
from climbopt.model.uses import ONCE, SUPPLY, Use
from climbopt.runs.pilot_range import PilotRange

Indices = NDArray[np.intp]

WARNINGS = "warnings"
"""Key of a model's provenance: what its fit gave reason to doubt, one sentence per line."""
without_warnings = np.errstate(all="ignore")
"""Outside their domain compiled functions are NaN, without numpy's warnings: once per call, since it takes time."""
LEAST_SUPPLY = 1.0
"""Tokens that a source without any has, so that its use is defined, and worth nothing."""


@dataclass(frozen=True, eq=False, repr=False)
class MixtureModel(ByFields, Viewed):
    """How each target's loss depends on the ratios of the sources, the token budget and the model size.

    Parameters
    ----------
    law, interaction : Law, Interaction
        The templates of the loss and of z.
    sources, targets : sequence of str
        Languages that are mixed, and languages whose loss is modelled; they may differ.
    parameters : mapping of str to array
        Values by parameter name, shaped (T,), (S,) or (T, S) as the parameter is per target, source or pair;
        tokens in `token_unit`. Pair values where the source is the target itself are ignored (stored as 0).
    token_unit, params_unit : float
        Number of tokens, and of model parameters, that count as 1 inside D, N and the parameters.
    provenance : mapping of str to str
        Where the parameters came from.
    pilots : PilotRange, optional
        The budgets and sizes of the runs that they were fitted to.
    use : Use
        The third template: what the tokens of a source are worth where they are repeated.

    Raises
    ------
    InputError
        When the parameters do not fit the languages or leave their domain; names the parameter.
    """

    law: Law
    interaction: Interaction
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    parameters: Mapping[str, Array]
    token_unit: float = 1.0
    params_unit: float = 1.0
    provenance: Mapping[str, str] = field(default_factory=dict)
    pilots: PilotRange | None = None
    use: Use = ONCE

    def __post_init__(self) -> None:
        for kind in ("sources", "targets"):
            names = tuple(getattr(self, kind))
            object.__setattr__(self, kind, names)
            # Names are the keys of every table: twice the same would make a ratio ambiguous.
            repeated = sorted(name for name, count in Counter(names).items() if count > 1)
            if not names or repeated:
                raise InputError(f"{kind} of a model must be one or more different names; {repeated or 'none'} given")
            for number, name in enumerate(names, 1):
                check_name(name, f"name {number} of the model's {kind}")
        for unit in ("token_unit", "params_unit"):
            if not (np.isfinite(getattr(self, unit)) and getattr(self, unit) > 0):
                raise InputError(f"{unit} is {getattr(self, unit)}; it must be a positive number")
        # A law in z > 0 has no value where z is 0 on every mixture.
        unsourced = [name for name, j in zip(self.targets, self.own_source, strict=True) if j < 0]
        if unsourced and self.law.needs_positive_z and self.interaction.vanishes_without_own_data:
            raise InputError(
                f"target {', '.join(unsourced)} is no source, and interaction '{self.interaction.name}' "
                "leaves its z at 0; choose an interaction with transfer"
            )
        # There own(r_i = 0) has no source whose parameter it could take.
        undefined = [
            p.name
            for p in self.interaction.parameters
            if unsourced and p.per == "source" and self.interaction.own.subs(r_i, 0).has(p.symbol)
        ]
        if undefined:
            raise InputError(
                f"target {', '.join(unsourced)} is no source, and interaction "
                f"'{self.interaction.name}' needs its own {undefined[0]} there; make that per target"
            )
        declared = self.templates.parameters
        refuse_unknown(f"parameter of {self.label}", self.parameters, [p.name for p in declared])
        object.__setattr__(self, "parameters", FrozenMap({p.name: self._checked(p) for p in declared}))
        object.__setattr__(self, "provenance", FrozenMap(self.provenance))

    def _checked(self, parameter: Parameter) -> Array:
        """Return the read-only array of one parameter, or raise InputError that names the faulty value."""
        name = parameter.name
        if name not in self.parameters:
            raise InputError(f"the model has no values for parameter '{name}' ({parameter.meaning}); add them")
        # A copy: the array is made read-only below, and the caller's must not be.
        value = np.array(self.parameters[name], dtype=float)
        shapes = self._shapes(parameter)
        if value.shape not in shapes:
            raise InputError(
                f"parameter '{name}' has shape {value.shape}; {len(self.targets)} targets and {len(self.sources)} "
                f"sources need {shapes[0]}"
            )
        if parameter.per == "pair":
            # Own pairs are in no formula; 0 keeps the arrays finite.
            value[self.own_targets, self.own_sources] = 0.0
        positive = bool(parameter.symbol.is_positive)
        # `lower` is 0 for positive symbols too, whose domain leaves 0 out.
        bad = ~np.isfinite(value) | (value < parameter.lower) | (positive & (value <= 0))
        if parameter.per == "pair":
            bad[self.own_targets, self.own_sources] = False
        if bad.any():
            # The first faulty entry stands for all.
            where = tuple(int(index[0]) for index in np.nonzero(bad))
            axes = parameter.axes(self.targets, self.sources)
            label = " from ".join(f"'{names[k]}'" for names, k in zip(axes, where[-len(axes) :], strict=True))
            domain = "a positive number" if positive else "0 or more" if parameter.lower == 0 else "a finite number"
            raise InputError(f"parameter '{name}' of {label} is {value[where]}; it must be {domain}")
        value.setflags(write=False)
        return value

    def shape(self, parameter: Parameter) -> tuple[int, ...]:
        """Return the shape that the values of `parameter` have in this model."""
        return parameter.axes(len(self.targets), len(self.sources))

    def _shapes(self, parameter: Parameter) -> list[tuple[int, ...]]:
        """Return the shapes that the values of `parameter` may have: that one."""
        return [self.shape(parameter)]

    @cached_property
    def templates(self) -> Templates:
        """The derived templates."""
        return derive(*self.form)

    @property
    def form(self) -> Form:
        """Law, interaction and use."""
        return Form(self.law, self.interaction, self.use)

    @property
    def label(self) -> str:
        """Names of the form's parts, as reports write them."""
        return self.form.label

    @property
    def uses_model_size(self) -> bool:
        """Whether losses depend on the model size."""
        return self.templates.uses_model_size

    @property
    def kinked(self) -> bool:
        """Whether slopes of z may jump."""
        return self.templates.kinked

    @property
    def mean(self) -> None:
        """None: its losses are those of its own targets, unlike those of an ensemble."""
        return None

    @property
    def languages(self) -> tuple[str, ...]:
        """The language that each target is."""
        return self.targets

    @cached_property
    def own_source(self) -> Indices:
        """For each target, the index of the source that is its language, or -1. Shape (T,)."""
        position = {name: j for j, name in enumerate(self.sources)}
        return np.array([position.get(name, -1) for name in self.languages], dtype=np.intp)

    @cached_property
    def square(self) -> bool:
        """Whether the targets are the sources, in their order."""
        return self.sources == self.targets

    @cached_property
    def own_targets(self) -> Indices:
        """Indices of the targets that are sources too."""
        return np.flatnonzero(self.own_source >= 0)

    @cached_property
    def own_sources(self) -> Indices:
        """Indices of the sources of these targets, in the same order."""
        return self.own_source[self.own_targets]

    @cached_property
    def own_pairs(self) -> Indices | slice:
        """Where the pairs of these targets with themselves stand in flat arrays of pairs, (..., T S)."""
        # A slice is faster than indices.
        n = len(self.sources)
        return slice(None, None, n + 1) if self.square else self.own_targets * n + self.own_sources

    def own_ratios(self, ratios: Array) -> Array:
        """Return each target's own ratio, (..., S) to (..., T); 0 where it is no source."""
        return np.where(self.own_source >= 0, ratios[..., self.own_source], 0.0)

    def by_own_source(self, values: Array) -> Array:
        """Return the sum over each source's targets of values, (T, ...) to (S, ...)."""
        return values if self.square else self._owning @ values

    @cached_property
    def _owning(self) -> csr_array:
        """1 where a source is a target's own, (S, T); scenarios have many targets of one source."""
        i, j = self.own_targets, self.own_sources
        return csr_array((np.ones(i.size), (j, i)), shape=(len(self.sources), len(self.targets)))

    def at(self, budget: ArrayLike, params: ArrayLike | None = None, supply: Array | None = None) -> Response:
        """Return the model at a budget (tokens) and a model size (parameters), each a scalar or one per mixture.

        `supply` holds the tokens available of each source for each mixture, (n, S), in place of the model's own supply;
        NaN keeps the model's.
        """
        if params is None and self.uses_model_size:
            raise InputError(f"{self.label} depends on the model size; give params")
        D = np.asarray(budget, float) / self.token_unit
        # Where no size is given and none is needed, it is NaN.
        size = np.asarray(np.nan if params is None else params, float) / self.params_unit
        if supply is None or not self.takes_supply:
            return Response(self, D, size)
        supply = supply[:, None, :]
        # Shape (n, 1 or T, S): parameters of sources broadcast over targets.
        values = np.where(np.isnan(supply), self.parameters[SUPPLY], np.maximum(supply, LEAST_SUPPLY) / self.token_unit)
        return Response(self, D, size, {**self.parameters, SUPPLY: values})

    def vector(self, ratios: Mapping[str, float]) -> Array:
        """Return ratios by language as an array in the order of `sources`; every source is required."""
        refuse_unknown("language", ratios, self.sources)
        missing = [name for name in self.sources if name not in ratios]
        if missing:
            raise InputError(f"no ratio for {', '.join(missing)}; write 0 for a language that is left out")
        return np.array([float(ratios[name]) for name in self.sources])

    def select(self, targets: Sequence[str]) -> Self:
        """Return the same model with a subset of its targets, in the order of `targets`."""
        if tuple(targets) == self.targets:
            return self  # with all that is cached for it
        position = {name: i for i, name in enumerate(self.targets)}
        rows = [position[name] for name in targets]
        shared = {p.name for p in self.templates.parameters if p.per == "source" and self.parameters[p.name].ndim == 1}
        return replace(
            self,
            targets=tuple(targets),
            parameters={name: value if name in shared else value[rows] for name, value in self.parameters.items()},
        )

    @property
    def takes_supply(self) -> bool:
        """Whether the form counts repeated tokens, so that the supply of a source is one of its parameters."""
        return any(p.name == SUPPLY for p in self.templates.parameters)

    def with_supply(self, supply: Mapping[str, float]) -> Self:
        """Return the same model with the named supplies replaced, in tokens; itself where its form has no supply.

        A supply below `LEAST_SUPPLY` counts as that.
        """
        if not supply or not self.takes_supply:
            return self
        values = self.parameters[SUPPLY].copy()
        refuse_unknown("language with a supply", supply, self.sources)
        for name, tokens in supply.items():
            values[..., self.sources.index(name)] = max(tokens, LEAST_SUPPLY) / self.token_unit
        # The same object, so that what was cached for it is kept.
        unchanged = np.array_equal(values, self.parameters[SUPPLY])
        return self if unchanged else replace(self, parameters={**self.parameters, SUPPLY: values})

    def view(self) -> View:
        """Return the form and its languages; the table has a row for each value of a parameter."""
        facts = [f"{len(self.sources)} sources: {listed(self.sources)}"]
        facts += [] if self.square else [f"{len(self.targets)} targets: {listed(self.targets)}"]
        if self.pilots is not None:
            facts.append("fitted to runs of {:.4g} to {:.4g} tokens".format(*self.pilots.tokens))
        return View(f"model {self.label}", facts, self._columns)

    def _columns(self) -> Columns:
        """Return one row per value: the parameter, its language and, of a pair, the source that is transferred from."""
        rows: list[tuple[str, str, str | None, float]] = []
        for p in self.templates.parameters:
            for index, value in np.ndenumerate(self.parameters[p.name]):
                name, *others = (names[k] for names, k in zip(p.axes(self.targets, self.sources), index, strict=True))
                if others != [name]:  # own pairs have no value
                    rows.append((p.name, name, others[0] if others else None, float(value)))
        heads = ("parameter", "language", "from", "value")
        return {head: [row[k] for row in rows] for k, head in enumerate(heads)}


@dataclass(frozen=True, eq=False)
class Response:
    """A model at one budget and size (or at one of each per mixture): z, losses and their derivatives.

    Parameters
    ----------
    model : MixtureModel
    D, N : ndarray
        In the model's units; scalar, or of the shape of the leading axes of every `ratios` argument.
    parameters : mapping of str to array, optional
        Instead of the model's own, unchecked: for a fit, which tries thousands inside their bounds.

    Notes
    -----
    `ratios` has shape (..., S). Leading axes are mixtures; all methods broadcast over them but `hessian`.
    """

    model: MixtureModel
    D: Array
    N: Array
    parameters: Mapping[str, Array] | None = None

    @without_warnings
    def z(self, ratios: Array) -> Array:
        """Return z of each target, shape (..., T)."""
        templates, used = self.model.templates, self.used(ratios)
        pair = self._pair(templates.pair.value, used)[0]
        return np.asarray(self._own(templates.own.value, used)[0] + pair.sum(axis=-1))

    @without_warnings
    def pairs(self, ratios: Array) -> Array:
        """Return what each source adds to z of each target, shape (..., T, S); 0 for a target's own."""
        return self._pair(self.model.templates.pair.value, self.used(ratios))[0]

    @without_warnings
    def used(self, ratios: Array) -> Array:
        """Return u of each source, shape (..., 1, S), or (..., T, S) where source parameters differ by target."""
        return self._use("value", ratios)[0]

    @without_warnings
    def use_rises(self, shares: Array) -> bool:
        """Return whether u of every source rises with its ratio at each value of `shares`, (n,)."""
        ratios = np.multiply.outer(shares, np.ones(len(self.model.sources)))
        return bool((self._use("slopes", ratios)[1] > 0).all())

    @without_warnings
    def z_and_jacobian(self, ratios: Array) -> tuple[Array, Array]:
        """Return z, shape (..., T), and J = dz/dr, shape (..., T, S)."""
        used, slope = self._use("slopes", ratios)
        z, jacobian = self._by_used(used)
        # J_r = J_u diag(u'), where u is not the ratio itself.
        return z, jacobian if self.model.templates.used is None else jacobian * slope

    def _by_used(self, used: Array) -> tuple[Array, Array]:
        """Return z, shape (..., T), and dz/du, shape (..., T, S)."""
        model = self.model
        # Off the diagonal J_ij = pair_s,ij: of all terms of z_i only pair_ij depends on u_j.
        own, own_t = self._own(model.templates.own.slopes, used)
        pair, pair_t, jacobian = self._pair(model.templates.pair.slopes, used)
        # Column of the own source in J: u_i is an argument of own and of every pair of row i.
        _flat(jacobian)[..., model.own_pairs] += (own_t + pair_t.sum(axis=-1))[..., model.own_targets]
        return own + pair.sum(axis=-1), jacobian

    @without_warnings
    def hessian(self, ratios: Array, weights: Array) -> Array:
        """Return sum_i weights_i Hess z_i at one mixture, shape (S, S).

        Hess_u z_i has own''_i + sum_k pair_tt,ik on (i, i), pair_ts,ij on (i, j) and (j, i), pair_ss,ij on (j, j);
        the chain rule of the module's text makes it that by r.
        """
        # Notation: t is the target's own u_i, s the source's u_j; _t, _s, _tt, _ts, _ss are derivatives by them.
        model = self.model
        used, slope = self._use("slopes", ratios)
        (own_tt,) = self._own(model.templates.own.curvatures, used)
        pair_tt, pair_ts, pair_ss = self._pair(model.templates.pair.curvatures, used)
        # u'_i, the slope of the use at each target's own ratio.
        own_slope = self._at_own(slope)
        hessian = np.zeros((len(model.sources),) * 2, dtype=pair_ts.dtype)
        # Cross terms: w_i u'_i pair_ts,ij u'_j at (i, j), then mirrored; forms without a gate have none.
        if model.templates.pair.second[1] != 0:
            hessian += model.by_own_source((weights * own_slope)[:, None] * pair_ts * slope)
            hessian += hessian.T.copy()
        # sum_i w_i pair_ss,ij u'_j^2 at (j, j), and w_i u'_i^2 (own'' + sum_k pair_tt,ik) at a target's own source.
        diagonal = weights @ (pair_ss * slope**2)
        diagonal += model.by_own_source(weights * own_slope**2 * (own_tt + pair_tt.sum(axis=-1)))
        if model.templates.used is not None:
            # diag(J_i u''): a curved use bends z even where z is linear in u.
            diagonal += weights @ (self._by_used(used)[1] * self._use("curvatures", ratios)[0])
        hessian.flat[:: len(model.sources) + 1] += diagonal
        return hessian

    @property
    def parts(self) -> tuple[Response, ...]:
        """The responses that this one consists of: itself."""
        return (self,)

    def predicted(self, ratios: Array) -> Array:
        """Return the loss of each target at its ratios, shape (..., T); NaN where z leaves the law's domain."""
        return self.losses(self.z(ratios))

    @without_warnings
    def losses(self, z: Array) -> Array:
        """Return the loss of each target at its z, shape (..., T); NaN where z leaves the law's domain."""
        return self._loss(self.model.templates.loss.value, z)[0]

    @without_warnings
    def losses_and_slopes(self, z: Array) -> tuple[Array, Array]:
        """Return the losses and dL/dz, each of shape (..., T)."""
        loss, slope = self._loss(self.model.templates.loss.slopes, z)
        return loss, slope

    @without_warnings
    def losses_alone(self, tokens: Array) -> Array:
        """Return the loss of each target's language alone on so many unrepeated tokens, (..., T); NaN where unknown."""
        template = self.model.templates.alone
        if template is None:
            return np.full(tokens.shape, np.nan)
        arguments = (self.N[..., None], *(self._values[p.name] for p in template.parameters))
        return _filled(template.value(tokens / self.model.token_unit, *arguments)[0], tokens.shape)

    @without_warnings
    def loss_curvatures(self, z: Array) -> Array:
        """Return d2L/dz2, shape (..., T)."""
        return self._loss(self.model.templates.loss.curvatures, z)[0]

    @without_warnings
    def by_parameter(self, ratios: Array, z: Array | None = None) -> dict[str, Array]:
        """Return dL/d(parameter) by name: shape (..., T) per target, (..., T, S) per source or pair.

        A per-source value is that of target i by the parameter of source j; the caller sums over targets if
        it means a total. `z` is that of the ratios, where the caller has it already.
        """
        model, templates = self.model, self.model.templates
        used = self.used(ratios)
        z = self.z(ratios) if z is None else z
        slope = self.losses_and_slopes(z)[1]
        result = dict(
            zip([p.name for p in templates.law.parameters], self._loss(templates.loss.by_parameter, z), strict=True)
        )
        of_z = (self._own(templates.own.by_parameter, used), self._pair(templates.pair.by_parameter, used))
        for parameter, by_own, by_pair in zip(templates.interaction.parameters, *of_z, strict=True):
            if parameter.per == "source":
                # In `own` a source parameter is the own source's, whose pair is empty.
                _flat(by_pair)[..., model.own_pairs] = by_own[..., model.own_targets]
            # Chain rule: dL_i/dp = L'_i dz_i/dp.
            result[parameter.name] = (
                slope * (by_own + by_pair.sum(axis=-1)) if parameter.per == "target" else slope[..., None] * by_pair
            )
        if templates.use.parameters:
            # Each parameter of the use belongs to one source j:
            # dL_i / dp_j = L' dz_i/du_j du_j/dp_j.
            by_used = slope[..., None] * self._by_used(used)[1]
            result |= {
                parameter.name: by_used * by_use
                for parameter, by_use in zip(templates.use.parameters, self._use("by_parameter", ratios), strict=True)
            }
        return result

    @property
    def _values(self) -> Mapping[str, Array]:
        return self.model.parameters if self.parameters is None else self.parameters

    @cached_property
    def loss_arguments(self) -> list[Array]:
        """D, N and the law's parameters, as its compiled functions take them after z of shape (..., T)."""
        return [self.D[..., None], self.N[..., None], *(self._values[p.name] for p in self.model.law.parameters)]

    @cached_property
    def own_arguments(self) -> list[Array]:
        """D, N and the interaction's parameters, as `own` takes them after ratios of shape (..., T)."""
        values = [
            self.of_own(self._values[p.name])
            if p.per == "source"
            else np.array(np.nan)
            if p.per == "pair"
            else self._values[p.name]
            for p in self.model.interaction.parameters
        ]
        return [self.D[..., None], self.N[..., None], *values]

    @cached_property
    def pair_arguments(self) -> list[Array]:
        """D, N and the interaction's parameters, as `pair` takes them after shapes (..., T, 1) and (..., 1, S)."""
        values = [
            self._values[p.name][..., None] if p.per == "target" else self._values[p.name]
            for p in self.model.interaction.parameters
        ]
        return [self.D[..., None, None], self.N[..., None, None], *values]

    @cached_property
    def use_arguments(self) -> list[Array]:
        """D, N and the use's parameters, as it takes them after ratios of shape (..., 1, S)."""
        return [
            self.D[..., None, None],
            self.N[..., None, None],
            *(self._values[p.name] for p in self.model.use.parameters),
        ]

    def _loss(self, function: Compiled, z: Array) -> list[Array]:
        """Evaluate a compiled law at z; NaN where the law is not defined."""
        z = np.asarray(z)
        if self.model.law.needs_positive_z:
            # `real`, since complex steps come through here as well.
            z = np.where(z.real > 0, z, np.nan)
        return [_shaped(result, z.shape) for result in function(z, *self.loss_arguments)]

    def _use(self, order: Literal["value", "slopes", "curvatures", "by_parameter"], ratios: Array) -> list[Array]:
        """Evaluate the use at ratios: arrays of shape (..., 1 or T, S)."""
        ratios = np.asarray(ratios)[..., None, :]
        # Leading axes are mixtures; the new axis is that of targets.
        template = self.model.templates.used
        if template is None:
            # The identity: u = r, u' = 1, with no curvature and no parameter.
            return [ratios] if order == "value" else [ratios, np.ones_like(ratios)] if order == "slopes" else []
        shape = np.broadcast_shapes(ratios.shape, *(argument.shape for argument in self.use_arguments))
        return [_filled(result, shape) for result in getattr(template, order)(ratios, *self.use_arguments)]

    def _own(self, function: Compiled, used: Array) -> list[Array]:
        """Evaluate a compiled own template at u: one array of shape (..., T) for each of its results."""
        t = self._at_own(used)
        return [_shaped(result, t.shape) for result in function(t, *self.own_arguments)]

    def _pair(self, function: Compiled, used: Array) -> list[Array]:
        """Evaluate a compiled pair template at u: arrays of shape (..., T, S), 0 where a source is the target."""
        t = self._at_own(used)[..., :, None]
        shape = (*t.shape[:-1], used.shape[-1])
        filled = [_filled(result, shape) for result in function(t, used, *self.pair_arguments)]
        # Own pairs are in no formula: 0 here keeps them out of every sum over sources.
        for array in filled:
            _flat(array)[..., self.model.own_pairs] = 0.0
        return filled

    def _at_own(self, used: Array) -> Array:
        """Return u of each target's own source, (..., T), for u of shape (..., T or 1, S); 0 where it has none."""
        if self.model.square and used.shape[-2] == 1:
            return used[..., 0, :]
        taken = self.of_own(used)
        return taken if self.model.square else np.where(self.model.own_source >= 0, taken, 0.0)

    def of_own(self, values: Array) -> Array:
        """Return the entry of each target's own source in (S,) or (..., T or 1, S); arbitrary where it has none."""
        own = self.model.own_source
        # Index -1 of a target without a source picks the last entry: callers replace or ignore it.
        rows = np.arange(own.size) if values.ndim > 1 and values.shape[-2] > 1 else 0
        return np.asarray(values[own] if values.ndim == 1 else values[..., rows, own])


def _flat(pairs: Array) -> Array:
    """Return a contiguous array of pairs, (..., T, S), as (..., T S), to write to."""
    return pairs.reshape(*pairs.shape[:-2], pairs.shape[-2] * pairs.shape[-1])  # not -1: it may hold no mixture


def _shaped(result: ArrayLike, shape: tuple[int, ...]) -> Array:
    """Return a compiled function's result as an array of `shape` that callers only read."""
    return result if isinstance(result, np.ndarray) and result.shape == shape else _filled(result, shape)


def _filled(result: ArrayLike, shape: tuple[int, ...]) -> Array:
    """Return a compiled function's result as an array of `shape` of its own: a constant comes back as a scalar."""
    # A broadcast view would be read-only, and callers write into the result.
    filled = np.empty(shape, dtype=getattr(result, "dtype", float))
    filled[...] = result
    return filled
