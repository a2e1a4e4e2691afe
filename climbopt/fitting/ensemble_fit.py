"""The default fit: an ensemble of forms, each fitted to the same runs, that are sane on the whole simplex."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from joblib import delayed

from climbopt.fitting.estimate import STARTS, Fit, Fitted, Fixed, Pooling, estimate, with_warnings
from climbopt.fitting.select import check_known, known_to, uses_of
from climbopt.foundations.errors import InputError, listed
from climbopt.foundations.processes import Progress, parallel
from climbopt.foundations.view import Columns, View
from climbopt.model.ensemble import Ensemble
from climbopt.model.interactions import INTERACTIONS
from climbopt.model.laws import LAWS
from climbopt.model.mixture import MixtureModel
from climbopt.model.templates import Form
from climbopt.model.uses import UseLike
from climbopt.runs.pilots import PilotRuns

FORMS = (("split", "powers", 2.0), ("bimix", "powers", 1.0), ("bimix", "overlap", 1.0))
"""Law, interaction and weight of each form of the ensemble, of which those that are sane share all the weight."""
SIZED_FORMS = (("split_nd", "powers", 2.0), ("power_nd", "overlap", 1.0))
"""The same for runs whose model size varies, of which the others know nothing."""
BEYOND = 10.0
"""Forms must be sane at the largest pilot budget and at this many times that."""
SAMPLE, SEED = 200, 0
"""Mixtures, drawn uniformly from the simplex, at which every loss must be a number."""
ROUNDING = 1e-9
"""A loss without own data may be below that of own data alone by this share of it."""


@dataclass(frozen=True, eq=False, repr=False)
class EnsembleFit(Fitted):
    """An ensemble of fitted forms.

    Parameters
    ----------
    model : Ensemble
        The estimate.
    fits : tuple of Fit
        Of each block, in the order of the model's blocks.
    refused : mapping of str to str
        Forms that were tried and are not in the ensemble, and why.
    seconds : float
        Wall time.
    pooling : Pooling or None
        Where learned priors were tried.
    """

    model: Ensemble
    fits: tuple[Fit, ...]
    refused: Mapping[str, str]
    seconds: float
    pooling: Pooling | None = None

    @property
    def pilots(self) -> PilotRuns:  # type: ignore[override]
        """What it was fitted to."""
        return self.fits[0].pilots

    @property
    def n_losses(self) -> int:
        """Losses used, by the form that uses most."""
        return max(fitted.n_losses for fitted in self.fits)

    @property
    def fixed(self) -> Fixed:
        """Parameters that were known, of any form."""
        return {name: values for fitted in self.fits for name, values in fitted.fixed.items()}

    def view(self) -> View:
        """Return the errors of the fit; the table has a row for each form."""
        overall, model = self.overall, self.model
        facts = [
            f"MAE {overall.mae:.5f} nats, MRE {100 * overall.mre:.3f} %, R2 {overall.r2:.5f}",
            f"{len(model.sources)} sources: {listed(model.sources)}",
        ]
        facts += [f"{form} left out: {reason}" for form, reason in self.refused.items()]
        title = f"fit of an ensemble of {len(self.fits)} forms to {self.n_losses} losses of {self.n_runs} runs"
        return View(title, facts, self._columns)

    def _columns(self) -> Columns:
        """Return one row per form."""
        return {
            "form": [fitted.model.label for fitted in self.fits],
            "weight": list(self.model.weights),
            "mae": [fitted.overall.mae for fitted in self.fits],
            "zero_shot_mae": [fitted.overall.zero_shot_mae for fitted in self.fits],
        }


def default_forms(pilots: PilotRuns, use: UseLike | None = None, *, supplied: bool = False) -> dict[Form, float]:
    """Return the forms that the ensemble is chosen from, and their weights.

    Parameters
    ----------
    pilots : PilotRuns
    use : Use or str, optional
        Of every form; by default diluting where supplies are known, else once.
    supplied : bool
        Whether supplies are known.
    """
    if use == "auto":
        raise InputError("the use auto chooses the use of one form; name the form too, as --law power --use auto")
    sized = pilots.params is not None and bool(np.ptp(pilots.params) > 0)
    return {
        Form(LAWS[law], INTERACTIONS[interaction], *uses_of(INTERACTIONS[interaction], use, supplied)): weight
        for law, interaction, weight in (SIZED_FORMS if sized else FORMS)
    }


def fit_ensemble(
    pilots: PilotRuns,
    forms: Mapping[Form, float] | None = None,
    *,
    n_starts: int = len(STARTS),
    fixed: Fixed | None = None,
    jobs: int = 1,
    progress: Progress | None = None,
) -> EnsembleFit:
    """Return the ensemble of those forms that can be fitted to the runs and are sane.

    Parameters
    ----------
    pilots : PilotRuns
    forms : mapping of Form to float, optional
        Weights of the forms; by default :func:`default_forms`.
    n_starts : int
        As of :func:`climbopt.fit`.
    fixed : mapping, optional
        Known parameters; each form takes those that it has.
    jobs : int
        Processes, each of which fits whole forms.
    progress : callable, optional
        Called with the numbers of forms fitted and to fit.

    Raises
    ------
    InputError
        Where no form can be fitted, or none is sane.
    """
    began = time.perf_counter()
    forms = default_forms(pilots) if forms is None else forms
    check_known(pilots, tuple(forms), fixed or {})
    # A generator in the order of the forms, so that progress is shown as they finish.
    tried = parallel(min(jobs, len(forms)), return_as="generator")(
        delayed(_tried)(pilots, form, n_starts, known_to(form, fixed or {})) for form in forms
    )
    results = {}
    for done, (form, result) in enumerate(zip(forms, tried, strict=True), 1):
        results[form] = result
        if progress:
            progress(done, len(forms))
    fits = {form: result for form, result in results.items() if isinstance(result, Fit)}
    refused = {form.label: result for form, result in results.items() if not isinstance(result, Fit)}
    if not fits:
        first = next(iter(refused.values()))
        raise InputError(
            first
            if len(set(refused.values())) == 1
            else "no form of the ensemble can be used: "
            + "; ".join(f"{form}: {reason}" for form, reason in refused.items())
            + "; add runs, or name one form (--law power --interaction gated)"
        )
    parts = tuple(fits.values())
    model = ensemble_of(parts, [forms[form] for form in fits])
    return with_warnings(EnsembleFit(model, parts, refused, time.perf_counter() - began))


def ensemble_of(fits: Sequence[Fit], weights: Sequence[float]) -> Ensemble:
    """Return the models of fits as one, which states the warnings of all of them together."""
    return Ensemble([replace(fitted.model, provenance={}) for fitted in fits], weights)


def _tried(pilots: PilotRuns, form: Form, n_starts: int, known: Fixed) -> Fit | str:
    """Return the fit of a form, or why the ensemble cannot have it."""
    try:
        fitted = estimate(pilots, *form, n_starts=n_starts, fixed=known)
    except InputError as error:
        return str(error)
    return insane(fitted.model, pilots) or fitted


def insane(model: MixtureModel, pilots: PilotRuns) -> str | None:
    """Return what is wrong with a model's losses somewhere on the simplex; None where nothing is.

    At the largest pilot budget, and `BEYOND` times that, every loss must be a number above 0, and the
    loss of a target without own data, all of another source's, no lower than with own data alone, none of it
    repeated.

    Parameters
    ----------
    model : MixtureModel
    pilots : PilotRuns
        Provide the budgets and the largest model size.
    """
    n = len(model.sources)
    inside = np.random.default_rng(SEED).dirichlet(np.ones(n), SAMPLE)
    # The corners first: rows 0 to S - 1 are each source by itself.
    mixtures = np.vstack([np.eye(n), inside])
    size = None if pilots.params is None else float(pilots.params.max())
    # A form that has no prediction at a ratio of 0 at all is judged inside the simplex.
    shut = model.interaction.vanishes_without_own_data and model.law.needs_positive_z
    for budget in (float(pilots.tokens.max()), BEYOND * float(pilots.tokens.max())):
        losses = model.at(budget, size).predicted(mixtures)
        wrong = ~(np.isfinite(losses) & (losses > 0))
        if shut:
            # At a corner every other target has a ratio of 0.
            wrong[:n] = False
        if wrong.any():
            return f"at {budget:.3g} tokens the loss of '{model.targets[int(np.argwhere(wrong)[0][1])]}' is no number"
        # With a supply as large as the budget no token is repeated: what own data alone can do at best.
        unrepeated = model.with_supply(dict.fromkeys(model.sources, budget)).at(budget, size).predicted(np.eye(n))
        for i, j in zip(model.own_targets.tolist(), model.own_sources.tolist(), strict=True):
            without, alone = np.delete(losses[:n, i], j), unrepeated[j, i]
            if without.size and without.min() < (1 - ROUNDING) * alone:
                return (
                    f"at {budget:.3g} tokens the loss of '{model.targets[i]}' is lower with none of its own data "
                    f"({without.min():.4g}) than with nothing else ({alone:.4g})"
                )
    return None
