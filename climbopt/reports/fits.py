"""A fit, its predictions, its uncertainty and its extension: as JSON values, and as tables."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any

import numpy as np
from rich.console import Console

from climbopt.files.models import ENSEMBLE, by_language
from climbopt.fitting.accuracy import Errors, Score
from climbopt.fitting.ensemble_fit import EnsembleFit
from climbopt.fitting.estimate import Fit
from climbopt.fitting.extension import Extension
from climbopt.fitting.prediction import ErrorGroup, PredictedTable
from climbopt.foundations.errors import listed
from climbopt.model.mixture import MixtureModel
from climbopt.model.noise import CLASSES
from climbopt.model.templates import Array
from climbopt.reports.extrapolation import fit_warnings
from climbopt.reports.typesetting import MOST_ROWS, Part, TextTable, number, say, table_of, tokens
from climbopt.reports.writers import Value
from climbopt.uncertainty.covariance import KINDS, covariance
from climbopt.uncertainty.diagnosis import Diagnosis

LISTED = 5
"""Missing runs that the text shows."""
ERRORS: dict[str, Callable[[Errors], str]] = {
    "mae": lambda errors: number(errors.mae, ".5f"),
    "mre %": lambda errors: number(100 * errors.mre, ".3f"),
    "R2": lambda errors: number(errors.r2, ".5f"),
    "zero-shot mae": lambda errors: number(errors.zero_shot_mae, ".4f"),
}
"""Columns of tables of errors."""
SCORES: dict[str, Callable[[Score], str]] = {
    "law": lambda score: score.law,
    "interaction": lambda score: score.interaction,
    "use": lambda score: score.use,
    "mae": lambda score: f"{score.mae:.5f}",
    "mre %": lambda score: f"{100 * score.mre:.3f}",
    "spearman": lambda score: number(score.spearman, ".4f"),
    "zero-shot mae": lambda score: number(score.zero_shot_mae, ".4f"),
    "by-scale mae": lambda score: number(score.by_scale, ".4f"),
}
"""Columns of the table of cross-validation."""
GROUPS: dict[str, Callable[[ErrorGroup], str]] = {
    "budget": lambda group: "outside the pilots'" if group.beyond else "as the pilots'",
    "ratio": lambda group: group.own,
    "losses": lambda group: str(group.n),
    "mae": lambda group: f"{group.mae:.4f}",
    "bias": lambda group: f"{group.bias:+.4f}",
    "in bands %": lambda group: f"{100 * group.n_inside / group.n:.0f}",
    "half width": lambda group: f"{group.half_width:.4f}",
}
"""Columns of the table of predictions by budget and ratio."""


def fit_json(fitted: Fit | EnsembleFit) -> dict[str, Value]:
    """Return a fit as JSON values; a standard error is null where the parameter is at a bound.

    That of an ensemble has the same keys for each of its forms, with their weights, under `forms`.
    """
    return _form_json(fitted) if isinstance(fitted, Fit) else _ensemble_json(fitted)


def _errors_json(fitted: Fit | EnsembleFit) -> dict[str, Value]:
    """Return the number of losses, the errors of the fit, and which priors stayed."""
    pooling = fitted.pooling
    return {
        "pooling": None
        if pooling is None
        else {"way": pooling.way, "held_out_mae": dict[str, Value](pooling.errors.items())},
        "n_runs": fitted.n_runs,
        "n_losses": fitted.n_losses,
        "n_missing": fitted.n_missing,
        "mae": fitted.overall.mae,
        "mre": fitted.overall.mre,
        "r2": fitted.overall.r2,
        "zero_shot_mae": fitted.overall.zero_shot_mae,
        "by_language": {
            name: {"mae": errors.mae, "mre": errors.mre, "r2": errors.r2, "zero_shot_mae": errors.zero_shot_mae}
            for name, errors in fitted.errors.items()
        },
    }


def _ensemble_json(fitted: EnsembleFit) -> dict[str, Value]:
    """Return the fit of an ensemble as JSON values."""
    forms = [{"weight": w, **_form_json(fit)} for w, fit in zip(fitted.model.weights, fitted.fits, strict=True)]
    targets, noise = fitted.model.targets, fitted.model.noise
    return {
        "format": "climbopt fit 1",
        "law": ENSEMBLE,
        "interaction": ENSEMBLE,
        **_errors_json(fitted),
        "forms": forms,
        "refused": dict(fitted.refused),
        "noise": None
        if noise is None
        else {
            target: dict(zip(CLASSES, row, strict=True))
            for target, row in zip(targets, noise.deviations.tolist(), strict=True)
        },
        "bands": None
        if noise is None
        else {"level": noise.level, "widths": dict(zip(CLASSES, noise.widths.tolist(), strict=True))},
        "outliers": list(fitted.outliers),
        "warnings": list(fitted.warnings),
        "seconds": fitted.seconds,
    }


def _form_json(fitted: Fit) -> dict[str, Value]:
    """Return the fit of one form as JSON values."""
    return {
        "format": "climbopt fit 1",
        "law": fitted.model.law.name,
        "interaction": fitted.model.interaction.name,
        "use": fitted.model.use.name,
        **_errors_json(fitted),
        "token_unit": fitted.model.token_unit,
        "parameters": _values_json(fitted.model, fitted.model.parameters),
        "stderr": _values_json(fitted.model, covariance(fitted).parameter_errors()),
        "stderr_from": "covariance",
        "cross_validation": [
            {
                "law": score.law,
                "interaction": score.interaction,
                "use": score.use,
                "mae": score.mae,
                "mre": score.mre,
                "spearman": score.spearman,
                "zero_shot_mae": score.zero_shot_mae,
                "by_scale_mae": score.by_scale,
                "by_mixture_mae": score.by_mixture,
                "by_region_mae": score.by_region,
                "refused": score.refused,
            }
            for score in fitted.scores
        ],
        "at_bound": list(fitted.at_bound),
        "unidentified": list(fitted.unidentified),
        "left_out": fitted.left_out,
        "above_ceiling": dict(fitted.above_ceiling),
        "outliers": list(fitted.outliers),
        "warnings": list(fitted.warnings),
        "seconds": fitted.seconds,
    }


def _values_json(model: MixtureModel, values: Mapping[str, Array]) -> dict[str, Value]:
    """Return arrays shaped as a model's parameters by name and language; pairs by target, then source."""
    return {p.name: by_language(model, p, values[p.name]) for p in model.templates.parameters}


