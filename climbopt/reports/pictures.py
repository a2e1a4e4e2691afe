"""pictures: what each kind of picture shows of an object, or of what its file holds, and the figure drawn from it."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from climbopt.files import (
    as_model_and_rows,
    find_problem,
    is_problem,
    load_draws,
    load_model,
    load_pilots,
    load_problem,
    load_ratios,
    write_bytes,
)
from climbopt.files.text import read_object
from climbopt.fitting.estimate import Fit
from climbopt.foundations.errors import InputError, listed, refuse_unknown
from climbopt.foundations.view import Reported
from climbopt.model.ensemble import Model, check_draws, one_form
from climbopt.model.mixture import MixtureModel
from climbopt.model.templates import Array
from climbopt.procedures import PROCEDURES, Joint
from climbopt.procedures.result import Result, resolve, solve
from climbopt.program import joint_form
from climbopt.reports import plots
from climbopt.reports.sweeps import BAND_NAME
from climbopt.reports.typesetting import tokens
from climbopt.runs.pilots import PilotRuns
from climbopt.studies.comparison.backend_runs import Comparison, profiles
from climbopt.studies.design.plan import Plan
from climbopt.studies.ranges import Range, ranges as near_optimal
from climbopt.studies.schedule import Schedule
from climbopt.studies.sweep import Sweep
from climbopt.uncertainty.decision import Decision
from climbopt.uncertainty.diagnosis import told_from_zero, transfer
from climbopt.uncertainty.robust import Robust

NEAR = 1e-3
"""Share of the optimum within which ranges are drawn, where the file holds none."""


@dataclass(frozen=True)
class Request:
    """What a picture is drawn from.

    Parameters
    ----------
    file : Path
        A model, a problem, or JSON that --json wrote, as the kind needs it.
    pilots : Path, optional
        Measured runs, for fit.
    budget : float, optional
        Tokens, for transfer and for problems.
    width : float, optional
        Inches; each kind has its own default.
    draws : Path, optional
        Draws of the model, for transfer.
    """

    file: Path
    pilots: Path | None = None
    budget: float | None = None
    width: float | None = None
    draws: Path | None = None

    @property
    def is_record(self) -> bool:
        """Whether the file is what --json wrote, or ratios."""
        return self.file.suffix in (".json", ".csv", ".parquet")

    def certified(self, procedure: str | None = None) -> Result:
        """Return the answer of the file's problem at the requested budget, by its own or a named procedure.

        Raises
        ------
        InputError
            For a model, or where the answer's certificate did not pass.
        """
        path = find_problem(str(self.file))
        if not is_problem(path):
            raise InputError(
                f"{self.file} is a model; this kind of picture is drawn from a problem, or from what "
                "solve --json has written"
            )
        problem, method = resolve(path, procedure)
        result = solve(problem if self.budget is None else replace(problem, budget=self.budget), method)
        if not result.passed:
            raise InputError(f"{result.problem.name} has no certified answer to draw; see climbopt solve")
        return result


def _fit(request: Request) -> Figure:
    """Predicted against measured losses, and residuals."""
    if request.pilots is None:
        raise InputError("a picture of a fit needs the measured runs; add --pilots PILOTS.csv")
    model, _ = as_model_and_rows(request.file)
    return predictions(model, load_pilots(request.pilots, missing="drop"), request.width or plots.PAGE)


def predictions(model: Model, runs: PilotRuns, width: float = plots.PAGE, ax: Axes | None = None) -> Figure:
    """Return the picture of a model's predictions of measured runs."""
    missing = [name for name in runs.sources if name not in model.sources]
    common = [name for name in model.targets if name in runs.targets]
    if missing or not common:
        raise InputError(
            f"the runs train {', '.join(missing) or 'no language'} of which the model knows nothing; "
            "give the runs it was fitted to"
        )
    # Targets that were not measured have no point in the picture.
    response = model.select(common).at(runs.tokens, runs.params, runs.supply_of(model.sources))
    return plots.fit_figure(
        common,
        runs.losses[:, [runs.targets.index(name) for name in common]],
        response.predicted(runs.ratios_of(model.sources)),
        runs.ratios_of(common) > 0,
        width,
        ax,
    )


def _transfer(request: Request) -> Figure:
    """Heat map of the transfer between languages at a budget."""
    path = find_problem(str(request.file))
    problem = load_problem(path) if is_problem(path) else None
    model = one_form(load_model(path) if problem is None else problem.model, "a picture of transfer")
    # A model alone has no budget: its token unit is near those of its pilots.
    budget, size = (model.token_unit, model.params_unit) if problem is None else (problem.total_budget, problem.params)
    draws = None if request.draws is None else load_draws(request.draws)
    return transfer_map(model, request.budget or budget, size if model.uses_model_size else None, draws, request.width)


