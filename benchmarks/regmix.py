"""RegMix's measured runs: each form fitted to the 512 runs of 1 M models, judged on the test runs of three sizes.

Run by hand: python benchmarks/regmix.py FOLDER [law+interaction ...]; FOLDER holds the CSV files of sail-sg/regmix,
and "ensemble" is the default of `fit`, and ", pooled" after a name is `--pool`. With --curve instead of names it
prints learning curves: fits to 8 to 512 of the runs, means over random subsets, judged on the test runs of 1 M
models.
Spearman is the mean over targets of the rank correlation, as the data's users report it; relative error is the mean
over runs and targets at the model size of the fit. Seconds are CPU time of the fit. LightGBM stands beside where it is
installed (extra `baselines`), with the settings that RegMix published but for their early stopping, which looks at the
runs that it is judged on.
"""

from __future__ import annotations

import sys
import time
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from climbopt import PilotRuns, fit, load_pilots
from climbopt.files import Layout
from climbopt.model.ensemble import Ensemble
from climbopt.model.mixture import MixtureModel
from climbopt.model.templates import Array

SETS = {"1m": (1e9, 1e6), "60m": (1e9, 60e6), "1B": (25e9, 1e9)}
SIZES = (8, 12, 17, 34, 102, 512)
SUBSETS = 3
"""Random subsets per number of runs, but for all of them."""
RIDGE = 0.01
"""Of the log-linear regression, in squares of ratios."""
DEFAULT = (
    "ensemble",
    "power+none",
    "power+linear",
    "power+saturating",
    "power+gated",
    "bimix+none",
    "bimix+gated",
    "exponential+mixing",
)
LIGHTGBM = {
    "objective": "regression",
    "boosting": "gbdt",
    "learning_rate": 1e-2,
    "seed": 42,
    "verbosity": -1,
    "num_threads": 1,
}
ROUNDS = 1000


def load(folder: Path, which: str, size: str) -> PilotRuns:
    """Return the runs of one pair of files."""
    tokens, params = SETS[size]
    layout = Layout("index", "train_the_pile_*", "metric/the_pile_*_val_loss", tokens=tokens, params=params)
    return load_pilots(folder / f"{which}_mixture_{size}.csv", folder / f"{which}_pile_loss_{size}.csv", layout=layout)


def spearman(predicted: Array, measured: Array) -> float:
    """Return the mean rank correlation over targets; predictions outside a law's domain rank last."""
    filled = np.where(np.isfinite(predicted), predicted, 1e9)
    return float(np.mean([spearmanr(a, b).statistic for a, b in zip(filled.T, measured.T, strict=True)]))


def report(name: str, predicted: dict[str, Array], tests: dict[str, PilotRuns], seconds: float) -> None:
    """Print one line: rank correlations by size, relative error at 1 M, and how many losses were not predicted."""
    ranks = " ".join(f"{spearman(predicted[size], runs.losses):8.4f}" for size, runs in tests.items())
    error = np.abs(predicted["1m"] / tests["1m"].losses - 1)
    inside = np.isfinite(error)
    print(f"{name:22s} {ranks} {100 * error[inside].mean():8.3f} {int((~inside).sum()):6d} {seconds:8.1f}", flush=True)


def lightgbm(train: PilotRuns, tests: dict[str, PilotRuns]) -> dict[str, Array]:
    """Return the predictions of one gradient-boosted regression a target, on the ratios."""
    import lightgbm as lgb

    predicted = {size: np.empty(runs.losses.shape) for size, runs in tests.items()}
    for i in range(len(train.targets)):
        data = lgb.Dataset(train.ratios, train.losses[:, i])
        model = lgb.train(LIGHTGBM, data, num_boost_round=ROUNDS)
        for size, runs in tests.items():
            predicted[size][:, i] = model.predict(runs.ratios_of(train.sources))
    return predicted


