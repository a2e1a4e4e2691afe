"""Languages that no run has: the distribution of a new member, models and draws with it, and what is refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
from conftest import PROBLEMS, random_model
from scipy.stats import norm, t

import climbopt
from climbopt import INTERACTIONS, LAWS, MixtureModel, extend, load_draws, load_model, save_model
from climbopt.fitting.coordinates import fit_form
from climbopt.fitting.new_languages import new_member
from climbopt.foundations.errors import InputError
from climbopt.model.ensemble import Ensemble, blocks_of, mean_of
from climbopt.model.mixture import WARNINGS
from climbopt.model.noise import LossNoise
from climbopt.model.templates import agreeing_pairs
from climbopt.runs.features import Features
from climbopt.runs.pilot_range import PilotRange

NAMES = tuple(f"s{j}" for j in range(6))
RANGE = PilotRange((1e9, 4e9), ratios=dict.fromkeys(NAMES, (0.0, 1.0)))


def family(seed, m=9):
    """Return a model of m languages whose parameters are drawn alike, in logarithms: half of levels and transfer."""
    rng = np.random.default_rng(seed)
    names = tuple(f"s{j}" for j in range(m))
    level, donor, taker = (0.2 * rng.standard_normal(m) for _ in range(3))
    parameters = {
        "E": 1.2 * np.exp(level),
        "B": 0.8 * np.exp(level + 0.2 * rng.standard_normal(m)),
        "beta": 0.3 * np.exp(0.1 * rng.standard_normal(m)),
        "b": 0.2 * np.exp(2 * donor + 2 * taker[:, None] + 0.2 * rng.standard_normal((m, m))),
        "k": np.zeros((m, m)),
    }
    pilots = PilotRange((1e9, 4e9), ratios=dict.fromkeys(names, (0.0, 1.0)))
    return MixtureModel(LAWS["power"], INTERACTIONS["linear"], names, names, parameters, 1e9, pilots=pilots)


def part_of(model, names):
    """Return a model of some of the languages, in an order."""
    rows = [model.sources.index(name) for name in names]
    values = {
        p.name: model.parameters[p.name][np.ix_(rows, rows) if p.per == "pair" else rows] for p in model.form.parameters
    }
    ratios = {name: model.pilots.ratios[name] for name in names}
    pilots = replace(model.pilots, ratios=ratios)
    return replace(model, sources=tuple(names), targets=tuple(names), parameters=values, pilots=pilots)


def stated(model):
    return replace(model, pilots=PilotRange((1e9, 4e9), ratios=dict.fromkeys(model.sources, (0.0, 1.0))))


@pytest.fixture
def ensemble():
    blocks = [stated(random_model(kind, sources=6, seed=seed)) for seed, kind in enumerate(("gated", "overlap"))]
    return Ensemble(blocks, noise=LossNoise(0.9, np.full((6, 4), 0.01), np.full(4, 1.2)))


@pytest.mark.parametrize("n", [3, 6, 20])
def test_exchangeable_members_have_the_t_distribution(n):
    values = np.random.default_rng(n).standard_normal(n)
    member = new_member(n)
    draws = np.array([member.like(values, i) for i in range(n)])
    assert member.predicted(values) == pytest.approx(values.mean()) == pytest.approx(draws.mean())
    expected = t.ppf(0.95, n - 1) * values.std(ddof=1) * np.sqrt(1 + 1 / n)
    assert norm.ppf(0.95) * draws.std() == pytest.approx(expected)


def test_alike_members_are_predicted_by_kriging():
    rng = np.random.default_rng(1)
    n, root = 7, rng.standard_normal((8, 3))
    kinship = root @ root.T
    member = new_member(n, kinship)
    variance = kinship[:n, :n] + np.eye(n)
    # Lagrange conditions of the least variance among unbiased linear predictions.
    system = np.block([[variance, np.ones((n, 1))], [np.ones((1, n)), np.zeros((1, 1))]])
    weights = np.linalg.solve(system, np.append(kinship[:n, n], 1.0))[:n]
    assert member.weights == pytest.approx(weights)
    error = 1 + kinship[n, n] + weights @ variance @ weights - 2 * weights @ kinship[:n, n]
    left = np.trace(member.residuals @ variance @ member.residuals.T) / n
    assert member.stretch == pytest.approx(t.ppf(0.95, n - 1) / norm.ppf(0.95) * np.sqrt(error / left))
    new = new_member(n, np.zeros((n + 1, n + 1)))
    assert new.weights == pytest.approx(np.full(n, 1 / n)) and new.stretch == pytest.approx(new_member(n).stretch)


def test_two_known_languages_are_too_few():
    with pytest.raises(InputError, match="2 known languages show nothing of how far languages differ"):
        extend(stated(random_model(sources=2)), ["x"])


@pytest.mark.parametrize(("law", "interaction"), [(a.name, b.name) for a, b in agreeing_pairs()])
def test_coordinates_invert_the_declared_parameters(law, interaction):
    model = random_model(interaction, law=law, seed=3)
    form = fit_form(*model.form)
    values = form.coordinates_of(model, 0.5)
    for p in form.coordinates:
        if p.per == "pair":
            values[p.name][model.own_targets, model.own_sources] = 1.0
    again = form.declared({**values, "D_min": np.full(4, 0.5)}, model)
    for p in model.form.parameters:
        known = np.array(again[p.name])
        if p.per == "pair":
            known[model.own_targets, model.own_sources] = 0.0
        assert known == pytest.approx(model.parameters[p.name], rel=1e-9, abs=1e-12), p.name


def test_bands_hold_for_new_members_of_a_known_family():
    own, others = [], []
    for seed in range(40):
        truth = family(seed)
        extension = extend(part_of(truth, truth.sources[:-1]), truth.sources[-1:], seed=seed)
        mixtures = np.random.default_rng([seed, 1]).dirichlet(np.ones(9), 20)
        drawn = mean_of(extension.draws)
        predicted, spread = drawn.at(2e9).predicted(mixtures), drawn.spread(mixtures, 2e9)
        inside = np.abs(predicted - truth.at(2e9).predicted(mixtures)) <= norm.ppf(0.95) * spread
        own.append(inside[:, -1].mean())
        others.append(inside[:, :-1].mean())
    # 40 new languages: the standard error of a share of 0.9 is 0.05.
    assert 0.8 < np.mean(own) < 0.98 and 0.8 < np.mean(others) < 0.98


def test_the_order_of_languages_changes_nothing(ensemble):
    order = [NAMES[j] for j in (4, 2, 0, 5, 1, 3)]
    table = Features(
        ("family", "size"), {(name,): (("a", "b")[j % 2], float(j)) for j, name in enumerate((*NAMES, "x"))}
    )
    for features in (None, table):
        first = extend(ensemble, ["x"], features=features)
        other = extend(Ensemble([part_of(block, order) for block in ensemble.blocks]), ["x"], features=features)
        assert (first.errors is None) == (features is None)
        if features:
            assert first.errors == pytest.approx(other.errors)
        mixture = dict(zip((*NAMES, "x"), np.random.default_rng(0).dirichlet(np.ones(7)), strict=True))
        for a, b in zip((first.model, *first.draws), (other.model, *other.draws), strict=True):
            losses = [dict(zip(m.targets, m.at(2e9).predicted(m.vector(mixture)), strict=True)) for m in (a, b)]
            assert losses[0] == pytest.approx(losses[1])


def test_known_languages_stay_as_they_are(ensemble):
    draws = [
        replace(ensemble, blocks=[stated(random_model(b.interaction.name, sources=6, seed=9)) for b in ensemble.blocks])
    ]
    extension = extend(ensemble, ["x", "y"], draws)
    assert extension.model.sources == extension.model.targets == (*NAMES, "x", "y") and len(extension.draws) == 40
    for before, after in ((ensemble, extension.model), (draws[0], extension.draws[0])):
        for old, new in zip(before.blocks, after.blocks, strict=True):
            for name, known in old.parameters.items():
                assert (new.parameters[name][tuple(slice(n) for n in known.shape)] == known).all()
    mixtures = np.vstack([np.eye(8), np.random.default_rng(0).dirichlet(np.ones(8), 50)])
    for member in (extension.model, *extension.draws):
        losses = member.at(2e9).predicted(mixtures)
        assert np.isfinite(losses).all() and (losses > 0).all()
    # Without the new languages in the mixture, losses of the others are those of the model.
    inside = np.hstack([np.random.default_rng(1).dirichlet(np.ones(6), 5), np.zeros((5, 2))])
    assert extension.model.at(2e9).predicted(inside)[:, :6] == pytest.approx(ensemble.at(2e9).predicted(inside[:, :6]))
    noise = extension.model.noise
    assert noise.deviations.shape == (8, 4) and noise.widths == pytest.approx(np.full(4, norm.ppf(0.95)))
    assert extension.model.pilots.ratios["x"] == (0.0, 0.0)
    assert "no run has x, y" in extension.model.provenance[WARNINGS]


def test_languages_without_runs_teach_nothing_of_further_ones(ensemble):
    table = Features(("size",), {(name,): (float(j),) for j, name in enumerate((*NAMES, "x", "y"))})
    for base in (
        ensemble,
        replace(ensemble, blocks=[replace(b, pilots=PilotRange((1e9, 4e9))) for b in ensemble.blocks]),
    ):
        for features in (None, table):
            together = extend(base, ["x", "y"], features=features)
            first = extend(base, ["x"], features=features)
            then = extend(first.model, ["y"], first.draws, features=features)
            assert then.known == NAMES and then.features_stay == together.features_stay
            assert then.model.provenance["extended"] == "x, y"
            assert "no run has y: extrapolated from 6 other languages" in then.model.provenance[WARNINGS]
            for a, b in zip((together.model, *together.draws), (then.model, *then.draws), strict=True):
                for one, other in zip(a.blocks, b.blocks, strict=True):
                    for p in one.form.parameters:
                        if p.per != "pair":
                            assert one.parameters[p.name] == pytest.approx(other.parameters[p.name], rel=1e-9)


def test_numbers_of_features_have_a_size_and_constants_say_nothing():
    with pytest.raises(InputError, match="'size' of s1 is 1e[+]200; write a number between -1e[+]100 and 1e[+]100"):
        Features(("size",), {("s0",): (1.0,), ("s1",): (1e200,)})
    # The mean of six times 0.1 is not 0.1.
    constant = Features(("size",), {(name,): (0.1,) for name in NAMES})
    assert (constant.kinship(NAMES) == 0).all()


def test_each_known_language_has_its_turn(ensemble):
    extension = extend(blocks_of(ensemble)[0][0], ["x"])
    level = np.log([draw.parameters["E"][-1] for draw in extension.draws])
    # 40 draws are 6 turns of 6 languages, and 4.
    turns = level[:36].reshape(6, 6)
    assert np.sort(turns, axis=1) == pytest.approx(np.tile(np.sort(turns[0]), (6, 1)))
    assert len({tuple(turn.round(9)) for turn in turns}) > 1
    known = np.log(extension.model.parameters["E"][:6])
    stretch = new_member(6).stretch
    assert np.sort(turns[0]) == pytest.approx(np.sort(known.mean() + stretch * (known - known.mean())))


def test_few_draws_are_repeated_until_every_known_language_has_its_turn():
    model = family(3, 6)
    other = replace(model, parameters={**model.parameters, "B": model.parameters["B"] + 0.1})
    few = extend(model, ["x"], [model, other])
    # Bands of two draws were those of two languages: here the spread of the new level is that of all six.
    levels = np.log(np.array([draw.parameters["E"] for draw in few.draws]))
    assert len(levels) == 40 and levels[:, -1].std() == pytest.approx(new_member(6).stretch * levels[0, :-1].std(), 0.1)
    first = [draw.parameters["B"][0] for draw in few.draws[:4]]
    assert first == 2 * [model.parameters["B"][0], other.parameters["B"][0]]
    assert len(extend(model, ["x"], 3 * [model]).draws) == 42 and len(extend(model, ["x"], 50 * [model]).draws) == 50


def test_features_stay_where_they_tell_languages_apart():
    kinds = "aaabbb"
    rng = np.random.default_rng(0)
    model = family(0, 6)
    level = np.array([0.8 if kind == "a" else 1.6 for kind in kinds]) * np.exp(0.02 * rng.standard_normal(6))
    model = replace(model, parameters={**model.parameters, "E": level})

    def table(words):
        return Features(("kind",), {(name,): (word,) for name, word in zip((*NAMES, "x"), words, strict=True)})

    told = extend(model, ["x"], features=table("aaabbba"))
    plain = extend(model, ["x"], features=table("ababaca"))
    assert told.features_stay and "features stay" in told.words
    assert not plain.features_stay and "are left out" in plain.words and extend(model, ["x"]).words == ""
    # Of its kind the new language is nearer to 0.8 than the mean of all, 1.13 in logarithms.
    assert told.model.parameters["E"][-1] < 1.0 < plain.model.parameters["E"][-1]
    kin = {(j, i): (float(i == "x"),) for i in (*NAMES, "x") for j in (*NAMES, "x") if i != j}
    assert extend(model, ["x"], features=Features(("kin",), kin)).errors


def test_pairs_follow_their_features():
    model, rng = family(1, 6), np.random.default_rng(0)
    near = np.triu(rng.integers(0, 2, (7, 7)), 1)
    near = (near + near.T).astype(float)
    b = 0.02 * np.exp(3 * near[:6, :6])
    model = replace(model, parameters={**model.parameters, "b": b})
    names = (*NAMES, "x")
    rows = {(names[j], names[i]): (near[i, j],) for i in range(7) for j in range(7) if i != j}
    extension = extend(model, ["x"], features=Features(("near",), rows))
    assert extension.features_stay
    to, by = extension.model.parameters["b"][-1, :6], extension.model.parameters["b"][:6, -1]
    for values, kin in ((to, near[6, :6]), (by, near[:6, 6])):
        assert values[kin == 1].min() > 2 * values[kin == 0].max()


def test_sources_alone_where_no_target_is_one():
    model = stated(random_model("overlap", sources=4, targets=("task", "other")))
    extension = extend(model, ["x"])
    assert extension.model.sources[-1] == "x" and extension.model.targets == ("task", "other")
    assert extension.model.parameters["c"].shape == (2, 5)


def test_supplies_are_needed_where_tokens_repeat():
    model = stated(random_model("overlap", use="diluting"))
    with pytest.raises(InputError, match="no supply of x, and the model counts repeated tokens"):
        extend(model, ["x"])
    with pytest.raises(InputError, match="did you mean 'x1'"):
        extend(model, ["x1"], supply={"x1": "1B", "x2": "1B"})
    extension = extend(model, ["x1"], supply={"x1": "2B"})
    assert [draw.parameters["U"][-1] for draw in (extension.model, *extension.draws)] == [2.0] * 41


@pytest.mark.parametrize(
    ("new", "words"),
    [
        ([], "no language is named"),
        (["s1"], "'s1' is a language of the model already"),
        (["x", "x"], "named twice"),
        (["x "], "has a blank at its end"),
        ([""], "is empty"),
    ],
)
def test_refused_names(new, words):
    with pytest.raises(InputError, match=words):
        extend(stated(random_model()), new)


def test_refused_models():
    with pytest.raises(InputError, match="a dict is no table of features; give the path of a CSV"):
        extend(stated(random_model()), ["x"], features={"x": 1.0})
    with pytest.raises(InputError, match="does not state the budgets of its runs"):
        extend(random_model(), ["x"])
    table = Features(("size",), {(name,): (1.0,) for name in ("s0", "s1", "s2", "s3")})
    with pytest.raises(InputError, match="no features of x; write a row for every language"):
        extend(stated(random_model()), ["x"], features=table)
    with pytest.raises(InputError, match="other forms|another interaction"):
        extend(stated(random_model("gated")), ["x"], [random_model("overlap")])


def test_command_writes_a_model_that_every_command_reads(run, tmp_path, ensemble):
    save_model(ensemble, tmp_path / "model.toml")
    families = "language,family\n" + "".join(f"{name},{'ab'[j % 2]}\n" for j, name in enumerate((*NAMES, "x")))
    (tmp_path / "families.csv").write_text(families)
    more = tmp_path / "more.toml"
    command = ["extend", tmp_path / "model.toml", "x", "--features", tmp_path / "families.csv", "-o", more]
    code, out, err = run(*command, "--json", tmp_path / "more.json")
    assert code == 0 and "x: like 6 known languages, in 40 draws" in out and "no run has x" in err
    record = json.loads((tmp_path / "more.json").read_text())
    assert record["new"] == ["x"] and record["n_draws"] == 40 and set(record["features"]) == {"stay", "held_out_mae"}
    expected = extend(tmp_path / "model.toml", ["x"], features=tmp_path / "families.csv")
    for a, b in zip(
        (load_model(more), *load_draws(tmp_path / "more.draws.jsonl")), (expected.model, *expected.draws), strict=True
    ):
        assert a.at(2e9).predicted(np.full(7, 1 / 7)) == pytest.approx(b.at(2e9).predicted(np.full(7, 1 / 7)))

    mixtures = "run,tokens,language,ratio\n" + "".join(
        f"r,2e9,{name},{ratio}\n" for name, ratio in (("s0", 0.9), ("x", 0.1))
    )
    (tmp_path / "mixtures.csv").write_text(mixtures)
    code, out, err = run("predict", more, tmp_path / "mixtures.csv", "-o", tmp_path / "out.csv")
    assert code == 0 and "no run has x" in err and "lower" in (tmp_path / "out.csv").read_text()

    problem = tmp_path / "problem.toml"
    problem.write_text('model = "more.toml"\nbudget = 2e9\n')
    code, out, err = run("solve", problem, "--json", tmp_path / "answer.json")
    assert "no run has x" in err and code in (0, 1)
    assert json.loads((tmp_path / "answer.json").read_text())["ratios"]["x"] >= 0
    assert run("derive", problem)[0] == 0
    # The new language's ratio is beyond every pilot; capped, the band is wide because of it.
    heavy = "[weights]\nx = 1\n" + "".join(f"{name} = 0.01\n" for name in NAMES)
    cap = '[[constraints]]\nkind = "cap"\nratios = { x = 0.2 }\n'
    for further, reason in (("", "points beyond every pilot"), (cap, "has a 90 % band of")):
        problem.write_text('model = "more.toml"\nbudget = 2e9\n' + heavy + further)
        code, out, err = run("solve", problem)
        assert code == 1 and "NOT a decision" in out and reason in " ".join(out.split())

    code, out, err = run("extend", more, "x", "-o", tmp_path / "again.toml")
    assert code == 2 and "'x' is a language of the model already" in err and not (tmp_path / "again.toml").exists()
    assert run("extend", more, "y", "-o", more)[0] == 2


def test_a_fit_of_one_form_is_extended(run, tmp_path):
    code, _, err = run("extend", PROBLEMS / "libreoffice6" / "model.toml", "fr,it", "-o", tmp_path / "more.toml")
    assert code == 0, err
    model = load_model(tmp_path / "more.toml")
    assert model.targets[-2:] == ("fr", "it") and len(load_draws(tmp_path / "more.draws.jsonl")) == 40
    assert climbopt.predict(model, PROBLEMS / "libreoffice6" / "held_out.csv")["predicted"].notna().all()
