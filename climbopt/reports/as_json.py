"""JSON of results and fits; the keys are a contract with those who read them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence

from climbopt.backends import BACKENDS, load
from climbopt.certification.local import Certificate
from climbopt.fitting.select import Score
from climbopt.foundations.errors import BackendError
from climbopt.model.mixture import MixtureModel
from climbopt.model.templates import Array
from climbopt.procedures.result import Gap, Result
from climbopt.program import Conflict
from climbopt.reports.extrapolation import extrapolation_json, scales
from climbopt.studies.ranges import Range
from climbopt.uncertainty.covariance import Covariance

Value = None | bool | int | float | str | Sequence["Value"] | Mapping[str, "Value"]


def dumps(value: Value) -> str:
    """Return JSON text; what is no finite number is null."""
    return json.dumps(_finite(value), indent=2, ensure_ascii=False, allow_nan=False)


def _finite(value: Value) -> Value:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_finite(entry) for entry in value]
    return value


def result_json(result: Result) -> dict[str, Value]:
    """Return a solved problem as JSON values: multipliers by constraint name, null where unknown."""
    solution, certificate, steps = result.solution, result.certificate, result.two_step
    return {
        "problem": result.problem.name,
        "procedure": result.procedure,
        "backend": solution.backend if solution else None,
        "backend_version": solution.backend_version if solution else None,
        "budget": result.problem.budget,
        "ratios": result.ratios,
        "effective_ratios": result.effective_ratios,
        "losses": result.losses,
        "marginal_benefit": result.marginal_benefit,
        "objective": result.objective,
        "two_step_gap": _gap(result.two_step_gap),
        "two_step": None
        if steps is None
        else {
            "direction": dict(zip(steps.targets, steps.direction.tolist(), strict=True)),
            "magnitude": steps.magnitude,
            "slack": [{"target": row.target, "excess": row.excess, "reason": row.reason} for row in steps.slack],
            "unique": steps.unique,
            "iterations": steps.iterations,
        },
        "multipliers": {}
        if certificate is None
        else {
            name: {
                "multiplier": one.multiplier,
                "shadow_price": one.shadow_price,
                "unit": one.unit,
                "active": one.active,
                "tied": list(one.tied),
            }
            for name, one in certificate.multipliers.items()
        },
        "termination": solution.termination.name.lower() if solution else None,
        "raw_status": solution.raw_status if solution else None,
        "iterations": solution.iterations if solution else None,
        "evaluations": solution.evaluations if solution else None,
        "seconds": solution.seconds if solution else None,
        "bound": solution.bound if solution else None,
        "certificate": None if certificate is None else certificate_json(certificate),
        "regret": None if result.regret is None else {"least": result.regret.least, "most": result.regret.most},
        "better": result.better,
        "conflict": None if result.conflict is None else conflict_json(result.conflict),
        **extrapolation_json(result.problem.model, *scales(result.problem)),
    }


def conflict_json(conflict: Conflict) -> dict[str, Value]:
    """Return a conflict as JSON values; an amount is null where none resolves it."""
    return {
        "members": [
            {
                "name": one.name,
                "side": one.side,
                "amount": one.amount,
                "unit": one.unit,
                "alone_suffices": one.alone_suffices,
                "change": one.change,
            }
            for one in conflict.members
        ],
        "proved": conflict.proved,
        "minimal": conflict.minimal,
        "others": conflict.others,
        "message": conflict.message,
    }


def ranges_json(found: Mapping[str, Range] | None) -> dict[str, Value]:
    """Return near-optimal ranges by language, or nothing where none were asked for."""
    if found is None:
        return {}
    return {
        "ranges": {
            name: {"lower": one.lower, "upper": one.upper, "certified": one.certified, "proved": one.proved}
            for name, one in found.items()
        }
    }


def _gap(gap: Gap | None) -> Value:
    return None if gap is None else {"absolute": gap.absolute, "share": gap.share}


def certificate_json(certificate: Certificate) -> dict[str, Value]:
    """Return a certificate as JSON values; conditions that were not asked for are null."""
    conditions: dict[str, Value] = {name: None for name in ("stationarity", "primal", "dual", "complementarity")}
    conditions |= {name: residual.value for name, residual in certificate.residuals.items()}
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
        "gap_rests_on": certificate.gap_rests_on,
        "rigor": certificate.rigor,
        "nodes": certificate.nodes,
        "seconds": certificate.bound_seconds,
        "no_bound": certificate.no_bound,
    }


def fit_json(found: Covariance, scores: Sequence[Score]) -> dict[str, Value]:
    """Return a fit as JSON values; a standard error is null where the parameter is at a bound."""
    fitted = found.fitted
    return {
        "law": fitted.model.law.name,
        "interaction": fitted.model.interaction.name,
        "n_runs": fitted.n_runs,
        "n_losses": fitted.n_losses,
        "n_missing": fitted.n_missing,
        "token_unit": fitted.model.token_unit,
        "parameters": parameters_json(fitted.model),
        "stderr": values_json(fitted.model, found.parameter_errors()),
        "stderr_from": "covariance",
        "mae": fitted.overall.mae,
        "mre": fitted.overall.mre,
        "r2": fitted.overall.r2,
        "zero_shot_mae": fitted.overall.zero_shot_mae,
        "by_language": {
            name: {"mae": one.mae, "mre": one.mre, "r2": one.r2, "zero_shot_mae": one.zero_shot_mae}
            for name, one in fitted.errors.items()
        },
        "cross_validation": [
            {
                "law": score.law,
                "interaction": score.interaction,
                "mae": score.mae,
                "mre": score.mre,
                "spearman": score.spearman,
                "zero_shot_mae": score.zero_shot_mae,
                "by_scale_mae": score.by_scale,
                "refused": score.refused,
            }
            for score in scores
        ],
        "at_bound": list(fitted.at_bound),
        "unidentified": list(fitted.unidentified),
        "left_out": fitted.left_out,
        "above_ceiling": dict(fitted.above_ceiling),
        "warnings": [
            f"some mixture at a pilot budget is predicted {multiple:.3g} times as high as the largest loss of "
            f"{name} that was measured"
            for name, multiple in fitted.above_ceiling.items()
        ],
        "seconds": fitted.seconds,
    }


def parameters_json(model: MixtureModel) -> dict[str, Value]:
    """Return a model's parameters by name and language; pairs by target, then source."""
    return values_json(model, model.parameters)


def values_json(model: MixtureModel, values: Mapping[str, Array]) -> dict[str, Value]:
    """Return arrays shaped as a model's parameters by name and language; pairs by target, then source."""
    result: dict[str, Value] = {}
    for p in model.templates.parameters:
        value = values[p.name]
        if p.per == "pair":
            result[p.name] = {
                target: {source: float(value[i, j]) for j, source in enumerate(model.sources) if source != target}
                for i, target in enumerate(model.targets)
            }
        else:
            names = model.sources if p.per == "source" else model.targets
            result[p.name] = dict(zip(names, value.tolist(), strict=True))
    return result


def backends_json() -> list[Value]:
    """Return each backend: its name, its solver's version, or why it is not available."""
    rows: list[Value] = []
    for entry in BACKENDS.values():
        reason, version = entry.missing, None
        if reason is None:
            try:
                version = load(entry.name).version
            except BackendError as error:
                reason = str(error)
        rows.append({"name": entry.name, "available": reason is None, "version": version, "reason": reason})
    return rows
