"""Proof files: what they claim is shown again from the problem and the multipliers; what was changed is refused."""

import ast
import copy
import io
import json
import subprocess
import sys
import tokenize
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from random_problems import repeated, signed_model, the_problem

import climbopt
from climbopt.certification.global_bound import enclose
from climbopt.foundations.errors import InputError
from climbopt.problem.allocation import AllocationProblem
from climbopt.problem.constraints import Custom, Floor
from climbopt.problem.objectives import Minimax, WeightedPowerMean
from climbopt.procedures import joint_form
from climbopt.testing import family_problem

pytest.importorskip("flint")
from climbopt.certification.global_bound.rational import upper_bound  # noqa: E402
from climbopt.certification.global_bound.record import proved  # noqa: E402
from climbopt.certification.proof import check as checker  # noqa: E402
from climbopt.certification.proof.check import ProofError, check  # noqa: E402
from climbopt.certification.proof.decomposition import Decomposition  # noqa: E402

CHECKER = ("blocks", "check")
MOST_LINES = 300


@pytest.fixture(scope="module")
def proof():
    form = joint_form(the_problem("gated", "plain", 3, 4, 2.0))
    found = enclose(form)
    lower, made = proved(form, found)
    assert found.lower - 1e-9 <= lower <= found.lower
    return form, json.loads(json.dumps(made, allow_nan=False)), found


def test_a_proof_shows_what_it_claims(proof):
    form, made, found = proof
    lower, boxes = check(form, made)
    assert lower == made["lower"] and boxes >= 1
    upper = upper_bound(form, found.x)
    assert lower <= upper <= found.upper + 1e-9


def test_a_proof_with_a_cut(proof):
    """What shows a bound on the whole shows a lower one on its halves."""
    form, made, _ = copy.deepcopy(proof)
    made["lower"] *= 0.5
    del made["tree"]["steps"][1:]
    halves = {"below": made["tree"], "above": copy.deepcopy(made["tree"])}
    made["tree"] = {"steps": [], "cut": {"variable": form.variables[1], "at": 0.3, **halves}}
    assert check(form, made) == (made["lower"], 3)
    for half in halves:
        broken = copy.deepcopy(made)
        broken["tree"]["cut"][half] = {"steps": [], "cut": None}
        with pytest.raises(ProofError, match="is not reached on root, "):
            check(form, broken)
    made["tree"]["cut"]["at"] = np.nan
    with pytest.raises(ProofError, match="no variable and number"):
        check(form, made)


def test_a_claim_holds_to_the_last_digit(proof, monkeypatch):
    """A step shows its own value, and nothing that is larger by one rounding."""
    form, made, _ = copy.deepcopy(proof)
    made["tree"]["steps"] = made["tree"]["steps"][:1]
    shown = []
    monkeypatch.setattr(checker.Value, "left", lambda value, claim: shown.append(value.lower) or value.pieces)
    monkeypatch.setattr(checker, "tightened", lambda problem, box: box)
    with pytest.raises(ProofError, match="is not reached"):
        check(form, made | {"lower": 2 * made["lower"]})
    assert check(form, made | {"lower": shown[0]}) == (shown[0], 1)
    with pytest.raises(ProofError, match="is not reached"):
        check(form, made | {"lower": np.nextafter(shown[0], np.inf)})


def first_and_last(made):
    """Return the steps of the root's box."""
    steps = made["tree"]["steps"]
    return steps[0], steps[-1]


def narrowed(made, best):
    first_and_last(made)[0]["edges"][0][-1] -= 0.01


def begun_late(made, best):
    first_and_last(made)[0]["edges"][1][0] += 0.01


def unsorted(made, best):
    edges = first_and_last(made)[0]["edges"][0]
    edges[1], edges[2] = edges[2], edges[1]


def without_an_edge(made, best):
    del first_and_last(made)[0]["edges"][0][1]


def without_a_block(made, best):
    del first_and_last(made)[0]["edges"][-1]


def without_a_step(made, best):
    del made["tree"]["steps"][-1]


def without_steps(made, best):
    made["tree"]["steps"] = []


def above_the_optimum(made, best):
    made["lower"] = best.upper + 1e-6


def no_number(made, best):
    made["lower"] = np.nan


def infinite(made, best):
    made["lower"] = np.inf


def nan_edges(made, best):
    first_and_last(made)[0]["edges"][0][1] = np.nan


def nan_multipliers(made, best):
    for step in made["tree"]["steps"]:
        step["sums"][0][0] = np.nan


