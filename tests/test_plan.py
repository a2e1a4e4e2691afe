"""Plans of pilot runs: the sampler, the information, the exchange, and what a plan is worth on a synthetic truth."""

import json

import numpy as np
import pandas as pd
import pytest
from conftest import PROBLEMS, random_model

from climbopt import AllocationProblem, Floor, InputError, MixtureModel, PilotRuns, fit, load_model, plan, solve
from climbopt.fitting.coordinates import fit_form
from climbopt.model.ensemble import Ensemble
from climbopt.model.interactions import INTERACTIONS
from climbopt.model.laws import LAWS
from climbopt.model.templates import Form
from climbopt.studies.design.candidates import Space, decision_region, mixtures
from climbopt.studies.design.criteria import BELIEVED, Knowledge, Runs, Search, expected_error, information

NAMES = ("s0", "s1", "s2")


def test_floors_alone_give_a_shifted_dirichlet():
    lower = np.array([0.1, 0.0, 0.3, 0.05])
    drawn = mixtures(lower, np.ones(4), 20000, np.random.default_rng(0))
    assert (drawn >= lower).all() and np.abs(drawn.sum(axis=1) - 1).max() < 1e-12
    np.testing.assert_allclose(drawn.mean(axis=0), lower + 0.55 / 4, atol=0.003)
    np.testing.assert_allclose(drawn.var(axis=0), 0.55**2 * 3 / (16 * 5), rtol=0.05)  # Dirichlet(1, 1, 1, 1)


def test_caps_leave_the_uniform_distribution_between_them():
    """Against the same distribution by rejection, which this test may use and the sampler may not."""
    lower, upper = np.array([0.05, 0.0, 0.1]), np.array([0.5, 0.4, 1.0])
    rng = np.random.default_rng(1)
    drawn = mixtures(lower, upper, 20000, rng)
    assert (drawn >= lower - 1e-12).all() and (drawn <= upper + 1e-12).all()
    assert np.abs(drawn.sum(axis=1) - 1).max() < 1e-12
    other = rng.dirichlet(np.ones(3), 200000)
    other = other[((other >= lower) & (other <= upper)).all(axis=1)]
    for j in range(3):
        grid = np.linspace(lower[j], min(upper[j], 1), 12)
        np.testing.assert_allclose(
            [(drawn[:, j] <= x).mean() for x in grid], [(other[:, j] <= x).mean() for x in grid], atol=0.015
        )


def test_bounds_that_leave_no_mixture():
    for lower, upper in (([0.6, 0.6], [1, 1]), ([0, 0], [0.4, 0.4]), ([0.5, 0], [0.2, 1])):
        with pytest.raises(InputError, match="no mixture meets the bounds"):
            mixtures(np.array(lower), np.array(upper), 3, np.random.default_rng(0))


@pytest.mark.parametrize("interaction", list(INTERACTIONS))
def test_a_model_is_found_again_in_the_coordinates_of_the_fit(interaction):
    model = random_model(interaction, sources=3)
    known = Knowledge.of_model(model, 5e8)
    form = fit_form(model.law, model.interaction)
    own = np.zeros((3, 3), dtype=bool)
    own[np.arange(3), np.arange(3)] = True
    for block, x in known.blocks:
        rows = [model.targets.index(name) for name in block.targets]
        for name, values in form.declared(block.values(x), block.blank).items():
            expected = model.parameters[name][rows]
            kept = ~own[rows] if expected.ndim == 2 else np.ones(expected.shape, dtype=bool)
            np.testing.assert_allclose(values[kept], expected[kept], rtol=1e-9, atol=1e-12)


def test_derivatives_are_those_of_the_losses():
    """Against central differences of the fitted coordinates' losses, over the fit's noise."""
    model = random_model(sources=3)
    known = Knowledge.of_model(model, 5e8)
    runs = Runs(np.array([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]]), np.array([1e9, 2e9]))
    found = known.derivatives(runs, noise=False)
    for b, (block, x) in enumerate(known.blocks):
        median, h = block.rows.losses[0, 0], 1e-6
        for k in range(x.size):

            def losses(y, block=block):
                response = block.model(y).at(runs.tokens / known.token_unit)
                return response.losses(response.z(runs.ratios))[:, 0]

            slope = (losses(x + h * np.eye(x.size)[k]) - losses(x - h * np.eye(x.size)[k])) / (2 * h * median)
            np.testing.assert_allclose(found[b, :, 0, k], slope, rtol=1e-5, atol=1e-8)


