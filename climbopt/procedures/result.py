"""solve: problem -> procedure -> backend -> certificate -> Result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from os import PathLike
from typing import Unpack

import numpy as np

from climbopt.backends import Options
from climbopt.backends.backend import CommonOptions, OptionsLike, options_of
from climbopt.certification.elastic import explain
from climbopt.certification.kkt import Residual
from climbopt.certification.local import Certificate, certify, certify_feasible, repair
from climbopt.files import ProblemLike, as_problem, load_problem_file
from climbopt.foundations.errors import ClimboptError, InputError
from climbopt.foundations.frozen import check_arguments
from climbopt.foundations.quantities import RATIO, Amount
from climbopt.foundations.solution import Array, Solution, Termination
from climbopt.foundations.view import Columns, Reported, View, percentages
from climbopt.model.effective import effective_tokens
from climbopt.model.mixture import MixtureModel, Response
from climbopt.problem.allocation import AllocationProblem
from climbopt.procedures import Answer, Joint, Procedure, ProcedureLike, Steps, TwoStep, as_procedure
from climbopt.program import Conflict, expression_rows, joint_form

LEAST_REDUCIBLE = 1e-12
"""Share of the loss, at most, of which what data can still remove is rounding."""


@dataclass(frozen=True)
class Gap:
    """The excess loss of two_step over joint.

    Parameters
    ----------
    absolute : float
        Excess of the weighted loss, in nats per token.
    share : float or None
        That excess as a share of f - sum_i w_i E_i at the joint optimum; None where the law has no E, and where data
        can remove no more than rounding.
    """

    absolute: float
    share: float | None


@dataclass(frozen=True)
class Regret:
    """Lower and upper bound of the excess of an answer's objective over the joint optimum.

    Parameters
    ----------
    least, most : float
        In the objective's unit.
    """

    least: float
    most: float


AGREEING = 1e-9
"""Relative difference of two evaluations of one objective that counts as rounding."""


class NoAnswerError(ClimboptError):
    """A result without an answer has no such number: its backend returned no point; `Result.solution` says why."""


@dataclass(frozen=True, eq=False)
class Allocation:
    """The ratios of an answer and their certificate.

    Parameters
    ----------
    ratios : ndarray, (S,)
        Feasible for all linear rows.
    certificate : Certificate
    steps : Steps or None
        Direction, magnitude and slack rows, of two_step alone.
    """

    ratios: Array
    certificate: Certificate
    steps: Steps | None = None


@dataclass(frozen=True, eq=False, repr=False)
class Result(Reported):
    """The answer to a problem with the model's predictions at it, or the reason why there is none.

    Numbers of the answer raise NoAnswerError where there is none.

    Parameters
    ----------
    problem : AllocationProblem
    procedure : Procedure
    allocation : Allocation or None
        The answer; None where the backend returned no point.
    solution : Solution or None
        The backend's own answer; None for closed forms and for ratios from the user.
    options : Options or None
        Options of the solve; None for ratios from the user, which have neither a gap nor a conflict.
    regret : Regret or None
        With a global certificate of every procedure but joint.
    better : mapping of str to float, or None
        Ratios of a better mixture from the search for a global certificate.
    """

    problem: AllocationProblem
    procedure: Procedure
    allocation: Allocation | None
    solution: Solution | None = None
    options: Options | None = None
    regret: Regret | None = None
    better: Mapping[str, float] | None = None

    @property
    def _known(self) -> Allocation:
        """The answer; raises NoAnswerError where there is none."""
        if self.allocation is None:
            assert self.solution is not None  # a closed form has a point
            raise NoAnswerError(
                f"{self.problem.name} has no answer: {self.solution.backend} stopped since "
                f"{self.solution.termination.value} ({self.solution.raw_status})"
            )
        return self.allocation

    def certified(self, certificate: Certificate) -> Result:
        """Return the same answer with a different certificate."""
        return replace(self, allocation=replace(self._known, certificate=certificate))

    @property
    def passed(self) -> bool:
        """Whether there is an answer whose certificate passed."""
        return self.allocation is not None and self.allocation.certificate.passed

    @property
    def certificate(self) -> Certificate:
        """The certificate of the answer."""
        return self._known.certificate

    @property
    def two_step(self) -> Steps | None:
        """Direction, magnitude and slack rows of two_step's answer; None for other procedures."""
        return self._known.steps

    @cached_property
    def objective(self) -> float:
        """Value of the objective, in the unit of the problem's goal; the weighted loss by default."""
        return float(self.problem.value(self._known.ratios))

    @cached_property
    def ratios(self) -> Mapping[str, float]:
        """Ratios by source, feasible for all linear rows."""
        return dict(zip(self.problem.model.sources, self._known.ratios.tolist(), strict=True))

    @cached_property
    def effective_tokens(self) -> Mapping[str, float | None]:
        """D_e by target: tokens of its language alone, unrepeated, that would have its loss; None where no amount has.

        See :func:`climbopt.model.effective.effective_tokens`.
        """
        tokens = effective_tokens(self.problem.response, self.problem.cumulative(self._known.ratios))
        return {name: value if np.isfinite(value) else None for name, value in self._by_target(tokens).items()}

    @cached_property
    def effective_ratios(self) -> Mapping[str, float | None]:
        """D_e / D by target, D with the history; None where there is no D_e."""
        return {
            name: None if tokens is None else tokens / self.problem.total_budget
            for name, tokens in self.effective_tokens.items()
        }

    @cached_property
    def _effective_and_losses(self) -> tuple[Array, Array]:
        return self.problem.effective_and_losses(self._known.ratios)

    @cached_property
    def z(self) -> Mapping[str, float]:
        """z by target; empty for an ensemble, which has none."""
        return self._by_target(self._effective_and_losses[0]) if isinstance(self.problem.model, MixtureModel) else {}

    @cached_property
    def losses(self) -> Mapping[str, float]:
        """Losses by target, in nats per token."""
        return self._by_target(self._effective_and_losses[1])

    @cached_property
    def marginal_benefit(self) -> Mapping[str, float]:
        """-df/dL_i dL_i/dz_i by target: -w_i dL_i/dz_i for the weighted loss; empty for an ensemble, which has no z.

        For the largest of several losses df/dL_i is the multiplier of L_i / reference_i <= t, over reference_i.
        """
        response, goal, names = self.problem.response, self.problem.goal, self.problem.model.targets
        if not isinstance(response, Response):
            return {}
        # f = max of L_i / reference_i: its slopes are the multipliers of the epigraph rows, which sum to 1.
        rows = [self.certificate.multipliers.get(f"largest[{name}]") for name in goal.targets] if goal.largest else []
        shares = (
            np.array([0.0 if row is None else row.multiplier for row in rows]) if rows else np.ones(len(goal.table))
        )
        # df/dL_i, over the targets of the goal; the others have none.
        by_y = shares @ goal.table.slopes(self.problem.read_by_goal(self._known.ratios), slice(None))
        weights = np.zeros(len(names))
        weights[[names.index(name) for name in goal.targets]] = goal.table.split(by_y).loss
        slopes = response.losses_and_slopes(self._effective_and_losses[0])[1]
        return self._by_target(np.where(weights != 0, -weights * slopes, 0.0))

    def _by_target(self, values: Array) -> dict[str, float]:
        return dict(zip(self.problem.model.targets, values.tolist(), strict=True))

    @cached_property
    def two_step_gap(self) -> Gap | None:
        """The excess loss of two_step over joint, computed at the first access.

        None unless the answer is that of joint or two_step, both are certified, and two_step supports the problem.
        """
        # Baselines, and ratios from the user, have no gap between procedures.
        other = {Joint: TwoStep, TwoStep: Joint}.get(type(self.procedure))
        if other is None or self.options is None or not self.passed:
            return None
        try:  # native options belong to the backend of this answer, not to the default one
            compared = answered(self.problem, other(), None, replace(self.options, native={}))
        except InputError:  # two_step does not support this form
            return None
        if not compared.passed:
            return None
        joint, two_step = (self, compared) if other is TwoStep else (compared, self)
        excess, model = two_step.objective - joint.objective, self.problem.model
        if not isinstance(model, MixtureModel) or model.law.irreducible is None:
            return Gap(excess, None)
        # f - sum_i w_i E_i: the part of the loss that data can remove.
        reducible = joint.objective - float(self.problem.weight_vector @ model.parameters[model.law.irreducible.name])
        return Gap(excess, excess / reducible if reducible > LEAST_REDUCIBLE * abs(joint.objective) else None)

    @cached_property
    def conflict(self) -> Conflict | None:
        """Incompatible constraints, and the relaxation that each needs, where the answer is not feasible.

        None where it is feasible, or where no conflict is known. Computed at the first access.
        """
        return explain(self.problem, self.options) if self.options is not None and _breaks_rows(self) else None

    def view(self) -> View:
        """Return the answer and its verdict; the table has one row per language."""
        solver = "" if self.solution is None else f" by {self.solution.backend}"
        title = f"{self.problem.name}, {self.procedure.name}{solver}: "
        if self.allocation is None:
            facts = [] if self.solution is None else [self.solution.termination.value, self.solution.raw_status]
            return View(f"{title}no answer", facts)
        goal, certificate = self.problem.goal, self.certificate
        facts = [f"ratios: {percentages(self.ratios)}", f"{goal.label}: {self.objective:.6f} {goal.unit}"]
        facts += [] if certificate.gap is None else [f"gap to the best of all mixtures: {certificate.gap:.2g}"]
        passed = "" if self.passed else "NOT certified, "
        return View(f"{title}{passed}{certificate.verdict.value}", facts, self._columns)

    def _columns(self) -> Columns:
        """Return one row per language."""
        languages = tuple(dict.fromkeys(self.problem.model.sources + self.problem.model.targets))
        values = {
            "ratio": self.ratios,
            "effective_ratio": self.effective_ratios,
            "effective_tokens": self.effective_tokens,
            "loss": self.losses,
            "marginal_benefit": self.marginal_benefit,
        }
        columns = {head: [by_name.get(name) for name in languages] for head, by_name in values.items()}
        return {"language": languages, **columns}