def nan_prices(made, best):
    for step in made["tree"]["steps"]:
        step["theta"] = [np.nan] * len(step["theta"])


def infinite_prices(made, best):
    for step in made["tree"]["steps"]:
        step["theta"] = [np.inf] * len(step["theta"])


def infinite_multipliers(made, best):
    for step in made["tree"]["steps"]:
        step["rows"] = [np.inf] * len(step["rows"])


def overflowing(made, best):
    for step in made["tree"]["steps"]:
        step["rows"], step["theta"] = [1.7e308] * len(step["rows"]), [-1.7e308] * len(step["theta"])
        step["sums"] = [[1.7e308] * len(row) for row in step["sums"]]


def touched_elsewhere(made, best):
    for step in made["tree"]["steps"]:
        step["z0"] = [3.0 * z for z in step["z0"]]


def touched_outside_of_the_domain(made, best):
    for step in made["tree"]["steps"]:
        step["z0"] = [-z for z in step["z0"]]


def touched_at_a_pole(made, best):
    for step in made["tree"]["steps"]:
        step["z0"] = [0.0] * len(step["z0"])


def nan_touches(made, best):
    for step in made["tree"]["steps"]:
        step["z0"] = [np.nan] * len(step["z0"])


def other_multipliers(made, best):
    for step in made["tree"]["steps"]:
        step["sums"][0][0], step["sums"][1][0] = 5.0, -5.0


def truncated_touches(made, best):
    del first_and_last(made)[1]["z0"][-1]


def truncated_prices(made, best):
    del first_and_last(made)[1]["theta"][-1]


def truncated_multipliers(made, best):
    del first_and_last(made)[1]["rows"][-1]


def truncated_sums(made, best):
    del first_and_last(made)[1]["sums"][-1]


def of_another_problem(made, best):
    made["problem"] = "0" * 64


