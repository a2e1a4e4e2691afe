"""Fit: a form's parameters estimated from pilot runs, all at once, by one regularised least-squares problem."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from climbopt.fitting.accuracy import Errors, Score, prediction_errors, predictions, trained
from climbopt.fitting.anchors import SURER, anchors
from climbopt.fitting.ceilings import NOTICED, Solved, all_under_ceilings, cost_of_ceilings
from climbopt.fitting.coordinates import FitForm, fit_form
from climbopt.fitting.doubts import doubts_of_fit
from climbopt.fitting.least_squares import Block, Observations
from climbopt.fitting.levenberg_marquardt import minima, minimum
from climbopt.fitting.outliers import outlying, robust_minimum
from climbopt.foundations.errors import InputError, listed, refuse_unknown
from climbopt.foundations.processes import Progress
from climbopt.foundations.view import Columns, Reported, View
from climbopt.model.ensemble import Ensemble
from climbopt.model.interactions import INTERACTIONS, Interaction
from climbopt.model.laws import Law
from climbopt.model.mixture import LEAST_SUPPLY, WARNINGS, MixtureModel
from climbopt.model.noise import SMALL
from climbopt.model.templates import Array, Form, derive
from climbopt.model.uses import ONCE, SUPPLY, Use
from climbopt.runs.pilots import PilotRuns

NOISE = 0.007
"""Standard deviation of a loss about the model, as a share of the target's median loss."""
ZERO_SHOT_NOISE = 0.07
"""The same where the target has a ratio of 0: no published form predicts these rows as well as the others."""
INTERIOR = 1.0
"""A coordinate whose prior centers on its bound starts this many spreads inside."""
STARTS = ((INTERIOR, 0.0), (INTERIOR / 10, 0.0), (INTERIOR, -3.0))
"""For each start, how far inside; and the targets' interaction parameters, in prior spreads from their centers."""
N_STARTS = len(STARTS)
"""Starts of a fit by default: all of them."""
AT_BOUND = 1e-3
"""A coordinate nearer to its bound than this share of its spread counts as being at it."""
UNIDENTIFIED = 0.95
"""A parameter whose posterior spread is more than this share of its prior's has learned nothing from the runs."""

REPEATED = 0.4
"""Where this share of a run's tokens are repeats, its noise counts as twice that."""
TINY = 1e-9
"""Ratios below it count as this, whose noise is the largest."""

Way = Literal["declared", "pooled", "features"]
"""How the priors of pairs came about."""
Fixed = Mapping[str, Mapping[str, float]]
"""Known values by parameter and language; tokens and params as counts."""


@dataclass(frozen=True)
class Pooling:
    """Which priors of pairs a fit has, and the errors that decided it.

    Parameters
    ----------
    way : {"declared", "pooled", "features"}
        As declared, learned by source and target effects, or by those and features.
    errors : mapping of str to float
        Mean absolute error (nats) of losses with a ratio above 0 in mixtures left out, by way; empty where the runs
        cannot be divided.
    """

    way: Way
    errors: Mapping[Way, float]

    @property
    def words(self) -> str:
        """What stayed and why, in one line."""
        if not self.errors:
            return "declared priors stay: the runs are too few to leave mixtures out"
        names = {"declared": "declared priors", "pooled": "pooled priors", "features": "pooled priors with features"}
        others = ", ".join(f"{names[way]} {error:.5f}" for way, error in self.errors.items() if way != self.way)
        return f"{names[self.way]} stay: error on mixtures left out {self.errors[self.way]:.5f} nats; {others}"


