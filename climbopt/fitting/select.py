"""Choosing a law and an interaction by cross-validation over whole runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from climbopt.files import PilotsLike, as_pilots
from climbopt.fitting.accuracy import Mask, Score, prediction_errors, trained
from climbopt.fitting.estimate import Fixed, Progress, estimate
from climbopt.foundations.errors import InputError, unknown_name
from climbopt.model.interactions import INTERACTIONS, Interaction
from climbopt.model.laws import LAWS, Law
from climbopt.model.templates import Array, Form, agreeing_pairs, derive
from climbopt.model.uses import ONCE, SUPPLY, USES, Use
from climbopt.runs.pilots import PilotRuns

DEFAULT, DEFAULT_UNSEEN = "gated", "overlap"
"""The interaction where none is named; and where a target is no source, for which the gate of `gated` is shut."""
FOLDS = 7
TIE = 1.0
"""Scores closer than this many standard errors of their paired difference are a tie, which the simpler form wins."""


def candidates(
    law: Law | str,
    interaction: Interaction | str | None,
    use: Use | str | None = None,
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
        return forms
    return tuple(form for form in forms if sized or law != "auto" or not derive(*form).uses_model_size)


def uses_of(interaction: Interaction, use: Use | str | None, supplied: bool) -> tuple[Use, ...]:
    """Return the uses that an interaction is tried with; one that counts repetition itself goes with `once`."""
    # Two supplies in one form would discount the same repeats twice.
    itself = any(p.name == SUPPLY for p in interaction.parameters)
    if use == "auto":
        return tuple(USES.values()) if supplied and not itself else (ONCE,)
    if use is None:
        return (USES["diluting"] if supplied and not itself else ONCE,)
    return (USES.member(use),)


def cross_validate(
    pilots: PilotsLike,
    law: Law | str,
    interactions: Sequence[Interaction | str] | None = None,
    *,
    folds: int = FOLDS,
    seed: int = 0,
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
    pairs = agreeing_pairs([law]) if interactions is None else [(law, INTERACTIONS.member(i)) for i in interactions]
    forms = [Form(*pair) for pair in pairs]
    chosen, scores = choose_form(as_pilots(pilots), forms, folds=folds, seed=seed, progress=progress)
    return chosen.interaction, scores


def choose_form(
    pilots: PilotRuns,
    forms: Sequence[Form],
    *,
    folds: int = FOLDS,
    seed: int = 0,
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
    split = _Split.of(pilots, folds, seed)
    errors: dict[str, Array] = {}
    scores: list[Score] = []
    for number, form in enumerate(forms):
        advance = _counted(progress, number * len(split), len(forms) * len(split))
        predictions = split.predicted(form, known_to(form, fixed or {}), advance)
        # Kept per loss: ties are judged by paired differences.
        errors[form.label] = np.abs(predictions.held_out - pilots.losses)
        scores.append(_score(split, form, predictions, known_to(form, fixed or {})))
    label = _chosen(pilots, scores, errors, pilots.replicates)
    chosen = next(form for form in forms if form.label == label)
    place = forms.index(chosen)
    known = known_to(chosen, fixed or {})
    scores[place] = replace(
        scores[place],
        by_mixture=_error_by_part(pilots, chosen, known, dealt(pilots.mixtures, folds, seed)),
        by_region=_error_by_part(pilots, chosen, known, pilots.ratios.argmax(axis=1)),
    )
    return chosen, tuple(sorted(scores, key=lambda score: score.mae))


def _error_by_part(pilots: PilotRuns, form: Form, known: Fixed, part: NDArray[np.intp]) -> float | None:
    """Return the mean absolute error where each part of the runs, (n,), is predicted by a fit to the others.

    None where there is one part, or one without which the form cannot be fitted, or predicts no number.
    """
    parts = np.unique(part)
    predicted = np.full(pilots.losses.shape, np.nan)
    try:
        for number in parts if len(parts) > 1 else ():
            predicted[part == number] = _predicted(pilots, form, part == number, known)
    except InputError:
        return None
    errors = np.abs(predicted - pilots.losses)[trained(pilots, pilots.targets, pilots.sources)]
    return float(errors.mean()) if np.isfinite(errors).all() else None


@dataclass(frozen=True, eq=False)
class _Predictions:
    """Losses of one form at runs that its fit has not seen, both (n, T), NaN where nothing is predicted.

    Parameters
    ----------
    held_out : ndarray
        Each fold, by a fit to the other folds.
    at_scale : ndarray
        The runs of the largest scale, by a fit to the smaller ones.
    refused : str or None
        Why the form could not be fitted without one of the folds.
    """

    held_out: Array
    at_scale: Array
    refused: str | None


@dataclass(frozen=True, eq=False)
class _Split:
    """Runs and the parts of them that are predicted by fits to the rest: the folds, and the largest scale.

    Parameters
    ----------
    pilots : PilotRuns
    folds : tuple of ndarray of bool, (n,)
    largest : ndarray of bool, (n,), or None
        None where all runs have one scale.
    """

    pilots: PilotRuns
    folds: tuple[Mask, ...]
    largest: Mask | None

    @classmethod
    def of(cls, pilots: PilotRuns, folds: int, seed: int) -> _Split:
        """Return the seeded split of some runs."""
        fold = folds_of(pilots, folds, seed)
        return cls(pilots, tuple(fold == k for k in range(int(fold.max()) + 1)), _largest_scale(pilots))

    def __len__(self) -> int:
        """Return the number of fits per form."""
        return len(self.folds) + (self.largest is not None)

    def predicted(self, form: Form, known: Fixed, advance: Callable[[int], None]) -> _Predictions:
        """Return the predictions of one form; the first fold that it cannot be fitted without ends them."""
        held_out, at_scale = np.full((2, *self.pilots.losses.shape), np.nan)
        for k, fold in enumerate(self.folds):
            try:
                held_out[fold] = _predicted(self.pilots, form, fold, known)
            except InputError as error:
                return _Predictions(held_out, at_scale, str(error))
            advance(k + 1)
        if self.largest is not None:
            with suppress(InputError):  # too few smaller runs: no error at scale
                at_scale[self.largest] = _predicted(self.pilots, form, self.largest, known)
            advance(len(self))
        return _Predictions(held_out, at_scale, None)


def _counted(progress: Progress | None, done: int, total: int) -> Callable[[int], None]:
    """Return what reports the fits of one form, after those `done` for the forms before it."""
    return (lambda n: None) if progress is None else (lambda n: progress(done + n, total))


def check_known(pilots: PilotRuns, forms: Sequence[Form], fixed: Fixed) -> None:
    """Refuse a known parameter that no form has, and one of a language that no run has."""
    declared = dict.fromkeys(p.name for form in forms for p in form.parameters)
    languages = dict.fromkeys(pilots.sources + pilots.targets)
    for name, values in fixed.items():
        if name not in declared:
            raise unknown_name("parameter of the forms that are tried", name, declared)
        for language in values:
            if language not in languages:
                raise unknown_name(f"language with a known '{name}'", language, languages)


def known_to(form: Form, fixed: Fixed) -> Fixed:
    """Return those of some known parameters that a form has."""
    names = {p.name for p in form.parameters}
    return {name: values for name, values in fixed.items() if name in names}


def _predicted(pilots: PilotRuns, form: Form, held_out: Mask, fixed: Fixed) -> Array:
    """Return the losses of runs, predicted by a fit to the others."""
    model = estimate(pilots.select(~held_out), *form, n_starts=1, fixed=fixed).model
    runs = pilots.select(held_out)
    response = model.at(runs.tokens, runs.params, runs.supply)
    return response.losses(response.z(runs.ratios))


def _largest_scale(pilots: PilotRuns) -> Mask | None:
    """Return the runs of the largest model size, or of the largest budget where all sizes are the same; (n,)."""
    for scale in (pilots.params, pilots.tokens):
        if scale is not None and np.ptp(scale) > 0:
            largest: Mask = scale == scale.max()
            return largest
    return None


def _by_scale(pilots: PilotRuns, predicted: Array, largest: Mask | None) -> float | None:
    """Return the mean absolute error at the largest scale; None where nothing is predicted there."""
    if largest is None:
        return None
    judged = trained(pilots, pilots.targets, pilots.sources) & largest[:, None]
    errors = np.abs(predicted - pilots.losses)[judged]
    return float(errors.mean()) if errors.size and np.isfinite(errors).all() else None


def folds_of(pilots: PilotRuns, folds: int = FOLDS, seed: int = 0) -> NDArray[np.intp]:
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
    fold: NDArray[np.intp] = (np.random.default_rng(seed).permutation(n) % min(folds, n))[group]
    return fold


def _score(split: _Split, form: Form, predictions: _Predictions, known: Fixed) -> Score:
    """Return the score of held-out predictions; one outside the law's domain counts as infinitely wrong."""
    pilots = split.pilots
    judged = trained(pilots, pilots.targets, pilots.sources)
    inside = ~np.isnan(predictions.held_out)
    errors = prediction_errors(np.where(inside, predictions.held_out, np.inf), pilots.losses, judged, inside)
    shapes = {
        "target": len(pilots.targets),
        "source": len(pilots.sources),
        "pair": len(pilots.targets) * len(pilots.sources),
    }
    return Score(
        form.law.name,
        form.interaction.name,
        errors.mae,
        errors.mre,
        _spearman(pilots, predictions.held_out, judged & inside),
        errors.zero_shot_mae,
        sum(shapes[p.per] for p in form.parameters) - sum(map(len, known.values())),
        predictions.refused,
        _by_scale(pilots, predictions.at_scale, split.largest),
        form.use.name,
    )


