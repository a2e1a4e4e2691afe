"""The command line: one function a subcommand.

Exit code 0: answered and certified; 1: answered, not certified; 2: refused input or unavailable backend.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn, cast

import typer

from climbopt.cli.fit_commands import FITTING
from climbopt.cli.streams import (
    JSON,
    PROBLEM,
    bounding,
    check_places,
    console,
    progress,
    report,
    solvers_on_standard_error,
)
from climbopt.cli.study_commands import STUDIES
from climbopt.foundations.errors import ClimboptError, InputError

if TYPE_CHECKING:
    from rich.console import Console

    from climbopt.backends import Options, OptionValue
    from climbopt.problem.allocation import AllocationProblem
    from climbopt.procedures.optimum import Effort, Rigor

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Language mixtures for pretraining: fit pilot runs, solve for ratios, certify the answer.",
)

TOLERANCE = Annotated[float, typer.Option(help="Of the certificate's scaled residuals.")]
GAP = Annotated[float, typer.Option(help="Relative gap to the best of all mixtures that the global bound is to reach.")]
RIGOR = Annotated[str, typer.Option(help="Arithmetic of the global bound: float, or ball for a proof.")]


def main() -> None:
    """Run the command line; a refused input is one message and exit code 2, never a traceback."""
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except ClimboptError as error:
        print(f"climbopt: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        place = error.filename or "standard output"
        print(f"climbopt: cannot access {place}: {error.strerror or error}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is still in the buffer would fail again at exit
        sys.exit(2)
    except KeyboardInterrupt:
        print("climbopt: interrupted", file=sys.stderr)
        sys.exit(130)


for command in FITTING:
    app.command()(command)


@app.command()
def solve(
    problem: PROBLEM,
    procedure: Annotated[
        str | None, typer.Option(help="Instead of the problem's own: joint, two_step, or a baseline.")
    ] = None,
    backend: Annotated[str | None, typer.Option(help="Solver backend; see climbopt backends.")] = None,
    budget: Annotated[float | None, typer.Option(help="Tokens, instead of the problem's own.")] = None,
    tolerance: TOLERANCE = 1e-6,
    max_iterations: Annotated[int | None, typer.Option(help="Of the solver.")] = None,
    time_limit: Annotated[float | None, typer.Option(help="Seconds for one solve.")] = None,
    option: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="The solver's own option; may be repeated.")
    ] = None,
    ranges: Annotated[
        str | None,
        typer.Option(
            metavar="SHARE",
            help="Also how far each ratio can go while the "
            "objective stays within a share of the optimum: "
            "0.1% or 0.001. For joint.",
        ),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Processes for --ranges, --robust and --certify global.")
    ] = None,
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
    draws: Annotated[
        Path | None, typer.Option(metavar="FILE.jsonl", help="Draws for --robust; by default those beside the model.")
    ] = None,
    json: JSON = None,
) -> None:
    """Solve a problem and certify the answer."""
    from dataclasses import replace

    from climbopt.backends import BACKENDS
    from climbopt.files import files_of, find_problem, load_problem
    from climbopt.procedures.optimum import certify_globally
    from climbopt.procedures.result import solve as solve_problem
    from climbopt.reports.results import print_result, ranges_json, result_json
    from climbopt.studies.ranges import ranges as near_optimal

    check_places(files_of(find_problem(problem)), json)
    if backend is not None:
        BACKENDS[backend]
    options = _options(tolerance, max_iterations, time_limit, option or [])
    loaded = load_problem(problem)
    if budget is not None:
        loaded = replace(loaded, budget=budget)
    tolerance_of_ranges = None if ranges is None else _share(ranges)
    if ranges is not None and (procedure or loaded.procedure) != "joint":
        raise InputError("--ranges is for the procedure joint; add --procedure joint")
    if certify not in ("local", "global"):
        raise InputError(f"--certify is '{certify}'; it is local or global")
    effort = _effort(gap, 60.0 if time_limit is None else time_limit, rigor, jobs or 1)
    if robust is not None:
        if certify == "global" or (procedure or loaded.procedure) != "joint":
            raise InputError("--robust is for the procedure joint, without --certify global")
        _solve_robust(loaded, robust, draws or _draws_of(problem), tolerance_of_ranges, backend, options, jobs, json)
    if draws is not None:
        raise InputError("--draws is for --robust; add --robust mean")
    found = None
    with solvers_on_standard_error(json):
        result = solve_problem(loaded, procedure=procedure, backend=backend, options=options)
        if certify == "global":
            with bounding() as told:
                result = certify_globally(result, effort, told)
        if tolerance_of_ranges is not None and result.passed:
            with progress("ranges") as told_ranges:
                found = near_optimal(result, tolerance_of_ranges, options=options, jobs=jobs, progress=told_ranges)
    report(json, result_json(result) | ranges_json(found), lambda to: print_result(result, to, found))
    raise typer.Exit(0 if result.passed else 1)


def _solve_robust(
    problem: AllocationProblem,
    measure: str,
    draws: Path,
    tolerance_of_ranges: float | None,
    backend: str | None,
    options: Options,
    jobs: int | None,
    json: str | None,
) -> NoReturn:
    """Answer a problem by its least regret over draws."""
    from climbopt.files import load_draws
    from climbopt.reports.regrets import print_robust, robust_json
    from climbopt.reports.results import print_result, ranges_json, result_json
    from climbopt.uncertainty.confidence import confidence_set
    from climbopt.uncertainty.robust import robust as least_regret
    from climbopt.uncertainty.robust import robust_ranges

    near = None
    with solvers_on_standard_error(json):
        with progress("draws") as told:
            found = least_regret(
                problem, load_draws(draws), measure, backend=backend, options=options, jobs=jobs or 1, progress=told
            )
        confidence = confidence_set(found.regrets, found.ratios)
        if tolerance_of_ranges is not None and found.result.passed:
            with progress("ranges") as told:
                near = robust_ranges(found, tolerance_of_ranges, options=options, jobs=jobs, progress=told)

    def show(to: Console) -> None:
        print_result(found.result, to, near)
        print_robust(found, confidence, to)

    report(json, result_json(found.result) | robust_json(found, confidence) | ranges_json(near), show)
    raise typer.Exit(0 if found.result.passed else 1)


def _draws_of(problem: str) -> Path:
    """Return the draws beside a problem's model."""
    from climbopt.files import draws_beside, files_of, find_problem

    beside = [draws_beside(path) for path in files_of(find_problem(problem))]
    found = [path for path in beside if path.exists()]
    if not found:
        raise InputError(
            "there are no draws beside the problem's model; make them by climbopt fit PILOTS "
            "--bootstrap 1000 -o MODEL.toml, or name a file by --draws"
        )
    return found[0]