class Fitted(Reported):
    """What the fits of one form and of several have in common."""

    model: MixtureModel | Ensemble
    pilots: PilotRuns
    fits: tuple[Fit, ...]

    @property
    def n_runs(self) -> int:
        """Number of runs."""
        return len(self.pilots.runs)

    @property
    def n_missing(self) -> int:
        """Number of losses that the table left out and another run of the language has."""
        return len(self.pilots.missing)

    @cached_property
    def predicted(self) -> Array:
        """The predicted losses of the runs, (n, T)."""
        return predictions(self.model, self.pilots)

    @cached_property
    def overall(self) -> Errors:
        """Errors of the predictions over all targets."""
        return self._errors(slice(None))

    @property
    def errors(self) -> Mapping[str, Errors]:
        """The same by target."""
        return {name: self._errors(slice(i, i + 1)) for i, name in enumerate(self.model.targets)}

    def _errors(self, of: slice) -> Errors:
        pilots, predicted = self.pilots, self.predicted[:, of]
        judged = trained(pilots, pilots.targets, pilots.sources)[:, of]
        return prediction_errors(predicted, pilots.losses[:, of], judged, np.isfinite(predicted))

    @property
    def outliers(self) -> tuple[str, ...]:
        """Runs with a loss that lies far from the law of every form; they count little."""
        far = [set(fitted.outliers) for fitted in self.fits]
        return tuple(name for name in self.pilots.runs if all(name in of for of in far))

    @property
    def warnings(self) -> tuple[str, ...]:
        """What there is to doubt in the runs and in the fits, one sentence each, whichever form gives reason to."""
        # R2 is that of the other runs: outlying ones would decide it alone.
        pilots, outliers = self.pilots, self.outliers
        judged = trained(pilots, pilots.targets, pilots.sources) & ~np.isin(pilots.runs, outliers)[:, None]
        r2 = prediction_errors(self.predicted, pilots.losses, judged, judged).r2
        solved = [part for fitted in self.fits for part in fitted.solved]
        return doubts_of_fit(pilots, [fitted.model for fitted in self.fits], solved, outliers, r2)


@dataclass(frozen=True, eq=False, repr=False)
class Fit(Fitted):
    """A fitted model and how far the runs support it.

    Parameters
    ----------
    model : MixtureModel
        The estimate.
    pilots : PilotRuns
        What it was fitted to.
    n_losses : int
        Losses used.
    left_out : str or None
        Which measured losses were not used, and why.
    seconds : float
        Wall time.
    solved : tuple of Solved
        The fit in its own coordinates, which uncertainty is counted in.
    fixed : mapping of str to mapping of str to float
        Parameters that were known.
    scores : tuple of Score
        Of every form that cross-validation tried, best first; empty where the form was named.
    pooling : Pooling or None
        Where learned priors were tried.
    """

    model: MixtureModel
    pilots: PilotRuns
    n_losses: int
    left_out: str | None
    seconds: float
    solved: tuple[Solved, ...]
    fixed: Fixed
    scores: tuple[Score, ...] = ()
    pooling: Pooling | None = None

    @property
    def fits(self) -> tuple[Fit, ...]:  # type: ignore[override]
        """The fit itself."""
        return (self,)

    @property
    def outliers(self) -> tuple[str, ...]:
        """Runs with a loss that lies far from the law, and from all others of its target; they count little."""
        far = np.hstack([outlying(part.block, part.x)[: self.n_runs] for part in self.solved])
        return tuple(self.pilots.runs[k] for k in np.flatnonzero(far.any(axis=1)))

    @property
    def cost(self) -> float:
        """Half the sum of squared residuals, priors included."""
        return sum(part.cost for part in self.solved)

    @property
    def above_ceiling(self) -> Mapping[str, float]:
        """Targets of which some mixture at a pilot budget is still predicted far above the largest measured loss.

        With the multiple of that loss; empty for a form that has no ceiling.
        """
        return {name: multiple for part in self.solved for name, multiple in part.above_ceiling.items()}

    @property
    def at_bound(self) -> tuple[str, ...]:
        """Coordinates at their bound, as name[language] or name[target, source]."""
        return self._named(lambda part: part.x - part.block.lower < AT_BOUND * part.block.spread)

    @cached_property
    def unidentified(self) -> tuple[str, ...]:
        """Coordinates whose posterior is as wide as their prior (Gauss-Newton, at the fit)."""
        return self._named(_unidentified)

    def _named(self, which: Callable[[Solved], NDArray[np.bool_]]) -> tuple[str, ...]:
        """Return the names of coordinates, those of a block that a function is true of."""
        return tuple(label(part.block, k) for part in self.solved for k in np.flatnonzero(which(part)).tolist())

    def view(self) -> View:
        """Return the errors of the fit; the table has a row for each target."""
        model, overall = self.model, self.overall
        zero_shot = "" if overall.zero_shot_mae is None else f"; at a ratio of 0: MAE {overall.zero_shot_mae:.4f}"
        facts = [
            f"MAE {overall.mae:.5f} nats, MRE {100 * overall.mre:.3f} %, R2 {overall.r2:.5f}{zero_shot}",
            f"{len(model.sources)} sources: {listed(model.sources)}",
            f"{len(self.at_bound)} coordinates at a bound, {len(self.unidentified)} not identified by the runs",
        ]
        facts += [self.left_out] if self.left_out else []
        facts += [f"{len(self.scores)} forms cross-validated"] if self.scores else []
        title = f"fit of {model.label} to {self.n_losses} losses of {self.n_runs} runs"
        return View(title, facts, self._columns)

    def _columns(self) -> Columns:
        """Return one row per target, and one of all."""
        errors = {**self.errors, "all": self.overall}
        return {"language": list(errors)} | {
            name: [getattr(accuracy, name) for accuracy in errors.values()]
            for name in ("mae", "mre", "r2", "zero_shot_mae")
        }


