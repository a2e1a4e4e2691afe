"""Global bounds: the relative gap, seconds and boxes of the search, beside SCIP with the same time limit.

    python benchmarks/global_bounds.py [--sizes 4,10,16,32,64] [--seeds 1] [--limit 60] [--gap 1e-6] [--jobs 1]
        [--without-scip] [--fitted] [--regmix FOLDER] [--inseparable]

Rows are the generator's families of languages with 30 % of the pairs negative (saturating and gated), and libreoffice6
as shipped and without its constraints; of gated ones with up to 10 languages also with nonlinear rows: under an active
loss ceiling, and the second step of two_step. Seconds are wall time of one call each, the local solves for an
incumbent included, and behind them this process's CPU time; SCIP's column stands where that backend is there.
--fitted adds the default ensemble of libreoffice6's pilots, alone and with 40 draws, to a gap of 1e-4; --regmix the
gated form of RegMix's 512 runs, from the CSV files of sail-sg/regmix, and that of separate exponents to 1e-5.
--inseparable adds pair templates that are no sum of products of a function of r_i and one of r_j, for 2 to 4 languages
with 30 % negative pairs, to a gap of 1e-4.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import regmix
import sympy as sp

from climbopt import Interaction, MixtureModel, Parameter, fit, load_pilots, load_problem
from climbopt.backends import BACKENDS, Options, choose, load
from climbopt.certification.global_bound import enclose
from climbopt.model.laws import LAWS
from climbopt.model.symbols import r_i, r_j
from climbopt.problem.allocation import AllocationProblem
from climbopt.problem.constraints import LossCeiling
from climbopt.procedures import joint_form
from climbopt.procedures.direction import equal_benefit_direction
from climbopt.procedures.two_step import magnitude_form
from climbopt.program import StandardForm
from climbopt.testing import family_problem
from climbopt.uncertainty.bootstrap import bootstrap

DRAWS, WIDE_GAP = 40, 1e-4


def problems(sizes: list[int], seeds: int) -> Iterator[tuple[str, StandardForm]]:
    """Yield the named problems of the table."""
    for m in sizes:
        for seed in range(seeds):
            yield f"saturating {m} seed {seed}", joint_form(family_problem(m, negative=0.3, seed=seed))
            gated = family_problem(m, interaction="gated", negative=0.3, seed=seed)
            yield f"gated {m} seed {seed}", joint_form(gated)
            if m <= 10:
                yield f"  its loss ceiling {m} seed {seed}", under_a_ceiling(gated)
                yield f"  its second step {m} seed {seed}", second_step(gated)
    shipped = load_problem("libreoffice6")
    free = replace(shipped, constraints=())
    yield "libreoffice6", joint_form(shipped)
    yield "  its second step", second_step(shipped)
    yield "libreoffice6 free", joint_form(free)
    yield "  its loss ceiling", under_a_ceiling(free)
    yield "  its second step", second_step(free)


def fitted() -> Iterator[tuple[str, StandardForm]]:
    """Yield the joint problems of the default ensemble, without and with draws."""
    ensemble = fit(load_pilots("libreoffice6"))
    yield "ensemble of three forms", joint_form(AllocationProblem(ensemble.model, 8e6))
    drawn = ensemble.model.with_draws(bootstrap(ensemble, DRAWS))
    yield f"  with {DRAWS} draws", joint_form(AllocationProblem(drawn, 8e6))


def inseparable(m: int) -> Iterator[tuple[str, StandardForm]]:
    """Yield joint problems of m languages whose pair template does not decompose."""
    c = sp.Symbol("c", real=True)
    names = tuple(f"s{j}" for j in range(m))
    for name, pair in (
        ("crowded", c * r_j / (1 + r_i + r_j)),
        ("shared", c * (1 - sp.exp(-4 * r_i * r_j))),
        ("excess", c * sp.Max(r_j - r_i, 0)),
    ):
        rng = np.random.default_rng(m)
        interaction = Interaction(name, r_i + sp.Rational(2, 5), pair, (Parameter(c, "pair"),))
        values = {
            "c": rng.uniform(0.05, 0.3, (m, m)) * np.where(rng.random((m, m)) < 0.3, -1.0, 1.0),
            "E": rng.uniform(0.5, 1.5, m),
            "B": rng.uniform(1.0, 3.0, m),
            "beta": rng.uniform(0.2, 0.5, m),
        }
        model = MixtureModel(LAWS["power"], interaction, names, names, values, token_unit=1e9)
        yield f"{name} {m}", joint_form(AllocationProblem(model, 10e9))


def of_regmix(folder: Path) -> Iterator[tuple[str, StandardForm, float | None]]:
    """Yield the joint problems of two forms fitted to RegMix's runs of 1 M models, and gaps of their own."""
    for law, interaction, gap in (("power", "gated", None), ("split", "powers", 1e-5)):
        model = fit(regmix.load(folder, "train", "1m"), law=law, interaction=interaction).model
        yield f"RegMix, {law} + {interaction}", joint_form(AllocationProblem(model, 1e9)), gap


