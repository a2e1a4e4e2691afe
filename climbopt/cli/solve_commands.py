"""The subcommands that answer one problem: solve, certify and compare."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace
from json import dumps
from pathlib import Path
from typing import Annotated

import typer

import climbopt
from climbopt.cli.arguments import (
    BACKEND,
    DRAWS,
    GAP,
    JOBS,
    JSON,
    PROBLEM,
    RIGOR,
    TOLERANCE,
    effort,
    names,
    option_value,
    pair,
    quantity,
)
from climbopt.cli.streams import bounding, check_places, console, progress, report, solvers_on_standard_error
from climbopt.foundations.errors import InputError
from climbopt.foundations.processes import MOST_JOBS
from climbopt.foundations.quantities import NUMBER, RATIO, TOKENS


@dataclass(frozen=True)
class SolverOptions:
    """How a problem is solved, and what is stated of its answer: the options of these names."""

    backend: BACKEND = None
    tolerance: TOLERANCE = 1e-6
    max_iterations: Annotated[int | None, typer.Option(help="Of the solver.")] = None
    time_limit: Annotated[
        float | None,
        typer.Option(
            parser=quantity("--time-limit", NUMBER),
            metavar="SECONDS",
            help="Seconds for one solve, and for the global bound.",
        ),
    ] = None
    option: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="The solver's own option; may be repeated.")
    ] = None
    ranges: Annotated[
        float | None,
        typer.Option(
            parser=quantity("--ranges", RATIO),
            metavar="SHARE",
            help="Also how far each ratio can go while the objective stays within a share of the optimum: 0.1% or "
            "0.001. For joint.",
        ),
    ] = None
    jobs: Annotated[
        int | None, typer.Option(min=1, max=MOST_JOBS, help="Processes for --ranges, --robust and --certify global.")
    ] = None
    draws: DRAWS = None
    json: JSON = None

    @property
    def typed(self) -> climbopt.Options:
        """Options of the backend; the value of KEY=VALUE is read as a number, true or false, or text."""
        pairs = [pair("--option", text, "KEY=VALUE", "print_level=5") for text in self.option or []]
        return climbopt.Options(
            self.tolerance,
            self.max_iterations,
            self.time_limit,
            {key: option_value(value) for key, value in pairs},
        )


def solve(
    problem: PROBLEM,
    procedure: Annotated[
        str | None, typer.Option(metavar="NAME", help="Instead of the problem's own: joint, two_step, or a baseline.")
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(
            parser=quantity("--budget", TOKENS),
            metavar="TOKENS",
            help="Instead of the problem's own, such as 1e12 or 1T.",
        ),
    ] = None,
    *,
    stated: SolverOptions,
    certify: Annotated[
        str, typer.Option(metavar="local|global", help="global: also a bound against every mixture.")
    ] = "local",
    gap: GAP = 1e-6,
    rigor: RIGOR = "float",
    robust: Annotated[
        str | None,
        typer.Option(
            metavar="mean|cvar[:LEVEL]",
            help="Instead of the least loss: the least mean, or tail mean, of regret over draws of the model.",
        ),
    ] = None,
) -> None:
    """Solve a problem and certify the answer."""
    from climbopt.files import files_of, find_problem
    from climbopt.procedures.result import resolve

    check_places(files_of(find_problem(problem)), stated.json)
    if stated.backend is not None:
        # Refuses an unknown name before the problem is loaded.
        climbopt.BACKENDS[stated.backend]
    options = stated.typed
    loaded, method = resolve(problem, procedure)
    if budget is not None:
        loaded = replace(loaded, budget=budget)
    joint = isinstance(method, climbopt.Joint)
    if stated.ranges is not None and not joint:
        raise InputError("--ranges is for the procedure joint; add --procedure joint")
    if certify not in ("local", "global"):
        raise InputError(f"--certify is '{certify}'; it is local or global")
    if robust is not None and (certify == "global" or not joint):
        raise InputError("--robust is for the procedure joint, without --certify global")
    # Without --robust only draws that the model names count: a stray file must not change the assessment.
    stated = replace(stated, draws=stated.draws or _draws_beside(problem, loaded, named=robust is None))
    bound = effort(gap, 60.0 if stated.time_limit is None else stated.time_limit, rigor, stated.jobs or 1)
    passed = (
        _solve(loaded, method, stated, options, bound if certify == "global" else None)
        if robust is None
        else _solve_robust(loaded, stated, options, robust)
    )
    raise typer.Exit(0 if passed else 1)


def _solve(
    problem: climbopt.AllocationProblem,
    procedure: climbopt.Procedure,
    stated: SolverOptions,
    options: climbopt.Options,
    bound: climbopt.Effort | None,
) -> bool:
    """Answer a problem, with a global bound where there is an effort for one; returns whether the answer stands."""
    from climbopt.procedures.optimum import certify_globally
    from climbopt.reports.results import print_result, ranges_json, result_json
    from climbopt.uncertainty.assessment import assessed

    near = None
    with solvers_on_standard_error(stated.json):
        with nullcontext() if bound is None else bounding() as follow:
            result = climbopt.solve(problem, procedure, backend=stated.backend, options=options)
            if bound is not None:
                result = certify_globally(result, bound, follow)
        if stated.ranges is not None and result.passed:
            with progress("ranges") as count:
                near = climbopt.ranges(result, stated.ranges, options=options, jobs=stated.jobs, progress=count)
        assessment = assessed(result, stated.draws)
        record = result_json(result, assessment) | ranges_json(near)  # here, since the gap to two_step takes a solve
    report(stated.json, record, lambda to: print_result(result, to, near, assessment))
    return result.passed and (assessment is None or assessment.doubt is None)


def _solve_robust(
    problem: climbopt.AllocationProblem, stated: SolverOptions, options: climbopt.Options, measure: str
) -> bool:
    """Answer a problem by its least regret over draws; returns whether the answer stands."""
    from climbopt.reports.results import print_result, print_robust, ranges_json, robust_json

    if stated.draws is None:
        raise InputError(
            "there are no draws beside the problem's model; make them by climbopt fit PILOTS "
            "--bootstrap 1000 -o MODEL.toml, or name a file by --draws"
        )
    near, backend, jobs = None, stated.backend, stated.jobs
    with solvers_on_standard_error(stated.json):
        with progress("draws") as count:
            answer = climbopt.robust(
                problem, stated.draws, measure, backend=backend, options=options, jobs=jobs or 1, progress=count
            )
        if stated.ranges is not None and answer.result.passed:
            with progress("ranges") as count:
                near = climbopt.robust_ranges(answer, stated.ranges, options=options, jobs=jobs, progress=count)

    report(
        stated.json,
        robust_json(answer) | ranges_json(near),
        lambda to: print_result(answer.result, to, near, answer.assessment),
        lambda to: print_robust(answer, to),
    )
    return answer.result.passed and answer.assessment.doubt is None


def _draws_beside(problem: str, loaded: climbopt.AllocationProblem, *, named: bool) -> Path | None:
    """Return the draws beside a problem's model, of those that its file names, or of any."""
    from climbopt.files import draws_beside, files_of, find_problem
    from climbopt.model.ensemble import Stacked

    # Each path with the draws beside it; those that the model names were made with it.
    places = map(draws_beside, files_of(find_problem(problem)))
    made = None if isinstance(loaded.model, Stacked) else loaded.model.provenance.get("draws")
    return next((path for path in places if path.exists() and (made == path.name or not named)), None)