def print_fit(fitted: Fit | EnsembleFit, console: Console) -> None:
    """Print a fit: errors by language, what is at a bound, what the runs do not show, and the cross-validation."""
    say(
        console,
        *(_form(fitted) if isinstance(fitted, Fit) else _ensemble(fitted)),
        None if fitted.pooling is None else fitted.pooling.words,
        f"{fitted.seconds:.2f} s",
    )


def _ensemble(fitted: EnsembleFit) -> Iterator[Part]:
    """Yield the fit of an ensemble as parts of a report: its forms, errors by language, and how wide its bands are."""
    rows = [
        [fit.model.label, f"{weight:.3f}", *(text(fit.overall) for text in ERRORS.values())]
        for weight, fit in zip(fitted.model.weights, fitted.fits, strict=True)
    ]
    yield TextTable("ensemble", ("form", "weight", *ERRORS), rows)
    yield from (f"{form} is left out: {reason}" for form, reason in fitted.refused.items())
    yield ""
    yield _errors_table("mean of the forms", fitted)
    noise = fitted.model.noise
    if noise is not None:
        # One number per class for reading: the median over targets.
        halves = noise.widths * np.median(noise.deviations, axis=0)
        words = (f"{name} {half:.4f}" for name, half in zip(CLASSES, halves.tolist(), strict=True))
        yield (
            f"{100 * noise.level:.0f} % bands hold a measured loss within (nats, without the spread of the forms, "
            f"by the target's own ratio): {', '.join(words)}"
        )


def _errors_table(name: str, fitted: Fit | EnsembleFit) -> TextTable:
    """Return the table of errors by language."""
    by_row = (*fitted.errors.items(), ("all", fitted.overall))
    rows = [[name, *(text(errors) for text in ERRORS.values())] for name, errors in by_row]
    title = f"{name}: {fitted.n_losses} losses of {fitted.n_runs} runs"
    return TextTable(title, ("language", *ERRORS), rows)


