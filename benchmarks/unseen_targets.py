"""Targets that are never trained: eight languages measured under mixtures of six others, by the number of runs.

Run by hand: python benchmarks/unseen_targets.py [--numbers 12,24]. Mean absolute error in nats over the eight
targets and the test mixtures of `problems/libreoffice6/unseen_targets.csv`, means over three random subsets
of the training mixtures; rank is the Spearman correlation by target, at the smaller budget. "former noise" assumes
7 % for these losses in place of 0.7 %. A Gaussian process of the residuals (Matern 5/2 in square roots of ratios and
the logarithm of the budget, one kernel for all targets, learned by marginal likelihood) is a prototype, no part of the
package. LightGBM stands beside where it is installed (extra `baselines`), with RegMix's settings and with leaves of
5 runs or more, which suits few.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
from regmix import LIGHTGBM, ROUNDS
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize
from scipy.stats import spearmanr

from climbopt import PilotRuns, fit
from climbopt.fitting import estimate
from climbopt.model.templates import Array

TABLE = Path(__file__).resolve().parents[1] / "problems" / "libreoffice6" / "unseen_targets.csv"
SUBSETS = 3
RIDGE = 0.01
START = np.log([1.0, 0.5, 2.0, 0.5])
"""Amplitude, lengths of square roots of ratios and of the budget's logarithm, noise; a weak prior lies about them."""
FORMS = ("split+powers", "bimix+powers", "bimix+overlap")
Prediction = Callable[[PilotRuns], Array]


def kernel(a: Array, b: Array, theta: Array) -> Array:
    """Return the Matern 5/2 covariance of points (n, p) and (m, p), whose last coordinate is the budget's."""
    lengths = np.exp([theta[1]] * (a.shape[1] - 1) + [theta[2]])
    distance = np.sqrt(5 * np.square(a[:, None] / lengths - b / lengths).sum(axis=-1))
    return np.asarray(np.exp(2 * theta[0]) * (1 + distance + distance**2 / 3) * np.exp(-distance))


def place(runs: PilotRuns) -> Array:
    """Return the points of the process."""
    return np.column_stack([np.sqrt(runs.ratios), np.log(runs.tokens)])


def with_process(train: PilotRuns, mean: Prediction) -> Prediction:
    """Return a prediction plus a Gaussian process of its residuals."""
    x, residuals = place(train), train.losses - mean(train)
    scale = residuals.std(axis=0) + 1e-9
    y = residuals / scale

    def covariance(theta: Array) -> Array:
        return kernel(x, x, theta) + (np.exp(2 * theta[3]) + 1e-8) * np.eye(len(x))

    def cost(theta: Array) -> float:
        factor = cho_factor(covariance(theta), lower=True)
        fits = 0.5 * (y * cho_solve(factor, y)).sum() + y.shape[1] * np.log(np.diag(factor[0])).sum()
        return float(fits + np.square(theta - START).sum() / 8)

    theta = minimize(cost, START, method="L-BFGS-B", bounds=[(-6, 3), (-3, 4), (-1, 5), (-6, 2)]).x
    weights = np.linalg.solve(covariance(theta), y)
    return lambda runs: mean(runs) + kernel(place(runs), x, theta) @ weights * scale


def constant(train: PilotRuns) -> Prediction:
    """Return the mean loss of the runs."""
    return lambda runs: np.tile(train.losses.mean(axis=0), (len(runs.runs), 1))


def regression(train: PilotRuns) -> Prediction:
    """Return losses linear in ratios, their square roots and the logarithm of the budget: ridge regression."""

    def design(runs: PilotRuns) -> Array:
        return np.column_stack([runs.ratios, np.sqrt(runs.ratios + 1e-3), np.log(runs.tokens)])

    center, mean = design(train).mean(axis=0), train.losses.mean(axis=0)
    x = design(train) - center
    slopes = np.linalg.solve(x.T @ x + RIDGE * np.eye(x.shape[1]), x.T @ (train.losses - mean))
    return lambda runs: mean + (design(runs) - center) @ slopes


def fitted(train: PilotRuns, name: str = "ensemble") -> Prediction:
    """Return the predictions of a fitted form, or of the default ensemble."""
    model = fit(train, *(() if name == "ensemble" else name.split("+"))).model
    return lambda runs: model.at(runs.tokens).predicted(runs.ratios)


def former(train: PilotRuns) -> Prediction:
    """Return the ensemble's predictions with the noise of losses at a ratio of 0 for targets that are no source."""
    now = estimate.assumed_noise
    estimate.assumed_noise = lambda ratios, sources, targets: estimate.noise_at(train.ratios_of(targets))
    try:
        return fitted(train)
    finally:
        estimate.assumed_noise = now


def boosted(train: PilotRuns, least: int) -> Prediction:
    """Return one gradient-boosted regression a target, on ratios and budget."""
    import lightgbm as lgb

    x = np.column_stack([train.ratios, train.tokens])
    options = LIGHTGBM | {"min_data_in_leaf": least}
    trees = [lgb.train(options, lgb.Dataset(x, column), num_boost_round=ROUNDS) for column in train.losses.T]
    return lambda runs: np.column_stack([tree.predict(np.column_stack([runs.ratios, runs.tokens])) for tree in trees])


def methods() -> dict[str, Callable[[PilotRuns], Prediction]]:
    """Return what is compared, by name."""
    trees = {
        "LightGBM": lambda train: boosted(train, 20),
        "LightGBM, leaves of 5": lambda train: boosted(train, 5),
    }
    return {
        "the runs' mean": constant,
        "ridge regression": regression,
        **(trees if find_spec("lightgbm") else {}),
        "process about the mean": lambda train: with_process(train, constant(train)),
        "ensemble, former noise": former,
        "ensemble": fitted,
        "ensemble + process": lambda train: with_process(train, fitted(train)),
        **{name: lambda train, name=name: fitted(train, name) for name in FORMS},
    }


def subsets(train: PilotRuns, number: int) -> Iterator[PilotRuns]:
    """Yield random subsets of the runs."""
    for seed in range(SUBSETS if number < len(train.runs) else 1):
        yield train.select(np.sort(np.random.default_rng(seed).permutation(len(train.runs))[:number]))


def main() -> None:
    """Print one row per number of runs and method."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--numbers", default="12,24")
    chosen = words.parse_args()
    table = pd.read_csv(TABLE)
    train, test = (PilotRuns.from_frame(table[table["run"].str.startswith(name)]) for name in ("train", "test"))
    unseen = [k for k, name in enumerate(test.targets) if name not in test.sources]
    least = test.tokens == test.tokens.min()
    for number in map(int, chosen.numbers.split(",")):
        for name, method in methods().items():
            predicted = [method(runs)(test)[:, unseen] for runs in subsets(train, number)]
            measured = test.losses[:, unseen]
            error = np.mean([np.abs(each - measured).mean() for each in predicted])
            ranks = [
                spearmanr(column, losses).statistic
                for each in predicted
                if np.ptp(each[least], axis=0).min() > 0
                for column, losses in zip(each[least].T, measured[least].T, strict=True)
            ]
            print(f"{number:3d} {name:24s} {error:.4f}  rank {np.mean(ranks) if ranks else np.nan:.3f}", flush=True)


if __name__ == "__main__":
    main()