def certify(
    problem: PROBLEM,
    ratios: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="JSON from language to ratio, or that of solve --json, or CSV of language, ratio; without it the "
            "problem is solved.",
        ),
    ] = None,
    gap: GAP = 1e-6,
    time_limit: Annotated[
        float,
        typer.Option(parser=quantity("--time-limit", NUMBER), metavar="SECONDS", help="Seconds for the global bound."),
    ] = 60.0,
    rigor: RIGOR = "float",
    jobs: JOBS = 1,
    tolerance: TOLERANCE = 1e-6,
    proof: Annotated[
        Path | None, typer.Option(metavar="FILE", help="With --rigor ball: write what climbopt verify checks, as JSON.")
    ] = None,
    json: JSON = None,
) -> None:
    """Say what can be proved of ratios, judged against every mixture."""
    from climbopt.files import files_of, find_problem
    from climbopt.reports.results import print_result, result_json

    check_places([*files_of(find_problem(problem)), *([] if ratios is None else [ratios])], json, proof)
    bound = effort(gap, time_limit, rigor, jobs)
    if proof is not None and rigor != "ball":
        raise InputError("--proof is for --rigor ball")
    with solvers_on_standard_error(json), bounding() as follow:
        result = climbopt.certify(problem, ratios, tolerance=tolerance, effort=bound, progress=follow)
        record = result_json(result)
    if proof is not None:
        _write_proof(proof, result)
    report(json, record, lambda to: print_result(result, to))
    raise typer.Exit(0 if result.passed else 1)


