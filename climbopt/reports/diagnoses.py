"""The uncertainty of a fit: noise, bands, transfer and missing runs, as JSON values and as text."""

from __future__ import annotations

import numpy as np
from rich.console import Console

from climbopt.reports.fits import fit_json
from climbopt.reports.json_values import Value, values_json
from climbopt.reports.typesetting import number, say, table_of
from climbopt.uncertainty.covariance import KINDS
from climbopt.uncertainty.diagnosis import Diagnosis

LISTED = 5
"""Missing runs that the text shows."""


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
        "stderr": values_json(fitted.model, diagnosis.standard_errors()),
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
    console.print()
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
    console.print(table)
    distinguishable = [pair for pair in diagnosis.transfers if pair.told_from_zero]
    say(
        console,
        f"transfer distinguishable from 0 over {len(diagnosis.draws)} draws: {len(distinguishable)} of "
        f"{len(diagnosis.transfers)} pairs"
        + "".join(
            f"\n  {pair.target} from {pair.source}: {pair.estimate:.3f} ({pair.lower:.3f} to {pair.upper:.3f})"
            for pair in distinguishable
        ),
    )
    if diagnosis.missing_runs:
        say(
            console,
            "missing runs that would help most (fall of the predictions' mean variance):"
            + "".join(
                f"\n  {' + '.join(run.languages)} at {run.tokens:.4g} tokens: {100 * run.reduction:.1f} %"
                for run in diagnosis.missing_runs[:LISTED]
            ),
        )