def _form(fitted: Fit) -> list[Part]:
    """Return the fit of one form as parts of a report."""
    # A form that cannot be fitted has no errors: its reason stands below the table.
    judged = [score for score in fitted.scores if not score.refused]
    compared = [
        table_of("cross-validation over whole runs", judged, SCORES),
        *(f"{score.label} cannot be fitted: {score.refused}" for score in fitted.scores if score.refused),
        *map(_harder_words, fitted.scores),
        "",
    ]
    doubtful = (
        ("at a bound", fitted.at_bound),
        ("not identified by the runs", fitted.unidentified),
        ("outlying runs", fitted.outliers),
    )
    return [
        *(compared if fitted.scores else []),
        _errors_table(fitted.model.label, fitted),
        *(f"{label}: {listed(list(names))}" for label, names in doubtful if names),
        fitted.left_out or None,
    ]


def _harder_words(score: Score) -> str | None:
    """Return the errors where more than runs is held out, since folds of runs share ratio levels with those fitted."""
    harder = (("whole mixtures", score.by_mixture), ("regions of the simplex", score.by_region))
    parts = [f"{name} {value:.4f}" for name, value in harder if value is not None]
    return f"{score.label}, mae where more is held out: {', '.join(parts)}" if parts else None


def print_prediction(predicted: PredictedTable, console: Console, *, listed: bool, outside: str | None = None) -> None:
    """Print predictions, and how far they are from measured losses.

    Parameters
    ----------
    predicted : PredictedTable
    console : Console
    listed : bool
        Whether to list the rows; they may have gone to a file.
    outside : str, optional
        Where the budgets lie beside the pilots'.
    """
    table, more = predicted.table, len(predicted.table) - MOST_ROWS
    missing = int(table["predicted"].isna().sum())
    columns: dict[str, Callable[[dict[Hashable, Any]], str]] = {
        "run": lambda row: str(row["run"]),
        "language": lambda row: str(row["language"]),
        "ratio %": lambda row: f"{100 * float(row['ratio']):.3f}",
        "tokens": lambda row: tokens(float(row["tokens"])),
        "loss": lambda row: number(None if row.get("loss") is None else float(row["loss"]), ".5f"),
        "predicted": lambda row: number(float(row["predicted"]), ".5f"),
        **({"band": lambda row: f"{row['lower']:.4f}–{row['upper']:.4f}"} if "lower" in table else {}),
    }
    say(
        console,
        table_of("predicted losses", table.head(MOST_ROWS).to_dict("records"), columns, left=2) if listed else None,
        f"and {more} more rows; write them all with -o FILE.csv" if listed and more > 0 else None,
        f"{len(table)} rows, {missing} without a prediction (no target of the model, or z outside the law's domain)"
        if missing
        else f"{len(table)} rows predicted",
        outside,
        *_judged(predicted),
    )


def _judged(predicted: PredictedTable) -> Iterator[Part]:
    """Yield how many stated losses lie inside their bands, and the errors, as parts of a report."""
    # Stated losses alone can be judged; the shares inside the bands are of these.
    if predicted.level is not None and predicted.n_judged:
        yield (
            f"{predicted.n_inside} of {predicted.n_judged} losses lie inside their {100 * predicted.level:.0f} % bands "
            f"({100 * predicted.n_inside / predicted.n_judged:.1f} %)"
        )
        yield table_of("predictions of the stated losses", predicted.groups, GROUPS, left=2)
    errors = predicted.errors
    if errors is not None:
        zero_shot = "" if errors.zero_shot_mae is None else f"; at a ratio of 0: MAE {errors.zero_shot_mae:.5f}"
        yield (
            f"MAE {number(errors.mae, '.5f')} nats, MRE {number(100 * errors.mre, '.3f')} %, "
            f"R2 {number(errors.r2, '.5f')}{zero_shot}"
        )