def resolve(problem: ProblemLike, procedure: ProcedureLike | None = None) -> tuple[AllocationProblem, Procedure]:
    """Return a problem and the procedure for solving it.

    Parameters
    ----------
    problem : AllocationProblem, path or name
    procedure : Procedure or str, optional
        By default joint for an AllocationProblem, and the declared one for a problem file or a shipped problem. A
        procedure requested by name has the options in the file.

    Examples
    --------
    >>> resolve("libreoffice6")[1], resolve("libreoffice6", "temperature")[1]
    (Joint(), Temperature(temperature=3.3))
    """
    if isinstance(problem, str | PathLike):
        file = load_problem_file(problem)
        return file.problem, as_procedure(file.procedure if procedure is None else procedure, file.options)
    if not isinstance(problem, AllocationProblem):
        problem = as_problem(problem)  # raises an InputError that names the accepted types
    return problem, Joint() if procedure is None else as_procedure(procedure)


@check_arguments
def solve(
    problem: ProblemLike,
    procedure: ProcedureLike | None = None,
    *,
    backend: str | None = None,
    options: OptionsLike = None,
    **common: Unpack[CommonOptions],
) -> Result:
    """Return the problem's answer with its certificate.

    Parameters
    ----------
    problem : AllocationProblem, path or name
    procedure : Procedure or str, optional
        By default Joint() for an AllocationProblem, and the declared one for a problem file or a shipped problem.
    backend : str, optional
        A name in `BACKENDS`; by default the first available one that accepts the problem.
    options : Options or mapping, optional
        Options, or a mapping of the solver's native options.
    tolerance, max_iterations, time_limit
        Keywords for these of :class:`climbopt.Options`.

    Raises
    ------
    InputError, BackendError
        Where the input is invalid, or the backend is missing or does not accept the problem.

    Examples
    --------
    >>> import climbopt
    >>> climbopt.solve("equal_beta", backend="slsqp", tolerance=1e-7).passed
    True
    >>> climbopt.solve("equal_beta", climbopt.TwoStep(iterate=True)).two_step.unique
    True
    """
    problem, procedure = resolve(problem, procedure)
    return answered(problem, procedure, backend, options_of(options, common))