def second_step(problem: AllocationProblem) -> StandardForm:
    """Return step 2 of two_step."""
    return magnitude_form(problem, equal_benefit_direction(problem, 1.0))


def under_a_ceiling(problem: AllocationProblem) -> StandardForm:
    """Return the joint problem whose largest loss has to be 1 % below what it is at a local optimum without that."""
    form = joint_form(problem)
    losses = form.functions.at(choose(form).solve(form, Options()).x).losses
    worst = int(np.argmax(losses))
    ceiling = LossCeiling({problem.model.targets[worst]: 0.99 * float(losses[worst])})
    return joint_form(replace(problem, constraints=(*problem.constraints, ceiling)))


def by_scip(form: StandardForm, limit: float) -> str:
    """Return what SCIP came to, in its own words, and its seconds; a dash where it is not there."""
    if BACKENDS["scip"].missing:
        return "-"
    began = time.perf_counter()
    solution = load("scip").solve(form, Options(time_limit=limit))
    return f"{time.perf_counter() - began:.2f} s, {solution.raw_status}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="4,10,16,32,64")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--limit", type=float, default=60.0)
    parser.add_argument("--gap", type=float, default=1e-6)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--without-scip", action="store_true")
    parser.add_argument("--fitted", action="store_true")
    parser.add_argument("--regmix", type=Path)
    parser.add_argument("--inseparable", action="store_true")
    given = parser.parse_args()
    print(f"{'problem':32} {'relative gap':>12} {'seconds':>8} {'CPU':>8} {'boxes':>6}  {'stopped':12} SCIP")
    sizes = [int(m) for m in given.sizes.split(",")] if given.sizes else []
    rows = [(name, form, given.gap) for name, form in problems(sizes, given.seeds)]
    rows += [(name, form, WIDE_GAP) for name, form in fitted()] if given.fitted else []
    rows += [(*row, WIDE_GAP) for m in (2, 3, 4) for row in inseparable(m)] if given.inseparable else []
    rows += [(name, form, gap or given.gap) for name, form, gap in of_regmix(given.regmix)] if given.regmix else []
    for name, form, gap_asked in rows:
        began = time.process_time()
        found = enclose(form, gap=gap_asked, time_limit=given.limit, jobs=given.jobs)
        cpu = time.process_time() - began
        gap = "-" if found.relative_gap is None else f"{found.relative_gap:.1e}"
        print(
            f"{name:32} {gap:>12} {found.seconds:8.2f} {cpu:8.2f} {found.nodes:6d}  {found.stopped:12} "
            f"{'-' if given.without_scip else by_scip(form, given.limit)}",
            flush=True,
        )


if __name__ == "__main__":
    main()
