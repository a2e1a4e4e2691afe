"""fit: pilot runs to a model, of a form that is named or that cross-validation chooses."""

from __future__ import annotations

from dataclasses import replace

from climbopt.files import PilotsLike, as_pilots
from climbopt.fitting.accuracy import Score
from climbopt.fitting.estimate import STARTS, Fit, Fixed, Progress, estimate
from climbopt.fitting.select import candidates, choose_form, known_to
from climbopt.model.interactions import Interaction
from climbopt.model.laws import Law


def fit(
    pilots: PilotsLike,
    law: Law | str = "power",
    interaction: Interaction | str | None = None,
    *,
    n_starts: int = len(STARTS),
    fixed: Fixed | None = None,
    progress: Progress | None = None,
) -> Fit:
    """Return the model that fits the runs best under the priors, with what the runs do and do not show.

    All parameters are fitted to all losses at once; targets that share no parameter are solved one by one,
    which is the same problem. Residuals are scaled by `NOISE` (`ZERO_SHOT_NOISE` at a ratio of 0) times the
    target's median loss. z stays positive by bounds on the coordinates of the fit, never by clipping.

    Parameters
    ----------
    pilots : PilotRuns, pandas.DataFrame or path
        Measured runs, or a tidy table of them.
    law, interaction : Law, Interaction or str
        Members of `LAWS` and `INTERACTIONS`, their names, or the caller's own; "auto" for the one that
        cross-validation chooses among those that go with the other. Without an interaction, gated, or the first
        that the law takes.
    n_starts : int
        Starts tried for each block (1 to 3); the least cost wins.
    fixed : mapping of str to mapping of str to float, optional
        Parameters of a target or a source that are known, by language, and are not fitted, as
        ``{"U": {"en": 5e9}}``; counts of tokens and params as they are.
    progress : callable, optional
        Called with the numbers of fits done and to do: of the cross-validation, then of the chosen form's blocks.

    Raises
    ------
    InputError
        When the runs are too few, or lack what the law needs.

    Examples
    --------
    >>> import climbopt
    >>> fitted = climbopt.fit("problems/libreoffice6/pilots.csv", interaction="linear", n_starts=1)
    >>> fitted.model.law.name, fitted.n_losses
    ('power', 378)
    """
    runs, known = as_pilots(pilots), fixed or {}
    forms = candidates(law, interaction, sized=runs.params is not None)
    form, scores = forms[0], tuple[Score, ...]()
    if "auto" in (law, interaction):
        form, scores = choose_form(runs, forms, fixed=known, progress=progress)
        known = known_to(form, known)
    return replace(estimate(runs, *form, n_starts=n_starts, fixed=known, progress=progress), scores=scores)