def estimate(
    pilots: PilotRuns,
    law: Law,
    interaction: Interaction,
    use: Use = ONCE,
    *,
    n_starts: int = N_STARTS,
    fixed: Fixed | None = None,
    progress: Progress | None = None,
) -> Fit:
    """Return the fit of one form to runs; :func:`climbopt.fit` describes the method, the parameters and the errors.

    `progress` is called with the numbers of blocks done and to do.
    """
    began, declared = time.perf_counter(), Form(law, interaction, use)
    if derive(*declared).uses_model_size and pilots.params is None:
        raise InputError(f"{declared.label} depends on the model size; add a column 'params' to the pilots")
    # Scales and units of the observations; blocks of targets follow, each with its own least-squares problem.
    rows, left_out = observations(pilots, law, interaction)
    form, fixed, unit = fit_form(*declared), fixed or {}, units(pilots)
    # Runs alone do not show supplies.
    if any(p.name == SUPPLY for p in use.parameters) and SUPPLY not in fixed:
        raise InputError(
            f"use '{use.name}' needs the supply of each source; give --supply FILE (in Python supply=), or a "
            "column 'supply' in the pilots"
        )
    solved = _solved(_blocks(pilots, form, rows, _held(pilots, form, fixed)), n_starts, anchors(pilots), progress)
    model = MixtureModel(
        law,
        interaction,
        pilots.sources,
        pilots.targets,
        declared_parameters(solved),
        unit["tokens"],
        unit["params"],
        pilots=pilots.range,
        use=use,
    )
    n_losses = int(np.isfinite(rows.scale).sum())
    return with_warnings(Fit(model, pilots, n_losses, left_out, time.perf_counter() - began, tuple(solved), fixed))


AnyFit = TypeVar("AnyFit", bound=Fitted)


def with_provenance(fitted: AnyFit, provenance: Mapping[str, str]) -> AnyFit:
    """Return a fit whose model says where its parameters came from."""
    model = replace(fitted.model, provenance=provenance)
    return replace(fitted, model=model)  # type: ignore[type-var]  # both kinds are dataclasses


def with_warnings(fitted: AnyFit) -> AnyFit:
    """Return a fit whose model states its warnings."""
    return with_provenance(fitted, {WARNINGS: "\n".join(lines)} if (lines := fitted.warnings) else {})