def test_no_design_counts_on_derivatives_that_run_off():
    known = Knowledge.of_prior(Form(LAWS["power"], INTERACTIONS["gated"]), NAMES, 1e9, 1e9, np.random.default_rng(0))
    runs = Runs(np.array([[1.0, 0.0, 0.0], [0.999999, 1e-6, 0.0]]), np.array([1e9, 1e9]))
    variance = np.einsum(
        "bntp,bp->bnt", known.derivatives(runs, noise=False) ** 2, 1 / np.diagonal(known.prior, axis1=1, axis2=2)
    )
    assert np.sqrt(variance).max() == pytest.approx(BELIEVED)  # some run off, and are brought back


def test_the_larger_design_is_three_ratios_by_language_by_two_budgets():
    runs = Space(4, [5e8, 1e9, 2e9]).climb()
    assert len(runs) == 3 * 4 * 2 + 3 * 4
    np.testing.assert_allclose(runs.ratios.sum(axis=1), 1)
    mixed = runs.ratios.max(axis=1) < 1
    assert set(runs.tokens[mixed]) == {1e9, 2e9}
    assert sorted(set(runs.ratios[mixed].max(axis=1).round(6))) == [0.3, 0.4, 0.7]
    floored = Space(4, [1e9], 0.1).climb()
    assert floored.ratios.min() == pytest.approx(0.1) and len(floored) == 3 * 4 + 4


@pytest.mark.parametrize("criterion", ["D", "I"])
@pytest.mark.parametrize("floor", [0.0, 0.1])
def test_a_plan_keeps_its_promises(criterion, floor):
    found = plan(NAMES, [5e8, 1e9, 2e9], 14, floor=floor, criterion=criterion)
    runs, larger = found.chosen.runs, found.climb.runs
    assert len(runs) == 14 and found.chosen.tokens == runs.tokens.sum()
    assert runs.ratios.min() >= floor - 1e-12
    np.testing.assert_allclose(runs.ratios.sum(axis=1), 1)
    assert found.chosen.tokens / 14 <= found.climb.tokens / len(larger) * (1 + 1e-9)
    assert found.other.name == f"{'DI'[criterion == 'D']}-optimal" and len(found.other.runs) == 14
    assert (found.chosen.error < found.other.error) == (criterion == "I")
    assert found.chosen.error < found.before and found.climb.error < found.before
    again = plan(NAMES, [5e8, 1e9, 2e9], 14, floor=floor, criterion=criterion)
    np.testing.assert_array_equal(again.chosen.runs.ratios, runs.ratios)
    assert plan(NAMES, [5e8, 1e9, 2e9], 20, floor=floor, criterion=criterion).chosen.error < found.chosen.error


def _log_determinant(known, runs):
    rows = known.derivatives(runs)
    return float(np.linalg.slogdet(known.prior + np.einsum("bntp,bntq->bpq", rows, rows))[1].sum())


def test_the_determinant_is_larger_than_that_of_as_many_other_runs():
    """Against drawn designs, and against the first of CLIMB's runs, of the same number."""
    rng, model = np.random.default_rng(3), random_model(sources=3)
    found = plan(NAMES, [5e8, 1e9, 2e9], 12, model=model, criterion="D")
    known = Knowledge.of_model(model, 5e8)
    best = _log_determinant(known, found.chosen.runs)
    for _ in range(20):
        drawn = Runs(mixtures(np.zeros(3), np.ones(3), 12, rng), rng.choice([5e8, 1e9, 2e9], 12))
        assert _log_determinant(known, drawn) < best
    larger = found.climb.runs
    assert _log_determinant(known, Runs(larger.ratios[:12], larger.tokens[:12])) < best


@pytest.mark.parametrize("criterion", ["D", "I"])
def test_runs_that_were_measured_are_chosen_once(pilots, criterion):
    """Of many copies of one good run each counts once; without that, the best run is taken again."""
    known = Knowledge.of_model(random_model(sources=6), 5e8)
    runs = Runs(pilots.ratios[:30], pilots.tokens[:30] * 1e3)
    judged = known.derivatives(runs, noise=False)
    found = {
        once: Search(
            known.derivatives(runs), runs.tokens, known.prior, judged, runs.tokens.mean(), 6, criterion, once
        ).run([3], 28, None, None)
        for once in (True, False)
    }
    assert len(set(found[True])) == 28 and 3 in found[True]
    assert len(set(found[False])) < 28
    assert runs.tokens[found[True]].mean() <= runs.tokens.mean() * (1 + 1e-9)


def test_the_default_is_as_few_as_promise_no_larger_an_error():
    found = plan(NAMES, [5e8, 1e9, 2e9])
    assert 2 * len(NAMES) <= len(found.chosen.runs) < len(found.climb.runs)
    assert found.chosen.error <= found.climb.error


