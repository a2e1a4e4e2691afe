"""watch: the losses of the big run beside its decision's bands, and the decision that they lead to."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from test_decide import LANGUAGES, SUPPLY, pilots
from test_records import items, tracked

import climbopt
from climbopt.foundations.errors import InputError
from climbopt.uncertainty.decision import decide
from climbopt.uncertainty.watch import Moment, Watch


def truth(ratios, tokens):
    """Losses by the law of `pilots`, without noise."""
    z = np.array([0.2 + 0.8 * ratios[name] for name in LANGUAGES])
    return dict(zip(LANGUAGES, (1.5 + 0.1 * np.arange(3) + (tokens / 1e8 * z) ** -0.25).tolist(), strict=True))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("watched") / "decision"
    decide(pilots(), "1B", supply=SUPPLY, constraints=[climbopt.Floor(en=0.3)], n_draws=2).save(place)
    return place


@pytest.fixture(scope="module")
def ratios(folder):
    return json.loads((folder / "answer.json").read_text())["ratios"]


def written(path, ratios, shift=0.0):
    """A log of the run at three moments; sw is off by a shift, and en is drawn a tenth too often."""
    lines = []
    for tokens in (1e8, 2e8, 4e8):
        losses = truth(ratios, tokens)
        losses["sw"] += shift
        drawn = {f"tokens/{name}": ratios[name] * tokens * (1.1 if name == "en" else 1.0) for name in LANGUAGES}
        lines.append({"tokens": tokens, "train/loss": 5.0, **{f"eval/loss/{k}": v for k, v in losses.items()}, **drawn})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_a_run_as_predicted(folder, ratios, tmp_path, run):
    code, out, _ = run("watch", folder, "--log", written(tmp_path / "log.jsonl", ratios))
    assert code == 0 and "every loss is inside its band" in out and "400 M of 1 B tokens" in out
    row = next(line.split() for line in out.splitlines() if line.startswith("en"))
    assert row[1] == f"{truth(ratios, 4e8)['en']:.4f}"
    assert f"{ratios['en'] * 440:.3g} M" in " ".join(row) and f"{ratios['en'] * 400:.3g} M" in " ".join(row)


def test_a_run_that_is_recorded_by_wandb(folder, ratios, tmp_path, run):
    """The binary record of an offline run, while it is written, says what JSON lines of the same run say."""
    lines = [json.loads(line) for line in written(tmp_path / "log.jsonl", ratios).read_text().splitlines()]
    (tmp_path / "run-abc.wandb").write_bytes(tracked(*(items(2, line) for line in lines))[:-5] + b"cut")
    (tmp_path / "two.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines[:2]))
    outputs = [run("watch", folder, "--log", tmp_path / name) for name in ("run-abc.wandb", "two.jsonl")]
    assert outputs[0] == outputs[1] and outputs[0][0] == 0 and "200 M of 1 B tokens" in outputs[0][1]


def test_bands_are_those_of_predict_at_each_budget(folder, ratios):
    """By another way: the table of mixtures, the model's file and its draws."""
    moments = [Moment(tokens, truth(ratios, tokens), {}) for tokens in (1e8, 5e8)]
    watched = Watch(climbopt.load_problem(folder), ratios, tuple(moments))
    rows = [
        {"run": f"{moment.tokens}", "tokens": moment.tokens, "language": name, "ratio": ratios[name]}
        for moment in moments
        for name in LANGUAGES
    ]
    table = climbopt.predict(
        folder / "model.toml", pd.DataFrame(rows), SUPPLY, climbopt.load_draws(folder / "model.draws.jsonl")
    )
    for k, band in enumerate(watched.bands):
        expected = table.iloc[3 * k : 3 * k + 3].set_index("language")
        for name in LANGUAGES:
            assert band[name] == pytest.approx((expected["lower"][name], expected["upper"][name]), abs=1e-9)


def test_a_run_that_is_off_is_told_and_decided_again(folder, ratios, tmp_path, run, monkeypatch):
    log = written(tmp_path / "log.jsonl", ratios, shift=0.4)
    code, out, _ = run("watch", folder, "--log", log, "--no-again", "--json", "-")
    record = json.loads(out)
    assert code == 1 and list(record["outside"]) == ["sw"] and 0.2 < record["outside"]["sw"] < 0.4
    assert record["again"] is None and len(record["losses"]) == 9
    problem = climbopt.load_problem(folder)
    last = Moment(4e8, truth(ratios, 4e8) | {"sw": truth(ratios, 4e8)["sw"] + 0.4}, {})
    again = Watch(problem, ratios, (last,)).decide_again(climbopt.load_pilots(folder / "pilots.csv"), n_draws=2)
    assert again.problem.budget == pytest.approx(6e8) and again.problem.trained_tokens == pytest.approx(4e8)
    assert again.problem.history["en"] == pytest.approx(4e8 * ratios["en"])
    assert again.ratios["en"] >= 0.3 - 1e-9 and again.problem.supply == problem.supply
    assert again.fitted.n_runs == 22 and again.fitted.pilots.runs[-1] == "this run at 4e+08 tokens"
    monkeypatch.setattr(Watch, "decide_again", lambda *_, **__: again)
    code, out, _ = run("watch", folder, "--log", log, "-o", tmp_path / "again")
    assert climbopt.load_problem(tmp_path / "again").history == again.problem.history
    assert f"{Watch(problem, ratios, (last,)).gain(again):.4f} less than with the ratios before" in " ".join(
        out.split()
    )
    assert run("watch", folder, "--log", log, "-o", tmp_path / "again")[0] == 2  # it holds something now
    code, out, _ = run("watch", folder, "--log", log)
    assert code == 1 and "OUTSIDE" in out and "for the 600 M tokens that are left" in out and "  now: " in out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"step": 1, "eval/loss/en": 2.0}\n', "together with the tokens"),
        ('{"tokens": 1e8, "loss": 2.0}\n', "together with the tokens"),
        ('{"tokens": 1e8, "a/loss/en": 2.0, "b/loss/en": 2.0}\n', "--loss-columns"),
    ],
)
def test_logs_that_cannot_be_compared(text, message, folder, tmp_path, run):
    (tmp_path / "log.jsonl").write_text(text)
    code, _, err = run("watch", folder, "--log", tmp_path / "log.jsonl")
    assert code == 2 and message in err