def units(pilots: PilotRuns) -> dict[str, float]:
    """Return the tokens and params that count as 1 inside the fit: powers of ten nearest to the geometric means."""
    values = {"tokens": pilots.tokens, "params": np.ones(1) if pilots.params is None else pilots.params}
    return {unit: float(10.0 ** np.round(np.log10(of_runs).mean())) for unit, of_runs in values.items()}


def observations(pilots: PilotRuns, law: Law, interaction: Interaction) -> tuple[Observations, str | None]:
    """Return the rows of all targets, and a sentence on what was left out."""
    zero, measured = pilots.ratios_of(pilots.targets) == 0, ~np.isnan(pilots.losses)
    with_data = measured & ~zero
    # Noise is a share of the median loss: over runs with data of the target, or over all where no run has any.
    typical = np.where(with_data.any(axis=0), with_data, measured)
    median = np.array([np.median(pilots.losses[rows, i]) if rows.any() else np.inf for i, rows in enumerate(typical.T)])
    # An infinite scale leaves a loss out: z = 0 is outside the law's domain, whatever the parameters.
    outside = zero & measured & (interaction.vanishes_without_own_data and law.needs_positive_z)
    scale = np.where(measured & ~outside, _noise(pilots) * median, np.inf)
    # The priors make any fit determinate; with fewer losses than the law's parameters they alone would decide.
    n_used = np.isfinite(scale).sum(axis=0)
    needed = len(law.parameters)
    if n_used.min() < needed:
        raise InputError(
            f"{n_used.min()} of the {len(pilots.runs)} runs can be used for '{pilots.targets[int(n_used.argmin())]}'; "
            f"law '{law.name}' has {needed} parameters per target and needs as many runs at the least; add runs"
        )
    unit, params = units(pilots), pilots.params
    size = np.full(len(pilots.runs), np.nan) if params is None else params / unit["params"]
    supply = None if pilots.supply is None else np.maximum(pilots.supply, LEAST_SUPPLY) / unit["tokens"]
    rows = Observations.of_runs(pilots.ratios, pilots.tokens / unit["tokens"], size, pilots.losses, scale, supply)
    left_out = (
        f"{int(outside.sum())} losses at a ratio of 0 were left out: with interaction "
        f"'{interaction.name}' z is 0 there, and the law is not defined"
    )
    return rows, left_out if outside.any() else None


def noise_at(own: Array) -> Array:
    """Return the standard deviation of a loss about the model, as a share of the target's median loss.

    `NOISE` for ratios r of `SMALL` or more; `NOISE SMALL / r` below, where forms err more the smaller r is, up to
    `ZERO_SHOT_NOISE`. Chosen on measured runs (docs/fitting.md).

    Parameters
    ----------
    own : ndarray
        Ratios r of the targets themselves.
    """
    return np.clip(NOISE * SMALL / np.maximum(own, TINY), NOISE, ZERO_SHOT_NOISE)


def assumed_noise(ratios: Array, sources: Sequence[str], targets: Sequence[str]) -> Array:
    """Return the standard deviation of each loss about the model, as a share of the target's median loss, (n, T).

    That of :func:`noise_at`, and `NOISE` for a target that is no source: all its losses are at a ratio of 0, and with
    `ZERO_SHOT_NOISE` the priors would outweigh them (measured in docs/fitting.md).

    Parameters
    ----------
    ratios : ndarray, (n, S)
    sources, targets : sequence of str
        S and T names.
    """
    column = {name: ratios[:, j] for j, name in enumerate(sources)}
    return noise_at(np.column_stack([column.get(name, np.ones(len(ratios))) for name in targets]))


def _noise(pilots: PilotRuns) -> Array:
    """Return the standard deviation of each loss about the model, as a share of the target's median loss, (n, T)."""
    noise = assumed_noise(pilots.ratios, pilots.sources, pilots.targets)
    if pilots.supply is None:
        return noise
    # Runs that are mostly repeats, such as a small language alone, tell little of mixtures that could be chosen.
    # Share of the run's tokens beyond one epoch: sum over sources of max(0, r_j - U_j / D).
    repeated = np.maximum(pilots.ratios - pilots.supply / pilots.tokens[:, None], 0.0).sum(axis=1)
    return np.asarray(noise * (1 + (repeated / REPEATED) ** 2)[:, None])