def answered(problem: AllocationProblem, procedure: Procedure, backend: str | None, options: Options) -> Result:
    """Return the answer of a procedure with its certificate."""
    return judged(problem, procedure, procedure.answer(problem, backend, options), options)


def judged(problem: AllocationProblem, procedure: Procedure, answer: Answer, options: Options) -> Result:
    """Return an answer of a procedure, from any start, with its certificate."""
    if answer.x is None:
        return Result(problem, procedure, None, answer.solution, options)
    # A baseline is judged as it is; two_step has repaired its point, and chosen among ties, itself.
    x = answer.x if answer.steps is not None or not procedure.optimises else repair(answer.form, answer.x)
    certificate = _certificate(problem, procedure, answer, x, options)
    return Result(
        problem, procedure, Allocation(x[: answer.form.n_ratios], certificate, answer.steps), answer.solution, options
    )


def as_result(answer: Result | ProblemLike) -> Result:
    """Return a result itself, or the result of solving a problem."""
    return answer if isinstance(answer, Result) else solve(answer)


def _breaks_rows(result: Result) -> bool:
    """Whether the procedure optimises, and its backend stopped by itself at a point that violates a nonlinear row."""
    # A solver that ran out of time, or was interrupted, says nothing about feasibility.
    stopped = (Termination.TIME_LIMIT, Termination.INTERRUPTED)
    if result.solution is None or not result.procedure.optimises or result.solution.termination in stopped:
        return False
    certificate = None if result.allocation is None else result.certificate
    feasible = certificate is not None and certificate.residuals["primal"].value <= certificate.tolerance
    return not feasible and bool(expression_rows(result.problem))


