"""Layouts of tables in public repositories, with numbers of our own: each is read right, or refused in one sentence.

The repository and the path stand with each layout; no number is copied from there.
"""

import json

import numpy as np
import pytest

from climbopt import InputError, load_pilots
from climbopt.files import Layout

RATIOS = np.array([[0.5, 0.25, 0.25], [0.125, 0.75, 0.125], [0.2, 0.2, 0.6]])
LOSSES = np.array([[3.5, 4.25, 5.0], [4.0, 3.75, 5.5], [3.875, 4.5, 4.125]])


def table(path, head, rows, separator=","):
    path.write_text("".join(separator.join(map(str, row)) + "\n" for row in [head, *rows]))
    return path


def pair(folder, head, heads, names=(1, 2, 3), losses=LOSSES):
    """A table of ratios and one of losses, whose rows stand in the other order."""
    ratios = table(folder / "ratios.csv", head, [[n, *r] for n, r in zip(names, RATIOS.tolist(), strict=True)])
    rows = [[n, *x] for n, x in zip(names, losses.tolist(), strict=True)]
    return ratios, table(folder / "losses.csv", heads, rows[::-1])


def same(runs, sources, targets, names=("1", "2", "3")):
    order = [runs.runs.index(name) for name in names]
    assert set(runs.sources) == set(sources) and set(runs.targets) == set(targets)
    np.testing.assert_allclose(runs.ratios_of(sources)[order], RATIOS, rtol=1e-12)
    np.testing.assert_array_equal(runs.losses[order][:, [runs.targets.index(name) for name in targets]], LOSSES)


def test_pairs_of_regmix(tmp_path):
    """sail-sg/regmix, data/train_mixture_1m.csv and data/train_pile_loss_1m.csv."""
    names = ["arxiv", "pile_cc", "github"]
    heads = [f"metric/the_pile_{name}_val_loss" for name in names]
    files = pair(tmp_path, ["index", *[f"train_the_pile_{name}" for name in names]], ["index", *heads])
    runs = load_pilots(*files, layout=Layout(tokens=1e9))
    same(runs, names, names)
    assert "ratios in 'train_the_pile_*'; losses in 'metric/the_pile_*_val_loss'" in runs.layout
    with pytest.raises(InputError, match="no column of the mixtures says how many tokens a run had; add --tokens 5B"):
        load_pilots(*files)


def test_the_same_bare_names_in_both_files(tmp_path):
    """sail-sg/regmix, data/pile/tiny_config_1M_pile.csv and data/pile/tiny_wandb_1M_1000_pile_4B.csv."""
    names = ["DM Mathematics", "Gutenberg (PG-19)", "Pile-CC"]
    ratios, losses = pair(tmp_path, ["index", *names], ["index", *names])
    same(load_pilots(ratios, losses, layout=Layout(tokens=1e9)), names, names)
    with pytest.raises(InputError, match="no columns of the mixtures are ratios"):
        load_pilots(losses, ratios, layout=Layout(tokens=1e9))  # never swapped


def test_swarms_of_olmix(tmp_path):
    """allenai/olmix, dclm_ratios.csv and dclm_metrics.csv: tasks that are no sources, and three names of a run."""
    sources, tasks = ["art_and_design", "software", "travel_and_tourism"], ["arc_easy", "mmlu_stem", "hellaswag"]
    head = ["", "run", "name", "index"]
    names = [["ab1", "swarm-0000", 0], ["cd2", "swarm-0001", 1], ["ef3", "swarm-0003", 2]]
    rows = zip(names, RATIOS.tolist(), LOSSES.tolist(), strict=True)
    rows = [[k, name, ratios, losses] for k, (name, ratios, losses) in enumerate(rows)]
    ratios = table(tmp_path / "r.csv", [*head, *sources], [[k, *name, *r] for k, name, r, _ in rows])
    losses = table(
        tmp_path / "m.csv", [*head, *[f"{t}_bpb" for t in tasks]], [[k, *name, *x] for k, name, _, x in rows]
    )
    with pytest.raises(InputError, match="state --loss-columns with one \\* for the language, such as '\\*_bpb'"):
        load_pilots(ratios, losses, layout=Layout(tokens=3e9))
    runs = load_pilots(ratios, losses, layout=Layout(tokens=3e9, losses="*_bpb"))
    same(runs, sources, tasks, ("ab1", "cd2", "ef3"))
    assert "name, index" in runs.layout.split("left out: ")[1]


def test_targets_in_other_languages(tmp_path):
    """Olivia-fsm/multi-target-data-mixing, misc/regmix/data/wiki40b/train_mixture_1m_wiki40b.csv and its losses."""
    ratios, losses = pair(
        tmp_path,
        ["index", *[f"train_wiki40b_{name}" for name in ("en", "fr", "ru")]],
        ["index", *[f"metric/wiki40b_{name}_val_loss" for name in ("ca", "nl", "uk")]],
    )
    with pytest.raises(
        InputError, match="no columns of the losses are losses of .*, such as 'metric/wiki40b_\\*_val_loss'"
    ):
        load_pilots(ratios, losses, layout=Layout(tokens=1e9))
    stated = Layout(tokens=1e9, ratios="train_wiki40b_*", losses="metric/wiki40b_*_val_loss")
    same(load_pilots(ratios, losses, layout=stated), ("en", "fr", "ru"), ("ca", "nl", "uk"))