def test_runs_after_others_know_of_them(pilots):
    model = load_model(PROBLEMS / "libreoffice6" / "model.toml")
    found = plan(pilots.sources, [1e6, 2e6], 4, model=model, after=pilots)
    alone = plan(pilots.sources, [1e6, 2e6], 4, model=model)
    assert found.n_before == len(pilots.runs) and alone.n_before == 0
    assert found.before < alone.before and found.chosen.error < found.before
    assert not np.array_equal(found.chosen.runs.ratios, alone.chosen.runs.ratios)


def _truth(m, rng):
    """Return a gated model with transfer of both signs."""
    names = tuple(f"s{i}" for i in range(m))
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


def _error(truth, runs, rng):
    """Return the mean relative error on unseen mixtures at the largest budget, of a fit to noisy runs."""
    at = truth.at(runs.tokens)
    losses = at.losses(at.z(runs.ratios))
    measured = PilotRuns(
        tuple(map(str, range(len(runs)))),
        truth.sources,
        truth.targets,
        runs.ratios,
        runs.tokens,
        losses * (1 + 0.005 * rng.standard_normal(losses.shape)),
    )
    fitted = fit(measured, "power", n_starts=1).model
    unseen = mixtures(np.full(3, 0.02), np.ones(3), 300, np.random.default_rng(7))
    expected, predicted = (model.at(2e9).losses(model.at(2e9).z(unseen)) for model in (truth, fitted))
    return float(np.abs(predicted / expected - 1).mean())


@pytest.mark.parametrize(("criterion", "n_runs"), [("D", 21), ("I", 20)])
def test_fewer_runs_predict_unseen_mixtures_about_as_well(criterion, n_runs):
    """Over six synthetic truths three quarters of the larger design's 27 runs come within 15 % of its mean error."""
    found = plan(NAMES, [5e8, 1e9, 2e9], n_runs, criterion=criterion)
    errors = {"chosen": [], "climb": []}
    for seed in range(6):
        truth = _truth(3, np.random.default_rng(seed))
        for name in errors:
            errors[name].append(_error(truth, getattr(found, name).runs, np.random.default_rng(100 + seed)))
    assert n_runs < len(found.climb.runs) and found.chosen.tokens < found.climb.tokens
    assert np.mean(errors["chosen"]) < 1.15 * np.mean(errors["climb"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((["a"], [1e9]), "two or more"),
        ((["a", "a"], [1e9]), "each once"),
        ((["a", "b"], []), "no budgets"),
        ((["a", "b"], [-1.0]), "positive number"),
        ((["a", "b"], [1e9], 0), "1 or more"),
    ],
)
def test_what_is_no_plan(arguments, words):
    with pytest.raises(InputError, match=words):
        plan(*arguments)


def test_other_refusals(pilots):
    with pytest.raises(InputError, match="leaves no mixture"):
        plan(["a", "b"], [1e9], floor=0.5)
    with pytest.raises(InputError, match="the same languages"):
        plan(["a", "b"], [1e9], after=pilots)
    with pytest.raises(InputError, match="give params"):
        plan(["a", "b"], [1e9], law=LAWS["power_nd"])


def test_command_line(run, tmp_path):
    table = tmp_path / "plan.csv"
    code, out, _ = run(
        "plan", "--languages", "en,de,sw", "--budgets", "1e9,2e9", "--runs", "9", "--floor", "0.02", "-o", table
    )
    assert code == 0 and "D-optimal" in out and "CLIMB 3 x m x 2" in out
    frame = pd.read_csv(table)
    assert list(frame) == ["run", "tokens", "language", "ratio", "loss"] and len(frame) == 27
    assert frame["loss"].isna().all() and frame["ratio"].min() >= 0.02 - 1e-6
    frame["loss"] = 2.0 + 0.1 * frame["ratio"].rsub(1)
    filled = tmp_path / "filled.csv"
    frame.to_csv(filled, index=False)
    assert run("fit", filled)[0] == 0
    code, out, _ = run("plan", "--languages", "en,de,sw", "--budgets", "1e9,2e9", "--after", filled, "--json", "-")
    content = json.loads(out)
    assert code == 0 and content["n_before"] == 9 and len(content["runs"]) == 3
    assert [one["name"] for one in content["designs"]] == ["I-optimal", "D-optimal", "CLIMB 3 x m x 2"]
    for arguments, words in (
        (("--budgets", "many"), "write a number of tokens"),
        (("--budgets", "1e9", "--criterion", "A"), "it is D or I"),
        (("--budgets", "1e9", "--after", PROBLEMS / "libreoffice6" / "pilots.csv"), "the same languages"),
    ):
        code, _, err = run("plan", "--languages", "en,de,sw", *arguments)
        assert code == 2 and words in err


