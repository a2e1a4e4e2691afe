"""Step 1 of two_step: the direction p of equal marginal benefits, each target on its own data alone.

The loss of target i on its own data e alone is law(own_i(e), D), where own is the interaction's own term. The direction
at a magnitude t is the optimum of

    min sum_i w_i law(own_i(t p_i), D)   s.t.  sum_i p_i = 1, p >= 0,

at which the marginal benefit -w_i law_z own_i' equals a common lambda for all targets with p_i > 0, and is at most
lambda where p_i = 0 (KKT). Each benefit falls with own data, so that lambda determines all p_i, and the condition that
they sum to 1 is one scalar equation in lambda.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from climbopt.foundations.errors import InputError
from climbopt.foundations.solution import Array
from climbopt.model.ensemble import one_form
from climbopt.model.mixture import Response
from climbopt.problem.allocation import AllocationProblem

LEAST = 1e-30
"""Share of the magnitude below which a target's own data count as 0."""
BESIDE = 1e-9
"""Relative distance on both sides of own data at which marginal benefits are compared."""
CHECKED = np.geomspace(1e-9, 1.0, 121)
"""Shares of the magnitude at which own terms are checked to increase, and marginal benefits to fall."""
NEWTON_STEPS = 200
ROUNDING = 4e-16
"""Relative change below which a bracketed root has converged."""


@dataclass(frozen=True, eq=False)
class OwnData:
    """The targets with a positive weight, each on its own data alone.

    Parameters
    ----------
    targets : tuple of str
        Those with a positive weight.
    weights : ndarray, (T,)
    response : Response
        The model of these targets at the problem's budget.
    """

    targets: tuple[str, ...]
    weights: Array
    response: Response

    @classmethod
    def of(cls, problem: AllocationProblem) -> OwnData:
        """Return the counted targets of a problem; raises InputError where own does not depend on own data."""
        targets, model = counted_targets(problem), one_form(problem.model, "two_step")
        interaction, own = model.interaction, model.templates.own
        if own.first[0].is_zero:
            raise InputError(
                f"two_step needs a z that increases in a language's own data, and that of interaction "
                f"'{interaction.name}' has no own term; use the procedure joint"
            )
        outside = [name for name in targets if name not in model.sources]
        by_source = [
            p.name for p in interaction.parameters if p.per == "source" and p.symbol in own.expression.free_symbols
        ]
        if outside and by_source:
            raise InputError(
                f"two_step needs {', '.join(by_source)} of '{outside[0]}' for its own data, and it is no source; use "
                "the procedure joint"
            )
        weights = problem.weight_vector[problem.weight_vector > 0]
        return cls(targets, weights, model.select(targets).at(problem.total_budget, problem.params))

    def own(self, data: Array) -> tuple[Array, Array]:
        """Return own_i and own_i' at own data e_i, (..., T) each."""
        with np.errstate(all="ignore"):
            own, slope = self.response.model.templates.own.slopes(data, *self.response.own_arguments)
        return np.broadcast_to(own, data.shape), np.broadcast_to(slope, data.shape)

    def shares(self, direction: Array, at: float) -> tuple[Array, Array]:
        """Return own_i(t p_i) linearised in t at a magnitude: the least z and its slopes in t, (T,) each."""
        # d own_i(t p_i) / dt = p_i own_i'(t p_i); own_i'(0) may be infinite, and is not evaluated where p_i = 0.
        data = at * direction
        slopes = np.where(direction > 0, direction * self.own(np.where(direction > 0, data, at))[1], 0.0)
        return self.own(data)[0] - at * slopes, slopes

    def benefit(self, data: Array) -> Array:
        """Return the marginal benefit -w_i d law(own_i(e_i)) / de_i, (..., T); NaN outside the law's domain."""
        own, slope = self.own(data)
        return np.asarray(-self.weights * self.response.losses_and_slopes(own)[1] * slope)

    def rate(self, data: Array) -> Array:
        """Return d log benefit / d log e, (..., T): -(1 + beta) for a power law of own = e."""
        own, slope = self.own(data)
        templates, response = self.response.model.templates, self.response
        with np.errstate(all="ignore"):
            (curvature,) = templates.own.curvatures(data, *response.own_arguments)
            # benefit = -w law_z(own) own', so that d log benefit / de = law_zz own' / law_z + own'' / own'
            law = response.loss_curvatures(own) / response.losses_and_slopes(own)[1]
            return np.asarray(data * (law * slope + curvature / slope))

    def check(self, magnitude: float) -> None:
        """Refuse a form whose own term does not increase, or whose marginal benefit does not fall."""
        data = magnitude * CHECKED[:, None] * np.ones(len(self.targets))
        if not self.response.use_rises(CHECKED):
            raise InputError(
                "two_step needs a use under which more tokens are never worth less, and "
                f"'{self.response.model.use.name}' is none; use the procedure joint"
            )
        # Checked on a grid, not proved: step 1 has one solution where benefits fall.
        increases = (self.own(data)[1] > 0).all(axis=0)
        benefits = self.benefit(data)
        falls = (benefits > 0).all(axis=0) & (np.diff(benefits, axis=0) <= 0).all(axis=0)
        for claim, words in (
            (increases, "its z increases with its own data"),
            (falls, "its marginal benefit is positive and falls with its own data"),
        ):
            if not claim.all():
                worst, model = self.targets[int(np.argmin(claim))], self.response.model
                raise InputError(
                    f"two_step needs of every language that {words}, and under {model.label} "
                    f"that does not hold of '{worst}'; use the procedure joint"
                )

    def with_benefit(self, log_benefit: float, most: float) -> Array:
        """Return the own data at which the marginal benefit is exp(log_benefit), between 0 and `most`, (T,).

        Newton's method in log-log coordinates, in which a power law is affine, safeguarded by bisection.
        """
        # All in logarithms of own data; the bracket holds the root, or the root is at one of its ends.
        low, high = np.full(len(self.targets), np.log(LEAST * most)), np.full(len(self.targets), np.log(most))
        at = high - np.log(len(self.targets))
        for _ in range(NEWTON_STEPS):
            before, data = at, np.exp(at)
            excess = np.log(self.benefit(data)) - log_benefit  # falls with data: above 0 the root lies above
            low, high = np.where(excess > 0, at, low), np.where(excess > 0, high, at)
            with np.errstate(all="ignore"):
                newton = at - excess / self.rate(data)
            # Bisection where Newton leaves the bracket.
            at = np.where((newton > low) & (newton < high), newton, 0.5 * (low + high))
            if (np.abs(at - before) <= ROUNDING * np.abs(before)).all():
                break
        return np.where(at <= np.log(2 * LEAST * most), 0.0, np.exp(at))