def _held(pilots: PilotRuns, form: FitForm, fixed: Fixed) -> dict[str, Array]:
    """Return the coordinates of parameters that are known, in the fit's units; NaN for languages not named."""
    declared, unit = {p.name: p for p in form.form.parameters}, units(pilots)
    held = []
    refuse_unknown(f"parameter of {form.form.label}", fixed, declared)
    for name, by_language in fixed.items():
        p = declared[name]
        languages = pilots.sources if p.per == "source" else pilots.targets
        values = np.full(len(languages), np.nan)
        refuse_unknown(p.per, by_language, languages)
        for language, value in by_language.items():
            if not (np.isfinite(value) and (value > 0 if p.symbol.is_positive else value >= p.lower)):
                raise InputError(
                    f"'{name}' of '{language}' is fixed at {value:g}; it must be "
                    f"{'a positive number' if p.symbol.is_positive else 'a number in its range'}"
                )
            # Fewer than one token or parameter: a count in billions, most likely.
            if p.unit in unit and 0 < value < 1:
                raise InputError(
                    f"'{name}' of '{language}' is fixed at {value:g} {p.unit}; write the count: 5e8, not 0.5 billion"
                )
            values[languages.index(language)] = value / unit.get(p.unit, 1.0)
        # In the fit's coordinate, which is the logarithm of a positive parameter.
        held.append(form.held(p, values))
    return dict(held)


def _blocks(
    pilots: PilotRuns, form: FitForm, rows: Observations, held: Mapping[str, Array] | None = None
) -> list[Block]:
    """Return one block per target, or one of all where sources have parameters of their own."""
    smallest = float(pilots.tokens.min() / units(pilots)["tokens"])
    # Parameters of sources are shared by all targets; without them each target's problem is independent.
    if any(p.per == "source" for p in form.coordinates):
        return [Block(form, pilots.sources, pilots.targets, rows, smallest, held=held or {})]
    return [
        Block(
            form,
            pilots.sources,
            (target,),
            replace(rows, losses=rows.losses[:, [i]], scale=rows.scale[:, [i]], knee=rows.knee[:, [i]]),
            smallest,
            held={name: values[[i]] for name, values in (held or {}).items()},
        )
        for i, target in enumerate(pilots.targets)
    ]


def _solved(
    blocks: Sequence[Block], n_starts: int, anchors: NDArray[np.bool_], progress: Progress | None
) -> list[Solved]:
    """Return the best of several starts of each block, through its anchors, (n,), under the ceilings that it needs."""
    # Plain least squares from all starts, then robust losses, then ceilings: each step starts at the last minimum.
    starts = [_starts(block, n_starts) for block in blocks]
    ends = minima([block.repeated(n_starts) for block in blocks], starts)
    free = []
    for done, (block, start, end) in enumerate(zip(blocks, starts, ends, strict=True), 1):
        free.append(_anchored(*robust_minimum(block, min(end, key=block.cost), start[0]), anchors))
        if progress:
            progress(done, len(blocks) + 1)
    batches = [block.repeated(1) for block, _ in free]
    bounded = all_under_ceilings(batches, [x[None] for _, x in free])
    solved = [
        replace(part, strained=block.targets if cost_of_ceilings(block, x, part.x) > NOTICED else ())
        for (block, x), (part,) in zip(free, bounded, strict=True)
    ]
    if progress:
        progress(len(blocks) + 1, len(blocks) + 1)
    return solved


