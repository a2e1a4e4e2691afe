"""fit: pilot runs to a model: an ensemble of forms, or a form that is named or that cross-validation chooses."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace

from climbopt.files import PilotsLike, as_features, as_pilots
from climbopt.fitting.accuracy import Score
from climbopt.fitting.ensemble_fit import EnsembleFit, default_forms, fit_ensemble
from climbopt.fitting.estimate import N_STARTS, Fit, Fixed, estimate
from climbopt.fitting.pooling import with_pooling
from climbopt.fitting.select import candidates, choose_form, known_to
from climbopt.foundations.errors import InputError, listed, refuse_unknown
from climbopt.foundations.frozen import Count, check_arguments
from climbopt.foundations.processes import Progress
from climbopt.foundations.quantities import TOKENS, Amount
from climbopt.model.interactions import InteractionLike
from climbopt.model.laws import LawLike
from climbopt.model.mixture import LEAST_SUPPLY
from climbopt.model.templates import Form
from climbopt.model.uses import SUPPLY, UseLike
from climbopt.runs.features import Features
from climbopt.runs.pilots import PilotRuns

FeaturesLike = bool | Features | str | os.PathLike[str]
"""Whether priors are learned, or the features that they may depend on: an object or the path of a table."""
AS_PRIORS = "features", "give pool=True, or the path of a table of features"
"""What such features are called where something else is given, and what to give."""


@check_arguments
def fit(
    pilots: PilotsLike,
    law: LawLike | None = None,
    interaction: InteractionLike | None = None,
    *,
    use: UseLike | None = None,
    supply: Mapping[str, Amount] | None = None,
    n_starts: Count = N_STARTS,
    fixed: Mapping[str, Mapping[str, float]] | None = None,
    pool: FeaturesLike = False,
    jobs: int = 1,
    progress: Progress | None = None,
) -> Fit | EnsembleFit:
    """Return the model that fits the runs best under the priors, with what the runs do and do not show.

    Where neither a law nor an interaction is named, that is an ensemble: the mean of several forms, each fitted to all
    runs, of those that are sane on the whole simplex (:func:`climbopt.fitting.ensemble_fit.fit_ensemble`).
    Targets that share no parameter are solved one by one. Residuals are scaled by the assumed noise, which grows below
    a ratio of 0.03 (`noise_at`). z stays positive by bounds on the coordinates, never by clipping.

    Parameters
    ----------
    pilots : PilotRuns, pandas.DataFrame or path
        Measured runs, or a tidy table of them.
    law, interaction : Law, Interaction or str, optional
        For one form: members of `LAWS` and `INTERACTIONS`, their names, or the caller's own; "auto" for the one that
        cross-validation chooses. Without an interaction, gated, or the first that the law takes; without a law, power.
    use : Use or str, optional
        How repeated tokens count: a member of `USES`, its name, or "auto" for a model of one form. By default
        diluting where supplies are known, else once; once with an interaction that counts repetition itself.
    supply : mapping of str to float or str, optional
        Different tokens of each source, in the model and in all runs whose table states none (column ``supply``).
    n_starts : int
        Starts tried for each block (1 to 3); the least cost wins.
    fixed : mapping of str to mapping of str to float, optional
        Known parameters of targets or sources, as ``{"E": {"en": 1.1}}``; counts of tokens and params as they are.
    pool : bool, Features or path
        Learn priors of pairs, by features if given, and noise, where that helps (:mod:`climbopt.fitting.pooling`).
    jobs : int
        Processes for the forms of an ensemble.
    progress : callable, optional
        Called with the numbers of fits done and to do.

    Raises
    ------
    InputError
        When the runs are too few, or lack what the law needs.

    Examples
    --------
    >>> import climbopt
    >>> fitted = climbopt.fit("problems/libreoffice6/pilots.csv", interaction="linear", n_starts=1)
    >>> fitted.model.label, fitted.n_losses
    ('power + linear', 378)
    """
    runs, learned = as_pilots(pilots), pool if isinstance(pool, bool) else as_features(pool, *AS_PRIORS)
    if law is None and interaction is None:
        return with_pooling(_default_fit(runs, use, supply, n_starts, fixed, jobs, progress), learned, progress)
    one = fit_form(runs, law, interaction, use=use, supply=supply, n_starts=n_starts, fixed=fixed, progress=progress)
    return with_pooling(one, learned, progress)


def _default_fit(
    runs: PilotRuns,
    use: UseLike | None,
    supply: Mapping[str, Amount] | None,
    n_starts: int,
    fixed: Fixed | None,
    jobs: int,
    progress: Progress | None,
) -> EnsembleFit:
    """Return the fit of the default ensemble; see :func:`fit`."""
    forms = default_forms(runs, use, supplied=supply is not None or runs.supply is not None)
    known = with_supplies(runs, tuple(forms), fixed or {}, supply)
    return fit_ensemble(runs, forms, n_starts=n_starts, fixed=known, jobs=jobs, progress=progress)


def fit_form(
    runs: PilotRuns,
    law: LawLike | None,
    interaction: InteractionLike | None,
    *,
    use: UseLike | None = None,
    supply: Mapping[str, Amount] | None = None,
    n_starts: int = N_STARTS,
    fixed: Fixed | None = None,
    progress: Progress | None = None,
) -> Fit:
    """Return the fit of one form, which is named or chosen by cross-validation; see :func:`fit`."""
    law, supplied = law or "power", supply is not None or runs.supply is not None
    sized, unseen = runs.params is not None, not set(runs.targets) <= set(runs.sources)
    forms = candidates(law, interaction, use, sized=sized, supplied=supplied, unseen=unseen)
    known = with_supplies(runs, forms, fixed or {}, supply)
    form, scores = forms[0], tuple[Score, ...]()
    if "auto" in (law, interaction, use):
        form, scores = choose_form(runs, forms, fixed=known, progress=progress)
        known = known_to(form, known)
    return replace(estimate(runs, *form, n_starts=n_starts, fixed=known, progress=progress), scores=scores)


def with_supplies(pilots: PilotRuns, forms: Sequence[Form], fixed: Fixed, supply: Mapping[str, Amount] | None) -> Fixed:
    """Return the known parameters with the supplies of the sources, where one of the forms has them.

    Without stated supplies those are the largest that any run had.

    Raises
    ------
    InputError
        Where supplies are stated as a fixed parameter, of an unknown language, or, for a use, not of every source.
    """
    if SUPPLY in fixed:
        raise InputError(
            f"'{SUPPLY}' is the supply of a source; give supplies by --supply FILE (in Python supply=), a CSV of "
            "language, tokens"
        )
    tokens: Mapping[str, float] | None = None if supply is None else TOKENS.by_name(supply, "supply")
    if tokens is not None:
        refuse_unknown("language with a supply", tokens, pilots.languages)
        missing = [name for name in pilots.sources if name not in tokens]
        if missing and any(p.name == SUPPLY for form in forms for p in form.use.parameters):
            raise InputError(
                f"the supply of {listed(missing, most=4)} is not stated; give the tokens of every source in the runs"
            )
    elif pilots.supply is not None:
        # Runs may be drawn from supplies cut down; the whole one is the largest.
        tokens = dict(zip(pilots.sources, pilots.supply.max(axis=0).tolist(), strict=True))
    if tokens is None or not any(p.name == SUPPLY for form in forms for p in form.parameters):
        return fixed
    # A target that is no source is drawn in no run, so that its supply does not matter.
    return {**fixed, SUPPLY: {name: max(tokens[name], LEAST_SUPPLY) for name in pilots.sources if name in tokens}}
