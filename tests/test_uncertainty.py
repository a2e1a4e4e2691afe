"""Covariance, noise, bootstrap, bands, what the runs show, and files of draws."""

import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from conftest import PROBLEMS, random_model

from climbopt.files import DrawFile, load_draws
from climbopt.fitting.coordinates import fit_form
from climbopt.fitting.fit import fit
from climbopt.fitting.least_squares import Block, Observations
from climbopt.fitting.select import folds_of
from climbopt.foundations.errors import InputError
from climbopt.model.interactions import INTERACTIONS
from climbopt.model.laws import LAWS
from climbopt.runs.pilots import PilotRuns
from climbopt.uncertainty.bands import bands
from climbopt.uncertainty.bootstrap import bootstrap
from climbopt.uncertainty.covariance import covariance, kinds_of
from climbopt.uncertainty.diagnosis import missing_runs, transfers

NOISE = 0.007


def measured(model, ratios, tokens, seed, noise=NOISE):
    """Return losses of mixtures with noise, the same at all budgets, as a share of the loss at a middle one."""
    response, middle = model.at(tokens), model.at(1e9)
    losses = response.losses(response.z(ratios))
    typical = middle.losses(middle.z(np.full(len(model.sources), 1 / len(model.sources))))
    return losses + noise * typical * np.random.default_rng(seed).standard_normal(losses.shape)


def runs_of(model, n, seed=0, noise=NOISE):
    """Return noisy runs of mixtures, and every language by itself, at budgets over two decades."""
    rng = np.random.default_rng(seed)
    s = len(model.sources)
    budgets = np.array([1e8, 1e9, 1e10])
    ratios = np.vstack([np.repeat(np.eye(s), 3, axis=0), rng.dirichlet(np.ones(s), n)])
    tokens = np.concatenate([np.tile(budgets, s), rng.choice(budgets, n)])
    return PilotRuns(
        tuple(f"run{k}" for k in range(len(tokens))),
        model.sources,
        model.targets,
        ratios,
        tokens,
        measured(model, ratios, tokens, seed + 1, noise),
    )


@pytest.fixture(scope="module")
def known():
    """A known model, runs of it and their fit."""
    model = random_model("linear", sources=3, seed=3)
    runs = runs_of(model, 150)
    return model, runs, fit(runs, LAWS["power"], INTERACTIONS["linear"])


def test_covariance_agrees_with_the_bootstrap(known):
    _, runs, fitted = known
    found = covariance(fitted)
    mixtures = np.random.default_rng(5).dirichlet(np.ones(3), 6)
    drawn = []
    for model in bootstrap(fitted, 150):
        response = model.at(1e10)
        drawn.append(response.losses(response.z(mixtures)))
    expected = bands(found, folds=2).predict(mixtures, 1e10).spread
    assert np.std(drawn, axis=0) == pytest.approx(expected, rel=0.4)
    assert np.mean(np.std(drawn, axis=0) / expected) == pytest.approx(1.0, abs=0.2)


def test_draws_of_the_covariance_have_its_spread(known):
    _, runs, fitted = known
    found = covariance(fitted)
    drawn = np.std([np.log(one.parameters["B"]) for one in found.draws(300)], axis=0)
    errors = found.standard_errors()
    assert drawn == pytest.approx([errors[f"log_B[{name}]"] for name in fitted.model.targets], rel=0.15)


def test_standard_errors_of_parameters(known):
    """Of a logarithm, and of b and k of alpha_limit = b and alpha_smallest = b + k / D_min, by hand."""
    _, runs, fitted = known
    found = covariance(fitted)
    errors, of_coordinates = found.parameter_errors(), found.standard_errors()
    names = fitted.model.targets
    assert errors["B"] == pytest.approx(
        [of_coordinates[f"log_B[{name}]"] * B for name, B in zip(names, fitted.model.parameters["B"], strict=True)]
    )
    one, target = found.spreads[0], names[0]
    position = {label: k for k, label in enumerate(of_coordinates) if k < one.solved.x.size}
    for j, source in enumerate(names[1:], 1):
        limit, smallest = (position[f"alpha_{end}[{target}, {source}]"] for end in ("limit", "smallest"))
        C = one.covariance
        if C[limit, limit] == 0:
            assert np.isnan(errors["b"][0, j])
            continue
        assert errors["b"][0, j] == pytest.approx(np.sqrt(C[limit, limit]))
        assert errors["k"][0, j] == pytest.approx(
            one.solved.block.smallest * np.sqrt(C[smallest, smallest] + C[limit, limit] - 2 * C[limit, smallest])
        )