def test_budgets_and_sizes_by_row(tmp_path):
    """meiqwq/Explaining-Data-Mixing-Scaling-Laws, data/dmsl_llm_slimpajama.csv: a row per budget, without names."""
    names = ["arxiv", "c4", "wikipedia"]
    head = [*[f"weight_{n}" for n in names], "model_size", "n_tokens", *[f"{n}_loss" for n in [*names, "openhermes"]]]
    rows = [[*r, 122e6, D, *x, 2.5] for D in (2e9, 4e9) for r, x in zip(RATIOS.tolist(), LOSSES.tolist(), strict=True)]
    runs = load_pilots(table(tmp_path / "swarm.csv", head, rows))
    assert set(runs.targets) == {*names, "openhermes"} and runs.sources == tuple(names)
    np.testing.assert_array_equal(runs.tokens, [2e9] * 3 + [4e9] * 3)
    np.testing.assert_array_equal(runs.params, [122e6] * 6)
    np.testing.assert_array_equal(runs.ratios, np.vstack([RATIOS, RATIOS]))
    with pytest.raises(InputError, match="--tokens says 2e\\+09, and column 'n_tokens' has 4e\\+09"):
        load_pilots(tmp_path / "swarm.csv", layout=Layout(tokens=2e9))  # two budgets never become one


def test_losses_one_per_line(tmp_path):
    """meiqwq/Explaining-Data-Mixing-Scaling-Laws, data/test_mixture_1B.csv and data/eval.jsonl."""
    names = ["NIH ExPorter", "PhilPapers", "EuroParl"]
    ratios, _ = pair(tmp_path, ["index", *names], ["index", *names])
    lines = [
        json.dumps({"index": k, "domain": name, "avg_loss": loss})
        for k, row in enumerate(LOSSES.tolist(), start=1)
        for name, loss in zip(names, row, strict=True)
    ]
    (tmp_path / "eval.jsonl").write_text("\n".join(lines[::-1]) + "\n")
    same(load_pilots(ratios, tmp_path / "eval.jsonl", layout=Layout(tokens=1e9)), names, names)


def test_runs_of_a_tracker(tmp_path):
    """allenai/olmix, README.md: runs of W&B whose tasks are named eval/downstream/NAME (BPB v2)."""
    sources, tasks = ["dclm", "s2pdf", "wiki"], ["arc", "mmlu", "piqa"]
    head = ["Name", "State", "Created", "mixture/mean", *[f"mixture/{n}" for n in sources], "tokens_B"]
    head += [f"eval/downstream/{n} (BPB v2)" for n in tasks] + [f"eval/downstream/{n} (accuracy)" for n in tasks]
    rows = [
        [f"run-{k}", "finished", "2026-01-02T03:04:05Z", 1 / 3, *r, 5, *x, 0.3, 0.4, 0.5]
        for k, (r, x) in enumerate(zip(RATIOS.tolist(), LOSSES.tolist(), strict=True))
    ]
    stated = Layout(losses="eval/downstream/* (BPB v2)")
    runs = load_pilots(table(tmp_path / "wandb.csv", head, rows), layout=stated)
    same(runs, sources, tasks, ("run-0", "run-1", "run-2"))
    assert set(runs.tokens) == {5e9} and "Created, mixture/mean" in runs.layout


LINES = "/m/70m_800-0.5-0.5/10000 /d/web.npy 3.1\n/m/70m_800-0.2-0.8/10000 /d/web.npy 3.2\n"
DOREMI = {"train_domain_weights": {"a": 0.5, "b": 0.5}, "eval_domain_weights": {"a": 0.5, "b": 0.5}}
MIXES = {"mixes": [{"dclm:a": [0.5, 1.0], "dclm:b": [0.5, 2.0]}, {"dclm:a": [0.2, 1.0], "dclm:b": [0.8, 1.0]}]}
HARNESS = {"results": {"arc": {"bits_per_byte,none": 0.8}}, "versions": {"arc": 1}, "config": {"model": "hf"}}
CHART = '"Step","run-a - eval/loss/de","run-a - eval/loss/de__MIN","run-a - eval/loss/de__MAX"\n10,3.5,3.5,3.5\n'
NO_PILOTS = {
    "yegcjs/mixinglaws, data/5Mix/70M.txt": ("70M.txt", LINES, "it has one column"),
    "HazyResearch/aioli, dirichlet_weights": ("k_3.txt", "0.2,0.3,0.5\n0.6,0.3,0.1\n", "its first line is numbers"),
    "sangmichaelxie/doremi, configs/pile_uniform.json": ("a.json", json.dumps(DOREMI), "may name columns or runs"),
    "allenai/olmix, README.md, mixes of a swarm": ("a.json", json.dumps(MIXES), "no columns of the table are ratios"),
    "EleutherAI/lm-evaluation-harness, results": ("a.json", json.dumps(HARNESS), "may name columns or runs"),
    "wandb/wandb, export of a chart": ("chart.csv", CHART, "no columns of the table are ratios"),
}


@pytest.mark.parametrize("source", NO_PILOTS)
def test_what_is_no_table_of_pilots(source, tmp_path):
    name, text, message = NO_PILOTS[source]
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        load_pilots(tmp_path / name)
    assert "\n" not in str(caught.value)
