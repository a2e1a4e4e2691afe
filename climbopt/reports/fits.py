"""A fit and its predictions: as JSON values, and as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console

from climbopt.fitting.accuracy import Errors
from climbopt.fitting.estimate import Fit
from climbopt.foundations.errors import listed
from climbopt.reports.json_values import Value, parameters_json, values_json
from climbopt.reports.typesetting import MOST_ROWS, new_table, number, say, tokens
from climbopt.uncertainty.covariance import covariance

if TYPE_CHECKING:
    import pandas as pd


def fit_json(fitted: Fit) -> dict[str, Value]:
    """Return a fit as JSON values; a standard error is null where the parameter is at a bound."""
    return {
        "format": "climbopt fit 1",
        "law": fitted.model.law.name,
        "interaction": fitted.model.interaction.name,
        "use": fitted.model.use.name,
        "n_runs": fitted.n_runs,
        "n_losses": fitted.n_losses,
        "n_missing": fitted.n_missing,
        "token_unit": fitted.model.token_unit,
        "parameters": parameters_json(fitted.model),
        "stderr": values_json(fitted.model, covariance(fitted).parameter_errors()),
        "stderr_from": "covariance",
        "mae": fitted.overall.mae,
        "mre": fitted.overall.mre,
        "r2": fitted.overall.r2,
        "zero_shot_mae": fitted.overall.zero_shot_mae,
        "by_language": {
            name: {"mae": errors.mae, "mre": errors.mre, "r2": errors.r2, "zero_shot_mae": errors.zero_shot_mae}
            for name, errors in fitted.errors.items()
        },
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


def print_fit(fitted: Fit, console: Console) -> None:
    """Print a fit: errors by language, what is at a bound, what the runs do not show, and the cross-validation."""
    if fitted.scores:
        table = new_table(
            "cross-validation over whole runs",
            "law",
            "interaction",
            "use",
            "mae",
            "mre %",
            "spearman",
            "zero-shot mae",
            "by-scale mae",
        )
        refused = [score for score in fitted.scores if score.refused]
        for score in fitted.scores:
            if score not in refused:
                table.add_row(
                    score.law,
                    score.interaction,
                    score.use,
                    f"{score.mae:.5f}",
                    f"{100 * score.mre:.3f}",
                    number(score.spearman, ".4f"),
                    number(score.zero_shot_mae, ".4f"),
                    number(score.by_scale, ".4f"),
                )
        console.print(table)
        for score in refused:
            say(console, f"{score.label} cannot be fitted: {score.refused}")
        console.print()
    model = fitted.model
    table = new_table(
        f"{model.label}: {fitted.n_losses} losses of {fitted.n_runs} runs",
        "language",
        "mae",
        "mre %",
        "R2",
        "zero-shot mae",
    )
    for name, errors in (*fitted.errors.items(), ("all", fitted.overall)):
        table.add_row(
            name,
            number(errors.mae, ".5f"),
            number(100 * errors.mre, ".3f"),
            number(errors.r2, ".5f"),
            number(errors.zero_shot_mae, ".4f"),
        )
    console.print(table)
    for label, names in (("at a bound", fitted.at_bound), ("not identified by the runs", fitted.unidentified)):
        if names:
            more = f" and {len(names) - 8} more" if len(names) > 8 else ""
            say(console, f"{label}: {', '.join(names[:8])}{more}")
    if fitted.outliers:
        say(console, f"outlying runs: {listed(list(fitted.outliers))}")
    if fitted.left_out:
        say(console, fitted.left_out)
    say(console, f"{fitted.seconds:.2f} s")


def print_prediction(
    table: pd.DataFrame, errors: Errors | None, console: Console, *, listed: bool, outside: str | None = None
) -> None:
    """Print predictions, and how far they are from measured losses.

    Parameters
    ----------
    table : pandas.DataFrame
        With the column predicted.
    errors : Errors or None
    console : Console
    listed : bool
        Whether to list the rows; they may have gone to a file.
    outside : str, optional
        Where the budgets lie beside the pilots'.
    """
    missing = int(table["predicted"].isna().sum())
    if listed:
        rows = new_table("predicted losses", "run", "language", "ratio %", "tokens", "loss", "predicted", left=2)
        for row in table.head(MOST_ROWS).to_dict("records"):
            loss = row.get("loss")
            rows.add_row(
                str(row["run"]),
                str(row["language"]),
                f"{100 * float(row['ratio']):.3f}",
                tokens(float(row["tokens"])),
                number(None if loss is None else float(loss), ".5f"),
                number(float(row["predicted"]), ".5f"),
            )
        console.print(rows)
        if len(table) > MOST_ROWS:
            say(console, f"and {len(table) - MOST_ROWS} more rows; write them all with -o FILE.csv")
    say(
        console,
        f"{len(table)} rows, {missing} without a prediction (no target of the model, or z outside the law's domain)"
        if missing
        else f"{len(table)} rows predicted",
    )
    if outside is not None:
        say(console, outside)
    if errors is not None:
        zero_shot = "" if errors.zero_shot_mae is None else f"; at a ratio of 0: MAE {errors.zero_shot_mae:.5f}"
        say(
            console,
            f"MAE {number(errors.mae, '.5f')} nats, MRE {number(100 * errors.mre, '.3f')} %, "
            f"R2 {number(errors.r2, '.5f')}{zero_shot}",
        )