def _anchored(block: Block, x: Array, anchors: NDArray[np.bool_]) -> tuple[Block, Array]:
    """Return the block with its anchors, (n,), surer than other runs, and its minimum from x."""
    of, rows = anchors[:, None] & ~outlying(block, x), block.rows
    if not of.any():
        return block, x
    scale, knee = np.where(of, rows.scale / SURER, rows.scale), np.where(of, np.inf, rows.knee)
    block = replace(block, rows=replace(rows, scale=scale, knee=knee))
    return block, minimum(block, x)


def _starts(block: Block, n_starts: int) -> Array:
    """Return starts, (n_starts, p): prior centers, the law's from monolingual runs, interaction terms varied."""
    law_names = {p.name for p in block.form.moved.law.parameters}
    in_law = np.array([parameter.name in law_names for parameter, _ in block.labels], dtype=bool)
    law = _inside(block, INTERIOR)
    law[in_law] = _monolingual(block, law[in_law])
    varied = np.array(
        [
            parameter.per == "target" and not of_law and lower == -np.inf
            for (parameter, _), of_law, lower in zip(block.labels, in_law, block.lower, strict=True)
        ],
        dtype=bool,
    )
    # Only the interaction's parameters of targets without a bound: logarithms, such as that of eta.
    offsets = np.where(varied, block.spread, 0.0)
    return np.array(
        [np.where(in_law, law, _inside(block, interior)) + by * offsets for interior, by in STARTS[:n_starts]]
    )


def _inside(block: Block, interior: float) -> Array:
    """Return the prior centers, moved `interior` spreads inside the bounds."""
    return np.asarray(np.maximum(block.center, block.lower + interior * block.spread))


def _monolingual(block: Block, default: Array) -> Array:
    """Return the law's coordinates fitted to monolingual runs alone; `default` for a target that has none.

    A law whose z is no ratio has nothing to tell z at r_i = 1, and what is known of a law is no start of its others.
    """
    known = {p.name for p in block.form.moved.law.parameters} & block.held.keys()
    if block.form.law.quantity != INTERACTIONS["none"].quantity or known:
        return default
    result = default.copy().reshape(len(block.form.moved.law.parameters), len(block.targets))
    for i, column in zip(block.blank.own_targets, block.blank.own_sources, strict=True):
        # Runs of the language by itself, at which z is taken as 1.
        alone = (block.rows.ratios[:, column] == 1) & ~block.rows.ceiling & np.isfinite(block.rows.scale[:, i])
        if not alone.any():
            continue
        target = (block.targets[i],)
        rows = Observations.of_runs(
            np.ones((int(alone.sum()), 1)),
            block.rows.D[alone],
            block.rows.N[alone],
            block.rows.losses[alone][:, [i]],
            block.rows.scale[alone][:, [i]],
        )
        single = Block(fit_form(block.form.law, INTERACTIONS["none"]), target, target, rows, block.smallest)
        result[:, i] = minimum(single, single.center)
    return result.ravel()


def declared_parameters(solved: Sequence[Solved]) -> dict[str, Array]:
    """Return the declared parameters of all targets, as a model takes them."""
    form = solved[0].block.form
    declared = [form.declared(part.block.values(part.x), part.block.blank) for part in solved]
    # A form with parameters of sources has one block, which holds them.
    return {
        p.name: declared[0][p.name] if p.per == "source" else np.concatenate([values[p.name] for values in declared])
        for p in form.form.parameters
    }


def _unidentified(solved: Solved) -> NDArray[np.bool_]:
    """Return which coordinates of a block have a posterior as wide as their prior."""
    # (J'J)^-1 = R^-1 R^-T in units of the priors' spreads: row norms of R^-1 are posterior over prior spreads.
    root = np.linalg.qr(solved.jacobian * solved.block.spread, mode="r")  # its inverse has no negative variance
    return np.asarray(np.linalg.norm(np.linalg.inv(root), axis=1) > UNIDENTIFIED)


def label(block: Block, k: int) -> str:
    """Return the name of one coordinate, as name[language] or name[target, source]."""
    parameter, names = block.labels[k]
    return f"{parameter.name}[{', '.join(names)}]"