CHANGES = [
    narrowed,
    begun_late,
    unsorted,
    without_an_edge,
    without_a_block,
    without_a_step,
    without_steps,
    above_the_optimum,
    no_number,
    infinite,
    nan_edges,
    nan_multipliers,
    nan_prices,
    infinite_prices,
    infinite_multipliers,
    overflowing,
    touched_elsewhere,
    touched_outside_of_the_domain,
    touched_at_a_pole,
    nan_touches,
    other_multipliers,
    truncated_touches,
    truncated_prices,
    truncated_multipliers,
    truncated_sums,
    of_another_problem,
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_proof_that_was_changed_is_refused(proof, change):
    form, made, found = proof
    made = copy.deepcopy(made)
    change(made, found)
    with pytest.raises(InputError):
        check(form, made)


@pytest.mark.parametrize(
    "change", [lambda g: 1.001 * g, lambda g: np.full_like(g, np.nan), lambda g: g[:-1], lambda g: -g]
)
def test_slopes_that_do_not_support_the_mean_show_nothing(change):
    problem = replace(the_problem("gated", "plain", 3, 3, 2.0), objective=WeightedPowerMean(power=2.0))
    form = joint_form(problem)
    made = proved(form, enclose(form))[1]
    assert check(form, made)[0] == made["lower"]
    for step in made["tree"]["steps"]:
        step["losses"] = change(np.array(step["losses"])).tolist()
        for key in ("sums", "rows", "theta"):  # so that the whole bound is larger where the slopes are
            step[key] = (1.001 * np.array(step[key])).tolist()
    for claim in (made["lower"], 1.0005 * made["lower"]):
        with pytest.raises(ProofError):
            check(form, made | {"lower": claim})
    assert (
        Decomposition.of(form).digest
        != Decomposition.of(joint_form(replace(problem, objective=WeightedPowerMean(power=2.5)))).digest
    )


def test_pieces_beyond_the_box_change_nothing(proof):
    form, made, _ = proof
    made = copy.deepcopy(made)
    for step in made["tree"]["steps"]:
        for edges in step["edges"]:
            edges[0], edges[-1] = edges[0] - 5.0, edges[-1] + 5.0
    assert check(form, made)[0] == made["lower"]


def test_a_proof_of_one_problem_shows_nothing_of_another(proof):
    with pytest.raises(ProofError, match="another problem"):
        check(joint_form(the_problem("gated", "plain", 4, 4, 2.0)), proof[1])


def test_every_number_of_a_problem_is_in_its_digest():
    model = repeated(signed_model("gated", 3, seed=0), 0)
    problem = AllocationProblem(model, 10e9, constraints=(Floor({"s0": 0.05}), Custom("L[s1] <= 9")))

    def digest_of(problem):
        return Decomposition.of(joint_form(problem)).digest

    def with_parameter(name):
        return replace(model, parameters={**model.parameters, name: model.parameters[name] * (1 + 1e-12)})

    others = [
        *(replace(problem, model=with_parameter(name)) for name in model.parameters),
        replace(problem, budget=10e9 + 1),
        replace(problem, constraints=(Floor({"s0": 0.05 + 1e-12}), *problem.constraints[1:])),
        replace(problem, constraints=(*problem.constraints[:1], Custom("L[s1] <= 8"))),
        replace(problem, history={"s0": 1e3}),
        replace(problem, objective=Minimax()),
    ]
    digests = [digest_of(problem), *map(digest_of, others)]
    assert digest_of(problem) == digests[0]
    assert len(set(digests)) == len(digests)


def test_command_line(run, tmp_path):
    file = tmp_path / "p.json"
    code, out, err = run("certify", "known_floor", "--rigor", "ball", "--proof", file)
    assert code == 0, err
    code, out, err = run("verify", "known_floor", file)
    assert code == 0 and out.startswith("proved: ")
    made = json.loads(file.read_text())
    file.write_text(json.dumps(made | {"format": "climbopt lower bound 1"}))
    code, out, err = run("verify", "known_floor", file)
    assert code == 2 and "write it anew by climbopt certify" in err and "Traceback" not in err
    made["lower"] += 1e-3
    file.write_text(json.dumps(made))
    code, out, err = run("verify", "known_floor", file)
    assert code == 1 and "Traceback" not in err
    code, out, err = run("verify", "equal_beta", file)
    assert code == 1
    file.write_text("{}")
    assert run("verify", "known_floor", file)[0] == 2


def test_no_proof_is_written_of_a_step(run, tmp_path):
    """verify checks proofs of the joint problem."""
    problem = family_problem(2, interaction="saturating", negative=0.3)
    climbopt.save_problem(problem, tmp_path / "p.toml", "two_step")
    code, _, err = run("certify", tmp_path / "p.toml", "--rigor", "ball", "--proof", tmp_path / "proof.json")
    assert code == 2 and 'set procedure = "joint"' in err and not (tmp_path / "proof.json").exists()


@pytest.mark.parametrize(
    "change", [{"lower": "much"}, {"lower": 10**400}, {"tree": {}}, {"tree": {"steps": [{}], "cut": None}}]
)
def test_a_damaged_proof_says_so(proof, change):
    form, made, _ = proof
    with pytest.raises(InputError, match="the proof is damaged"):
        check(form, made | change)


def lines_of_code(path):
    """Return the number of lines with code: neither blank, nor comments, nor docstrings."""
    text = path.read_text()
    tree = ast.parse(text)
    strings = [
        node.value for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    ]
    documented = {line for node in strings for line in range(node.lineno, node.end_lineno + 1)}
    blank = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    code = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in blank:
            code |= set(range(token.start[0], token.end[0] + 1))
    return len(code - documented)


def test_the_checker_is_short():
    here = Path(checker.__file__).parent
    assert sum(lines_of_code(here / f"{name}.py") for name in CHECKER) <= MOST_LINES


def test_the_checker_loads_nothing_of_the_search():
    """Nor any solver: what it needs is the problem's form, intervals and python-flint."""
    code = (
        "import sys, climbopt.certification.proof.check, climbopt.certification.proof.balls\n"
        "print(*(name for name in sys.modules if name.startswith('climbopt.')))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    refused = ("climbopt.certification.global_bound", "climbopt.backends", "climbopt.procedures", "climbopt.fitting")
    assert [name for name in loaded if name.startswith(refused)] == []


def test_the_command_loads_no_search(run, tmp_path):
    """Reading the problem and checking the proof take neither the search, nor a backend, nor a procedure."""
    file = tmp_path / "proof.json"
    assert run("certify", "known_floor", "--rigor", "ball", "--proof", file)[0] == 0
    code = (
        "import sys\nfrom climbopt.cli import app\n"
        f"app(['verify', 'known_floor', {str(file)!r}], standalone_mode=False)\n"
        "print(*(name for name in sys.modules if name.startswith('climbopt.')))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    refused = ("climbopt.certification.global_bound", "climbopt.backends", "climbopt.procedures", "climbopt.fitting")
    assert shown[0].startswith("proved: ")
    assert [name for name in shown[-1].split() if name.startswith(refused)] == []
