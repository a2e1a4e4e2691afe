"""The subcommands from pilot runs to a decision: decide, and init, which writes the problem that it answers."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import climbopt
from climbopt.cli.arguments import FORCE, JOBS, JSON, SEED, pair, quantity
from climbopt.cli.fit_commands import FEATURES, POOL, priors_of, provenance, supplies_of
from climbopt.cli.pilot_options import MAP, SUPPLY, TABLE, TABLES, TableOptions, read_pilots, read_tables
from climbopt.cli.streams import check_places, progress, remark, report, solvers_on_standard_error
from climbopt.foundations.errors import InputError, refuse_unknown
from climbopt.foundations.quantities import PARAMS, RATIO, TOKENS

if TYPE_CHECKING:
    from climbopt.uncertainty.decision import DecisionKeywords

BUDGET = Annotated[
    float,
    typer.Option(parser=quantity("--budget", TOKENS), metavar="TOKENS", help="Of the planned run, such as 1e12 or 1T."),
]
FOLDER = Annotated[
    Path | None,
    typer.Option(
        "-o", "--output", metavar="FOLDER", help="Write problem, model, draws, answer, mixture, report and pictures."
    ),
]


@dataclass(frozen=True)
class TargetOptions:
    """What is stated of the planned run beside its budget: the options of these names."""

    supply: SUPPLY = None
    floor: Annotated[
        list[str] | None,
        typer.Option("--floor", metavar="LANGUAGE=RATIO", help="Least ratio of a language; may be repeated."),
    ] = None
    weights: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="How much each language's loss counts: CSV of language, weight; default: the others.",
        ),
    ] = None
    target_params: Annotated[
        float | None,
        typer.Option(
            parser=quantity("--target-params", PARAMS),
            metavar="SIZE",
            help="Size of the planned model, where the pilots differ in theirs.",
        ),
    ] = None

    @property
    def floors(self) -> dict[str, float]:
        """Least ratios by language."""
        ratios: dict[str, float] = {}
        for text in self.floor or []:
            # At the last sign: a name may hold one itself, a ratio not.
            language, ratio = pair("--floor", text, "LANGUAGE=RATIO", "sw=0.02", last=True)
            if language in ratios:
                raise InputError(f"--floor names '{language}' twice; keep one")
            ratios[language] = RATIO.read(ratio, f"--floor of '{language}'")
        return ratios

    @property
    def weight_by_target(self) -> dict[str, float]:
        """Weights of the file, by target; empty without one."""
        from climbopt.files import load_weights

        return {} if self.weights is None else load_weights(self.weights)


def decide(
    pilots: TABLES,
    *,
    budget: BUDGET,
    stated: TargetOptions,
    pool: POOL = False,
    features: FEATURES = None,
    layout: TableOptions,
    by_source: MAP = None,
    output: FOLDER = None,
    force: FORCE = False,
    bootstrap: Annotated[
        int | None,
        typer.Option(min=2, metavar="N", help="Draws of the ensemble that the answer is the mean over; 40 by default."),
    ] = None,
    seed: SEED = 0,
    jobs: JOBS = 1,
    json: JSON = None,
) -> None:
    """Decide on a mixture: fit the pilots, solve for the best ratios, certify them and weigh them up.

    The exit code is 0 for a decision; 1 where the answer is none, with the reason.
    """
    from climbopt.files import check_folder, find_pilots
    from climbopt.reports.decisions import decision_json, print_decision, runs_in_words, save_decision
    from climbopt.uncertainty.bootstrap import DRAWS

    places = list(map(find_pilots, pilots))
    inputs = [
        path
        for path in (*places, layout.losses, stated.supply, stated.weights, features, by_source)
        if path is not None
    ]
    check_places(inputs, json)
    if output is not None:
        check_folder(output, force=force)
    keywords: DecisionKeywords = {
        "supply": supplies_of(stated.supply),
        "weights": stated.weight_by_target,
        "constraints": [climbopt.Floor(stated.floors)] if stated.floors else [],
        "params": stated.target_params,
        "name": "decision" if output is None else output.resolve().name,
    }
    # Stated before the fit, which takes minutes: how the table was interpreted.
    read = read_tables(places, layout, by_source)
    remark(f"{', '.join(place.name for place in places)}: {runs_in_words(read.runs)}")
    origin = provenance(places, read.content, None)
    draws = {"n_draws": bootstrap or DRAWS, "seed": seed, "jobs": jobs}
    with solvers_on_standard_error(json):
        decision = climbopt.decide(
            read.runs, budget, **draws, pool=priors_of(pool, features), provenance=origin, progress=progress, **keywords
        )
        if output is not None:
            save_decision(decision, output, force=force, inputs=inputs)
        record = decision_json(decision)
    report(json, record, lambda to: print_decision(decision, to, output))
    raise typer.Exit(0 if decision.stands else 1)


def init(
    pilots: Annotated[Path, typer.Argument(metavar="PILOTS", help=TABLE)],
    *,
    budget: Annotated[
        float | None,
        typer.Option(
            parser=quantity("--budget", TOKENS),
            metavar="TOKENS",
            help="Of the planned run; by default that of the largest pilot, to be edited.",
        ),
    ] = None,
    stated: TargetOptions,
    layout: TableOptions,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="PROBLEM.toml", help="Write the problem.")] = Path(
        "problem.toml"
    ),
    force: FORCE = False,
) -> None:
    """Write a problem file with comments, to be edited, for the languages of pilot runs."""
    from climbopt.files import commented, find_pilots, write_text
    from climbopt.problem.allocation import OTHERS, check_weights

    pilots = find_pilots(pilots)
    check_places([pilots, layout.losses, stated.supply, stated.weights], None, output)
    # The file is meant to be edited: a second run must not undo that.
    if output.exists() and not force:
        raise InputError(f"{output} is there already; name another file, or add --force to replace it")
    runs = read_pilots(pilots, layout).runs
    numbers = {
        "floor": dict(climbopt.Floor(stated.floors).ratios) if stated.floors else {},
        "weights": stated.weight_by_target,
        "supply": supplies_of(stated.supply) or {},
    }
    known = {"floor": runs.sources, "supply": (*runs.sources, *runs.targets), "weights": (*runs.targets, OTHERS)}
    # Names are refused here, with the option that holds them; the file is read much later.
    for key, values in numbers.items():
        refuse_unknown(f"language with a {key.removesuffix('s')}", values, known[key])
    check_weights(numbers["weights"], runs.targets)
    table = {
        "model": "model.toml",
        "budget": float(runs.tokens.max()) if budget is None else budget,
        **({} if stated.target_params is None else {"params": stated.target_params}),
        "weights": numbers["weights"],
        # A problem's supplies are those of its sources; a target that is no source is never drawn.
        "supply": {language: value for language, value in numbers["supply"].items() if language in runs.sources},
        "constraints": [{"kind": "floor", "ratios": numbers["floor"]}] if numbers["floor"] else [],
    }
    write_text(output, commented(table, runs.sources, runs.targets))
    fit = ["climbopt", "fit", str(pilots), *([] if stated.supply is None else ["--supply", str(stated.supply)])]
    print(f"{output}: edit it, then")
    print(f"  {shlex.join([*fit, '-o', str(output.with_name('model.toml'))])}")
    print(f"  {shlex.join(['climbopt', 'solve', str(output)])}")
