"""Anchors: a few runs far beyond the other pilots' budgets set the level there, in the fit and in all draws."""

from dataclasses import replace

import numpy as np
import pytest

from climbopt import bootstrap, fit
from climbopt.fitting.anchors import anchors


def with_budgets(pilots, budgets):
    few = pilots.select(np.arange(len(budgets)))
    return replace(few, tokens=np.array(budgets, dtype=float))


@pytest.mark.parametrize(
    "budgets, expected",
    [
        ([1e6] * 18 + [2e6, 4e6], [18, 19]),
        ([1e6] * 19 + [2e6], [19]),
        ([1e6] * 19 + [1.9e6], []),
        ([1e6] * 17 + [2e6] * 3, []),
        ([1e6] * 20, []),
        ([1e6, 4e6], []),
    ],
)
def test_few_runs_past_a_gap_are_anchors(pilots, budgets, expected):
    assert np.flatnonzero(anchors(with_budgets(pilots, budgets))).tolist() == expected


def raised(pilots, share):
    """Pilots and a last run of the first mixed one's ratios at four times the largest budget, losses raised."""
    first = int(np.flatnonzero(pilots.ratios.max(axis=1) < 0.9)[0])
    more = pilots.select(np.append(np.arange(len(pilots.runs)), first))
    tokens, losses = more.tokens.copy(), more.losses.copy()
    tokens[-1] = 4 * pilots.tokens.max()
    plain = fit(pilots, "power", "overlap", n_starts=1).model
    losses[-1] = (1 + share) * plain.at(tokens[-1]).predicted(more.ratios[-1])
    return replace(more, runs=(*pilots.runs, "anchor"), tokens=tokens, losses=losses), plain


def test_an_anchor_sets_the_level_of_the_fit_and_of_all_draws(pilots):
    runs, plain = raised(pilots, 0.02)
    fitted = fit(runs, "power", "overlap", n_starts=1)
    assert not fitted.outliers
    ratios, budget = runs.ratios[-1], runs.tokens[-1]
    missed = [model.at(budget).predicted(ratios) / runs.losses[-1] - 1 for model in (plain, fitted.model)]
    assert np.abs(missed[0]) == pytest.approx(np.full(6, 0.0196), abs=1e-3)
    assert np.abs(missed[1]).max() < 0.004
    drawn = [model.at(budget).predicted(ratios) / runs.losses[-1] - 1 for model in bootstrap(fitted, 6)]
    assert np.abs(drawn).max() < 0.01
    other = np.eye(6).mean(axis=0)  # the level of other mixtures there follows
    assert (fitted.model.at(budget).predicted(other) > 1.005 * plain.at(budget).predicted(other)).mean() > 0.6


def test_an_anchor_that_diverged_is_an_outlier_and_moves_nothing(pilots):
    runs, plain = raised(pilots, 1.0)
    fitted = fit(runs, "power", "overlap", n_starts=1)
    assert fitted.outliers == ("anchor",)
    mixture = np.full(6, 1 / 6)
    assert fitted.model.at(4e6).predicted(mixture) == pytest.approx(plain.at(4e6).predicted(mixture), rel=0.01)