@pytest.mark.parametrize(
    "law, interaction",
    [
        ("power", "gated"),
        ("power", "linear"),
        ("exponential", "mixing"),
        ("power", "repetition"),
        ("additive", "additive_power"),
    ],
)
def test_slopes_of_declared_parameters_against_differences(law, interaction):
    """Of every declared parameter by every coordinate, those that are left out included."""
    form = fit_form(LAWS[law], INTERACTIONS[interaction])
    rng = np.random.default_rng(0)
    blank = Block(form, ("a", "b", "c"), ("a", "c"), Observations(*[np.ones((1, 2))] * 8), 0.5)
    x = rng.uniform(0.1, 1.0, sum(int(mask.sum()) for mask in blank.free.values()))
    slopes = {(p.name, q.name): value for (p, q), value in form.slopes(blank.model(x)).items()}
    for moved in form.coordinates:
        for place in np.unique(blank.places[moved.name][blank.free[moved.name]]):
            step = 1e-6 * (np.arange(x.size) == place)
            up, down = (form.declared(blank.values(x + side * step), blank.blank) for side in (1, -1))
            here = blank.places[moved.name] == place
            for name, value in up.items():
                where = here[:, None] if value.ndim == 2 and moved.per == "target" else here
                slope = slopes.get((name, moved.name))
                expected = np.zeros(value.shape) if slope is None else np.where(where, slope, 0.0)
                np.testing.assert_allclose((value - down[name]) / 2e-6, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("noise", [0.011, 0.02])
def test_noise_is_that_of_the_losses(noise):
    """The fit's assumed 0.7 % is no part of the answer."""
    model = random_model("linear", sources=3, seed=3)
    runs = runs_of(model, 150, noise=noise)
    found = covariance(fit(runs, LAWS["power"], INTERACTIONS["linear"]))
    middle = model.at(1e9)
    assert found.noise[:, 0] == pytest.approx(noise * middle.losses(middle.z(np.full(3, 1 / 3))), rel=0.2)


def test_bands_cover_new_measurements(known):
    model, _, _ = known
    inside = []
    for seed in range(4):
        runs = runs_of(model, 60, seed=10 * seed + 40)
        found = bands(covariance(fit(runs, LAWS["power"], INTERACTIONS["linear"])), folds=4)
        assert (found.widths >= 1.6448).all()
        mixtures = np.random.default_rng(seed).dirichlet(np.ones(3), 200)
        predicted = found.predict(mixtures, 1e10)
        losses = measured(model, mixtures, np.full(200, 1e10), seed + 90)
        inside.append((losses >= predicted.lower) & (losses <= predicted.upper))
        half = (predicted.upper - predicted.lower) / 2
        assert np.median(half / predicted.losses) < 2.5 * 1.645 * NOISE
    assert 0.85 <= np.mean(inside) <= 0.96


def test_what_is_refused(known):
    _, _, fitted = known
    with pytest.raises(InputError, match="level of bands is 90"):
        bands(covariance(fitted), level=90)
    with pytest.raises(InputError, match="0 bootstrap draws"):
        bootstrap(fitted, 0)
    with pytest.raises(InputError, match="give one or more"):
        transfers(fitted.model, (), 1e9)


def test_kinds():
    assert kinds_of(np.array([[0.0, 0.3, 1.0]])).tolist() == [[2, 0, 1]]


def same(first, second):
    return len(first) == len(second) and all(
        np.array_equal(a.parameters[name], b.parameters[name])
        for a, b in zip(first, second, strict=True)
        for name in a.parameters
    )


def test_draws_do_not_depend_on_processes_or_on_what_is_known(known):
    _, _, fitted = known
    told = []
    alone = bootstrap(fitted, 12, seed=4, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (12, 12)
    assert same(alone, bootstrap(fitted, 12, seed=4, jobs=2))
    assert same(alone, bootstrap(fitted, 12, seed=4, known={k: (alone[k].parameters,) for k in (0, 1, 7)}))
    assert same(alone[:5], bootstrap(fitted, 5, seed=4))
    assert not same(alone, bootstrap(fitted, 12, seed=5))


def filled(path, fitted, n, seed=0):
    file = DrawFile(path, fitted.model, {"sha256": "x", "seed": seed})
    bootstrap(fitted, n, seed=seed, known=file.known, keep=file.append)
    return path.read_bytes()


def test_a_file_cut_off_anywhere_is_continued_to_the_same(known, tmp_path):
    _, _, fitted = known
    whole = filled(tmp_path / "whole.jsonl", fitted, 4)
    path = tmp_path / "cut.jsonl"
    for length in (0, 1, 40, whole.index(b"\n"), whole.index(b"\n") + 1, len(whole) // 2, len(whole) - 1, len(whole)):
        path.write_bytes(whole[:length])
        assert filled(path, fitted, 4) == whole
    assert same(load_draws(path), bootstrap(fitted, 4))
    path.write_bytes(whole[:-9])
    assert len(load_draws(path)) == 3


def test_files_of_something_else_are_refused_and_left_alone(known, tmp_path):
    _, _, fitted = known
    path = tmp_path / "draws.jsonl"
    filled(path, fitted, 1)
    content = path.read_bytes()
    with pytest.raises(InputError, match="another fit or seed"):
        DrawFile(path, fitted.model, {"sha256": "x", "seed": 1})
    assert path.read_bytes() == content
    for other in (b"no newline", b"a,b\n1,2\n"):
        path.write_bytes(other)
        with pytest.raises(InputError, match="no draws"):
            DrawFile(path, fitted.model, {"sha256": "x", "seed": 0})
        assert path.read_bytes() == other
        with pytest.raises(InputError):
            load_draws(path)
    first, second = content.splitlines(keepends=True)
    for broken in (second.replace(b'"draw": 0', b'"draw": 3'), b"[1]\n", b'{"draw": 0, "parameters": {"E": "x"}}\n'):
        path.write_bytes(first + broken)
        with pytest.raises(InputError):
            load_draws(path)


def test_transfer_that_is_there_is_told_from_zero():
    """One pair of a model has much transfer, the others have next to none."""
    model = random_model("linear", sources=3, seed=3)
    b = np.full((3, 3), 0.01)
    b[0, 1] = 0.5
    model = replace(model, parameters={**model.parameters, "b": b, "k": np.zeros((3, 3))})
    runs = runs_of(model, 60)
    fitted = fit(runs, LAWS["power"], INTERACTIONS["linear"])
    found = transfers(fitted.model, bootstrap(fitted, 60), 1e10)
    by_pair = {(one.target, one.source): one for one in found}
    assert len(found) == 6 and by_pair["s0", "s1"].told_from_zero
    assert by_pair["s0", "s1"].lower < 0.5 < by_pair["s0", "s1"].upper + 0.1
    assert by_pair["s0", "s1"].estimate == pytest.approx(0.5, abs=0.2)


def test_the_most_useful_missing_run(pilots):
    fitted = fit(pilots, "power", n_starts=1)
    found = covariance(fitted)
    runs = missing_runs(found)
    assert len(runs) == 15 * 4  # every single-language run is there
    assert all(len(one.languages) == 2 and 0 <= one.reduction < 1 for one in runs)
    assert [one.reduction for one in runs] == sorted((one.reduction for one in runs), reverse=True)
    fewer = pilots.select(pilots.ratios[:, 0] < 1)
    again = missing_runs(covariance(fit(fewer, "power", n_starts=1)))
    assert {one.languages for one in again if len(one.languages) == 1} == {("en",)}


@pytest.mark.slow
@pytest.mark.parametrize("law, interaction", [("power", "gated"), ("power", "overlap"), ("bimix", "overlap")])
def test_bands_cover_measured_runs_held_out(pilots, law, interaction):
    """libreoffice6, seven folds of whole runs: what docs/uncertainty.md states."""
    for seed in (1, 2):
        number, inside = folds_of(pilots, 7, seed), {0: [], 1: [], 2: []}
        for k in range(7):
            there, out = pilots.select(number != k), pilots.select(number == k)
            fitted = fit(there, LAWS[law], INTERACTIONS[interaction], n_starts=1)
            predicted = bands(there, covariance(fitted)).predict(out.ratios, out.tokens)
            hit = (out.losses >= predicted.lower) & (out.losses <= predicted.upper)
            for kind, kept in inside.items():
                kept += hit[kinds_of(out.ratios) == kind].tolist()
        assert 0.85 <= np.mean(inside[0]) <= 0.95
        assert 0.85 <= np.mean(sum(inside.values(), [])) <= 0.95


def test_a_killed_bootstrap_is_taken_up_again(tmp_path):
    """The process is killed once the first draws are there; the same command then ends with the same file."""
    command = [
        sys.executable,
        "-m",
        "climbopt",
        "fit",
        str(PROBLEMS / "libreoffice6" / "pilots.csv"),
        "--interaction",
        "none",
        "--bootstrap",
        "40",
        "--json",
        "-",
        "--draws",
    ]
    path, whole = tmp_path / "killed.jsonl", tmp_path / "whole.jsonl"
    with subprocess.Popen([*command, str(path)], stdout=subprocess.DEVNULL) as process:
        while process.poll() is None and (not path.exists() or path.read_bytes().count(b"\n") < 2):
            time.sleep(0.001)
        process.kill()
    assert path.read_bytes().count(b"\n") < 41
    for place in (path, whole):
        subprocess.run([*command, str(place)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert path.read_bytes() == whole.read_bytes() and whole.read_bytes().count(b"\n") == 41