def fitted(name: str, train: PilotRuns) -> MixtureModel | Ensemble:
    """Return the model that a name stands for, fitted to runs."""
    form, *pool = name.split(", ")
    law, interaction = (None, None) if form == "ensemble" else form.split("+")
    result = fit(train, law, interaction, pool=bool(pool))
    if result.pooling is not None:
        print(f"{len(train.runs)} runs: {result.pooling.words}", file=sys.stderr)
    return result.model


def log_linear(train: PilotRuns, test: PilotRuns) -> Array:
    """Return predictions by log losses linear in the ratios: ridge regression about the mean."""
    x, mean = train.ratios, np.log(train.losses).mean(axis=0)
    normal = x.T @ x + RIDGE * np.eye(x.shape[1])
    coefficients = np.linalg.solve(normal, x.T @ (np.log(train.losses) - mean))
    return np.asarray(np.exp(mean + test.ratios_of(train.sources) @ coefficients))


def curve(folder: Path) -> None:
    """Print rank correlation and relative error by the number of runs."""
    train, test = load(folder, "train", "1m"), load(folder, "test", "1m")
    predict = {
        **{name: partial(predicted, name, test=test) for name in ("ensemble", "ensemble, pooled", "power+gated")},
        "log-linear": partial(log_linear, test=test),
    }
    if find_spec("lightgbm"):
        predict["LightGBM"] = lambda runs: lightgbm(runs, {"1m": test})["1m"]
    print(f"{'runs':>5s} " + " ".join(f"{name:>24s}" for name in predict))
    for n in SIZES:
        seeds = range(1 if n == len(train.runs) else SUBSETS)
        subsets = [
            train.select(np.sort(np.random.default_rng(seed).permutation(len(train.runs))[:n])) for seed in seeds
        ]
        cells = []
        for method in predict.values():
            began = time.process_time()
            each = [method(runs) for runs in subsets]
            rank = np.mean([spearman(losses, test.losses) for losses in each])
            error = np.mean([np.nanmean(np.abs(losses / test.losses - 1)) for losses in each])
            seconds = (time.process_time() - began) / len(subsets)
            cells.append(f"{rank:8.4f} {100 * error:6.2f} % {seconds:5.1f} s")
        print(f"{n:5d} " + " ".join(cells), flush=True)


def predicted(name: str, runs: PilotRuns, test: PilotRuns) -> Array:
    """Return the losses of the test runs by a model that is fitted to some runs; NaN of targets that are not in it."""
    model = fitted(name, runs)
    losses = np.full(test.losses.shape, np.nan)
    response = model.at(*SETS["1m"])
    where = [test.targets.index(target) for target in model.targets]
    losses[:, where] = response.predicted(test.ratios_of(model.sources))
    return losses


def main(folder: Path, wanted: list[str]) -> None:
    """Print the table."""
    train = load(folder, "train", "1m")
    tests = {size: load(folder, "test", size) for size in SETS}
    assert all(runs.targets == train.targets for runs in tests.values())
    print(f"{'':22s} {'spearman at 1m, 60m, 1B':26s} {'mre % 1m':>8s} {'no loss':>6s} {'seconds':>7s}")
    for name in wanted or DEFAULT:
        began = time.process_time()
        model = fitted(name, train)
        seconds = time.process_time() - began
        response = model.at(*SETS["1m"])  # 60 M and 1 B models are ranked by the losses of 1 M ones, as RegMix does
        losses = {size: response.predicted(runs.ratios_of(model.sources)) for size, runs in tests.items()}
        report(name, losses, tests, seconds)
    if find_spec("lightgbm"):
        began = time.process_time()
        losses = lightgbm(train, tests)
        report("LightGBM", losses, tests, time.process_time() - began)
    else:
        print("LightGBM is not installed (extra baselines)")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    curve(Path(sys.argv[1])) if "--curve" in sys.argv else main(Path(sys.argv[1]), sys.argv[2:])