def counted_targets(problem: AllocationProblem) -> tuple[str, ...]:
    """Return the targets with a positive weight, the only ones that two_step considers."""
    return tuple(name for name, weight in zip(problem.model.targets, problem.weight_vector, strict=True) if weight > 0)


def equal_benefit_direction(problem: AllocationProblem, magnitude: float) -> Array:
    """Return p, summing to 1, at which -w_i d law(own_i(e), D) / de is equal at e = t p_i; (n_targets,).

    A target whose benefit is lower even at e = 0 has a share of 0.

    Parameters
    ----------
    problem : AllocationProblem
    magnitude : float
        t, the sum of own data; 1 where only the direction is needed.

    Raises
    ------
    InputError
        Where own does not increase, or a marginal benefit does not fall.
    """
    alone = OwnData.of(problem)
    alone.check(magnitude)
    n = len(alone.targets)
    # lambda lies between the least and the largest benefit at equal own data, which bracket the root.
    equal = np.log(alone.benefit(np.full(n, magnitude / n)))
    low, high = float(equal.min()), float(equal.max())

    def excess(log_benefit: float) -> float:
        return float(np.log(alone.with_benefit(log_benefit, magnitude).sum() / magnitude))

    # The sum of own data falls with lambda; it is `magnitude` at the root.
    root = low if high - low < 1e-14 else brentq(excess, low - 1e-9, high + 1e-9, xtol=1e-14)
    data = alone.with_benefit(root, magnitude)
    # The sum is t within the root's rounding; p sums to 1.
    return np.asarray(data / data.sum())


def benefit_residual(problem: AllocationProblem, direction: Array, magnitude: float) -> float:
    """Return the relative deviation of the marginal benefits at own data t p from a common value.

    At a kink of own a benefit jumps down, so that it is the interval between its values on both sides of the own data;
    the interval of a target with share 0 is unbounded above. The deviation is 0 where all intervals overlap.
    """
    alone, data = OwnData.of(problem), magnitude * direction
    # Benefits fall: just above the own data is the least value at a kink, just below the largest.
    least = alone.benefit(data * (1 + BESIDE)).max()
    most = np.where(direction > 0, alone.benefit(data * (1 - BESIDE)), np.inf).min()
    return float(np.maximum(least - most, 0.0) / (least + most))  # NaN stays, and fails the certificate