def _spearman(pilots: PilotRuns, predicted: Array, judged: Mask) -> float:
    """Return the mean over targets of the rank correlation; NaN where none has three losses that differ."""
    from scipy.stats import spearmanr  # here: scipy.stats is slow to load, and only scores need it

    ranks = []
    for i in range(len(pilots.targets)):
        pairs = predicted[judged[:, i], i], pilots.losses[judged[:, i], i]
        if len(pairs[0]) > 2 and all(np.ptp(values) > 0 for values in pairs):
            ranks.append(spearmanr(*pairs).statistic)
    return float(np.mean(ranks)) if ranks else float("nan")


def _chosen(pilots: PilotRuns, scores: list[Score], errors: dict[str, Array], group: NDArray[np.intp]) -> str:
    """Return the label of the best form, or of a simpler one that ties with it (paired over different runs)."""
    best = min(scores, key=lambda score: score.mae)
    if not np.isfinite(best.mae):
        reasons = [score.refused for score in scores if score.refused]
        raise InputError(
            reasons[0]
            if len(reasons) == len(scores)
            else "no form predicts the held-out runs inside the law's domain; add runs"
        )
    judged = trained(pilots, pilots.targets, pilots.sources)
    for score in sorted(scores, key=lambda score: score.n_parameters):
        # Paired over runs: what is hard to predict in a run is hard for both forms, and cancels.
        difference = np.where(judged, errors[score.label] - errors[best.label], 0.0)
        per_run = difference.sum(axis=1) / np.maximum(judged.sum(axis=1), 1)
        # Replicates are one observation, or the standard error would be too small.
        each = np.bincount(group, per_run) / np.bincount(group)
        if np.isfinite(each).all() and each.mean() <= TIE * each.std(ddof=1) / np.sqrt(len(each)):
            return score.label
    return best.label