@app.command()
def certify(
    problem: PROBLEM,
    ratios: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="JSON object, language to ratio; the problem is solved where there is none."),
    ] = None,
    gap: GAP = 1e-6,
    time_limit: Annotated[float, typer.Option(help="Seconds for the global bound.")] = 60.0,
    rigor: RIGOR = "float",
    jobs: Annotated[int, typer.Option(min=1, help="Processes for the global bound.")] = 1,
    tolerance: TOLERANCE = 1e-6,
    json: JSON = None,
) -> None:
    """Say what can be proved of ratios, judged against every mixture."""
    from climbopt.backends import Options
    from climbopt.files import files_of, find_problem, load_problem, load_ratios
    from climbopt.procedures.optimum import certify_globally
    from climbopt.procedures.result import certify_ratios
    from climbopt.procedures.result import solve as solve_problem
    from climbopt.reports.results import print_result, result_json

    check_places([*files_of(find_problem(problem)), *([] if ratios is None else [ratios])], json)
    effort, loaded = _effort(gap, time_limit, rigor, jobs), load_problem(problem)
    with solvers_on_standard_error(json), bounding() as told:
        result = (
            solve_problem(loaded, options=Options(tolerance))
            if ratios is None
            else certify_ratios(loaded, load_ratios(ratios), tolerance=tolerance)
        )
        result = certify_globally(result, effort, told)
    report(json, result_json(result), lambda to: print_result(result, to))
    raise typer.Exit(0 if result.passed else 1)


