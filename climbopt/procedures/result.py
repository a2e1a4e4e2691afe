"""solve: problem -> procedure -> backend -> certificate -> Result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from climbopt.backends import Options
from climbopt.certification.elastic import explain
from climbopt.certification.kkt import Residual
from climbopt.certification.local import Certificate, certify, certify_feasible, repair
from climbopt.files import ProblemLike
from climbopt.foundations.errors import InputError
from climbopt.foundations.solution import Solution, Termination
from climbopt.model.templates import Array
from climbopt.problem.allocation import AllocationProblem
from climbopt.procedures import Answer, Joint, Procedure, ProcedureLike, Steps, TwoStep, joint_form, resolve
from climbopt.program import Conflict, expression_rows


@dataclass(frozen=True)
class Gap:
    """What two_step loses against joint.

    Parameters
    ----------
    absolute : float
        Excess of the weighted loss, in nats per token.
    share : float or None
        That excess as a share of f - sum_i w_i E_i at the joint optimum; None where the law has no E.
    """

    absolute: float
    share: float | None


@dataclass(frozen=True)
class Regret:
    """Between which numbers the excess of an answer's objective over the joint optimum lies.

    Parameters
    ----------
    least, most : float
        In the objective's unit.
    """

    least: float
    most: float


@dataclass(frozen=True, eq=False)
class Result:
    """An answered problem.

    Parameters
    ----------
    problem : AllocationProblem
    procedure : Procedure
    ratios : mapping of str to float, or None
        By source, feasible for all linear rows; None where the backend gave no point.
    effective_ratios, losses, marginal_benefit : mapping of str to float
        By target: z, loss in nats per token, and -df/dL_i dL_i/dz_i, which is -w_i dL_i/dz_i for the weighted loss;
        for the largest of several losses df/dL_i is the multiplier of L_i / reference_i <= t. Empty without ratios.
    objective : float or None
        What is minimised, in the unit of the problem's goal; the weighted loss by default.
    two_step_gap : Gap or None
        With every joint and two_step answer whose law's z is an effective ratio, where both were certified.
    solution : Solution or None
        The backend's own answer; None for closed forms.
    certificate : Certificate or None
        None where there are no ratios.
    two_step : Steps or None
        Direction, magnitude and slack rows, for two_step.
    conflict : Conflict or None
        Where the answer is not feasible: constraints that cannot hold together, and what each must give. None where
        there are none, or none were found.
    regret : Regret or None
        Where a global certificate was asked for, for every procedure but joint.
    better : mapping of str to float, or None
        Ratios of a better mixture that was found on the way to a global bound.
    """

    problem: AllocationProblem
    procedure: Procedure
    ratios: Mapping[str, float] | None
    effective_ratios: Mapping[str, float]
    losses: Mapping[str, float]
    marginal_benefit: Mapping[str, float]
    objective: float | None
    two_step_gap: Gap | None
    solution: Solution | None
    certificate: Certificate | None
    two_step: Steps | None
    conflict: Conflict | None = None
    regret: Regret | None = None
    better: Mapping[str, float] | None = None

    @property
    def passed(self) -> bool:
        """Whether there is an answer and its certificate passed."""
        return self.certificate is not None and self.certificate.passed


def solve(
    problem: ProblemLike,
    procedure: ProcedureLike | None = None,
    *,
    backend: str | None = None,
    options: Options | None = None,
) -> Result:
    """Return the problem's answer with its certificate.

    Parameters
    ----------
    problem : AllocationProblem, path or name
    procedure : Procedure or str, optional
        Joint() for an AllocationProblem; for a problem file or a shipped problem by name, what it declares.
    backend : str, optional
        A name in `BACKENDS`; the first available one that takes the problem by default.
    options : Options, optional

    Raises
    ------
    InputError, BackendError
        Where the input is refused, or the backend is missing or cannot take the problem.

    Examples
    --------
    >>> import climbopt
    >>> result = climbopt.solve(climbopt.load_problem("equal_beta"))
    >>> result.passed
    True
    >>> climbopt.solve("equal_beta", climbopt.TwoStep(iterate=True)).two_step.unique
    True
    """
    problem, procedure = resolve(problem, procedure)
    options = options or Options()
    result = answered(problem, procedure, backend, options)
    if _breaks_rows(result):
        return replace(result, conflict=explain(problem, options))
    if not isinstance(procedure, Joint | TwoStep) or not result.passed:
        return result
    others = replace(options, native={})  # a solver's own options are for the backend that was named
    if isinstance(procedure, Joint):
        try:
            gap = _gap(result, answered(problem, TwoStep(), None, others))
        except InputError:  # two_step does not serve this form
            gap = None
    else:
        gap = _gap(answered(problem, Joint(), None, others), result)
    return replace(result, two_step_gap=gap)


def answered(problem: AllocationProblem, procedure: Procedure, backend: str | None, options: Options) -> Result:
    """Return the answer of a procedure, certified; no gap to another and no explanation."""
    answer = procedure.answer(problem, backend, options)
    if answer.ratios is None or answer.x is None:
        return Result(problem, procedure, None, {}, {}, {}, None, None, answer.solution, None, answer.steps)
    x = answer.x if answer.steps is not None or not procedure.optimises else repair(answer.form, answer.x)
    return described(
        problem,
        procedure,
        x[: len(problem.model.sources)],
        _certificate(problem, procedure, answer, x, options),
        answer.solution,
        answer.steps,
    )


def _breaks_rows(result: Result) -> bool:
    """Whether an optimum was asked for, and the backend came to its own end without a mixture that meets all rows."""
    solution, certificate = result.solution, result.certificate
    if solution is None or not result.procedure.optimises or not expression_rows(result.problem):
        return False
    if solution.termination in (Termination.TIME_LIMIT, Termination.INTERRUPTED):
        return False
    return certificate is None or not certificate.residuals["primal"].value <= certificate.tolerance  # NaN too


def _certificate(
    problem: AllocationProblem, procedure: Procedure, answer: Answer, x: Array, options: Options
) -> Certificate:
    """Return the certificate that the problem's procedure asks for."""
    ratios = x[: len(problem.model.sources)]
    if not np.isfinite(problem.value(ratios)):
        form = joint_form(problem)
        return certify_feasible(form, form.complete(ratios), tolerance=options.tolerance)
    if not procedure.optimises:
        settled = answer.solution is None or answer.solution.termination.settled
        certificate = certify_feasible(answer.form, x, tolerance=options.tolerance)
        return certificate if settled else replace(certificate, passed=False)
    extra = None if answer.steps is None else Residual(answer.steps.residual, "direction")
    claimed = None if answer.solution is None else answer.solution.multipliers
    return certify(answer.form, x, tolerance=options.tolerance, claimed=claimed, extra=extra)


