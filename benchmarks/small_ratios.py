"""Pilots with and without small ratios: the default fit of libreoffice6, judged on the mixtures kept out of it.

Run by hand: python benchmarks/small_ratios.py. The runs of `problems/libreoffice6/small_ratios.csv` have three
languages at ratios between 0.001 and 0.06; they stand beside the shipped pilots, or in place of runs of one language.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from climbopt import PilotRuns, fit, load_pilots
from climbopt.model.noise import SMALL

FOLDER = Path(__file__).resolve().parents[1] / "problems" / "libreoffice6"
INSIDE, BETWEEN = 2.2e6, 5e6
"""Budgets up to which a mixture is inside the pilots', and beyond which it has four times the largest."""


def errors(pilots: pd.DataFrame, held_out: PilotRuns) -> list[str]:
    """Return the mean absolute error and the bias of each class of held-out losses, as text."""
    model = fit(PilotRuns.from_frame(pilots)).model
    error = model.at(held_out.tokens).predicted(held_out.ratios) - held_out.losses
    tokens = held_out.tokens[:, None]
    budgets = tokens <= INSIDE, (tokens > INSIDE) & (tokens < BETWEEN), tokens >= BETWEEN
    shares = held_out.ratios >= SMALL, held_out.ratios < SMALL
    classes = [error[share & budget] for share in shares for budget in budgets]
    return [f"{np.abs(part).mean():.4f} {part.mean():+.3f}" for part in classes]


def main() -> None:
    """Print one row per table of pilots."""
    pilots, small = (pd.read_csv(FOLDER / name) for name in ("pilots.csv", "small_ratios.csv"))
    single = pilots["run"].str.startswith("mono")
    some = pilots["run"].str.contains("-500000-|-2000000-")
    first = small[small["seed"] == 0]
    runs = list(dict.fromkeys(first["run"]))
    tables = {
        "the pilots": pilots,
        "12 of 24 single replaced": pd.concat([pilots[~single | some], first[first["run"].isin(runs[:12])]]),
        "24 of 24 single replaced": pd.concat([pilots[~single], first[first["run"].isin(runs[:24])]]),
        "the pilots and 30 more": pd.concat([pilots, first]),
    }
    held_out = load_pilots(FOLDER / "held_out.csv")
    print(f"{'runs':>29s}  >= 0.03: to 2 M, to 4 M, 8 M; below 0.03: the same")
    for name, table in tables.items():
        print(f"{name:26s} {table['run'].nunique():2d}  {'  '.join(errors(table, held_out))}", flush=True)


if __name__ == "__main__":
    main()