def diagnosis_json(diagnosis: Diagnosis, *, ensemble: bool = False) -> dict[str, Value]:
    """Return a fit and its uncertainty as JSON values; of an ensemble, the uncertainty of its form `of_form`."""
    bands, fitted = diagnosis.bands, diagnosis.bands.uncertainty.fitted
    evidence: dict[str, Value] = {
        "draws": len(diagnosis.draws),
        "transfer": [
            {
                "target": pair.target,
                "source": pair.source,
                "estimate": pair.estimate,
                "lower": pair.lower,
                "upper": pair.upper,
                "told_from_zero": pair.told_from_zero,
            }
            for pair in diagnosis.transfers
        ],
        "missing_runs": [
            {
                "languages": list(run.languages),
                "tokens": run.tokens,
                "reduction": run.reduction,
                "identifies": run.identifies,
            }
            for run in diagnosis.missing_runs
        ],
    }
    if ensemble:
        return {**evidence, "of_form": fitted.model.label}
    noise = zip(fitted.model.targets, bands.uncertainty.noise.tolist(), strict=True)
    return {
        **fit_json(fitted),
        "stderr": _values_json(fitted.model, diagnosis.standard_errors()),
        "stderr_from": "bootstrap",
        "noise": {name: dict(zip(KINDS, row, strict=True)) for name, row in noise},
        "bands": {
            "level": bands.level,
            "widths": dict(zip(KINDS, bands.widths.tolist(), strict=True)),
            "coverage_before_widening": dict(zip(KINDS, bands.coverage.tolist(), strict=True)),
        },
        **evidence,
    }


def print_diagnosis(diagnosis: Diagnosis, console: Console) -> None:
    """Print noise and bands, the pairs whose transfer is distinguishable from 0, and the most useful missing runs."""
    bands = diagnosis.bands
    # The coverage is NaN where no run is of the kind: there is nothing to state.
    table = table_of(
        f"{bands.uncertainty.fitted.model.label}: noise about the model (nats) and {100 * bands.level:.0f} % bands",
        np.flatnonzero(np.isfinite(bands.coverage)).tolist(),
        {
            "losses": lambda k: KINDS[k],
            "noise, median": lambda k: number(float(np.nanmedian(bands.uncertainty.noise[:, k])), ".5f"),
            "half width / sd": lambda k: f"{bands.widths[k]:.3f}",
            "folds inside before %": lambda k: f"{100 * bands.coverage[k]:.1f}",
        },
    )
    distinguishable = [pair for pair in diagnosis.transfers if pair.told_from_zero]
    say(
        console,
        "",
        table,
        f"transfer distinguishable from 0 over {len(diagnosis.draws)} draws: {len(distinguishable)} of "
        f"{len(diagnosis.transfers)} pairs",
        *(
            f"  {pair.target} from {pair.source}: {pair.estimate:.3f} ({pair.lower:.3f} to {pair.upper:.3f})"
            for pair in distinguishable
        ),
        "missing runs that would help most (fall of the predictions' mean variance):"
        if diagnosis.missing_runs
        else None,
        *(
            f"  {' + '.join(run.languages)} at {run.tokens:.4g} tokens: {100 * run.reduction:.1f} %"
            for run in diagnosis.missing_runs[:LISTED]
        ),
    )


def extension_json(extension: Extension) -> dict[str, Value]:
    """Return the languages, what features did, and the warnings that every answer repeats, as JSON values."""
    errors = extension.errors
    return {
        "format": "climbopt extension 1",
        "new": list(extension.new),
        "known": list(extension.known),
        "targets": [name for name in extension.new if name in extension.model.targets],
        "features": None if errors is None else {"stay": extension.features_stay, "held_out_mae": {**errors}},
        "n_draws": len(extension.draws),
        "warnings": list[Value](fit_warnings(extension.model)),
    }


def print_extension(extension: Extension, console: Console) -> None:
    """Print the same."""
    names, count = listed(list(extension.new), most=8), len(extension.known)
    alone = "" if extension.new[0] in extension.model.targets else ", as sources alone: no source is a target"
    say(
        console,
        f"{names}: like {count} known languages, in {len(extension.draws)} draws{alone}",
        extension.words or None,
    )
