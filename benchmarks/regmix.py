"""RegMix's measured runs: each form fitted to the 512 runs of 1 M models, judged on the test runs of three sizes.

Run by hand: python benchmarks/regmix.py FOLDER [law+interaction ...]; FOLDER holds the CSV files of sail-sg/regmix.
Spearman is the mean over targets of the rank correlation, as the data's users report it; relative error is the mean
over runs and targets at the model size of the fit. Seconds are CPU time of the fit. LightGBM stands beside where it is
installed (extra `baselines`), with the settings that RegMix published but for their early stopping, which looks at the
runs that it is judged on.
"""

from __future__ import annotations

import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from climbopt import PilotRuns, fit
from climbopt.files import WideNames, read_table, tidy
from climbopt.model.templates import Array, agreeing_pairs

NAMES = WideNames("index", "train_the_pile_*", "metric/the_pile_*_val_loss")
SETS = {"1m": (1e9, 1e6), "60m": (1e9, 60e6), "1B": (25e9, 1e9)}
DEFAULT = (
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
    mixtures, losses = (read_table(folder / f"{which}_{kind}_{size}.csv") for kind in ("mixture", "pile_loss"))
    return PilotRuns.from_frame(tidy(mixtures, losses, NAMES, tokens=tokens, params=params))


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


def main(folder: Path, wanted: list[str]) -> None:
    """Print the table."""
    train = load(folder, "train", "1m")
    tests = {size: load(folder, "test", size) for size in SETS}
    assert all(runs.targets == train.targets for runs in tests.values())
    forms = {f"{law.name}+{interaction.name}": (law, interaction) for law, interaction in agreeing_pairs()}
    print(f"{'':22s} {'spearman at 1m, 60m, 1B':26s} {'mre % 1m':>8s} {'no loss':>6s} {'seconds':>7s}")
    for name in wanted or DEFAULT:
        began = time.process_time()
        model = fit(train, *forms[name]).model
        seconds = time.process_time() - began
        response = model.at(*SETS["1m"])  # 60 M and 1 B models are ranked by the losses of 1 M ones, as RegMix does
        predicted = {size: response.losses(response.z(runs.ratios_of(model.sources))) for size, runs in tests.items()}
        report(name, predicted, tests, seconds)
    if find_spec("lightgbm"):
        began = time.process_time()
        predicted = lightgbm(train, tests)
        report("LightGBM", predicted, tests, time.process_time() - began)
    else:
        print("LightGBM is not installed (extra baselines)")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), sys.argv[2:])