def test_what_cannot_be_watched(folder, ratios, tmp_path, run):
    (tmp_path / "answer.json").write_text(json.dumps(ratios))
    code, _, err = run("watch", tmp_path / "answer.json", "--log", written(tmp_path / "log.jsonl", ratios))
    assert code == 2 and "there is no problem beside" in err
    with pytest.raises(InputError, match="states no bands"):
        Watch(climbopt.load_problem("libreoffice6"), ratios, (Moment(1e6, {"en": 1.0}, {}),))
    over = Watch(climbopt.load_problem(folder), ratios, (Moment(1e9, truth(ratios, 1e9), {}),))
    with pytest.raises(InputError, match="nothing of the budget is left to decide on"):
        over.decide_again(climbopt.load_pilots(folder / "pilots.csv"))


def test_what_was_drawn_is_what_counts(folder, ratios):
    """Logged in proportion, over all sources, with the tokens before the run; as planned where it is not known."""
    problem = climbopt.load_problem(folder)
    drawn = {"en": 30.0, "de": 20.0, "sw": 50.0}
    moment = Moment(4e8, truth(ratios, 4e8), drawn)
    watched = Watch(dataclasses.replace(problem, history={"de": 1e8}), ratios, (moment,))
    assert watched.history() == pytest.approx({"en": 1.2e8, "de": 1.8e8, "sw": 2e8}) and watched.undecided
    runs = watched._with_run(climbopt.load_pilots(folder / "pilots.csv"))
    assert runs.tokens[-1] == pytest.approx(5e8)
    assert runs.ratios_of(LANGUAGES)[-1] == pytest.approx([0.24, 0.36, 0.4])
    partly = Watch(problem, ratios, (Moment(4e8, truth(ratios, 4e8), {"en": 30.0}),))
    assert partly.history() == pytest.approx({name: 4e8 * ratio for name, ratio in ratios.items()})


def test_the_new_decision_on_a_synthetic_truth():
    """Pilots of one budget do not show how losses fall; the run does, and what is decided then is near the best."""
    lowest, exponent, budget = 1.5 + 0.1 * np.arange(3), np.array([0.35, 0.35, 0.12]), 3.2e9

    def true_losses(shares, tokens):
        return lowest + (tokens / 1e8 * (0.2 + 0.8 * shares)) ** -exponent

    rng, rows = np.random.default_rng(3), []
    for k in range(12):
        shares = rng.dirichlet(np.full(3, 1.5))
        losses = true_losses(shares, 1e8) + rng.normal(0, 0.002, 3)
        for name, share, loss in zip(LANGUAGES, shares, losses, strict=True):
            rows.append({"run": f"r{k}", "tokens": 1e8, "language": name, "ratio": share, "loss": loss})
    runs = climbopt.PilotRuns.from_frame(pd.DataFrame(rows))
    first = decide(runs, budget, n_draws=2)
    before = np.array([first.ratios[name] for name in LANGUAGES])
    moments = [Moment(D, dict(zip(LANGUAGES, true_losses(before, D).tolist(), strict=True)), {}) for D in (8e8, 1.6e9)]
    watched = Watch(first.problem, first.ratios, tuple(moments))
    assert watched.outside
    again = watched.decide_again(runs, n_draws=2)
    now = np.array([again.ratios[name] for name in LANGUAGES])

    def at_the_end(shares):
        return true_losses((1.6e9 * before + 1.6e9 * shares) / budget, budget)

    grid = np.array([(a, b, 1 - a - b) for a in np.linspace(0, 1, 51) for b in np.linspace(0, 1 - a, 51)])
    best = min(at_the_end(shares).mean() for shares in grid)
    assert at_the_end(before).mean() > at_the_end(now).mean() > best - 1e-9
    assert at_the_end(now).mean() - best < 1e-3
    # the level was off by far more than a measurement is, and no longer is
    assert np.abs(first.problem.losses(before) - at_the_end(before)).max() > 0.1
    assert np.abs(again.problem.losses(now) - at_the_end(now)).max() < 0.03
    assert watched.gain(again) == pytest.approx((at_the_end(before) - at_the_end(now)).mean(), abs=5e-4)
    unanswered = dataclasses.replace(again.result, allocation=None)
    assert watched.gain(dataclasses.replace(again, result=unanswered, assessment=None, ranges={})) is None
