"""Choosing a law and an interaction by cross-validation over whole runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from climbopt.files import PilotsLike, as_pilots
from climbopt.fitting.accuracy import Mask, Score, prediction_errors, predictions, trained
from climbopt.fitting.estimate import Fixed, estimate
from climbopt.foundations.errors import InputError, refuse_unknown
from climbopt.foundations.frozen import Seed, check_arguments
from climbopt.foundations.processes import Progress
from climbopt.model.interactions import INTERACTIONS, Interaction, InteractionLike
from climbopt.model.laws import LAWS, LawLike
from climbopt.model.templates import Array, Form, agreeing_pairs, derive
from climbopt.model.uses import ONCE, SUPPLY, USES, Use, UseLike
from climbopt.runs.pilots import PilotRuns

DEFAULT, DEFAULT_UNSEEN = "gated", "overlap"
"""The interaction where none is named; and where a target is no source, for which the gate of `gated` is shut."""
FOLDS = 7
TIE = 1.0
"""Scores closer than this many standard errors of their paired difference are a tie, which the simpler form wins."""


def candidates(
    law: LawLike,
    interaction: InteractionLike | None,
    use: UseLike | None = None,
    *,
    sized: bool,
    supplied: bool = False,
    unseen: bool = False,
) -> tuple[Form, ...]:
    """Return the forms that are requested; `auto` stands for every part that goes with the others.

    Parameters
    ----------
    law, interaction : Law, Interaction or str
        Objects, names, or auto; without an interaction, the default one, or the first that the law takes.
    use : Use or str, optional
        An object, a name, or auto; by default diluting where supplies are known, else once.
    sized : bool
        Whether the runs state their model size; a form that needs it is left out where they do not.
    supplied : bool
        Whether supplies are known.
    unseen : bool
        Whether a target is no source. The default is then `overlap`, and `auto` leaves out interactions whose z falls
        to 0 there as the budget grows.

    Raises
    ------
    InputError
        For an unknown name, and for parts that do not go together.

    Examples
    --------
    >>> [form.label for form in candidates("auto", "linear", sized=False)]
    ['power + linear', 'bimix + linear', 'split + linear']
    >>> [form.label for form in candidates("power", "gated", sized=False, supplied=True)]
    ['power + gated + diluting use']
    """
    interaction = interaction or ("auto" if law == "auto" else None)
    laws = tuple(LAWS.values()) if law == "auto" else (LAWS.member(law),)
    if interaction is None:
        taken = agreeing_pairs(laws)
        default = DEFAULT_UNSEEN if unseen else DEFAULT
        pairs = tuple(pair for pair in taken if pair[1].name == default) or taken[:1]
    elif "auto" not in (law, interaction):
        pairs = ((laws[0], INTERACTIONS.member(interaction)),)
    else:
        pairs = agreeing_pairs(laws, None if interaction == "auto" else (INTERACTIONS.member(interaction),))
        if interaction == "auto" and unseen:
            pairs = tuple(pair for pair in pairs if not pair[1].shut_without_own_data)
    forms = tuple(Form(*pair, one) for pair in pairs for one in uses_of(pair[1], use, supplied))
    if "auto" not in (law, interaction, use):
        derive(*forms[0])  # refuses what does not go together
    return tuple(form for form in forms if sized or law != "auto" or not derive(*form).uses_model_size)


def uses_of(interaction: Interaction, use: UseLike | None, supplied: bool) -> tuple[Use, ...]:
    """Return the uses that an interaction is tried with; one that counts repetition itself goes with `once`."""
    # Two supplies in one form would discount the same repeats twice.
    itself = any(p.name == SUPPLY for p in interaction.parameters)
    if use == "auto":
        return tuple(USES.values()) if supplied and not itself else (ONCE,)
    if use is None:
        return (USES["diluting"] if supplied and not itself else ONCE,)
    return (USES.member(use),)


@check_arguments
def cross_validate(
    pilots: PilotsLike,
    law: LawLike,
    interactions: Sequence[InteractionLike] | None = None,
    *,
    folds: int = FOLDS,
    seed: Seed = 0,
    progress: Progress | None = None,
) -> tuple[Interaction, tuple[Score, ...]]:
    """Return the interaction to use with a law, and every form's score, best first; see :func:`choose_form`.

    Parameters
    ----------
    pilots : PilotRuns, pandas.DataFrame or path
    law : Law or str
    interactions : sequence of Interaction or str
        The candidates; by default all whose z the law takes.
    """
    law = LAWS.member(law)
    if interactions is not None and not interactions:
        raise InputError("there are no interactions to compare; name one or more, or leave them out for all")
    pairs = agreeing_pairs([law]) if interactions is None else [(law, INTERACTIONS.member(i)) for i in interactions]
    forms = [Form(*pair) for pair in pairs]
    chosen, scores = choose_form(as_pilots(pilots), forms, folds=folds, seed=seed, progress=progress)
    return chosen.interaction, scores


def choose_form(
    pilots: PilotRuns,
    forms: Sequence[Form],
    *,
    folds: int = FOLDS,
    seed: Seed = 0,
    fixed: Fixed | None = None,
    progress: Progress | None = None,
) -> tuple[Form, tuple[Score, ...]]:
    """Return the form to use, and every form's score, best first.

    Runs are dealt into folds by a seeded permutation, those of one mixture, budget and size (they differ in their
    seed) into the same one; each fold is predicted by a fit to the others. The least error wins, unless a form
    with fewer parameters ties with it. A form that cannot be fitted to the runs is skipped; its score says why.
    Beside that, the runs of the largest scale are predicted by a fit to the smaller ones, and for the form that is
    chosen whole mixtures are held out (all budgets, seeds and checkpoints of one in one fold), and regions of the
    simplex (the runs in which one source has the largest ratio); that chooses nothing.

    Parameters
    ----------
    pilots : PilotRuns
    forms : sequence of Form
        The candidates.
    folds : int
        At most the number of different runs.
    seed : int
        Of the permutation.
    fixed : mapping, optional
        Known parameters, as of :func:`fit`; each form takes those that it has.
    progress : callable, optional
        Called with the numbers of fits done and to do.

    Raises
    ------
    InputError
        Where there are fewer than two different runs, or no candidate can be fitted.
    """
    check_known(pilots, forms, fixed or {})
    split, largest = _parts(folds_of(pilots, folds, seed)), _largest_scale(pilots)
    steps = len(split) + (largest is not None)
    scores, errors = [], []
    for number, form in enumerate(forms):
        known = known_to(form, fixed or {})
        advance = _counted(progress, number * steps, len(forms) * steps)
        held_out, refused = _held_out(pilots, form, known, split, advance)
        by_scale = None
        if largest is not None and not refused:
            by_scale = _error(pilots, _held_out(pilots, form, known, [largest])[0], largest)
            advance(steps)
        # Kept per loss: ties are judged by paired differences.
        errors.append(np.abs(held_out - pilots.losses))
        scores.append(_score(pilots, form, known, held_out, refused, by_scale))
    best = _chosen(pilots, scores, errors)
    by_mixture, by_region = (
        _error(pilots, _held_out(pilots, forms[best], known_to(forms[best], fixed or {}), _parts(part))[0])
        for part in (dealt(pilots.mixtures, folds, seed), pilots.ratios.argmax(axis=1))
    )
    scores[best] = replace(scores[best], by_mixture=by_mixture, by_region=by_region)
    return forms[best], tuple(sorted(scores, key=lambda score: score.mae))


def _parts(part: NDArray[np.intp]) -> list[Mask]:
    """Return which runs are in each part, from the number of its part by run, (n,); nothing where there is one part."""
    numbers = np.unique(part)
    return [part == number for number in numbers] if len(numbers) > 1 else []


def _held_out(
    pilots: PilotRuns,
    form: Form,
    known: Fixed,
    parts: Sequence[Mask],
    advance: Callable[[int], None] = lambda done: None,
) -> tuple[Array, str | None]:
    """Return the losses of each part of the runs, predicted by a fit to the others, (n, T); NaN where there is none.

    The first part that the form cannot be fitted without ends them, and its reason is returned too.
    """
    predicted = np.full(pilots.losses.shape, np.nan)
    for done, part in enumerate(parts, 1):
        try:
            model = estimate(pilots.select(~part), *form, n_starts=1, fixed=known).model
        except InputError as error:
            return predicted, str(error)
        predicted[part] = predictions(model, pilots.select(part))
        advance(done)
    return predicted, None


def _error(pilots: PilotRuns, predicted: Array, among: Mask | slice = slice(None)) -> float | None:
    """Return the mean absolute error of some runs; None where nothing is judged, or something is not predicted."""
    judged = trained(pilots, pilots.targets, pilots.sources)[among]
    errors = np.abs(predicted - pilots.losses)[among][judged]
    return float(errors.mean()) if errors.size and np.isfinite(errors).all() else None


def _counted(progress: Progress | None, done: int, total: int) -> Callable[[int], None]:
    """Return what reports the fits of one form, after those `done` for the forms before it."""
    return (lambda n: None) if progress is None else (lambda n: progress(done + n, total))


def check_known(pilots: PilotRuns, forms: Sequence[Form], fixed: Fixed) -> None:
    """Refuse a known parameter that no form has, and one of a language that no run has."""
    declared = dict.fromkeys(p.name for form in forms for p in form.parameters)
    refuse_unknown("parameter of the forms that are tried", fixed, declared)
    for name, values in fixed.items():
        refuse_unknown(f"language with a known '{name}'", values, pilots.languages)


def known_to(form: Form, fixed: Fixed) -> Fixed:
    """Return those of some known parameters that a form has."""
    names = {p.name for p in form.parameters}
    return {name: values for name, values in fixed.items() if name in names}


def _largest_scale(pilots: PilotRuns) -> Mask | None:
    """Return the runs of the largest model size, or of the largest budget where all sizes are the same; (n,)."""
    scales = [scale for scale in (pilots.params, pilots.tokens) if scale is not None and np.ptp(scale) > 0]
    return np.asarray(scales[0] == scales[0].max()) if scales else None


def folds_of(pilots: PilotRuns, folds: int = FOLDS, seed: Seed = 0) -> NDArray[np.intp]:
    """Return each run's fold, (n,): dealt by a seeded permutation, replicates into the same one.

    Raises
    ------
    InputError
        Where there are fewer than two different runs.
    """
    group = pilots.replicates
    if min(folds, int(group.max()) + 1) < 2:
        raise InputError("cross-validation needs at least two runs that differ in more than their seed")
    return dealt(group, folds, seed)


def dealt(group: NDArray[np.intp], folds: int, seed: int) -> NDArray[np.intp]:
    """Return each run's fold, (n,): its group, (n,), dealt by a seeded permutation."""
    n = int(group.max()) + 1
    # A permutation modulo the number of folds: sizes differ by one group at most.
    return np.asarray((np.random.default_rng(seed).permutation(n) % min(folds, n))[group])


