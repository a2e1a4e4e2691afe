"""Languages that no run has: each left out of measured runs in turn, and predicted from what the others are like.

Run by hand: python benchmarks/new_language.py for libreoffice6 (a minute), python benchmarks/new_language.py FOLDER
[DOMAIN ...] for RegMix, whose CSV files of sail-sg/regmix are in FOLDER (one to four minutes per domain). The default
ensemble is fitted to runs without the language, whose losses it does not see either, and extended by it:

libreoffice6, alone   runs in which the language has a ratio of 0, all of one language alone; judged on the pilots
libreoffice6, mixed   all three tables, runs in which it has 2 % or less, its tokens taken out of them; judged on all
RegMix                102 of the runs in which it has a ratio of 0; judged on the 256 test runs of 1 M models

For each language: losses, share inside their 90 % bands, median half width and mean absolute error, in nats, of the
language's own losses and of others' where its ratio is above 2 %, and 10 %.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from regmix import load

from climbopt import Ensemble, EnsembleFit, PilotRuns, bootstrap, extend, fit, load_pilots
from climbopt.model.templates import Array
from climbopt.uncertainty.bootstrap import loss_noise

FOLDER = Path(__file__).resolve().parents[1] / "problems" / "libreoffice6"
TABLES = ("pilots.csv", "small_ratios.csv", "held_out.csv")
LITTLE = 0.02
"""Ratio up to which a language's tokens are taken out of a run."""
RUNS, DRAWS = 102, 20
"""Of each fit to RegMix's runs."""
SHARES = (LITTLE, 0.1)
"""Other languages are judged where the new one's ratio is above each."""


def without(runs: PilotRuns, name: str, most: float = 0.0) -> PilotRuns:
    """Return the runs in which a language has at most a ratio, as runs without it: its tokens and losses left out."""
    own = runs.ratios_of([name])[:, 0]
    chosen, rest = runs.select(own <= most), 1 - own[own <= most]
    j, i = runs.sources.index(name), [k for k, target in enumerate(runs.targets) if target != name]
    ratios = np.delete(chosen.ratios, j, axis=1) / rest[:, None]
    sources = tuple(source for source in runs.sources if source != name)
    targets = tuple(runs.targets[k] for k in i)
    return replace(
        chosen, sources=sources, targets=targets, ratios=ratios, tokens=chosen.tokens * rest, losses=chosen.losses[:, i]
    )


def extended(runs: PilotRuns, name: str, n_draws: int) -> Ensemble:
    """Return the model fitted to runs without a language, extended by it, with its draws."""
    fitted = fit(runs)
    assert isinstance(fitted, EnsembleFit)
    draws = bootstrap(fitted, n_draws)
    return with_language(replace(fitted.model, noise=loss_noise(fitted, draws)), draws, name)


def with_language(model: Ensemble, draws: tuple[Ensemble, ...], name: str) -> Ensemble:
    """Return a model extended by a language, with its draws."""
    extension = extend(model, [name], draws)
    return extension.model.with_draws(extension.draws)


def judged(model: Ensemble, runs: PilotRuns, name: str) -> list[Array]:
    """Return errors and half widths, (n, 2), of the language's own losses and of others' above each of `SHARES`."""
    ratios = runs.ratios_of(model.sources)
    half = model.noise.half_widths(model.spread(ratios, runs.tokens), runs.ratios_of(model.targets))
    rows = [model.targets.index(target) for target in runs.targets]
    errors = model.at(runs.tokens).predicted(ratios)[:, rows] - runs.losses
    both = np.stack([np.abs(errors), half[:, rows]], axis=-1)
    own = np.array([target == name for target in runs.targets])
    above = [ratios[:, model.sources.index(name)] > share for share in SHARES]
    return [both[:, own].reshape(-1, 2), *(both[mask][:, ~own].reshape(-1, 2) for mask in above)]


def row(name: str, classes: list[Array]) -> str:
    """Return one line of the table."""
    cells = []
    for part in classes:
        if not len(part):
            cells.append(f"{'–':>29s}")
            continue
        inside = 100 * np.mean(part[:, 0] <= part[:, 1])
        cells.append(f"{len(part):6d} {inside:5.1f} % {np.median(part[:, 1]):7.3f} {part[:, 0].mean():7.3f}")
    return f"{name:18s}" + " | ".join(cells)


def table(title: str, known: dict[str, PilotRuns], runs: PilotRuns, n_draws: int) -> None:
    """Print one row per language left out, and one of all."""
    print(f"{title:18s}" + " | ".join(f"{head:29s}" for head in ("own losses", *(f"others, > {s:g}" for s in SHARES))))
    results = []
    for name, fitted_to in known.items():
        results.append(judged(extended(fitted_to, name, n_draws), runs, name))
        print(row(name, results[-1]), flush=True)
    print(row("all", [np.concatenate(parts) for parts in zip(*results, strict=True)]))


def some(runs: PilotRuns) -> PilotRuns:
    """Return `RUNS` of the runs, drawn at random."""
    return runs.select(np.sort(np.random.default_rng(0).permutation(len(runs.runs))[:RUNS]))


def main(arguments: list[str]) -> None:
    """Print the tables of libreoffice6, or that of RegMix."""
    if arguments:
        train, test = (load(Path(arguments[0]), which, "1m") for which in ("train", "test"))
        names = arguments[1:] or train.sources
        table("RegMix", {name: some(without(train, name)) for name in names}, test, DRAWS)
        return
    pilots = load_pilots(FOLDER / "pilots.csv")
    table("alone", {name: without(pilots, name) for name in pilots.sources}, pilots, 40)
    each = [pd.read_csv(FOLDER / place).assign(table=place) for place in TABLES]
    for part in each:
        part["run"] = part.pop("table") + part["run"].astype(str)
    every = PilotRuns.from_frame(pd.concat(each))
    table("mixed", {name: without(every, name, LITTLE) for name in every.sources}, every, 40)


if __name__ == "__main__":
    main(sys.argv[1:])
