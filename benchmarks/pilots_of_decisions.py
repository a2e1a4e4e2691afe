"""Which pilots make the best decision: scarce6's, and others of about the same cost, judged by mixtures trained at 4 M.

    python benchmarks/pilots_of_decisions.py [--draws N] [NAME ...]

Each table of pilots is fitted by default. Printed are, over the trained mixtures of 4 M tokens (means over seeds), the
rank correlation of predicted and measured mean losses, the mean error (the level) and the mean absolute error about it,
and the mean absolute error of single losses; with --draws (10, say)
also the ratios that `decide` takes with as many draws (the command has 40).
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from climbopt import PilotRuns, decide, fit
from climbopt.files import load_supply
from climbopt.model.ensemble import Model

FOLDER = Path(__file__).resolve().parents[1] / "problems" / "scarce6"
BUDGET = 4e6
JUDGES = "trained.csv", "decisions.csv"


def tables() -> Mapping[str, pd.DataFrame]:
    """Return the tables of pilots by name."""
    shipped, cut, other = (pd.read_csv(FOLDER / name) for name in ("pilots.csv", "pilots_cut.csv", "other_pilots.csv"))
    runs = shipped["run"].str
    alone, small_budget = runs.startswith("mono"), shipped["tokens"] < 6e5
    mixed = shipped[~alone]
    half = mixed[mixed["run"].isin(list(dict.fromkeys(mixed["run"]))[::2])]
    # Each language alone at the smallest budget, and the mixtures at the smaller of two: runs before a plan.
    before = shipped[(alone & (shipped["tokens"] < 3e5)) | (runs.startswith("pilot") & small_budget)]
    after = shipped[runs.startswith("pilot") & ~small_budget]
    ten = np.random.default_rng(0).permutation(after["run"].unique())[:10]

    def added(name: str) -> pd.DataFrame:
        return other[other["run"].str.startswith(name)]

    return {
        "as shipped": shipped,
        "without single languages": mixed,
        "draws around in their place": pd.concat([mixed, added("around")]),
        "half of the mixtures": half,
        "cut supplies": cut,
        "cut, without single languages": cut[~cut["run"].str.startswith("mono")],
        "24 of the runs": before,
        "these and 10 planned": pd.concat([before, added("after")]),
        "these and 10 of the others": pd.concat([before, after[after["run"].isin(ten)]]),
        "these and all others": pd.concat([before, after]),
    }


def trained() -> pd.DataFrame:
    """Return the measured losses of mixtures at the budget: one row per mixture and language, means over seeds."""
    rows = pd.concat([pd.read_csv(FOLDER / name) for name in JUDGES])
    rows = rows[np.isclose(rows["tokens"], BUDGET, rtol=0.01)]
    return rows.assign(run=rows["run"].str.replace(r"-s\d+$", "", regex=True))


def score(model: Model, judges: PilotRuns) -> tuple[float, float, float, float]:
    """Return rank correlation and level of mean losses, their error about it, and the error of single losses."""
    predicted = model.at(BUDGET).predicted(judges.ratios_of(model.sources))
    mean = predicted.mean(axis=1) - judges.losses.mean(axis=1)
    rank = spearmanr(predicted.mean(axis=1), judges.losses.mean(axis=1)).statistic
    about = np.abs(mean - mean.mean()).mean()
    return float(rank), float(mean.mean()), float(about), float(np.abs(predicted - judges.losses).mean())


def main() -> None:
    """Print one row per table of pilots."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("names", nargs="*", metavar="NAME")
    words.add_argument("--draws", type=int, default=0, help="of the decision; 0 for none")
    chosen = words.parse_args()
    supply = load_supply(FOLDER / "supply.csv")
    rows = trained()
    judges = PilotRuns.from_frame(rows.groupby(["run", "language"], sort=False).mean(numeric_only=True).reset_index())
    print(f"{len(judges.runs)} mixtures at {BUDGET:g} tokens")
    print(f"{'':30s} runs  tokens  spearman  level  about it  losses")
    for name, table in tables().items():
        if chosen.names and name not in chosen.names:
            continue
        pilots = PilotRuns.from_frame(table)
        rank, level, about, single = score(fit(pilots, supply=supply).model, judges)
        cost = pilots.tokens.sum() / 1e6
        print(
            f"{name:30s} {len(pilots.runs):4d} {cost:5.1f} M {rank:9.3f} {level:+.4f} {about:.4f}  {single:.4f}", end=""
        )
        if chosen.draws:
            answer = decide(pilots, BUDGET, supply=supply, n_draws=chosen.draws)
            ratios = " ".join(f"{key} {ratio:.4f}" for key, ratio in answer.ratios.items())
            print(f"  {ratios}; predicted {answer.result.objective:.4f}", end="")
        print(flush=True)


if __name__ == "__main__":
    main()
