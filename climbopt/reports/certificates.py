"""A certificate: as JSON values, and in words."""

from __future__ import annotations

from rich.console import Console

from climbopt.certification.local import Certificate, Verdict
from climbopt.model.ensemble import one_form
from climbopt.procedures.result import Result
from climbopt.reports.json_values import Value
from climbopt.reports.typesetting import MOST_ROWS, say


def certificate_json(certificate: Certificate) -> dict[str, Value]:
    """Return a certificate as JSON values; conditions that the procedure does not require are null."""
    conditions: dict[str, Value] = {name: None for name in ("stationarity", "primal", "dual", "complementarity")}
    conditions |= {name: residual.value for name, residual in certificate.residuals.items()}
    # A search that ended without a bound still has its cost.
    bound = certificate.bound if certificate.lower_bound is not None else None
    search = None if certificate.bound is None else certificate.bound.search
    return {
        "verdict": certificate.verdict.value,
        "passed": certificate.passed,
        "tolerance": certificate.tolerance,
        **conditions,
        "worst": {name: residual.worst for name, residual in certificate.residuals.items()},
        "licq": certificate.licq,
        "second_order": certificate.second_order,
        "weakly_active": list(certificate.weakly_active),
        "multiplier_disagreement": certificate.disagreement,
        "upper_bound": certificate.upper_bound,
        "lower_bound": certificate.lower_bound,
        "gap": certificate.gap,
        "relative_gap": certificate.relative_gap,
        "gap_rests_on": None if bound is None else bound.rests_on,
        "rigor": None if search is None else search.rigor,
        "nodes": None if search is None else search.nodes,
        "seconds": None if search is None else search.seconds,
        "no_bound": certificate.no_bound,
    }


def print_certificate(result: Result, certificate: Certificate, console: Console) -> None:
    """Print verdict, residuals and bound."""
    procedure = result.procedure.name
    unit = " nats" if procedure == "joint" and result.problem.goal.unit == "nats/token" else ""
    words = certificate.verdict.value
    if certificate.verdict is Verdict.GLOBAL and certificate.gap is not None:
        words = f"global within {certificate.gap:.1e}{unit}"
    style = "bold green" if certificate.passed else "bold red"
    say(console, f"certificate {'passed' if certificate.passed else 'NOT passed'}: {words}", style)
    residuals = ", ".join(
        f"{name} {residual.value:.1e}" + (f" ({residual.worst})" if residual.value else "")
        for name, residual in certificate.residuals.items()
    )
    say(console, f"  {residuals}; tolerance {certificate.tolerance:.0e}")
    # Where only feasibility is required, nothing else was examined.
    if certificate.licq is not None:
        second = certificate.second_order
        curvature = "a vertex" if second is None else f"least curvature {second:.3g}"
        if certificate.verdict is Verdict.GLOBAL and second is not None and second <= 0:
            curvature += " (a tie: other mixtures may be as good)"
        licq = "LICQ holds" if certificate.licq else "LICQ FAILS"
        say(console, f"  {licq}; {curvature}; {_bound_words(result, certificate)}")
    search = None if certificate.bound is None else certificate.bound.search
    if certificate.bound is not None and search is not None and certificate.relative_gap is not None:
        boxes = "1 box" if search.nodes == 1 else f"{search.nodes} boxes"
        say(
            console,
            f"  relative gap {certificate.relative_gap:.1e} after {boxes} and "
            f"{search.seconds:.2f} s; it rests on {certificate.bound.rests_on}",
        )
    if result.regret is not None:
        say(
            console,
            f"  loses {result.regret.least:.3g} to {result.regret.most:.3g}{unit or ' nats'} against the best mixture",
        )
    if result.better is not None:
        say(
            console,
            "  a better mixture was found: "
            + ", ".join(f"{name} {100 * ratio:.3f} %" for name, ratio in list(result.better.items())[:MOST_ROWS]),
        )
    if certificate.weakly_active:
        say(console, f"  weakly active: {', '.join(certificate.weakly_active)}")


def _bound_words(result: Result, certificate: Certificate) -> str:
    """Return what no mixture is better than, or why nothing was proved."""
    lower = certificate.lower_bound
    if lower is None:
        return "no global bound proved" if certificate.no_bound is None else f"no global bound: {certificate.no_bound}"
    if result.procedure.name != "two_step":
        return f"no mixture is below {lower:.10f}"
    # Step 2 maximises t, as a minimum of -t, on tangents where own is not affine.
    line = one_form(result.problem.model, "two_step").templates.own.second[0].is_zero
    return f"t is at most {-lower:.10f}" + ("" if line else ", to first order")
