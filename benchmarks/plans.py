"""What optimal plans of pilot runs are worth beside CLIMB's: fits to synthetic truths, judged on unseen mixtures.

Run by hand; prints the mean error relative to that of CLIMB's design, and the worst ratio over the truths.
"""

import numpy as np

from climbopt import MixtureModel, PilotRuns, fit, plan
from climbopt.model.interactions import INTERACTIONS
from climbopt.model.laws import LAWS
from climbopt.studies.design.candidates import mixtures

BUDGETS = (0.5e9, 1e9, 2e9)
NOISE = 0.005


def truth(m, rng):
    names = tuple(f"l{i}" for i in range(m))
    values = {
        "E": rng.uniform(0.8, 1.4, m),
        "B": rng.uniform(0.4, 1.0, m),
        "beta": rng.uniform(0.2, 0.4, m),
        "eta": rng.uniform(3, 8, m),
        "h": rng.uniform(0.005, 0.03, m),
        "b": rng.normal(0.02, 0.06, (m, m)),
        "k": rng.normal(0.02, 0.03, (m, m)),
        "l": rng.uniform(0.002, 0.02, (m, m)),
    }
    return MixtureModel(LAWS["power"], INTERACTIONS["gated"], names, names, values, token_unit=1e9)


def error(model, runs, unseen, rng):
    at, late = model.at(runs.tokens), model.at(max(BUDGETS))
    losses = at.losses(at.z(runs.ratios))
    losses = losses * (1 + NOISE * rng.standard_normal(losses.shape))
    names = tuple(map(str, range(len(runs))))
    pilots = PilotRuns(names, model.sources, model.targets, runs.ratios, runs.tokens, losses)
    fitted = fit(pilots, n_starts=1).model.at(max(BUDGETS))
    return np.abs(fitted.losses(fitted.z(unseen)) - late.losses(late.z(unseen))).mean()


def main():
    for m, numbers, n_truths in ((4, (None, 24, 28), 10), (6, (None, 36, 42), 6)):
        names = [f"l{i}" for i in range(m)]
        plans = [plan(names, BUDGETS, n, criterion=criterion) for criterion in ("I", "D") for n in numbers]
        designs = [plans[0].climb, *(one.chosen for one in plans)]
        errors = np.zeros((len(designs), n_truths))
        for seed in range(n_truths):
            rng = np.random.default_rng(seed)
            model = truth(m, rng)
            unseen = mixtures(np.full(m, 0.02), np.ones(m), 300, rng)
            errors[:, seed] = [error(model, one.runs, unseen, np.random.default_rng(100 + seed)) for one in designs]
        for design, row in zip(designs, errors, strict=True):
            print(
                f"m {m}  {design.name:<16} {len(design.runs):>3} runs {design.tokens / 1e9:>5.1f} B  promised "
                f"{design.error / designs[0].error:.2f}  measured {row.mean() / errors[0].mean():.2f}  worst "
                f"{(row / errors[0]).max():.2f}  ({row.mean():.5f} nats)"
            )


if __name__ == "__main__":
    main()