def _write_proof(path: Path, result: climbopt.Result) -> None:
    """Write what shows the lower bound of a result."""
    from climbopt.files.text import write_text

    if result.two_step is not None:
        raise InputError('--proof is of the joint problem, not of a step of two_step; set procedure = "joint"')
    # Without an answer there is no certificate, and without a search no proof.
    bound = None if result.allocation is None else result.certificate.bound
    if bound is None or bound.search is None or bound.search.proof is None:
        raise InputError("no lower bound was proved, so that no proof is written; allow more time or a wider gap")
    write_text(path, dumps(bound.search.proof))


def verify(
    problem: PROBLEM, proof: Annotated[Path, typer.Argument(metavar="PROOF", help="What certify --proof wrote.")]
) -> None:
    """Check the proof of a lower bound: every bound in it is computed anew from the problem."""
    from climbopt.certification.proof.check import ProofError, check
    from climbopt.files.text import read_json
    from climbopt.program import joint_form
    from climbopt.reports.typesetting import say

    try:
        lower, boxes = check(
            joint_form(climbopt.load_problem(problem)), read_json(proof, "write one by climbopt certify --proof")
        )
    except ProofError as error:
        say(console(), f"not proved: {error}")
        raise typer.Exit(1) from None
    many = "1 box" if boxes == 1 else f"{boxes} boxes"
    say(console(), f"proved: no mixture that meets the constraints is below {lower!r}; {many}")


def compare(
    problems: Annotated[
        list[str], typer.Argument(metavar="PROBLEM...", help="Problem files, or names of shipped ones.")
    ],
    backends: Annotated[
        str, typer.Option(metavar="NAMES", help="Names with commas between them, or all that are available.")
    ] = "all",
    procedures: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Names with commas between them; each problem's own by default.")
    ] = None,
    repeat: Annotated[int, typer.Option(help="Solves to time.")] = 1,
    time_limit: Annotated[
        float,
        typer.Option(parser=quantity("--time-limit", NUMBER), metavar="SECONDS", help="Seconds for one solve."),
    ] = 60.0,
    memory_limit: Annotated[
        float,
        typer.Option(parser=quantity("--memory-limit", NUMBER), metavar="GB", help="GB of address space for one run."),
    ] = 8.0,
    tolerance: TOLERANCE = 1e-6,
    json: JSON = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write one HTML page.")] = None,
) -> None:
    """Solve problems by several backends and judge them alike.

    Each runs in a process of its own, and each answer is judged by the same certificate.
    """
    from climbopt.files import files_of, find_problem, write_text
    from climbopt.reports.comparisons import comparison_html, comparison_json, print_comparison

    check_places([path for problem in problems for path in files_of(find_problem(problem))], json, html)
    with progress("compare") as count:
        comparison = climbopt.compare(
            problems,
            backends=None if backends == "all" else names("--backends", backends),
            procedures=None if procedures is None else names("--procedures", procedures),
            repeat=repeat,
            time_limit=time_limit,
            memory_limit=memory_limit * 1e9,
            options=climbopt.Options(tolerance),
            progress=count,
        )
    if html is not None:
        write_text(html, comparison_html(comparison))
    report(json, comparison_json(comparison), lambda to: print_comparison(comparison, to))
    raise typer.Exit(0 if comparison.certified else 1)
