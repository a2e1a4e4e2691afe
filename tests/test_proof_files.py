"""Proof files: what they claim is shown again from the problem and the multipliers; what was changed is refused."""

import copy
import json

import pytest
from random_problems import the_problem

from climbopt.certification.global_bound import enclose
from climbopt.foundations.errors import InputError
from climbopt.procedures import joint_form

pytest.importorskip("flint")
from climbopt.certification.global_bound.proof import check  # noqa: E402
from climbopt.certification.global_bound.rational import upper_bound  # noqa: E402
from climbopt.certification.global_bound.search import proved  # noqa: E402


@pytest.fixture(scope="module")
def proof():
    form = joint_form(the_problem("gated", "plain", 3, 4, 2.0))
    found = enclose(form)
    lower, made = proved(form, found)
    assert found.lower - 1e-9 <= lower <= found.lower
    return form, json.loads(json.dumps(made)), found


def test_a_proof_shows_what_it_claims(proof):
    form, made, found = proof
    lower, boxes = check(form, made)
    assert lower == made["lower"] and boxes >= 1
    upper = upper_bound(form, found.x)
    assert lower <= upper <= found.upper + 1e-9


def tampered(made, how, best):
    """Return a proof that is changed in one way."""
    made = copy.deepcopy(made)
    steps = made["tree"]["steps"]
    if how == "raised":
        made["lower"] = best.upper - 1e-3 * (best.upper - made["lower"])
    elif how == "above the optimum":
        made["lower"] = best.upper + 1e-6
    elif how == "narrowed":
        steps[0]["box"][0][1] -= 0.01
    elif how == "widened":
        steps[0]["box"][0][1] += 0.01
    elif how == "missing":
        del steps[-1]
    elif how == "multipliers":
        steps[-1]["sums"][0][0] = 5.0
        steps[-1]["sums"][1][0] = -5.0
    elif how == "other":
        made["problem"] = "0" * 64
    return made


@pytest.mark.parametrize("how", ["above the optimum", "narrowed", "widened", "missing", "multipliers", "other"])
def test_a_proof_that_was_changed_is_refused(proof, how):
    form, made, found = proof
    with pytest.raises(InputError):
        check(form, tampered(made, how, found))


def test_a_proof_of_one_problem_shows_nothing_of_another(proof):
    with pytest.raises(InputError, match="another problem"):
        check(joint_form(the_problem("gated", "plain", 4, 4, 2.0)), proof[1])


def test_command_line(run, tmp_path):
    file = tmp_path / "p.json"
    code, out, err = run("certify", "known_floor", "--rigor", "ball", "--proof", file)
    assert code == 0, err
    code, out, err = run("verify", "known_floor", file)
    assert code == 0 and out.startswith("proved: ")
    made = json.loads(file.read_text())
    made["lower"] += 1e-3
    file.write_text(json.dumps(made))
    code, out, err = run("verify", "known_floor", file)
    assert code == 1 and "Traceback" not in err
    code, out, err = run("verify", "equal_beta", file)
    assert code == 1
    file.write_text("{}")
    assert run("verify", "known_floor", file)[0] == 2


@pytest.mark.parametrize("change", [{"lower": "much"}, {"tree": {}}, {"tree": {"steps": [{}], "cut": None}}])
def test_a_damaged_proof_says_so(proof, change):
    form, made, _ = proof
    with pytest.raises(InputError, match="the proof is damaged"):
        check(form, made | change)