def _certificate(
    problem: AllocationProblem, procedure: Procedure, answer: Answer, x: Array, options: Options
) -> Certificate:
    """Return the certificate that the procedure requires."""
    # The objective as the problem declares it, without the form that the backend solved.
    declared = float(problem.value(x[: len(problem.model.sources)]))
    solved = answer.form.functions.at(x).value
    # Step 2 of two_step minimises -t, which is finite even where losses are not.
    if not np.isfinite(solved if answer.steps is None else declared):
        form = joint_form(problem)
        return certify_feasible(form, form.complete(x[: form.n_ratios]), tolerance=options.tolerance)
    if not procedure.optimises:
        settled = answer.solution is None or answer.solution.termination.settled
        certificate = certify_feasible(answer.form, x, tolerance=options.tolerance)
        return certificate if settled else replace(certificate, passed=False)
    if answer.steps is None:
        # what was solved must be the problem's own declaration, whose objective is evaluated anew
        difference = abs(solved - declared) / max(1.0, abs(declared))
        extra = Residual(difference, "declared objective") if not difference <= AGREEING else None
    else:
        extra = Residual(answer.steps.residual, "direction")
    claimed = None if answer.solution is None else answer.solution.multipliers
    return certify(answer.form, x, tolerance=options.tolerance, claimed=claimed, extra=extra)


@check_arguments
def certify_ratios(problem: ProblemLike, ratios: Mapping[str, Amount], *, tolerance: float = 1e-6) -> Result:
    """Return the result of given ratios, certified as an answer to the joint problem.

    Parameters
    ----------
    problem : AllocationProblem
    ratios : mapping of str to float
        By source. Violations of linear rows within the tolerance are repaired; larger ones remain.
    tolerance : float
    """
    problem = as_problem(problem)
    form = joint_form(problem)
    x = form.complete(problem.model.vector(RATIO.by_name(ratios, "the ratio")))
    x = x if form.polytope.violation(x) > tolerance else repair(form, x)
    certificate = certify(form, x, tolerance=tolerance)
    return Result(problem, Joint(), Allocation(x[: form.n_ratios], certificate))
