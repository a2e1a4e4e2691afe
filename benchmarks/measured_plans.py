"""What optimal plans save on measured runs: libreoffice6, whole runs held out, the others the only candidates.

    python benchmarks/measured_plans.py [--numbers 18,24,30,36,42,48] [--seeds 3] [--draws 4] [--jobs 1]

A design knows mixtures and budgets and no losses; one after a fit knows those of the first half of its runs. Each is
fitted, and judged by the mean absolute error of held-out mixed runs at ratios above 0. Printed beside a design's error
are its mean share of what all runs reach, and how many random runs reach the same, interpolated.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed

from climbopt import load_pilots
from climbopt.fitting.estimate import units
from climbopt.fitting.fit import fit
from climbopt.fitting.select import FOLDS, folds_of
from climbopt.model.interactions import INTERACTIONS
from climbopt.model.laws import LAWS
from climbopt.model.templates import Form
from climbopt.studies.design.candidates import JUDGED_FLOOR, N_JUDGED, mixtures
from climbopt.studies.design.criteria import Knowledge, Runs, Search

PILOTS = Path(__file__).parents[1] / "problems" / "libreoffice6" / "pilots.csv"
FORM = LAWS["power"], INTERACTIONS["gated"]


def alone(pilots):
    """Return the position of each language's smallest run by itself."""
    order = np.lexsort((pilots.tokens, -pilots.ratios.max(axis=1)))
    return [int(next(k for k in order if pilots.ratios[k, j] == 1)) for j in range(len(pilots.sources))]


def designed(pilots, criterion, n, kept, model=None, seed=0):
    """Return n of the runs, `kept` among them, by an exchange that sees no loss; given a model, at its parameters."""
    rng, smallest = np.random.default_rng(seed), float(pilots.tokens.min())
    known = (
        Knowledge.of_prior(Form(*FORM), pilots.sources, smallest, units(pilots)["tokens"], rng)
        if model is None
        else Knowledge.of_model(model, smallest)
    )
    m = len(pilots.sources)
    judged = Runs(mixtures(np.full(m, JUDGED_FLOOR), np.ones(m), N_JUDGED, rng), np.full(N_JUDGED, pilots.tokens.max()))
    search = Search(
        known.derivatives(Runs(pilots.ratios, pilots.tokens)),
        pilots.tokens,
        known.prior,
        known.derivatives(judged, noise=False),
        float(pilots.tokens.mean()),
        m,
        criterion,
        once=True,
    )
    return search.run(kept, n, None, None)


def after_a_fit(pilots, n, kept):
    """Return n runs: half I-optimal for the priors, the rest for the fit to these."""
    first = designed(pilots, "I", max(n // 2, 12), kept)
    return designed(pilots, "I", n, first, fit(pilots.select(np.array(first)), *FORM, n_starts=1).model)


def random(pilots, n, kept, rng):
    """Return n runs, `kept` among them."""
    others = np.setdiff1d(np.arange(len(pilots.runs)), kept)
    return [*kept, *rng.choice(others, n - len(kept), replace=False).tolist()]


def error(pilots, chosen, unseen):
    """Return the mean error of mixed unseen runs, predicted by a fit to the chosen ones."""
    model = fit(pilots.select(np.array(chosen)), *FORM, n_starts=1).model
    response = model.at(unseen.tokens)
    mixed = (unseen.ratios > 0) & (unseen.ratios < 1)
    return float(np.abs(response.losses(response.z(unseen.ratios)) - unseen.losses)[mixed].mean())


def measured(pilots, fold, numbers, n_draws, seed):
    """Return, by design and number of runs: error, tokens and share of single-language runs, means over draws."""
    unseen, known = pilots.select(fold), pilots.select(~fold)
    kept, rng = alone(known), np.random.default_rng(seed)
    designs = {}
    for n in numbers:
        designs["random", n] = [random(known, n, [], rng) for _ in range(n_draws)]
        designs["random, each alone", n] = [random(known, n, kept, rng) for _ in range(n_draws)]
        designs["D-optimal", n] = [designed(known, "D", n, kept)]
        designs["I-optimal", n] = [designed(known, "I", n, kept)]
        designs["I-optimal, after a fit", n] = [after_a_fit(known, n, kept)]
    designs["all", 0] = [list(range(len(known.runs)))]
    return {
        key: (
            np.mean([error(known, one, unseen) for one in some]),
            np.mean([known.tokens[one].sum() for one in some]),
            np.mean([(known.ratios[one].max(axis=1) == 1).mean() for one in some]),
        )
        for key, some in designs.items()
    }


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--numbers", default="18,24,30,36,42,48")
    words.add_argument("--seeds", type=int, default=3)
    words.add_argument("--draws", type=int, default=4)
    words.add_argument("--jobs", type=int, default=1)
    given = words.parse_args()
    pilots, numbers = load_pilots(PILOTS), [int(n) for n in given.numbers.split(",")]
    folds = [folds_of(pilots, FOLDS, seed) == k for seed in range(1, given.seeds + 1) for k in range(FOLDS)]
    found = defaultdict(list)
    for one in Parallel(n_jobs=given.jobs)(
        delayed(measured)(pilots, fold, numbers, given.draws, k) for k, fold in enumerate(folds)
    ):
        for key, values in one.items():
            found[key].append(values)
    table = {key: np.array(values) for key, values in found.items()}
    every = table.pop(("all", 0))
    n_all = len(pilots.runs) * (1 - 1 / FOLDS)
    path = [*((table["random", n][:, 0].mean(), n) for n in numbers), (every[:, 0].mean(), n_all)]
    print(
        f"{len(folds)} folds; all: {n_all:.0f} runs, {every[:, 1].mean() / 1e6:.1f} M tokens, "
        f"{every[:, 0].mean():.5f} nats, {100 * every[:, 2].mean():.0f} % single languages"
    )
    for (name, n), (errors, tokens, lone) in ((key, values.T) for key, values in table.items()):
        ratio = errors / every[:, 0]
        as_good = np.interp(-errors.mean(), *np.array([(-error, runs) for error, runs in path]).T)
        print(
            f"{name:<23}{n:>3} runs {tokens.mean() / 1e6:>5.1f} M  {errors.mean():.5f} nats  {ratio.mean():.2f} "
            f"(+- {ratio.std(ddof=1) / len(ratio) ** 0.5:.2f}) of all's  as {as_good:.0f} random runs  "
            f"{100 * lone.mean():.0f} % single languages"
        )


if __name__ == "__main__":
    main()
