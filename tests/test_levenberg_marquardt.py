"""The fit's own least-squares solver, against scipy's and against the conditions of a minimum inside bounds."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import least_squares

from climbopt.fitting.ceilings import at_budgets, with_ceilings
from climbopt.fitting.coordinates import fit_form
from climbopt.fitting.estimate import _blocks, _starts, observations
from climbopt.fitting.levenberg_marquardt import minima, minimum
from climbopt.model.interactions import INTERACTIONS
from climbopt.model.laws import LAWS


def blocks(pilots, law, interaction):
    form = fit_form(LAWS[law], INTERACTIONS[interaction])
    return _blocks(pilots, form, observations(pilots, form.law, form.interaction)[0])


def scipys(block, start):
    return least_squares(
        block.residuals,
        np.maximum(start, block.lower),
        block.jacobian,
        x_scale=block.spread,
        bounds=(block.lower, np.inf),
        max_nfev=300,
        ftol=1e-10,
        xtol=1e-10,
        gtol=1e-10,
    )


@pytest.mark.parametrize(
    "law, interaction, target",
    [
        ("power", "gated", 0),
        ("bimix", "gated", 5),
        ("bimix", "linear", 2),
        ("exponential", "mixing", 1),
        ("power", "repetition", 0),
    ],
)
def test_as_low_as_scipys_minimum_from_the_same_start(pilots, law, interaction, target):
    block = blocks(pilots, law, interaction)[target]
    start = _starts(block, 1)[0]
    x = minimum(block, start)
    assert (x >= block.lower).all()
    assert block.cost(x) <= scipys(block, start).cost * (1 + 1e-6)


def test_the_gradient_vanishes_but_where_a_bound_holds(pilots):
    rng = np.random.default_rng(0)
    held = 0
    for block in blocks(pilots, "power", "gated"):
        times = rng.integers(1, 4, len(block.rows.D))[:, None]
        block = replace(block, rows=replace(block.rows, scale=block.rows.scale / np.sqrt(times)))
        block = with_ceilings(
            block,
            at_budgets(block, np.eye(6)),
            1.05 * np.nanmax(block.rows.losses, axis=0),
            0.01 * np.ones(len(block.targets)),
        )
        x = minimum(block, _starts(block, 1)[0], 1e-12)
        gradient = (block.jacobian(x) * block.spread).T @ block.residuals(x)
        free = x > block.lower
        held += int((~free).sum())
        assert np.abs(gradient[free]).max() < 1e-2 * np.sqrt(block.cost(x)) and gradient[~free].min() > -1e-2
        assert minimum(block, x) == pytest.approx(x)
        assert block.cost(minimum(block, x + rng.uniform(0, 0.3, x.size) * block.spread, 1e-5)) <= (
            block.cost(x) * (1 + 1e-3)
        )
    assert held


def test_a_start_that_predicts_nothing_is_returned(pilots):
    block = blocks(pilots, "power", "gated")[0]
    start = np.full(block.center.size, np.nan)
    assert np.isnan(minimum(block, start)).all()


def drawn(block, rng, count):
    """A batch of the block with runs counted 0 to 3 times and prior means drawn."""
    batch = block.repeated(count)
    times = rng.integers(0, 4, (count, len(block.rows.D), 1))
    scale = np.where(times > 0, batch.rows.scale / np.sqrt(np.maximum(times, 1)), np.inf)
    means = block.center + 0.3 * block.spread * rng.standard_normal((count, block.center.size))
    return batch.on(replace(batch.rows, scale=scale), means)


@pytest.mark.parametrize("law, interaction", [("split", "powers"), ("bimix", "overlap"), ("power", "repetition")])
def test_each_problem_of_a_batch_ends_where_scipys_search_of_it_alone_does(pilots, law, interaction):
    rng = np.random.default_rng(3)
    made = blocks(pilots, law, interaction)[:3]
    batches = [drawn(block, rng, 2) for block in made]
    starts = [np.tile(_starts(block, 1)[0], (2, 1)) for block in made]
    ends = minima(batches, starts, 1e-12)
    for batch, start, end in zip(batches, starts, ends, strict=True):
        for k in range(2):
            alone = batch.take(k)
            assert alone.cost(end[k]) <= scipys(alone, start[k]).cost * (1 + 1e-6)
            assert end[k] == pytest.approx(minimum(alone, start[k], 1e-12), abs=1e-4)