def transfer_map(
    model: MixtureModel,
    budget: float,
    size: float | None = None,
    draws: Sequence[Model] | None = None,
    width: float | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Return the heat map of a model's transfer at a budget and a model size."""
    table = transfer(model, budget, size)
    if not np.isfinite(table).any():
        raise InputError("the model has one language, and no transfer to draw")
    indistinct, caption = None, "no draws: which of these are distinguishable from 0 is not known"
    if draws is not None:
        check_draws(model, draws)
        each = [transfer(one_form(draw, "transfer"), budget, size) for draw in draws]
        # Where the draws' quantiles have different signs, the sign of the transfer is not known.
        indistinct = ~told_from_zero(np.array(each))[2]
        caption = f"grey: not distinguishable from 0 by 5 to 95 % of {len(draws)} draws"
    return plots.transfer_figure(
        table,
        model.sources,
        model.targets,
        f"transfer at {tokens(budget)} tokens",
        caption,
        indistinct,
        width or (plots.COLUMN if len(model.sources) <= 8 else plots.PAGE),
        ax,
    )


def _allocation(request: Request) -> Figure:
    """Bars of the optimum beside the baselines that its problem allows."""
    if not request.is_record:
        return answer_bars(request.certified(), request.width or plots.COLUMN)
    record = _answer(request.file)
    names = list(record["ratios"])
    series = {record["procedure"]: record["ratios"], "uniform": dict.fromkeys(names, 1 / len(names))}
    return ratio_bars(names, series, _near(record), request.width or plots.COLUMN)


def answer_bars(answer: Result, width: float = plots.COLUMN, ax: Axes | None = None) -> Figure:
    """Return bars of an answer's ratios beside those of the baselines that need no more than its problem states."""
    # The answer first: pictures draw the first series as the answer.
    series = {answer.procedure.name: answer.ratios}
    for name in PROCEDURES:
        if name not in ("joint", "two_step", "isolated", answer.procedure.name):
            with suppress(InputError):  # it needs a supply that the problem does not state
                series[name] = solve(answer.problem, name).ratios
    return ratio_bars(answer.problem.model.sources, series, width=width, ax=ax)


def ratio_bars(
    names: Sequence[str],
    series: Mapping[str, Mapping[str, float]],
    near: Mapping[str, Range] | None = None,
    width: float = plots.COLUMN,
    ax: Axes | None = None,
) -> Figure:
    """Return bars of the ratios of several answers, by their names, in per cent; near-optimal ranges are whiskers."""
    shown = {name.replace("_", "-"): _array(ratios, names) for name, ratios in series.items()}
    ranges = _ends(near, names) if near else None
    return plots.bars_figure(names, shown, "ratio (%)", unit=0.01, ranges=ranges, width=width, ax=ax)


def _ranges(request: Request) -> Figure:
    """Near-optimal range of every ratio, with the optimum."""
    if not request.is_record:
        return answer_ranges(request.certified("joint"), request.width or plots.COLUMN)
    record = _answer(request.file)
    if not record.get("ranges"):
        raise InputError(f"{request.file} holds no ranges; write it with solve --ranges 0.1% --json")
    return range_lines(record["ratios"], _near(record), request.width or plots.COLUMN)


def answer_ranges(answer: Result, width: float = plots.COLUMN, ax: Axes | None = None) -> Figure:
    """Return the near-optimal range of every ratio of an answer."""
    return range_lines(answer.ratios, near_optimal(answer, NEAR), width, ax)


def range_lines(
    ratios: Mapping[str, float], near: Mapping[str, Range], width: float = plots.COLUMN, ax: Axes | None = None
) -> Figure:
    """Return the near-optimal range of every ratio as a line, with the optimum on it."""
    names = list(ratios)
    return plots.ranges_figure(names, _array(ratios, names), _ends(near, names), width, ax)


def _sweep(request: Request) -> Figure:
    """Ratios along a path of budgets or bounds, with bands where models were drawn."""
    record = read_object(request.file)
    if not isinstance(record.get("points"), list):
        raise InputError(f"{request.file} holds no sweep; write it with sweep --json")
    return path_of(record, str(request.file), request.width or plots.COLUMN)


def path_of(record: Mapping[str, Any], name: str, width: float = plots.COLUMN, ax: Axes | None = None) -> Figure:
    """Return the picture of a sweep's JSON values; messages call it by a name."""
    names, points = list(record["languages"]), record["points"]
    of_budget = record["over"] is None
    # A line has one axis to run along.
    if not of_budget and len({point["budget"] for point in points}) > 1:
        raise InputError(f"{name} sweeps budgets and {record['over']} at once; draw one of them at a time")
    table = np.array(
        # NaN where there is no certified answer, whose line has a gap there.
        [_array(point["ratios"] if point["passed"] else None, names) for point in points]
    )
    if np.isnan(table).all():
        raise InputError(f"{name} holds no certified point, and there is nothing to draw")
    # By end, language and point.
    bands = [[record["bands"][source][end] for source in names] for end in ("lower", "upper") if record.get("bands")]
    return plots.sweep_figure(
        names,
        np.array([point["budget" if of_budget else "bound"] for point in points], dtype=float),
        table,
        "budget (tokens)" if of_budget else f"{record['over']} at {tokens(points[0]['budget'])} tokens",
        logarithmic=of_budget,
        bands=np.array(bands, dtype=float).swapaxes(1, 2) if bands else None,
        caption=f"bands: {BAND_NAME} of {record.get('draws') or 'the'} draws",
        width=width,
        ax=ax,
    )


def _marginal(request: Request) -> Figure:
    """Benefits of more data under uniform ratios and under the optimum.

    For joint the benefit per ratio -df/dr_j, transfer included, which is equal where nothing but the sum of ratios
    holds a language; else the marginal benefit -w_i dL_i/dz_i, which step 1 of two_step makes equal.
    """
    if request.is_record:
        raise InputError(
            "benefits before and after are drawn from a problem, which says what before is; give the problem file"
        )
    return benefit_bars(request.certified(), request.width or plots.COLUMN)


def benefit_bars(answer: Result, width: float = plots.COLUMN, ax: Axes | None = None) -> Figure:
    """Return bars of the benefits of more data before (uniform ratios) and after: under an answer."""
    problem = answer.problem
    results = {"uniform": solve(problem, "uniform"), answer.procedure.name.replace("_", "-"): answer}
    if isinstance(answer.procedure, Joint) and not problem.goal.largest:
        names, label, unit = list(problem.model.sources), "benefit per ratio", "ratio"
        # Unlike the marginal benefit per z, that per ratio counts transfer to the other targets.
        series = {name: -joint_form(problem).slopes(_array(result.ratios, names)) for name, result in results.items()}
    else:
        names, label, unit = list(problem.model.targets), "marginal benefit", "z"
        series = {name: _array(result.marginal_benefit, names) for name, result in results.items()}
    label = f"{label}\n({problem.goal.unit.split('/')[0]} per unit of {unit})"
    return plots.bars_figure(names, series, label, width=width, ax=ax)


def _answer(path: Path) -> dict[str, Any]:
    """Return what solve --json wrote, or ratios alone with the file's name for their procedure."""
    record = read_object(path) if path.suffix == ".json" else {}
    if isinstance(record.get("ratios"), dict) and "procedure" in record:
        return record
    # Ratios of a table have no procedure: the file's name stands for it.
    return {"procedure": path.stem, "ratios": load_ratios(path)}


def _near(record: Mapping[str, Any]) -> dict[str, Range]:
    """Return the near-optimal ranges that a file holds; none where they were not requested."""
    # What the file claims of them is not drawn.
    entries = record.get("ranges") or {}
    return {name: Range(ends["lower"], ends["upper"], certified=False, proved=False) for name, ends in entries.items()}


def _array(values: Any, names: Sequence[str]) -> Array:
    return np.array([np.nan if values is None else values[name] for name in names], dtype=float)


def _ends(near: Mapping[str, Range], names: Sequence[str]) -> tuple[Array, Array]:
    """Return the lower and the upper ends of ranges, each (S,)."""
    ends = np.array([(near[name].lower, near[name].upper) for name in names], dtype=float)
    return ends[:, 0], ends[:, 1]


KINDS: Mapping[str, Callable[[Request], Figure]] = {
    "fit": _fit,
    "transfer": _transfer,
    "allocation": _allocation,
    "ranges": _ranges,
    "sweep": _sweep,
    "marginal": _marginal,
}
"""What can be drawn, by the name of its kind."""


def draw(kind: str, request: Request) -> Figure:
    """Return the figure of a kind; raises InputError where the kind cannot be drawn from the file."""
    refuse_unknown("kind of picture", [kind], KINDS)
    try:
        return KINDS[kind](request)
    except InputError:
        raise
    # JSON comes from users: a missing key or a wrong type is bad input, not a fault of the program.
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        if request.file.suffix != ".json":
            raise
        raise InputError(
            f"{request.file} is not as climbopt writes it ({type(error).__name__}: {error}); write it anew with --json"
        ) from None


def _transfer_of_fit(fitted: Fit, ax: Axes | None) -> Figure:
    """Transfer at the largest budget, and the largest model, that was fitted."""
    runs = fitted.pilots
    size = None if runs.params is None else float(runs.params.max())
    return transfer_map(fitted.model, float(runs.tokens.max()), size, ax=ax)


def _decision(decision: Decision, ax: Axes | None) -> Figure:
    """Ratios of the answer, with their near-optimal ranges, beside those of the baselines."""
    names, baselines = decision.problem.model.sources, decision.assessment.baselines if decision.assessment else ()
    series = {"answer": decision.ratios} | {
        baseline.name: dict(zip(names, baseline.ratios.tolist(), strict=True))
        for baseline in baselines
        if baseline.name != "isolated"
    }
    return ratio_bars(names, series, decision.ranges, ax=ax)


def _decided_ranges(decision: Decision, ax: Axes | None) -> Figure:
    """Near-optimal range of every ratio."""
    if not decision.ranges:
        raise InputError("there are no ranges, since the answer is not certified")
    return range_lines(decision.ratios, decision.ranges, ax=ax)


def _path(path: Sweep, ax: Axes | None) -> Figure:
    """Ratios along a path."""
    return path_of(path.to_dict(), f"the sweep of {path.problem.name}", ax=ax)


def _plan(plan: Plan, ax: Axes | None) -> Figure:
    """Bars of the designs' expected errors, in per cent."""
    errors = {"expected error": np.array([design.error for design in plan.designs])}
    names = [f"{design.name}, {len(design.runs)} runs" for design in plan.designs]
    return plots.bars_figure(names, errors, "expected error (%)", unit=0.01, ax=ax)


DRAWINGS: Mapping[type[Reported], Mapping[str, Callable[..., Figure]]] = {
    Comparison: {"profile": lambda comparison, ax: plots.profile_figure(profiles(comparison), ax)},
    Decision: {
        "allocation": _decision,
        "ranges": _decided_ranges,
        "fit": lambda decision, ax: predictions(decision.fitted.model, decision.fitted.pilots, ax=ax),
    },
    Fit: {"fit": lambda fitted, ax: predictions(fitted.model, fitted.pilots, ax=ax), "transfer": _transfer_of_fit},
    Plan: {"errors": _plan},
    Result: {
        "allocation": lambda result, ax: answer_bars(result, ax=ax),
        "ranges": lambda result, ax: answer_ranges(result, ax=ax),
        "marginal": lambda result, ax: benefit_bars(result, ax=ax),
    },
    Robust: {"allocation": lambda answer, ax: answer_bars(answer.result, ax=ax)},
    Schedule: {"sweep": lambda staged, ax: _path(staged.path, ax)},
    Sweep: {"sweep": _path},
}
"""By type of an object, its pictures by kind; the first is the default."""


def figure_of(reported: Reported, kind: str | None = None, ax: Axes | None = None) -> Figure:
    """Return the figure with a picture of an object, of a kind or of its first."""
    kinds = DRAWINGS.get(type(reported), {})
    chosen = next(iter(kinds), "") if kind is None else kind
    refuse_unknown(f"picture of a {type(reported).__name__}", [chosen], kinds)
    return kinds[chosen](reported, ax)


_GLYPH = re.compile(r"Glyph (\d+) .*missing from")
"""How matplotlib's warning of a character that no font has begins."""


def save(figure: Figure, path: Path) -> None:
    """Write a figure as its name's ending says: png, svg or pdf; the same figure gives the same svg."""
    kind = path.suffix[1:].lower()
    stream = BytesIO()
    with rc_context(plots.STYLE), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        # Without the date, equal figures are equal files.
        figure.savefig(stream, format=kind, dpi=300, metadata={"Date": None} if kind == "svg" else None)
    write_bytes(path, stream.getvalue())
    # matplotlib warns of each character by its number.
    glyphs = [_GLYPH.match(str(warning.message)) for warning in caught]
    for warning, glyph in zip(caught, glyphs, strict=True):
        if glyph is None:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    missing = sorted({chr(int(glyph[1])) for glyph in glyphs if glyph})
    if missing:
        warnings.warn(
            f"no font of the pictures has {listed(missing)}, which are boxes there; install one that does, and name it "
            "behind sans-serif in font.family of a file matplotlibrc",
            stacklevel=2,
        )
