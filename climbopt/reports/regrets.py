"""An allocation of least regret over draws: as JSON values and as text."""

from __future__ import annotations

from rich.console import Console

from climbopt.reports.assessments import advantage_json
from climbopt.reports.json_values import Value
from climbopt.reports.results import result_json
from climbopt.reports.typesetting import TextTable, say
from climbopt.uncertainty.robust import Robust


def robust_json(robust: Robust) -> dict[str, Value]:
    """Return a robust allocation as JSON values: those of its result, and more."""
    measure, confidence = robust.measure, robust.confidence
    return result_json(robust.result, robust.assessment) | {
        "probability_better_than": {
            baseline.name: advantage_json(baseline.advantage)
            for baseline in robust.assessment.baselines
            if baseline.advantage is not None
        },
        "robust": {
            "measure": measure.kind,
            "level": measure.level if measure.kind == "cvar" else None,
            "draws": len(robust.regrets.draws),
            "unsettled": list(robust.regrets.unsettled),
            "regret": measure.of(robust.regret),
            "regret_of_joint": measure.of(robust.plug_in_regret),
            "joint_ratios": robust.plug_in.ratios,
            "optimum_quantiles": {name: list(values) for name, values in robust.optimum_quantiles().items()},
            "confidence_set": {
                "level": confidence.level,
                "ranges": {name: list(ends) for name, ends in confidence.ranges.items()},
                "share_of_optima": confidence.share_of_optima,
                "sample": [dict(zip(confidence.ranges, row, strict=True)) for row in confidence.sample.tolist()],
            },
            "seconds": robust.seconds,
        },
    }


def print_robust(robust: Robust, console: Console) -> None:
    """Print the answer beside the optimum's distribution and the confidence set, and its regret."""
    measure, confidence, n = robust.measure, robust.confidence, len(robust.regrets.draws)
    joint, ratios = robust.plug_in.ratios, robust.result.ratios
    heads = "language", "robust", "joint", "optimum 5 to 95 %", f"not worse at {100 * confidence.level:.0f} %"
    table = TextTable(f"ratios in % over {n} draws", heads)
    for name, (low, _, high) in robust.optimum_quantiles().items():
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
        f"regret, {kind}: {measure.of(robust.regret):.6f} nats; of the joint answer "
        f"{measure.of(robust.plug_in_regret):.6f}",
    )
    if robust.regrets.unsettled:
        say(console, f"WARNING: {len(robust.regrets.unsettled)} draws were not solved to the end")
    say(console, f"{robust.seconds:.2f} s")
