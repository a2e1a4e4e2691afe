"""watch: the losses of the big run beside its decision's bands, and the decision that they lead to."""

import json

import numpy as np
import pandas as pd
import pytest
from test_decide import LANGUAGES, SUPPLY, pilots

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
    with pytest.raises(InputError, match="nothing is left to decide"):
        over.decide_again(climbopt.load_pilots(folder / "pilots.csv"))