def certify_ratios(problem: AllocationProblem, ratios: Mapping[str, float], *, tolerance: float = 1e-6) -> Result:
    """Return what can be proved of given ratios, judged against the joint problem.

    Parameters
    ----------
    problem : AllocationProblem
    ratios : mapping of str to float
        By source. Violations of linear rows within the tolerance are repaired; larger ones are judged as they are.
    tolerance : float
    """
    form = joint_form(problem)
    given = problem.model.vector(ratios)
    x = form.complete(given)
    x = x if form.polytope.violation(x) > tolerance else repair(form, x)
    certificate = certify(form, x, tolerance=tolerance)
    return described(problem, Joint(), x[: form.n_ratios], certificate, None, None)


def described(
    problem: AllocationProblem,
    procedure: Procedure,
    ratios: Array,
    certificate: Certificate,
    solution: Solution | None,
    two_step: Steps | None,
) -> Result:
    """Return the Result of some ratios: z, losses and marginal benefits by name."""
    model = problem.model
    response = model.at(problem.total_budget, problem.params)
    z = response.z(problem.cumulative(ratios))
    losses, slopes = response.losses_and_slopes(z)
    weights = problem.goal.by_loss(ratios, z, losses)
    if problem.goal.references is not None:
        held = {name: certificate.multipliers.get(f"largest[{name}]") for name in model.targets}
        weights = np.array([0.0 if one is None else one.multiplier for one in held.values()]) / problem.goal.references
    counted = weights != 0

    def by_target(values: Array) -> dict[str, float]:
        return dict(zip(model.targets, map(float, values), strict=True))

    return Result(
        problem=problem,
        procedure=procedure,
        ratios=dict(zip(model.sources, map(float, ratios), strict=True)),
        effective_ratios=by_target(z),
        losses=by_target(losses),
        marginal_benefit=by_target(np.where(counted, -weights * slopes, 0.0)),
        objective=float(problem.goal.value(ratios, z, losses)),
        two_step_gap=None,
        solution=solution,
        certificate=certificate,
        two_step=two_step,
    )


def _gap(joint: Result, two_step: Result) -> Gap | None:
    """Return the excess loss of two_step over joint, both on their repaired points."""
    if not (joint.passed and two_step.passed) or joint.objective is None or two_step.objective is None:
        return None
    excess = two_step.objective - joint.objective
    model = joint.problem.model
    if model.law.irreducible is None:
        return Gap(excess, None)
    reducible = joint.objective - float(joint.problem.weight_vector @ model.parameters[model.law.irreducible.name])
    return Gap(excess, excess / reducible)