def _score(
    pilots: PilotRuns, form: Form, known: Fixed, held_out: Array, refused: str | None, by_scale: float | None
) -> Score:
    """Return the score of held-out predictions; one outside the law's domain counts as infinitely wrong."""
    judged = trained(pilots, pilots.targets, pilots.sources)
    inside = ~np.isnan(held_out)
    errors = prediction_errors(np.where(inside, held_out, np.inf), pilots.losses, judged, inside)
    n_targets, n_sources = len(pilots.targets), len(pilots.sources)
    return Score(
        form.law.name,
        form.interaction.name,
        errors.mae,
        errors.mre,
        _spearman(pilots, held_out, judged & inside),
        errors.zero_shot_mae,
        sum(math.prod(p.axes(n_targets, n_sources)) for p in form.parameters) - sum(map(len, known.values())),
        refused,
        by_scale,
        form.use.name,
    )


def _spearman(pilots: PilotRuns, predicted: Array, judged: Mask) -> float:
    """Return the mean over targets of the rank correlation; NaN where none has three losses that differ."""
    from scipy.stats import spearmanr  # here: scipy.stats is slow to load, and only scores need it

    pairs = [(predicted[of, i], pilots.losses[of, i]) for i, of in enumerate(judged.T)]
    ranks = [
        spearmanr(*pair).statistic for pair in pairs if len(pair[0]) > 2 and all(np.ptp(values) > 0 for values in pair)
    ]
    return float(np.mean(ranks)) if ranks else float("nan")


def _chosen(pilots: PilotRuns, scores: Sequence[Score], errors: Sequence[Array]) -> int:
    """Return the place of the best form, or of a simpler one that ties with it (paired over different runs)."""
    places = range(len(scores))
    best = min(places, key=lambda k: scores[k].mae)
    if not np.isfinite(scores[best].mae):
        reasons = [score.refused for score in scores if score.refused]
        raise InputError(
            reasons[0]
            if len(reasons) == len(scores)
            else "no form predicts the held-out runs inside the law's domain; add runs"
        )
    judged, group = trained(pilots, pilots.targets, pilots.sources), pilots.replicates
    for k in sorted(places, key=lambda k: scores[k].n_parameters):
        # Paired over runs: what is hard to predict in a run is hard for both forms, and cancels.
        difference = np.where(judged, errors[k] - errors[best], 0.0)
        per_run = difference.sum(axis=1) / np.maximum(judged.sum(axis=1), 1)
        # Replicates are one observation, or the standard error would be too small.
        each = np.bincount(group, per_run) / np.bincount(group)
        if np.isfinite(each).all() and each.mean() <= TIE * each.std(ddof=1) / np.sqrt(len(each)):
            return k
    return best