def test_the_model_size_stands_in_the_table():
    found = plan(NAMES[:2], [1e9], 4, law=LAWS["power_nd"], params=1e8)
    assert (found.to_frame()["params"] == 1e8).all()


def test_the_region_is_near_the_optimum_of_each_model():
    models = [random_model("linear", sources=3, seed=seed) for seed in (1, 2)]
    region = decision_region(Ensemble(models), 1e10, np.random.default_rng(0), floor=0.02)
    assert region.shape == (500, 3) and region.min() > 0.02 - 1e-9
    np.testing.assert_allclose(region.sum(axis=1), 1)
    floor = [Floor(dict.fromkeys(models[0].sources, 0.02))]
    for model, part in zip(models, np.split(region, 2), strict=True):
        problem = AllocationProblem(model, 1e10, constraints=floor)
        losses, least = problem.value(part), solve(problem).objective
        assert least * (1 - 1e-9) <= losses.min() and losses.max() <= 1.01 * least
        assert np.ptp(part, axis=0).min() > 0.01


def test_a_plan_for_a_target_predicts_its_decision_better_than_one_for_every_mixture():
    model = load_model(PROBLEMS / "libreoffice6" / "model.toml")
    budgets = ["1M", "2M"]
    wide, near = (plan(model.sources, budgets, 14, model=model, target_budget=target) for target in (None, "8M"))
    rng = np.random.default_rng(0)
    region = decision_region(model, 8e6, rng)
    known = Knowledge.of_model(model, 1e6)
    judged = known.derivatives(Runs(region, np.full(len(region), 8e6)), noise=False)

    def error(runs):
        return expected_error(known.prior + information(known.derivatives(runs)), judged)

    assert error(near.chosen.runs) == pytest.approx(near.chosen.error, rel=1e-9)
    assert error(near.chosen.runs) < error(wide.chosen.runs)
    assert near.chosen.tokens <= near.climb.tokens * 14 / len(near.climb.runs) * (1 + 1e-9)


def test_supplies_are_cut_down_in_proportion_to_the_budget():
    supply = {"s0": "4M", "s1": 1e6, "s2": 2e5}
    planned = plan(NAMES, ["1M", "2M", "8M"], 7, target_budget="4M", supply=supply, cut_supply=True)
    table = planned.to_frame()
    whole = table.language.map({"s0": 4e6, "s1": 1e6, "s2": 2e5})
    np.testing.assert_allclose(table.supply, whole * np.minimum(table.tokens / 4e6, 1))
    assert set(table.tokens) == {1e6, 2e6, 8e6} or set(table.tokens) == {1e6, 2e6}
    assert planned.to_dict()["runs"][0]["supply"] == {"s0": 1e6, "s1": 250_000, "s2": 50_000}
    assert "supply" not in plan(NAMES, ["1M", "2M"], 7, target_budget="4M", supply=supply).to_frame()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"cut_supply": True, "target_budget": 4e6}, "give the target budget and the supply of s0, s1, s2"),
        ({"cut_supply": True, "supply": dict.fromkeys(NAMES, 1e6)}, "give the target budget"),
        ({"cut_supply": True, "target_budget": 4e6, "supply": {"s0": 1e6, "s2": 1e6}}, "the supply of s1"),
        ({"supply": {"s0": 1e6, "x": 1e6}}, "unknown language with a supply 'x'"),
        ({"target_budget": 0}, "the target budget is 0"),
    ],
)
def test_targets_and_supplies_that_are_refused(arguments, words):
    with pytest.raises(InputError, match=words):
        plan(NAMES, [1e6, 2e6], 7, **arguments)


def test_command_line_of_a_target(run, tmp_path):
    supply, out = tmp_path / "supply.csv", tmp_path / "plan.csv"
    supply.write_text("language,tokens\nen,8M\nsw,400000\n")
    arguments = ["plan", "--languages", "en,sw", "--budgets", "1M,2M", "--runs", 5, "--target-budget", "4M"]
    code, _, _ = run(*arguments, "--supply", supply, "--cut-supply", "-o", out)
    table = pd.read_csv(out)
    assert code == 0 and list(table.columns) == ["run", "tokens", "language", "ratio", "loss", "supply"]
    np.testing.assert_allclose(table.supply, table.language.map({"en": 2, "sw": 0.1}) * table.tokens)
    code, _, error = run(*arguments, "--cut-supply")
    assert code == 2 and "give the target budget and the supply of en, sw" in error