@app.command()
def compare(
    problems: Annotated[
        list[str], typer.Argument(metavar="PROBLEM...", help="Problem files, or names of shipped problems.")
    ],
    backends: Annotated[str, typer.Option(help="Names with commas between them, or all that are available.")] = "all",
    procedures: Annotated[
        str | None, typer.Option(help="Names with commas between them; each problem's own by default.")
    ] = None,
    repeat: Annotated[int, typer.Option(help="Solves to time.")] = 1,
    time_limit: Annotated[float, typer.Option(help="Seconds for one solve.")] = 60.0,
    memory_limit: Annotated[float, typer.Option(help="GB of address space for one run.")] = 8.0,
    tolerance: TOLERANCE = 1e-6,
    json: JSON = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write one HTML page.")] = None,
) -> None:
    """Solve problems by several backends, each in a process of its own, and judge them by one yardstick."""
    from climbopt.backends import Options
    from climbopt.files import files_of, find_problem, load_problem, write_text
    from climbopt.reports.comparisons import comparison_html, comparison_json, print_comparison
    from climbopt.studies.comparison.runs import compare as compare_backends

    check_places([path for problem in problems for path in files_of(find_problem(problem))], json, html)
    loaded = [load_problem(problem) for problem in problems]
    with progress("compare") as told:
        comparison = compare_backends(
            loaded,
            backends=None if backends == "all" else _names("--backends", backends),
            procedures=None if procedures is None else _names("--procedures", procedures),
            repeat=repeat,
            time_limit=time_limit,
            memory_limit=memory_limit * 1e9,
            options=Options(tolerance),
            progress=told,
        )
    if html is not None:
        write_text(html, comparison_html(comparison))
    report(json, comparison_json(comparison), lambda to: print_comparison(comparison, to))
    raise typer.Exit(0 if comparison.certified else 1)


@app.command()
def derive(
    path: Annotated[
        str,
        typer.Argument(metavar="MODEL_OR_PROBLEM", help="A model or problem file, or the name of a shipped problem."),
    ],
    latex: Annotated[bool, typer.Option("--latex", help="LaTeX instead of text.")] = False,
) -> None:
    """Print the equations a model or problem rests on."""
    from climbopt.files import find_problem, is_problem, load_model, load_problem
    from climbopt.reports.derivation import derivation

    found = find_problem(path)
    if is_problem(found):
        problem = load_problem(found)
        print(derivation(problem.model, problem.rows, latex=latex))
    else:
        print(derivation(load_model(found), latex=latex))


for study in STUDIES:
    app.command()(study)


@app.command()
def backends() -> None:
    """List the solver backends."""
    from climbopt.reports.availability import print_backends

    print_backends(console())


def _names(option: str, text: str) -> list[str]:
    """Return the names in a list with commas between them."""
    names = [name for name in (part.strip() for part in text.split(",")) if name]
    if not names:
        raise InputError(f"{option} names nothing; write names with commas between them, or leave it out")
    return names


def _effort(gap: float, time_limit: float, rigor: str, jobs: int) -> Effort:
    """Return the effort for a global bound, checked."""
    from climbopt.procedures.optimum import Effort

    return Effort(gap, time_limit, cast("Rigor", rigor), jobs)


def _share(text: str) -> float:
    """Return the share that a number or a percentage stands for."""
    try:
        return float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        raise InputError(f"--ranges {text!r} is no share; write 0.1% or 0.001") from None


def _options(tolerance: float, max_iterations: int | None, time_limit: float | None, native: list[str]) -> Options:
    """Return typed options; KEY=VALUE is read as a number, true or false, or text."""
    from climbopt.backends import Options

    pairs: dict[str, OptionValue] = {}
    for entry in native:
        key, equals, value = entry.partition("=")
        if not equals or not key:
            raise InputError(f"--option {entry!r} is no KEY=VALUE; write for example --option print_level=5")
        pairs[key] = _option_value(value)
    return Options(tolerance, max_iterations, time_limit, pairs)


def _option_value(text: str) -> OptionValue:
    """Return the number, truth value or text that an option's value stands for."""
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
