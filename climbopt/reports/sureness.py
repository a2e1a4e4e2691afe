"""How sure a fit and an allocation are, as JSON and as text."""

from __future__ import annotations

import numpy as np
from rich.console import Console

from climbopt.reports.as_json import Value, values_json
from climbopt.reports.text import new_table, number, say
from climbopt.uncertainty.confidence import ConfidenceSet
from climbopt.uncertainty.covariance import KINDS
from climbopt.uncertainty.diagnosis import Diagnosis
from climbopt.uncertainty.robust import Robust

LISTED = 5
"""Missing runs that the text shows."""


def diagnosis_json(found: Diagnosis) -> dict[str, Value]:
    """Return how sure a fit is as JSON values."""
    bands = found.bands
    return {
        "draws": len(found.draws),
        "stderr": values_json(bands.uncertainty.fitted.model, found.standard_errors()),
        "stderr_from": "bootstrap",
        "noise": {
            name: dict(zip(KINDS, row, strict=True))
            for name, row in zip(bands.uncertainty.fitted.model.targets, bands.uncertainty.noise.tolist(), strict=True)
        },
        "bands": {
            "level": bands.level,
            "widths": dict(zip(KINDS, bands.widths.tolist(), strict=True)),
            "coverage_before_widening": dict(zip(KINDS, bands.coverage.tolist(), strict=True)),
        },
        "transfer": [
            {
                "target": one.target,
                "source": one.source,
                "estimate": one.estimate,
                "lower": one.lower,
                "upper": one.upper,
                "told_from_zero": one.told_from_zero,
            }
            for one in found.transfers
        ],
        "missing_runs": [
            {
                "languages": list(one.languages),
                "tokens": one.tokens,
                "reduction": one.reduction,
                "identifies": one.identifies,
            }
            for one in found.missing_runs
        ],
    }


def print_diagnosis(found: Diagnosis, console: Console) -> None:
    """Print noise and bands, the pairs whose transfer can be told from 0, and the most useful missing runs."""
    bands = found.bands
    console.print()
    table = new_table(
        f"noise about the model (nats) and {100 * bands.level:.0f} % bands",
        "losses",
        "noise, median",
        "half width / sd",
        "folds inside before %",
    )
    columns = KINDS, bands.uncertainty.noise.T, bands.widths, bands.coverage
    for name, noise, width, coverage in zip(*columns, strict=True):
        if np.isfinite(coverage):
            table.add_row(name, number(float(np.nanmedian(noise)), ".5f"), f"{width:.3f}", f"{100 * coverage:.1f}")
    console.print(table)
    told = [one for one in found.transfers if one.told_from_zero]
    say(
        console,
        f"transfer told from 0 over {len(found.draws)} draws: {len(told)} of {len(found.transfers)} pairs"
        + "".join(
            f"\n  {one.target} from {one.source}: {one.estimate:.3f} ({one.lower:.3f} to {one.upper:.3f})"
            for one in told
        ),
    )
    if found.missing_runs:
        say(
            console,
            "missing runs that would help most (fall of the predictions' mean variance):"
            + "".join(
                f"\n  {' + '.join(one.languages)} at {one.tokens:.4g} tokens: {100 * one.reduction:.1f} %"
                for one in found.missing_runs[:LISTED]
            ),
        )


def robust_json(found: Robust, confidence: ConfidenceSet) -> dict[str, Value]:
    """Return what a robust allocation adds to a result's JSON."""
    measure = found.measure
    return {
        "probability_better_than": {
            name: {"probability": one.probability, "gain": one.gain, "lower": one.lower, "upper": one.upper}
            for name, one in found.better_than.items()
        },
        "robust": {
            "measure": measure.kind,
            "level": measure.level if measure.kind == "cvar" else None,
            "draws": len(found.regrets.draws),
            "unsettled": list(found.regrets.unsettled),
            "regret": measure.of(found.regret),
            "regret_of_joint": measure.of(found.plug_in_regret),
            "joint_ratios": found.plug_in.ratios,
            "optimum_quantiles": {name: list(values) for name, values in found.optimum_quantiles().items()},
            "confidence_set": {
                "level": confidence.level,
                "ranges": {name: list(ends) for name, ends in confidence.ranges.items()},
                "share_of_optima": confidence.share_of_optima,
                "sample": [dict(zip(confidence.ranges, row, strict=True)) for row in confidence.sample.tolist()],
            },
            "seconds": found.seconds,
        },
    }


def print_robust(found: Robust, confidence: ConfidenceSet, console: Console) -> None:
    """Print the answer beside the optimum's distribution and the confidence set, its regret, and the baselines."""
    measure, n = found.measure, len(found.regrets.draws)
    joint, ratios = found.plug_in.ratios or {}, found.result.ratios or {}
    table = new_table(
        f"ratios in % over {n} draws",
        "language",
        "robust",
        "joint",
        "optimum 5 to 95 %",
        f"not worse at {100 * confidence.level:.0f} %",
    )
    for name, (low, _, high) in found.optimum_quantiles().items():
        ends = confidence.ranges[name]
        table.add_row(
            name,
            f"{100 * ratios[name]:.2f}",
            f"{100 * joint[name]:.2f}",
            f"{100 * low:.2f} to {100 * high:.2f}",
            f"{100 * ends[0]:.2f} to {100 * ends[1]:.2f}",
        )
    console.print()
    console.print(table)
    kind = "mean" if measure.kind == "mean" else f"mean of the worst {100 * (1 - measure.level):.3g} %"
    say(
        console,
        f"regret, {kind}: {measure.of(found.regret):.6f} nats; of the joint answer "
        f"{measure.of(found.plug_in_regret):.6f}",
    )
    for name, one in found.better_than.items():
        say(
            console,
            f"better than {name} with probability {one.probability:.3f}, by {one.gain:.5f} nats "
            f"({one.lower:.5f} to {one.upper:.5f})",
        )
    if found.regrets.unsettled:
        say(console, f"WARNING: {len(found.regrets.unsettled)} draws were not solved to the end")
    say(console, f"{found.seconds:.2f} s")
